"""Passes over candidates in ranges choose what one pass chooses, wherever they run, and go on after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli import store
from relrep_cli.anchors.candidates import Candidates
from relrep_cli.anchors.row_ranges import Ranges
from relrep_cli.anchors.shared_items import ItemFiles, candidates
from relrep_cli.anchors.strategies import choose
from relrep_cli.base.task_cache import Records
from relrep_cli.engine.running import HERE

PLACE = f"{ItemFiles.__module__}:candidates_of"


@pytest.fixture
def choice(empty: Workdir) -> tuple[Candidates, ItemFiles]:
    """Candidates of two files, some of them far from all others, in an order that is not that of the ids."""
    rng = np.random.default_rng(0)
    ids = rng.permutation(90).astype("S2")
    for name, d in (("a", 3), ("b", 5)):
        x = np.round(rng.standard_t(2, size=(90, d)), 1).astype(np.float32)
        np.savez(empty / f"{name}.npz", x=x, ids=ids)
    files = ItemFiles((str(empty / "a.npz"), str(empty / "b.npz")), store.Reading(), "all", True)
    return candidates([store.read(file) for file in files.files], files.split, files.joint), files


def ranged(c: Candidates, files: ItemFiles, folder: Path | None) -> Candidates:
    return Candidates(c.spaces, c.rows, ranges=Ranges(HERE, (PLACE, files), "name", Records(folder, quiet=True), size=17))


def of(c: Candidates, strategy: str, m: int, **params: Any) -> list[int]:
    chosen: list[int] = choose(c, strategy, m, np.random.default_rng(0), params).tolist()
    return chosen


@pytest.mark.parametrize("strategy", ["farthest", "kmeans"])
@pytest.mark.parametrize("by", ["euclidean", "cosine"])
@pytest.mark.parametrize("joint", [True, False])
def test_ranges_choose_what_one_pass_chooses(choice: Any, tmp_path: Path, strategy: str, by: str, joint: bool) -> None:
    c, files = choice
    if not joint:
        c, files = Candidates(c.spaces[:1], c.rows[:1]), ItemFiles(files.files, files.reading, files.split, False)
    for folder in (tmp_path / "records", None):  # where nothing is kept, each pass starts anew
        assert of(ranged(c, files, folder), strategy, 12, by=by) == of(c, strategy, 12, by=by)


def test_a_stopped_run_goes_on_from_its_last_pass(choice: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    c, files = choice
    monkeypatch.setattr("relrep_cli.numerics.farthest_rows.LEAST", 1)
    compared = []
    monkeypatch.setattr(
        "relrep_cli.anchors.row_ranges.update", lambda x, picks, gaps: compared.append(len(picks)) or _lower(x, picks, gaps)
    )
    first = of(ranged(c, files, tmp_path), "farthest", 20)
    before = sum(compared)
    assert of(ranged(c, files, tmp_path), "farthest", 40)[:20] == first
    assert of(c, "farthest", 40)[:20] == first
    assert sum(compared) <= before + 20 * 6 + 6, "six ranges, and each item but the last is compared once"


def _lower(x: np.ndarray, picks: np.ndarray, gaps: np.ndarray) -> None:
    np.minimum(gaps, np.square(x[:, None] - picks).sum(2).min(1, initial=np.inf), out=gaps)


@pytest.mark.parametrize(
    "words, message",
    [
        ("--strategy random --cluster local:2", "nothing to divide in random"),
        ("--strategy unsupervised --log x.log", "do not go with unsupervised"),
        ("--strategy random --device torch:cpu", "nothing to compute in random. It works with farthest, kmeans, mixture"),
        ("--strategy kmeans --device torch:cpu --cluster local:2", "in processes, not on a --device. Leave one of them out"),
    ],
)
def test_what_has_no_passes_is_refused(empty: Workdir, words: str, message: str) -> None:
    np.save(empty / "a.npy", np.eye(4))
    answer = empty.here(f"relrep anchor a.npy a.npy -n 2 -o out.tsv {words}", 2)
    assert message in answer.stderr


@pytest.mark.parametrize("strategy", ["farthest", "kmeans"])
def test_a_device_writes_the_same_anchors(empty: Workdir, strategy: str) -> None:
    """And the same step of the history, so that they are up to date for the CPU."""
    np.save(empty / "a.npy", np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32))
    common = f"relrep anchor a.npy -n 20 --strategy {strategy} -o"
    for device in ("cpu", "torch:cpu"):
        empty.here(f"{common} {device[:2]}.h5 --device {device}", SOURCE_DATE_EPOCH="0")
    assert (empty / "cp.h5").read_bytes() == (empty / "to.h5").read_bytes()
    assert "up to date" in empty.here(f"{common} to.h5").stderr


@pytest.mark.slow
def test_processes_write_the_bytes_of_one(empty: Workdir) -> None:
    np.save(empty / "a.npy", np.random.default_rng(0).normal(size=(2000, 8)).astype(np.float32))
    for strategy in ("farthest", "kmeans"):
        common = f"relrep anchor a.npy -n 20 --strategy {strategy} --by cosine"
        empty.here(f"{common} -o one.h5 --force", SOURCE_DATE_EPOCH="0")
        empty.here(f"{common} -o two.h5 --cluster local:2 --log log.jsonl --force", SOURCE_DATE_EPOCH="0")
        assert (empty / "one.h5").read_bytes() == (empty / "two.h5").read_bytes()
    assert '"name": "items 1 to 2000"' in (empty / "log.jsonl").read_text()
    assert not list(empty.path.glob(".two*"))
