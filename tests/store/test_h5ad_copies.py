"""AnnData files get new columns and matrices in a copy, which anndata opens; the file itself stays as it was."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import Workdir

from relrep_cli import store
from relrep_cli.base.errors import DataError
from relrep_cli.store.h5ad_copies import Addition, write_copy

N = 40
ENDS = ["".join(letters) for letters in itertools.product("ACGT", repeat=3)]
NAMES = [f"ACGTACGTACGTA{ENDS[i]}-1" for i in np.random.default_rng(9).permutation(N)]  # cells are not sorted by barcode


@pytest.fixture
def cells(empty: Workdir) -> Workdir:
    """cells.h5ad as anndata writes it: X, a column, and two matrices in obsm."""
    anndata = pytest.importorskip("anndata")
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 6)).astype(np.float32)
    obs = pandas.DataFrame({"kind": pandas.Categorical(["u", "v"] * (N // 2))}, index=NAMES)
    made = anndata.AnnData(x, obs, obsm={"X_pca": x[:, :4], "X_umap": x[:, :2] + 0.1 * rng.normal(size=(N, 2))})
    made.write_h5ad(empty / "cells.h5ad", compression="gzip")
    empty.here("relrep anchor cells.h5ad::obsm/X_pca -n 5 -o anchors.h5 -q")
    return empty


def opened(path: Path) -> Any:
    import anndata

    return anndata.read_h5ad(path)


def test_values_of_cells_go_into_obs_of_a_copy(cells: Workdir) -> None:
    before = (cells / "cells.h5ad").read_bytes()
    how = "cells.h5ad::obsm/X_pca cells.h5ad::obsm/X_umap -m knn-jaccard,procrustes --neighbors euclidean --k 5"
    stderr = cells.here(f"relrep compare {how} --per-row new.h5ad").stderr
    assert "new.h5ad: a copy of cells.h5ad with obs['relrep_knn-jaccard']" in stderr
    cells.here(f"relrep compare {how} --per-row rows.tsv -q")
    rows = {(r["metric"], r["id"]): float(r["value"]) for r in csv.DictReader((cells / "rows.tsv").open(), delimiter="\t")}
    new, old = opened(cells / "new.h5ad"), opened(cells / "cells.h5ad")
    assert new.obs.columns[0] == "kind" and new.obs["kind"].tolist() == old.obs["kind"].tolist()
    for column in new.obs.columns[1:]:
        metric = column.removeprefix("relrep_")
        assert new.obs[column].tolist() == [rows[metric, name] for name in new.obs_names]
    assert np.array_equal(new.X, old.X) and list(new.obs_names) == NAMES
    assert (cells / "cells.h5ad").read_bytes() == before


def test_a_column_of_the_same_name_is_replaced_aloud(cells: Workdir) -> None:
    how = "cells.h5ad::obsm/X_pca some.npz -m cosine"
    np.savez(cells / "some.npz", x=np.random.default_rng(1).normal(size=(N, 4)), id=NAMES)
    assert "same name" not in cells.here(f"relrep compare {how} --per-row new.h5ad").stderr
    again = cells.here(f"relrep compare {how.replace('cells', 'new')} --per-row newer.h5ad").stderr
    assert "newer.h5ad: obs['relrep_cosine'] of new.h5ad had the same name, and only the new values are in the copy." in again
    assert list(opened(cells / "newer.h5ad").obs.columns) == ["kind", "relrep_cosine"]


def test_a_projection_goes_into_obsm_of_a_copy(cells: Workdir) -> None:
    cells.here("relrep project cells.h5ad::obsm/X_pca -a anchors.h5 --center --h5ad new.h5ad -o new.h5 -q")
    made, kept = opened(cells / "new.h5ad").obsm["X_relrep"], store.read(str(cells / "new.h5"))
    assert np.array_equal(made, kept.x) and made.dtype == np.float32
    assert store.read(str(cells / "new.h5ad::obsm/X_relrep")).ids.tolist() == kept.ids.tolist()
    assert "exists" in cells.error("relrep project cells.h5ad::obsm/X_pca -a anchors.h5 --h5ad new.h5ad", 2)


def test_anchors_with_other_barcodes_are_joined_as_the_message_says(cells: Workdir) -> None:
    x = opened(cells / "cells.h5ad").obsm["X_pca"]
    np.savez(cells / "bare.npz", x=x, id=[name.removesuffix("-1") for name in NAMES])
    line = cells.error("relrep project bare.npz -a anchors.h5 -o new.h5", 3)
    assert "5 of them differ only by -1" in line and line.endswith("Write --normalize-ids barcode to find them.")
    cells.here("relrep project bare.npz -a anchors.h5 --normalize-ids barcode -o new.h5 -q")
    assert store.read(str(cells / "new.h5")).x.shape == (N, 5)


def test_values_stand_at_their_cells_whatever_the_join(cells: Workdir) -> None:
    """One cell in ten is moved: only these have low values, with other barcodes, of a part, in both orders, for one split."""
    x, moved = opened(cells / "cells.h5ad").obsm["X_pca"], np.arange(N) % 10 == 3
    y = np.where(moved[:, None], -x, x)
    some = np.random.default_rng(2).permutation(N)[:30]
    np.savez(cells / "y.npz", x=y[some], id=[NAMES[i].removesuffix("-1") for i in some], kind=["uv"[i % 2] for i in some])
    here = np.isin(np.arange(N), some)
    for number, files in enumerate(("cells.h5ad::obsm/X_pca y.npz", "y.npz cells.h5ad::obsm/X_pca")):
        cells.here(f"relrep compare {files} --normalize-ids barcode -m cosine --per-row {number}.h5ad -q")
        values = opened(cells / f"{number}.h5ad").obs["relrep_cosine"].to_numpy()
        assert np.allclose(values[here], np.where(moved, -1, 1)[here], atol=1e-6) and np.isnan(values[~here]).all()
    how = "cells.h5ad::obsm/X_pca y.npz --normalize-ids barcode --split-column kind --split u -m cosine"
    cells.here(f"relrep compare {how} --per-row u.h5ad -q")
    values, u = opened(cells / "u.h5ad").obs["relrep_cosine"].to_numpy(), here & (np.arange(N) % 2 == 0)
    assert np.allclose(values[u], np.where(moved, -1, 1)[u], atol=1e-6) and np.isnan(values[~u]).all()


def test_a_name_holds_what_tells_the_columns_of_a_metric_apart(cells: Workdir) -> None:
    two = "cells.h5ad::obsm/X_pca cells.h5ad::obsm/X_umap --neighbors euclidean"
    cells.here(f"relrep compare {two} -m knn-jaccard,second-order-cosine --k 5 --per-row a.h5ad -q")
    names = ["relrep_knn-jaccard", "relrep_second-order-cosine"]
    assert sorted(opened(cells / "a.h5ad").obs.columns[1:]) == sorted(names)
    cells.here(f"relrep compare {two} -m knn-jaccard,mutual-knn --k 5,6 --per-row b.h5ad -q")
    names = [f"relrep_{metric}_{k}" for metric in ("knn-jaccard", "mutual-knn") for k in (5, 6)]
    assert sorted(opened(cells / "b.h5ad").obs.columns[1:]) == sorted(names)
    np.savez(cells / "x.npz", x=np.random.default_rng(1).normal(size=(N, 4)), id=NAMES)
    cells.here(f"relrep compare {two} x.npz -m knn-jaccard --names pca,umap,x --per-row c.h5ad -q")
    names = ["relrep_knn-jaccard_pca_umap", "relrep_knn-jaccard_pca_x", "relrep_knn-jaccard_umap_x"]
    assert sorted(opened(cells / "c.h5ad").obs.columns[1:]) == sorted(names)


def test_cells_that_take_no_part_have_no_value(cells: Workdir) -> None:
    np.savez(cells / "some.npz", x=np.random.default_rng(1).normal(size=(30, 4)), id=NAMES[:30])
    cells.here("relrep compare cells.h5ad::obsm/X_pca some.npz -m cosine --per-row new.h5ad -q")
    values = opened(cells / "new.h5ad").obs["relrep_cosine"].to_numpy()
    assert np.isnan(values[30:]).all() and np.isfinite(values[:30]).all()


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("compare cells.h5ad::obsm/X_pca cells.h5ad::obsm/X_umap --per-row cells.h5ad", 2, "is also an input"),
        ("compare some.npz some.npz -m cosine --per-row new.h5ad", 2, "none is compared … Name a .tsv"),
        ("project some.npz -a anchors.h5 --h5ad new.h5ad", 2, "FILE is not one … Write -o FILE"),
        ("project cells.h5ad::obsm/X_pca -a anchors.h5 --h5ad new.h5", 2, "must end in .h5ad"),
        ("project cells.h5ad::obsm/X_pca -a anchors.h5 --h5ad a.h5ad -o a.h5ad", 2, "name the same file"),
    ],
)
def test_mistakes(cells: Workdir, command: str, code: int, says: str) -> None:
    np.savez(cells / "some.npz", x=np.eye(4), id=list("abcd"))
    line = cells.error(f"relrep {command} -q", code)
    assert all(part in line for part in says.split(" … ")), line
    assert not (cells / "new.h5ad").exists() and not cells.leftovers()


def test_a_copy_is_written_within_its_file_alone(cells: Workdir, tmp_path: Path) -> None:
    """A link out of the file is not followed, and a file without the frame obs is refused."""
    ones = np.ones(N)
    with h5py.File(cells / "elsewhere.h5", "w") as file:
        file["obs/x"] = ones
    with h5py.File(cells / "cells.h5ad", "r+") as file:
        file.move("obs", "kept")
        file["obs"] = h5py.ExternalLink("elsewhere.h5", "/obs")
    before = (cells / "elsewhere.h5").read_bytes()
    with pytest.raises(DataError, match="follows only hard links"):
        write_copy(str(cells / "cells.h5ad"), str(cells / "new.h5ad"), [Addition("obs", "a", ones)], False)
    assert (cells / "elsewhere.h5").read_bytes() == before and not (cells / "new.h5ad").exists()
    with pytest.raises(DataError, match="is no AnnData file"):
        write_copy(str(cells / "elsewhere.h5"), str(cells / "new.h5ad"), [Addition("obs", "a", ones)], False)
    for damage in (100, 3000):
        (cells / "cut.h5ad").write_bytes((cells / "anchors.h5").read_bytes()[:damage])
        with pytest.raises(DataError):
            write_copy(str(cells / "cut.h5ad"), str(cells / "new.h5ad"), [Addition("obs", "a", ones)], False)
    assert not cells.leftovers()


def test_a_matrix_in_obsm_has_a_short_name(cells: Workdir) -> None:
    long, short = (store.read(f"{cells.path}/cells.h5ad::{name}") for name in ("obsm/X_pca", "X_pca"))
    assert np.array_equal(long.x, short.x) and np.array_equal(long.ids, short.ids)


@pytest.mark.slow
def test_angles_of_flat_spaces_are_remarked_once(cells: Workdir) -> None:
    files = "cells.h5ad::obsm/X_umap cells.h5ad::obsm/X_pca cells.h5ad"
    stderr = cells.here(f"relrep compare {files} -m knn-jaccard,rsa").stderr
    assert stderr.count("has 2 dims, where angles say little about which items are near") == 1
    assert "Write --neighbors euclidean --distance euclidean." in stderr
    assert "angles" not in cells.here(f"relrep compare {files} -m knn-jaccard --neighbors euclidean").stderr
    assert "angles" not in cells.here(f"relrep compare {files} -m cka").stderr
    flat = "cells.h5ad::obsm/X_umap"
    for command, option in (
        (f"evaluate {flat} --task knn -t kind --holdout 0.3", "--neighbors"),
        (f"neighbors {flat} --sample 2 -k 2", "--by"),
        (f"project {flat} -a {flat} --all-as-anchors -o flat.h5", "--similarity"),
    ):
        assert f"Write {option} euclidean." in cells.here(f"relrep {command}").stderr
        force = "--force" if command.startswith("project") else ""
        assert "angles" not in cells.here(f"relrep {command} {force} {option} euclidean").stderr
