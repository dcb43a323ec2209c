"""What is learnt of a space once: it serves other pairs and other runs, and never changes a value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relrep_cli import neighbors
from relrep_cli.base.task_cache import Records
from relrep_cli.comparison.pairs_of_files import measure, measure_subset
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.metrics import METRICS, Score
from relrep_cli.numerics import moments
from relrep_cli.numerics import workspace as workspaces
from relrep_cli.numerics.workspace import Workspace

SEARCHING = ("knn-jaccard", "mutual-knn", "jaccard", "cycle-knn", "ordered-knn:ranks")
OF_MOMENTS = ("cka", "procrustes", "svcca", "linear-regression")


def spaces(n: int = 300, d: int = 6, count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(n, d))
    return [hidden @ rng.normal(size=(d, d)) + 0.3 * rng.normal(size=(n, d)) for _ in range(count)]


def measured(name: str, x: np.ndarray, y: np.ndarray, workspace: Workspace) -> Score:
    sides = (Embedding(side, row_numbers(len(side))) for side in (x, y))
    return measure(name, METRICS[name].resolve({}), *sides, workspace=workspace)


def a_run(folder: Path | None = None, **contents: np.ndarray) -> Workspace:
    """The workspace of a run whose spaces are known by content."""
    run = Workspace.of_run(Records(folder))
    for content, x in contents.items():
        run.register(x, content)
    return run


def value(name: str, x: np.ndarray, y: np.ndarray, run: Workspace | None = None) -> tuple[float, list[float]]:
    score = measured(name, x, y, (run or Workspace()).for_pair(10))
    return score.value, [] if score.jackknife is None else score.jackknife.tolist()


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The spaces that are searched among themselves, as they are."""
    searched: list[Any] = []
    find = neighbors.find

    def spy(index: Any, frame: Any, queries: np.ndarray, base: np.ndarray, *rest: Any) -> Any:
        searched.append(base)
        return find(index, frame, queries, base, *rest)

    monkeypatch.setattr(neighbors, "find", spy)
    return searched


def test_a_space_is_searched_once_over_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    searched, (a, b, c) = counted(monkeypatch), spaces()
    alone = [value("knn-jaccard", *pair) for pair in ((a, b), (a, c), (b, c))]
    assert len(searched) == 6
    run = a_run()
    for x in (a, b, c):
        run.register(x)
    assert [value("knn-jaccard", *pair, run) for pair in ((a, b), (a, c), (b, c))] == alone
    assert len(searched) == 6 + 3
    value("knn-jaccard", a, b)  # nothing lasts longer than the run
    assert len(searched) == 6 + 3 + 2


def test_a_space_that_is_not_registered_serves_one_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    searched, (a, b, _) = counted(monkeypatch), spaces()
    run = a_run()
    run.register(a)
    value("knn-jaccard", a, b, run)
    value("knn-jaccard", a, b, run)
    assert [sum(one is x for one in searched) for x in (a, b)] == [1, 2]


@pytest.mark.parametrize("name", [*SEARCHING, *OF_MOMENTS])
def test_what_an_earlier_run_learnt_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    a, b, _ = spaces()
    values = [value(name, a, b)]
    for _ in range(2):
        values.append(value(name, a, b, a_run(tmp_path, a=a, b=b)))
    assert values[0] == values[1] == values[2]


def test_products_of_known_spaces_are_not_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, _ = spaces()
    owns: list[Sequence[int]] = []
    sums = moments._sums
    monkeypatch.setattr(moments, "_sums", lambda spaces, groups: owns.append(spaces.own) or sums(spaces, groups))
    for content, wanted in (("a", [0, 1]), ("a", [1]), ("another", [0, 1])):
        owns.clear()
        value("cka", a, b, a_run(tmp_path, **{content: a}))
        assert owns == [wanted]


@pytest.mark.parametrize("spoil", [lambda b: b"", lambda b: b[:-1], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b + b"x"])
def test_a_spoilt_record_is_computed_anew(spoil: Any, tmp_path: Path) -> None:
    a, b, _ = spaces()
    for _ in range(2):
        run = a_run(tmp_path, a=a)
        assert value("cka", a, b, run) == value("cka", a.copy(), b, run)
        kept = list(tmp_path.glob("*.space"))
        assert kept
        for path in kept:
            path.write_bytes(spoil(path.read_bytes()))


def test_memory_of_spaces_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = spaces()
    monkeypatch.setattr(workspaces, "BUDGET", 2 * 300 * 12 * 8)
    run = a_run()
    for x in (a, b, c):
        run.register(x)
        value("knn-jaccard", x, a, run)
    assert run.spaces is not None and 0 < run.spaces.nbytes <= workspaces.BUDGET


@pytest.mark.parametrize("ties", [False, True], ids=["all rows differ", "rows twice"])
@pytest.mark.parametrize("name", [*SEARCHING, "cka", "procrustes"])
def test_a_permuted_space_is_told_from_the_one_it_was(name: str, ties: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, _ = spaces()
    if ties:
        b[100:200] = b[:100]
    order = np.random.default_rng(1).permutation(len(b))
    other = b[order]
    workspace = Workspace(intervals=False)
    wanted = measured(name, a, other, workspace.for_pair(10)).value
    result = measured(name, a, other, workspace.with_permutation(other, b, order)).value
    assert result == pytest.approx(wanted, abs=1e-12)


def test_permuted_spaces_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    searched, (a, b, _) = counted(monkeypatch), spaces()
    order = np.random.default_rng(1).permutation(len(b))
    workspace = Workspace(intervals=False)
    workspace.hold(a)
    for _ in range(3):
        other = b[order]
        measured("knn-jaccard", a, other, workspace.with_permutation(other, b, order))
    assert [sum(x is space for x in searched) for space in (a, b)] == [1, 1] and len(searched) == 2


def test_results_of_permutations_do_not_pile_up() -> None:
    """What depends on a permuted space goes with it, and the next array may get its identity."""
    a, b, _ = spaces()
    workspace = Workspace(intervals=False)
    workspace.hold(a)
    orders = [np.random.default_rng(seed).permutation(len(b)) for seed in range(5)]
    sizes, values = [], []
    for order in orders:
        other = b[order]
        values.append(measured("knn-jaccard", a, other, workspace.with_permutation(other, b, order)).value)
        sizes.append(len(workspace._results))
        del other
    assert len(set(sizes)) == 1 < len(set(values))
    assert values == [measured("knn-jaccard", a, b[order], Workspace(intervals=False)).value for order in orders]


def test_keys_are_text_and_content_names_an_array() -> None:
    a, b, _ = spaces()
    run = a_run(a=a)
    run.register(twin := a.copy(), "a")
    key = run.key("f", a, 3, np.arange(2))
    assert isinstance(key, str) and key == run.key("f", twin, 3, np.arange(2))
    assert key != run.key("f", b, 3, np.arange(2)) and key != run.key("f", a, 3, np.arange(3))
    run.put(key, 7)
    assert run.get(key) == 7 and run.for_pair().get(key) is None


def test_halves_of_a_space_are_searched_once_over_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    searched, (a, b, c) = counted(monkeypatch), (Embedding(x, row_numbers(300)) for x in spaces())
    half = np.arange(0, 300, 2)
    alone = [measure_subset("knn-jaccard", {"k": 5}, x, y, 0, half).value for x, y in ((a, b), (a, c), (b, c))]
    assert len(searched) == 6
    run = a_run()
    for space in (a, b, c):
        run.register(space.x)
    of_pair = run.for_pair(5)
    again = [
        measure_subset("knn-jaccard", {"k": 5}, x, y, 0, half, workspace=of_pair).value for x, y in ((a, b), (a, c), (b, c))
    ]
    assert again == alone and len(searched) == 6 + 3
    measure_subset("knn-jaccard", {"k": 5}, a, b, 0, half + 1, workspace=of_pair)
    assert len(searched) == 6 + 3 + 2, "other rows are other spaces"


@pytest.mark.parametrize("name", ["knn-jaccard", "jaccard"])
def test_halves_of_one_sample_come_from_one_search(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where rows are repeated, so that ties decide; and where a half needs more neighbours than were searched for."""
    a, b, _ = spaces()
    a[:40], b[:20] = a[40:80], b[20:40]
    x, y = (Embedding(side, row_numbers(300)) for side in (a, b))
    among, params = np.arange(0, 300, 2), METRICS[name].resolve({"k": "5"})
    halves = [among[::2], among[1::2], np.sort(np.random.default_rng(0).permutation(among)[:60]), among[:8]]
    alone = [measure_subset(name, params, x, y, 0, half) for half in halves]
    searched, of_pair = counted(monkeypatch), Workspace()
    shared = [measure_subset(name, params, x, y, 0, half, among, workspace=of_pair) for half in halves]
    for one, other in zip(alone, shared, strict=True):
        assert one.rows is not None and other.rows is not None
        assert one.rows.tolist() == other.rows.tolist() and one.extra == other.extra
    assert len(searched) == 4, "the sample in both spaces, and the last half, which is a small part of it"
