"""How often the threshold of `evaluate --task search` breaks its promise, beside one that looks best.

    python benchmarks/trusted_hits.py [--smoke]

Seven relations of a hit's cosine to its being right, 60 to 2,000 queries, 1,000 draws each. The promise is that at least 0.9 of
the hits above the threshold are right. The other threshold is the lowest cosine above which Wilson's 95 % interval of the share
of right hits lies above 0.9. Prints how often each is broken, how often there is none, and the share of queries kept.
"""

from __future__ import annotations

from collections.abc import Callable

from common import size  # isort: split

import numpy as np

from relrep_cli.evaluations.trusted_hits import trusted_hits

DRAWS, WANTED, Z = size(1000, 2), 0.9, 1.959964
QUERIES = size((60, 150, 500, 2000), (60, 150))
BORDER = WANTED - 1e-4
RIGHT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "steep": lambda c: 1 / (1 + np.exp(-12 * (c - 0.45))),
    "steep, mostly right": lambda c: 1 / (1 + np.exp(-12 * (c - 0.1))),
    "gentle": lambda c: 0.7 + 0.3 * c,
    "0.85 everywhere": lambda c: np.full_like(c, 0.85),
    "0.9 everywhere": lambda c: np.full_like(c, BORDER),
    "0.97 everywhere": lambda c: np.full_like(c, 0.97),
    "0.9 above 0.5, else 0.5": lambda c: np.where(c > 0.5, BORDER, 0.5),
}


def exact(cosine: np.ndarray, right: np.ndarray) -> float | None:
    """The threshold of the task; None for none."""
    trusted = trusted_hits(cosine, right, WANTED)
    return None if trusted is None else max(trusted.closeness, 0.0)


def best_looking(cosine: np.ndarray, right: np.ndarray) -> float | None:
    """The lowest cosine above which Wilson's interval lies above the wanted share."""
    order = np.argsort(-cosine)
    n, share = np.arange(1, len(order) + 1), right[order].cumsum() / np.arange(1, len(order) + 1)
    low = (share + Z * Z / (2 * n) - Z * np.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))) / (1 + Z * Z / n)
    passing = np.flatnonzero(low >= WANTED)
    return float(cosine[order[passing[-1]]]) if len(passing) else None


def main() -> None:
    grid = np.linspace(0, 1, 100_001)
    print("relation\tqueries\tthreshold\tbroken\tnone\tkept")
    for name, rate in RIGHT.items():
        share_above = rate(grid)[::-1].cumsum()[::-1] / np.arange(len(grid), 0, -1)
        for queries in QUERIES:
            rng, thresholds = np.random.default_rng(queries), {exact: [], best_looking: []}  # type: ignore[var-annotated]
            for _ in range(DRAWS):
                cosine = rng.random(queries)
                right = rng.random(queries) < rate(cosine)
                for how, ends in thresholds.items():
                    ends.append(how(cosine, right))
            for how, ends in thresholds.items():
                there = [end for end in ends if end is not None]
                broken = sum(share_above[min(int(end * 100_000) + 1, len(grid) - 1)] < WANTED for end in there) / DRAWS
                kept = 1 - float(np.mean(there)) if there else 0.0
                print(f"{name}\t{queries}\t{how.__name__}\t{broken:.3f}\t{1 - len(there) / DRAWS:.2f}\t{kept:.2f}")


if __name__ == "__main__":
    main()
