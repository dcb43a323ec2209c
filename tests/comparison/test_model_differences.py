"""Which of several models is closer to a reference: differences on the same items, q-values and letters."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.base.errors import DataError, NotApplicable
from relrep_cli.comparison.dependent_rows import factor_of
from relrep_cli.comparison.measured_values import decoded, difference_factor, encoded, measured, paired
from relrep_cli.comparison.model_differences import APART, CHANCE, Measure, Value, compare_models
from relrep_cli.comparison.pairs_of_files import measure
from relrep_cli.comparison.permutations import benjamini_hochberg
from relrep_cli.embedding import Embedding, row_numbers, select
from relrep_cli.metrics import METRICS
from relrep_cli.numerics.paired_differences import Estimate

SPREAD = {"ref": 0.3, "a": 0.5, "b": 0.5, "c": 1.0}


def space(name: str, n: int = 120, columns: int = 6) -> Embedding:
    """A view of the same hidden factors, with noise of its own."""
    hidden = np.random.default_rng(0).normal(size=(n, 6))
    rng = np.random.default_rng([1, *name.encode()])
    mix = np.eye(6) if columns == 6 else rng.normal(size=(6, columns))
    return Embedding((hidden + SPREAD[name] * rng.normal(size=hidden.shape)) @ mix, row_numbers(n), uri=name)


def value(rows: np.ndarray, chance: float = 0.0) -> Value:
    return Value(Estimate(float(rows.mean()), len(rows), rows), "mean", chance)


def models(**shifts: float) -> dict[str, Value]:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=200)
    return {name: value(shared + 0.5 * rng.normal(size=200) + shift) for name, shift in shifts.items()}


def test_q_corrects_for_all_pairs_and_the_letters_agree_with_it() -> None:
    measures = [Measure({"metric": "x"}, models(a=0, b=0.05, c=1, d=1.1), 1), Measure({"metric": "y"}, models(a=0, b=0.3), -1)]
    every = compare_models(measures)
    assert [(r["a"], r["b"]) for r in every if r["metric"] == "x"] == [
        (p[0], p[1]) for p in ("ab", "ac", "ad", "bc", "bd", "cd")
    ]
    assert [r["q"] for r in every] == benjamini_hochberg([r["p"] for r in every])
    for r in every:
        first, second = r["groups"].split(", ")
        assert bool(set(first) & set(second)) == (r["q"] > APART)
        assert r["difference"] == pytest.approx(r["value_b"] - r["value_a"]) and r["low"] < r["difference"] < r["high"]
    best = {r["b"]: r["groups"].split(", ")[1] for r in every if r["metric"] == "x"}
    assert "A" in best["d"] and "A" not in best["b"]
    assert every[-1]["groups"] == "A, B"  # lower is closer
    assert "below 0 b is closer" in every[-1]["convention"] and "above 0" in every[0]["convention"]


def test_against_one_model_are_its_pairs_turned_to_it() -> None:
    measures = [Measure({"metric": "x"}, models(a=0, b=0.3, c=1))]
    every, some = compare_models(measures), compare_models(measures, "b")
    assert [(r["a"], r["b"]) for r in some] == [("b", "a"), ("b", "c")]
    same = next(r for r in every if (r["a"], r["b"]) == ("b", "c"))
    assert some[1] == same
    turned = next(r for r in every if (r["a"], r["b"]) == ("a", "b"))
    assert some[0]["difference"] == -turned["difference"]
    assert some[0]["groups"].split(", ") == turned["groups"].split(", ")[::-1]
    assert (some[0]["low"], some[0]["high"]) == pytest.approx((-turned["high"], -turned["low"]), abs=0.02)


def test_a_model_without_a_value_leaves_the_others() -> None:
    values = models(a=0, b=1) | {"c": Value(None, "n/a: dims differ")}
    ab, ac, bc = compare_models([Measure({"metric": "x"}, values)])
    assert ab["groups"] == "B, A" and ab["q"] == ab["p"]
    assert ac["value_a"] is not None and bc["value_b"] is None
    assert {ac[key] for key in ("difference", "low", "high", "p", "q", "groups", "n")} == {None}
    assert ac["convention"] == "n/a: dims differ"


def test_letters_need_every_pair() -> None:
    values = models(a=0, b=1) | {"c": Value(Estimate(0.5, 200), "mean")}
    ab, ac, _ = compare_models([Measure({"metric": "x"}, values)])
    assert (ac["p"], ac["groups"], ab["groups"]) == (None, None, None) and ab["p"] is not None
    assert "no interval" in ac["convention"] and ac["difference"] is not None


def test_a_difference_of_chance_levels_is_told() -> None:
    rows = models(a=0, b=0.3)
    values = {"a": rows["a"], "b": Value(rows["b"].estimate, "mean", 0.25)}
    (bounded,), (free,) = (compare_models([Measure({}, values, 1, bounds)]) for bounds in ((-9, 9), (None, None)))
    assert bounded["chance_difference"] == free["chance_difference"] == 0.25
    assert bounded["convention"].endswith(CHANCE) and CHANCE not in free["convention"]


@pytest.mark.parametrize("name", ["cosine", "knn-jaccard", "cka", "procrustes", "rsa"])
def test_a_difference_is_that_of_two_comparisons(name: str) -> None:
    params, ref = METRICS[name].resolve({}), space("ref")
    a, b, c = (measured(name, params, ref, space(other), 0) for other in "abc")
    near, far = paired(a, b), paired(a, c)
    plain = [measure(name, params, ref, space(other)).value for other in "abc"]
    assert (near.value, far.value) == pytest.approx((plain[1] - plain[0], plain[2] - plain[0]))
    assert 0.001 > far.p < near.p
    assert paired(a, a).value == 0 and paired(a, a).p == 1


def test_rows_in_another_order_are_not_subtracted() -> None:
    ref = space("ref")
    named = Embedding(ref.x, np.array([b"i%03d" % i for i in range(ref.n)]), uri="named")
    assert measured("cka", {}, named, named, 0).value.estimate
    with pytest.raises(DataError, match="not those of named, in their order"):
        measured("cka", {}, named, select(named, np.arange(ref.n)[::-1]), 0)


def test_rows_that_depend_on_each_other_widen_a_difference() -> None:
    ref, params = space("ref"), METRICS["knn-jaccard"].resolve({})
    a, c = (measured("knn-jaccard", params, ref, space(name), 0) for name in "ac")
    halves = [tuple(np.subtract(*sides) for sides in zip(v, u, strict=True)) for u, v in zip(a.halves, c.halves, strict=True)]
    assert a.dependent and difference_factor(a, c) == factor_of(halves) > 1.05
    u, v = (measured("cosine", {}, ref, space(name), 0) for name in "ac")
    assert not u.dependent and difference_factor(u, v) is None
    assert difference_factor(u, a) > 1  # the halves are the same ones


def test_spaces_of_other_widths_have_jackknifes_of_other_parts() -> None:
    """Ten groups instead of fifty, for moments of more than 200 columns together."""
    ref, spaces = space("ref", 230), (space("a", 230), space("b", 230, columns=210))
    narrow, wide = (measured("procrustes", {}, ref, one, 0) for one in spaces)
    assert [len(one.value.estimate.without) for one in (narrow, wide)] == [50, 10]
    difference = paired(narrow, wide)
    assert difference.p is not None and 0 < difference.high - difference.low < 0.3


def test_rsa_of_other_rows_has_no_interval() -> None:
    ref, a, b = space("ref"), space("a"), space("b")
    b.x[4] = 1.0  # no direction for a correlation
    difference = paired(*(measured("rsa", METRICS["rsa"].resolve({}), ref, one, 0) for one in (a, b)))
    assert difference.low is None and "different items" in difference.method


def test_a_model_without_a_value_cannot_be_subtracted() -> None:
    a, b = (measured("mse", {}, space("ref"), one, 0) for one in (space("a"), space("b", columns=4)))
    with pytest.raises(NotApplicable, match="dims differ"):
        paired(a, b)


@pytest.mark.parametrize("name", ["knn-jaccard", "cosine", "cka", "rsa", "label-overlap"])
def test_values_come_back_from_the_cache(name: str) -> None:
    one = measured(name, METRICS[name].resolve({}), space("ref"), space("a"), 0)  # label-overlap has no labels here
    again = decoded(encoded(one))
    assert again.value.convention == one.value.convention and again.dependent == one.dependent
    if one.value.estimate is None:
        assert again.value.estimate is None
    else:
        assert paired(one, again).value == 0 and len(again.halves) == len(one.halves)
        assert again.value.chance == one.value.chance


def save(work: Workdir, **spaces: Embedding) -> None:
    for name, e in spaces.items():
        np.savez(work / f"{name}.npz", x=e.x, ids=np.array([f"item {i.decode()}" for i in e.ids]))


def test_models_are_compared_on_the_items_that_all_share(empty: Workdir) -> None:
    ref, a, b, c = (space(name) for name in SPREAD)
    save(empty, ref=ref, a=select(a, np.arange(110)), b=select(b, np.arange(5, 120)), c=c)
    done = empty.here("relrep compare ref.npz a.npz b.npz c.npz --against b.npz -m cka,cosine -o kept.json")
    assert "105 items are in all files; up to 15 rows" in done.stderr
    records = json.loads((empty / "kept.json").read_text())
    assert [(r["metric"], r["a"], r["b"]) for r in records] == [
        (metric, "b.npz", other) for metric in ("cka", "cosine") for other in ("a.npz", "c.npz")
    ]
    some = np.arange(5, 110)
    wanted = [measure("cka", METRICS["cka"].resolve({}), select(ref, some), select(one, some)).value for one in (b, a)]
    assert [records[0]["value_a"], records[0]["value_b"]] == pytest.approx(wanted)
    assert {r["n"] for r in records} == {105} and {r["reference"] for r in records} == {"ref.npz"}
    assert "A" in records[0]["groups"].split(", ")[0] and records[1]["groups"].split(", ")[1] == "B"
    again = empty.here("relrep compare ref.npz a.npz b.npz c.npz --against b.npz -m cka,cosine --cache kept --json -q")
    assert json.loads(again.stdout) == records
    named = "--names R,A,B,C --against B -m cka,cosine --json -q"
    assert json.loads(empty.here(f"relrep compare ref.npz a.npz b.npz c.npz {named}").stdout)[0]["a"] == "B"
    once_more = empty.here("relrep compare ref.npz a.npz b.npz c.npz --against b.npz -m cka,cosine --cache kept --json -q")
    assert json.loads(once_more.stdout) == records and len(list((empty / "kept").glob("*.paired"))) == 6


def test_relative_views_have_differences_of_their_own(empty: Workdir) -> None:
    save(empty, **{name: space(name) for name in SPREAD})
    empty.here("relrep anchor ref.npz -n 20 -o anchors.h5 -q")
    command = "relrep compare ref.npz a.npz b.npz c.npz --reference c.npz --against all -m cka --anchors anchors.h5 --json -q"
    records = json.loads(empty.here(command).stdout)
    assert [r["projection"] for r in records] == ["absolute"] * 3 + ["cosine"] * 3
    assert records[0]["value_a"] != records[3]["value_a"] and all(r["q"] is not None for r in records)


def test_a_model_that_cannot_be_used_leaves_the_others(empty: Workdir) -> None:
    save(empty, **{name: space(name) for name in ("ref", "a", "b")})
    records = json.loads(empty.here("relrep compare ref.npz a.npz b.npz no.npz --against all -m cka --json", 3).stdout)
    assert [r["b"] for r in records] == ["b.npz", "no.npz"] and "no such file" in records[1]["error"]
    empty.error("relrep compare ref.npz a.npz no.npz --against all -m cka -q", 3, "no.npz: no such file")
    empty.error("relrep compare no.npz a.npz b.npz --against all -m cka -q", 3, "no.npz: no such file")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("ref.npz a.npz --against a.npz", "two or more models"),
        ("ref.npz a.npz b.npz --against ref.npz", "is a reference"),
        ("ref.npz a.npz b.npz --against x.npz", "is none of the files"),
        ("ref.npz a.npz b.npz --against a.npz --matrix", "--matrix does not go with --against"),
        ("ref.npz a.npz b.npz --against a.npz --permutations 9", "--permutations does not go"),
        ("ref.npz a.npz b.npz --against a.npz --ci 0.1", "--ci samples other rows"),
        ("ref.npz a.npz b.npz --against a.npz --diagnose", "--against does not go with --diagnose"),
    ],
)
def test_what_does_not_go_with_against_is_refused(empty: Workdir, options: str, words: str) -> None:
    empty.error(f"relrep compare {options}", 2, words)


def test_a_dry_run_says_what_is_compared(empty: Workdir) -> None:
    save(empty, **{name: space(name, 9) for name in ("ref", "a", "b")})
    done = empty.here("relrep compare ref.npz a.npz b.npz --against a.npz -m cka --dry-run")
    assert "would: compare b.npz with ref.npz by cka, then subtract" in done.stderr
