"""Projection against scipy, torch, plain matrix products and its own arithmetic; and its memory on large files.

    python benchmarks/project.py [ROUNDS] [--no-memory]

Data are normal, float32, from NumPy's generator with seed 0; 100,000 x 768 items on 300 and 1,280 of them as anchors. All run
on one thread. Ratios are of CPU seconds (user + system, median of rounds in which all take turns). Peers (scipy and torch
cdist) are timed on the first 2,048 rows and scaled to all. Memory is the largest resident set of a fresh process that runs
the whole command `relrep project`, with 300 anchors. Needs 4 GB in the temporary folder, 5 minutes, scipy and torch.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from scipy.spatial.distance import cdist  # noqa: E402

from relrep_cli import store  # noqa: E402
from relrep_cli.embedding import Embedding, row_numbers  # noqa: E402
from relrep_cli.numerics import distances as kernels  # noqa: E402
from relrep_cli.relative.projection import Recipe, basis, relative_blocks  # noqa: E402

N, D, ANCHORS, PEER_ROWS, BLOCK = 100_000, 768, (300, 1280), 2048, 4096
MIB = 1 << 20
PEAK = """
import os, sys
_, status, usage = os.wait4(os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:]), 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""  # in a process of its own: a child's peak counts from that of the process it was forked from
Work = Callable[[], object]


def seconds(works: dict[str, Work], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each, in rounds that take turns after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            before = sum(os.times()[:2])
            work()
            times[name].append(sum(os.times()[:2]) - before)
    return {name: median(found[1:]) for name, found in times.items()}


def line(what: str, ratio: float, goal: str, met: bool) -> None:
    print(f"{what:64} {ratio:8.2f}  {goal:12} {'met' if met else 'MISSED'}", flush=True)


def blockwise(kernel: Callable[..., object], x: np.ndarray, anchors: np.ndarray) -> None:
    out = np.empty((BLOCK, len(anchors)), x.dtype)
    for start in range(0, len(x), BLOCK):
        some = x[start : start + BLOCK]
        kernel(some, anchors, out=out[: len(some)])


def distances(x: np.ndarray, m: int, rounds: int) -> None:
    anchors, few, scale = x[:m].copy(), x[:PEER_ROWS], len(x) / PEER_ROWS
    tensors = torch.from_numpy(few.copy()), torch.from_numpy(anchors)
    works: dict[str, Work] = {
        "l1": lambda: blockwise(kernels.l1, x, anchors),
        "chebyshev": lambda: blockwise(kernels.chebyshev, x, anchors),
        "scipy l1": lambda: cdist(few, anchors, "cityblock"),
        "torch l1": lambda: torch.cdist(*tensors, p=1),
        "scipy chebyshev": lambda: cdist(few, anchors, "chebyshev"),
        "torch chebyshev": lambda: torch.cdist(*tensors, p=torch.inf),
    }
    found = seconds(works, rounds)
    for peer, goal in (("scipy l1", 8), ("torch l1", 8), ("scipy chebyshev", 4), ("torch chebyshev", 4)):
        ratio = found[peer] * scale / found[peer.split()[1]]
        line(f"{len(x)} x {D} on {m}: {peer} / ours", ratio, f">= {goal}", ratio >= goal)


def products(x: np.ndarray, m: int, rounds: int) -> None:
    anchors = x[:m].copy()
    works: dict[str, Work] = {
        "gemm": lambda: blockwise(lambda some, unit, out: np.matmul(some, unit.T, out=out), x, anchors),
        "cosine": lambda: blockwise(kernels.cosine, x, kernels.unit(anchors)),
        "euclidean": lambda: blockwise(kernels.euclidean, x, anchors),
    }
    found = seconds(works, rounds)
    rate = 2e-9 * len(x) * D * m / found["gemm"]
    line(f"{len(x)} x {D} on {m}: sgemm, GFLOP/s", rate, "", True)
    for name, goal in (("cosine", 0.88), ("euclidean", 0.0)):
        ratio = found["gemm"] / found[name]
        line(f"{len(x)} x {D} on {m}: sgemm / {name}", ratio, f">= {goal}" if goal else "", ratio >= goal)


def file_to_file(folder: Path, x: np.ndarray, m: int, rounds: int) -> None:
    made(folder / "x.h5", (x[at : at + BLOCK] for at in range(0, len(x), BLOCK)), *x.shape, "float32")
    e = store.read(str(folder / "x.h5"))
    works: dict[str, Work] = {}
    for name in ("cosine", "euclidean"):
        recipe = Recipe(e.ids[:m], name)
        to = basis(e, recipe)
        works[name] = lambda to=to: [len(block) for block in relative_blocks(x, to)]
        works[f"{name}, files"] = lambda to=to: written(folder / "out.h5", e, to)
        works[f"{name}, remove"] = (folder / "out.h5").unlink  # or the next would pay for it
    block = np.ones((BLOCK, m), np.float32)
    works["plain"] = lambda: plainly(folder / "out.h5", (block[: len(x) - at] for at in range(0, len(x), BLOCK)))
    works["remove"] = (folder / "out.h5").unlink
    found = seconds(works, rounds)
    line(f"{len(x)} x {m}: write() of so many bytes / cosine", found["plain"] / found["cosine"], "", True)
    for name in ("cosine", "euclidean"):
        ratio = found[f"{name}, files"] / found[name]
        line(f"{len(x)} x {D} on {m}: {name}, HDF5 to HDF5 / compute alone", ratio, "<= 1.35", ratio <= 1.35)


def written(target: Path, e: Embedding, to) -> None:  # type: ignore[no-untyped-def]
    parts = {"ids": e.ids, "obs": {}, "var": to.recipe.var(), "kind": "relative", "space": to.recipe.space(), "steps": []}
    store.write(str(target), relative_blocks(e.x, to), shape=(e.n, len(to.anchors)), dtype="float32", **parts)


def plainly(target: Path, blocks: Iterator[np.ndarray]) -> None:
    """The system's share of writing, which varies most between machines."""
    with target.open("xb", buffering=0) as file:
        for block in blocks:
            file.write(block)
        os.fsync(file.fileno())


def made(target: Path, blocks: Iterator[np.ndarray], n: int, d: int, dtype: str) -> None:
    parts = {"ids": row_numbers(n), "obs": {}, "var": {"id": row_numbers(d)}, "kind": "absolute", "space": "s", "steps": []}
    store.write(str(target), blocks, shape=(n, d), dtype=dtype, **parts)


def memory(folder: Path, n: int, d: int, dtype: str) -> float:
    """MiB of the largest resident set of `relrep project`."""
    rng = np.random.default_rng(0)
    made(folder / "large.h5", (rng.normal(size=(min(BLOCK, n - at), d)) for at in range(0, n, BLOCK)), n, d, dtype)
    (folder / "ids.txt").write_text("".join(f"{i}\n" for i in range(300)))
    command = [sys.executable, "-m", "relrep_cli", "project", "large.h5", "--anchors", "ids.txt", "-o", "large.rel.h5", "-q"]
    helper = [sys.executable, "-c", PEAK, *command]
    done = subprocess.run(
        helper, cwd=folder, env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, stdout=subprocess.PIPE, check=True
    )
    for name in ("large.h5", "large.rel.h5"):
        (folder / name).unlink()
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024) / MIB


def main() -> None:
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    rounds = numbers[0] if numbers else 5
    print(f"numpy {np.__version__}, torch {torch.__version__}, {rounds} rounds")
    x = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="relrep-") as name:
        for m in ANCHORS:
            distances(x, m, rounds)
            products(x, m, rounds)
            file_to_file(Path(name), x, m, rounds)
            (Path(name) / "x.h5").unlink()
        if "--no-memory" in sys.argv:
            return
        small, large = memory(Path(name), 100_000, 64, "float32"), memory(Path(name), 1_000_000, 64, "float32")
        line(f"peak MiB: 1M x 64 ({large:.0f}) - 100k x 64 ({small:.0f})", large - small, "<= 32", large - small <= 32)
        half = memory(Path(name), 2_000_000, 256, "float16")
        line("peak MiB: 2M x 256 of float16", half, "<= 1024", half <= 1024)


if __name__ == "__main__":
    main()
