"""Tables for papers: LaTeX with booktabs, intervals beside their values, stars for small q or p."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from relrep_cli.base.cells import STARS, stars
from relrep_cli.base.errors import printable

VALUES = ("value", "accuracy", "score", "difference")  # columns that low and high belong to; the first one there
NUMBER = re.compile(r"(?:[-+0-9.e]+|n/a)\**")  # as `short` writes one, with stars
BRACKETS = "Brackets hold 95 % intervals."
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def table(
    records: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    cell: Callable[[Any], str],
    notes: Sequence[str],
    verbatim: bool = False,
) -> str:
    """Return a tabular environment that needs the package booktabs.

    columns: those to show, in order. cell: a value as text. notes: lines below the table, such as conventions.
    verbatim: whether columns are names of files, whose underscores stay.
    low and high stand behind their value in brackets. A star marks q < 0.05, or p where there is no q; two 0.01, three 0.001.

    >>> print(table([{"metric": "cka", "value": 0.5, "low": 0.4, "high": 0.6, "q": 0.01}],
    ...             ["metric", "value", "low", "high", "q"], str, []))
    \\begin{tabular}{lr}
    \\toprule
    metric & value \\\\
    \\midrule
    cka & 0.5 [0.4, 0.6]$^{*}$ \\\\
    \\bottomrule
    \\end{tabular}
    % * q < 0.05, ** q < 0.01, *** q < 0.001
    % Brackets hold 95 % intervals.
    <BLANKLINE>
    """
    main = main_column(columns)
    shown, level, ends = joined(columns)
    kinds = {c: "r" if all(is_number(r.get(c)) for r in records) else "l" for c in shown}
    lines = ["\\begin{tabular}{" + "".join(kinds.values()) + "}", "\\toprule"]
    lines += [
        " & ".join(escaped(printable(c if verbatim else c.replace("_", " "), 4096)) for c in shown) + " \\\\",
        "\\midrule",
    ]
    for r in records:
        cells = [_starred(escaped("" if r.get(c) is None else cell(r[c]))) for c in shown]
        if main:
            marks = stars(r.get(level))
            ends_of = interval(r, cell) if ends else ""
            cells[shown.index(main)] += ends_of + (f"$^{{{marks}}}$" if marks else "")
        lines.append(" & ".join(cells) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}"]
    notes = [*([STARS.format(level)] if main and level else []), *([BRACKETS] if ends else []), *notes]
    return "\n".join([*lines, *(f"% {note}" for note in notes)]) + "\n"


def main_column(columns: Sequence[str]) -> str:
    """The column whose values have intervals and stars, "" for none."""
    return next((name for name in VALUES if name in columns), "")


def joined(columns: Sequence[str]) -> tuple[list[str], str, bool]:
    """The columns that stay, the column of levels that becomes stars, and whether intervals stand behind their values."""
    main = main_column(columns)
    level = next((name for name in ("q", "p") if name in columns), "")
    ends = {"low", "high"} if main and {"low", "high"} <= set(columns) else set()
    return [c for c in columns if c not in ends | ({level} if main else set())], level, bool(ends)


def interval(record: Mapping[str, Any], cell: Callable[[Any], str]) -> str:
    """The interval of a record in brackets, with a space in front; nothing where it has none."""
    if record.get("low") is None or record.get("high") is None:
        return ""
    return f" [{cell(record['low'])}, {cell(record['high'])}]"


def is_number(value: Any) -> bool:
    """Whether a cell stands at the right: a number, or one with stars as text."""
    if isinstance(value, str):
        return bool(NUMBER.fullmatch(value))
    return value is None or isinstance(value, int | float)


def _starred(text: str) -> str:
    """Stars behind a number, raised."""
    number = text.rstrip("*")
    return f"{number}$^{{{text[len(number) :]}}}$" if number != text and NUMBER.fullmatch(text) else text


def escaped(text: str) -> str:
    """Text with the characters that LaTeX reads as commands written out."""
    return "".join(SPECIAL.get(c, c) for c in text)
