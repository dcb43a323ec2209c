"""Several references in one run, and whether the closest space to each is closer than every other one."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from conftest import Workdir

import relrep_cli as relrep
from relrep_cli.comparison.closest_models import closest_of, records_of_closest
from relrep_cli.comparison.model_differences import CHANCE, Measure, Value, compare_models
from relrep_cli.comparison.permutations import benjamini_hochberg
from relrep_cli.numerics.paired_differences import Estimate

N = 60
HIDDEN = np.random.default_rng(0).normal(size=(N, 6))
COMMAND = "relrep compare 'a.h5::*/*' 'b.h5::*/*' -m cka,cosine --json -q"


def layer(name: str, noise: float) -> np.ndarray:
    return HIDDEN + noise * np.random.default_rng([1, *name.encode()]).normal(size=HIDDEN.shape)


A = {"a0": layer("a0", 0.3), "a1": layer("a1", 0.6)}
B = {"b0": layer("b0", 0.4), "b1": layer("b1", 0.5), "b2": layer("b2", 1.5)}


def save(work: Workdir) -> None:
    for file, layers in (("a.h5", A), ("b.h5", B)):
        with h5py.File(work / file, "w") as target:
            target["ids"] = [f"item {i}" for i in range(N)]
            for name, x in layers.items():
                target[f"{name}/vectors"] = x


def of_parts(rows: np.ndarray) -> Value:
    """A mean with its exact jackknife values, whose interval is Student's."""
    n = len(rows)
    return Value(Estimate(float(rows.mean()), n, without=(rows.sum() - rows) / (n - 1)), "mean")


def measure(rows: dict[str, np.ndarray], sign: int = 1) -> Measure:
    return Measure({"metric": "x", "reference": "r"}, {name: of_parts(own) for name, own in rows.items()}, sign)


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_a_choice_by_the_same_data_is_allowed_for(shared: float) -> None:
    """Models that are equally close: the closest one of the data is called closer than all others in 5 % of draws at most.

    The p against the second closest alone would be too small if it were one-sided, and that against the farthest is.
    """
    rng, draws, p, smallest = np.random.default_rng(0), 500, [], []
    for _ in range(draws):
        rows = shared * rng.normal(size=30) + rng.normal(size=(3, 30))
        compared = closest_of(measure(dict(zip("abc", rows, strict=True))), 0)
        p.append(records_of_closest([compared])[0]["p"])
        smallest.append(min(one.p for one in compared.differences.values()))
    assert np.mean(np.array(p) <= 0.05) < 0.05 + 2 * np.sqrt(0.05 * 0.95 / draws)
    assert np.mean(np.array(smallest) <= 0.05) > 0.08


def test_two_equally_close_models_are_told_apart_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(1)
    pairs = [dict(zip("ab", rng.normal(size=(2, 30)), strict=True)) for _ in range(500)]
    p = np.array([records_of_closest([closest_of(measure(rows), 0)])[0]["p"] for rows in pairs])
    assert abs(np.mean(p <= 0.05) - 0.05) < 2.5 * np.sqrt(0.05 * 0.95 / 500)


def test_the_rival_is_the_model_that_is_hardest_to_tell_apart() -> None:
    """Here it is the third closest one, whose values vary much."""
    rng = np.random.default_rng(2)
    base = rng.normal(size=200)
    steady, wild = base + 0.1 * rng.normal(size=200), 40 * rng.normal(size=200)
    rows = {"best": base + 2, "second": steady - steady.mean() + 1.5, "third": wild - wild.mean()}
    (record,) = records_of_closest([closest_of(measure(rows), 0)])
    assert (record["closest"], record["rival"]) == ("best", "third")
    both = compare_models([measure(rows)], "best")
    assert record["p"] == max(r["p"] for r in both) == both[1]["p"] > 0.05 > both[0]["p"]
    assert record["difference"] == pytest.approx(-both[1]["difference"]) and record["low"] < 0 < record["high"]
    assert "above 0 the closest is closer" in record["convention"] and "p: the largest of 2" in record["convention"]
    (far,) = records_of_closest([closest_of(measure(rows, -1), 0)])
    assert far["closest"] == "third" and far["difference"] < 0 and "below 0 the closest is closer" in far["convention"]


def test_values_that_cannot_be_tested_have_no_p() -> None:
    tested = measure({"a": np.arange(9.0), "b": np.arange(9.0) ** 2})
    lone = Measure(tested.keys, dict(tested.values) | {"c": Value(Estimate(1.0, 9), "mean")}, 1)
    none = Measure(tested.keys, {"a": tested.values["a"], "b": Value(None, "n/a: dims differ")}, 1)
    records = records_of_closest([closest_of(one, 0) for one in (tested, lone, none)])
    assert records[0]["p"] == records[0]["q"] and (records[0]["closest"], records[0]["rival"]) == ("b", "a")
    assert (records[1]["closest"], records[1]["rival"], records[1]["p"], records[1]["q"]) == ("b", "a", None, None)
    assert records[2]["closest"] is None and records[2]["convention"] == "n/a: dims differ"
    values = {"a": tested.values["a"], "b": Value(tested.values["b"].estimate, "mean", 15.0)}
    (wide,) = records_of_closest([closest_of(Measure(tested.keys, values, 1, (0, 99)), 0)])
    assert wide["chance_difference"] is None and CHANCE not in wide["convention"], "of a chance level that is not known"


def test_each_layer_of_the_first_argument_is_a_reference_in_turn(empty: Workdir) -> None:
    save(empty)
    records = json.loads(empty.here(f"{COMMAND} --against all").stdout)
    assert [(r["reference"][-10:-8], r["metric"]) for r in records[::3]] == [
        (layer, metric) for layer in A for metric in ("cka", "cosine")
    ]
    for name in A:
        one = f"relrep compare a.h5::{name}/vectors 'b.h5::*/*' -m cka,cosine --json -q --against all"
        alone = json.loads(empty.here(one).stdout)
        own = [r for r in records if r["reference"] == f"a.h5::{name}/vectors"]
        assert [r | {"q": 0, "groups": 0} for r in own] == [r | {"q": 0, "groups": 0} for r in alone]
    assert [r["q"] for r in records] == benjamini_hochberg([r["p"] for r in records])
    some = json.loads(empty.here(f"{COMMAND} --against b.h5::b1/vectors").stdout)
    assert {r["a"] for r in some} == {"b.h5::b1/vectors"} and len(some) == 8


def test_the_closest_layer_is_tested_against_every_other_one(empty: Workdir) -> None:
    save(empty)
    records = json.loads(empty.here(f"{COMMAND} --against closest").stdout)
    every = json.loads(empty.here(f"{COMMAND} --against all").stdout)
    assert [(r["reference"][-10:-8], r["metric"]) for r in records] == [(a, m) for a in A for m in ("cka", "cosine")]
    for r in records:
        own = [o for o in every if (o["reference"], o["metric"]) == (r["reference"], r["metric"])]
        best = max((value, o[side]) for o in own for side, value in (("a", o["value_a"]), ("b", o["value_b"])))
        assert (r["value_closest"], r["closest"]) == best
        largest = max(o["p"] for o in own if r["closest"] in (o["a"], o["b"]))
        assert r["p"] == pytest.approx(largest, rel=1e-6 if r["metric"] == "cka" else 0.5)  # a bootstrap draws the other way
        assert r["difference"] == pytest.approx(r["value_closest"] - r["value_rival"]) and r["n"] == N
    assert [r["q"] for r in records] == benjamini_hochberg([r["p"] for r in records])
    table = empty.here(f"{COMMAND} --against closest --format table".replace("--json ", "")).stdout.splitlines()
    assert table[1].split()[:3] == ["a0", "b0", "b1"]
    assert "reference: embeddings of a.h5::*/vectors, closest: embeddings of b.h5::*/vectors" in "\n".join(table)
    named = empty.here(f"{COMMAND} --against closest --names A0,A1,B0,B1,B2").stdout
    assert {(r["reference"], r["closest"]) for r in json.loads(named)} == {("A0", "B0"), ("A1", "B0")}


def test_the_library_says_what_the_command_says(empty: Workdir) -> None:
    save(empty)
    records = json.loads(empty.here(f"{COMMAND} --against closest").stdout)
    results = relrep.compare(A, B, metric="cka,cosine", against="closest")
    assert list(results.columns)[:4] == ["reference", "closest", "rival", "metric"]
    assert [r.p for r in results] == pytest.approx([r["p"] for r in records])
    assert {(r.reference, r.closest) for r in results} == {("a0", "b0"), ("a1", "b0")}


def test_values_are_of_the_items_that_all_files_share() -> None:
    ids = np.array([f"item {i:02}" for i in range(N)])
    part = {name: slice(place, N - 2 * place) for place, name in enumerate([*A, *B])}
    spaces = {name: relrep.as_embedding(x[part[name]], ids=ids[part[name]]) for name, x in {**A, **B}.items()}
    a, b = ({name: spaces[name] for name in side} for side in (A, B))
    some = slice(4, N - 8)
    wanted = relrep.compare({n: x[some] for n, x in A.items()}, {n: x[some] for n, x in B.items()}, against="all")
    results = relrep.compare(a, b, against="all")
    assert [r.value_b for r in results] == pytest.approx([r.value_b for r in wanted]) and {r.n for r in results} == {N - 12}
    assert any("48 items are in all files" in note for note in results.notes)


def test_a_reference_that_cannot_be_used_leaves_the_others() -> None:
    references = {"good": A["a0"], "short": A["a1"][:40]}
    results = relrep.compare(references, {**B, "cut": B["b0"][:40]}, against="closest")
    assert [(r.reference, r.rival) for r in results] == [("good", "b1"), (None, "cut"), ("short", None)]
    assert all("cannot pair" in r.error for r in results[1:])
    with pytest.raises(relrep.DataError, match="cannot pair"):
        relrep.compare({"one": A["a0"][:9], "two": A["a1"][:9]}, B, against="closest")


def test_a_pattern_alone_has_nothing_to_be_compared_with(empty: Workdir) -> None:
    save(empty)
    line = empty.here("relrep compare 'b.h5::*/*' --against closest", 2).stderr
    assert "Name the files to compare them with, or one by --reference." in line
    empty.here("relrep compare 'b.h5::*/*' --against closest --reference b.h5::b1/vectors -q")
    assert len(relrep.compare(B, reference="b1", against="closest")) == 1
