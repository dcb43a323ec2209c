"""One metric, one name: forms that an option chooses, and the names that metrics had before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.base.errors import UsageError
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.catalogue import expand, remarks
from relrep_cli.metrics.forms import AS, ESTIMATOR, FIT, MATCHING, OLD, SEQUENCE

FORMS = {
    AS: ["distance", "size", "angle", "similarity"],
    MATCHING: ["hard", "semi", "soft", "partial"],
    SEQUENCE: ["edit", "lcs", "ranks"],
    FIT: ["least-squares", "ridge"],
    ESTIMATOR: ["row-column"],
}


@pytest.mark.parametrize("choice", FORMS, ids=lambda choice: choice.metric)
def test_an_option_chooses_each_form(choice: Any) -> None:
    assert [entry.form.value for entry in METRICS.forms(choice.metric)] == FORMS[choice]
    for value in FORMS[choice]:
        assert list(METRICS.choose([choice.metric], {choice.option: value})) == [choice(value).name]
    assert list(METRICS.choose([choice.metric], {})) == [choice.metric]
    assert METRICS[choice.metric].shown and METRICS[choice.metric].plain


def test_the_forms_of_procrustes_are_functions_of_one_number() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 30, 4))
    distance, angle, similarity = (METRICS[f"procrustes:{form}"].compute(x, y).value for form in FORMS[AS] if form != "size")
    assert distance == pytest.approx(np.sqrt(2 - 2 * similarity)) and angle == pytest.approx(np.arccos(similarity))


def test_other_values_and_options_of_a_form_reach_its_function() -> None:
    assert METRICS.choose(["cka"], {"estimator": "biased"})["cka"]["estimator"] == "biased"
    assert METRICS.choose(["linear-regression"], {"fit": "ridge", "penalty": 0.5}) == {
        "linear-regression:ridge": {"penalty": 0.5}
    }
    assert list(METRICS.choose(["procrustes:size", "procrustes", "cka"], {"as_": "angle"})) == [
        "procrustes:size", "procrustes:angle", "cka",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "given", "message"),
    [
        (["cka"], {"as_": "angle"}, r"--as is not an option of metric cka\. It belongs to procrustes;"),
        (["procrustes"], {"as_": "angel"}, r"unknown value of --as: 'angel'\. Did you mean angle\?"),
        (["procrustes:angle"], {"as_": "size"}, "--as is not an option of metric procrustes:angle"),
        (["linear-regression"], {"penalty": 0.5}, r"It belongs to linear-regression:ridge, gulp;"),
        (["matching"], {"share": 0.5}, r"It belongs to matching:partial;"),
        (["procrustes:angel"], {}, r"Did you mean procrustes:angle\?"),
        ([], {"as_": "angle"}, "no metric is named"),
    ],
)
def test_options_of_others_and_unknown_forms_are_refused(names: list[str], given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        METRICS.choose(names, given)


@pytest.mark.parametrize("old", OLD)
def test_old_names_work_and_say_the_new_one(old: str) -> None:
    assert METRICS[old] is METRICS[OLD[old]] and old in METRICS and old not in list(METRICS)
    (remark,) = remarks([old])
    assert remark.startswith(f"{old} is now ") and OLD[old] in remark


def test_families_hold_the_plain_forms() -> None:
    assert not [name for name in expand(["all", "shapes", "statistics"]) if ":" in name]
    assert expand(["procrustes", "bures"]) == ["procrustes", "bures"]


def test_the_command_says_each_remark_once(work: Workdir) -> None:
    done = work.here("relrep compare a.h5 b.h5 c.h5 -m bures,soft-match,magnitude-difference --require-all")
    assert {r["metric"] for r in done.rows} == {"procrustes:similarity", "matching:soft", "magnitude-difference"}
    lines = [line for line in done.stderr.splitlines() if line.startswith("relrep compare:")]
    assert lines[0] == "relrep compare: bures is now procrustes:similarity, or procrustes with --as similarity."
    assert lines[1].startswith("relrep compare: soft-match is now matching:soft") and "Khosla and Williams" in lines[1]
    assert lines[2].startswith("relrep compare: magnitude-difference compares one number of each space; relrep evaluate")
    assert len(lines) == 3


def test_help_and_the_list_show_one_name(work: Workdir) -> None:
    listed = [r["metric"] for r in work.here("relrep compare --list").rows]
    assert listed == [name for name, entry in METRICS.items() if entry.shown] and not [name for name in listed if ":" in name]
    helped = " ".join(work.here("relrep compare --help").out.decode().split())
    assert "procrustes --as" in helped and "docs/which-metric.md" in helped
    assert "angular-procrustes" not in helped and "magnitude-difference" not in helped
    page = work.here("relrep compare --help procrustes").out.decode()
    assert "--as  distance|size|angle|similarity" in page and "procrustes:angle: Angle between" in page
