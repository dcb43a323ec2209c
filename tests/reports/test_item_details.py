"""What a page says of the items behind a value."""

from __future__ import annotations

import json

import numpy as np
from conftest import Workdir
from reports.test_reports import data_of

from relrep_cli.reports.item_details import (
    CLASSES,
    MANY,
    TOO_MANY,
    WORST,
    Details,
    Judgement,
    details_of,
    from_cache,
    limited,
    thinned,
    to_cache,
)

IDS = np.array([b"a", b"b", b"c", b"d"])


def test_wrong_predictions_are_the_worst_items() -> None:
    """Right ones are not listed, and a class names what its items are most often taken for."""
    truth, predicted = np.array([0, 0, 0, 1]), np.array([1, 2, 2, 1])
    details = details_of(Judgement((truth == predicted).astype(float), IDS, truth, predicted, ["cat", "dog", "cow"]))
    assert details.worst == [
        ("a", 0.0, "cat, taken for dog"),
        ("b", 0.0, "cat, taken for cow"),
        ("c", 0.0, "cat, taken for cow"),
    ]
    assert details.classes == [("cat", 0.0, 3, "cow (2)"), ("dog", 1.0, 1, "")]
    assert details.bins[:2] == [0.0, 1.0] and sum(details.bins[2:]) == 4


def test_high_values_are_the_worst_where_low_ones_are_good() -> None:
    details = details_of(Judgement(np.arange(4.0), IDS, np.array([0, 0, 1, -1]), None, ["x", "y"], higher_is_better=False))
    assert (
        [name for name, _, _ in details.worst] == ["d", "c", "b", "a"]
        and details.worst[0][2] == ""
        and details.worst[1][2] == "y"
    )
    assert details.classes == [("y", 2.0, 1, ""), ("x", 0.5, 2, "")]


def test_values_of_classes_name_no_items() -> None:
    details = details_of(
        Judgement(np.array([0.5, 0.7]), None, np.array([0, 2]), None, ["x", "y", "z"], counts=np.array([3, 9]))
    )
    assert not details.worst and details.classes == [("x", 0.5, 3, ""), ("z", 0.7, 9, "")]


def test_values_that_are_not_finite_have_no_details() -> None:
    assert details_of(Judgement(np.array([1.0, np.nan]), IDS[:2])) == details_of(Judgement(np.zeros(0))) == Details()


def test_a_page_of_many_values_says_less_of_each() -> None:
    many = details_of(
        Judgement(np.arange(100.0), np.arange(100).astype("S"), np.arange(100), None, [str(i) for i in range(100)])
    )
    assert len(many.worst) == WORST and len(many.classes) == CLASSES and many.others == 100 - CLASSES
    fewer = limited(many, MANY + 1)
    assert len(fewer.worst) < WORST and len(fewer.classes) + fewer.others == 100
    assert limited(many, MANY) is many and limited(many, TOO_MANY + 1) == Details()


def test_a_thinned_curve_stays_on_the_curve() -> None:
    """Rounding moves points by little, and both ends stay."""
    steps = np.linspace(0, 1, 1000)
    points = np.array(thinned(np.stack([steps**2, np.sqrt(steps), steps], 1)))
    assert len(points) < 100 and points[0].tolist() == [0, 0] and points[-1].tolist() == [1, 1]
    assert np.abs(points[:, 0] - points[:, 1] ** 4).max() < 0.01


def test_details_survive_the_cache() -> None:
    details = details_of(Judgement(np.arange(4.0), IDS, np.array([0, 0, 1, 1]), None, ["x", "y"]))
    again = from_cache(json.loads(json.dumps(to_cache(details))))
    assert (
        json.dumps(to_cache(again)) == json.dumps(to_cache(details)) and from_cache(None) == from_cache({"x": 1}) == Details()
    )


def test_anomalies_have_a_curve_and_the_items_on_the_wrong_side(work: Workdir) -> None:
    work.here("relrep evaluate a.h5 --task anomaly --anomalies b.h5 -o r.html -q")
    grid = data_of((work / "r.html").read_bytes())["grids"][0]
    auc, alarms = grid["cells"]
    assert grid["rows"] == ["anomaly, auc", "anomaly, fpr95"] and len(alarms) == 4
    assert auc[8][0] == [0, 0] and auc[8][-1] == [1, 1]
    assert len(auc[5]) == WORST and sum(auc[4][2:]) == grid["same"]["n"]
