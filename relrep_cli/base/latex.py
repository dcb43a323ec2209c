"""Tables for papers: LaTeX with booktabs, intervals beside their values, stars for small q or p."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from relrep_cli.base.errors import printable

VALUES = ("value", "accuracy", "score", "difference")  # columns that low and high belong to; the first one there
LEVELS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def table(
    records: Sequence[Mapping[str, Any]], columns: Sequence[str], cell: Callable[[Any], str], notes: Sequence[str]
) -> str:
    """Return a tabular environment that needs the package booktabs.

    columns: those to show, in order. cell: a value as text. notes: lines below the table, such as conventions.
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
    <BLANKLINE>
    """
    main = next((name for name in VALUES if name in columns), "")
    level = next((name for name in ("q", "p") if name in columns), "")
    joined = {"low", "high"} if main and {"low", "high"} <= set(columns) else set()
    shown = [c for c in columns if c not in joined | ({level} if main else set())]
    kinds = {c: "r" if all(isinstance(r.get(c), int | float | None) for r in records) else "l" for c in shown}
    lines = ["\\begin{tabular}{" + "".join(kinds.values()) + "}", "\\toprule"]
    lines += [" & ".join(escaped(printable(c.replace("_", " "), 4096)) for c in shown) + " \\\\", "\\midrule"]
    for r in records:
        cells = [escaped("" if r.get(c) is None else cell(r[c])) for c in shown]
        if main:
            cells[shown.index(main)] += _interval(r, joined, cell) + _stars(r.get(level))
        lines.append(" & ".join(cells) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}"]
    if main and level:
        notes = [f"* {level} < 0.05, ** {level} < 0.01, *** {level} < 0.001", *notes]
    return "\n".join([*lines, *(f"% {note}" for note in notes)]) + "\n"


def _interval(record: Mapping[str, Any], joined: set[str], cell: Callable[[Any], str]) -> str:
    if not joined or record.get("low") is None or record.get("high") is None:
        return ""
    return f" [{cell(record['low'])}, {cell(record['high'])}]"


def _stars(p: Any) -> str:
    marks = next((stars for level, stars in LEVELS if isinstance(p, float) and p < level), "")
    return f"$^{{{marks}}}$" if marks else ""


def escaped(text: str) -> str:
    """Text with the characters that LaTeX reads as commands written out."""
    return "".join(SPECIAL.get(c, c) for c in text)
