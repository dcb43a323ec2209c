"""Which rows of a file come from another model: they point away from every row of a clean reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np

from relrep_cli.base.errors import DataError, NotApplicable, UsageError, printable
from relrep_cli.base.output import say
from relrep_cli.base.registry import Param
from relrep_cli.embedding import Embedding, bare_name
from relrep_cli.evaluations.findings import Finding, K, Record, Space, distances, evaluation
from relrep_cli.neighbors import nearest, unit_rows
from relrep_cli.numerics.blocks import pick, row_blocks
from relrep_cli.numerics.workspace import Workspace

Rate = Annotated[float, Param("Share of clean rows that may be taken for foreign ones.", minimum=0.0001, maximum=0.5)]
SURE = 0.99  # probability that the rate of false alarms is at most the stated one
COMPARED, NEAR, DEVIATIONS = 1000, 0.05, 4.5  # without a reference: see _suspects
NAMED = 10  # ids in the note
MAD = 1.4826  # turns a median deviation into a standard one


@evaluation(needs={"reference"}, labels=False, source="Vovk 2012, Conditional validity of inductive conformal predictors")
def foreign(s: Space, *, k: K = 10, false_alarms: Rate = 0.01, seed: int = 0) -> Iterator[Finding]:
    """Share of rows that another model seems to have made, by mean cosine distance to the nearest reference rows.

    A row is called foreign when its score is above the threshold. The threshold comes from the scores of the reference rows
    among each other. All rows of both files count, whatever their split.
    """
    assert s.reference is not None
    if s.reference is s.e:
        yield _suspects(s.e, seed)
        return
    threshold, promise, scores = _against(s.e, s.reference, k, false_alarms, s.searching)
    flagged = scores > threshold
    what = f"mean cosine distance to the {k} nearest of {s.reference.n} rows of {printable(bare_name(s.reference.uri), 60)}"
    _name_them(s.e, scores, flagged)
    yield Finding(
        "share",
        float(flagged.mean()),
        s.e.n,
        f"{int(flagged.sum())} rows above the threshold; {what}; {promise}",
        flagged.astype(np.float64),
        bounds=(0, 1),
        ids=s.e.ids,
        items=_items(s.e, scores, flagged, threshold),
    )
    yield Finding("threshold", threshold, s.reference.n, f"{what}; {promise}")


def _against(e: Embedding, clean: Embedding, k: int, rate: float, searching: Workspace) -> tuple[float, str, np.ndarray]:
    """The threshold, what it promises, and the score (n,) of each row of e."""
    if clean.d != e.d:
        raise DataError(f"has {e.d} dims, the reference {clean.d}", "Name a reference of the same model.", file=e.uri)
    if clean.n < k + 2:
        what = f"--k {k} needs a reference of {k + 2} rows or more; there are {clean.n}"
        raise UsageError(what, f"Write --k {max(1, clean.n - 2)} or less.")
    own = _scores(clean.x, clean.x, k, searching, within=True)
    threshold, promise = threshold_for(own, rate)
    return threshold, promise, _scores(e.x, clean.x, k, searching)


def _scores(queries: np.ndarray, base: np.ndarray, k: int, searching: Workspace, within: bool = False) -> np.ndarray:
    """(q,) mean cosine distance of each row to its k nearest rows of base. within: queries are the base; no row is its own."""
    near = nearest(queries, base, k, by="cosine", exclude_self=within, workspace=searching)
    return np.asarray(distances(queries, base, near.rows, "cosine").mean(1))


def threshold_for(scores: np.ndarray, rate: float) -> tuple[float, str]:
    """The lowest of the clean scores (n,) that clean rows exceed at most at this rate, and the promise in words.

    The rate at which further clean rows exceed the j-th highest of n scores has a beta distribution, Beta(j, n - j + 1). The
    largest j is taken for which that rate is at most the stated one with probability 0.99. With too few scores it is the
    highest, and the promise says so.

    >>> threshold_for(np.arange(1000.0), 0.01)[0], threshold_for(np.arange(50.0), 0.01)[1]
    (997.0, 'too few rows to promise 0.01: 0.088 at most, with probability 0.99')
    """
    from scipy.special import betainc, betaincinv

    n = len(scores)
    places = np.arange(1, n + 1)
    kept = places[betainc(places, n - places + 1, rate) >= SURE]
    if not len(kept):
        return float(scores.max()), (
            f"too few rows to promise {rate:g}: {float(betaincinv(1, n, SURE)):.2g} at most, with probability {SURE:g}"
        )
    return float(np.sort(scores)[n - kept[-1]]), f"false alarms at most {rate:g}, with probability {SURE:g}"


def _suspects(e: Embedding, seed: int) -> Finding:
    """Rows that lie far from most rows of their own file. A file that is a mix of two models in equal parts has none.

    A row's score is the cosine distance within which a twentieth of 1,000 random rows lie, so that foreign rows that lie close
    together stand out as long as they are fewer than that. Suspected are scores of more than 4.5 deviations above the middle.
    """
    if e.n < 30:
        raise NotApplicable(f"without --reference, {e.n} rows are too few to suspect any")
    chosen = np.sort(np.random.default_rng(seed).permutation(e.n)[:COMPARED])
    base = unit_rows(np.asarray(pick(e.x, chosen), np.float64))
    scores = np.empty(e.n)
    for block in row_blocks(e.n, max(e.d, len(base)), e.x):
        scores[block] = 1 - np.quantile(unit_rows(np.asarray(e.x[block], np.float64)) @ base.T, 1 - NEAR, axis=1)
    middle = float(np.median(scores))
    threshold = middle + DEVIATIONS * MAD * float(np.median(np.abs(scores - middle)))
    flagged = scores > threshold
    say(f"{e.uri}: without --reference, rows can only be suspected; name a file whose rows are known to be of one model.")
    _name_them(e, scores, flagged)
    convention = f"{int(flagged.sum())} rows far from most others; no reference, so no rate of false alarms is known"
    return Finding("suspected", float(flagged.mean()), e.n, convention, items=_items(e, scores, flagged, threshold))


def _name_them(e: Embedding, scores: np.ndarray, flagged: np.ndarray) -> None:
    if flagged.any():
        worst = np.argsort(-scores, kind="stable")[: min(NAMED, int(flagged.sum()))]
        more = f" and {int(flagged.sum()) - NAMED} more" if flagged.sum() > NAMED else ""
        say(f"{e.uri}: above the threshold: {', '.join(_id(e, row) for row in worst)}{more}; --rows FILE writes all scores.")


def _items(e: Embedding, scores: np.ndarray, flagged: np.ndarray, threshold: float) -> list[Record]:
    """A record for each row, highest score first."""
    order = np.argsort(-scores, kind="stable")
    return [
        {"id": _id(e, row), "score": float(scores[row]), "threshold": threshold, "foreign": "yes" if flagged[row] else "no"}
        for row in order
    ]


def _id(e: Embedding, row: int) -> str:
    return bytes(e.ids[row]).decode(errors="backslashreplace")
