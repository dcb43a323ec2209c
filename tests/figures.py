"""Print figures of the whole engine on fixed data, as JSON: what two machines, kernels or numbers of threads are compared by.

OPENBLAS_NUM_THREADS=1 python tests/figures.py > figures.json

values: of every metric on every pair, with its interval and chance level. neighbors: neighbour sets, as a digest and as counts
of ties. vectors: some relative vectors of every similarity function.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import numpy as np

from relrep_cli.comparison.pairs_of_files import interval, measure
from relrep_cli.embedding import Embedding, text
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.score import NotApplicable
from relrep_cli.neighbors import nearest
from relrep_cli.relative.projection import basis, relative
from relrep_cli.relative.recipes import Recipe
from relrep_cli.relative.similarities import SIMILARITIES

ANCHORS = 40
MORE = {"cka-biased": ("cka", {"estimator": "biased"}), "cka-rbf": ("cka", {"kernel": "rbf"})}


def embedding(x: np.ndarray, name: str, seed: int) -> Embedding:
    labels = np.random.default_rng([seed, 9]).integers(0, 5, len(x))
    return Embedding(x, text(f"{i:05d}" for i in range(len(x))), {"label": labels.astype("S1")}, space=name, uri=name)


def spaces(n: int, d: int, seed: int, integers: bool = False) -> tuple[Embedding, Embedding]:
    """Five clouds, and the same turned, with noise; as whole numbers, which tie often."""
    rng = np.random.default_rng(seed)
    x = 2 * rng.normal(size=(5, d))[rng.integers(0, 5, n)] + rng.normal(size=(n, d))
    y = x @ np.linalg.qr(rng.normal(size=(d, d)))[0] + 0.5 * rng.normal(size=(n, d))
    if integers:
        x, y = np.round(x), np.round(y)
    return tuple(embedding(side.round(4).astype(np.float32), name, seed) for side, name in ((x, "a"), (y, "b")))  # type: ignore[return-value]


PAIRS = {"small": (300, 24, 0), "wide": (110, 120, 1), "long": (2100, 12, 2), "ties": (600, 6, 3, True)}


def values(a: Embedding, b: Embedding) -> dict[str, Any]:
    """[value, low, high, chance] of every metric, or why it has none."""
    out: dict[str, Any] = {}
    for label, (name, params) in {**{name: (name, {}) for name in METRICS}, **MORE}.items():
        try:
            score = measure(name, params, a, b)
        except NotApplicable as reason:
            out[label] = str(reason)
            continue
        low, high = interval(name, score, 0)
        out[label] = [None if v is None or not np.isfinite(v) else float(v) for v in (score.value, low, high, score.chance)]
    return out


def neighbors(a: Embedding) -> dict[str, Any]:
    """Digests of the 10 nearest of every row."""
    out: dict[str, Any] = {}
    for by in ("cosine", "euclidean"):
        near = nearest(a.x, a.x, 10, by=by, exclude_self=True)  # type: ignore[arg-type]
        out[by] = [hashlib.sha256(near.rows.astype("<i8").tobytes()).hexdigest()[:16], near.tied]
    return out


def vectors(a: Embedding) -> dict[str, Any]:
    """The relative vectors of some rows, and the largest number of all."""
    ids = np.sort(a.ids[:: max(1, a.n // ANCHORS)][:ANCHORS])
    out: dict[str, Any] = {}
    for name in SIMILARITIES:
        recipe = Recipe(ids, SIMILARITIES.choose([name], {}))
        x = np.asarray(relative(a, basis(a, recipe)).x)
        out[name] = {"largest": float(np.abs(x).max()), "rows": x[:: a.n // 2, ::2].astype(float).tolist()}
    return out


def kernel() -> str:
    """The BLAS kernels that NumPy runs here, such as Haswell."""
    from threadpoolctl import threadpool_info

    return next((str(library.get("architecture")) for library in threadpool_info() if library["user_api"] == "blas"), "unknown")


def figures(pair: str) -> dict[str, Any]:
    """The figures of one of PAIRS."""
    a, b = spaces(*PAIRS[pair])
    more = {"vectors": vectors(a)} if pair in ("small", "ties") else {}
    return {"values": values(a, b), "neighbors": neighbors(a), **more}


if __name__ == "__main__":
    machine = {"kernel": kernel(), "numpy": np.__version__}
    json.dump({"machine": machine, **{pair: figures(pair) for pair in PAIRS}}, sys.stdout)
