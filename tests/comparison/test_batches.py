"""Sums of many pairs taken in one pass: the same bits as pair by pair, within memory, and only where linear CKA wants them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relrep_cli.base.task_cache import Records
from relrep_cli.comparison import batches, runs
from relrep_cli.comparison.pairs_of_files import View
from relrep_cli.comparison.plans import Outputs, Plan, make_plan
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.numerics.workspace import Workspace

FILES = ("a", "b", "c", "d")


def plan(name: str = "cka", **params: Any) -> Plan:
    own = {"kernel": "linear", "estimator": "unbiased", "batch": 256} | params if name == "cka" else params
    return make_plan([[uri] for uri in FILES], {name: own}, Outputs(), reference=None, seed=0, require_all=False)


def views(n: int, odd: str = "") -> dict[str, Any]:
    """Four files of the same rows; the file `odd` has them in another order."""
    rng = np.random.default_rng(0)
    files = {}
    for uri in FILES:
        ids = row_numbers(n)[::-1] if uri == odd else row_numbers(n)
        x = rng.normal(size=(n, 6)).astype(np.float32) + 3
        files[uri] = [View("absolute", Embedding(x, ids, uri=uri), content=f"content of {uri}")]
    return files


def measured(of: Plan, files: dict[str, Any], folder: Path | None = None) -> list[Any]:
    cache = Records(folder, True)
    return runs.run(of, files, cache, Workspace.of_run(cache)).records


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pairs each pass took."""
    counts: list[int] = []
    real: Callable[..., None] = batches.take_together
    monkeypatch.setattr(batches, "take_together", lambda pairs, *more: counts.append(len(pairs)) or real(pairs, *more))
    return counts


@pytest.mark.parametrize("n", [100, 3000, 5000, 7000], ids=["one lane", "two", "three", "four"])
def test_a_batch_gives_the_bits_of_each_pair_alone(n: int, passes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    together = measured(plan(), views(n))
    assert passes == [6]
    monkeypatch.setattr(batches, "SUMS", 0)
    assert measured(plan(), views(n)) == together
    assert passes == [6]


def test_a_batch_fits_into_memory(passes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    together = measured(plan(), views(500))
    monkeypatch.setattr(batches, "TILES", 3 * 8 * 6 * 500)  # three files
    monkeypatch.setattr(batches, "SUMS", 2 * 8 * (36 + 13))  # two pairs
    passes.clear()
    assert measured(plan(), views(500)) == together
    assert passes and max(passes) == 2


@pytest.mark.parametrize(
    "of, odd, wanted",
    [
        (plan("procrustes"), "", []),
        (plan(estimator="minibatch"), "", []),
        (plan(), "a", [3]),
        (plan(), "d", [3]),
    ],
)
def test_only_pairs_of_the_same_rows_are_taken_together(of: Plan, odd: str, wanted: list[int], passes: list[int]) -> None:
    measured(of, views(300, odd))
    assert passes == wanted


def test_finished_pairs_are_not_taken_again(passes: list[int], tmp_path: Path) -> None:
    first = measured(plan(), views(300), tmp_path)
    for record in list(tmp_path.glob("*.json"))[:3]:
        record.unlink()
    assert measured(plan(), views(300), tmp_path) == first
    assert passes[0] == 6 and sum(passes[1:]) <= 3
