"""The report of a migration: its verdict on twelve prepared pairs.

    python benchmarks/migration.py [--smoke]

Four good bridges, four hopeless pairs and four with too few anchors, in five draws each. The truth is the recall@10
of items that the report never saw, by the method that it chose, with its anchors and with eight times as many.
"""

from __future__ import annotations

from dataclasses import dataclass

from common import SMOKE, size  # isort: split

import numpy as np

from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.relative.recipes import Recipe
from relrep_cli.stitching.bridge_verdicts import BRIDGE, MORE_ANCHORS, REEMBED
from relrep_cli.stitching.learning_curve import MORE
from relrep_cli.stitching.migration import Report, _Lookup, report
from relrep_cli.stitching.translation import Fitting
from relrep_cli.stitching.translators import TRANSLATORS
from relrep_cli.stitching.universe import UNIVERSES

WANTED, ROUNDS, INDEX = 0.9, size(5, 1), size(1000, 200)
METHODS = {**TRANSLATORS.choose(list(TRANSLATORS), {}), **UNIVERSES.choose(["universe"], {})}


@dataclass(frozen=True)
class Pair:
    """An old space and a new one: shared factors, turned, each with noise of its own.

    factors: that both spaces hold. noise: of each, over the deviation of a factor. strong: how unequal the factors are, as
    the ratio of the strongest to the weakest. linear: whether the new one is also stretched. folded: whether the new space
    holds squares, which no line goes back from.
    """

    name: str
    verdict: str
    anchors: int
    factors: int = 32
    noise: float = 0.3
    strong: float = 1.0
    linear: bool = False
    folded: bool = False

    def spaces(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """New and old vectors (n, d) of n items."""
        rng = np.random.default_rng([seed, self.factors, self.anchors])
        items = rng.normal(size=(n, self.factors)) * np.geomspace(self.strong, 1, self.factors)
        new, old = (items @ np.linalg.qr(rng.normal(size=(self.factors,) * 2))[0] for _ in range(2))
        if self.linear:
            new = new * np.geomspace(1, 4, self.factors)
        if self.folded:
            new = np.square(new)
        return tuple(x + self.noise * x.std() * rng.normal(size=x.shape) for x in (new, old))  # type: ignore[return-value]


PAIRS = (
    Pair("turned", BRIDGE, 200, noise=0.0),
    Pair("turned, much noise", BRIDGE, 300, noise=0.6),
    Pair("stretched", BRIDGE, 300, noise=0.1, linear=True),
    Pair("strong and weak factors", BRIDGE, 300, factors=64, noise=0.1, strong=5.0),
    Pair("unrelated", REEMBED, 300, noise=100.0),
    Pair("half noise", REEMBED, 300, factors=24, noise=0.9),
    Pair("two factors", REEMBED, 300, factors=2, noise=0.3),
    Pair("folded", REEMBED, 300, folded=True),
    Pair("few anchors, few factors", MORE_ANCHORS, 16, factors=24, noise=0.5),
    Pair("few anchors, many factors", MORE_ANCHORS, 24, factors=96, noise=0.6),
    Pair("few anchors, stretched", MORE_ANCHORS, 24, factors=48, noise=0.6, linear=True),
    Pair("few anchors, much noise", MORE_ANCHORS, 40, factors=48, noise=0.7),
)


def embeddings(x: np.ndarray, y: np.ndarray, rows: np.ndarray | None = None) -> tuple[Embedding, Embedding]:
    """The new file, of some rows alone, and the whole old one."""
    ids = row_numbers(len(x))
    rows = np.arange(len(x)) if rows is None else rows
    return Embedding(x[rows], ids[rows], space="new", uri="new"), Embedding(y, ids, space="old", uri="old")


def reported(x: np.ndarray, y: np.ndarray, anchors: int, methods: dict, rows: np.ndarray | None = None) -> Report:  # type: ignore[type-arg]
    e, target = embeddings(x, y, rows)
    name = next(iter(methods))
    return report(e, target, methods, Fitting(name, methods[name], Recipe(target.ids[:anchors])), WANTED)


def true_recall(x: np.ndarray, y: np.ndarray, method: str, anchors: int, looked: int, index: int) -> float:
    """The recall@10 of the last `looked` items among the last `index`, by a map of the first anchors."""
    lookup = _Lookup(x[-looked:], np.concatenate([y[-looked:], y[-index:-looked]]), y[-index:])
    return float(lookup.by(Fitting(method, METHODS[method]), x[:anchors], y[:anchors]).scores["recall_10"].mean())


def verdicts() -> None:
    right = total = 0
    print("pair\tverdict\twanted\trecall@10\ttrue\ttrue with 8 times the anchors")
    for pair in PAIRS[-1:] if SMOKE else PAIRS:
        for seed in range(ROUNDS):
            x, y = pair.spaces(INDEX + MORE[-1] * pair.anchors + INDEX, seed)
            seen = np.concatenate([np.arange(pair.anchors), np.arange(pair.anchors, INDEX)])
            report_made = reported(x[seen], y[seen], pair.anchors, METHODS)
            last = report_made.records[-1]
            now, more = (
                true_recall(x, y, last["method"], pair.anchors * times, size(500, 50), INDEX) for times in (1, MORE[-1])
            )
            print(f"{pair.name}\t{report_made.verdict}\t{pair.verdict}\t{last['value']:.3f}\t{now:.3f}\t{more:.3f}", flush=True)
            right, total = right + (report_made.verdict == pair.verdict), total + 1
    print(f"{right} of {total} verdicts are right")


if __name__ == "__main__":
    verdicts()
