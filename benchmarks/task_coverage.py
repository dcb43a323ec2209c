"""How often 95 % intervals of `evaluate`, and of `evaluate --against`, hold the truth.

    python benchmarks/task_coverage.py [DRAWS] [TASK …] [--smoke]

Draws of n items of four classes, seen twice with unequal noise. Truth is the mean over the draws. Prints TSV: of the values of
one file, and of the differences of two.
"""

from __future__ import annotations

import sys

from common import size  # isort: split

import numpy as np

from relrep_cli.comparison.dependent_rows import FREEDOM
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.evaluations import EVALUATIONS
from relrep_cli.evaluations.file_differences import difference_factor, estimates, judged
from relrep_cli.evaluations.finding_records import records
from relrep_cli.evaluations.findings import Finding, Space, evaluate, prepare
from relrep_cli.numerics.paired_differences import paired_difference

SIZES = {"knn": 200, "retrieval": 150, "separation": 150}
CLASSES, D, NOISES = 4, 8, (0.4, 0.8)
Ends = tuple[float, float, float]


def spaces(task: str, n: int, seed: int) -> list[Space]:
    """Two spaces of the same items; half of the items is for training where the task trains."""
    rng = np.random.default_rng([seed, n])
    labels = rng.integers(0, CLASSES, n)
    hidden = 1.2 * np.random.default_rng(5).normal(size=(CLASSES, D))[labels] + rng.normal(size=(n, D))
    columns = {"label": labels.astype("S")}
    if "train" in EVALUATIONS[task].needs:
        columns["split"] = np.where(np.arange(n) % 2, b"train", b"test")
    return [
        prepare(Embedding(hidden + noise * rng.normal(size=hidden.shape), row_numbers(n), columns), "label", "", 0, 0)
        for noise in NOISES
    ]


def measured(task: str, n: int, seed: int) -> dict[str, tuple[Ends, Ends]]:
    """The interval of the first space, and of the difference of both, for each thing measured."""
    both = spaces(task, n, seed)
    result: list[dict[str, Finding]] = [
        {f.name: f for f in evaluate(space, task, EVALUATIONS[task].resolve({}), seed)} for space in both
    ]
    out = {}
    for name, first in result[0].items():
        (record,) = records("", task, [first], both[0].classes, seed, False)
        one, other = (judged({}, "", each[name], seed) for each in result)
        a, b = (value.estimate for value in estimates({"a": one.finding, "b": other.finding}).values())
        assert a is not None and b is not None
        apart = paired_difference(a, b, seed=seed, factor=difference_factor(one, other), freedom=FREEDOM)
        ends = [np.nan if end is None else end for end in (record["low"], record["high"], apart.low, apart.high)]
        out[name] = (record["value"], *ends[:2]), (apart.value, *ends[2:])
    return out


def main(arguments: list[str]) -> None:
    draws = int(arguments[0]) if arguments else size(300, 3)
    print("task\tname\tn\tof\tcovered\twidth\ttruth\tdraws")
    for task in arguments[1:] or SIZES:
        n = SIZES[task]
        result = [measured(task, n, seed) for seed in range(draws)]
        for name in result[0]:
            for place, what in enumerate(("value", "difference")):
                value, low, high = np.array([each[name][place] for each in result]).T
                truth, spread = value.mean(), value.std()
                covered = ((low <= truth) & (truth <= high)).mean()
                width = (high - low).mean() / (2 * 1.96 * spread)
                if np.isfinite(width):
                    print(f"{task}\t{name}\t{n}\t{what}\t{covered:.3f}\t{width:.2f}\t{truth:.4f}\t{draws}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
