"""Measure how good a set of anchors is for a space, and advise what to improve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.signals import check
from relrep_cli.neighbors import nearest, overlap
from relrep_cli.numerics.blocks import column_mean, pick, row_blocks
from relrep_cli.numerics.distances import euclidean, unit

Record = dict[str, Any]
SAMPLE = 1000  # random items used for neighbours and for typical distances
REDRAWS = 5  # random sets of anchors to compare with
K = 10  # neighbours


@dataclass(frozen=True, eq=False)
class Space:
    """One embedding and its anchors.

    x: (n, d) vectors. rows: the row numbers to use. anchors: (m, d) vectors. labels: those of the rows, and own: those of the
    anchors; b"" when unknown, None when the file has no labels.
    """

    uri: str
    x: np.ndarray
    rows: np.ndarray
    anchors: np.ndarray
    labels: np.ndarray | None = None
    own: np.ndarray | None = None


def report(spaces: Sequence[Space], seed: int) -> Iterator[Record]:
    """Yield one record (file, name, value, advice) for each measurement in each space."""
    samples = [s.rows[np.sort(np.random.default_rng(seed).permutation(len(s.rows))[:SAMPLE])] for s in spaces]
    for s, sample in zip(spaces, samples, strict=True):
        scale = typical(pick(s.x, sample))
        parts = (matrix(s), coverage(s, scale), redundancy(s, sample, scale), classes(s), kept(s, sample, seed))
        yield from ({"file": s.uri, **record} for part in parts for record in part)


def record(name: str, value: float | None, advice: str = "") -> Record:
    return {"name": name, "value": value, "advice": advice}


def typical(x: np.ndarray) -> float:
    """The median distance between rows of x, the unit of the other distances; 1 when it is 0.

    x: (n, d).
    """
    x = np.asarray(x, np.float64)
    return float(np.median(euclidean(x[::2].copy(), x[1::2].copy(), np.empty((len(x[::2]), len(x[1::2])))))) or 1.0


def matrix(s: Space) -> Iterator[Record]:
    """The numbers of anchors and dims; the rank and condition number of the anchors, centred on the mean of the items."""
    m, d = s.anchors.shape
    yield record("anchors", m, f"fewer than the {d} dims: the relative space is narrower; take {d} or more" if m < d else "")
    yield record("dims", d)
    values = np.linalg.svd(np.asarray(s.anchors, np.float64) - column_mean(s.x, s.rows), compute_uv=False)
    rank = int((values > values[0] * max(m, d) * np.finfo(np.float32).eps).sum())
    low = rank < min(m, d)
    yield record("rank", rank, "anchors repeat each other, or the space has fewer directions than dims" if low else "")
    condition = float(values[0] / values[rank - 1]) if rank else None
    hard = condition is not None and condition > 1000
    yield record(
        "condition",
        condition,
        "some directions are poorly covered; take more anchors, or project with --whiten" if hard else "",
    )


def coverage(s: Space, scale: float) -> Iterator[Record]:
    """The distances of the items to their nearest anchor, in units of the typical distance between items."""
    gaps = np.empty(len(s.rows))
    anchors = np.asarray(s.anchors, np.float64)
    for b in row_blocks(len(s.rows), max(s.x.shape[1], len(anchors))):
        x = np.asarray(pick(s.x, s.rows[b]), np.float64)
        gaps[b] = euclidean(x, anchors, np.empty((len(x), len(anchors)))).min(1) / scale
    far = "much of the space is far from any anchor; take more, or --strategy kmeans"
    yield record("coverage median", float(np.median(gaps)), far if np.median(gaps) > 0.8 else "")
    yield record("coverage 95 %", float(np.quantile(gaps, 0.95)))
    out = "some items lie far out; look at them, or add --strategy farthest" if gaps.max() > 3 * np.quantile(gaps, 0.95) else ""
    yield record("coverage max", float(gaps.max()), out)


def redundancy(s: Space, sample: np.ndarray, scale: float) -> Iterator[Record]:
    """The distance of the closest two anchors, and the effective number of anchors.

    sample: (k,) row numbers of items.

    The effective number is the Vendi score: the exponential of the entropy of the spectrum of the centred cosines.

    Source: Friedman & Dieng 2023.
    """
    m = len(s.anchors)
    anchors = np.asarray(s.anchors, np.float64)
    if m > 1:
        two = nearest(anchors, anchors, 1, by="euclidean", exclude_self=True).rows[:, 0]
        closest = float(np.sqrt(np.square(anchors - anchors[two]).sum(1)).min()) / scale
        yield record("closest pair", closest, "two anchors are almost the same; remove one" if closest < 0.01 else "")
    number, reach = effective(s, anchors), effective(s, pick(s.x, sample))
    few = number < min(m, reach) / 2
    advice = f"most lie along a few directions (the items along {reach:.0f}); --strategy kmeans or farthest spreads them"
    yield record("effective number", number, advice if few else "")


def effective(s: Space, x: np.ndarray) -> float:
    """The effective number of orthogonal directions among the rows of x, centred on the mean of the items.

    x: (m, d) anchors.
    """
    rows = unit(np.asarray(x, np.float64) - column_mean(s.x, s.rows))
    shares = np.linalg.svd(rows, compute_uv=False) ** 2
    shares = shares[shares > 0] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def classes(s: Space) -> Iterator[Record]:
    """The class balance: the smallest share of a class that is an anchor, divided by the largest; 1 when balanced."""
    if s.labels is None or s.own is None or not (s.own != b"").any():
        return
    names, counts = np.unique(s.labels[s.labels != b""], return_counts=True)
    shares = np.array([(s.own == name).sum() for name in names]) / counts
    without = int((shares == 0).sum())
    advice = f"{without} of {len(names)} classes have no anchor; take --strategy per-class" if without else ""
    yield record("class balance", float(shares.min() / shares.max()), advice)


def kept(s: Space, sample: np.ndarray, seed: int) -> Iterator[Record]:
    """The share of an item's nearest neighbours that the relative space keeps, with these anchors and with random ones.

    sample: (k,) row numbers of items.
    """
    x = np.asarray(pick(s.x, sample), np.float64) - column_mean(s.x, s.rows)
    if len(x) <= K + 1:
        return
    before = nearest(x, x, K, exclude_self=True).rows
    draws = [s.anchors, *(_drawn(s, seed + place) for place in range(REDRAWS))]
    shares = []
    for anchors in draws:
        check()
        z = unit(x) @ unit(np.asarray(anchors, np.float64) - column_mean(s.x, s.rows)).T
        shares.append(float(overlap(before, nearest(z, z, K, exclude_self=True).rows).mean() / K))
    yield from against_random(f"neighbours kept of {K}", shares)


def _drawn(s: Space, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).permutation(s.rows)[: len(s.anchors)]
    return pick(s.x, np.sort(rows))


def against_random(name: str, values: Sequence[float]) -> Iterator[Record]:
    """Report the first value, then the mean and the standard deviation of the others, which are those of random anchors."""
    mean, spread = float(np.mean(values[1:])), float(np.std(values[1:], ddof=1))
    worse = values[0] < mean - 2 * max(spread, 0.005)
    yield record(name, values[0], "fewer than with random anchors; take another strategy" if worse else "")
    yield record("of random anchors", mean)
    wide = spread > 0.02
    yield record(
        "deviation over redraws",
        spread,
        "results depend on the draw; take more, or report several seeds" if wide else "",
    )


def agreement(spaces: Sequence[Space], parallel: Sequence[np.ndarray], seed: int) -> Iterator[Record]:
    """Measure how well the relative representations of several spaces agree.

    parallel: for each space, the row numbers of the common items. Each record is the share of nearest neighbours that a space
    has in common with the first one, with these anchors and with random ones.
    """
    first, *others = spaces
    sample = np.sort(np.random.default_rng(seed).permutation(len(parallel[0]))[:SAMPLE])
    if len(sample) <= K + 1:
        return
    draws: list[np.ndarray | None] = [None]
    draws += [
        np.random.default_rng(seed + place).permutation(len(parallel[0]))[: len(first.anchors)] for place in range(REDRAWS)
    ]
    neighbours = [
        [_relative_neighbours(s, rows, sample, draw) for draw in draws] for s, rows in zip(spaces, parallel, strict=True)
    ]
    for s, own in zip(others, neighbours[1:], strict=True):
        shares = [float(overlap(a, b).mean() / K) for a, b in zip(neighbours[0], own, strict=True)]
        yield from ({"file": f"{first.uri} {s.uri}", **r} for r in against_random(f"neighbours shared of {K}", shares))


def _relative_neighbours(s: Space, rows: np.ndarray, sample: np.ndarray, draw: np.ndarray | None) -> np.ndarray:
    """(q, K) neighbours within the sample, by cosines to the anchors, or to the items of a random draw."""
    check()
    mean = column_mean(s.x, s.rows)
    anchors = s.anchors if draw is None else pick(s.x, rows[draw])
    z = unit(np.asarray(pick(s.x, rows[sample]), np.float64) - mean) @ unit(np.asarray(anchors, np.float64) - mean).T
    return nearest(z, z, K, exclude_self=True).rows
