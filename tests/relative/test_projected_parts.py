"""A projection in parts: the bytes of one run; parts that do not make a whole are refused."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.relative.projection import TILE
from relrep_cli.store import read

N = 3000  # three tiles
EPOCH = {"SOURCE_DATE_EPOCH": "1000000000"}


@pytest.fixture
def space(empty: Workdir) -> Workdir:
    rng = np.random.default_rng(0)
    ids = np.array([f"item{'x' * (i // 1000)}{i}" for i in range(N)])
    np.savez(empty / "a.npz", x=rng.normal(size=(N, 5)).astype("f4"), ids=ids, label=np.arange(N) % 7)
    np.save(empty / "b.npy", rng.normal(size=(N, 5)))
    (empty / "ids.txt").write_text("item1\nitem2\nitem3\n")
    (empty / "rows.txt").write_text("1\n2\n3\n")
    return empty


@pytest.mark.parametrize(
    "words, count",
    [("a.npz -a ids.txt -s cosine,l1 --standardize-columns", 2), ("b.npy -a rows.txt --dtype float64 --whiten", 3)],
)
def test_the_whole_of_parts_has_the_bytes_of_one_run(space: Workdir, words: str, count: int) -> None:
    for number in range(1, count + 1):
        space.here(f"relrep project {words} -o out.h5 --shard {number}/{count}", **EPOCH)
    starts = [read(str(space / f"out.{number}-of-{count}.h5")).uns["shard"][2] for number in range(1, count + 1)]
    assert not any(start % TILE for start in starts), "the last bits may depend on where tiles begin"
    parts = " ".join(f"out.{number}-of-{count}.h5" for number in range(count, 0, -1))
    space.here(f"relrep merge {parts} -o out.h5", **EPOCH)
    space.here(f"relrep project {words} -o alone.h5", **EPOCH)
    assert (space / "out.h5").read_bytes() == (space / "alone.h5").read_bytes()


@pytest.mark.slow
def test_parts_that_make_no_whole_are_refused(space: Workdir) -> None:
    for number in (1, 2, 3):
        space.here(f"relrep project a.npz -a ids.txt -o out.h5 --shard {number}/3")
    one, two, three = (f"out.{number}-of-3.h5" for number in (1, 2, 3))
    assert "up to date" in space.here("relrep project a.npz -a ids.txt -o out.h5 --shard 2/3").stderr
    space.error(f"relrep merge {one} {three} -o out.h5", 2, "1 of 3 parts are missing: 2.")
    space.error(f"relrep merge {one} {two} {two} -o out.h5", 2, "Name each part once.")
    space.here("relrep project a.npz -a ids.txt -s l1 -o other.h5 --shard 2/3")
    space.error(f"relrep merge {one} other.2-of-3.h5 {three} -o out.h5", 2, "other options than")
    space.here("relrep project a.npz -a ids.txt -o plain.h5")
    space.error(f"relrep merge {one} {two} plain.h5 -o out.h5", 3, "plain.h5: no part of a file.")
    space.error(f"relrep merge {one} {two} {three}", 2, "Name the whole")
    space.error(f"relrep merge {one} {two} {three} -o {one} --force", 2, one)
    content = bytearray((space / two).read_bytes())
    content[-5] ^= 1
    (space / two).write_bytes(content)
    space.error(f"relrep merge {one} {two} {three} -o out.h5", 3, two)
    assert not (space / "out.h5").exists()


@pytest.mark.parametrize(
    "words, message",
    [("--shard 1/4", "3 blocks of 1024"), ("--shard 1/2 -o -", "does not go with -o -"), ("--shard 3", "--shard 1/8")],
)
def test_what_is_no_part(space: Workdir, words: str, message: str) -> None:
    space.error(f"relrep project a.npz -a ids.txt -o out.h5 {words}", 2, message)
