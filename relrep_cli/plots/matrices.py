"""Pictures of what compare found: heatmaps of matrices, distributions of row values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.comparison.matrix import Matrix, clustered
from relrep_cli.metrics import METRICS
from relrep_cli.plots.drawing import COLOURS, FILL, INK, MARK, count, drawing, saved, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELLS = 24  # files whose values are written into cells


@dataclass(frozen=True, eq=False)
class Panel:
    """What a picture of one metric on one pair shows: its record, and each row's own value."""

    record: dict[str, Any]
    rows: np.ndarray


def heatmap(m: Matrix, target: str, order: bool = True) -> bytes:
    """A matrix as coloured cells with their values, files that are alike side by side unless `order` is off."""
    m = clustered(m) if order else m
    with drawing(), _figure_of(m) as figure:
        axes = figure.add_subplot()
        image = _cells(axes, m)
        bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
        bar.set_label("higher is closer" if METRICS[m.metric].higher_is_closer else "lower is closer", fontsize=8)
        bar.ax.tick_params(labelsize=7)
        bar.outline.set_visible(False)
        if not m.symmetric:
            axes.set_ylabel("first space")
            axes.set_xlabel("second space")
        _title(figure, m.metric, m.convention + (f"; {count(m.n)}" if m.n else ""))
        return saved(figure, target)


def distributions(panels: Sequence[Panel], target: str) -> bytes:
    """How the row values of each metric on one pair are distributed, with their mean, its interval and the chance level."""
    from matplotlib.figure import Figure

    with drawing():
        columns = min(len(panels), 2)
        lines = math.ceil(len(panels) / columns)
        figure = Figure(figsize=(4.6 * columns, 3.1 * lines + 0.4), layout="constrained")
        for place, panel in enumerate(panels, 1):
            _histogram(figure.add_subplot(lines, columns, place), panel)
        first = panels[0].record
        figure.suptitle(printable(f"{first['a']}  and  {first['b']}"), fontsize=10, color=INK)
        return saved(figure, target)


def indexes(records: Sequence[dict[str, Any]], target: str) -> bytes:
    """The stitching index of every encoder with every head, one map for each method, all on one scale of colours."""
    from matplotlib.figure import Figure

    shown = [r for r in records if r.get("encoder") and r["method"] != "none"]
    maps: dict[str, list[dict[str, Any]]] = {}
    several = len({r["decoder"] for r in shown}) > 1
    for r in shown:
        maps.setdefault(f"{r['method']}, {r['decoder']}" if several else r["method"], []).append(r)
    files = list(dict.fromkeys(r["encoder"] for r in shown))
    columns = min(len(maps), max(1, 12 // len(files)), 4)
    lines = math.ceil(len(maps) / columns)
    side = max(2.4, 0.5 * len(files) + 1.2)
    with drawing():
        figure = Figure(figsize=(side * columns + 0.8, (side + 0.3) * lines), layout="constrained")
        places = (figure.add_subplot(lines, columns, place + 1) for place in range(len(maps)))
        drawn = [_index_map(axes, *one, files) for axes, one in zip(places, maps.items(), strict=True)]
        if drawn:
            bar = figure.colorbar(drawn[0], ax=figure.axes, shrink=0.8, pad=0.02)
            bar.set_label("stitching index", fontsize=8)
            bar.outline.set_visible(False)
        return saved(figure, target)


# --- parts of pictures ---


@contextmanager
def _figure_of(m: Matrix) -> Iterator[Figure]:
    from matplotlib.figure import Figure

    longest = max(len(_name(name)) for name in (*m.rows, *m.columns))
    side = 0.55 if max(m.values.shape) <= CELLS else min(0.22, 40 / max(m.values.shape))  # at most 8000 pixels
    names = 0.055 * longest
    width, height = side * len(m.columns) + names + 1.6, side * len(m.rows) + names + 1.1
    yield Figure(figsize=(max(4.2, width), max(3.4, height)), layout="constrained")


def _cells(axes: Axes, m: Matrix) -> Any:
    """The coloured cells, their values, and the names along two sides."""
    import matplotlib

    low, high = _range(m)
    colours = matplotlib.colormaps[COLOURS if METRICS[m.metric].higher_is_closer else f"{COLOURS}_r"]
    image = axes.imshow(np.ma.masked_invalid(m.values), cmap=colours.with_extremes(bad="#e8e8e8"), vmin=low, vmax=high)
    size = 8 if max(m.values.shape) <= CELLS / 2 else 6 if max(m.values.shape) <= CELLS else 5
    upright = max(map(len, map(_name, m.columns))) <= 4
    axes.set_xticks(range(len(m.columns)), list(map(_name, m.columns)), rotation=0 if upright else 45, fontsize=size)
    if not upright:
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(m.rows)), list(map(_name, m.rows)), fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(len(m.columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(m.rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="minor", length=0)
    if max(m.values.shape) <= CELLS:
        _values(axes, m.values, image, size)
    return image


def _index_map(axes: Axes, title: str, records: Sequence[dict[str, Any]], files: Sequence[str]) -> Any:
    """One method's map: encoders down, heads across."""
    values = np.full((len(files), len(files)), np.nan)
    for r in records:
        if r["stitching_index"] is not None:
            values[files.index(r["encoder"]), files.index(r["head"])] = r["stitching_index"]
    image = axes.imshow(np.ma.masked_invalid(values), cmap=COLOURS, vmin=0, vmax=1)
    image.cmap.set_bad("#e8e8e8")
    size = 7 if len(files) <= CELLS / 2 else 5
    short_names = [_name(Path(name.partition("::")[0]).name + name[len(name.partition("::")[0]) :]) for name in files]
    axes.set_xticks(range(len(files)), short_names, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(range(len(files)), short_names, fontsize=size)
    axes.set_xlabel("head", fontsize=size)
    axes.set_ylabel("encoder", fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(wrapped(printable(title), 34), fontsize=8, color=INK)
    if len(files) <= CELLS:
        _values(axes, values, image, size)
    return image


def _values(axes: Axes, values: np.ndarray, image: Any, size: int) -> None:
    """The value in each cell, dark on light or light on dark."""
    for i, row in enumerate(values.tolist()):
        for j, value in enumerate(row):
            if math.isnan(value):
                axes.text(j, i, "–", ha="center", va="center", fontsize=size, color=INK)
                continue
            red, green, blue, _ = image.cmap(image.norm(value))
            light = 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45
            axes.text(j, i, short(value), ha="center", va="center", fontsize=size, color="black" if light else "white")


def _range(m: Matrix) -> tuple[float, float]:
    """What the colours span: all values but those of spaces against themselves, so that differences can be seen."""
    own = np.array([[a == b for b in m.columns] for a in m.rows]) if m.same else np.zeros(m.values.shape, bool)
    seen = m.values[np.isfinite(m.values) & ~own]
    if not len(seen):
        return 0.0, 1.0
    low, high = float(seen.min()), float(seen.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def short(value: float) -> str:
    """A value as a cell holds it.

    >>> short(0.98765), short(-0.5), short(1.0), short(123456.0)
    ('.988', '-.50', '1', '1.2e+05')
    """
    if abs(value) >= 1000:
        return f"{value:.1e}"
    if abs(value) >= 10 or value in (0, 1):
        return f"{value:.0f}"
    if abs(value) >= 0.9995:
        return f"{value:.2f}"
    text = f"{value:.2f}" if value < 0 else f"{value:.3f}"
    return text.replace("0.", ".", 1)


def _histogram(axes: Axes, panel: Panel) -> None:
    """One metric's row values; the mean as a line, its interval as a band, chance as a dashed line."""
    r, values = panel.record, panel.rows
    kinds = np.unique(values)
    if len(kinds) <= 24:  # overlaps of k neighbours take few values: a bar for each
        gap = float(np.diff(kinds).min()) if len(kinds) > 1 else 0.1
        counts = [np.count_nonzero(values == kind) for kind in kinds]
        axes.bar(kinds, np.array(counts) / len(values), width=0.8 * gap, color=FILL)
    else:
        axes.hist(values, bins=40, weights=np.full(len(values), 1 / len(values)), color=FILL)
    if r["low"] is not None:
        axes.axvspan(r["low"], r["high"], color=MARK, alpha=0.25, lw=0, label="95 % interval")
    axes.axvline(r["value"], color=MARK, lw=1.5, label=f"mean {r['value']:.4g}")
    if r["chance"] is not None:
        axes.axvline(r["chance"], color=INK, lw=1.2, ls="--", label=f"chance {r['chance']:.4g}")
    axes.set_title(r["metric"], fontsize=10, loc="left", color=INK)
    axes.set_xlabel(wrapped(f"{r['convention']}; {count(r['n'])}", 62), fontsize=7, color=INK)
    axes.set_ylabel("share of items", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7)


def _title(figure: Figure, metric: str, convention: str) -> None:
    wide = int(figure.get_figwidth() * 13)
    figure.suptitle(f"{metric}\n{wrapped(convention, wide)}", fontsize=9, color=INK)


def _name(name: str) -> str:
    return printable(name, 60)
