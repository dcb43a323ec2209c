"""Commands with --device against the same on the CPU: do they say the same, and how much sooner are they done?

    python benchmarks/gpu.py [DEVICE] [--smoke]

DEVICE is cuda unless you name another; torch:cpu tries the code on a machine without a GPU. Prints wall seconds of both, their
ratio, and the largest difference of the answers. Neighbours and anchors must be the same rows, projections within 2e-6 of the
largest, all else within 1e-9. Where a work is mostly one product, the share of the card's limit is printed: multiply-adds a
second against those of square products of the same precision, which are measured first. The first run on a device is not
counted. Fits ten minutes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from common import SMOKE, ratio, size  # isort: split

import numpy as np

from relrep_cli.anchors.strategies import STRATEGIES, Candidates, choose
from relrep_cli.comparison.pairs_of_files import measure
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.heads.heads import train
from relrep_cli.metrics import METRICS
from relrep_cli.neighbors import nearest
from relrep_cli.numerics.devices import chosen, in_float64, torch_device
from relrep_cli.numerics.permuted_products import Batch
from relrep_cli.numerics.workspace import Workspace
from relrep_cli.relative.projection import basis, relative_blocks
from relrep_cli.relative.recipes import Recipe

SHAPES = ((400, 160),) if SMOKE else ((100_000, 64), (100_000, 768))
ANCHORS = size(1280, 40)
SIDE = size(8192, 64)  # of the square products that show the card's limit
CLASSES = 10
Answer = Callable[[str], np.ndarray]


@dataclass(frozen=True)
class Work:
    """One command's work. answer: of a device. allowed: the largest difference. products: multiply-adds, where these are most
    of it. double: whether they are in float64."""

    what: str
    answer: Answer
    allowed: float = 1e-9
    products: float = 0.0
    double: bool = False


def wall(answer: Answer, device: str) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    result = answer(device)
    return time.perf_counter() - start, result


def limit(device: str, dtype: str) -> float:
    """Multiply-adds a second of square products on the device."""
    import torch

    on = torch_device(device)
    x = torch.ones((SIDE, SIDE), dtype=getattr(torch, dtype), device=on)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        float((x @ x)[0, 0])  # waits for the product
        seconds.append(time.perf_counter() - start)
    return ratio(SIDE**3, min(seconds[1:]))


def compare(work: Work, device: str, limits: dict[bool, float]) -> bool:
    """Print one line, and return whether the answers agree."""
    work.answer(device)
    (there, result), (here, wanted) = wall(work.answer, device), wall(work.answer, "cpu")
    apart = float(np.abs(result - wanted).max() / max(1, np.abs(wanted).max()))
    verdict = "same" if apart <= work.allowed else "DIFFERENT"
    share = f"{100 * ratio(ratio(work.products, there), limits[work.double]):5.1f} %" if work.products else ""
    print(
        f"{work.what:44} {device} {there:8.3f} s   cpu {here:8.3f} s   {ratio(here, there):6.1f} x   {share:7}   "
        f"{apart:.1e} {verdict}",
        flush=True,
    )
    return apart <= work.allowed


def on(device: str) -> Workspace:
    return Workspace(shares=False, device=device)


def anchors(c: Candidates, name: str, device: str) -> np.ndarray:
    there = replace(c, device=device)
    return np.asarray(choose(there, name, ANCHORS, np.random.default_rng(0), STRATEGIES[name].resolve({})))


def permuted(x: np.ndarray, y: np.ndarray, device: str) -> np.ndarray:
    """The cross products of five permutations."""
    rng = np.random.default_rng(0)
    batch = Batch(range(5), lambda number: rng.permutation(len(x)))
    if device == "cpu":
        left, right = x.astype(np.float64), y.astype(np.float64)
        return np.stack([left.T @ right[batch.order_of(number)] for number in range(5)])
    return np.stack([product for n in range(5) if (product := batch.product(x, y, (0.0, 0.0), n, device)) is not None])


def works(n: int, d: int) -> Iterator[Work]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)).astype(np.float32)
    y = x + rng.normal(size=(n, d)).astype(np.float32)
    e, f = (Embedding(side, row_numbers(n)) for side in (x, y))
    shape = f"{n} x {d}"
    search = lambda device: nearest(x, x, 10, exclude_self=True, workspace=on(device)).rows  # noqa: E731
    yield Work(f"neighbours, {shape}", search, 0.0, float(n) * n * d)
    for similarity in ("cosine", "euclidean"):
        to = basis(e, Recipe(e.ids[:ANCHORS], {similarity: {}}))
        project = lambda device, to=to: np.concatenate(list(relative_blocks(x, to, device)))  # noqa: E731
        yield Work(f"{similarity}, {shape} on {ANCHORS}", project, 2e-6, float(n) * d * ANCHORS)
    candidates = Candidates((e,), (np.arange(n),))
    for name in ("kmeans", "farthest"):
        yield Work(f"{name}, {ANCHORS} of {shape}", partial(anchors, candidates, name), 0.0)
    for name in ("cka", "cca", "procrustes"):
        params = METRICS[name].resolve({})
        metric = lambda device, name=name, params=params: np.array(measure(name, params, e, f, 0, on(device)).value)  # noqa: E731
        yield Work(f"{name}, {shape}", metric, products=4.0 * n * d * d, double=True)
    for name in ("rsa", "distance-correlation"):
        params = METRICS[name].resolve({})
        metric = lambda device, name=name, params=params: np.array(measure(name, params, e, f, 0, on(device)).value)  # noqa: E731
        yield Work(f"{name}, {shape}", metric)
    yield Work(f"products of 5 permutations, {shape}", partial(permuted, x, y), products=5.0 * n * d * d, double=True)
    target = (x[:, :CLASSES] + rng.normal(size=(n, CLASSES))).argmax(1)
    for head in ("linear", "logistic"):
        learn = lambda device, head=head: train(head, x, target, CLASSES, {}, 0, device).arrays["weights"]  # noqa: E731
        yield Work(f"{head} probe, {shape}", learn)


def main() -> int:
    device = chosen(sys.argv[1] if len(sys.argv) > 1 else "torch:cpu" if SMOKE else "cuda")
    if device.startswith("cuda"):
        import torch

        print(torch.cuda.get_device_name(torch_device(device)))
    limits = {False: limit(device, "float32")}
    limits[True] = limit(device, "float64") if in_float64(device) == device else float("nan")
    print(
        f"square products: {limits[False] / 1e12:.2f} and {limits[True] / 1e12:.2f} (float64) million million multiply-adds/s"
    )
    good = True
    for n, d in SHAPES:
        for work in works(n, d):
            good &= compare(work, device, limits)
    return 0 if good else 1


if __name__ == "__main__":
    if failed := main():
        sys.exit(failed)
