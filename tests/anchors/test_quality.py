"""The report on anchors: each number is what its definition says, and advice comes where there is something to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.anchors.quality import Space, agreement, report
from relrep_cli.embedding import text


def measured(x: np.ndarray, anchors: np.ndarray, **more: Any) -> dict[str, tuple[float | None, str]]:
    return {r["name"]: (r["value"], r["advice"]) for r in report([Space("a.h5", x, np.arange(len(x)), anchors, **more)], 0)}


def items(n: int = 400, d: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def test_rank_and_condition_are_those_of_the_anchors_about_the_mean() -> None:
    x = items()
    x -= x.mean(0)
    result = measured(x, np.diag([8.0, 4, 2, 2, 2, 2]) + 0 * x[:6])
    assert result["anchors"] == (6, "") and result["dims"] == (6, "")
    assert result["rank"] == (6, "") and result["condition"][0] == pytest.approx(4)
    flat = measured(x, x[:20] * [1, 1, 1, 0, 0, 0])
    assert flat["rank"][0] == 3 and "repeat each other" in flat["rank"][1]
    thin = measured(x, x[:20] * [1, 1, 1, 1, 1, 1e-4])
    assert thin["condition"][0] > 1000 and "--whiten" in thin["condition"][1]
    few = measured(x, x[:4])
    assert few["anchors"][0] == 4 and "fewer than the 6 dims" in few["anchors"][1]


def test_coverage_is_the_distance_to_the_nearest_anchor_in_typical_distances() -> None:
    x = items()
    assert measured(x, x)["coverage max"][0] == 0
    result = measured(x, x[:30])
    gaps = np.linalg.norm(x[:, None] - x[:30], axis=2).min(1)
    scale = np.median(np.linalg.norm(x[:, None] - x, axis=2)[np.triu_indices(400, 1)])
    assert result["coverage median"][0] == pytest.approx(np.median(gaps) / scale, rel=0.03)
    assert result["coverage 95 %"][0] == pytest.approx(np.quantile(gaps, 0.95) / scale, rel=0.03)
    moved = measured(1000 * x + 5, 1000 * x[:30] + 5)
    assert moved["coverage median"][0] == pytest.approx(result["coverage median"][0]), "in no unit"
    far = x.copy()
    far[7] += 200
    assert "look at them" in measured(far, x[:30])["coverage max"][1]
    assert "much of the space is far" in measured(x, x[:1] + 5)["coverage median"][1]


def test_redundancy_tells_of_twins_and_of_crowds() -> None:
    x = items()
    twins = measured(x, np.concatenate([x[:30], x[:1] + 1e-6]))
    assert twins["closest pair"][0] < 1e-5 and "almost the same" in twins["closest pair"][1]
    assert measured(x, x[:30])["closest pair"] == (
        pytest.approx(
            np.sqrt(min(np.square(x[i] - x[j]).sum() for i in range(30) for j in range(i)))
            / np.median(np.linalg.norm(x[::2][:, None] - x[1::2], axis=2)),
            rel=0.05,
        ),
        "",
    )
    x -= x.mean(0)
    assert measured(x, 3 * np.eye(6))["effective number"][0] == pytest.approx(6)
    crowd = measured(x, x[:1] * np.linspace(1, 2, 30)[:, None])
    assert crowd["effective number"][0] == pytest.approx(1) and "along a few directions" in crowd["effective number"][1]


def test_classes_count_by_their_share() -> None:
    x, labels = items(), text(["a"] * 300 + ["b"] * 100)
    even = measured(x, x[:4], labels=labels, own=text(["a", "a", "a", "b"]))
    assert even["class balance"] == (pytest.approx(1), "")
    none = measured(x, x[:4], labels=labels, own=text(["a"] * 4))
    assert (
        none["class balance"][0] == 0 and "1 of 2 classes have no anchor; take --strategy per-class" in none["class balance"][1]
    )
    assert "class balance" not in measured(x, x[:4])


def test_bad_anchors_keep_fewer_neighbours_than_random_ones() -> None:
    x = items()
    good, bad = measured(x, x[:60]), measured(x, x[:60] * [1, 1, 0, 0, 0, 0])
    name = "neighbours kept of 10"
    assert good[name][1] == "" and abs(good[name][0] - good["of random anchors"][0]) < 0.1  # type: ignore[operator]
    assert bad[name][0] < good[name][0] - 0.2 and "fewer than with random anchors" in bad[name][1]  # type: ignore[operator]
    assert good["deviation over redraws"][1] == "" and good["deviation over redraws"][0] < 0.02  # type: ignore[operator]
    spiky = np.concatenate([x[:390], 50 * x[390:]])  # whether a draw holds one of those far out decides
    assert "depend on the draw" in measured(spiky, x[:4])["deviation over redraws"][1]


def test_agreement_of_a_space_and_its_turn_is_whole_and_of_strangers_chance() -> None:
    x, rows = items(), np.arange(400)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    spaces = [
        Space("a.h5", x, rows, x[:40]),
        Space("b.h5", x @ turn + 3, rows, x[:40] @ turn + 3),
        Space("c.h5", items(seed=9), rows, items(seed=9)[:40]),
    ]
    actual = [r for r in agreement(spaces, [rows] * 3, 0) if r["name"] == "neighbours shared of 10"]
    assert [r["file"] for r in actual] == ["a.h5 b.h5", "a.h5 c.h5"]
    assert actual[0]["value"] > 0.999 and actual[1]["value"] == pytest.approx(10 / 399, abs=0.02)


@pytest.mark.slow
def test_the_command_prints_one_record_for_each_thing(work: Workdir) -> None:
    done = work.here("relrep anchor --report anchors.h5 a.h5 b.h5")
    rows = done.rows
    assert list(rows[0]) == ["file", "name", "value", "advice"]
    names = [r["name"] for r in rows if r["file"] == "a.h5"]
    assert names == [r["name"] for r in rows if r["file"] == "b.h5"] and len(set(names)) == len(names) == 13
    shared = {r["name"]: float(r["value"]) for r in rows if r["file"] == "a.h5 b.h5"}
    assert shared["neighbours shared of 10"] > 0.8
    assert {r["name"]: r["value"] for r in rows if r["file"] == "a.h5"}["class balance"] != "0.0"
    work.here("relrep anchor a.h5 -n 9 --strategy mixture -o m.h5 -q")
    assert "class balance" not in work.here("relrep anchor --report m.h5 b.h5").stdout


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("a.h5 -o x.h5", 2, "--report chooses no anchors"),
        ("a.h5 b.h5 --truth id", 2, "--truth scores a pairs file"),
        ("c.h5", 0, ""),
        ("gone.h5", 3, "gone.h5"),
    ],
)
def test_what_a_report_does_not_go_with(work: Workdir, command: str, code: int, words: str) -> None:
    assert words in work.here(f"relrep anchor --report anchors.h5 {command}", code).stderr
