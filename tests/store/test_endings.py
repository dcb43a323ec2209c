"""Files whose ending says nothing are read by their content, and it is said; text is not guessed at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.base.errors import DataError
from relrep_cli.store.foreign import found_in

X = np.random.default_rng(0).standard_normal((20, 4)).astype("f4")


def written(folder: Path) -> dict[str, Path]:
    """The same matrix in each format that its first bytes tell."""
    pa = pytest.importorskip("pyarrow")
    h5py, feather = pytest.importorskip("h5py"), pytest.importorskip("pyarrow.feather")
    parquet, safetensors = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("safetensors.numpy")
    table = pa.table({"emb": list(X)})
    np.save(folder / "a.npy", X)
    feather.write_feather(table, folder / "a.arrow")
    with pa.ipc.new_stream(str(folder / "stream.arrow"), table.schema) as writer:
        writer.write_table(table)
    parquet.write_table(table, folder / "a.parquet")
    safetensors.save_file({"x": X}, folder / "a.safetensors")
    with h5py.File(folder / "a.h5", "w") as file:
        file["x"] = X
    kinds = {
        "a.npy": "a NumPy array (.npy)", "a.arrow": "Arrow IPC (Feather)", "stream.arrow": "an Arrow IPC stream",
        "a.parquet": "Parquet", "a.safetensors": "a safetensors file", "a.h5": "",
    }  # fmt: skip
    return {kind: folder / name for name, kind in kinds.items()}


@pytest.mark.parametrize("ending", [".dat", ".emb", ".model", ""])
def test_content_tells(tmp_path: Path, ending: str) -> None:
    for kind, path in written(tmp_path).items():
        other = path.rename(tmp_path / f"other{ending}")
        content = found_in(other)
        assert np.array_equal(content.x, X)
        assert content.notes == ((f"read as {kind}, by its content.",) if kind else ())


@pytest.mark.parametrize(("ending", "message"), [(".w2v", ".w2v"), (".model", ".model"), ("", "that it lacks")])
def test_text_of_another_ending_is_told_which_are_read(tmp_path: Path, ending: str, message: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_text("2 3\nx 1.5 2.5 3.5\ny 0.5 0.25 1.0\n")
    with pytest.raises(DataError) as caught:
        found_in(path)
    assert str(caught.value) == (
        f"{path}: this is text, and the ending {message} does not say of which kind. Word vectors are read from .txt, .vec and "
        ".glove, tables from .csv and .tsv, JSON from .json and .jsonl."
    )
    assert found_in(path.rename(tmp_path / "a.vec")).x.shape == (2, 3)  # the advice works


def test_what_a_known_ending_promises_must_be_there(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    with pytest.raises(DataError, match="not a Parquet file"):
        found_in((tmp_path / "a.npy").rename(tmp_path / "a.parquet"))


def test_the_user_is_told(work: Workdir) -> None:
    np.save(work / "x.npy", X)
    (work / "x.npy").rename(work / "x.dat")
    assert (
        "x.dat: read as a NumPy array (.npy), by its content."
        in work.here("relrep info x.dat").stderr + work.here("relrep compare x.dat x.dat --metric cka", code=range(4)).stderr
    )
