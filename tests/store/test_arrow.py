"""Arrow IPC and Feather: the same rows, ids and labels whatever form wrote them. Hostile ones are in test_foreign.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.base.errors import DataError
from relrep_cli.store import read
from relrep_cli.store.foreign import found_in

pa = pytest.importorskip("pyarrow")
ipc = pytest.importorskip("pyarrow.ipc")
feather = pytest.importorskip("pyarrow.feather")

N, D = 40, 6
X = np.random.default_rng(0).standard_normal((N, D)).astype("f4")
IDS = [f"é{i}" for i in range(N)]
ORDER = np.random.default_rng(1).permutation(N)


def table(x: np.ndarray = X, **columns: Any) -> Any:
    return pa.table({"doc_id": IDS, "emb": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1]), **columns})


def save(path: Path, content: Any, packed: str | None = None, stream: bool = False, rows: int = 7) -> Path:
    with (ipc.new_stream if stream else ipc.new_file)(
        str(path), content.schema, options=ipc.IpcWriteOptions(compression=packed)
    ) as writer:
        writer.write_table(content, max_chunksize=rows)
    return path


@pytest.mark.parametrize("packed", [None, "lz4", "zstd"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("suffix", [".arrow", ".feather", ".ipc"])
def test_every_form(tmp_path: Path, suffix: str, stream: bool, packed: str | None) -> None:
    kinds = pa.array([f"l{i % 3}" for i in range(N)]).dictionary_encode()
    content = found_in(save(tmp_path / f"x{suffix}", table(label=kinds), packed, stream))
    assert np.array_equal(content.x, X) and content.x.dtype == np.float32
    assert [i.decode() for i in content.ids] == IDS
    assert content.obs["label"].tolist() == [b"l%d" % (i % 3) for i in range(N)]


@pytest.mark.parametrize("dtype", ["f2", "f8", "i1", "i4"])
def test_lists_and_columns_of_every_type(tmp_path: Path, dtype: str) -> None:
    x = (X * 20).astype(dtype)
    save(tmp_path / "lists.arrow", pa.table({"emb": pa.array(list(x))}))
    save(tmp_path / "wide.arrow", pa.table({f"emb_{i}": x[:, i] for i in range(D)}))
    assert np.array_equal(found_in(tmp_path / "lists.arrow").x, x)
    assert np.array_equal(found_in(tmp_path / "wide.arrow").x, x)


def test_one_large_batch_is_handed_on_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice of a batch must say which rows it has, and lists of a slice begin in the middle of their values."""
    monkeypatch.setattr("relrep_cli.store.arrow.BATCH", 500)
    content = pa.table({"id": IDS, "emb": pa.array(list(X)), "label": pa.array(IDS).dictionary_encode()})
    read_content = found_in(save(tmp_path / "x.arrow", content, rows=N))
    assert np.array_equal(read_content.x, X)
    assert [i.decode() for i in read_content.ids] == IDS
    assert [i.decode() for i in read_content.obs["label"]] == IDS
    short = pa.table({"emb": [[1.0, 2.0]] * 33 + [[1.0]]})
    with pytest.raises(DataError, match="row 34 holds 1 numbers, those before 2"):
        found_in(save(tmp_path / "y.arrow", short, rows=N))


def test_empty_batches_are_passed_over(tmp_path: Path) -> None:
    content = table()
    with ipc.new_stream(str(tmp_path / "x.arrow"), content.schema) as writer:
        for part in (content.slice(0, 0), content.slice(0, 9), content.slice(9, 0), content.slice(9)):
            for batch in part.to_batches() or [pa.RecordBatch.from_pylist([], content.schema)]:
                writer.write_batch(batch)
    assert np.array_equal(found_in(tmp_path / "x.arrow").x, X)


def test_pandas_index_is_the_ids(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, index=IDS, columns=[f"emb_{i}" for i in range(D)])
    save(tmp_path / "x.arrow", pa.Table.from_pandas(frame))
    assert [i.decode() for i in found_in(tmp_path / "x.arrow").ids] == IDS


def test_an_unread_column_that_could_be_ids_is_told(tmp_path: Path) -> None:
    content = table(title=[f"t{i}" for i in range(N)], year=[1999] * N).drop_columns("doc_id")
    assert found_in(save(tmp_path / "x.arrow", content, "lz4")).unread == ("title",)


def test_members(tmp_path: Path) -> None:
    path = save(tmp_path / "x.arrow", table(other=[[1.0, 2.0]] * N))
    assert read(f"{path}::other").d == 2
    assert read(f"{path}::emb").d == D
    with pytest.raises(DataError, match="which column of vectors"):
        read(str(path))


def test_compare_joins_by_id(work: Workdir) -> None:
    y = X + np.random.default_rng(2).standard_normal((N, D))
    feather.write_feather(table(X), work / "a.feather")
    save(work / "b.arrow", table(y).take(ORDER), stream=True)
    done = work.here("relrep compare a.feather b.arrow --metric cka --estimator biased")
    xc, yc = X.astype(float) - X.astype(float).mean(0), y - y.mean(0)
    wanted = np.sum((xc.T @ yc) ** 2) / np.sqrt(np.sum((xc.T @ xc) ** 2) * np.sum((yc.T @ yc) ** 2))
    assert abs(float(done.rows[0]["value"]) - wanted) < 1e-4
