"""Zarr stores: plain arrays and AnnData's, of both versions; links and damage are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from relrep_cli import store
from relrep_cli.base.errors import DataError

zarr = pytest.importorskip("zarr", minversion="3")
N, D = 8, 3
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
NAMES = [f"cell{i}" for i in range(N)]


def plain(path: Path, version: int) -> Path:
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    group["embeddings"] = X
    group["label"] = np.arange(N) % 2
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_plain_arrays(tmp_path: Path, version: int) -> None:
    e = store.read(str(plain(tmp_path / "a.zarr", version)))
    assert np.array_equal(e.x, X) and e.row_ids and e.obs["label"].tolist() == [b"0", b"1"] * (N // 2)
    zarr.save_array(str(tmp_path / "b.zarr"), X, zarr_format=version)
    assert np.array_equal(store.read(str(tmp_path / "b.zarr")).x, X)


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_anndata(tmp_path: Path) -> None:
    obs = pd.DataFrame({"label": pd.Categorical(["u", "v"] * (N // 2))}, index=NAMES)
    anndata.AnnData(X, obs=obs, obsm={"X_pca": 2 * X}).write_zarr(tmp_path / "a.zarr")
    e = store.read(str(tmp_path / "a.zarr"))
    assert np.array_equal(e.x, X) and e.ids.tolist() == [n.encode() for n in NAMES]
    assert e.obs["label"].tolist() == [b"u", b"v"] * (N // 2)
    assert np.array_equal(store.read(f"{tmp_path / 'a.zarr'}::obsm/X_pca").x, 2 * X)


def test_links_and_damage_are_refused_in_one_line(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.zarr", 3)
    (path / "embeddings" / "c" / "0" / "0").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"the zarr package cannot read it: "):
        store.read(str(path))
    shutil.rmtree(path / "embeddings" / "c")
    (path / "embeddings" / "c").symlink_to(tmp_path)
    with pytest.raises(DataError, match="holds c, which is not a plain file"):
        store.read(str(path))
