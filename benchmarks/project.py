"""Projection against scipy, torch, plain matrix products and its own arithmetic; and its memory on large files.

    python benchmarks/project.py [ROUNDS] [--no-memory] [--smoke]

Data are normal, float32, from NumPy's generator with seed 0; 100,000 x 768 items on 300 and 1,280 of them as anchors. All run
on one thread. Ratios are of CPU seconds (user + system, median of rounds in which all take turns). Peers (scipy and torch
cdist) are timed on the first 2,048 rows and scaled to all. Memory is the largest resident set of a fresh process that runs
the whole command `relrep project`, with 300 anchors. Needs 4 GB in the temporary folder, 5 minutes, scipy and torch.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from common import RELREP, SMOKE, Work, installed, ratio, seconds, size, usage  # isort: split

import numpy as np
from scipy.spatial.distance import cdist

from relrep_cli import store
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.numerics import distances as kernels
from relrep_cli.relative.projection import Basis, basis, relative_blocks
from relrep_cli.relative.recipes import Recipe

N, D, ANCHORS, PEER_ROWS, BLOCK = size(100_000, 2000), size(768, 32), (20,) if SMOKE else (300, 1280), size(2048, 200), 4096
MIB = 1 << 20


def line(what: str, value: float, goal: str, met: bool) -> None:
    print(f"{what:64} {value:8.2f}  {goal:12} {'met' if met else 'MISSED'}", flush=True)


def blockwise(kernel: Callable[..., object], x: np.ndarray, anchors: np.ndarray) -> None:
    out = np.empty((BLOCK, len(anchors)), x.dtype)
    for start in range(0, len(x), BLOCK):
        some = x[start : start + BLOCK]
        kernel(some, anchors, out=out[: len(some)])


def distances(x: np.ndarray, m: int, rounds: int) -> None:
    anchors, few, scale = x[:m].copy(), x[:PEER_ROWS], len(x) / PEER_ROWS
    works: dict[str, Work] = {
        "l1": lambda: blockwise(kernels.l1, x, anchors),
        "chebyshev": lambda: blockwise(kernels.chebyshev, x, anchors),
        "scipy l1": lambda: cdist(few, anchors, "cityblock"),
        "scipy chebyshev": lambda: cdist(few, anchors, "chebyshev"),
    }
    if installed("torch"):
        import torch

        tensors = torch.from_numpy(few.copy()), torch.from_numpy(anchors)
        works["torch l1"] = lambda: torch.cdist(*tensors, p=1)
        works["torch chebyshev"] = lambda: torch.cdist(*tensors, p=torch.inf)
    timings = seconds(works, rounds)
    for peer, goal in (("scipy l1", 8), ("torch l1", 8), ("scipy chebyshev", 4), ("torch chebyshev", 4)):
        if peer in timings:
            times = ratio(timings[peer] * scale, timings[peer.split()[1]])
            line(f"{len(x)} x {D} on {m}: {peer} / ours", times, f">= {goal}", times >= goal)


def products(x: np.ndarray, m: int, rounds: int) -> None:
    anchors = x[:m].copy()
    works: dict[str, Work] = {
        "gemm": lambda: blockwise(lambda some, unit, out: np.matmul(some, unit.T, out=out), x, anchors),
        "cosine": lambda: blockwise(kernels.cosine, x, kernels.unit(anchors)),
        "euclidean": lambda: blockwise(kernels.euclidean, x, anchors),
    }
    times = seconds(works, rounds)
    rate = ratio(2e-9 * len(x) * D * m, times["gemm"])
    line(f"{len(x)} x {D} on {m}: sgemm, GFLOP/s", rate, "", True)
    for name, goal in (("cosine", 0.88), ("euclidean", 0.0)):
        share = ratio(times["gemm"], times[name])
        line(f"{len(x)} x {D} on {m}: sgemm / {name}", share, f">= {goal}" if goal else "", share >= goal)


def file_to_file(folder: Path, x: np.ndarray, m: int, rounds: int) -> None:
    made(folder / "x.h5", (x[at : at + BLOCK] for at in range(0, len(x), BLOCK)), *x.shape, "float32")
    e = store.read(str(folder / "x.h5"))
    works: dict[str, Work] = {}
    for name in ("cosine", "euclidean"):
        recipe = Recipe(e.ids[:m], {name: {}})
        to = basis(e, recipe)
        works[name] = lambda to=to: [len(block) for block in relative_blocks(x, to)]
        works[f"{name}, files"] = lambda to=to: written(folder / "out.h5", e, to)
        works[f"{name}, remove"] = (folder / "out.h5").unlink  # or the next would pay for it
    block = np.ones((BLOCK, m), np.float32)
    works["plain"] = lambda: plainly(folder / "out.h5", (block[: len(x) - at] for at in range(0, len(x), BLOCK)))
    works["remove"] = (folder / "out.h5").unlink
    timings = seconds(works, rounds)
    line(f"{len(x)} x {m}: write() of so many bytes / cosine", ratio(timings["plain"], timings["cosine"]), "", True)
    for name in ("cosine", "euclidean"):
        times = ratio(timings[f"{name}, files"], timings[name])
        line(f"{len(x)} x {D} on {m}: {name}, HDF5 to HDF5 / compute alone", times, "<= 1.35", times <= 1.35)


def written(target: Path, e: Embedding, to: Basis) -> None:
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
    (folder / "ids.txt").write_text("".join(f"{i * (n // 300)}\n" for i in range(300)))  # all over the file
    files = [str(folder / name) for name in ("large.h5", "ids.txt", "large.rel.h5")]
    _, peak, _ = usage([*RELREP, "project", files[0], "--anchors", files[1], "-o", files[2], "-q"])
    for name in files:
        Path(name).unlink()
    return peak / MIB


def main() -> None:
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    rounds = numbers[0] if numbers else size(5, 1)
    print(f"numpy {np.__version__}, {rounds} rounds")
    x = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="relrep-") as name:
        for m in ANCHORS:
            distances(x, m, rounds)
            products(x, m, rounds)
            file_to_file(Path(name), x, m, rounds)
            (Path(name) / "x.h5").unlink()
        if "--no-memory" in sys.argv:
            return
        few, many, most = size(100_000, 500), size(1_000_000, 5000), 2_000_000
        small, large = memory(Path(name), few, 64, "float32"), memory(Path(name), many, 64, "float32")
        what = f"peak MiB: {many} x 64 ({large:.0f}) - {few} x 64 ({small:.0f})"
        line(what, large - small, "<= 32", large - small <= 32)
        if SMOKE:
            return
        half = memory(Path(name), most, 256, "float16")
        line(f"peak MiB: {most} x 256 of float16", half, "<= 1024", half <= 1024)


if __name__ == "__main__":
    main()
