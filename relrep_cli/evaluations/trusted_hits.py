"""The closeness above which the nearest item can be trusted, from queries whose right answers are known.

To try all thresholds and take the best is to be misled: among many, some look good by luck. So thresholds are tested in a fixed
order, from the highest down, until one fails. Each test then has the whole risk (fixed-sequence testing).
"""

from __future__ import annotations

from math import ceil, log

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass

RISK = 0.05  # that the stated share does not hold for the hits above the threshold
FIRST, STEPS = 4, 20  # the highest threshold lets a fourth of the hits through, and each further one a twentieth more


@dataclass(frozen=True)
class Trusted:
    """closeness: above which hits are trusted; -inf for all hits. kept: hits above it. right: those of them that are right."""

    closeness: float
    kept: int
    right: int


def trusted_hits(closeness: np.ndarray, right: np.ndarray, share: float) -> Trusted | None:
    """The lowest threshold above which at least this share of all hits is right, with probability 0.95. None for none.

    closeness: (q,) of the nearest item of each query, larger is nearer. right: (q,) whether it is relevant.

    The m hits above the next highest one are a random sample of all hits above it, so right ones among them are binomial.

    >>> trusted_hits(np.arange(100.0), np.arange(100) >= 30, 0.9)
    Trusted(closeness=29.0, kept=70, right=70)
    """
    from scipy.special import betainc

    highest, best = np.sort(closeness)[::-1], None
    for size in _sizes(len(highest), share):
        end = float(highest[size]) if size < len(highest) else -np.inf
        above = closeness > end
        tried = Trusted(end, int(above.sum()), int(right[above].sum()))
        if tried.kept and (not tried.right or betainc(tried.right, tried.kept - tried.right + 1, share) > RISK):
            break  # as many right hits, or more, would be common if fewer than this share were right
        best = tried if tried.kept else best
    return best


def _sizes(q: int, share: float) -> list[int]:
    """The numbers of hits that the thresholds let through, fewest first. The first passes with one wrong hit."""
    first = min(q, max(_with_one_wrong(share), -(-q // FIRST)))
    return [first, *(size for step in range(1, STEPS + 1) if (size := -(-q * step // STEPS)) > first)]


def _with_one_wrong(share: float) -> int:
    """The number of hits, one of them wrong, that show this share.

    >>> _with_one_wrong(0.9), _with_one_wrong(0.5)
    (46, 8)
    """
    m = 2
    while m * share ** (m - 1) - (m - 1) * share**m > RISK:
        m += 1
    return m


def fewest_queries(share: float) -> int:
    """The number of hits, all of them right, that show this share.

    >>> fewest_queries(0.9)
    29
    """
    return ceil(log(RISK) / log(share))
