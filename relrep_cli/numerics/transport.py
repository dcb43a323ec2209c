"""Optimal transport between uniform masses."""

from __future__ import annotations

import os
from importlib import import_module
from math import lcm
from typing import Any

import numpy as np

COPIES = 1024  # up to this many equal parts of mass, a plan is an assignment of parts, which is fast and needs no other library
STEPS = 10_000_000  # of the network simplex, at most
FORBIDDEN = 1e3  # cost of what no plan may do, in units of the largest gain
ROUNDING = 1e-9  # of a share of the parts


def best_plan(gains: np.ndarray, share: float = 1.0) -> np.ndarray:
    """The transport plan (p, q) with the largest sum of plan * gains; every row holds 1 / p, every column 1 / q.

    share: of the mass that is transported; with less than 1, rows and columns hold at most these masses.

    >>> best_plan(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.5]])).round(4).tolist()
    [[0.3333, 0.0, 0.1667], [0.0, 0.3333, 0.1667]]
    """
    p, q = gains.shape
    parts = lcm(p, q)
    if parts > COPIES:
        return _transported(gains, share)
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


def _transported(gains: np.ndarray, share: float) -> np.ndarray:
    """The best plan by the network simplex."""
    p, q = gains.shape
    masses = np.full(p, 1 / p), np.full(q, 1 / q)
    if share == 1:
        return np.asarray(pot().emd(*masses, -gains, numItermax=STEPS))
    costs = np.zeros((p + 1, q + 1))
    costs[:p, :q], costs[p, q] = -gains / max(float(np.abs(gains).max()), 1e-300), FORBIDDEN
    plan = pot().emd(*(np.append(mass, 1 - share) for mass in masses), costs, numItermax=STEPS)
    return np.asarray(plan[:p, :q])


def pot() -> Any:
    """Import POT without PyTorch, JAX, TensorFlow and CuPy, which it would load if they are installed."""
    variables = {f"POT_BACKEND_DISABLE_{name}": "1" for name in ("PYTORCH", "JAX", "TENSORFLOW", "CUPY")}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        return import_module("ot")
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
