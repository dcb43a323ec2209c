"""Records as tables for eyes: on a terminal, in Markdown and in LaTeX. One of the two doors to rich."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from relrep_cli.base import latex
from relrep_cli.base.cells import STARS, exact, number, short, stars
from relrep_cli.base.errors import printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.shown_paths import short_paths

Record = dict[str, Any]
COUNTS = ("k", "anchors", "tied", "target", "class", "anomalies")  # columns where no value means that none applies
ZERO_IS_NOTHING = ("deviation", "tied", "chance_difference")  # columns that a table leaves out when they are 0 throughout
USUAL = {"joined": ("id",)}  # values that say nothing new, so that a table leaves their column out
PATHS = ("a", "b", "reference", "closest", "rival", "encoder", "head", "index", "file", "into", "anomalies")  # hold file names
# Columns that a narrow terminal does without, the first ones first.
LESS = (
    *("splits", "ids", "space", "kind", "dtype"),
    *("joined", "tied", "chance_error", "deviation", "decoder", "p_max", "anchors", "size", "k", "n", "f1", "p", "chance"),
    *("corrected", "value_a", "value_b", "value_rival", "value_closest", "end_to_end", "mrr", "recall_10", "fitted_on"),
    *("held_out", "index_size", "q", "groups", "low"),
)
WITH = {"low": "high"}  # a column that goes together with another
FOLDED, LONGEST = 12, 24  # characters to which a column of sentences may be folded: between words, and inside longer ones
FILLER = "\ue000"  # becomes a space: rich strips spaces before it aligns a cell
FOR_EYES = ("table", "markdown", "latex")


@dataclass(frozen=True)
class Mark:
    """A star in a table, behind the cells of `column` in the records that it applies to, and the line that explains it."""

    column: str
    applies: Callable[[Record], bool]
    note: str


def for_eyes(
    records: Sequence[Record], columns: Sequence[str], format: str, verbatim: bool = False, mark: Mark | None = None
) -> str:
    """Records in one of FOR_EYES. verbatim: columns are names of files, which are shown as they are, and all of them."""
    shown = _shown(records, columns, verbatim)
    named, where = (list(records), []) if verbatim else short_paths(records, PATHS)
    notes = [] if verbatim else [*where, *_conventions(records)]
    if format == "latex":
        return latex.table(named, shown, short, notes, verbatim)
    if format == "markdown":
        return _markdown(named, shown, notes)
    return _table(named, shown, verbatim, [mark is not None and mark.applies(r) for r in records], mark, notes)


def below(line: str, format: str) -> str:
    """A line below a table in one of FOR_EYES."""
    if format == "markdown":
        return "\n" + line.replace("*", "\\*") + "\n"
    return f"% {line}\n" if format == "latex" else line_of_room(line) + "\n"


def _markdown(records: Sequence[Record], columns: Sequence[str], notes: Sequence[str]) -> str:
    """A table with intervals behind their values and stars for small levels, as in LaTeX; notes below it."""
    shown, level, ends = latex.joined(columns)
    main = latex.main_column(columns)

    def cell(r: Record, c: str) -> str:
        text = "" if r.get(c) is None and c in COUNTS else short(r.get(c))
        text += (latex.interval(r, short) if ends else "") + stars(r.get(level)) if c == main else ""
        return text.replace("|", "\\|").replace("*", "\\*")

    lines = [[printable(c, 4096).replace("|", "\\|") for c in shown], ["---"] * len(shown)]
    lines += [[cell(r, c) for c in shown] for r in records]
    notes = [*([STARS.format(level)] if main and level else []), *([latex.BRACKETS] if ends else []), *notes]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines) + "".join(below(note, "markdown") for note in notes)


def _table(
    records: Sequence[Record],
    columns: Sequence[str],
    verbatim: bool,
    starred: Sequence[bool],
    mark: Mark | None,
    notes: Sequence[str],
) -> str:
    """A table on a terminal: columns that it has no room for are left out, and a line says which. Conventions stand below."""
    from rich.console import Console

    text = io.StringIO()
    terminal = sys.stdout.isatty()
    plain = not terminal or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    console = Console(file=text, width=None if terminal else 10_000, force_terminal=not plain, highlight=False)
    ends = {mark.column: ["*" if star else " " for star in starred]} if mark is not None and any(starred) else {}
    cells = {
        c: [
            ("" if r.get(c) is None and c in COUNTS else short(r.get(c))) + end
            for r, end in zip(records, ends.get(c, [""] * len(records)), strict=True)
        ]
        for c in columns
    }
    numeric = {c for c in columns if all(latex.is_number(number(r.get(c))) for r in records)}
    cells |= {c: _padded(cells[c]) for c in numeric}
    headings = {c: printable(c if verbatim else c.replace("_", " ")) for c in columns}
    shown, widths = list(columns), {}
    if terminal:
        widths = {c: _width(headings[c], cells[c], c in numeric or c == columns[0] or c in PATHS) for c in columns}
        shown = _fitting(columns, widths, console.width, verbatim)
        console.width = max(console.width, sum(widths[c] + 2 for c in shown))  # nothing is cropped
        widths = _with_spare_room({c: widths[c] for c in shown}, headings, cells, console.width)
    console.print(_rich_table(shown, headings, cells, numeric, widths))
    lines = [line.rstrip() for line in text.getvalue().replace(FILLER, " ").rstrip("\n").split("\n")]
    star = [f"* {mark.note}"] if mark is not None and any(starred) else []
    under = [*_left_out(columns, shown, headings), *star, *notes]
    return "\n".join([*lines, *(line_of_room(note) for note in under)]) + "\n"


def line_of_room(text: str) -> str:
    """A sentence in lines that end between words where the terminal ends; one line elsewhere."""
    if not sys.stdout.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)) or text


def _padded(cells: Sequence[str]) -> list[str]:
    """Numbers with stars, such that the last digits stand in one column."""
    most = max((len(cell) - len(cell.rstrip("* ")) for cell in cells), default=0)
    return [cell.rstrip("* ") + cell[len(cell.rstrip("* ")) :].rstrip().ljust(most, FILLER) for cell in cells]


def _rich_table(
    shown: Sequence[str], headings: dict[str, str], cells: dict[str, list[str]], numeric: set[str], widths: dict[str, int]
) -> Any:
    """widths: of the columns; none where there is room for all."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for c in shown:
        whole = c in numeric or c == shown[0] or c in PATHS  # a wrapped number or file name is easily misread
        side: Any = "right" if c in numeric else "left"
        table.add_column(Text(headings[c]), justify=side, overflow="fold", no_wrap=whole, width=widths.get(c))
    for row in zip(*(cells[c] for c in shown), strict=True):
        table.add_row(*map(Text, row))
    return table


def _width(heading: str, cells: Sequence[str], whole: bool) -> int:
    """How wide a column must be: as it is, or else as its longest word, within FOLDED and LONGEST."""
    from rich.cells import cell_len

    texts = [heading, *cells]
    full = max(map(cell_len, texts))
    if whole:
        return full
    words = (min(cell_len(word), LONGEST) for text in texts for word in text.split())
    return min(full, max(FOLDED, *words))


def _with_spare_room(
    widths: dict[str, int], headings: dict[str, str], cells: dict[str, list[str]], room: int
) -> dict[str, int]:
    """The widths of columns, where those of sentences take what room is left, from the first one on."""
    from rich.cells import cell_len

    spare = room - sum(width + 2 for width in widths.values()) + 2
    widened = {}
    for c, width in widths.items():
        more = min(max(0, spare), max(map(cell_len, [headings[c], *cells[c]])) - width)
        widened[c], spare = width + more, spare - more
    return widened


def _fitting(columns: Sequence[str], widths: dict[str, int], room: int, verbatim: bool) -> list[str]:
    """The columns that the terminal has room for; those of LESS go first, in a matrix the last ones."""
    shown = list(columns)
    order = list(reversed(columns[2:])) if verbatim else [c for c in LESS if c in columns]
    for c in order:
        if sum(widths[one] + 2 for one in shown) - 2 <= room:
            break
        shown = [one for one in shown if one not in (c, WITH.get(c))]
    return shown


def _left_out(columns: Sequence[str], shown: Sequence[str], headings: dict[str, str]) -> list[str]:
    """The line that says which columns a narrow terminal has no room for."""
    gone = [headings[c] for c in columns if c not in shown]
    if not gone:
        return []
    names = ", ".join(gone if len(gone) < 8 else [*gone[:6], f"{len(gone) - 6} more"])
    return [f"No room for: {names}. A wider terminal or --format tsv shows all columns."]


def _shown(records: Sequence[Record], columns: Sequence[str], verbatim: bool) -> list[str]:
    """The columns that a table for eyes shows: those that say something."""
    silent = {c: (None, 0) if c in ZERO_IS_NOTHING else (None, *USUAL.get(c, ())) for c in columns}
    return [c for c in columns if verbatim or (c != "convention" and any(r.get(c) not in silent[c] for r in records))]


def _conventions(records: Sequence[Record]) -> list[str]:
    """One line for each convention, with the metrics, or what else a record measures, that follow it."""
    followers: dict[str, dict[str, None]] = {}
    for r in records:
        if r.get("convention"):
            followers.setdefault(exact(r["convention"]), {})[
                " ".join(exact(r[c]) for c in ("metric", "task", "name") if r.get(c))
            ] = None
    return [f"{', '.join(names)}: {convention}" for convention, names in followers.items()]
