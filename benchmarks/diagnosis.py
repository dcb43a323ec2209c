"""How often `compare --diagnose` names the relation that was made: a table of what was made against what was said.

    python benchmarks/diagnosis.py [COUNT] [FILE …] [--smoke]

Makes COUNT pairs (300) of 16 kinds, with 50 to 20,000 rows and 8 to 768 dims or more: from random spaces, from the two spaces
of sample_data/, and from further embedding files if some are named; files of one number of rows count as encoders of the same
items. Prints each miss, then the table, the share of right answers, and how often "equal" or "precision" was said where it is
not so. Exits with 1 below 97 %.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable

from common import CHECKOUT, SMOKE, size  # isort: split

import numpy as np

from relrep_cli import store
from relrep_cli.comparison.diagnosis import diagnose

Space = np.ndarray
SIZES, DIMS = size((50, 100, 300, 1000, 4000, 20_000), (50, 300)), size((8, 32, 64, 128, 256, 384, 768), (8, 32))  # type: ignore[arg-type]
BAR = 0.97


def unit(x: Space) -> Space:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)


def turn(d: int, rng: np.random.Generator) -> Space:
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def random_space(rng: np.random.Generator, n: int | None = None) -> Space:
    """Isotropic, with falling variances and an offset, in clusters, or with heavy tails."""
    n, d = n or int(rng.choice(SIZES)), int(rng.choice(DIMS))
    kind = rng.integers(4)
    x = rng.normal(size=(n, d))
    if kind == 1:
        x = (x * np.arange(1, d + 1) ** -0.5) @ turn(d, rng) + rng.normal(size=d)
    if kind == 2:
        x += 2 * rng.normal(size=(10, d))[rng.integers(10, size=n)]
    if kind == 3:
        x = rng.standard_t(5, size=(n, d)) * rng.uniform(0.3, 3, d)
    if rng.random() < 0.3:
        x = unit(x)
    return x.astype(np.float32)


class Source:
    """Spaces to draw from. families: lists of spaces of the same items."""

    def __init__(self, files: list[str]) -> None:
        names = [str(CHECKOUT / "sample_data" / name) for name in ("a.h5", "b.h5")] + files
        spaces = [np.asarray(store.read(name).x, np.float32) for name in names]
        self.families = [[s for s in spaces if len(s) == n] for n in sorted({len(s) for s in spaces})]

    def family(self, rng: np.random.Generator) -> list[Space]:
        """Spaces of the same items, a part of their rows."""
        family = self.families[int(rng.integers(len(self.families)))]
        n = len(family[0])
        rows = rng.permutation(n)[: min(n, int(rng.choice(SIZES)))]
        return [space[rows] for space in family]

    def one(self, rng: np.random.Generator) -> Space:
        if rng.random() < 0.5:
            return random_space(rng)
        family = self.family(rng)
        return family[int(rng.integers(len(family)))]


def noisy(y: Space, rng: np.random.Generator, most: float = 0.05) -> Space:
    """Stored as float32 or float16, or with noise of a share of the usual length of a centred row."""
    kind = rng.integers(4)
    if kind == 0:
        return y.astype(np.float16)
    if kind == 1:
        length = np.median(np.linalg.norm(y - y.mean(0), axis=1))
        y = y + rng.uniform(0, most) * length / np.sqrt(y.shape[1]) * rng.normal(size=y.shape)
    return y.astype(np.float32)


Pair = tuple[Space, Space, str]
Maker = Callable[[Source, np.random.Generator], Pair]


def equal(source: Source, rng: np.random.Generator) -> Pair:
    x = source.one(rng)
    return x, x.copy(), "equal"


def precision(source: Source, rng: np.random.Generator) -> Pair:
    x = source.one(rng).astype(np.float32)
    kind, axis = rng.integers(8), (None, 0, 1)[rng.integers(3)]
    most = np.maximum(np.abs(x).max(axis, keepdims=True), 1e-20)
    low, high = x.min(axis, keepdims=True), x.max(axis, keepdims=True)
    step = np.maximum(high - low, 1e-20) / 255
    x = x + 0 if kind else x * np.float32(1.1)
    made = [
        lambda: x.astype(np.float16),
        lambda: x.astype(np.float16),
        lambda: (x.view(np.uint32) + 0x8000 & np.uint32(0xFFFF0000)).view(np.float32),
        lambda: np.rint(x / most * 127),
        lambda: np.rint(x / most * 127) * most / 127,
        lambda: np.rint((x - low) / step),
        lambda: np.rint((x - low) / step) * step + low,
        lambda: (np.where(x > 0, 1, -1), x > 0, np.packbits(x > 0, axis=1), np.packbits(x > 0, axis=1).astype(int) - 128)[
            rng.integers(4)
        ],
    ]
    y = np.asarray(made[kind]())
    return x, y if y.dtype == np.float16 else y.astype(np.float32), "precision"


def unit_length(source: Source, rng: np.random.Generator) -> Pair:
    x = 0 * source.one(rng)
    while np.linalg.norm(x, axis=1).std() <= 0.02 * np.linalg.norm(x, axis=1).mean():
        x = source.one(rng)
    return x, noisy(unit(x), rng, 0.01), "unit-length"


def scaled(source: Source, rng: np.random.Generator) -> Pair:
    x = source.one(rng)
    return x, noisy(x * rng.choice([0.1, 0.5, 2, 3.7, 100]), rng), "scaled"


def shifted(source: Source, rng: np.random.Generator) -> Pair:
    x = source.one(rng).astype(np.float64)
    if rng.random() < 0.5 and np.linalg.norm(x.mean(0)) > 0.3 * x.std() * np.sqrt(x.shape[1]):
        return x.astype(np.float32), noisy(x - x.mean(0), rng), "shifted"
    return x.astype(np.float32), noisy(x + 2 * x.std() * rng.normal(size=x.shape[1]), rng), "shifted"


def truncated(source: Source, rng: np.random.Generator) -> Pair:
    x = source.one(rng)
    return x, noisy(x[:, : shorter(x, rng)], rng), "truncated"


def truncated_unit(source: Source, rng: np.random.Generator) -> Pair:
    x = source.one(rng)
    return x, noisy(unit(x[:, : shorter(x, rng)]), rng, 0.02), "truncated-unit-length"


def shorter(x: Space, rng: np.random.Generator) -> int:
    d = x.shape[1]
    return int(rng.choice([k for k in (4, 16, 64, 128, 256, d // 2) if k < d]))


def permuted(source: Source, rng: np.random.Generator) -> Pair:
    x = source.one(rng)
    return x, noisy(x[:, rng.permutation(x.shape[1])], rng), "columns-permuted"


def rotated(source: Source, rng: np.random.Generator) -> Pair:
    x = source.one(rng).astype(np.float64)
    y = x - x.mean(0) if rng.random() < 0.3 else x
    y = y * rng.choice([0.2, 5]) if rng.random() < 0.3 else unit(y) if rng.random() < 0.2 else y
    return x.astype(np.float32), noisy(y @ turn(x.shape[1], rng), rng), "rotated"


def linear(source: Source, rng: np.random.Generator) -> Pair:
    x = source.one(rng)
    while len(x) < 2 * x.shape[1]:  # for fewer rows, a linear map fits anything
        x = source.one(rng)
    d = x.shape[1]
    wide = int(rng.choice([d, max(4, d // 2), d + 10]))
    return x, noisy(x @ rng.normal(size=(d, wide)) / np.sqrt(d), rng, 0.02), "linear-map"


def whitened(source: Source, rng: np.random.Generator) -> Pair:
    x = source.one(rng).astype(np.float64)
    while len(x) < 2 * x.shape[1]:
        x = source.one(rng).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    white = (x - x.mean(0)) @ (vectors / np.sqrt(np.maximum(values, values[-1] * 1e-7)))
    y = white @ vectors.T if rng.random() < 0.5 else white[:, ::-1]
    return x.astype(np.float32), y.astype(np.float32), "whitened"


def mixed(n: int, rng: np.random.Generator) -> np.ndarray:
    """All rows in another order, a part of them, or each one place further."""
    kind, order = rng.integers(4), np.arange(n)
    if kind == 0:
        return np.roll(order, 1)
    if kind == 1:
        some = rng.permutation(n)[: max(10, int(n * rng.uniform(0.1, 0.6)))]
        order[some] = np.roll(some, 1)
        return order
    return rng.permutation(n)


def reordered(source: Source, rng: np.random.Generator) -> Pair:
    x = source.one(rng)
    y = unit(x) if rng.random() < 0.3 else x
    return x, noisy(y[mixed(len(x), rng)], rng, 0.02), "rows-reordered"


def turned_and_reordered(source: Source, rng: np.random.Generator) -> Pair:
    x = source.one(rng)
    y = (x.astype(np.float64) @ turn(x.shape[1], rng))[mixed(len(x), rng)]
    return x, y.astype(np.float16 if rng.random() < 0.3 else np.float32), "rotated-rows-reordered"


def foreign(source: Source, rng: np.random.Generator) -> Pair:
    """A share of the rows comes from another encoder of these dims, or from other items of a random space."""
    if rng.random() < 0.4:
        x = random_space(rng)
        other = rng.permutation(x.ravel()).reshape(x.shape) if rng.random() < 0.5 else np.roll(x, 1, 1)[rng.permutation(len(x))]
    else:
        family = [s for s in source.family(rng) for _ in range(1)]
        x = family[int(rng.integers(len(family)))]
        others = [s for s in family if s.shape[1] == x.shape[1] and s is not x]
        other = others[int(rng.integers(len(others)))] if others else np.roll(x, 1, 1)[rng.permutation(len(x))]
    n = len(x)
    some = rng.permutation(n)[: max(1, int(n * rng.choice([0.02, 0.05, 0.1, 0.2, 0.5])))]
    kind = rng.integers(4)
    y = x.astype(np.float64)
    y = unit(y) if kind == 1 else y
    y[some] = unit(other[some]) if kind == 1 else other[some]
    if kind == 2:
        y = y @ turn(x.shape[1], rng)
    return x, y.astype(np.float16 if kind == 3 else np.float32), "foreign-rows"


def related(source: Source, rng: np.random.Generator) -> Pair:
    family = source.family(rng)
    if rng.random() < 0.4 or len(family) < 2:
        n, k = int(rng.choice(SIZES)), 16
        hidden = rng.normal(size=(n, k))
        x, y = (
            np.tanh(hidden @ rng.normal(size=(k, d)) / 2) + 0.3 * rng.normal(size=(n, d))
            for d in (int(rng.choice(DIMS)) for _ in range(2))
        )
        return x.astype(np.float32), y.astype(np.float32), "related"
    i, j = rng.permutation(len(family))[:2]
    return family[i], family[j], "related"


def unrelated(source: Source, rng: np.random.Generator) -> Pair:
    if rng.random() < 0.5:
        x = source.one(rng)
        return x, random_space(rng, len(x)), "unrelated"
    family = source.family(rng)
    i, j = rng.permutation(len(family))[:2] if len(family) > 1 else (0, 0)
    if i == j:
        return family[0], random_space(rng, len(family[0])), "unrelated"
    return family[i], family[j][rng.permutation(len(family[j]))], "unrelated"


KINDS: tuple[Maker, ...] = (
    equal,
    precision,
    unit_length,
    scaled,
    shifted,
    truncated,
    truncated_unit,
    permuted,
    rotated,
    linear,
    whitened,
    reordered,
    turned_and_reordered,
    foreign,
    related,
    unrelated,
)


def main(arguments: list[str]) -> int:
    count = int(arguments[0]) if arguments else size(300, 32)
    source = Source(arguments[1:])
    table: Counter[tuple[str, str]] = Counter()
    false, slowest, start = 0, 0.0, time.process_time()
    for number in range(count):
        rng = np.random.default_rng([number, 17])
        x, y, truth = KINDS[number % len(KINDS)](source, rng)
        before = time.process_time()
        diagnosis = diagnose(x, y)
        slowest = max(slowest, time.process_time() - before)
        table[truth, diagnosis.relation] += 1
        false += diagnosis.relation in ("equal", "precision") and diagnosis.relation != truth
        if diagnosis.relation != truth:
            pair = f"{number}: {truth} {x.shape} to {y.shape} {y.dtype}"
            print(f"{pair}: said {diagnosis.relation}: {diagnosis.evidence}", flush=True)
    right = sum(number for (truth, answer), number in table.items() if truth == answer)
    for (truth, answer), number in sorted(table.items()):
        print(f"{truth}\t{answer}\t{number}")
    print(f"right: {right} of {count} ({right / count:.1%}); equal or precision said falsely: {false}")
    print(f"CPU seconds: {time.process_time() - start:.0f} in all, at most {slowest:.1f} for a pair")
    return int(not SMOKE and right < BAR * count)


if __name__ == "__main__":
    if main(sys.argv[1:]):
        sys.exit(1)
