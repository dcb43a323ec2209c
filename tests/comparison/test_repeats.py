"""A reference with several rows of each item: values are means over repeats, and the noise ceiling bounds them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.base.errors import DataError
from relrep_cli.comparison.measured_values import mean_of, measured
from relrep_cli.comparison.pairs_of_files import View, measure
from relrep_cli.comparison.repeats import noise_ceiling, repeats_of, turned
from relrep_cli.embedding import Embedding, text
from relrep_cli.metrics import METRICS

M, REPEATS = 40, 3
SIGNAL = np.random.default_rng(0).normal(size=(M, 6))
ITEMS = text(f"s{i}" for i in range(M))


def trials(counts: np.ndarray | int = REPEATS, noise: float = 1.0) -> Embedding:
    """Noisy rows of each item in random order; ids in the order of the rows."""
    rng = np.random.default_rng(1)
    order = rng.permutation(np.repeat(np.arange(M), counts))
    x = SIGNAL[order] + noise * rng.normal(size=(len(order), 6))
    ids = text(f"{i:04d}" for i in range(len(order)))
    return Embedding(x, ids, {"stimulus": ITEMS[order], "number": order}, uri="trials")


def of_repeats(e: Embedding, column: str = "stimulus") -> list[Embedding]:
    return [view.embedding for view in repeats_of(View("absolute", e, "key"), column)]


def test_each_repeat_holds_every_item_once_in_the_order_of_ids() -> None:
    e = trials()
    actual = of_repeats(e)
    assert len(actual) == REPEATS and all(sorted(one.ids) == sorted(ITEMS) for one in actual)
    rows = np.stack([[e.x.tolist().index(row) for row in one.x.tolist()] for one in actual])
    assert (np.diff(rows, axis=0) > 0).all()  # first, second and third row of each item
    assert [e.obs["stimulus"][i] for i in rows[1]] == actual[1].ids.tolist()
    assert len({view.content for view in repeats_of(View("absolute", e, "key"), "stimulus")}) == REPEATS
    assert sorted(of_repeats(e, "number")[0].ids.astype(int)) == list(range(M))


def test_items_keep_as_many_repeats_as_the_one_with_the_fewest() -> None:
    counts = np.full(M, 4)
    counts[7] = 2
    assert len(of_repeats(trials(counts))) == 2
    counts[7] = 1
    with pytest.raises(DataError, match=r"trials: column stimulus: item s7 has one row"):
        of_repeats(trials(counts))
    with pytest.raises(DataError, match="no column 'session'"):
        of_repeats(trials(), "session")


def test_repeats_with_coordinates_of_their_own_are_seen() -> None:
    """Seeds of a network turn each other's space; noise as large as the signal does not, nor do few dims."""
    for noise in (0.0, 1.0):
        assert not turned(of_repeats(trials(noise=noise))), noise
    rng = np.random.default_rng(3)
    deep = rng.normal(size=(M, 3)) @ rng.normal(size=(3, 24))
    turns = [np.linalg.qr(rng.normal(size=(24, 24)))[0] for _ in range(3)]
    noisy = [deep + rng.normal(size=deep.shape) for _ in turns]
    named = [Embedding(x, ITEMS, {}, uri="x") for x in (*noisy, *(x @ turn for x, turn in zip(noisy, turns, strict=True)))]
    assert not turned(named[:3]) and turned(named[3:])
    flat = [Embedding(SIGNAL[:, :2] + rng.normal(size=(M, 2)), ITEMS, {}, uri="x") for _ in range(3)]
    assert not turned(flat), "two dims say too little"


def test_a_ceiling_of_turned_repeats_is_questioned(empty: Workdir) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(M, 16))
    seeds = [x, *(x @ np.linalg.qr(rng.normal(size=(16, 16)))[0] for _ in range(2))]
    named = {"id": [f"t{i:03}" for i in range(3 * M)], "label": np.tile(ITEMS.astype(str), 3)}
    np.savez(empty / "seeds.npz", x=np.concatenate(seeds), **named)
    for name in "ab":
        np.savez(empty / f"{name}.npz", x=x + rng.normal(size=x.shape), id=ITEMS.astype(str))
    done = empty.here("relrep compare seeds.npz a.npz b.npz --against all --repeats label -m cka")
    assert "seeds.npz: its repeats do not share coordinates" in done.stderr


@pytest.mark.parametrize("name", ["cka", "cosine", "procrustes"])
def test_the_ceiling_by_hand(name: str) -> None:
    result, params = of_repeats(trials()), METRICS[name].resolve({})
    x = [one.x for one in result]
    lower = [METRICS[name].compute(x[k], (sum(x) - x[k]) / 2, params).value for k in range(3)]
    upper = [METRICS[name].compute(one, sum(x) / 3, params).value for one in x]
    assert noise_ceiling(name, params, result, 0) == pytest.approx((np.mean(lower), np.mean(upper)), rel=1e-9)
    true = np.mean([METRICS[name].compute(one, SIGNAL[[int(i[1:]) for i in result[0].ids]], params).value for one in x])
    assert min(np.mean(lower), np.mean(upper)) < true < max(np.mean(lower), np.mean(upper))


def test_a_metric_without_a_value_has_no_ceiling() -> None:
    assert noise_ceiling("label-overlap", METRICS["label-overlap"].resolve({}), of_repeats(trials()), 0) == (None, None)


def test_repeats_that_leave_out_other_items_have_no_interval() -> None:
    actual = of_repeats(trials())
    actual[1].x[3] = 1.0  # no direction for a correlation
    model, params = Embedding(SIGNAL, actual[0].ids), METRICS["rsa"].resolve({})
    each = [measured("rsa", params, one, model, 0) for one in actual]
    mean = mean_of(each).value.estimate
    assert mean.value == pytest.approx(np.mean([one.value.estimate.value for one in each])) and mean.without is None
    assert mean_of([each[0], each[2]]).value.estimate.without is not None
    lacking = measured("mse", {}, actual[0], Embedding(SIGNAL[:, :2], actual[0].ids), 0)
    assert mean_of([each[0], lacking]).value.estimate is None


def test_values_are_means_over_repeats(empty: Workdir) -> None:
    e, rng = trials(), np.random.default_rng(2)
    np.savez(empty / "t.npz", x=e.x, ids=e.ids.astype(str), label=e.obs["stimulus"].astype(str))
    spaces = {name: SIGNAL + noise * rng.normal(size=SIGNAL.shape) for name, noise in (("good", 0.1), ("poor", 2.0))}
    for name, x in spaces.items():
        np.savez(empty / f"{name}.npz", x=x, ids=ITEMS.astype(str))
    command = "relrep compare t.npz good.npz poor.npz --against good.npz --repeats label -m cka,mse --json -q"
    done = json.loads(empty.here(f"{command} --cache kept").stdout)
    for r in done:
        params = METRICS[r["metric"]].resolve({})
        for key, x in (("value_a", spaces["good"]), ("value_b", spaces["poor"])):
            rows = [int(i[1:]) for i in of_repeats(e)[0].ids]
            model = Embedding(x[rows], ITEMS[rows])
            plain = [measure(r["metric"], params, one, model).value for one in of_repeats(e)]
            assert r[key] == pytest.approx(np.mean(plain))
        assert r["n"] == M and r["p"] < 0.01 and "mean over 3 repeats" in r["convention"]
        assert r["ceiling_low"] is not None and r["ceiling_high"] is not None
    assert json.loads(empty.here(f"{command} --cache kept").stdout) == done
    empty.error("relrep compare t.npz good.npz --repeats label", 2, "--repeats works only with --against")
    empty.error("relrep compare good.npz t.npz poor.npz --against all --repeats label -q", 3, "good.npz: no column 'label'")
