"""Memory does not grow with the files: rows picked from a map, and whole commands, measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.embedding import row_numbers
from relrep_cli.numerics.blocks import FAULT, TOUCHED, pick, take
from relrep_cli.store.archive import write

MIB = 1 << 20
N, D = 360_000, 384  # of float16: 264 MiB
PEAK = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); \
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")


def resident() -> int:
    """Bytes of files in this process's memory."""
    return int(Path("/proc/self/smaps_rollup").read_text().partition("Rss:")[2].split()[0]) * 1024


def a_map(folder: Path, n: int, d: int, order: Any = "C", dtype: Any = np.float32) -> np.memmap[Any, Any]:
    """An (n, d) map of a file, its numbers all different."""
    np.arange(n * d, dtype=dtype).tofile(folder / "x")
    return np.memmap(folder / "x", dtype, "r", 0, (n, d), order)


ROWS = {
    "ascending": np.arange(0, 200_000, 7),
    "random": np.random.default_rng(0).permutation(200_000)[:5000],
    "repeated": np.random.default_rng(1).integers(0, 200_000, 5000),
    "a table": np.random.default_rng(2).integers(0, 200_000, (50, 20)),
    "narrow integers": np.random.default_rng(3).integers(0, 200_000, 5000).astype(np.int32),
    "one": np.array([199_999]),
    "none": np.empty(0, np.int64),
}
VIEWS = {
    "map": lambda x: x,
    "array": np.asarray,
    "later rows": lambda x: x[100:],
    "backwards": lambda x: x[::-1],
    "fewer columns": lambda x: np.asarray(x)[:, 3:50:2],
    "one column": lambda x: x[:, 5],
}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_pick_gives_what_an_index_gives(order: str, view: Any, tmp_path: Path) -> None:
    x = view(a_map(tmp_path, 200_100, 64, order))
    whole = np.array(x)
    for rows in ROWS.values():
        actual, wanted = pick(x, rows), whole[rows]
        assert actual.dtype == wanted.dtype and np.array_equal(actual, wanted)
        assert actual.flags.c_contiguous and actual.flags.writeable
    assert np.array_equal(take(x.reshape(len(x), -1), ROWS["random"]), whole.reshape(len(x), -1)[ROWS["random"]])


def test_pick_of_what_is_in_memory() -> None:
    x = np.arange(12).reshape(4, 3)
    assert np.array_equal(pick(x, np.array([3, 0])), x[[3, 0]])


@pytest.mark.slow
def test_rows_longer_than_a_stretch(tmp_path: Path) -> None:
    x = a_map(tmp_path, 24, FAULT, dtype=np.uint8)
    rows = np.random.default_rng(0).permutation(24)
    assert np.array_equal(pick(x, rows), np.array(x)[rows])


@needs_proc
@pytest.mark.parametrize("order", ["C", "F"])
def test_picked_rows_leave_memory(order: str, tmp_path: Path) -> None:
    """The rows lie all over 128 MiB; an index leaves half of them resident, or all, as the system likes."""
    x = a_map(tmp_path, 524_288, 64, order)
    rows = np.random.default_rng(0).permutation(len(x))[:2000]
    before = resident()
    pick(x, rows)
    assert resident() - before < 4 * MIB, "after pick"
    kept = x[rows]
    assert resident() - before > 48 * MIB, "an index does keep them, so that this test can fail"
    assert kept.shape == (2000, 64)


def peak(work: Workdir, command: str) -> int:
    """The most memory, in bytes, that `relrep COMMAND` and its children had at once each."""
    done = work.run(f"{sys.executable} -c '{PEAK}' {sys.executable} -m relrep_cli {command} 2>&1 | tail -n 1")
    return int(done.stdout) * 1024


def a_file(path: Path, n: int) -> None:
    """(n, D) float16 of the space `s`, written block by block."""
    block = np.random.default_rng(0).normal(size=(4000, D)).astype(np.float16)
    blocks = (block[: n - start] for start in range(0, n, len(block)))
    about: dict[str, Any] = {"var": {"id": row_numbers(D)}, "kind": "absolute", "space": "s", "steps": []}
    write(str(path), blocks, shape=(n, D), dtype="float16", ids=row_numbers(n), obs={}, **about)


@pytest.mark.slow
@needs_proc
def test_memory_of_commands_does_not_grow_with_the_file(empty: Workdir) -> None:
    """Of a file of 264 MiB, 1,500 rows that lie all over it become anchors; a tiny file says what the imports take."""
    a_file(empty / "large.h5", N)
    a_file(empty / "small.h5", 2000)
    most = {}
    for name, n in (("large", N), ("small", 2000)):
        rows = np.sort(np.random.default_rng(0).permutation(n)[:1500])
        (empty / f"{name}.txt").write_text("\n".join(map(str, rows)))
        project = f"project small.h5 -a {name}.txt --anchor-vectors {name}.h5 -o {name}-out.h5 -@ 1"
        most[name] = peak(empty, project)
    assert most["large"] - most["small"] < (FAULT * TOUCHED) + 32 * MIB
