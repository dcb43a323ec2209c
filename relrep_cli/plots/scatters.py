"""Scatters: one space, or several beside each other, each item a point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.uris import natural
from relrep_cli.plots.drawing import CLASSES, COLOURS, INK, drawing, saved, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS = ("o", "^", "s")  # with ten colours each
HTML_MARKS = ("circle", "triangle-up", "square")
MOST = len(CLASSES) * len(MARKS)
REST, REST_COLOUR = "others", "#dddddd"
NAME = 40  # letters of a class
INCH = 96  # pixels of a page
ENTRY = 0.147  # inches that a line of the legend is high


@dataclass(frozen=True, eq=False)
class Cloud:
    """One panel. places: (n, 2). ids: (n,) names of the items. values: (n,) text classes or numbers, or None: one colour.

    axes: a name for each. scaled: both axes have one unit, and are drawn so.
    """

    title: str
    note: str
    places: np.ndarray
    ids: np.ndarray
    values: np.ndarray | None
    axes: tuple[str, str] = ("", "")
    scaled: bool = True

    @property
    def numbers(self) -> np.ndarray:
        """The values (n,) as numbers, NaN for an item without one."""
        values = np.full(len(self.places), np.nan) if self.values is None else np.asarray(self.values, np.float64)
        return np.where(np.isfinite(values), values, np.nan)


@dataclass(frozen=True, eq=False)
class Picture:
    """Panels line by line, and what stands about them. colour: the name of the column that colours the points. size: width and
    height in inches, None for what the panels need."""

    lines: Sequence[Sequence[Cloud]]
    title: str
    colour: str
    size: tuple[float, float] | None = None

    @property
    def clouds(self) -> list[Cloud]:
        return [cloud for line in self.lines for cloud in line]

    @property
    def continuous(self) -> bool:
        """Whether shades say a number: where every file that has the column has numbers in it."""
        kinds = {c.values.dtype.kind for c in self.clouds if c.values is not None}
        return kinds == {"f"}

    def classes(self) -> list[str]:
        """The classes that have a colour of their own, in natural order: all, or the most frequent with `others` after them."""
        columns = [c.values for c in self.clouds if c.values is not None]
        if not columns or self.continuous:
            return []
        names, counts = np.unique(np.concatenate([np.asarray(v, str) for v in columns]), return_counts=True)
        if len(names) <= MOST:
            return sorted(names.tolist(), key=natural)
        often = dict(zip(names.tolist(), counts.tolist(), strict=True))
        kept = sorted(often, key=lambda name: (-often[name], natural(name)))[:MOST]
        return [*sorted(kept, key=natural), REST]

    def span(self) -> tuple[float, float]:
        """What the colours of numbers span: all but a hundredth at either end, so that outliers do not take them all."""
        values = np.concatenate([np.asarray(c.values, np.float64) for c in self.clouds if c.values is not None])
        values = values[np.isfinite(values)]
        low, high = np.quantile(values, [0.01, 0.99]) if len(values) else (0.0, 1.0)
        return float(low), float(high)

    def beyond(self) -> str:
        """At which ends of the span some numbers lie beyond it, in matplotlib's words."""
        (low, high), values = self.span(), np.concatenate([c.numbers for c in self.clouds])
        names = {(True, True): "both", (True, False): "min", (False, True): "max", (False, False): "neither"}
        return names[bool((values < low).any()), bool((values > high).any())]


def scatter(p: Picture, target: str) -> bytes:
    """The picture in the format that the name of `target` says; .html is interactive and holds all it needs."""
    return _interactive(p) if Path(target).suffix.lower() == ".html" else _drawn(p, target)


def _groups(p: Picture, cloud: Cloud) -> list[tuple[str, np.ndarray]]:
    """Each class with the rows it has in a panel, empty classes too, so that colours are the same in all panels."""
    if cloud.values is None:
        return [("", np.arange(len(cloud.places)))]
    names, classes = np.asarray(cloud.values, str), p.classes()
    rest = ~np.isin(names, classes)
    return [(c, np.flatnonzero(rest | (names == c) if c == REST else names == c)) for c in classes]


def _look(number: int, name: str) -> tuple[str, int]:
    """The colour of a class, and the number of its mark."""
    return (REST_COLOUR, 0) if name == REST else (CLASSES[number % len(CLASSES)], number // len(CLASSES) % len(MARKS))


# --- matplotlib ---


def _drawn(p: Picture, target: str) -> bytes:
    with drawing():
        return saved(figure_of(p), target)


def figure_of(p: Picture) -> Figure:
    """The panels with their legend, in the style that is set."""
    from matplotlib.figure import Figure

    columns = max(map(len, p.lines))
    height = 3.6 * len(p.lines) + 0.8 if p.size is None else p.size[1]
    entries, wide = _legend(p, height)
    size = p.size or (max(4.6, 3.6 * columns + wide), height)
    figure = Figure(figsize=size, layout="constrained")
    panels = [
        (figure.add_subplot(len(p.lines), columns, line * columns + column + 1), cloud)
        for line, clouds in enumerate(p.lines)
        for column, cloud in enumerate(clouds)
    ]
    for axes, cloud in panels:
        _panel(axes, p, cloud)
    _key(figure, p, panels, entries)
    title = wrapped(printable(p.title, 400), int(13 * size[0]))
    figure.suptitle(title, x=0.05 / size[0], ha="left", fontsize=10, color=INK)
    return figure


def _panel(axes: Axes, p: Picture, cloud: Cloud) -> None:
    look: dict[str, Any] = {"s": float(np.clip(6000 / len(cloud.places), 2, 24)), "linewidths": 0, "alpha": 0.8}
    look["rasterized"] = len(cloud.places) > 2000  # in .svg and .pdf
    x, y = cloud.places.T
    if p.continuous:
        low, high = p.span()
        numbers = cloud.numbers
        known, lost = ~np.isnan(numbers), np.isnan(numbers)
        axes.scatter(x[known], y[known], c=numbers[known], cmap=COLOURS, vmin=low, vmax=high, **look)
        axes.scatter(x[lost], y[lost], color=REST_COLOUR, zorder=0.5, **look)
    else:
        for number, (name, rows) in enumerate(_groups(p, cloud)):
            colour, mark = _look(number, name)
            under = 0.5 if name == REST else 1
            axes.scatter(x[rows], y[rows], color=colour, marker=MARKS[mark], label=printable(name, NAME), zorder=under, **look)
    axes.set(xticks=[], yticks=[])
    if cloud.scaled:
        axes.set_aspect("equal", adjustable="datalim")
    axes.set_title(wrapped(printable(cloud.title, 120), 46), fontsize=9, loc="left", color=INK)
    note = wrapped(printable(cloud.note, 200), 76)
    axes.set_xlabel(f"{cloud.axes[0]}\n{note}".strip(), fontsize=6.5, color=INK)
    axes.set_ylabel(cloud.axes[1], fontsize=6.5, color=INK)
    axes.spines[:].set(color="#cccccc")


def _legend(p: Picture, height: float) -> tuple[int, float]:
    """In how many columns the legend stands, so that it ends above the bottom, and how many inches wide it is then."""
    names = p.classes()
    columns = max(1, -(-len(names) // int((height - 0.35) / ENTRY)))
    longest = max((len(printable(name, NAME)) for name in names), default=0)
    return columns, max(1.1, columns * (0.35 + 0.06 * longest) + 0.1)


def _key(figure: Figure, p: Picture, panels: Sequence[tuple[Axes, Cloud]], columns: int) -> None:
    """The legend at the right, or a bar of colours for numbers."""
    every = [axes for axes, _ in panels]
    if p.continuous:
        bar = figure.colorbar(every[0].collections[0], ax=every, shrink=0.7, pad=0.02, extend=p.beyond())
        bar.set_label(p.colour, fontsize=8)
        bar.ax.tick_params(labelsize=7)
        bar.outline.set_visible(False)
        bar.solids.set(alpha=1)  # type: ignore[union-attr]
    elif p.classes():
        marks, names = every[0].get_legend_handles_labels()
        look: dict[str, Any] = {"frameon": False, "fontsize": 7, "columnspacing": 1, "handletextpad": 0.3}
        legend = figure.legend(marks, names, loc="outside right upper", title=p.colour, ncols=columns, **look)
        for mark in legend.legend_handles:
            mark.set(sizes=[24], alpha=1)  # type: ignore[union-attr]
        legend.get_title().set_fontsize(8)


# --- plotly ---


def _interactive(p: Picture) -> bytes:
    """A page with everything in it, plotly.js too; no two runs differ."""
    from plotly.subplots import make_subplots

    columns = max(map(len, p.lines))
    titles = [f"{_html(c.title)}<br><sup>{_html(c.note)}</sup>" for c in p.clouds]
    figure: Any = make_subplots(len(p.lines), columns, subplot_titles=titles, horizontal_spacing=0.03, vertical_spacing=0.12)
    for line, clouds in enumerate(p.lines):
        for column, cloud in enumerate(clouds):
            for trace in _traces(p, cloud, first=line == column == 0):
                figure.add_trace(trace, line + 1, column + 1)
            _name_axes(figure, cloud, line + 1, column + 1)
    figure.update_xaxes(showticklabels=False, zeroline=False, showgrid=False, showline=True, mirror=True, linecolor="#cccccc")
    figure.update_yaxes(showticklabels=False, zeroline=False, showgrid=False, showline=True, mirror=True, linecolor="#cccccc")
    figure.update_layout(
        title={"text": _html(p.title), "font": {"size": 14}},
        template="plotly_white",
        legend={"title": {"text": _html(p.colour)}, "itemsizing": "constant"},
        height=130 + 480 * len(p.lines) if p.size is None else INCH * p.size[1],
        width=None if p.size is None else INCH * p.size[0],
        margin={"t": 110},
    )
    page: str = figure.to_html(include_plotlyjs=True, full_html=True, div_id="relrep", config={"displaylogo": False})
    return page.encode()


def _name_axes(figure: Any, cloud: Cloud, line: int, column: int) -> None:
    """The names of a panel's axes, and one scale for both where they have one unit."""
    figure.update_xaxes(title={"text": cloud.axes[0], "font": {"size": 11}, "standoff": 4}, row=line, col=column)
    figure.update_yaxes(title={"text": cloud.axes[1], "font": {"size": 11}, "standoff": 4}, row=line, col=column)
    if cloud.scaled:
        across = next(figure.select_xaxes(row=line, col=column)).plotly_name.replace("axis", "")
        figure.update_yaxes(scaleanchor=across, scaleratio=1, row=line, col=column)


def _traces(p: Picture, cloud: Cloud, first: bool) -> list[Any]:
    from plotly.graph_objects import Scattergl

    names = [_html(i.decode(errors="backslashreplace")) for i in cloud.ids.tolist()]
    size = float(np.clip(60 / len(names) ** 0.3, 4, 9))
    if p.continuous:
        low, high = p.span()
        bar = {"title": {"text": _html(p.colour)}}
        numbers = cloud.numbers
        known, lost = np.flatnonzero(~np.isnan(numbers)), np.flatnonzero(np.isnan(numbers))
        mark: dict[str, Any] = {"color": numbers[known], "colorscale": COLOURS, "cmin": low, "cmax": high, "size": size}
        mark |= {"showscale": first, **({"colorbar": bar} if first else {})}
        grey = [("", lost, {"color": REST_COLOUR, "size": size})] if len(lost) else []
        groups = [*grey, ("", known, mark)]
    else:
        groups = []
        for number, (name, rows) in enumerate(_groups(p, cloud)):
            colour, symbol = _look(number, name)
            groups.append((name, rows, {"color": colour, "symbol": HTML_MARKS[symbol], "size": size, "opacity": 0.8}))
    values = None if cloud.values is None else np.asarray(cloud.values, str)
    return [
        Scattergl(
            x=np.round(cloud.places[rows, 0], 5).tolist(),
            y=np.round(cloud.places[rows, 1], 5).tolist(),
            mode="markers",
            marker=mark,
            name=_html(name),
            legendgroup=name,
            showlegend=bool(name) and first,
            text=[names[i] + ("" if values is None else f"<br>{_html(p.colour)} {_html(values[i])}") for i in rows.tolist()],
            hoverinfo="text",
        )
        for name, rows, mark in groups
    ]


def _html(text: str) -> str:
    """Foreign text as plotly shows it: no mark-up of its own."""
    from html import escape

    return escape(printable(text, 400))
