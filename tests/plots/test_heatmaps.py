"""Heat maps of a size that the user chose."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from relrep_cli.comparison.matrix import Matrix
from relrep_cli.plots import matrices
from relrep_cli.plots.looks import Look


@pytest.mark.parametrize(("size", "shows"), [((3.3, 3.0), "values"), ((7.0, 6.0), "values"), ((1.8, 1.8), "stars")])
def test_what_stands_in_a_cell_fits_into_it(size: tuple[float, float], shows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the width of a column of print, too; where no legible type fits, the stars stay alone."""
    values = np.random.default_rng(0).uniform(0.1, 0.9, (8, 8))
    levels = np.where(np.eye(8) > 0, 0.01, 0.5)
    names = [tuple(f"{side} conv{i}" for i in range(8)) for side in "AB"]
    m = Matrix("cka", names[0], names[1], values, False, "", 800, levels=levels, labels=(names[0], names[1]))
    drawn: list[Any] = []
    monkeypatch.setattr(matrices, "saved", lambda figure, target: drawn.append(figure) or b"")
    matrices.heatmap(m, "x.png", look=Look(size=size))
    (figure,) = drawn
    figure.draw_without_rendering()
    axes = figure.axes[0]
    cell = min(axes.get_window_extent().width, axes.get_window_extent().height) / 8
    texts = [words for words in axes.texts if words.get_text()]
    assert all(words.get_window_extent().width < cell for words in texts)
    assert sum(words.get_text().endswith("*") for words in texts) == 8
    assert len(texts) == (64 if shows == "values" else 8)
    labels = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(not a.overlaps(b) for a, b in itertools.pairwise(labels))
