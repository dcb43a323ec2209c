"""Translated files in parts, and by other processes: the bytes of one run; what cannot be divided is refused."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Workdir

EPOCH = {"SOURCE_DATE_EPOCH": "1000000000"}


@pytest.fixture
def spaces(empty: Workdir) -> Workdir:
    """A space, the rows of another, and the map between them."""
    rng = np.random.default_rng(0)
    old = rng.normal(size=(9000, 5))
    np.savez(empty / "old.npz", x=old, ids=np.arange(9000).astype("S"))
    np.savez(empty / "new.npz", x=old @ rng.normal(size=(5, 4)), ids=np.arange(9000).astype("S"))
    empty.here("relrep translate new.npz --into old.npz --fit-rows 200 --save-map map.h5", **EPOCH)
    return empty


def test_the_whole_of_parts_has_the_bytes_of_one_run(spaces: Workdir) -> None:
    command = "relrep translate new.npz --map map.h5"
    for number in (1, 2, 3):
        spaces.here(f"{command} -o out.h5 --shard {number}/3", **EPOCH)
    spaces.here("relrep merge out.3-of-3.h5 out.1-of-3.h5 out.2-of-3.h5 -o out.h5", **EPOCH)
    spaces.here(f"{command} -o alone.h5", **EPOCH)
    assert (spaces / "out.h5").read_bytes() == (spaces / "alone.h5").read_bytes()
    spaces.error(f"{command} -o more.h5 --shard 1/4 -q", 2, "9000 rows are 3 blocks of 4096, too few for 4 parts")
    spaces.error(f"{command} -o out.csv --shard 1/3", 2, "--shard divides the rows of an HDF5 file")
    spaces.error("relrep translate new.npz --into old.npz -o x.h5 --shard 1/3", 2, "Fit it once with --save-map")
    spaces.error("relrep translate new.npz --into old.npz --cluster local:2", 2, "--cluster divides the rows of an HDF5 file")


@pytest.mark.slow
def test_other_processes_give_the_bytes_of_this_one(spaces: Workdir) -> None:
    for how in ("--map map.h5", "--into old.npz --fit-rows 200"):
        command = f"relrep translate new.npz {how} --force"
        spaces.here(f"{command} -o alone.h5", **EPOCH)
        spaces.here(f"{command} -o out.h5 --cluster local:2", **EPOCH)
        assert (spaces / "out.h5").read_bytes() == (spaces / "alone.h5").read_bytes()
