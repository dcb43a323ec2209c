"""Pictures of what several runs of compare found: a dot for each pair of spaces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.base.output import Record
from relrep_cli.plots.drawing import CLASSES, INK, drawing, saved

Values = dict[str, list[float]]  # by view of the space: absolute, a similarity function, a product
WIDE = 3  # panels beside each other
UPRIGHT = 11  # letters of a name that has room without being turned


def dots(
    by_panel: Mapping[str, Mapping[str, Values]], target: str, size: tuple[float, float] | None = None, title: str = ""
) -> bytes:
    """A panel for each metric; in it a column for each view of the spaces, and in that a dot for each pair of every series.

    by_panel: metric -> series -> view -> values. A line marks the mean of a series; the legend says how many pairs it has.
    size: width and height in inches, None for what the panels need.
    """
    from matplotlib.figure import Figure

    series = list(dict.fromkeys(name for of_series in by_panel.values() for name in of_series))
    views = list(dict.fromkeys(view for s in by_panel.values() for of_views in s.values() for view in of_views))
    across = 2 if len(by_panel) == 4 else min(len(by_panel), WIDE)
    down = -(-len(by_panel) // across)
    # Room for a dot of every series in every column, and for the names of views below.
    width = max(3.2, 0.9 + len(views) * max(0.65, 0.16 * len(series) + 0.2))
    with drawing():
        figure = Figure(figsize=size or (width * across, 3.6 * down + 0.5), layout="constrained")
        if title:
            figure.suptitle(printable(title, 400), fontsize=10, color=INK)
        for place, (metric, of_series) in enumerate(by_panel.items(), 1):
            _panel(figure.add_subplot(down, across, place), metric, of_series, series, views)
        most = {name: max(len(values) for s in by_panel.values() for values in s.get(name, {}).values()) for name in series}
        handles = [_mark(CLASSES[i % len(CLASSES)], f"{name}, {_pairs(most[name])}") for i, name in enumerate(series)]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(series)), frameon=False, fontsize=8)
        return saved(figure, target)


def _panel(axes: Any, metric: str, of_series: Mapping[str, Values], series: Sequence[str], views: Sequence[str]) -> None:
    """The columns of one metric, its series beside each other in every column."""
    step = 0.8 / max(1, len(series))
    for number, name in enumerate(series):
        colour = CLASSES[number % len(CLASSES)]
        for view, values in of_series.get(name, {}).items():
            at = views.index(view) + (number - (len(series) - 1) / 2) * step
            axes.plot(np.full(len(values), at), values, "o", ms=3.5, mew=0, color=colour, alpha=0.6, clip_on=False)
            axes.plot([at - 0.4 * step, at + 0.4 * step], [np.mean(values)] * 2, color=colour, lw=1.6)
    for edge in range(1, len(views)):
        axes.axvline(edge - 0.5, color="#e4e4e4", lw=0.8, zorder=0)
    axes.axhline(0, color=INK, lw=0.6, zorder=0)
    names = [printable(view, 60).replace(",", ",\n").replace("/", "\n") for view in views]
    upright = max(len(line) for name in names for line in name.split("\n")) <= UPRIGHT
    turned: dict[str, Any] = {} if upright else {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(views)), names, fontsize=7, **turned)
    axes.set_xlim(-0.5, len(views) - 0.5)
    axes.set_title(printable(metric, 60), fontsize=10, loc="left", color=INK)
    axes.tick_params(axis="x", length=0)
    axes.tick_params(axis="y", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _mark(colour: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker="o", ls="", ms=5, mew=0, color=colour, label=printable(label, 80))


def _pairs(count: int) -> str:
    return "one pair" if count == 1 else f"{count} pairs"


def values_of_results(results: Mapping[str, Sequence[Record]]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """What `dots` draws of the records of compare, by name of the file: each value but those of ratios."""
    pairs = {(r.get("metric"), r.get("k")) for records in results.values() for r in records}
    several = {metric for metric, count in Counter(metric for metric, _ in pairs).items() if count > 1}
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for name, records in results.items():
        for r in records:
            view, metric, k, value = str(r.get("projection") or "absolute"), r.get("metric"), r.get("k"), r.get("value")
            if isinstance(value, float | int) and not view.startswith("ratio"):
                panel = f"{metric}, k = {k:g}" if metric in several and isinstance(k, float | int) else str(metric)
                values.setdefault(panel, {}).setdefault(name, {}).setdefault(view, []).append(value)
    return values
