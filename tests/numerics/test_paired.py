"""Differences of two values on the same items: by theory, by scipy, and by how often intervals hold the truth."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from relrep_cli.numerics.intervals import student
from relrep_cli.numerics.paired_differences import PARTS, PROPORTIONS, ROWS, Estimate, paired_difference


def of_rows(rows: np.ndarray) -> Estimate:
    return Estimate(float(rows.mean()), len(rows), rows)


def of_parts(rows: np.ndarray, groups: int, items: np.ndarray | None = None) -> Estimate:
    """The mean of rows, known without each group of rows only."""
    without = np.array([rows[np.arange(len(rows)) % groups != g].mean() for g in range(groups)])
    return Estimate(float(rows.mean()), len(rows), without=without, items=items)


def correlated(n: int, seed: int = 0, shift: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=n)
    return shared + 0.3 * rng.normal(size=n), shared + 0.3 * rng.normal(size=n) + shift


def test_row_differences_give_the_interval_and_the_p_of_the_paired_t_test() -> None:
    a, b = correlated(400, shift=0.05)
    difference, wanted = paired_difference(of_rows(a), of_rows(b)), stats.ttest_rel(b, a)
    low, high = wanted.confidence_interval(0.95)
    assert difference.method == ROWS and difference.value == pytest.approx((b - a).mean(), abs=1e-12)
    assert (difference.low, difference.high) == pytest.approx((low, high), abs=0.08 * (high - low))
    assert difference.p == pytest.approx(wanted.pvalue, rel=0.3)


def test_the_jackknife_of_means_is_the_paired_t_test() -> None:
    a, b = correlated(40)
    difference = paired_difference(of_parts(a, 40), of_parts(b, 40))
    wanted = stats.ttest_rel(b, a)
    assert difference.method == PARTS
    assert (difference.low, difference.high) == pytest.approx(tuple(wanted.confidence_interval(0.95)), abs=1e-3)
    assert difference.p == pytest.approx(wanted.pvalue, rel=1e-2)


@pytest.mark.parametrize(("more", "fewer", "n"), [(50, 10, 200), (20, 10, 100), (53, 10, 53)])
def test_parts_of_one_estimate_are_joined_as_if_it_had_been_dealt_so(more: int, fewer: int, n: int) -> None:
    """Of means that is exact, also where single rows are joined to uneven parts."""
    a, b = correlated(n)
    joined, plain = (paired_difference(of_parts(a, g), of_parts(b, fewer)) for g in (more, fewer))
    assert (joined.low, joined.p) == pytest.approx((plain.low, plain.p), rel=1e-9)


def test_parts_that_are_not_within_parts_give_no_interval() -> None:
    a, b = correlated(200)
    difference = paired_difference(of_parts(a, 50), of_parts(b, 20))
    assert (difference.low, difference.high, difference.p) == (None, None, None)
    assert difference.value == pytest.approx((b - a).mean()) and "do not correspond" in difference.method


def test_values_of_other_items_give_no_interval() -> None:
    a, b = correlated(60)
    items = np.arange(60)
    for one, other in ((items, items + 1), (items, None), (None, items)):
        difference = paired_difference(of_parts(a, 20, one), of_parts(b, 20, other))
        assert difference.p is None and "different items" in difference.method
    assert paired_difference(of_parts(a, 20, items), of_parts(b, 20, items.copy())).p is not None
    assert "neither row values" in paired_difference(Estimate(0.1, 5), Estimate(0.2, 5)).method


def test_proportions_by_hand() -> None:
    """12 items only b has, 3 only a, 35 alike: (12 - 3) / 52 and the root of 16 - 81 / 52, by 52 (Agresti and Min 2005)."""
    a = np.repeat([0.0, 1.0, 1.0], [12, 3, 35])
    b = np.repeat([1.0, 0.0, 1.0], [12, 3, 35])
    difference = paired_difference(of_rows(a), of_rows(b))
    reach = 1.959964 * sqrt(16 - 81 / 52) / 52
    assert difference.method == PROPORTIONS and difference.value == pytest.approx(9 / 50)
    assert (difference.low, difference.high) == pytest.approx((9 / 52 - reach, 9 / 52 + reach), abs=1e-6)


def test_equal_models_differ_by_nothing() -> None:
    rows = np.random.default_rng(0).normal(size=50)
    same = paired_difference(of_rows(rows), of_rows(rows))
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)
    hits = (rows > 0).astype(np.float64)
    same = paired_difference(of_rows(hits), of_rows(hits))
    assert (same.value, same.p) == (0, 1) and same.low is not None and same.high is not None
    assert same.low < -0.03 < 0.03 < same.high  # 50 items without a change do not prove that there is none


def test_p_is_below_005_exactly_where_the_interval_leaves_0() -> None:
    for seed in range(40):
        a, b = correlated(30, seed, shift=0.15)
        for actual in (
            paired_difference(of_rows(a), of_rows(b)),
            paired_difference(of_parts(a, 10), of_parts(b, 10)),
            paired_difference(of_rows(a), of_rows(b), factor=1.4, freedom=10),
            paired_difference(of_rows((a > 0) * 1.0), of_rows((b > 0) * 1.0)),
        ):
            assert actual.p is not None and actual.low is not None and actual.high is not None
            assert (actual.p < 0.05) == (not actual.low <= 0 <= actual.high)


def test_dependence_stretches_both_sides_and_thickens_the_tails() -> None:
    a, b = correlated(80)
    plain, wide = (paired_difference(of_rows(a), of_rows(b), factor=f, freedom=10) for f in (1.0, 1.5))
    assert (wide.value - wide.low, wide.high - wide.value) == pytest.approx(
        (1.5 * (plain.value - plain.low), 1.5 * (plain.high - plain.value))
    )
    assert wide.p > plain.p


def test_p_does_not_leap_where_the_factor_reaches_1() -> None:
    """An estimate of 1 has the tails of other estimates: a larger difference never gets a larger p because of its factor."""
    a, b = correlated(80, shift=1.0)
    factors = (1.0, 1.001, 1.2, None)
    stretched, just, wide, plain = (paired_difference(of_rows(a), of_rows(b), factor=f, freedom=10) for f in factors)
    assert stretched.p == pytest.approx(just.p, rel=0.02) and stretched.p < wide.p
    assert plain.p < stretched.p / 1000 and (plain.low, plain.high) == (stretched.low, stretched.high)
    assert stretched.method == f"{ROWS}, stretched, 10 degrees of freedom" and plain.method == ROWS


def test_rare_changes_are_covered() -> None:
    """Of 60 items 5 % change to the better and 2 % to the worse: percentiles of a bootstrap hold this in 89 % of draws."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(400):
        kind = rng.random(60)
        a, b = ((kind < 0.5) | (kind > 0.98)).astype(np.float64), (kind < 0.55).astype(np.float64)
        difference = paired_difference(of_rows(a), of_rows(b))
        hits += difference.low <= 0.03 <= difference.high
    assert hits / 400 > 0.93


def test_few_rows_have_intervals_as_wide_as_student_demands() -> None:
    """Percentiles of a bootstrap of 12 rows are a seventh narrower than the interval of the paired t test."""
    ratios = []
    for seed in range(60):
        a, b = correlated(12, seed)
        difference = paired_difference(of_rows(a), of_rows(b), seed=seed)
        wanted = stats.ttest_rel(b, a).confidence_interval(0.95)
        ratios.append((difference.high - difference.low) / (wanted.high - wanted.low))
    assert np.mean(ratios) == pytest.approx(1, abs=0.04)


def test_the_bootstrap_is_seeded() -> None:
    a, b = (of_rows(rows) for rows in correlated(50))
    assert paired_difference(a, b, seed=3) == paired_difference(a, b, seed=3) != paired_difference(a, b, seed=4)
    assert student(49) > 2  # what the interval of 50 rows is stretched by
