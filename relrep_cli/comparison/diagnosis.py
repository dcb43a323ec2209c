"""What lies between two files of the same items: the simplest of a list of relations that explains them, with its evidence.

Equality and precision are checked number by number. Every other relation predicts the rows of one file from those of
the other; its noise is the error on rows that it was not fitted on, relative to their distance from the centre. A relation
holds when all rows follow it. A later one is chosen only where it explains most of the noise that an earlier one leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.comparison import linear_maps, row_maps
from relrep_cli.comparison.file_pairs import FilePair, Map, file_pair, swapped
from relrep_cli.comparison.isometries import Turned, rotated
from relrep_cli.comparison.precisions import cut_precision, kind_of, precision_of_moved
from relrep_cli.comparison.relatedness import CERTAIN, POSSIBLE, relatedness
from relrep_cli.comparison.row_maps import Fit
from relrep_cli.comparison.row_orders import SHARE, Moved, look_up, look_up_turned, standardised, turned_and_moved

NOISE = 0.12  # error, relative to the length of a row, up to which a relation holds
BETTER = 3.0  # how many times less noise makes a less simple relation the answer
SPREAD = 12.0  # times the error of the best tenth of rows: what a row that follows may have
FAR = 0.4  # error above which no row follows
SOME = 0.08  # least share of rows that must follow, where the others come from elsewhere
SOME_FITTED = 0.3  # the same where the relation is fitted
EIGHTH = 8  # numbers or rows below which nothing is decided

Test = Callable[[FilePair], Iterator[Fit]]


@dataclass(frozen=True)
class Relation:
    """A relation in the list. fits: the ways in which it may hold; None for a relation with a test of its own. both: whether
    it is also tried with the files exchanged. fitted: whether it has so much freedom that few rows may follow by chance."""

    name: str
    meaning: str
    fits: Test | None = None
    both: bool = False
    fitted: bool = False
    noise: float = NOISE


RELATIONS: dict[str, Relation] = {
    one.name: one
    for one in (
        Relation("equal", "all numbers are equal"),
        Relation("precision", "equal but for the precision of the numbers"),
        Relation("noise", "equal but for noise", row_maps.same),
        Relation("scaled", "multiplied by one number", row_maps.scaled),
        Relation("shifted", "one vector added to each row", row_maps.shifted),
        Relation("unit-length", "each row brought to one length", row_maps.unit_length, both=True),
        Relation("padded", "columns of zeros added", row_maps.padded, both=True),
        Relation("truncated", "the first columns", row_maps.truncated, both=True),
        Relation("truncated-unit-length", "the first columns, then unit length", row_maps.truncated_unit_length, both=True),
        Relation("columns-permuted", "columns in another order", row_maps.columns_permuted, both=True),
        Relation("rotated", "turned or mirrored", rotated, both=True, fitted=True),
        Relation("whitened", "whitened", linear_maps.whitened, both=True, fitted=True, noise=0.1),
        Relation("linear-map", "a linear map", linear_maps.linear_map, both=True, fitted=True, noise=0.1),
        Relation("rows-reordered", "rows in another order than their ids"),
        Relation("rotated-rows-reordered", "rotated, and rows in another order"),
        Relation("foreign-rows", "a share of the rows comes from elsewhere"),
        Relation("related", "related geometry, as of another model"),
        Relation("unrelated", "no more alike than random pairings"),
        Relation("none-of-these", "none of these"),
    )
}


@dataclass(frozen=True, eq=False)
class Standing:
    """How well one fit does. residuals: (r,) errors of the rows `rows`. noise: the usual error of those that follow."""

    relation: Relation
    fit: Fit
    pair: FilePair
    rows: np.ndarray
    residuals: np.ndarray
    follows: np.ndarray
    noise: float

    @property
    def share(self) -> float:
        return float(self.follows.mean())

    @property
    def holds(self) -> bool:
        return bool(self.follows.all()) and self.noise <= self.relation.noise

    @property
    def holds_for_some(self) -> bool:
        least = SOME_FITTED if self.relation.fitted else SOME
        return self.noise <= self.relation.noise and self.share >= least and self.follows.sum() >= EIGHTH

    def evidence(self) -> str:
        return self.fit.evidence


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The answer. relation: its name. share: of the rows that follow it. noise: their usual error. evidence: its figures, in
    words. tried: what each simpler relation lacks, by name. rows, residuals: (r,) rows and their errors, where known. moved:
    where rows stand that were moved."""

    relation: str
    share: float | None
    noise: float | None
    evidence: str
    tried: dict[str, str]
    rows: np.ndarray
    residuals: np.ndarray
    moved: Moved | None = None


def diagnose(x: np.ndarray, y: np.ndarray, seed: int = 0) -> Diagnosis:
    """Find the simplest relation of x (n, d) and y (n, e), rows of the same items, all numbers finite."""
    tried: dict[str, str] = {}
    nothing = np.empty(0, np.int64), np.empty(0)
    different = _different(x, y)
    if different == "":
        return Diagnosis("equal", 1.0, 0.0, f"all {x.size} numbers are equal", tried, np.arange(len(x)), np.zeros(len(x)))
    tried["equal"] = different
    pair = file_pair(x, y, seed)
    other = swapped(pair)
    if precision := next(filter(None, map(_precision, (pair, other))), ""):
        return Diagnosis("precision", 1.0, None, precision, tried, *nothing)
    tried["precision"] = "no precision explains the differences"
    if cut := next(filter(None, map(cut_precision, (pair, other))), ""):
        return Diagnosis("truncated", 1.0, None, cut, tried, *nothing)
    if not (pair.scale > 0 and other.scale > 0) or pair.n < EIGHTH:
        what = f"{pair.n} rows do not tell" if pair.n < EIGHTH else "most rows of a file are equal"
        return Diagnosis("none-of-these", None, None, what, tried, *nothing)
    standings = _standings(pair, other, tried)
    full = [s for s in standings if s.holds]
    if full:
        return _answer(_simplest(full), tried)
    part = [s for s in standings if s.holds_for_some]
    best = _simplest([s for s in part if s.share >= max(p.share for p in part) - 0.02]) if part else None
    return _rows_elsewhere(pair, other, best, tried) or _related_or_not(pair, standings, tried)


def _different(x: np.ndarray, y: np.ndarray) -> str:
    """How two arrays differ; "" for equal ones."""
    from relrep_cli.numerics.blocks import row_blocks

    if x.shape != y.shape:
        return f"{x.shape[1]} and {y.shape[1]} columns"
    count = sum(int((x[block] != y[block]).sum()) for block in row_blocks(*x.shape, x, y))
    return f"{count} of {x.size} numbers differ" if count else ""


def _precision(pair: FilePair) -> str:
    """In which precision y holds the numbers of x."""
    kind = kind_of(pair)
    return f"{pair.names[1]} is {pair.names[0]} in {kind}" if kind else ""


def _standings(pair: FilePair, other: FilePair, tried: dict[str, str]) -> list[Standing]:
    """Every fit of every relation, up to one that leaves no more noise than storage does."""
    standings: list[Standing] = []
    for relation in RELATIONS.values():
        if relation.fits is None:
            continue
        own: list[Standing] = []
        for way in (pair, other) if relation.both else (pair,):
            own += [standing(relation, fit, way) for fit in relation.fits(way)]
            if any(s.holds for s in own):
                break
        standings += own
        tried[relation.name] = _lack(own)
        if any(s.holds and s.noise <= 2 * s.pair.floor for s in own):
            break
    return standings


def _lack(own: list[Standing]) -> str:
    if not own:
        return "no rows suggest it"
    best = min(own, key=lambda s: (-s.share if s.holds_for_some else 0, s.noise))
    if best.holds:
        return f"leaves an error of {best.noise:.2g}"
    if best.holds_for_some:
        return f"holds for {best.share:.1%} of the rows"
    return f"the usual error is {float(np.median(best.residuals)):.2g} of a row's length"


def standing(relation: Relation, fit: Fit, pair: FilePair) -> Standing:
    """Measure a fit on all rows, or on the sampled ones where these show that it does not hold."""
    known = fit.residuals if isinstance(fit, Turned) else None
    sample = pair.sample_residuals(fit.apply) if known is None else known
    limit = float(np.clip(SPREAD * np.quantile(sample, 0.1), max(4 * pair.floor, 1e-6), FAR))
    rows, residuals = pair.rows, sample
    fitted = not isinstance(fit, Turned) or fit.fitted
    if pair.n > len(sample) and fitted and (sample <= limit).mean() >= SOME / 2:
        rows, residuals = np.arange(pair.n), pair.residuals(fit.apply)
        residuals[pair.rows] = sample
    follows = residuals <= limit
    noise = float(np.median(residuals[follows])) if follows.any() else float("inf")
    return Standing(relation, fit, pair, rows, residuals, follows, noise)


def _simplest(standings: list[Standing]) -> Standing:
    """The first that leaves little more noise than the best one does."""
    least = max(BETTER * min(s.noise for s in standings), 2 * max(s.pair.floor for s in standings))
    return next(s for s in standings if s.noise <= least)


def _answer(s: Standing, tried: dict[str, str]) -> Diagnosis:
    before = list(RELATIONS)[: list(RELATIONS).index(s.relation.name)]
    way = f"{s.pair.names[1]} from {s.pair.names[0]}: " if s.relation.both else ""
    return Diagnosis(
        s.relation.name,
        s.share,
        s.noise,
        way + (s.evidence() or s.relation.meaning),
        {name: tried[name] for name in before if name in tried},
        s.rows,
        s.residuals,
    )


def _rows_elsewhere(pair: FilePair, other: FilePair, best: Standing | None, tried: dict[str, str]) -> Diagnosis | None:
    """The diagnosis where rows were moved, or a part of them comes from elsewhere; None where they were not."""
    moved: Moved | None = None
    name = "rows-reordered"
    if best is not None:
        odd = best.rows[~best.follows]
        if not isinstance(best.fit, Turned) or best.fit.fitted:
            moved = look_up(best.pair, best.fit.apply, odd)
        elif best.fit.base is not None:
            moved = look_up_turned(best.pair, best.fit, odd)
        name = "rotated-rows-reordered" if isinstance(best.fit, Turned) else name
    if moved is None or moved.share < SHARE:
        for way in (pair, other) if best is None or best.share < 0.5 else ():
            moved, name = _reordered(way), "rows-reordered"
            if moved is not None:
                break
        if moved is None and (best is None or best.share < 0.9):
            moved, name = turned_and_moved(pair), "rotated-rows-reordered"
    if moved is not None and moved.share >= SHARE:
        tried.setdefault("rows-reordered", "no row is found elsewhere as it is")
        rows, errors = (best.rows, best.residuals) if best else (np.empty(0, np.int64), np.empty(0))
        return Diagnosis(name, None, None, moved.evidence(), tried, rows, errors, moved)
    tried["rows-reordered"] = "rows are not found at other places"
    if best is None:
        return None
    odd = int((~best.follows).sum())
    relation = RELATIONS[best.relation.name]
    what = f"{odd} of {len(best.rows)} rows ({odd / len(best.rows):.2%}) do not follow; the others are {relation.name}"
    return Diagnosis("foreign-rows", best.share, best.noise, what, tried, best.rows, best.residuals)


def _reordered(pair: FilePair) -> Moved | None:
    """Rows of y that are rows of x elsewhere, as they are or at unit length, all columns or only the first."""
    if pair.d < pair.e:
        return None
    cut = f"only the first {pair.e} of {pair.d} columns" if pair.e < pair.d else ""
    bases: list[tuple[Map, str]] = [(lambda x: x[:, : pair.e], cut)] if cut or not pair.turned else []
    if row_maps.one_length(pair.ys) and not row_maps.one_length(pair.xs[:, : pair.e]):
        bases.append((lambda x: row_maps.unit(x[:, : pair.e]), f"{cut}{', ' * bool(cut)}at unit length"))
    for base, how in bases:
        moved = look_up(pair, standardised(pair, base), np.arange(pair.n))
        if moved.share >= SHARE:
            kind = precision_of_moved(pair, base, moved)
            return replace(moved, how=", ".join(filter(None, [how, kind and f"in {kind}"])), turned=pair.turned)
    return None


def _related_or_not(pair: FilePair, standings: list[Standing], tried: dict[str, str]) -> Diagnosis:
    """Related, unrelated, or neither for sure."""
    sure, cka = relatedness(pair)
    figures = f"unbiased CKA {cka:.3f}, {sure:.1f} deviations above random pairings"
    few = pair.n <= max(pair.d, pair.e) + 1
    if few:
        figures += f"; a linear map of {pair.n} rows would fit anything in {max(pair.d, pair.e)} dims, so none was judged"
    nothing = np.empty(0, np.int64), np.empty(0)
    if sure >= CERTAIN:
        return Diagnosis("related", None, None, figures, tried, *nothing)
    tried["related"] = figures
    if sure < POSSIBLE:
        return Diagnosis("unrelated", None, None, figures, tried, *nothing)
    return Diagnosis("none-of-these", None, None, figures, tried, *nothing)
