"""Where the attention of a stitched aggregator goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.embedding import bare_name
from relrep_cli.plots.drawing import CLASSES, INK, drawing, saved, wrapped

ATTENTION = "attention_"


def attentions(records: Sequence[dict[str, Any]], target: str) -> bytes:
    """How much attention each subspace got, for every encoder and head that differ: frozen, and after each adaptation."""
    from matplotlib.figure import Figure

    pairs: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for r in records:
        if r.get("encoder") != r.get("head") and any(key.startswith(ATTENTION) for key in r):
            label = str(r["method"]).partition("+adapted-")[0]
            pairs.setdefault((r["encoder"], r["head"], label), []).append(r)
    across = min(len(pairs), 3) or 1
    down = math.ceil(len(pairs) / across) or 1
    with drawing():
        figure = Figure(figsize=(4.2 * across, 3.0 * down), layout="constrained")
        for place, ((encoder, head, label), weights) in enumerate(pairs.items(), 1):
            axes = figure.add_subplot(down, across, place)
            _bars(axes, weights)
            title = f"{bare_name(encoder)} to the head of {bare_name(head)}, {label}"
            axes.set_title(wrapped(printable(title, 200), 52), fontsize=7, color=INK)
        return saved(figure, target)


def _bars(axes: Any, records: Sequence[dict[str, Any]]) -> None:
    """A group of bars for each subspace, a bar for each state of the aggregator, with its accuracy in the legend."""
    names = [key.removeprefix(ATTENTION) for key in records[0] if key.startswith(ATTENTION)]
    wide = 0.8 / len(records)
    for place, r in enumerate(records):
        state = str(r["method"]).partition("+adapted-")[2]
        label = f"{f'{state} adapted' if state else 'frozen'}: index {r['stitching_index'] or math.nan:.3f}"
        shares = [r[ATTENTION + name] for name in names]
        left = np.arange(len(names)) + (place - (len(records) - 1) / 2) * wide
        axes.bar(left, shares, wide, color=CLASSES[place], label=label)
    axes.set_xticks(range(len(names)), names, fontsize=7)
    axes.set_ylabel("mean attention", fontsize=7)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=6)
