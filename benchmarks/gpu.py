"""Commands with --device against the same on the CPU: do they say the same, and how much sooner are they done?

    python benchmarks/gpu.py [DEVICE] [--smoke]

DEVICE is cuda unless you name another; torch:cpu tries the code on a machine without a GPU. Prints wall seconds of both, their
ratio, and the largest difference of the answers. Neighbours must be the same rows, projections within 2e-6 of the largest.
The first run on a device is not counted. Fits ten minutes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from common import SMOKE, ratio, size  # isort: split

import numpy as np

from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.neighbors import nearest
from relrep_cli.numerics.devices import chosen, torch_device
from relrep_cli.numerics.workspace import Workspace
from relrep_cli.relative.projection import basis, relative_blocks
from relrep_cli.relative.recipes import Recipe

SHAPES = ((400, 16),) if SMOKE else ((100_000, 64), (100_000, 768))
ANCHORS = size(1280, 40)


def wall(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def compare(what: str, work: Callable[[str], np.ndarray], device: str, allowed: float) -> bool:
    """Print one line, and return whether the answers agree."""
    work(device)
    (there, result), (here, wanted) = wall(lambda: work(device)), wall(lambda: work("cpu"))
    apart = float(np.abs(result - wanted).max() / max(1, np.abs(wanted).max()))
    verdict = "same" if apart <= allowed else "DIFFERENT"
    print(
        f"{what:36} {device} {there:8.3f} s   cpu {here:8.3f} s   {ratio(here, there):6.1f} x   {apart:.1e} {verdict}",
        flush=True,
    )
    return apart <= allowed


def main() -> int:
    device = chosen(sys.argv[1] if len(sys.argv) > 1 else "torch:cpu" if SMOKE else "cuda")
    if device.startswith("cuda"):
        import torch

        print(torch.cuda.get_device_name(torch_device(device)))
    good = True
    for n, d in SHAPES:
        x = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
        search = lambda on, x=x: nearest(x, x, 10, exclude_self=True, workspace=Workspace(shares=False, device=on)).rows  # noqa: E731
        good &= compare(f"neighbours, {n} x {d}", search, device, 0.0)
        e = Embedding(x, row_numbers(n))
        for similarity in ("cosine", "euclidean"):
            to = basis(e, Recipe(e.ids[:ANCHORS], {similarity: {}}))
            project = lambda on, x=x, to=to: np.concatenate(list(relative_blocks(x, to, on)))  # noqa: E731
            good &= compare(f"{similarity}, {n} x {d} on {ANCHORS}", project, device, 2e-6)
    return 0 if good else 1


if __name__ == "__main__":
    if failed := main():
        sys.exit(failed)
