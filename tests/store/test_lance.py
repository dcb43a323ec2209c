"""Lance tables: read by the rule for tables; data elsewhere and damage are refused."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError

X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
NAMES = [f"w{i}" for i in range(len(X))]


def written(path: Path, **more: object) -> Path:
    lance = pytest.importorskip("lance")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
    lance.write_dataset(pa.table({"doc_id": NAMES, "vector": lists, "label": ["u", "v"] * 4}), str(path), **more)
    return path


def test_a_table_is_read_with_its_ids_without_deleted_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "a.lance", max_rows_per_file=3)
    e = store.read(str(path))
    assert np.array_equal(e.x, X) and e.ids.tolist() == [n.encode() for n in NAMES] and e.obs["label"][1] == b"v"
    pytest.importorskip("lance").dataset(str(path)).delete("doc_id = 'w2'")
    assert store.read(f"{path}::vector").ids.tolist() == [n.encode() for n in NAMES if n != "w2"]


def test_data_elsewhere_and_damage_are_refused(tmp_path: Path) -> None:
    lance, path = pytest.importorskip("lance"), written(tmp_path / "a.lance")
    lance.dataset(str(path)).shallow_clone(str(tmp_path / "b.lance"), 1)
    with pytest.raises(DataError, match="its data lie in other folders"):
        store.read(str(tmp_path / "b.lance"))
    data = next((path / "data").iterdir())
    data.write_bytes(data.read_bytes()[:-20] + bytes(20))
    with pytest.raises(DataError, match="the lance package cannot read it: ") as refusal:
        store.read(str(path))
    assert str(refusal.value).isprintable() and ".rs" not in str(refusal.value)
    with pytest.raises(DataError, match=r"Write .*/a\.lance, a Lance table"):
        store.read(str(tmp_path))


def test_the_extra_is_named_where_the_package_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a.lance" / "_versions").mkdir(parents=True)
    with (
        mock.patch("relrep_cli.store.lance_folders.find_spec", return_value=None),
        pytest.raises(UsageError, match=r"this is a Lance table. Install relrep\[lance\] to read it"),
    ):
        store.read(str(tmp_path / "a.lance"))
