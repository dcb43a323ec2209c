"""The options of the pictures that compare and stitch draw."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar

import typer

from relrep_cli.base.errors import UsageError
from relrep_cli.plots.looks import Look

SIZE = re.compile(r"([0-9.]+)x([0-9.]+)")
LARGEST = 60.0  # inches, 12,000 pixels


def _option(name: str, help: str, metavar: str) -> Any:
    return typer.Option(name, help=help, metavar=metavar, show_default=False)


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """What to draw, and how it looks."""

    PANEL: ClassVar[str] = "Picture"

    plot: Annotated[
        str,
        _option(
            "--plot",
            "Also draw FILE (.png, .svg or .pdf): a heatmap, or for two files the distribution of row values.",
            "FILE",
        ),
    ] = ""
    vmin: Annotated[
        float | None,
        _option("--vmin", "Value at the dark end of the heatmap's colours [default: the metric's bound].", "VALUE"),
    ] = None
    vmax: Annotated[float | None, _option("--vmax", "Value at the other end of the colours.", "VALUE")] = None
    plot_size: Annotated[str, _option("--plot-size", "Width and height of the picture in inches, such as 3.3x3.", "WxH")] = ""
    plot_title: Annotated[
        str | None, _option("--plot-title", "Title of the picture, instead of the metric and its convention.", "TEXT")
    ] = None
    plot_names: Annotated[
        list[str], _option("--plot-names", "What to call the files in the picture, in their order, with commas.", "NAMES")
    ] = field(default_factory=list)

    def look(self, given: Mapping[str, str]) -> Look:
        """How the picture looks. given: options in the command line. Raises UsageError for values that make no picture."""
        if self.plot:
            from relrep_cli.plots.drawing import ready

            ready(self.plot)
        own = [given[one.name] for one in fields(self) if one.name in given and one.name != "plot"]
        if own and not self.plot:
            raise UsageError(f"{own[0]} changes the picture of --plot, which is missing", "Add --plot FILE.png, or remove it.")
        if self.vmin is not None and self.vmax is not None and not self.vmin < self.vmax:
            raise UsageError(f"--vmin {self.vmin:g} is not below --vmax {self.vmax:g}", "Exchange them.")
        names = tuple(name.strip() for value in self.plot_names for name in value.split(","))
        return Look(self.vmin, self.vmax, self._size(), self.plot_title, names)

    def _size(self) -> tuple[float, float] | None:
        if not self.plot_size:
            return None
        found = SIZE.fullmatch(self.plot_size.lower())
        try:
            size = (float(found[1]), float(found[2])) if found else (math.nan, math.nan)
        except ValueError:
            size = (math.nan, math.nan)
        if not all(1 <= side <= LARGEST for side in size):
            finding = f"--plot-size {self.plot_size} is no width and height from 1 to {LARGEST:g} inches"
            raise UsageError(finding, "Write --plot-size 3.3x3, for example.")
        return size
