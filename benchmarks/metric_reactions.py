"""How metrics react to known changes of a space: the table of docs/which-metric.md.

    python benchmarks/metric_reactions.py [METRIC …] [--smoke]

The space holds 500 items of 10 classes in 64 dims. Each change makes the second space. Prints Markdown: the corrected value of
each metric, 0 at chance and 1 in full agreement.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from common import size  # isort: split

import numpy as np
from scipy.stats import ortho_group

from relrep_cli.base.output import render
from relrep_cli.comparison.corrected_values import corrected
from relrep_cli.comparison.pairs_of_files import measure
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.score import NotApplicable

N, D, CLASSES = size(500, 80), size(64, 8), 10
Change = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]


def space(rng: np.random.Generator, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of CLASSES clouds, and their classes. The axes differ in spread, as those of real encoders do."""
    classes = np.arange(n) % CLASSES
    scales = 1 / np.sqrt(np.arange(1, d + 1))
    return (rng.normal(size=(CLASSES, d))[classes] + rng.normal(size=(n, d))) * scales, classes


def within_classes(rng: np.random.Generator, classes: np.ndarray) -> np.ndarray:
    order = np.arange(len(classes))
    for c in range(CLASSES):
        order[classes == c] = rng.permutation(order[classes == c])
    return order


def one_large(x: np.ndarray) -> np.ndarray:
    out = x.copy()
    out[:, 0] *= 30
    return out


CHANGES: dict[str, Change] = {
    "rotated": lambda rng, x, c: x @ ortho_group.rvs(x.shape[1], random_state=rng),
    "half of the variance is noise": lambda rng, x, c: x + rng.normal(size=x.shape) * x.std(0),
    "one column 30 times larger": lambda rng, x, c: one_large(x),
    "columns scaled to one spread": lambda rng, x, c: x / x.std(0),
    "first quarter of the columns": lambda rng, x, c: x[:, : x.shape[1] // 4],
    "items swapped within classes": lambda rng, x, c: x[within_classes(rng, c)],
    "another space": lambda rng, x, c: space(rng, *x.shape)[0][rng.permutation(len(x))],
}
OPTIONS = {"rsa": {"distance": "euclidean"}}


def main(names: list[str]) -> None:
    rng = np.random.default_rng(0)
    x, classes = space(rng, N, D)
    records = [{"second space": what} | row(names, x, change(rng, x, classes), classes) for what, change in CHANGES.items()]
    print(render(records, ["second space", *names], "markdown"), end="")


def row(names: list[str], x: np.ndarray, y: np.ndarray, classes: np.ndarray) -> dict[str, str]:
    sides = [Embedding(side, row_numbers(len(side)), obs={"label": classes}) for side in (x, y)]
    out: dict[str, str] = {}
    for name in names:
        entry = METRICS[name]
        try:
            result = measure(name, entry.resolve(OPTIONS.get(name, {})), *sides)
        except NotApplicable:
            out[name] = "n/a"
            continue
        best = entry.identity if isinstance(entry.identity, int | float) else entry.bounds[1 if entry.higher_is_closer else 0]
        value = corrected(result.value, result.chance, best)
        out[name] = "n/a" if value is None else f"{round(value, 2) + 0.0:.2f}"
    return out


USUAL = ["cka", "knn-jaccard", "rsa", "procrustes", "linear-regression", "svcca", "matching", "nts", "label-overlap", "cosine"]

if __name__ == "__main__":
    main([a for a in sys.argv[1:] if not a.startswith("--")] or USUAL)
