"""What the functions of the library return: records with fields, which notebooks show as tables."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, overload

from relrep_cli.base.errors import UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import LOGGER, render
from relrep_cli.library.wording import in_python
from relrep_cli.metrics.forms import current

SHOWN = 4  # digits after the point in a notebook


def _what_differs(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """By which column the user can tell records of one name apart, in words; "" where none does."""
    for column in columns:
        values = [r.get(column) for r in records]
        if len(values) > 1 and len(set(map(str, values))) == len(values) and all(isinstance(v, str | int) for v in values):
            return f", which differ in {column}; take one by its place, such as results[0]"
    return ""


@dataclass(frozen=True)
class Result(Mapping[str, Any]):
    """One record. Its columns are those of the command's table (docs/reference.md), as attributes and as keys."""

    record: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.record[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.record)

    def __len__(self) -> int:
        return len(self.record)

    def __getattr__(self, name: str) -> Any:
        if name == "record" or name not in self.record:  # `record` itself is missing while a copy is made
            raise AttributeError(name)
        return self.record[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.record]


@dataclass(frozen=True)
class Results(Sequence[Result]):
    """Records of one call, in the order of the command's table.

    columns: their names, in the order of the table. notes: what the command line would have printed on stderr.

    Where there is a single record, its columns are attributes: `compare(x, y, metric="cka").value`.
    """

    records: Sequence[Mapping[str, Any]]
    columns: Sequence[str]
    notes: Sequence[str] = ()

    @overload
    def __getitem__(self, place: int | str) -> Result: ...
    @overload
    def __getitem__(self, place: slice) -> Results: ...
    def __getitem__(self, place: int | str | slice) -> Result | Results:
        """The record at a place, or the only one of a metric, method, task or measure; a slice of the records."""
        if isinstance(place, slice):
            return Results(self.records[place], self.columns, self.notes)
        if isinstance(place, int):
            return Result(self.records[place])
        keys = [key for key in ("metric", "method", "task", "measure", "name") if key in self.columns]
        matching = [r for r in self.records if any(r.get(key) in (place, current(place)) for key in keys)]
        if len(matching) != 1:
            raise KeyError(f"{len(matching)} records of {place!r}{_what_differs(matching, self.columns)}")
        return Result(matching[0])

    def __len__(self) -> int:
        return len(self.records)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("records", "columns", "notes") or not any(name in r for r in self.records):
            raise AttributeError(name)
        if len(self.records) != 1:
            raise AttributeError(f"{name}: there are {len(self.records)} records; take one of them, such as results[0].{name}")
        return self.records[0][name]

    def to_dicts(self) -> list[dict[str, Any]]:
        """The records as dictionaries."""
        return [dict(r) for r in self.records]

    def to_pandas(self) -> Any:
        """The records as a data frame, one row each. Raises UsageError where pandas is not installed."""
        try:
            import pandas  # type: ignore[import-untyped]
        except ImportError:
            raise UsageError("to_pandas needs pandas, which is not installed", "Run pip install pandas.") from None
        return pandas.DataFrame(self.to_dicts(), columns=list(self.columns))

    def __repr__(self) -> str:
        return render([dict(r) for r in self.records], list(self.columns), "table").rstrip("\n")

    def _repr_html_(self) -> str:
        import html  # notebooks alone need its 2,000 names of characters

        shown = [name for name in self.columns if any(r.get(name) is not None for r in self.records)]
        head = "".join(f"<th>{html.escape(name)}</th>" for name in shown)
        rows = ["".join(f"<td>{html.escape(_cell(r.get(name)))}</td>" for name in shown) for r in self.records]
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _cell(value: Any) -> str:
    if value is None:
        return "n/a"
    return f"{value:.{SHOWN}g}" if isinstance(value, float) else str(value)


class _Kept(logging.Handler):
    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.INFO)
        self.notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        if not hasattr(record, "passing"):  # a line of progress
            self.notes.append(in_python(record.getMessage()))


@contextmanager
def notes_kept() -> Iterator[list[str]]:
    """Within, notes to the user are also collected in the list."""
    notes: list[str] = []
    handler, level = _Kept(notes), LOGGER.level
    LOGGER.addHandler(handler)
    if not LOGGER.isEnabledFor(logging.INFO):
        LOGGER.setLevel(logging.INFO)
    try:
        yield notes
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
