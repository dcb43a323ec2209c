"""What is learnt of a space once: it serves other pairs and other runs, and never changes a value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relrep_cli import neighbors
from relrep_cli.base.task_cache import Records
from relrep_cli.comparison.pairs_of_files import measure
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.metrics import METRICS
from relrep_cli.numerics import blocks
from relrep_cli.numerics import memo as sharing
from relrep_cli.numerics.intervals import values_only
from relrep_cli.numerics.memo import introduce, over_pairs, permute
from relrep_cli.numerics.memo import sharing as of_pair

SEARCHING = ("knn-jaccard", "mutual-knn", "jaccard", "cycle-knn", "rank-similarity")
OF_MOMENTS = ("cka", "procrustes", "svcca", "linear-regression")


def spaces(n: int = 300, d: int = 6, count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(n, d))
    return [hidden @ rng.normal(size=(d, d)) + 0.3 * rng.normal(size=(n, d)) for _ in range(count)]


def value(name: str, x: np.ndarray, y: np.ndarray) -> tuple[float, list[float]]:
    with of_pair(10):
        score = measure(name, METRICS[name].resolve({}), Embedding(x, row_numbers(len(x))), Embedding(y, row_numbers(len(y))))
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
    with over_pairs(Records(None)):
        for x in (a, b, c):
            introduce(x, "")
        assert [value("knn-jaccard", *pair) for pair in ((a, b), (a, c), (b, c))] == alone
    assert len(searched) == 6 + 3
    value("knn-jaccard", a, b)  # nothing lasts longer than the run
    assert len(searched) == 6 + 3 + 2


def test_a_space_that_was_not_introduced_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    searched, (a, b, _) = counted(monkeypatch), spaces()
    with over_pairs(Records(None)):
        introduce(a, "")
        value("knn-jaccard", a, b)
        value("knn-jaccard", a, b)
    assert [sum(one is x for one in searched) for x in (a, b)] == [1, 2]


@pytest.mark.parametrize("name", [*SEARCHING, *OF_MOMENTS])
def test_what_an_earlier_run_learnt_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    a, b, _ = spaces()
    found = [value(name, a, b)]
    for _ in range(2):
        with over_pairs(Records(tmp_path)):
            introduce(a, "a")
            introduce(b, "b")
            found.append(value(name, a, b))
    assert found[0] == found[1] == found[2]


def test_products_of_known_spaces_are_not_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, _ = spaces()
    owns: list[list[bool]] = []
    with_rows = blocks._with_rows

    def spy(m: Any, sides: Any, own: list[bool]) -> Any:
        owns.append(own)
        return with_rows(m, sides, own)

    monkeypatch.setattr(blocks, "_with_rows", spy)
    for content, wanted in (("a", True), ("a", False), ("another", True)):
        owns.clear()
        with over_pairs(Records(tmp_path)):
            introduce(a, content)
            value("cka", a, b)
        assert owns and all(own == [wanted, True] for own in owns)


@pytest.mark.parametrize("spoil", [lambda b: b"", lambda b: b[:-1], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b + b"x"])
def test_a_spoilt_record_is_computed_anew(spoil: Any, tmp_path: Path) -> None:
    a, b, _ = spaces()
    for _ in range(2):
        with over_pairs(Records(tmp_path)):
            introduce(a, "a")
            assert value("cka", a, b) == value("cka", a.copy(), b)
        kept = list(tmp_path.glob("*.space"))
        assert kept
        for path in kept:
            path.write_bytes(spoil(path.read_bytes()))


def test_memory_of_spaces_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = spaces()
    monkeypatch.setattr(sharing, "BUDGET", 2 * 300 * 12 * 8)
    with over_pairs(Records(None)):
        for x in (a, b, c):
            introduce(x, "")
            value("knn-jaccard", x, a)
        assert sum(array.nbytes for array in sharing._run[-1].known.values()) <= sharing.BUDGET


@pytest.mark.parametrize("ties", [False, True], ids=["all rows differ", "rows twice"])
@pytest.mark.parametrize("name", [*SEARCHING, "cka", "procrustes"])
def test_a_permuted_space_is_told_from_the_one_it_was(name: str, ties: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, _ = spaces()
    if ties:
        b[100:200] = b[:100]
    order = np.random.default_rng(1).permutation(len(b))
    other = b[order]
    with values_only():
        wanted = value(name, a, other)[0]
        with of_pair(), of_pair():
            permute(other, b, order)
            score = measure(name, METRICS[name].resolve({}), *(Embedding(x, row_numbers(300)) for x in (a, other)))
    assert score.value == pytest.approx(wanted, abs=1e-12)


def test_permuted_spaces_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    searched, (a, b, _) = counted(monkeypatch), spaces()
    order = np.random.default_rng(1).permutation(len(b))
    with values_only(), of_pair():
        for _ in range(3):
            other = b[order]
            with of_pair():
                permute(other, b, order)
                measure(
                    "knn-jaccard", {**METRICS["knn-jaccard"].resolve({})}, *(Embedding(x, row_numbers(300)) for x in (a, other))
                )
    assert sum(x is b for x in searched) == 1 and not any(x is not a and x is not b for x in searched)
