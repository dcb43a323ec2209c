"""Optimal transport between uniform masses."""

from __future__ import annotations

import os
from importlib import import_module
from math import lcm
from typing import Any

import numpy as np

COPIES = 1024  # up to this many equal parts of mass, a plan is an assignment of parts, which needs no other library
STEPS = 10_000_000  # of the network simplex, at most
FORBIDDEN = 1e3  # cost of what no plan may do, in units of the largest gain


def best_plan(gains: np.ndarray, share: float = 1.0) -> np.ndarray:
    """The transport plan (p, q) with the largest sum of plan * gains; every row holds 1 / p, every column 1 / q.

    share: of the mass that is transported; with less than 1, rows and columns hold at most these masses.

    >>> best_plan(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.5]])).round(4).tolist()
    [[0.3333, 0.0, 0.1667], [0.0, 0.3333, 0.1667]]
    """
    p, q = gains.shape
    parts = lcm(p, q)
    if share == 1 and parts <= COPIES:
        return _assigned(gains, parts)
    masses = np.full(p, 1 / p), np.full(q, 1 / q)
    if share == 1:
        return np.asarray(pot().emd(*masses, -gains, numItermax=STEPS))
    largest = max(float(np.abs(gains).max()), 1e-300)
    costs = np.zeros((p + 1, q + 1))  # what is not transported goes to, or comes from, one more column and row
    costs[:p, :q], costs[p, q] = -gains / largest, FORBIDDEN
    plan = pot().emd(*(np.append(mass, 1 - share) for mass in masses), costs, numItermax=STEPS)
    return np.asarray(plan[:p, :q])


def _assigned(gains: np.ndarray, parts: int) -> np.ndarray:
    """The best plan by the Hungarian method, of copies of rows and columns that hold 1 / parts each."""
    from scipy.optimize import linear_sum_assignment

    p, q = gains.shape
    copies = np.repeat(np.repeat(gains, parts // p, axis=0), parts // q, axis=1)
    rows, columns = linear_sum_assignment(copies, maximize=True)
    plan = np.zeros((p, q))
    np.add.at(plan, (rows // (parts // p), columns // (parts // q)), 1 / parts)
    return plan


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
