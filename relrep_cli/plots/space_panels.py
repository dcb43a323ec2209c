"""Panels of a picture: spaces in two dims, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import progress, say
from relrep_cli.comparison.shown_names import short_names
from relrep_cli.embedding import RELATIVE, Embedding, bare_name, of_split, select
from relrep_cli.plots.reductions import FITTED, METHODS, method_for, reduce
from relrep_cli.plots.scatters import MOST, REST, Cloud, Picture


@dataclass(frozen=True)
class View:
    """A way to look at spaces. label: what a panel's title adds, "" for the kind of the file. of: for a space, the function
    that its items go through."""

    label: str
    of: Callable[[Embedding], Callable[[Embedding], Embedding]]


ABSOLUTE = View("", lambda space: lambda items: items)


@dataclass(frozen=True, kw_only=True)
class PanelOptions:
    """What every panel shows: at most `sample` items, of the split if one is named, in two dims by a method.

    method: "" for the usual one. params: of the method. color: the column that colours the points. quiet: say nothing of
    a sample. names: of the spaces, where the user gave some.
    """

    method: str
    params: dict[str, Any]
    color: str = "label"
    split: str | None = None
    sample: int = 2_000
    seed: int = 0
    quiet: bool = False
    names: Sequence[str] = ()


def panels(spaces: Sequence[Embedding], views: Sequence[View], options: PanelOptions) -> list[list[Cloud]]:
    """A line of panels for each view, with one panel for each space.

    Raises DataError for a space that lacks the column or the split, or that has too few items.
    """
    drawn = [_items(e, options) for e in spaces]
    names = short_names([e.uri for e in spaces]) if len(spaces) > 1 else {e.uri: bare_name(e.uri) for e in spaces}
    called = options.names or [names[e.uri] for e in spaces]
    lines: list[list[Cloud]] = []
    with progress("drawing") as advance:
        for view in views:
            clouds: list[Cloud] = []
            first: Embedding | None = None
            for place, (e, (shown, train)) in enumerate(zip(spaces, drawn, strict=True)):
                advance(len(lines) * len(spaces) + place, len(views) * len(spaces), e.uri)
                through = view.of(e)
                items, fitted, whose = through(shown), through(train), _whose(e)
                if first is not None and _comparable(first, fitted):  # one picture's axes for all show whether the spaces agree
                    fitted, whose = first, f"{_whose(spaces[0])} of {called[0]}"
                first = fitted if place == 0 else first
                title = f"{called[place]}, {view.label or e.kind}"
                clouds.append(_cloud(e, items, fitted, whose, options, title))
            lines.append(clouds)
    return lines


def _items(e: Embedding, options: PanelOptions) -> tuple[Embedding, Embedding]:
    """The items to draw, and those to fit on. The sample depends on ids only, so files of the same items show the same."""
    if options.color != "label":
        e.column(options.color)
    rng = np.random.default_rng(options.seed)
    shown = of_split(e, options.split)
    if shown.n > options.sample:
        if not options.quiet:
            say(f"{e.uri}: {options.sample} of {shown.n} items are drawn (seed {options.seed}); --sample draws more.")
        order = np.argsort(shown.ids, kind="stable")
        shown = select(shown, np.sort(order[rng.permutation(shown.n)[: options.sample]]))
    training = _training(e)
    train = np.sort(rng.permutation(np.arange(e.n) if training is None else training)[:FITTED])
    return shown, select(e, train)


def _training(e: Embedding) -> np.ndarray | None:
    """The training rows; None where the file has none, and the method is fitted on all items."""
    rows = e.rows_of_split("train")
    return None if rows is None or not len(rows) else rows


def _whose(e: Embedding) -> str:
    return "items" if _training(e) is None else "training rows"


def _comparable(a: Embedding, b: Embedding) -> bool:
    """Whether the coordinates of two relative spaces mean the same: similarities to the same anchors."""
    return a.kind == b.kind == RELATIVE and bool(a.space) and a.space == b.space and a.d == b.d


def _cloud(e: Embedding, shown: Embedding, train: Embedding, whose: str, options: PanelOptions, title: str) -> Cloud:
    try:
        method = method_for(options.method, shown.x.shape[1])
        made = reduce(method, train.x, shown.x, options.params if options.method else {}, options.seed, whose)
    except DataError as error:
        raise DataError(error.finding, error.remedy, file=e.uri) from None
    note = f"{shown.n} items, {shown.x.shape[1]} dims; {made.convention}"
    values, scaled = _values(shown, options.color), METHODS[method].scaled
    return Cloud(title, note, made.places, shown.ids, values, made.axes, scaled)


def _values(e: Embedding, color: str) -> np.ndarray | None:
    """The values that colour the points: text, few integers as classes, other numbers as floats; None without the column."""
    if color not in e.obs:
        return None
    values = e.obs[color]
    if values.dtype.kind == "S":
        return np.array([v.decode(errors="backslashreplace") for v in values.tolist()])
    if values.dtype.kind == "f" or len(np.unique(values)) > MOST:
        return np.asarray(values, np.float64)
    return values.astype(str)


def note_colours(picture: Picture, output: str) -> None:
    """Tell the user where points share the colour grey, or have none of the column."""
    if REST in picture.classes():
        say(f"{output}: the {MOST} most frequent values of {picture.colour} have colours; others are grey.")
    for cloud in picture.clouds if picture.continuous else ():
        if count := int(np.isnan(cloud.numbers).sum()):
            say(f"{output}: {cloud.title}: {count} of {len(cloud.places)} items have no {picture.colour}, and are grey.")
    if all(c.values is None for c in picture.clouds):
        say(f"{output}: no column {picture.colour!r} to colour points by.")
