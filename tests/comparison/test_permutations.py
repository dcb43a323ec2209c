"""Permutation tests through the command: their rule, corrections, layers, and how they go on after a break."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import pytest
from conftest import Workdir, columns, only_line, vectors
from scipy import stats

from relrep_cli.comparison import permutations
from relrep_cli.comparison.permutations import Family, benjamini_hochberg, null_values, p_value
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.metrics import METRICS
from relrep_cli.numerics import permuted_grams, permuted_products
from relrep_cli.numerics.workspace import Workspace


@pytest.fixture
def models(empty: Workdir) -> Workdir:
    """a.npz; near.npz: a with noise; far.npz: nothing to do with a. 60 rows each."""
    rng = np.random.default_rng(7)
    x, clouds = vectors(60, 6)
    spaces = {"a": x, "near": x + rng.normal(size=x.shape), "far": rng.normal(size=x.shape)}
    for name, values in spaces.items():
        np.savez(empty / f"{name}.npz", x=values, **columns(clouds))
    return empty


def embedding(x: np.ndarray) -> Embedding:
    return Embedding(x, row_numbers(len(x)))


def test_p_is_that_of_the_add_one_rule(models: Workdir) -> None:
    """0.05 is the least that 19 permutations give; what is unrelated is not significant; lower is closer is minded."""
    command = "relrep compare a.npz near.npz far.npz --reference first -m cka,procrustes,knn-jaccard --permutations 19 -q"
    done = models.here(command)
    p = {(r["b"], r["metric"]): float(r["p"]) for r in done.rows}
    assert all(p["near.npz", metric] == 0.05 for metric in ("cka", "procrustes", "knn-jaccard"))
    assert min(p["far.npz", metric] for metric in ("cka", "procrustes", "knn-jaccard")) > 0.05
    assert models.here(command).out == done.out != models.here(f"{command} --seed 1").out


def test_p_equals_that_of_permutations_by_hand(models: Workdir) -> None:
    """Also of a value that a permutation reaches; the rows of the second file are permuted."""
    x, y = (np.load(models / f"{name}.npz")["x"] for name in ("a", "far"))
    r = models.here("relrep compare a.npz far.npz -m mse --permutations 60 -q").rows[0]
    orders = [np.random.default_rng([0, number]).permutation(60) for number in range(60)]
    reached = sum(np.square(x - y[order]).mean() <= np.square(x - y).mean() for order in orders)
    assert float(r["p"]) == (1 + reached) / 61 and 0 < reached < 60


def test_permutations_follow_from_the_seed_and_their_number() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 20, 3))
    orders = [np.random.default_rng([5, number]).permutation(20) for number in (3, 4)]
    actual = null_values("mse", {}, embedding(x), embedding(y), range(3, 5), 5, lambda part: None)
    assert actual == pytest.approx([np.square(x - y[order]).mean() for order in orders], rel=1e-12)


def test_a_value_that_pairing_does_not_change_is_never_significant(models: Workdir) -> None:
    r = models.here("relrep compare a.npz near.npz -m uniformity-difference --permutations 19 -q").rows[0]
    assert float(r["p"]) == 1 and r["corrected"] == "n/a"


def test_corrected_runs_from_chance_to_the_best(models: Workdir) -> None:
    rows = models.here("relrep compare a.npz near.npz -m cka,mse,ordered-knn:lcs,magnitude-difference --permutations 5 -q").rows
    best = {"cka": 1, "mse": 0, "ordered-knn:lcs": 10, "magnitude-difference": 0}
    for r in rows[:3]:
        value, chance = float(r["value"]), float(r["chance"])
        assert float(r["corrected"]) == pytest.approx((value - chance) / (best[r["metric"]] - chance))
    same = models.here("relrep compare a.npz a.npz -m procrustes,cycle-knn --permutations 5 -q").rows
    assert float(same[0]["corrected"]) == pytest.approx(1) and 0 < float(same[1]["corrected"]) <= 1


def test_q_is_over_all_records_that_have_a_p(work: Workdir) -> None:
    done = work.here("relrep compare a.h5 b.h5 c.h5 -m cosine,cka,svcca --permutations 19 -q")
    tested = [r for r in done.rows if r["p"] != "n/a"]
    assert {r["metric"] for r in done.rows if r["p"] == "n/a"} == {"cosine"} and len(tested) == 7  # dims differ from c's
    wanted = stats.false_discovery_control([float(r["p"]) for r in tested])
    assert [float(r["q"]) for r in tested] == pytest.approx(wanted)


def test_several_k_have_tests_of_their_own(models: Workdir) -> None:
    rows = models.here("relrep compare a.npz near.npz -m knn-jaccard,cka --k 3,9 --permutations 9 -q").rows
    assert [(r["metric"], r["k"], r["p"]) for r in rows] == [
        ("knn-jaccard", "3", "0.1"),
        ("knn-jaccard", "9", "0.1"),
        ("cka", "n/a", "0.1"),
    ]


def test_q_is_of_benjamini_and_hochberg() -> None:
    """q of the i-th smallest p is the least p_j * n / j of all j from i on (Benjamini and Hochberg 1995)."""
    p = np.random.default_rng(0).random(40) ** 3
    place = np.argsort(np.argsort(p))
    bounds = np.sort(p) * len(p) / np.arange(1, len(p) + 1)
    assert benjamini_hochberg(p.tolist()) == pytest.approx([min(1.0, bounds[i:].min()) for i in place])
    assert benjamini_hochberg([]) == []


def test_projections_have_tests_of_their_own_and_ratios_none(work: Workdir) -> None:
    rows = work.here("relrep compare a.h5 b.h5 --anchors anchors.h5 -m cosine,cka --permutations 9 -q").rows
    assert [r["p"] for r in rows] == ["0.1" if i in (1, 2, 3) else r["p"] for i, r in enumerate(rows)]
    assert [r["p"] == "n/a" for r in rows] == [r["projection"] == "ratio" for r in rows]


# --- going on ---


def test_kept_permutations_are_not_computed_again(models: Workdir) -> None:
    """Nor when more are asked for."""
    command = "relrep compare a.npz far.npz -m mse -q --cache kept --permutations"
    first = models.here(f"{command} 100")
    with mock.patch.object(permutations, "measure", side_effect=AssertionError):
        assert models.here(f"{command} 100").out == first.out
    with mock.patch.object(permutations, "measure", wraps=permutations.measure) as measured:
        more = models.here(f"{command} 150")
    assert measured.call_count == 50
    assert more.out == models.here(f"{command.replace('--cache kept ', '')} 150").out
    for path in (models / "kept").glob("*.null"):
        path.write_bytes(b"cut")
    assert models.here(f"{command} 100").out == first.out


# --- the best of many layers ---


def write_layers(path: Path, **layers: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for name, x in layers.items():
            file[f"layer/{name}/x"] = x
            file[f"layer/{name}/id"] = [f"item-{i:03d}" for i in range(len(x))]


def test_the_best_layer_is_judged_by_the_maximum(models: Workdir) -> None:
    rng = np.random.default_rng(3)
    y = np.load(models / "a.npz")["x"]
    layers = {str(i): rng.normal(size=(60, 4)) for i in range(6)}
    write_layers(models / "layers.h5", **layers)
    rows = models.here("relrep compare 'layers.h5::layer/*' a.npz -m cka --permutations 39 -q").rows
    assert list(rows[0])[-3:] == ["p", "q", "p_max"]
    assert [r["a"] for r in rows] == [f"layers.h5::layer/{i}/x" for i in range(6)]
    nulls = [null_values("cka", {}, embedding(x), embedding(y), range(39), 0, lambda part: None) for x in layers.values()]
    most = np.max(nulls, 0)
    for r, null in zip(rows, nulls, strict=True):
        assert float(r["p"]) == p_value(float(r["value"]), null, True)
        assert float(r["p_max"]) == p_value(float(r["value"]), most, True) >= float(r["p"])
    turned = models.here("relrep compare a.npz 'layers.h5::layer/*' -m procrustes --permutations 5 -q").rows
    assert all(float(r["p_max"]) >= float(r["p"]) for r in turned)


def test_without_layers_or_shared_rows_there_is_no_p_max(models: Workdir) -> None:
    assert "p_max" not in models.here("relrep compare a.npz near.npz -m cka --permutations 5 -q").rows[0]
    x = np.random.default_rng(0).normal(size=(60, 4))
    write_layers(models / "layers.h5", a=x, b=x[:50])
    done = models.here("relrep compare 'layers.h5::layer/*' a.npz -m cka --permutations 5")
    assert [r["p_max"] for r in done.rows] == ["n/a", "n/a"]
    assert "layers.h5::layer/a/x and a.npz: the layers do not share the same rows, so cka has no p_max" in done.stderr


@pytest.mark.parametrize(("metric", "sign"), [("cka", 1), ("procrustes", -1)])
def test_the_closest_of_all_layers_counts_and_what_has_no_value_counts_as_close(metric: str, sign: int) -> None:
    """By hand: the first permutation has no value in one layer, the second reaches 0.9 in the other, two are farther."""
    family = Family(np.full(4, -np.inf))
    records = [{"metric": metric, "value": sign * value, "convention": "c"} for value in (0.8, 0.5)]
    family.join(records[0], sign * np.array([np.nan, 0.1, 0.2, 0.3]), "rows")
    family.join(records[1], sign * np.array([-0.7, 0.9, -0.2, 0.6]), "rows")
    assert family.close() == ""
    assert [r["p_max"] for r in records] == [3 / 5, 4 / 5]
    assert {r["convention"] for r in records} == {"c; p_max over all pairs of layers of the two arguments"}


def test_the_maximum_keeps_its_level() -> None:
    """Of 10 layers without meaning, the best is called significant at 0.1 as often as it should: 0.1 +- 3 deviations."""
    rng = np.random.default_rng(1)
    actual = []
    for _ in range(300):
        values, nulls = rng.normal(size=10), rng.normal(size=(10, 49))
        family, records = Family(np.full(49, -np.inf)), [{"metric": "cka", "value": v, "convention": ""} for v in values]
        for record, null in zip(records, nulls, strict=True):
            family.join(record, null, "rows")
        assert family.close() == ""
        actual.append(min(r["p_max"] for r in records))
    assert abs(np.mean(np.array(actual) <= 0.1) - 0.1) < 3 * np.sqrt(0.09 / 300)


def test_the_worst_items_have_no_p(models: Workdir) -> None:
    only_line(models.here("relrep compare a.npz near.npz -m cosine --permutations 9 --worst 3", 2), "--worst", "p-values")


@pytest.mark.parametrize("name", ["cka", "procrustes"])
@pytest.mark.parametrize("shape", [(40, 6), (12, 30)], ids=["tall", "wide"])
def test_products_of_many_permutations_at_once_give_the_same_values(
    name: str, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permuted_grams, "serves", lambda *shape: False)
    rng = np.random.default_rng(0)
    x, y = (Embedding(rng.normal(size=shape), row_numbers(shape[0])) for _ in range(2))
    params, result = METRICS[name].resolve({}), []
    for small, room in ((0, 1), (1 << 21, 1 << 20), (1 << 21, 3 * y.x.size)):  # one by one, all at once, three at once
        monkeypatch.setattr(permuted_products, "SMALL", small)
        monkeypatch.setattr(permuted_products, "ROOM", room)
        result.append(null_values(name, params, x, y, range(5, 13), 0, lambda part: None, Workspace().for_pair()))
    assert np.isfinite(result[0]).all()
    np.testing.assert_allclose(result[1:], [result[0]] * 2, rtol=1e-12)
