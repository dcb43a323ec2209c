"""Soft and partial matching are those of their authors, and merges those of single linkage; all against other libraries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.optimize import linprog
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from relrep_cli.metrics import METRICS
from relrep_cli.numerics.intervals import halves, jackknife
from relrep_cli.numerics.optimal_plans import COPIES, best_plan
from relrep_cli.numerics.workspace import Workspace


def correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]


def pair(n: int, p: int, q: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([n, p, q])
    x = rng.normal(size=(n, p))
    return x, x @ rng.normal(size=(p, q)) + rng.normal(size=(n, q))


def best_sum(table: np.ndarray, share: float = 1.0) -> float:
    """The largest sum of plan * table, by one linear program of all pairs."""
    p, q = table.shape
    sums = np.vstack([np.kron(np.eye(p), np.ones(q)), np.kron(np.ones(p), np.eye(q))])
    masses = np.r_[np.full(p, 1 / p), np.full(q, 1 / q)]
    return -float(linprog(-table.ravel(), A_ub=sums, b_ub=masses, A_eq=np.ones((1, p * q)), b_eq=[share]).fun)


@pytest.mark.parametrize(("p", "q"), [(8, 8), (9, 6), (61, 67), (97, 33)])
def test_soft_matching_is_optimal_transport(p: int, q: int) -> None:
    x, y = pair(60, p, q)
    table = correlations(x, y)
    plan = best_plan(table)
    assert plan.sum(1) == pytest.approx(np.full(p, 1 / p)) and plan.sum(0) == pytest.approx(np.full(q, 1 / q))
    assert plan.min() >= 0
    result = METRICS["matching:soft"].compute(x, y, workspace=Workspace(intervals=False)).value
    assert result == pytest.approx(best_sum(table), abs=1e-9)
    assert (np.lcm(p, q) > COPIES) == (p > 9), "both ways to a plan are tried"


def test_a_plan_needs_more_pairs_than_each_row_likes_best() -> None:
    """All rows like the same columns, which changes no optimum but hides the pairs that it needs."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(61, 67))
    gains = noise + 10 * rng.normal(size=(61, 1)) + 10 * rng.normal(size=67)
    assert (best_plan(gains) * noise).sum() == pytest.approx(best_sum(noise), abs=1e-6)


@pytest.mark.peers
def test_plans_are_those_of_pot() -> None:
    ot = pytest.importorskip("ot")
    table = correlations(*pair(60, 130, 47))
    masses = np.full(130, 1 / 130), np.full(47, 1 / 47)
    assert (best_plan(table) * table).sum() == pytest.approx((ot.emd(*masses, -table) * table).sum(), abs=1e-12)
    partial = ot.partial.partial_wasserstein(*masses, 1 - table, m=0.7)
    assert (best_plan(table, 0.7) * table).sum() == pytest.approx((partial * table).sum(), abs=1e-12)


def test_soft_matching_of_equal_widths_is_the_one_to_one_matching() -> None:
    x, y = pair(60, 7, 7)
    assert METRICS["matching:soft"].compute(x, y).value == pytest.approx(METRICS["matching"].compute(x, y).value, abs=1e-12)


@pytest.mark.parametrize(("p", "q", "share"), [(9, 6, 0.3), (9, 6, 0.8), (5, 5, 0.01), (61, 67, 0.8)])
def test_partial_matching_is_partial_transport(p: int, q: int, share: float) -> None:
    x, y = pair(60, p, q)
    table = correlations(x, y)
    result = METRICS["matching:partial"].compute(x, y, {"share": share}, workspace=Workspace(intervals=False)).value
    assert result == pytest.approx(best_sum(table, share) / share, abs=1e-9)
    mine = best_plan(table, share)
    assert mine.sum() == pytest.approx(share) and mine.min() >= 0
    assert mine.sum(1).max() < 1 / p + 1e-12 and mine.sum(0).max() < 1 / q + 1e-12


def test_partial_matching_leaves_out_columns_without_a_counterpart() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 10))
    y = np.hstack([x[:, :8] + 0.1 * rng.normal(size=(400, 8)), rng.normal(size=(400, 2))])
    soft, partial = (METRICS[f"matching:{form}"].compute(x, y).value for form in ("soft", "partial"))
    assert soft < 0.85 and partial > 0.99


@pytest.mark.parametrize("n", [5, 40])
def test_nts_is_the_rank_agreement_of_single_linkage(n: int) -> None:
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, 4))
    y = np.hstack([x, rng.normal(size=(n, 1))])
    heights = [squareform(cophenet(linkage(pdist(side), "single"))) for side in (x, y)]
    trees = [minimum_spanning_tree(squareform(pdist(side))).tocoo() for side in (x, y)]
    i, j = np.array(sorted({tuple(sorted(edge)) for tree in trees for edge in zip(tree.row, tree.col, strict=True)})).T
    assert METRICS["nts"].compute(x, y).value == pytest.approx(
        spearmanr(heights[0][i, j], heights[1][i, j]).statistic, abs=1e-12
    )


def test_partial_matching_of_everything_is_soft_matching() -> None:
    x, y = pair(60, 9, 6)
    soft = METRICS["matching:soft"].compute(x, y).value
    assert METRICS["matching:partial"].compute(x, y, {"share": 1.0}).value == soft
    assert METRICS["matching:partial"].compute(x, y, {"share": 0.5}).value > soft


def test_halves_give_the_variance_of_the_whole() -> None:
    """Of means of rows, where the truth is known: the deviation of a difference of halves is twice that of the mean."""

    def width(x: np.ndarray) -> float:
        low, high = jackknife(float(x.mean()), halves(float(x.mean()), 200, lambda rows: float(x[rows].mean())))
        return high - low

    widths = [width(x) for x in np.random.default_rng(0).normal(size=(40, 200))]
    assert np.mean(widths) / 2 == pytest.approx(2.09 / np.sqrt(200), rel=0.12)  # 2.09: Student's t with 19 degrees
