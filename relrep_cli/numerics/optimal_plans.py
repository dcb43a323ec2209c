"""Exact optimal transport between uniform masses, by assignment where the parts are few, else by linear programs."""

from __future__ import annotations

from math import lcm

import numpy as np

from relrep_cli.base.errors import NotApplicable

COPIES = 3072  # up to this many equal parts of mass, assigning all of them is faster than a linear program
PARTIAL = 384  # the same for some of the parts
NEAREST = 12  # columns for each row, and rows for each column, that the first program may use
MORE = 4  # pairs that a row may add to the next program, those that gain most
ROUNDING = 1e-9  # of a share of the parts, and of the largest gain
FORBIDDEN = 1e3  # cost of what no plan may do, in units of the largest gain


def best_plan(gains: np.ndarray, share: float = 1.0) -> np.ndarray:
    """The transport plan (p, q) with the largest sum of plan * gains; every row holds 1 / p, every column 1 / q.

    share: of the mass that is transported; with less than 1, rows and columns hold at most these masses.

    >>> best_plan(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.5]])).round(4).tolist()
    [[0.3333, 0.0, 0.1667], [0.0, 0.3333, 0.1667]]
    """
    parts = lcm(*gains.shape)
    if parts > (COPIES if share == 1 else PARTIAL):
        return _programmed(gains, share)
    whole = int(share * parts + ROUNDING)
    rest = share * parts - whole  # between whole numbers of parts, the best plan changes along a line
    plan = _assigned(gains, parts, whole)
    return plan + rest * (_assigned(gains, parts, whole + 1) - plan) if rest > ROUNDING else plan


def _assigned(gains: np.ndarray, parts: int, matched: int) -> np.ndarray:
    """The best plan of `matched` parts by the Hungarian method, of copies of rows and columns that hold 1 / parts each."""
    from scipy.optimize import linear_sum_assignment

    p, q = gains.shape
    every = parts + parts - matched  # a part that is not matched goes to, or comes from, one that is added
    copies = np.zeros((every, every))
    copies[:parts, :parts] = np.repeat(np.repeat(gains, parts // p, axis=0), parts // q, axis=1)
    copies[parts:, parts:] = -FORBIDDEN * float(np.abs(gains).max()) - 1
    rows, columns = linear_sum_assignment(copies, maximize=True)
    kept = (rows < parts) & (columns < parts)
    plan = np.zeros((p, q))
    np.add.at(plan, (rows[kept] // (parts // p), columns[kept] // (parts // q)), 1 / parts)
    return plan


def _programmed(gains: np.ndarray, share: float) -> np.ndarray:
    """The best plan by linear programs of few pairs, until the prices say that no other pair would gain.

    Raises NotApplicable where the solver fails.
    """
    scaled = gains / max(float(np.abs(gains).max()), 1e-300)
    allowed = _some_plan(*gains.shape)
    for axis in (0, 1):
        first = np.argpartition(-scaled, min(NEAREST, gains.shape[axis]) - 1, axis=axis)
        np.put_along_axis(allowed, first.take(range(min(NEAREST, gains.shape[axis])), axis=axis), True, axis)
    while True:
        plan, gained = _solved(scaled, allowed, share)
        gained[allowed] = 0
        if not gained.max() > ROUNDING:
            return plan
        best = np.argpartition(-gained, min(MORE, gains.shape[1]) - 1, axis=1)[:, :MORE]
        more = np.zeros_like(allowed)
        np.put_along_axis(more, best, True, 1)
        allowed |= more & (gained > ROUNDING)


def _some_plan(p: int, q: int) -> np.ndarray:
    """The pairs (p, q) of the plan that fills rows and columns in order, so that a program has a solution."""
    ends = np.unique(np.concatenate([np.arange(1, p + 1) * q, np.arange(1, q + 1) * p]))
    allowed = np.zeros((p, q), bool)
    allowed[(ends - 1) // q, (ends - 1) // p] = True
    return allowed


def _solved(gains: np.ndarray, allowed: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The best plan (p, q) of the allowed pairs, and what a unit of mass on each pair would gain at the prices of this plan."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    (p, q), (i, j) = gains.shape, np.nonzero(allowed)
    each = np.arange(len(i))
    sums = csr_array((np.ones(2 * len(i)), (np.r_[i, p + j], np.r_[each, each])), shape=(p + q, len(i)))
    masses = np.r_[np.full(p, float(q)), np.full(q, float(p))]  # in units of 1 / (p q)
    total = np.ones((1, len(i)))
    solution = linprog(-gains[i, j], A_ub=sums, b_ub=masses, A_eq=total, b_eq=[share * p * q], method="highs-ds")
    if solution.x is None:
        raise NotApplicable(f"no best matching was found: {solution.message}")
    prices, all_pay = solution.ineqlin.marginals, solution.eqlin.marginals[0]
    plan = np.zeros((p, q))
    plan[i, j] = solution.x / (p * q)
    return plan, np.asarray(gains + prices[:p, None] + prices[None, p:] + all_pay)
