"""One pair of large files in pieces: the value of one process to the last bit, in pieces of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.base.task_cache import Records
from relrep_cli.comparison.pairs_of_files import measure
from relrep_cli.comparison.pieces import measure_piece
from relrep_cli.comparison.plans import Outputs, make_plan
from relrep_cli.comparison.runs import Session
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.metrics import METRICS, sampling
from relrep_cli.metrics.score import Score
from relrep_cli.numerics import moment_sums, moments, spread
from relrep_cli.numerics.spread import Piece, Spread, Taken
from relrep_cli.numerics.workspace import Workspace
from relrep_cli.relative.file_views import FileViews
from relrep_cli.store.reading import PLAIN

N = 700


def pair(n: int = N) -> tuple[Embedding, Embedding]:
    """Two related spaces, with many equal rows in the first, so that there are ties."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(n, 4))
    x = np.round(hidden @ rng.normal(size=(4, 6)), 0)
    y = hidden @ rng.normal(size=(4, 6)) + rng.normal(size=(n, 6))
    return Embedding(x, row_numbers(n)), Embedding(y, row_numbers(n))


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is cut that would not be worth it."""
    monkeypatch.setattr(moment_sums, "TILE", 128)  # several lanes
    monkeypatch.setattr(moments, "LIGHT", 0.0)  # few rows are added in another order
    monkeypatch.setattr(sampling, "row_ranges", lambda n, cost: spread.row_ranges(n, 5e8))
    monkeypatch.setattr(moments, "row_ranges", lambda n, cost: spread.row_ranges(n, 2.5e10))
    for module, name in ((moments, "WORTH"), (sampling, "WORTH_A_PIECE")):
        monkeypatch.setattr(module, name, 1.0)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    "name, params, kind",
    [
        ("knn-jaccard", {"k": 5}, "rows"),
        ("knn-jaccard", {"k": 5, "ci": 0.05}, "rows"),
        ("jaccard", {"neighbors": "euclidean"}, "rows"),
        ("mutual-knn", {}, "rows"),
        ("rank-similarity", {}, "rows"),
        ("cka", {}, "moments"),
        ("cca", {}, "moments"),
        ("procrustes", {}, "moments"),
        ("linear-regression", {}, "moments"),
    ],
)
def test_pieces_give_the_score_of_one_process(name: str, params: dict[str, Any], kind: str) -> None:
    x, y = pair()
    sent: list[Piece] = []

    def compute(task: tuple[Any, ...], pieces: Sequence[Piece]) -> list[Any]:
        sent.extend(pieces)
        return [_taken(name, params, x, y, piece) for piece in pieces]

    params = METRICS[name].resolve(params)
    alone = measure(name, params, x, y, 1, Workspace())
    apart = measure(name, params, x, y, 1, Workspace(spread=Spread(compute)))
    assert len(sent) > 1 and {piece.what for piece in sent} == {kind}
    for field in fields(Score):
        ours, theirs = getattr(apart, field.name), getattr(alone, field.name)
        assert np.array_equal(ours, theirs) if isinstance(theirs, np.ndarray) else ours == theirs, field.name


def _taken(name: str, params: dict[str, Any], x: Embedding, y: Embedding, piece: Piece) -> Any:
    with pytest.raises(Taken) as caught:
        measure(name, params, x, y, 1, Workspace(piece=piece))
    return caught.value.result


def test_work_that_is_not_worth_it_is_not_cut() -> None:
    def compute(*_: Any) -> list[Any]:
        raise AssertionError("pieces were sent")

    for name in ("knn-jaccard", "cka"):
        measure(name, METRICS[name].resolve({}), *pair(60), 1, Workspace(spread=Spread(compute)))


def test_values_of_rows_are_kept_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, e in zip("xy", pair(60), strict=True):
        np.save(f"{name}.npy", e.x)
    plan = make_plan([["x.npy"], ["y.npy"]], {"knn-jaccard": {"k": 5}}, Outputs(), reference=None, seed=0, require_all=False)
    cache = Records(Path("kept"))
    arguments = ("x.npy", "y.npy", 0, "knn-jaccard", METRICS["knn-jaccard"].resolve({"k": 5}), Piece("rows", "", (3, 9)))

    def session() -> Session:
        return Session(plan, FileViews(plan.files, None, [], True, PLAIN), cache, Workspace.of_run(cache))

    values, tied = measure_piece(session(), lambda part: None, *arguments)
    assert len(list(Path("kept").glob("*.piece"))) == 1
    monkeypatch.setattr("relrep_cli.comparison.pieces.measure", None)
    again, also = measure_piece(session(), lambda part: None, *arguments)
    assert np.array_equal(values, again) and tied == also and len(values) == 6


@pytest.mark.slow
def test_other_processes_give_the_bytes_of_this_one(empty: Workdir) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30_000, 64)).astype("f4")
    np.save(empty / "x.npy", x)
    np.save(empty / "y.npy", x + rng.normal(size=x.shape).astype("f4"))
    command = "relrep compare x.npy y.npy -m knn-jaccard,cka --no-interval"
    empty.run(f"{command} -o here.tsv")
    empty.run(f"{command} -o there.tsv --cluster local:2 --log log.jsonl")
    assert (empty / "here.tsv").read_bytes() == (empty / "there.tsv").read_bytes()
    assert (empty / "log.jsonl").read_text().count("measuring knn-jaccard") >= 2
