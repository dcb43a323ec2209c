"""The only door to print: results on stdout, notes to the user through the logger `relrep`."""

from __future__ import annotations

import csv
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from relrep_cli.base.cells import as_json, for_machines, plain, safe
from relrep_cli.base.errors import WriteError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.progress_lines import line_a_minute
from relrep_cli.base.signals import check
from relrep_cli.base.streams import silence_stdout
from relrep_cli.base.text_tables import FOR_EYES, for_eyes
from relrep_cli.base.text_tables import Mark as Mark
from relrep_cli.base.text_tables import Record as Record

ENDINGS = {".tsv": "tsv", ".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".md": "markdown", ".tex": "latex"}
FORMATS = ("table", "tsv", "csv", "json", "jsonl", "markdown", "latex")


@dataclass(frozen=True)
class Style:
    """How records are written. format: one of FORMATS; None leaves it to the place where they go. quote_formulas: whether text
    that a spreadsheet would run gets a quote in front, in CSV and TSV."""

    format: str | None = None
    quote_formulas: bool = False

    @property
    def on_stdout(self) -> str:
        """The format, or else a table on a terminal and TSV in a pipe."""
        return self.format or ("table" if sys.stdout.isatty() else "tsv")


PLAIN_STYLE = Style()
EACH = 2  # files of which a note is printed each; of more, their number
LOGGER = logging.getLogger("relrep")
LOGGER.addHandler(logging.NullHandler())  # a program that imports relrep decides for itself where notes go


class StderrNotes(logging.Handler):
    """Print notes as lines on stderr that begin with the name of the command, above a progress bar where there is one.

    A note that comes for file after file is printed for the first two; `close` prints how many more got it. -v prints all.
    """

    def __init__(self, command: str) -> None:
        super().__init__()
        self.command = command
        self.console: Any = None  # rich's console while a bar is on the screen
        self.grouped: dict[str, list[str]] = {}  # notes, by what they say of a file

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        kind = message.partition(": ")[2]
        if record.levelno == logging.INFO and kind and LOGGER.level == logging.INFO:
            same = self.grouped.setdefault(kind, [])
            same.append(message)
            if len(same) > EACH:
                return
        self._print(message)

    def close(self) -> None:
        """Print how many more files got each note."""
        for kind, same in self.grouped.items():
            more = len(same) - EACH
            if more > 0:
                self._print(same[-1] if more == 1 else f"the same for {more} more: {kind}")
        self.grouped = {}
        super().close()

    def _print(self, message: str) -> None:
        line = f"{self.command}: {printable(message, 20_000)}"  # file names may hold control characters
        try:
            if self.console is not None:
                self.console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                print(line, file=sys.stderr, flush=True)
        except OSError:
            pass  # stderr is closed


@contextmanager
def notes_on_stderr(command: str) -> Iterator[None]:
    """Within, notes go to stderr under the name of the command; `set_verbosity` chooses which. Afterwards all is as before."""
    handler, level, propagate = StderrNotes(command), LOGGER.level, LOGGER.propagate
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    try:
        yield
    finally:
        handler.close()
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        LOGGER.propagate = propagate


@contextmanager
def warnings_as_details() -> Iterator[None]:
    """Within, warnings of libraries are details, which -v prints. relrep itself reports what matters to a user."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, category, *_: detail(f"a library warns: {category.__name__}: {message}")
        yield


def set_verbosity(quiet: int, verbose: int) -> None:
    """Choose the notes that are printed. -q: errors only; -qq: none; -v: details, too."""
    LOGGER.setLevel(logging.CRITICAL if quiet > 1 else logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)


def say(message: str) -> None:
    """A note for the user, on the level INFO of the logger `relrep`; the command line prints it unless -q."""
    LOGGER.info(message)


def detail(message: str) -> None:
    """A note on the level DEBUG; the command line prints it with -v only."""
    LOGGER.debug(message)


def complain(message: str) -> None:
    """The line of an error, on the level ERROR; the command line prints it unless -qq."""
    LOGGER.error(message)


def _bar_owner() -> StderrNotes | None:
    """The handler above whose notes a bar may be drawn: on a terminal, with neither -q nor -v."""
    if not sys.stderr.isatty() or LOGGER.level != logging.INFO or os.environ.get("TERM") == "dumb":
        return None
    owners = [handler for handler in LOGGER.handlers if isinstance(handler, StderrNotes)]
    return next((handler for handler in owners if handler.console is None), None)  # one bar at a time


@contextmanager
def progress(task: str) -> Iterator[Any]:
    """Yield `advance(done, total, note)`, which draws a bar on a terminal and raises Interrupted after a signal."""
    owner = _bar_owner()
    if owner is None:
        yield line_a_minute(task, partial(LOGGER.info, extra={"passing": True}))  # not a note on the result
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    count, note = TextColumn("{task.fields[count]}"), TextColumn("{task.fields[note]}")
    time = (TimeRemainingColumn(), TextColumn("left"))
    columns = (TextColumn("{task.description}"), BarColumn(min(40, console.width // 5)), count, *time, note)
    with Progress(*columns, console=console, transient=True) as bar, _above(owner, console):
        handle = bar.add_task(task, total=None, note="", count="")

        def advance(done: int, total: int, note: str = "") -> None:
            check()
            count = f"{int(done)}/{total}"
            room = console.width - console.width // 5 - len(task) - len(count) - 20  # beside the bar, the time and spaces
            cut = note if len(note) <= room else f"{note[: max(0, room - 1)]}…"
            bar.update(handle, completed=done, total=total, note=cut, count=count)

        yield advance


@contextmanager
def _above(handler: StderrNotes, console: Any) -> Iterator[None]:
    handler.console = console
    try:
        yield
    finally:
        handler.console = None


def write(records: Sequence[Record], columns: Sequence[str], style: Style = PLAIN_STYLE, mark: Mark | None = None) -> None:
    """Print flat records."""
    emit(render(records, columns, style.on_stdout, quote_formulas=style.quote_formulas, mark=mark))


def emit(content: str) -> None:
    """Write text to stdout and flush it. A closed pipe stays BrokenPipeError; anything else is a WriteError."""
    try:
        sys.stdout.write(content)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence_stdout()
        raise WriteError(str(error.strerror), file="standard output") from None


def render(
    records: Sequence[Record],
    columns: Sequence[str],
    format: str,
    *,
    verbatim: bool = False,
    quote_formulas: bool = False,
    mark: Mark | None = None,
) -> str:
    """Records as text in one of FORMATS; `columns` come first, keys that only some records have follow.

    verbatim: columns are names of files, which a table shows as they are, and all of them. quote_formulas: see `Style`. mark:
    shown in tables alone.
    """
    columns = [*columns, *dict.fromkeys(k for r in records for k in r if k not in columns)]
    if format == "json":
        return as_json([plain(r, columns) for r in records], indent=2)
    if format == "jsonl":
        return "".join(as_json(plain(r, columns)) for r in records)
    if format in FOR_EYES:
        return for_eyes(records, columns, format, verbatim, mark)
    header = [printable(c, 4096) for c in columns]
    cells: list[list[str | int | float]] = [[*header], *([for_machines(r.get(c)) for c in columns] for r in records)]
    text = io.StringIO()
    csv.writer(text, delimiter="\t" if format == "tsv" else ",", lineterminator="\n").writerows(
        [safe(cell, quote_formulas) if isinstance(cell, str) else repr(cell) for cell in row] for row in cells
    )
    return text.getvalue()
