"""The catalogue: equal to scipy and to plain formulas, degenerate input named, names and presets, what --list prints."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import linalg, optimize, stats
from scipy.spatial.distance import cdist, pdist, squareform

from relrep_cli.base.errors import UsageError
from relrep_cli.comparison.pairs_of_files import interval, measure
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.metrics import METRICS, cca, dissimilarities, neighbor_orders
from relrep_cli.metrics.catalogue import COLUMNS, CONVENTIONS, PRESETS, catalogue, conventions, expand, families, preset
from relrep_cli.metrics.score import NotApplicable
from relrep_cli.numerics import chance_levels, moments
from relrep_cli.numerics import row_pairs as pairs
from relrep_cli.numerics.chance_levels import random_block
from relrep_cli.numerics.intervals import jackknife
from relrep_cli.numerics.workspace import Workspace


def clouds(n: int = 120, dx: int = 7, dy: int = 5, seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dx)) * np.geomspace(2, 0.5, dx) + rng.normal(size=dx)
    return x, x @ rng.normal(size=(dx, dy)) + noise * rng.normal(size=(n, dy))


def value(name: str, x: np.ndarray, y: np.ndarray, **params: Any) -> float:
    return float(METRICS[name].compute(x, y, params, workspace=Workspace(intervals=False)).value)


# Plain formulas, as n x n arrays and with scipy


def centred(x: np.ndarray) -> np.ndarray:
    return x - x.mean(0)


def rsa(distance: str, correlation: Callable[..., Any]) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda x, y: correlation(pdist(x, distance), pdist(y, distance))[0]


def rbf_cka(x: np.ndarray, y: np.ndarray) -> float:
    h = np.eye(len(x)) - 1 / len(x)
    k, l = (h @ np.exp(-(squareform(d) ** 2) / 2 / np.median(d) ** 2) @ h for d in (pdist(x), pdist(y)))  # noqa: E741
    return float((k * l).sum() / np.linalg.norm(k) / np.linalg.norm(l))


def distance_correlation(x: np.ndarray, y: np.ndarray) -> float:
    h = np.eye(len(x)) - 1 / len(x)
    a, b = (h @ cdist(side, side) @ h for side in (x, y))
    return float(np.sqrt((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean())))


def canonical(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.cos(linalg.subspace_angles(centred(x), centred(y)))


def procrustes_size(x: np.ndarray, y: np.ndarray) -> float:
    x, y = centred(x), centred(np.pad(y, ((0, 0), (0, x.shape[1] - y.shape[1]))))
    return float(np.linalg.norm(x @ linalg.orthogonal_procrustes(x, y)[0] - y))


def bures(x: np.ndarray, y: np.ndarray) -> float:
    x, y = centred(x), centred(y)
    return float(linalg.svdvals(x.T @ y).sum() / np.linalg.norm(x) / np.linalg.norm(y))


def hard_match(x: np.ndarray, y: np.ndarray) -> float:
    table = np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]
    return float(table[optimize.linear_sum_assignment(-table)].mean())


def held_out(x: np.ndarray, y: np.ndarray, penalty: float = 0.0) -> float:
    error = spread = 0.0
    for i in range(len(x)):
        kept = np.arange(len(x)) != i
        mx, my = x[kept].mean(0), y[kept].mean(0)
        u, v = x[kept] - mx, y[kept] - my
        slopes = np.linalg.solve(u.T @ u + penalty * np.eye(x.shape[1]), u.T @ v)
        error += np.square(y[i] - my - (x[i] - mx) @ slopes).sum()
        spread += np.square(y[i] - my).sum()
    return float(1 - error / spread)


def ridge(x: np.ndarray, y: np.ndarray) -> float:
    return held_out(x, y, 0.001 * np.square(centred(x)).sum())


def gulp(x: np.ndarray, y: np.ndarray) -> float:
    x, y = (np.sqrt(len(x)) * centred(s) / np.linalg.norm(centred(s)) for s in (x, y))
    sx, sy, xy = x.T @ x / len(x), y.T @ y / len(x), x.T @ y / len(x)
    ix, iy = (np.linalg.inv(s + 0.001 * np.eye(len(s))) for s in (sx, sy))
    return float(np.trace(ix @ sx @ ix @ sx) + np.trace(iy @ sy @ iy @ sy) - 2 * np.trace(ix @ xy @ iy @ xy.T))


def eigenspace_overlap(x: np.ndarray, y: np.ndarray) -> float:
    u, v = linalg.orth(x), linalg.orth(y)
    return float(np.square(u.T @ v).sum() / max(u.shape[1], v.shape[1]))


def information_imbalance(x: np.ndarray, y: np.ndarray) -> float:
    a, b = squareform(pdist(x)), squareform(pdist(y))
    np.fill_diagonal(a, np.inf)
    np.fill_diagonal(b, np.inf)
    return float(2 / len(x) * np.mean([stats.rankdata(b[i])[a[i].argmin()] for i in range(len(x))]))


def uniformity(x: np.ndarray) -> float:
    return float(np.log(np.exp(-2 * pdist(x / np.linalg.norm(x, axis=1, keepdims=True), "sqeuclidean")).mean()))


def two_nn(x: np.ndarray) -> float:
    near = np.sort(cdist(x, x), 1)
    return float(1 / np.log(near[:, 2] / near[:, 1]).mean())


def concentricity(x: np.ndarray) -> float:
    return float(1 - cdist(x, x.mean(0, keepdims=True), "cosine").mean())


def apart(number: Callable[[np.ndarray], float]) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda x, y: abs(number(x) - number(y))


PLAIN: list[tuple[str, dict[str, Any], Callable[[np.ndarray, np.ndarray], float]]] = [
    *(("rsa", {"distance": d}, rsa(d, stats.spearmanr)) for d in ("correlation", "cosine", "euclidean")),
    ("rsa", {"correlation": "pearson"}, rsa("correlation", stats.pearsonr)),
    ("rsa", {"correlation": "kendall"}, rsa("correlation", stats.kendalltau)),
    ("rsm-norm", {}, lambda x, y: float(np.sqrt(np.square(pdist(x) - pdist(y)).mean()))),
    ("cka", {"kernel": "rbf", "estimator": "biased"}, rbf_cka),
    ("distance-correlation", {}, distance_correlation),
    ("cca", {}, lambda x, y: float(canonical(x, y).mean())),
    ("procrustes:size", {}, procrustes_size),
    ("procrustes:similarity", {}, bures),
    ("matching", {}, hard_match),
    ("linear-regression", {}, held_out),
    ("linear-regression:ridge", {}, ridge),
    ("gulp", {}, gulp),
    ("eigenspace-overlap", {}, eigenspace_overlap),
    ("information-imbalance", {"neighbors": "euclidean"}, information_imbalance),
    ("uniformity-difference", {}, apart(uniformity)),
    ("intrinsic-dimension-difference", {}, apart(two_nn)),
    ("concentricity-difference", {}, apart(concentricity)),
]


@pytest.mark.parametrize(("name", "params", "plain"), PLAIN, ids=lambda v: v if isinstance(v, str) else "")
def test_equal_to_the_plain_formula(name: str, params: dict[str, Any], plain: Callable[..., float]) -> None:
    for seed in range(3):
        x, y = clouds(seed=seed)
        assert value(name, x, y, **params) == pytest.approx(plain(x, y), rel=1e-7)


@pytest.mark.parametrize(("n", "distance"), [(700, "correlation"), (700, "euclidean"), (700, "cosine")])
def test_rsa_with_binned_ranks_equals_exact_ones(n: int, distance: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clouds(n)
    wanted = stats.spearmanr(pdist(x, distance), pdist(y, distance))[0]
    monkeypatch.setattr(dissimilarities, "EXACT_ROWS", 100)
    assert value("rsa", x, y, distance=distance) == pytest.approx(wanted, abs=1e-7)  # 2e-8 from 2048 rows on


@pytest.mark.parametrize("name", ["rsa", "cka", "distance-correlation", "rsm-norm"])
def test_any_tile_gives_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clouds(230)
    params = {"kernel": "rbf"} if name == "cka" else {}
    plain = METRICS[name].function(x, y, **params)
    for size in (16, 40, 100):
        monkeypatch.setattr(pairs, "TILE", size)
        tiled = METRICS[name].function(x, y, **params)
        assert tiled.value == pytest.approx(plain.value, rel=1e-10)
        assert tiled.chance == pytest.approx(plain.chance, rel=1e-9)
        assert tiled.jackknife == pytest.approx(plain.jackknife, rel=1e-9)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_a_jackknife_of_pairs_is_the_value_without_the_rows(estimator: str) -> None:
    x, y = clouds(60)
    sums = pairs.pair_sums(60, pairs.between(x, "euclidean"), pairs.between(y, "euclidean"))
    for g in (0, 7):
        kept = np.arange(60) % pairs.GROUPS != g
        less = pairs.pair_sums(kept.sum(), pairs.between(x[kept], "euclidean"), pairs.between(y[kept], "euclidean"))
        for actual, wanted in zip(sums.without(g), less.whole(), strict=True):
            np.testing.assert_allclose(actual, wanted, rtol=1e-10)


def test_a_sample_stands_for_many_rows_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clouds(600)
    monkeypatch.setattr(pairs, "MOST", 300)
    result = METRICS["distance-correlation"].function(x, y)
    assert result.convention.endswith(", 300 of 600 items (seed 0)")
    monkeypatch.setattr(pairs, "sample", lambda x, y, most=0: (x, y, ""))
    low, high = interval("distance-correlation", result, 0)
    assert low < METRICS["distance-correlation"].function(x, y).value < high


@pytest.mark.parametrize(("n", "p", "q"), [(24, 4, 4), (40, 5, 11), (20, 10, 14), (30, 1, 1)])
def test_random_rotations_are_random_rotations(n: int, p: int, q: int) -> None:
    """Corners drawn from Gaussians and correlations drawn from the Jacobi ensemble, against rotations of all n dimensions."""
    rng = np.random.default_rng(1)
    draws = 400
    slow = [np.linalg.svd(np.linalg.qr(rng.normal(size=(n - 1, q)))[0][:p], compute_uv=False).mean() for _ in range(draws)]
    fast = [np.linalg.svd(random_block(rng, n - 1, p, q), compute_uv=False).mean() for _ in range(draws)]
    error = np.std(slow) / np.sqrt(draws)
    assert np.mean(fast) == pytest.approx(np.mean(slow), abs=5 * error)
    level = cca.chance_level(n, p, q)
    assert level.mean == pytest.approx(np.mean(slow), abs=4 * np.hypot(np.std(slow) / np.sqrt(draws), level.error))


@pytest.mark.parametrize("name", ["information-imbalance", "linear-regression", "linear-regression:ridge"])
def test_reverse_is_the_value_of_the_other_direction(name: str) -> None:
    x, y = clouds(80, noise=3.0)
    there, back = (METRICS[name].function(*pair) for pair in ((x, y), (y, x)))
    assert there.extra["reverse"] == pytest.approx(back.value, rel=1e-12)
    assert back.extra["reverse"] == pytest.approx(there.value, rel=1e-12)
    assert abs(there.value - back.value) > 1e-3


@pytest.mark.parametrize("name", ["cca", "svcca", "pwcca", "eigenspace-overlap"])
def test_repeated_columns_are_no_further_dimensions(name: str) -> None:
    """Sums of columns lie in the same subspace, but for rounding; each would be a correlation of noise.

    Rounding puts some of these axes above zero and some below: several of them, in several spaces, so that one is above.
    """
    params = {"variance": 1.0} if name == "svcca" else {}
    for seed in range(3):
        x, y = clouds(seed=seed)
        sums = x @ np.random.default_rng(seed).normal(size=(x.shape[1], 4))
        wide = np.concatenate([x, x[:, :1] + x[:, 1:2], x[:, 2:3] - 3 * x[:, 3:4], sums], 1)
        assert value(name, y, wide, **params) == pytest.approx(value(name, y, x, **params), rel=1e-7)


def midrank_imbalance(x: np.ndarray, y: np.ndarray, by: str) -> np.ndarray:
    """2 / n times the mean mid-rank in y of all rows that are nearest in x, from n x n arrays."""
    near, far = (
        (
            1 - (u := side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-300)) @ u.T
            if by == "cosine"
            else cdist(side, side)
        )
        for side in (x, y)
    )
    out = []
    for i in range(len(x)):
        a, b = np.delete(near[i], i), np.delete(far[i], i)
        out.append(stats.rankdata(b.round(9))[a < a.min() + 1e-9].mean())
    return 2 / len(x) * np.array(out)


@pytest.mark.parametrize("by", ["cosine", "euclidean"])
@pytest.mark.parametrize("tied", ["x", "y", "both"])
def test_information_imbalance_shares_the_ranks_of_equally_near_rows(by: str, tied: str) -> None:
    """Of points at few distances: no row number decides, and the best rank goes to nobody alone."""
    rng = np.random.default_rng(0)
    angle = rng.integers(0, 12, 60) * np.pi / 6
    few = np.stack([np.cos(angle), np.sin(angle), np.full(60, 3.0)], 1) if by == "cosine" else rng.integers(0, 4, (60, 2)) * 1.0
    free = rng.normal(size=(60, 3))
    x, y = {"x": (few, free), "y": (free, few), "both": (few, few[rng.permutation(60)])}[tied]
    result = METRICS["information-imbalance"].function(x, y, neighbors=by)
    assert result.rows == pytest.approx(midrank_imbalance(x, y, by), rel=1e-12)
    assert result.extra["reverse"] == pytest.approx(midrank_imbalance(y, x, by).mean(), rel=1e-12)
    assert result.extra["tied"] == 60


@pytest.mark.parametrize("kind", ["one-hot", "zero rows"])
def test_information_imbalance_of_tied_spaces_is_at_chance(kind: str) -> None:
    rng = np.random.default_rng(1)
    if kind == "one-hot":
        x, y = (np.eye(6)[rng.integers(0, 6, 60)] for _ in range(2))
    else:
        x, y = (rng.normal(size=(60, 4)) * (rng.random((60, 1)) < 0.1) for _ in range(2))
    metric = METRICS["information-imbalance"].function
    values = [metric(x, y[rng.permutation(60)]).value for _ in range(25)]
    assert np.mean(values) == pytest.approx(metric(x, y).chance, abs=4 * np.std(values) / 5)
    assert metric(x, y).rows == pytest.approx(midrank_imbalance(x, y, "cosine"), rel=1e-12)


@pytest.mark.parametrize(("by", "fill"), [("euclidean", 1.5), ("cosine", 1.5), ("cosine", 0.0)])
def test_information_imbalance_of_a_constant_space_has_no_value(by: str, fill: float) -> None:
    x, _ = clouds(20)
    same = np.full((20, 3), fill) * (np.arange(1, 21)[:, None] if by == "cosine" else 1)
    for sides, name in (((x, same), "second"), ((same, x), "first")):
        with pytest.raises(NotApplicable, match=f"all rows of the {name} space"):
            METRICS["information-imbalance"].function(*sides, neighbors=by)


def test_copies_of_rows_do_not_count_for_the_intrinsic_dimension() -> None:
    x, y = clouds(60)
    x[1], x[40] = x[0], x[3]
    wanted = []
    for side in (x, y):
        differing = np.unique(side, axis=0)
        squares = np.sort(cdist(differing, differing, "sqeuclidean"), 1)
        wanted.append(2 / np.log(squares[:, 2] / squares[:, 1]).mean())
    assert value("intrinsic-dimension-difference", x, y) == pytest.approx(abs(wanted[0] - wanted[1]), rel=1e-9)


def test_zero_rows_lie_at_a_right_angle_to_everything() -> None:
    """Squared distances of rows at length 1, by hand; to zero rows and from them 2, whatever the other is."""
    x = np.array([[2.0, 0], [0, 3], [0, 0], [-1, 0], [0, 0]])
    others = np.array([[1, 2, 3], [0, 2, 4], [0, 1, 4]])
    wanted = [[2, 2, 4], [2, 2, 2], [2, 2, 2]]
    assert neighbor_orders.apart(x, slice(0, 3), others, "cosine").tolist() == wanted
    assert neighbor_orders.apart(x, np.array([2]), np.array([[0, 3, 4]]), "euclidean").tolist() == [[4, 1, 0]]


def test_svcca_keeps_the_share_of_variance() -> None:
    """One axis holds 99 % of the variance: it alone is kept, where a sum of raw variances would keep other ones."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 4)) * [30, 1, 1, 1]
    y = x[:, :1] + rng.normal(size=(200, 1))
    wanted = abs(np.corrcoef(centred(x) @ np.linalg.svd(centred(x))[2][0], y[:, 0])[0, 1])
    assert value("svcca", x, y, variance=0.9) == pytest.approx(wanted, rel=1e-9)


def test_cknna_of_a_space_with_itself_without_epsilon() -> None:
    x, _ = clouds()
    assert value("cknna", x, x.copy(), epsilon=0.0) == pytest.approx(1, abs=1e-12)
    assert value("cknna", x, x.copy()) < 1


def test_moments_and_neighbours_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clouds()
    calls = []
    real = moments.moments
    monkeypatch.setattr(moments, "moments", lambda *a, **k: calls.append(1) or real(*a, **k))
    workspace = Workspace()
    for name in ("cca", "svcca", "procrustes", "procrustes:similarity", "gulp"):
        METRICS[name].function(x, y, workspace=workspace)
    assert len(calls) == 1
    METRICS["cca"].function(x, y)
    assert len(calls) == 2, "without a workspace, nothing is kept"


@pytest.mark.parametrize(("n", "exact_rows"), [(100, 2048), (100, 50), (400, 2048)])
def test_the_interval_of_rsa_is_that_of_groups_of_rows_left_out(
    n: int, exact_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = clouds(n, 30, 20, seed=3)
    monkeypatch.setattr(dissimilarities, "EXACT_ROWS", exact_rows)
    result = METRICS["rsa"].function(x, y)
    assert len(result.jackknife) == min(n, dissimilarities.LEFT_OUT)
    kept = [np.arange(n) % 50 != g for g in range(50)]
    groups = np.array([stats.spearmanr(pdist(x[k], "correlation"), pdist(y[k], "correlation"))[0] for k in kept])
    width = np.diff(jackknife(result.value, result.jackknife))
    assert width == pytest.approx(np.diff(jackknife(result.value, groups)), rel=0.2)


def gaussian_cka(x: np.ndarray, y: np.ndarray) -> float:
    """RBF CKA in float64, n x n."""
    grams = []
    for side in (x.astype(np.float64), y.astype(np.float64)):
        distances = cdist(side, side)
        width = np.median(distances[np.triu_indices(len(side), 1)])
        grams.append(centred(centred(np.exp(-(distances**2) / (2 * width**2))).T))
    return float(np.vdot(*grams) / np.prod([np.linalg.norm(g) for g in grams]))


@pytest.mark.parametrize("kind", ["plain", "odd", "many", "far from the origin", "a row far out", "few widths"])
def test_rbf_cka_of_float32_rows_is_that_of_float64(kind: str) -> None:
    """Products in float32 would move the value by up to 5e-9; large squares that nearly cancel cost digits in float64, too."""
    x, y = (side.astype(np.float32) for side in clouds({"odd": 301, "many": 1300}.get(kind, 300), 30, 5))
    if kind == "far from the origin":
        x += 100
    elif kind == "a row far out":
        x[7] *= 1e5
    elif kind == "few widths":
        x[::3] += 3e4  # two heaps, each much narrower than they are apart
    wanted = pytest.approx(gaussian_cka(x, y), rel=1e-7 if kind == "few widths" else 1e-11)
    assert value("cka", x, y, kernel="rbf", estimator="biased") == wanted
    assert value("cka", 2.0**57 * x, y / 2.0**57, kernel="rbf", estimator="biased") == wanted


def test_a_median_distance_of_next_to_nothing_has_no_kernel() -> None:
    x = np.random.default_rng(0).normal(size=(40, 2)) * 1e-155
    x[0], x[1] = 1, -1 - x[2:].sum(0)
    with pytest.raises(NotApplicable, match="the median distance is 0 beside the largest coordinate"):
        pairs.gaussian(x)
    assert pairs.gaussian(x[2:])[1] == pytest.approx(np.median(cdist(x[2:], x[2:])[np.triu_indices(38, 1)]), rel=1e-6)


@pytest.mark.parametrize("n", [700, 2100])
def test_a_kernel_value_belongs_to_its_two_rows(n: int) -> None:
    """Whether a tile is one that the median distance needed, or other rows that begin with the same one."""
    x = np.random.default_rng(0).normal(size=(n, 5))
    measure, width = pairs.gaussian(x)
    wanted = np.exp(-(cdist(x, x) ** 2) / (2 * width**2))
    for tile in pairs.tiles(n):
        for _ in range(2):
            np.testing.assert_allclose(measure(tile.i, tile.j), wanted[np.ix_(tile.i, tile.j)], rtol=1e-12)
        others = tile.i[:1], np.append(tile.j[:1], tile.j[:0:-1])
        np.testing.assert_allclose(measure(*others), wanted[np.ix_(*others)], rtol=1e-12)


@pytest.mark.parametrize("values", [np.arange(7.0), np.arange(60_000.0)[::-1], np.repeat([1.0, 2.0], 9), np.arange(30_001) % 7])
def test_the_middle_is_the_median(values: np.ndarray) -> None:
    for order in (values, np.sort(values), np.random.default_rng(0).permutation(values)):
        assert pairs._middle(order).mean() == np.median(values)


# Degenerate input


def embedding(x: np.ndarray, labels: bool = True) -> Embedding:
    return Embedding(x, row_numbers(len(x)), obs={"label": np.arange(len(x)) % 3} if labels else {})


def degenerate(kind: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = clouds(40, 6, 6)
    if kind == "constant":
        x[:] = 1.5
    elif kind == "zero":
        x[:] = 0
    elif kind == "constant columns":
        x[:, 2:4], y[:, 0] = 3.0, 0.0
    elif kind == "zero rows":
        x[:5], y[3:9] = 0, 0
    elif kind == "equal rows":
        x, y = np.repeat(x[:10], 4, 0), np.repeat(y[:10], 4, 0)
    elif kind == "one dimension":
        x, y = x[:, :1], y[:, :1]
    elif kind == "one-hot":
        x = np.eye(40)[:, :6]
    elif kind == "not finite":
        x[3, 2], y[5, 1] = np.nan, np.inf
    elif kind == "huge":
        x, y = x * 1e200, y * 1e-200
    elif kind == "more dims than items":
        x, y = (np.random.default_rng(s).normal(size=(12, 30)) for s in (0, 1))
    elif kind.endswith("items"):
        n = int(kind.split()[0])
        x, y = x[:n], y[:n]
    return x, y


KINDS = ["constant", "zero", "constant columns", "zero rows", "equal rows", "one dimension", "one-hot", "not finite", "huge"]
KINDS += ["more dims than items", *(f"{n} items" for n in (1, 2, 3, 4, 5, 11, 12))]
OPTIONS = [(name, {}) for name in METRICS] + [
    (name, {k.name: c})
    for name in METRICS
    for k in METRICS[name].own_keywords.values()
    for c in k.param.choices
    if c != k.default and k.name != "index"  # on spaces as small as these an index is the exact search
]


@pytest.mark.parametrize("kind", KINDS)
def test_degenerate_input_has_a_value_or_a_named_reason(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chance_levels, "MOST", 8)  # draws: that there is a level counts here, not how exact it is
    x, y = degenerate(kind)
    for name, params in OPTIONS:
        for sides in ((x, y), (y, x), (x, x)):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    result = measure(name, METRICS[name].resolve(params), *map(embedding, sides))
                except NotApplicable as reason:
                    assert len(str(reason)) > 10, name
                    continue
                assert np.isfinite(result.value), (name, params)
                assert kind != "not finite", name
                low, high = interval(name, result, 0)
                assert low is None or (np.isfinite(low) and np.isfinite(high) and low <= high), (name, params)


def test_cca_of_too_few_items_says_what_to_do() -> None:
    x, y = degenerate("more dims than items")
    for name in ("cca", "svcca", "pwcca"):
        with pytest.raises(NotApplicable, match=r"12 items are not more than the 11 dims of the first space need"):
            METRICS[name].function(x, y)


def test_labels_come_from_either_file() -> None:
    x, y = clouds()
    params = METRICS["label-overlap"].resolve({})
    result = [measure("label-overlap", params, embedding(x, a), embedding(y, not a)).value for a in (True, False)]
    assert result[0] == result[1]
    with pytest.raises(NotApplicable, match="neither file has labels; give them with relrep embed --labels"):
        measure("label-overlap", params, embedding(x, False), embedding(y, False))


# Names

SHOWN = [name for name, entry in METRICS.items() if entry.shown]


def test_names_of_families_and_all() -> None:
    assert expand(["all"]) == SHOWN and 25 <= len(SHOWN) <= 30
    assert expand(["cka", "canonical", "cka"]) == ["cka", "cca", "svcca", "pwcca"]
    assert expand(["cca"]) == ["cca"]
    assert families() == ["coordinates", "neighbourhoods", "kernels", "canonical", "shapes"]
    assert expand(families()) == SHOWN
    assert [name for name in METRICS if METRICS[name].family == "statistics"] == expand(["statistics"])
    assert not set(families()) & set(METRICS)


def test_presets_are_metrics() -> None:
    assert preset("reference") == ["cosine", "jaccard"]
    assert all(name in METRICS for names in PRESETS.values() for name in names)
    with pytest.raises(UsageError, match=r"unknown preset 'quik'\. Did you mean quick\?"):
        preset("quik")


def test_the_catalogue_says_everything_of_every_metric() -> None:
    records = catalogue()
    assert [r["metric"] for r in records] == SHOWN
    for record in records:
        assert tuple(record) == COLUMNS
        assert all(isinstance(v, str) and v for v in record.values()), record


def test_the_kept_conventions_are_those_of_the_metrics() -> None:
    """make docs writes them."""
    assert CONVENTIONS.read_text("utf-8") == conventions()
