"""Rows of another model among those of one: found with a clean reference, suspected without."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.evaluations.anomalies import placed
from relrep_cli.evaluations.foreign_rows import SURE, threshold_for

D = 24


def model(n: int, seed: int, items: int = 0) -> np.ndarray:
    """(n, D) one model's vectors: five topics, an offset, falling variances. seed: the model. items: whose vectors."""
    own, rng = np.random.default_rng([seed, 1]), np.random.default_rng([seed, items, 2])
    topics, offset, turn = own.normal(size=(5, D)), own.normal(size=D), np.linalg.qr(own.normal(size=(D, D)))[0]
    return ((topics[rng.integers(5, size=n)] + 0.5 * rng.normal(size=(n, D)) * np.linspace(1, 0.3, D)) @ turn + offset).astype(
        "f4"
    )


def save(work: Workdir, **spaces: np.ndarray) -> None:
    for name, x in spaces.items():
        np.savez(work / f"{name}.npz", x=x, ids=np.array([f"{name}-{i}" for i in range(len(x))]))


def mixed(n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    x, odd = model(n, 0, 5), np.arange(n) < share * n
    x[odd] = model(n, 7, 5)[odd]
    return x, odd


def test_foreign_rows_are_found_and_clean_ones_left(empty: Workdir) -> None:
    x, odd = mixed(600, 0.02)
    save(empty, clean=model(800, 0), mix=x)
    done = empty.here("relrep evaluate mix.npz --task foreign --reference clean.npz --rows scores.tsv")
    share, threshold = done.rows
    assert (share["name"], threshold["name"]) == ("share", "threshold") and 0.015 <= float(share["value"]) <= 0.03
    assert "false alarms at most 0.01" in share["convention"] and "mix-" in done.stderr
    header, *lines = (line.split("\t") for line in (empty / "scores.tsv").read_text().splitlines())
    assert header == ["file", "id", "score", "threshold", "foreign"] and len(lines) == 600
    scores = {line[1]: float(line[2]) for line in lines}
    assert [line[2] for line in lines] == sorted((line[2] for line in lines), key=float, reverse=True)
    assert all((line[4] == "yes") == (float(line[2]) > float(threshold["value"])) for line in lines)
    ordered = np.array([scores[f"mix-{i}"] for i in range(600)])
    assert placed(ordered[odd], ordered[~odd]).mean() > 0.99


@pytest.mark.parametrize("rate", [0.01, 0.05])
def test_clean_rows_pass_at_the_stated_rate(empty: Workdir, rate: float) -> None:
    save(empty, clean=model(700, 0), more=model(3000, 0, 3))
    rows = empty.here(f"relrep evaluate more.npz --task foreign --reference clean.npz --false-alarms {rate} -q").rows
    assert float(rows[0]["value"]) <= rate


@pytest.mark.parametrize(("n", "rate"), [(100, 0.1), (500, 0.01), (1000, 0.05)])
def test_the_promise_is_that_of_binomial_counts(n: int, rate: float) -> None:
    """More than j - 1 of n further scores lie above the true threshold of this rate, with the probability of a binomial."""
    threshold, _ = threshold_for(np.arange(float(n)), rate)
    j = n - int(threshold)

    def surely(place: int) -> float:
        return 1 - sum(comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(place))

    assert surely(j) >= SURE > surely(j + 1)


def test_few_reference_rows_promise_what_they_can(empty: Workdir) -> None:
    save(empty, clean=model(60, 0), mix=mixed(200, 0.1)[0])
    rows = empty.here("relrep evaluate mix.npz --task foreign --reference clean.npz -q").rows
    assert "too few rows to promise 0.01" in rows[0]["convention"]
    assert 0.05 <= float(rows[0]["value"]) <= 0.2


def test_without_a_reference_rows_are_suspected_only(empty: Workdir) -> None:
    save(empty, mix=mixed(400, 0.03)[0], clean=model(400, 0))
    done = empty.here("relrep evaluate mix.npz --task foreign")
    assert done.rows[0]["name"] == "suspected" and "no reference" in done.rows[0]["convention"]
    assert "only be suspected" in done.stderr and float(done.rows[0]["value"]) == pytest.approx(0.03, abs=0.02)
    assert float(empty.here("relrep evaluate clean.npz --task foreign -q").rows[0]["value"]) <= 0.005


@pytest.mark.slow
def test_all_tasks_leave_it_out_without_a_reference(empty: Workdir) -> None:
    save(empty, clean=model(60, 0))
    assert "foreign" not in empty.here("relrep evaluate clean.npz").stdout
    assert "foreign" in empty.here("relrep evaluate clean.npz --reference clean.npz").stdout


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("a.npz --task foreign --reference narrow.npz", 3, ["24 dims", "20"]),
        ("a.npz --task knn --reference b.npz", 2, ["--reference", "foreign"]),
        ("a.npz --task separation --rows x.tsv", 2, ["--rows", "foreign"]),
        ("a.npz --task foreign --reference b.npz --k 99", 3, ["101", "--k 48"]),
        ("a.npz --task foreign --reference none.npz", 3, ["none.npz"]),
        ("a.npz --task foreign --reference b.npz --rows b.npz", 2, ["b.npz"]),
        ("a.npz --task foreign --reference b.npz --false-alarms 2", 2, ["--false-alarms"]),
    ],
)
def test_what_cannot_be_is_one_line(empty: Workdir, command: str, code: int, words: list[str]) -> None:
    save(empty, a=model(50, 0), b=model(50, 0, 1), narrow=model(50, 0)[:, :20])
    empty.error(f"relrep evaluate {command}", code, *words)
