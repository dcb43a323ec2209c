"""The columns of the results of compare."""

from __future__ import annotations

from relrep_cli.comparison.runs import Results

COLUMNS = ("a", "b", "metric", "value", "corrected", "low", "high", "chance", "n", "k", "convention", "joined")


def columns_of(results: Results, projected: bool) -> list[str]:
    """The columns of scores. Columns that only some metrics have follow in alphabetical order."""
    layers = ["p_max"] if results.tests.families else []
    tested = ["p", "q", *layers] if results.tests.permutations else []
    known = [*COLUMNS, *(["projection"] if projected else []), *tested]
    return [*known, *sorted({key for r in results.records for key in r if key not in known})]
