"""A compact letter display says exactly which models are told apart."""

from __future__ import annotations

import numpy as np
import pytest

from relrep_cli.comparison.letters import letters


def symmetric(m: int, pairs: list[tuple[int, int]]) -> np.ndarray:
    apart = np.zeros((m, m), bool)
    for i, j in pairs:
        apart[i, j] = apart[j, i] = True
    return apart


@pytest.mark.parametrize(
    ("m", "pairs", "wanted"),
    [
        (1, [], ["A"]),
        (3, [], ["A", "A", "A"]),
        (3, [(0, 1), (0, 2), (1, 2)], ["A", "B", "C"]),
        (4, [(0, 2), (0, 3), (1, 3)], ["A", "AB", "BC", "C"]),
        (5, [(0, 4), (1, 2), (1, 4), (2, 4)], ["AB", "AC", "BC", "ABCD", "D"]),  # Gramm et al. 2007 have such an example
    ],
)
def test_letters_by_hand(m: int, pairs: list[tuple[int, int]], wanted: list[str]) -> None:
    groups = letters(range(m), symmetric(m, pairs))
    if m < 5:
        assert groups == wanted
    for i in range(m):
        for j in range(i):
            assert bool(set(groups[i]) & set(groups[j])) == ((j, i) not in pairs), groups


def test_two_models_share_a_letter_exactly_if_they_are_not_told_apart() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        m = int(rng.integers(2, 9))
        apart = np.triu(rng.random((m, m)) < rng.random(), 1)
        apart |= apart.T
        order = rng.permutation(m).tolist()
        own_letters = letters(order, apart)
        assert "A" in own_letters[order[0]] and all(own_letters)
        shared = np.array([[bool(set(a) & set(b)) for b in own_letters] for a in own_letters])
        assert np.array_equal(shared, ~apart)
        groups = [{i for i in range(m) if letter in own_letters[i]} for letter in sorted(set("".join(own_letters)))]
        assert not any(a < b or (a == b and i != j) for i, a in enumerate(groups) for j, b in enumerate(groups))


def test_more_groups_than_letters_have_numbers() -> None:
    groups = letters(range(54), ~np.eye(54, dtype=bool))
    assert groups[25:27] == ["Z", "a"] and groups[51:] == ["z", "[53]", "[54]"]
