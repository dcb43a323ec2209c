"""Pictures of what compare found: heatmaps of matrices, distributions of row values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from relrep_cli.base.errors import UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.comparison.matrix import Matrix, clustered, colour_range
from relrep_cli.comparison.shown_names import short_names
from relrep_cli.metrics import METRICS
from relrep_cli.plots.drawing import COLOURS, FILL, INK, MARK, count, drawing, saved, wrapped
from relrep_cli.plots.looks import PLAIN_LOOK, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELLS = 24  # files whose values are written into cells
NEUTRAL, FAINT = "#e8e8e8", "#777777"  # cells without a colour, and values in them
SIGNIFICANT = 0.05
LEAST, WIDTH = 4.0, 0.6  # points of the smallest type, and the width of a digit as a share of its size


@dataclass(frozen=True, eq=False)
class Panel:
    """What a picture of one metric on one pair shows: its record, each row's own value, and whether its title says k."""

    record: dict[str, Any]
    rows: np.ndarray
    names_k: bool = False


def heatmap(m: Matrix, target: str, order: bool = True, look: Look = PLAIN_LOOK) -> bytes:
    """A matrix as coloured cells with their values, files that are alike side by side unless `order` is off.

    A cell whose q-value is below 0.05 has a star. A space compared with itself has no colour.
    """
    m = clustered(m) if order else m
    with drawing(), _figure_of(m, look) as figure:
        axes = figure.add_subplot()
        image = _cells(axes, m, look)
        low, high = image.get_clim()
        seen = m.values[np.isfinite(m.values)]
        beyond = (bool((seen < low).any()), bool((seen > high).any()))
        extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get(beyond, "neither")
        bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, extend=extend)
        bar.set_label("higher is closer" if METRICS[m.metric].higher_is_closer else "lower is closer", fontsize=8)
        bar.ax.tick_params(labelsize=7)
        bar.outline.set_visible(False)
        axes.set_ylabel(m.sides[0] or ("" if m.symmetric else "first space"))
        axes.set_xlabel(m.sides[1] or ("" if m.symmetric else "second space"))
        _title(figure, m, look)
        if look.size is not None:
            _fit(figure, axes, m)
        return saved(figure, target)


def distributions(panels: Sequence[Panel], target: str, look: Look = PLAIN_LOOK) -> bytes:
    """How the row values of each metric on one pair are distributed, with their mean, its interval and the chance level."""
    from matplotlib.figure import Figure

    with drawing():
        columns = min(len(panels), 2)
        lines = math.ceil(len(panels) / columns)
        figure = Figure(figsize=look.size or (4.6 * columns, 3.1 * lines + 0.4), layout="constrained")
        for place, panel in enumerate(panels, 1):
            _histogram(figure.add_subplot(lines, columns, place), panel)
        first = panels[0].record
        names = look.names or tuple(short_names([first["a"], first["b"]]).values())
        usual = "  and  ".join(names) if len(names) == 2 else f"{names[0]} and itself"
        figure.suptitle(printable(usual if look.title is None else look.title, 300), fontsize=10, color=INK)
        return saved(figure, target)


def indexes(records: Sequence[dict[str, Any]], target: str, look: Look = PLAIN_LOOK) -> bytes:
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
        figure = Figure(figsize=look.size or (side * columns + 0.8, (side + 0.3) * lines), layout="constrained")
        places = (figure.add_subplot(lines, columns, place + 1) for place in range(len(maps)))
        drawn = [_index_map(axes, *one, files, look) for axes, one in zip(places, maps.items(), strict=True)]
        if drawn:
            bar = figure.colorbar(drawn[0], ax=figure.axes, shrink=0.8, pad=0.02)
            bar.set_label("stitching index", fontsize=8)
            bar.outline.set_visible(False)
        if look.title is not None:
            figure.suptitle(printable(look.title, 300), fontsize=9, color=INK)
        return saved(figure, target)


# --- parts of pictures ---


@contextmanager
def _figure_of(m: Matrix, look: Look) -> Iterator[Figure]:
    from matplotlib.figure import Figure

    longest = max(len(_name(name)) for name in itertools.chain(*m.shown_labels))
    side = 0.55 if max(m.values.shape) <= CELLS else min(0.22, 40 / max(m.values.shape))  # at most 8000 pixels
    names = 0.055 * longest
    width, height = side * len(m.columns) + names + 1.6, side * len(m.rows) + names + 1.1
    yield Figure(figsize=look.size or (max(4.2, width), max(3.4, height)), layout="constrained")


def _cells(axes: Axes, m: Matrix, look: Look) -> Any:
    """The coloured cells, their values, and the names along two sides."""
    import matplotlib

    low, high = _range(m, look)
    down, across = ([_name(name) for name in side] for side in m.shown_labels)
    coloured = np.ma.masked_array(m.values, ~np.isfinite(m.values) | _own(m))
    colours = matplotlib.colormaps[COLOURS if METRICS[m.metric].higher_is_closer else f"{COLOURS}_r"]
    image = axes.imshow(coloured, cmap=colours.with_extremes(bad=NEUTRAL), vmin=low, vmax=high)
    size = 8 if max(m.values.shape) <= CELLS / 2 else 6 if max(m.values.shape) <= CELLS else 5
    upright = max(map(len, across)) <= 4
    axes.set_xticks(range(len(across)), across, rotation=0 if upright else 45, fontsize=size)
    if not upright:
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(down)), down, fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(len(m.columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(m.rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="minor", length=0)
    if max(m.values.shape) <= CELLS:
        _values(axes, m.values, image, size, _own(m), m.levels)
    elif m.levels is not None:
        _stars(axes, m.levels, coloured, image, size)
    return image


def _fit(figure: Figure, axes: Axes, m: Matrix) -> None:
    """Make texts small enough for the cells of a picture whose size the user chose; values that no legible size fits go, and
    their stars stay."""
    for _ in range(2):  # smaller names leave more room for cells
        figure.draw_without_rendering()
        area = axes.get_window_extent()
        cell = min(area.width / len(m.columns), area.height / len(m.rows)) * 72 / figure.dpi
        for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
            label.set_fontsize(min(float(label.get_fontsize()), max(LEAST, 0.8 * cell)))
        for words in axes.texts:
            size = 0.88 * cell / (WIDTH * max(3, len(words.get_text())))
            words.set_fontsize(max(min(float(words.get_fontsize()), size), LEAST))
    if any(0.88 * cell / (WIDTH * len(words.get_text())) < LEAST for words in axes.texts):
        for words in axes.texts:
            words.set_text("*" if words.get_text().endswith("*") else "")


def _index_map(axes: Axes, title: str, records: Sequence[dict[str, Any]], files: Sequence[str], look: Look) -> Any:
    """One method's map: encoders down, heads across."""
    values = np.full((len(files), len(files)), np.nan)
    for r in records:
        if r["stitching_index"] is not None:
            values[files.index(r["encoder"]), files.index(r["head"])] = r["stitching_index"]
    low, high = (0.0 if look.low is None else look.low), (1.0 if look.high is None else look.high)
    image = axes.imshow(np.ma.masked_invalid(values), cmap=COLOURS, vmin=low, vmax=high)
    image.cmap.set_bad(NEUTRAL)
    size = 7 if len(files) <= CELLS / 2 else 5
    names = [_name(name) for name in look.names or short_names(files).values()]
    axes.set_xticks(range(len(files)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(range(len(files)), names, fontsize=size)
    axes.set_xlabel("head", fontsize=size)
    axes.set_ylabel("encoder", fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(wrapped(printable(title), 34), fontsize=8, color=INK)
    if len(files) <= CELLS:
        _values(axes, values, image, size)
    return image


def _values(
    axes: Axes, values: np.ndarray, image: Any, size: int, own: np.ndarray | None = None, levels: np.ndarray | None = None
) -> None:
    """The value in each cell, dark on light or light on dark; a star where the level is small. own: cells without colour."""
    for i, row in enumerate(values.tolist()):
        for j, value in enumerate(row):
            if math.isnan(value):
                axes.text(j, i, "–", ha="center", va="center", fontsize=size, color=INK)
                continue
            plain = own is not None and own[i, j]
            star = "*" if levels is not None and levels[i, j] < SIGNIFICANT else ""
            ink = FAINT if plain else _ink(image, value)
            axes.text(j, i, short(value) + star, ha="center", va="center", fontsize=size, color=ink)


def _stars(axes: Axes, levels: np.ndarray, coloured: Any, image: Any, size: int) -> None:
    """A star in each cell whose level is small, where there is no room for values."""
    for i, j in np.argwhere(np.nan_to_num(levels, nan=1.0) < SIGNIFICANT).tolist():
        axes.text(j, i, "*", ha="center", va="center", fontsize=size, color=_ink(image, float(coloured[i, j])))


def _ink(image: Any, value: float) -> str:
    """Black on light colours, white on dark ones."""
    red, green, blue, _ = image.cmap(image.norm(value))
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45 else "white"


def _own(m: Matrix) -> np.ndarray:
    """Which cells compare a space with itself."""
    return np.array([[a == b for b in m.columns] for a in m.rows]) if m.same else np.zeros(m.values.shape, bool)


def _range(m: Matrix, look: Look) -> tuple[float, float]:
    """The ends of the colours: as asked for, else the bounds of the metric; see colour_range."""
    low, high = colour_range(m.metric, m.values[np.isfinite(m.values) & ~_own(m)].tolist())
    low, high = (low if look.low is None else look.low), (high if look.high is None else look.high)
    if not low < high:
        given = f"--vmin {low:g}" if look.low is not None else f"--vmax {high:g}"
        raise UsageError(f"{given} leaves no range of colours: they would go from {low:g} to {high:g}", "Give both ends.")
    return low, high


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
    projection = r.get("projection") or ""
    view = f", {projection if projection == 'absolute' else f'relative ({projection})'}" if projection else ""
    k = f", k = {r['k']}" if panel.names_k else ""
    axes.set_title(printable(f"{r['metric']}{k}{view}", 80), fontsize=10, loc="left", color=INK)
    axes.set_xlabel(wrapped(f"{r['convention']}; {count(r['n'])}", 62), fontsize=7, color=INK)
    axes.set_ylabel("share of items", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7)


def _title(figure: Figure, m: Matrix, look: Look) -> None:
    """The metric and its convention, or what was asked for."""
    wide = int(figure.get_figwidth() * 13)
    starred = "*\u00a0q\u00a0<\u00a00.05" if m.levels is not None else ""
    parts = (f"{m.view} spaces" if m.view else "", m.convention, count(m.n) if m.n else "", starred)
    below = (starred,) if look.title is not None else parts  # without their key, stars say nothing
    title = m.metric if look.title is None else printable(look.title, 300)
    figure.suptitle("\n".join(filter(None, (title, wrapped("; ".join(filter(None, below)), wide)))), fontsize=9, color=INK)


def _name(name: str) -> str:
    return printable(name, 60)
