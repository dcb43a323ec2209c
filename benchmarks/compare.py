"""CPU time of metrics against plain forms of what others compute, on the same data, in rounds that take turns.

    python benchmarks/compare.py [ROUNDS] [ROW …] [--smoke]

Each row times relrep with its interval and chance level against a formula written here as the peer writes it, value only.
Prints median CPU seconds of both, their ratio (how many times relrep is faster) and the difference of the values.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

from common import SMOKE, installed, ratio, size  # isort: split

import numpy as np
from scipy import stats
from scipy.spatial.distance import pdist

from relrep_cli.metrics import METRICS

Pair = tuple[np.ndarray, np.ndarray]


def clouds(n: int, d: int, seed: int = 0) -> Pair:
    """Two float32 views of 20 hidden numbers."""
    n, d = (n // 20, d // 8) if SMOKE else (n, d)
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, 20))
    x, y = (hidden @ rng.normal(size=(20, d)) + rng.normal(size=(n, d)) for _ in range(2))
    return x.astype(np.float32), y.astype(np.float32)


def gram_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Biased linear CKA from n x n Gram matrices centred by H K H, as platonic-rep and latentis have it, in torch."""
    import torch

    return _gram_cka(*(torch.from_numpy(s) @ torch.from_numpy(s).T for s in (x, y)))


def gram_rbf_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Biased RBF CKA with the median width, n x n throughout, as peers have it, in torch."""
    import torch

    grams = []
    for side in map(torch.from_numpy, (x, y)):
        products = side @ side.T
        squares = (products.diag()[:, None] + products.diag() - 2 * products).clamp(min=0)
        grams.append(torch.exp(-squares / (2 * squares[squares > 0].median())))
    return _gram_cka(*grams)


def _gram_cka(k, l):  # type: ignore[no-untyped-def]  # noqa: E741
    import torch

    h = torch.eye(len(k)) - 1 / len(k)

    def hsic(a, b):  # type: ignore[no-untyped-def]
        return torch.trace(a @ h @ b @ h)

    return float(hsic(k, l) / torch.sqrt(hsic(k, k) * hsic(l, l)))


def svd_svcca(x: np.ndarray, y: np.ndarray) -> float:
    """SVCCA as the reference code goes: SVD of either space to 99 % of variance, covariances, inverse roots, SVD."""
    reduced = []
    for side in (x, y):
        _, s, v = np.linalg.svd((side - side.mean(0)).T, full_matrices=False)
        kept = int(np.searchsorted(np.cumsum(s**2) / (s**2).sum(), 0.99)) + 1
        reduced.append(s[:kept, None] * v[:kept])
    a = reduced[0]
    joint = np.cov(np.concatenate(reduced))
    saa, sbb, sab = joint[: len(a), : len(a)], joint[len(a) :, len(a) :], joint[: len(a), len(a) :]
    roots = []
    for s in (saa, sbb):
        values, vectors = np.linalg.eigh(s)
        roots.append(vectors / np.sqrt(values) @ vectors.T)
    return float(np.linalg.svd(roots[0] @ sab @ roots[1])[1].mean())


def scipy_rsa(x: np.ndarray, y: np.ndarray) -> float:
    """Correlation distances and Spearman by scipy."""
    return float(stats.spearmanr(pdist(x, "correlation"), pdist(y, "correlation"))[0])


ROWS: dict[str, tuple[Callable[[], Pair], str, dict[str, str], Callable[[np.ndarray, np.ndarray], float]]] = {
    "linear CKA 2k x 768": (lambda: clouds(2000, 768), "cka", {}, gram_cka),
    "RBF CKA 2k x 768": (lambda: clouds(2000, 768), "cka", {"kernel": "rbf"}, gram_rbf_cka),
    "RBF CKA 3k x 64": (lambda: clouds(3000, 64), "cka", {"kernel": "rbf"}, gram_rbf_cka),
    "SVCCA 20k x 300": (lambda: clouds(20_000, 300), "svcca", {}, svd_svcca),
    "RSA 5k x 64": (lambda: clouds(5000, 64), "rsa", {}, scipy_rsa),
    "RSA 5k x 384": (lambda: clouds(5000, 384), "rsa", {}, scipy_rsa),
}


IN_TORCH = (gram_cka, gram_rbf_cka)


def timed(function: Callable[..., float], *args: object) -> tuple[float, float]:
    start = time.process_time()
    value = function(*args)
    return time.process_time() - start, value


def main(arguments: list[str]) -> None:
    rounds = int(arguments[0]) if arguments else size(5, 1)
    for name in arguments[1:] or ROWS:
        make, metric, params, plain = ROWS[name]
        if plain in IN_TORCH and not installed("torch"):
            continue
        x, y = make()
        entry = METRICS[metric]
        ours = lambda: float(entry.function(x, y, **entry.resolve(params)).value)  # noqa: B023, E731
        theirs = lambda: plain(x, y)  # noqa: B023, E731
        times: dict[str, list[float]] = {"ours": [], "theirs": []}
        values: dict[str, float] = {}
        ours(), theirs()  # imports and caches
        for _ in range(rounds):
            for who, function in (("ours", ours), ("theirs", theirs)):
                seconds, value = timed(function)
                times[who].append(seconds)
                values[who] = value
        difference = values["ours"] - values["theirs"]
        a, b = median(times["ours"]), median(times["theirs"])
        print(
            f"{name:22} relrep {a:7.3f} s CPU   plain {b:7.3f} s CPU   {ratio(b, a):5.1f} x   differ by {difference:.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
