"""Text files that say which documents are relevant to which queries."""

from __future__ import annotations

import csv

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.embedding import text
from relrep_cli.store.lines import read_lines

QRELS, TRIPLES = 4, 3  # columns of a file of TREC (query, 0, document, grade) and of BEIR (query, document, grade)


def read_relevant(file: str) -> tuple[np.ndarray, np.ndarray]:
    """The ids of queries (p,), and of the documents that are relevant to them.

    Lines hold a query and a document, with a tab or a comma between them; a third column is a grade. Files of TREC have four
    columns. Pairs of grade 0 are left out, and so is a header, whose grade is no number, or whose first column is `query` or
    `query-id`. Raises DataError.
    """
    lines = [line for line in read_lines(file) if line.strip()]
    tab = "\t" if lines and "\t" in lines[0] else "," if lines and "," in lines[0] else " "
    try:
        rows = list(csv.reader(lines, delimiter=tab, skipinitialspace=True))
    except csv.Error as error:
        raise DataError(
            f"cannot be read as pairs ({printable(str(error))})", "Write a query and a document a line.", file=file
        ) from None
    rows = [[cell for cell in row if cell] if tab == " " else row for row in rows]
    if rows and rows[0][0].lower() in ("query", "query-id", "query_id", "qid"):
        rows = rows[1:]
    pairs = []
    for place, row in enumerate(rows, 1):
        if len(row) not in (2, TRIPLES, QRELS) or not all(row):
            raise DataError(
                f"pair {place} has {len(row)} columns",
                "Write a query and a document a line, with a tab between them.",
                file=file,
            )
        document, grade = (row[2], row[3]) if len(row) == QRELS else (row[1], row[2] if len(row) == TRIPLES else "1")
        if _grade(grade, place, file) > 0:
            pairs.append((row[0], document))
    if not pairs:
        raise DataError("holds no relevant document", "Write a query and a document a line.", file=file)
    queries, documents = zip(*dict.fromkeys(pairs), strict=True)
    return text(queries), text(documents)


def _grade(cell: str, place: int, file: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise DataError(
            f"the grade of pair {place} is {printable(cell)!r}, no number", "Write a number, or leave grades out.", file=file
        ) from None
