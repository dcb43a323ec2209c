"""Values that look high by chance alone are said to, with the value corrected for chance."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.comparison.corrected_values import NOTE, best_value, chance_share, correction
from relrep_cli.metrics import METRICS


@pytest.mark.parametrize(
    ("metric", "chance", "share"),
    [
        ("svcca", 0.25, 0.25),  # between 0 and 1
        ("rsa", 0.0, 0.0),  # between -1 and 1: 0 is no agreement
        ("procrustes", 2**0.5 / 2, 0.5),  # lower is closer, at most the root of 2
        ("ordered-knn:lcs", 1.0, 0.1),  # at most k
        ("mse", 3.0, None),  # no worst value
        ("cknna", 0.5, None),  # no best value
        ("information-imbalance", 1.0, None),  # beyond chance it is worse than chance
        ("uniformity-difference", 0.5, None),  # the pairing changes nothing
    ],
)
def test_the_share_of_the_range_that_chance_reaches(metric: str, chance: float, share: float | None) -> None:
    assert chance_share({"metric": metric, "chance": chance, "k": 10}) == (None if share is None else pytest.approx(share))


def test_unrelated_wide_spaces_are_said_to_be_at_chance(empty: Workdir) -> None:
    """60 items of 200 dims: svcca and biased CKA are high, whatever the spaces hold."""
    rng = np.random.default_rng(0)
    for name in "ab":
        np.save(empty / f"{name}.npy", rng.normal(size=(60, 200)))
    command = "relrep compare a.npy b.npy -m svcca,cka,procrustes:similarity,rsa,knn-jaccard --estimator"
    records = {r["metric"]: r for r in json.loads(empty.here(f"{command} biased --json -q").out)}
    for name in ("svcca", "cka", "procrustes:similarity"):
        assert records[name]["value"] > 0.7
        assert abs(records[name]["corrected"]) < 0.1
    assert abs(records["rsa"]["corrected"] - records["rsa"]["value"]) < 1e-9  # its chance level is 0
    lines = empty.here(f"{command} biased --format table -q").out.decode().splitlines()
    starred = [line.split()[2] for line in lines if "*" in line and ".npy" in line]
    assert starred == ["svcca", "cka", "procrustes:similarity"] and f"* {NOTE}" in lines


def test_metrics_whose_chance_level_is_0_have_no_star(empty: Workdir) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        np.save(empty / f"{name}.npy", rng.normal(size=(60, 200)))
    lines = empty.here("relrep compare a.npy b.npy -m cka,rsa --format table -q").out.decode().splitlines()
    assert "corrected" in lines[0].split() and not any("*" in line for line in lines)


def test_every_metric_with_a_best_value_can_be_corrected() -> None:
    without = [name for name, entry in METRICS.items() if best_value({"metric": name, "k": 10}) is None and entry.shown]
    assert without == ["cknna"]
    assert correction({"metric": "procrustes:similarity", "value": 0.9, "chance": 0.8}) == pytest.approx(0.5)
