"""Optimal transport: its marginals, its limits, and the values of another package."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from relrep_cli.numerics.transport import sinkhorn

RNG = np.random.default_rng(0)
COSTS = RNG.random((40, 30))


@pytest.mark.parametrize("blur", [0.005, 0.05, 10.0])
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_masses_are_kept_in_any_unit(blur: float, scale: float) -> None:
    plan = sinkhorn(COSTS * scale, blur * scale, iterations=20_000, tolerance=1e-7)
    assert plan.sum(0) == pytest.approx(1 / 30, rel=1e-9) and plan.sum(1) == pytest.approx(1 / 40, abs=1e-6)
    assert plan.min() >= 0
    assert plan == pytest.approx(sinkhorn(COSTS, blur, iterations=20_000, tolerance=1e-7), abs=1e-9)


def test_a_small_blur_finds_the_assignment_and_a_large_one_spreads() -> None:
    costs = RNG.random((20, 20))
    plan = sinkhorn(costs, 1e-3, iterations=20_000)
    assert plan.argmax(1).tolist() == linear_sum_assignment(costs)[1].tolist()
    assert sinkhorn(costs, 1e6) == pytest.approx(1 / 400)


def test_numbers_added_to_a_row_or_a_column_of_costs_change_nothing() -> None:
    moved = COSTS + 50 * RNG.random((40, 1)) + 50 * RNG.random(30)
    assert sinkhorn(moved, 0.05, iterations=999, tolerance=1e-10) == pytest.approx(
        sinkhorn(COSTS, 0.05, iterations=999, tolerance=1e-10), abs=1e-9
    )


@pytest.mark.peers
def test_equal_to_pot() -> None:
    ot = pytest.importorskip("ot")
    masses = np.full(40, 1 / 40), np.full(30, 1 / 30)
    wanted = ot.sinkhorn(*masses, COSTS, 0.03, numItermax=5000, stopThr=1e-12)
    assert sinkhorn(COSTS, 0.03, iterations=5000, tolerance=1e-12) == pytest.approx(wanted, abs=1e-9)
