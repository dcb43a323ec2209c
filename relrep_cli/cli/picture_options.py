"""The options of the pictures that compare and stitch draw."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Annotated, ClassVar

from relrep_cli.base.errors import UsageError
from relrep_cli.base.lazy_dataclasses import dataclass, fields
from relrep_cli.base.text_tables import PATHS, Record
from relrep_cli.cli.plain_options import plain_option
from relrep_cli.plots.looks import Look

SIZE = re.compile(r"([0-9.]+)x([0-9.]+)")
LARGEST = 60.0  # inches, 12,000 pixels


@dataclass(frozen=True, kw_only=True)
class LookOptions:
    """How a picture looks, whatever it shows."""

    PANEL: ClassVar[str] = "Picture"

    plot_size: Annotated[
        str, plain_option("--plot-size", "Width and height of the picture in inches, such as 3.3x3.", "WxH")
    ] = ""
    plot_title: Annotated[
        str | None, plain_option("--plot-title", "Title of the picture, instead of the usual one.", "TEXT")
    ] = None
    called: Annotated[
        list[str], plain_option("--names", "What to call the files in the picture, in their order, with commas.", "NAMES")
    ] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        """What to call the files."""
        return tuple(name.strip() for value in self.called for name in value.split(","))

    @property
    def size(self) -> tuple[float, float] | None:
        """Width and height in inches, None for the usual ones. Raises UsageError for others than the picture can have."""
        if not self.plot_size:
            return None
        match = SIZE.fullmatch(self.plot_size.lower())
        try:
            size = (float(match[1]), float(match[2])) if match else (math.nan, math.nan)
        except ValueError:
            size = (math.nan, math.nan)
        if not all(1 <= side <= LARGEST for side in size):
            finding = f"--plot-size {self.plot_size} is not a width and height from 1 to {LARGEST:g} inches"
            raise UsageError(finding, "Write --plot-size 3.3x3, for example.")
        return size


@dataclass(frozen=True, kw_only=True)
class PictureOptions(LookOptions):
    """What to draw, and how it looks."""

    plot: Annotated[
        str,
        plain_option(
            "--plot",
            "Also draw FILE (.png, .svg or .pdf): a heatmap, or for two files the distribution of row values.",
            "FILE",
        ),
    ] = ""
    vmin: Annotated[
        float | None,
        plain_option("--vmin", "Value at the dark end of the heatmap's colours [default: the metric's bound].", "VALUE"),
    ] = None
    vmax: Annotated[float | None, plain_option("--vmax", "Value at the other end of the colours.", "VALUE")] = None
    called: Annotated[
        list[str],
        plain_option("--names", "What to call the files in all that is printed, written or drawn, in their order.", "NAMES"),
    ] = field(default_factory=list)

    def look(self, given: Mapping[str, str]) -> Look:
        """How the picture looks. given: options in the command line. Raises UsageError for values that make no picture."""
        if self.plot:
            from relrep_cli.plots.drawing import ready

            ready(self.plot)
        own = [given[one.name] for one in fields(self) if one.name in given and one.name not in ("plot", "called")]
        if own and not self.plot:
            raise UsageError(f"{own[0]} changes the picture of --plot, which is missing", "Add --plot FILE.png, or remove it.")
        if self.vmin is not None and self.vmax is not None and not self.vmin < self.vmax:
            raise UsageError(f"--vmin {self.vmin:g} is not below --vmax {self.vmax:g}", "Exchange them.")
        return Look(self.vmin, self.vmax, self.size, self.plot_title, self.names)


def renamed(records: Sequence[Record], files: Sequence[str], names: Sequence[str]) -> list[Record]:
    """The records with the names that the user gave to the files, where there are some."""
    given = dict(zip(files, names, strict=False))
    return [{key: given.get(v, v) if key in PATHS else v for key, v in r.items()} for r in records] if given else list(records)


def check_names(names: Sequence[str], count: int) -> None:
    """Raise UsageError unless there are no names, or one for each of `count` files, and no two are equal."""
    if names and len(names) != count:
        raise UsageError(f"--names names {len(names)} files, and there are {count}", "Give one name for each file.")
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise UsageError(f"--names calls two files {twice!r}", "Give each file a name of its own.")
