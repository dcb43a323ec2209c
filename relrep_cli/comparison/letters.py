"""Groups of models that cannot be told apart, written as letters: a compact letter display."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase, ascii_uppercase

import numpy as np


def letters(order: Sequence[int], apart: np.ndarray) -> list[str]:
    """Give models letters, so that two of them share a letter exactly if they cannot be told apart.

    order: the models from best to worst; A goes to a group that holds the best one. apart: (m, m) symmetric, whether two models
    are told apart.

    A letter stands for models of which no two are told apart. The groups are grown one after another from the best pair that no
    group holds yet (the clique-growing heuristic of Gramm et al. 2007), and a group that others make needless is left out.

    >>> apart = np.zeros((3, 3), bool)
    >>> apart[0, 2] = apart[2, 0] = True  # the first and the last model differ, and the middle one differs from neither
    >>> letters([0, 1, 2], apart)
    ['A', 'AB', 'B']
    """
    alike = ~np.asarray(apart, bool)
    np.fill_diagonal(alike, True)
    groups: list[list[int]] = []
    covered = np.zeros(alike.shape, bool)
    for place, a in enumerate(order):
        for b in order[place:]:
            lone = a == b and (alike[a].sum() > 1 or covered[a, a])  # a pair will hold it, or one does
            if not alike[a, b] or covered[a, b] or lone:
                continue
            group = _grown([a] if a == b else [a, b], order, alike)
            groups.append(group)
            covered[np.ix_(group, group)] = True
    groups = _without_needless(groups, len(alike))
    rank = {model: place for place, model in enumerate(order)}
    groups.sort(key=lambda group: sorted(rank[model] for model in group))
    return ["".join(_letter(place) for place, group in enumerate(groups) if model in group) for model in range(len(alike))]


def _grown(group: Sequence[int], order: Sequence[int], alike: np.ndarray) -> list[int]:
    """Add the models, best first, that cannot be told apart from any that is in."""
    group = list(group)
    for model in order:
        if model not in group and alike[model, group].all():
            group.append(model)
    return group


def _without_needless(groups: Sequence[list[int]], models: int) -> list[list[int]]:
    """Leave out groups, the last ones first, whose pairs are all in other groups."""
    times = np.zeros((models, models), np.int64)
    for group in groups:
        times[np.ix_(group, group)] += 1
    kept = []
    for group in reversed(groups):
        own = np.ix_(group, group)
        if (times[own] > 1).all():
            times[own] -= 1
        else:
            kept.append(group)
    return kept[::-1]


def _letter(place: int) -> str:
    """A to Z, then a to z, then numbers in brackets."""
    names = ascii_uppercase + ascii_lowercase
    return names[place] if place < len(names) else f"[{place + 1}]"
