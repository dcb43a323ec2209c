"""Pictures of spaces: the function of the library. It runs the core that `relrep plot` runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from relrep_cli import store
from relrep_cli.base.errors import UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.embedding import Embedding
from relrep_cli.library.call_parts import flat_spaces, recipe_of, with_columns
from relrep_cli.library.given_spaces import Column, Spaces
from relrep_cli.library.result_tables import notes_kept
from relrep_cli.library.wording import speaks_python
from relrep_cli.plots.drawing import ready as can_draw
from relrep_cli.plots.reductions import METHODS, ready
from relrep_cli.plots.scatters import Picture, scatter
from relrep_cli.plots.space_panels import ABSOLUTE, PanelOptions, View, panels
from relrep_cli.relative.projection import basis, relative
from relrep_cli.relative.recipes import Recipe


@dataclass(frozen=True, eq=False)
class Drawing:
    """The result of `plot`, which a notebook shows.

    picture: its panels, with the places of all points. notes: what the command line would have printed on stderr.
    """

    picture: Picture
    notes: tuple[str, ...] = ()

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the picture: .png, .svg, .pdf, or .html to hover over. Raises UsageError for another ending, WriteError."""
        _can_draw(os.fspath(path))
        store.write_bytes(os.fspath(path), scatter(self.picture, os.fspath(path)), overwrite)

    def __repr__(self) -> str:
        panels = self.picture.clouds
        return f"<Drawing: {self.picture.title}, {len(panels)} panel{'s' * (len(panels) > 1)}>"

    def _repr_png_(self) -> bytes:
        return scatter(self.picture, "picture.png")


@speaks_python
def plot(
    *spaces: Spaces,
    method: str = "pca",
    color: str = "label",
    labels: Column | None = None,
    split: str | None = None,
    sample: int = 2_000,
    anchors: Any = None,
    recipe: Mapping[str, Any] | None = None,
    seed: int = 0,
    **options: Any,
) -> Drawing:
    """Draw one space, or several beside each other, as `relrep plot` does.

    spaces: see `as_embedding`. method: how to reduce a space to two dims; options: of the method. color: the column that
    colours the points. labels: (n,) of the first space, and of others with the same ids. split: draw these rows alone.
    sample: the most items to draw. anchors: draw the relative spaces below, too; recipe: how to project, see `project`.

    Returns a Drawing, which a notebook shows; `plot(x).save("x.html")` writes a file.

    Raises UsageError for an unknown method or option, DataError for a space that lacks the column or the split.
    """
    if anchors is None and recipe:
        raise UsageError("recipe says how to project on anchors, which are missing", "Give anchors, or leave recipe out.")
    _can_draw("picture.png")
    params = METHODS.choose([method], options)[method]
    ready(method)
    views = [ABSOLUTE, *([] if anchors is None else [_relative(recipe_of(anchors, **(recipe or {})))])]
    shown = PanelOptions(method=method, params=params, color=color, split=split, sample=sample, seed=seed)
    with notes_kept() as notes:
        es = flat_spaces(spaces, labels)
        es = [with_columns(e, es[0], (color, "split")) for e in es]
        lines = panels(es, views, shown)
    title = METHODS[method].title + (f" of {split} items" if split else "") + (": absolute above relative" if views[1:] else "")
    return Drawing(Picture(lines, title, color), tuple(notes))


def _can_draw(path: str) -> None:
    can_draw(path, "plot", html=True)


def _relative(recipe: Recipe) -> View:
    def of(space: Embedding) -> Callable[[Embedding], Embedding]:
        to = basis(space, recipe)
        return lambda items: relative(items, to)

    return View(f"relative: {recipe.label}", of)
