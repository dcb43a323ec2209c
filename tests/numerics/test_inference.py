"""Confidence intervals that hold the truth as often as they say, and chance levels in closed form. All draws are seeded."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy import stats
from transformations import NEED_SHARED_COLUMNS

from relrep_cli.base.errors import DataError
from relrep_cli.comparison.joins import join
from relrep_cli.comparison.pairs_of_files import interval, measure
from relrep_cli.embedding import Embedding, row_numbers, select, text
from relrep_cli.metrics import METRICS, Score, regression
from relrep_cli.metrics.neighborhoods import expected_jaccard, jaccard_of
from relrep_cli.numerics import hsic
from relrep_cli.numerics import intervals as inference
from relrep_cli.numerics.intervals import bootstrap, halves, jackknife, student, within

DRAWS = 300
SOURCES = {"normal": (lambda rng, n: rng.normal(3, 2, n), 3.0), "bernoulli": (lambda rng, n: rng.random(n) < 0.3, 0.3)}


@pytest.mark.parametrize("source", SOURCES)
def test_the_bootstrap_covers_the_mean_in_95_of_100_draws(source: str) -> None:
    draw, truth = SOURCES[source]
    rng = np.random.default_rng(0)
    actual = np.array([bootstrap(draw(rng, 120).astype(np.float64), rng) for _ in range(DRAWS)])
    covered = ((actual[:, 0] <= truth) & (truth <= actual[:, 1])).mean()
    assert 0.92 <= covered <= 0.98
    wide = np.diff(actual).mean() / (2 * 1.96 * {"normal": 2, "bernoulli": sqrt(0.21)}[source] / sqrt(120))
    assert 0.95 < wide < 1.03


@pytest.mark.parametrize("n", [2 * inference.GROUPS, 2 * inference.GROUPS + 1, 3 * inference.GROUPS - 1, 40_000])
def test_many_rows_are_grouped_without_losing_width(n: int) -> None:
    """The width of 40,000 rows is that of 40,000 rows, also where the groups cannot hold every row."""
    rows = np.random.default_rng(1).normal(size=n)
    widths, middles = [], []
    for seed in range(4):
        low, high = bootstrap(rows, np.random.default_rng(seed))
        widths.append(high - low)
        middles.append((low + high) / 2)
    assert np.mean(widths) / (2 * 1.96 * rows.std() / sqrt(n)) == pytest.approx(1, abs=0.05)
    assert np.mean(middles) == pytest.approx(rows.mean(), abs=0.1 * np.mean(widths))


def test_the_bootstrap_is_seeded() -> None:
    rows = np.random.default_rng(2).normal(size=50)
    assert bootstrap(rows, np.random.default_rng(5)) == bootstrap(rows, np.random.default_rng(5))
    assert bootstrap(rows, np.random.default_rng(5)) != bootstrap(rows, np.random.default_rng(6))
    assert bootstrap(np.full(50, 0.25), np.random.default_rng(0)) == (0.25, 0.25)


def test_the_interval_of_hits_is_wilsons_and_covers_where_misses_are_rare() -> None:
    """Percentiles of the bootstrap hold a share of 0.98 of 60 items in 69 % of draws."""
    rng = np.random.default_rng(0)
    for hits in (0, 1, 57, 60):
        actual = inference.of_mean(np.repeat([1.0, 0.0], [hits, 60 - hits]), rng)
        assert actual == pytest.approx(tuple(stats.binomtest(hits, 60).proportion_ci(method="wilson")), abs=1e-6)
    actual = [inference.of_mean((rng.random(60) < 0.98).astype(np.float64), rng) for _ in range(300)]
    assert np.mean([low <= 0.98 <= high for low, high in actual]) > 0.93
    rows = rng.normal(size=30)
    assert inference.of_mean(rows, np.random.default_rng(0)) == bootstrap(rows, np.random.default_rng(0))


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    rows = np.random.default_rng(3).normal(size=40)
    without = (rows.sum() - rows) / 39
    low, high = jackknife(float(rows.mean()), without)
    reach = stats.t.ppf(0.975, 39) * rows.std(ddof=1) / sqrt(40)
    assert (low, high) == pytest.approx((rows.mean() - reach, rows.mean() + reach), rel=1e-3)


def test_the_jackknife_by_hand() -> None:
    """Spread about the mean of the values without a part, which need not be the value itself: sqrt(3/4 * (4 + 1 + 0 + 9))."""
    low, high = jackknife(10.0, np.array([1.0, 2.0, 3.0, 6.0]))
    assert (low, high) == pytest.approx((10 - student(3) * sqrt(10.5), 10 + student(3) * sqrt(10.5)), rel=1e-12)


def views(n: int, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Two views of one cloud off the origin; every column has one clear partner, and one of y a weaker one beside it."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)) * [1.0, 2, 3, 4] + [3.0, 0, 1, -2]
    seen = x[:, [0, 2, 1, 3, 1]] * [1.5, 1.5, 1.5, 1.5, 0.5]
    return x, seen + rng.normal(size=(n, 5)) * [0.4, 0.4, 0.4, 0.4, 1.2] + 1


BY_GROUPS = {  # metric: how many groups, of interleaved rows
    "procrustes": 50,
    "procrustes:angle": 50,
    "procrustes:size": 50,
    "procrustes:similarity": 50,
    "matching": 50,
    "matching:semi": 50,
    "eigenspace-overlap": 50,
    "cca": 50,
    "pwcca": 50,
    "gulp": 50,
    "rsm-norm": 20,
    "distance-correlation": 20,
}


@pytest.mark.parametrize("name", BY_GROUPS)
def test_a_jackknife_is_the_value_without_each_group_of_rows(name: str) -> None:
    x, y = views(120)
    result = METRICS[name].function(x, y)
    groups = BY_GROUPS[name]
    assert len(result.jackknife) == groups
    for g in (0, 1, groups - 1):
        kept = np.arange(120) % groups != g
        wanted = METRICS[name].function(x[kept], y[kept]).value
        wanted *= sqrt(120 / kept.sum()) if name == "procrustes:size" else 1  # which grows with the root of n
        assert result.jackknife[g] == pytest.approx(wanted, rel=1e-7), g


def test_the_jackknife_of_pearson_is_the_value_without_each_row() -> None:
    """Of so few rows that one row more or less in a count is seen."""
    x, y = (side[:, :3] for side in views(7))
    pearson = METRICS["pearson"].function
    wanted = [pearson(np.delete(x, i, 0), np.delete(y, i, 0)).value for i in range(7)]
    assert pearson(x, y).jackknife == pytest.approx(wanted, rel=1e-9)


@pytest.mark.slow
def test_cknna_of_few_items_says_why_it_has_no_interval() -> None:
    for n, words in ((99, True), (100, False)):
        result = METRICS["cknna"].function(*views(n))
        assert (interval("cknna", result, 0) == (None, None)) == words
        assert result.convention.endswith(", no interval for fewer than 100 items") == words


def test_the_size_of_a_difference_has_no_interval() -> None:
    """It would hold the truth nearly always, as the size is above 0 even where there is no difference."""
    for name in ("magnitude", "concentricity", "uniformity", "intrinsic-dimension"):
        assert interval(f"{name}-difference", METRICS[f"{name}-difference"].function(*views(100)), 0) == (None, None)


def test_intervals_of_skewed_values_are_those_of_their_logarithms() -> None:
    without = np.array([1.0, 1.1, 0.9, 1.3, 0.8])
    logs = np.array([0.1, -0.1, 0.2, -0.2, 0.0, 0.0])
    low, high = jackknife(1.0, np.exp(logs), "log")
    assert np.log([low, high]) == pytest.approx(jackknife(0.0, logs), abs=1e-12)
    assert jackknife(0.5, 1 - np.exp(logs) / 2, "from one") == pytest.approx((1 - high / 2, 1 - low / 2))
    outlier = np.array([0.1, 0.1, 0.1, 0.1, 0.1, -0.5])  # the part that is left out in the last one raises the value
    ends = np.log(jackknife(1.0, np.exp(outlier), "log"))
    assert -ends[0] == pytest.approx(jackknife(0.0, outlier)[1])
    assert ends[1] > 1.2 * -ends[0]
    assert np.log(jackknife(1.0, np.exp(-outlier), "log")) == pytest.approx(jackknife(0.0, outlier), abs=1e-12)
    assert jackknife(1.0, without - 1, "log") == jackknife(1.0, without - 1)  # no logarithm
    assert jackknife(1.0, without, "from one") == jackknife(1.0, without)


@pytest.mark.parametrize("name", ["linear-regression", "linear-regression:ridge"])
def test_the_jackknife_of_a_regression_fits_anew(name: str) -> None:
    x, y = views(120)
    x[3] *= 20  # a row that moves the fit for all others
    actual = (
        METRICS[name].function(x, y, **({"penalty": 1e-9} if name.endswith("ridge") else {})).jackknife
    )  # hardly any penalty
    kept = [np.arange(120) % 50 != g for g in range(50)]
    wanted = [METRICS["linear-regression"].function(x[rows], y[rows]).value for rows in kept]
    assert actual == pytest.approx(wanted, rel=1e-6)


def test_the_jackknife_of_a_large_regression_leaves_out_errors_and_spreads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "REFIT", 0)
    x, y = views(40)
    errors, spreads = np.empty(40), np.empty(40)
    for i in range(40):
        u, v = np.delete(x, i, 0), np.delete(y, i, 0)
        slopes = np.linalg.lstsq(u - u.mean(0), v - v.mean(0), rcond=None)[0]
        errors[i] = np.square(y[i] - v.mean(0) - (x[i] - u.mean(0)) @ slopes).sum()
        spreads[i] = np.square(y[i] - v.mean(0)).sum()
    wanted = [1 - np.delete(errors, i).sum() / np.delete(spreads, i).sum() for i in range(40)]
    assert METRICS["linear-regression"].function(x, y).jackknife == pytest.approx(wanted, rel=1e-9)


def test_the_interval_of_cknna_is_that_of_halves_with_neighbours_of_their_own() -> None:
    x, y = views(150)
    cknna = METRICS["cknna"].function
    actual = cknna(x, y, k=5, epsilon=0.5)
    order = np.random.default_rng(0).permutation(150)
    first, second = (cknna(x[rows], y[rows], k=5, epsilon=0.5).value for rows in (np.sort(order[:75]), np.sort(order[75:])))
    assert len(actual.jackknife) == 20
    assert actual.jackknife[0] - actual.value == pytest.approx(
        student(10) / student(19) * sqrt(20) / 38 * (first - second), rel=1e-9
    )


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_the_jackknife_of_cka_covers_its_true_value(estimator: str) -> None:
    """Of normal data with known covariances, where CKA is |Syx|^2 / (|Sxx| |Syy|); 150 draws: 95 +- 3.5 * 1.8 %."""
    rng = np.random.default_rng(4)
    mix = rng.normal(size=(3, 2))
    sxx, syy = np.eye(3), mix.T @ mix + np.eye(2)
    truth = float(np.square(mix).sum() / sqrt(np.square(sxx).sum() * np.square(syy).sum()))
    hits = 0
    for _ in range(150):
        x = rng.normal(size=(400, 3))
        result = METRICS["cka"].function(x, x @ mix + rng.normal(size=(400, 2)), estimator=estimator)
        low, high = jackknife(result.value, result.jackknife)
        hits += low <= truth <= high
    assert 0.887 <= hits / 150 <= 0.994


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
@pytest.mark.parametrize("dims", [(4, 3), (60, 5)], ids=str)
def test_cka_without_each_row_is_exact(estimator: str, dims: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(40, dims[0])) + 3
    y = x[:, :1] + rng.normal(size=(40, dims[1]))
    cka = METRICS["cka"].function
    without = [cka(np.delete(x, i, 0), np.delete(y, i, 0), estimator=estimator).value for i in range(40)]
    assert cka(x, y, estimator=estimator).jackknife == pytest.approx(without, abs=1e-7)
    assert cka(1e25 * x, 1e-25 * y, estimator=estimator).jackknife == pytest.approx(without, abs=1e-7)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_some_rows_and_groups_of_rows_give_cka_the_interval_of_all_rows(
    estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(6)
    x = rng.standard_t(8, size=(1200, 6))
    y = x @ rng.normal(size=(6, 4)) + rng.normal(size=(1200, 4))
    some = METRICS["cka"].function(x, y, estimator=estimator)
    monkeypatch.setattr(hsic, "ROWS", 1200)
    every = METRICS["cka"].function(x, y, estimator=estimator)
    kept = [np.arange(1200) % 100 != g for g in range(100)]
    groups = np.array([METRICS["cka"].function(x[k], y[k], estimator=estimator).value for k in kept])
    low, high = jackknife(every.value, every.jackknife)
    assert (len(some.jackknife), len(every.jackknife)) == (512, 1200)
    for value, without in ((some.value, some.jackknife), (every.value, groups)):
        assert np.diff(jackknife(value, without)) == pytest.approx(high - low, rel=0.15)


@pytest.mark.parametrize("freedom", [9, 10, 11, 15, 20, 30, 49, 100, 1000])
def test_student_equals_scipy(freedom: int) -> None:
    assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=2e-3)


def test_an_interval_is_cut_at_the_bounds() -> None:
    assert within((-0.2, 1.3), (0, 1)) == (0, 1)
    assert within((-0.2, 1.3), (None, 1)) == (-0.2, 1)
    assert within((0.2, 0.3), (0, 1)) == (0.2, 0.3)


def test_a_single_row_has_no_interval() -> None:
    assert interval("cosine", Score(0.5, 0.0, "", np.array([0.5])), 0) == (None, None)
    assert interval("cka", Score(0.5, 0.0, ""), 0) == (None, None)


# Chance in closed form


@pytest.mark.parametrize(
    ("n", "k"), [(2, 1), (5, 5), (9, 7), (20, 10), (69, 10), (999, 30), (1000, 30), (1001, 1), (60_000, 10), (10**8, 100)]
)
def test_expected_jaccard_equals_scipys_hypergeometric(n: int, k: int) -> None:
    shared = np.arange(max(0, 2 * k - n), k + 1)
    wanted = float((stats.hypergeom.pmf(shared, n, k, k) * jaccard_of(shared, k)).sum())
    assert expected_jaccard(n, k) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("n", "k"), [(12, 5), (40, 10), (200, 10)])
def test_expected_jaccard_equals_random_sets(n: int, k: int) -> None:
    rng = np.random.default_rng(5)
    first = np.arange(n) < k
    shared = np.array([first[rng.permutation(n)[:k]].sum() for _ in range(20_000)])
    actual = jaccard_of(shared, k)
    assert abs(actual.mean() - expected_jaccard(n, k)) < 4 * actual.std() / sqrt(len(actual))


# Rows join by id before anything is measured


def embedding(x: np.ndarray, ids: np.ndarray | None = None, uri: str = "a.h5") -> Embedding:
    rows = row_numbers(len(x)) if ids is None else ids
    return Embedding(x, rows, obs={"label": np.array([i[-1:] for i in rows.tolist()])}, row_ids=ids is None, uri=uri)


@pytest.mark.parametrize("name", [name for name in METRICS if name not in NEED_SHARED_COLUMNS])
def test_a_shuffled_file_gives_the_same_score(name: str) -> None:
    rng = np.random.default_rng(6)
    x, ids = rng.normal(size=(90, 5)), text(f"item {i}" for i in range(90))
    a, b = embedding(x, ids), embedding(x + rng.normal(size=x.shape), ids, "b.h5")
    order = rng.permutation(90)[:80]
    mixed = embedding(b.x[order], ids[order], "b.h5")
    some = np.sort(order)
    whole = measure(name, METRICS[name].resolve({}), embedding(a.x[some], ids[some]), embedding(b.x[some], ids[some]))
    joined = [select(e, rows) for e, rows in zip((a, mixed), join(a, mixed), strict=True)]
    assert measure(name, METRICS[name].resolve({}), *joined).value == pytest.approx(whole.value, rel=1e-12)


def test_what_cannot_be_joined_is_refused() -> None:
    x = np.zeros((4, 2))
    named = [embedding(x, text(ids), uri) for ids, uri in ((["a", "b", "c", "d"], "a.h5"), (["e", "f", "g", "a"], "b.h5"))]
    assert [rows.tolist() for rows in join(*named)] == [[0], [3]]
    with pytest.raises(DataError, match=r"1 common ids of 4 and 4, and --require-all allows no loss"):
        join(*named, require_all=True)
    with pytest.raises(DataError, match=r"b\.h5: has no ids, and a\.h5 has"):
        join(named[0], embedding(x, uri="b.h5"))
    with pytest.raises(DataError, match=r"neither has ids, and 4 rows cannot pair with 3"):
        join(embedding(x), embedding(x[:3], uri="b.h5"))


def test_of_many_rows_the_error_of_halves_is_that_of_all() -> None:
    """Of the mean of n numbers, above as many rows as are halved."""
    for n in (1000, 20_000):
        numbers = np.random.default_rng(n).normal(size=n)
        low, high = jackknife(0.0, halves(0.0, n, lambda rows, numbers=numbers: float(numbers[rows].mean())))
        assert (high - low) / 2 == pytest.approx(1.96 / sqrt(n), rel=0.4)
