"""Collections written in other formats and read again: same numbers, ids, labels and splits."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from conftest import Workdir

from relrep_cli import store
from relrep_cli.store.exports import EXPORTS

N, D = 7, 3
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
IDS = np.array(["a", "b,c", 'd "e"', "é", "x y", "0", "-1"])


@pytest.fixture
def collection(work: Workdir) -> Workdir:
    np.savez(work / "own.npz", x=X, id=IDS, label=np.array(list("uvuvuvu")), split=np.array(["train", "test"] * 3 + ["train"]))
    work.here("relrep embed own.npz -o own.h5")
    return work


@pytest.mark.parametrize("ending", EXPORTS)
def test_what_is_exported_is_read_again(collection: Workdir, ending: str) -> None:
    collection.here(f"relrep embed own.h5 -o out{ending}")
    e, original = store.read(str(collection / f"out{ending}")), store.read(str(collection / "own.h5"))
    assert np.array_equal(e.x.astype(np.float32), original.x)  # decimals of .csv are exact for float32
    assert e.ids.tolist() == original.ids.tolist() == [i.encode() for i in IDS]
    if ending != ".npy":
        assert e.obs["label"].tolist() == original.obs["label"].tolist()
        assert e.obs["split"].tolist() == original.obs["split"].tolist()
    assert "exists" in collection.error(f"relrep embed own.h5 -o out{ending}", 2)
    assert not collection.leftovers()


@pytest.mark.parametrize("ending", EXPORTS)
def test_bare_arrays_stay_bare(work: Workdir, ending: str) -> None:
    np.save(work / "a.npy", X)
    stderr = work.here(f"relrep embed a.npy -o out{ending}").stderr
    assert f"out{ending}: 7 x 3, without ids." in stderr
    e = store.read(str(work / f"out{ending}"))
    assert e.row_ids and e.id_candidates == () and np.array_equal(e.x.astype(np.float32), X)


def test_other_programs_read_the_exports(collection: Workdir) -> None:
    for name in ("out.npy", "out.npz", "out.parquet", "out.safetensors"):
        collection.here(f"relrep embed own.h5 -o {name}")
    assert np.array_equal(np.load(collection / "out.npy"), X)
    assert np.array_equal(np.load(collection / "out.npz")["id"], IDS)
    table = pq.read_table(collection / "out.parquet")
    assert table["id"].to_pylist() == IDS.tolist() and np.allclose(table["embedding"].to_pylist(), X)
    assert np.array_equal(safetensors.numpy.load_file(collection / "out.safetensors")["embedding"], X)


def test_numbers_that_do_not_fit_are_refused_and_nothing_is_written(work: Workdir) -> None:
    np.save(work / "a.npy", X.astype(np.float64) * 1e30)
    for ending in EXPORTS:
        stderr = work.here(f"relrep embed a.npy --dtype float16 -o x{ending}", 3).stderr
        assert "row 0 holds a number out of range for float16. Write --dtype float64." in stderr
    assert not list(work.path.glob("x.*")) and not work.leftovers()


def test_columns_of_numbers_do_not_become_coordinates(work: Workdir, tmp_path: Path) -> None:
    with h5py.File(work / "a.h5", "w") as file:
        file["X"], file["obs/id"], file["obs/score"] = X, [i.encode() for i in IDS], np.arange(N) / 7
    for ending in EXPORTS:
        work.here(f"relrep embed a.h5 -o y{ending}")
        assert store.read(str(work / f"y{ending}")).d == D


@pytest.mark.parametrize(
    "command",
    [
        "embed a.h5",
        "embed a.h5 --encoder pca --dim 2",
        "anchor a.h5 -n 9",
        "project a.h5 -a anchors.h5",
        "stitch a.h5 b.h5 -a anchors.h5 -m orthogonal --head linear",
        "translate a.h5 --into b.h5",
    ],
)
def test_an_ending_that_is_not_written_is_refused(work: Workdir, command: str) -> None:
    """It would hold HDF5 under a name that promises something else."""
    work.error(f"relrep {command} -q -o x.faiss", 2, "this command does not write .faiss. Name a file that ends in .h5")
    assert not (work / "x.faiss").exists() and not work.leftovers()


@pytest.mark.parametrize("name", ["x", "x-0.5", "a.in-b", "x.2-of-8", "x.h5.tmp", "x.HDF5", "x.he5"])
def test_names_that_promise_nothing_else_hold_hdf5(work: Workdir, name: str) -> None:
    work.here(f"relrep embed a.h5 -o {name}")
    assert (work / name).read_bytes().startswith(b"\x89HDF") and store.read(str(work / name)).n
