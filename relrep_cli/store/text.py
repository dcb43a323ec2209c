"""Tables as text, .csv and .tsv: the first line judged here, the rest streamed through pyarrow in a child process."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from relrep_cli.base.errors import printable
from relrep_cli.store.apart import Answer, Batch, Files, answered, import_alone, limit, read_apart, spill, texts
from relrep_cli.store.columns import described, role
from relrep_cli.store.files import HEAD, bad, first_fault, mistaken, opened, size_of, sniff
from relrep_cli.store.found import Found
from relrep_cli.store.words import beside

LINE = 1 << 20  # bytes of the first line
COLUMNS = 1 << 14
COLUMN = 16 << 10  # bytes of memory that each takes
BLOCK = 256 << 10  # bytes read at once; pyarrow reads some blocks ahead, which cost 15 MB more at 1 MiB
CELL = 64  # bytes of a number; with this many for each column, a row fits into a block
ID_LIKE = {"", "index", "item", "key", "name", "word", "token", "path", "file", "filename", "unnamed: 0"}
DELIMITERS = {".csv": ",", ".tsv": "\t"}
BAD_CELL = re.compile(r"column #(\d+): Row #(\d+): .*?invalid value '(.*)'\s*$", re.DOTALL)
BAD_ROW = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")


def read_text(path: Path, member: str | None) -> Found:
    """The columns of numbers of a table as float64 (n, d), with its id, label and split columns. Raises DataError.

    The first row names the columns; a table of numbers alone needs no such row. Rows are counted from 1, as editors do.
    """
    if member is not None:
        raise bad(path, "a text table holds one embedding and no members", f"Write {printable(str(path), 1000)}.", member)
    with opened(path) as file:
        line, size = os.pread(file.fileno(), LINE, 0), size_of(file)
    _check_text(path, line)
    delimiter = DELIMITERS[path.suffix.lower()]
    cells = _cells(path, line, size, delimiter)
    named = not _numeric(cells) or (len(cells) > 1 and cells == [str(i) for i in range(len(cells))])  # pandas' names
    roles = _roles(path, cells) if named else [None] * len(cells)
    if all(roles) or (len(cells) == 1 and re.search(r"[,;\t|]", cells[0])):
        raise bad(path, f"no columns of numbers; found {_listed(cells)}", f"Cells must be separated by {delimiter!r}.")
    names = cells if named else [str(i + 1) for i in range(len(cells))]
    found = read_apart(path, size, parse, delimiter, int(named), [printable(name, 40) for name in names], roles)
    if delimiter == "\t" and found.ids is None and not found.obs:  # the TensorFlow projector's vectors.tsv
        ids, obs = described(path, beside(path, len(found.x)))
        return replace(found, ids=ids, obs=obs)
    return found


def _check_text(path: Path, start: bytes) -> None:
    """Raise DataError when the first bytes are those of another format, or no UTF-8 text."""
    kind = sniff(start[:HEAD])
    if kind not in ("text", None):
        raise mistaken(path, start[:HEAD], "a table as text")
    fault = first_fault(start)
    if fault is not None:
        byte = printable(start[fault : fault + 1].hex())
        raise bad(path, f"byte {fault} (hexadecimal {byte}) does not occur in UTF-8 text", "Save it as UTF-8.")


def _cells(path: Path, line: bytes, size: int, delimiter: str) -> list[str]:
    """The cells of the first line."""
    first = re.split(rb"[\r\n]", line.removeprefix(b"\xef\xbb\xbf"), maxsplit=1)[0]
    if len(first) + 3 >= LINE and size > LINE:
        raise bad(path, f"its first line is longer than {LINE} bytes", "Save it as .npy or .parquet.")
    csv.field_size_limit(LINE)
    try:
        cells = next(csv.reader([first.decode()], delimiter=delimiter, strict=True), [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise bad(path, f"its first line is malformed: {printable(str(error))}", "Write it again.") from None
    if not cells:
        raise bad(path, "its first line is blank", "It must name the columns or hold numbers.")
    if len(cells) > COLUMNS:
        raise bad(path, f"{len(cells)} columns; a text table may have {COLUMNS}", "Save it as .npy or .parquet.")
    return cells


def _numeric(cells: list[str]) -> bool:
    try:
        return bool([float(cell) for cell in cells])
    except ValueError:
        return False


def _roles(path: Path, names: list[str]) -> list[str | None]:
    """What each column is: "id", "label", "split", or None for a coordinate. A first column that looks like ids is ids."""
    roles = [role(name) for name in names]
    first = names[0].strip().lower()
    if "id" not in roles and roles[0] is None and (first in ID_LIKE or first.endswith("_id")):
        roles[0] = "id"
    given = [name for name in roles if name]
    if len(given) != len(set(given)):
        raise bad(path, f"two columns name the {max(given, key=given.count)} of an item", "Remove one.")
    return roles


def _listed(names: list[str]) -> str:
    return ", ".join(printable(name, 40) for name in names[:6]) + (", …" if len(names) > 6 else "")


def parse(name: str, files: Files, delimiter: str, skip: int, names: list[str], roles: list[str | None]) -> Answer:
    """In the child: the table after its first `skip` rows, spilled into `files`."""
    path = Path(name)
    size = os.stat(path).st_size

    def work() -> Answer:
        try:
            return spill(path, files, _batches(path, delimiter, skip, roles))
        except ValueError as error:
            raise _explained(path, str(error), names) from None

    import_alone()
    limit(1 + 1e-4 * len(names) + size / 4e6, (256 << 20) + len(names) * COLUMN)
    return answered(path, work)


def _batches(path: Path, delimiter: str, skip: int, roles: list[str | None]) -> Iterator[Batch]:
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    keys = [str(i) for i in range(len(roles))]
    kinds = {key: pa.string() if role else pa.float64() for key, role in zip(keys, roles, strict=True)}
    reader = csv.open_csv(
        path,  # no threads: with them, errors name no row
        csv.ReadOptions(use_threads=False, block_size=_block(len(keys)), column_names=keys, skip_rows=skip),
        csv.ParseOptions(delimiter=delimiter),
        csv.ConvertOptions(column_types=kinds, null_values=[]),
    )
    for batch in reader:
        numbers = [batch.column(i) for i, role in enumerate(roles) if role is None]
        x = np.empty((batch.num_rows, len(numbers)))
        for i, column in enumerate(numbers):
            x[:, i] = column
        yield x, {role: texts(path, role, batch.column(i)) for i, role in enumerate(roles) if role}


def _block(columns: int) -> int:
    return max(BLOCK, CELL * columns)


def _explained(path: Path, error: str, names: list[str]) -> Exception:
    """pyarrow's complaint in our words."""
    if match := BAD_CELL.search(error):
        cell = printable(match[3], 40)
        return bad(path, f"row {match[2]}, column {names[int(match[1])]}: '{cell}' is not a number", "Every cell must be one.")
    if match := BAD_ROW.search(error):
        return bad(path, f"row {match[1]} has {match[3]} cells, the first row {match[2]}", "Every row needs the same columns.")
    if "straddling" in error:
        return bad(path, f"a row is longer than {_block(len(names))} bytes", "Save it as .npy or .parquet.")
    if "out of sync" in error:
        return bad(path, "a quoted cell goes over several lines, or its end is missing", "Write each item on one line.")
    if "invalid UTF8" in error:
        return bad(path, "holds text that is not UTF-8", "Save it as UTF-8.")
    return bad(path, f"cannot be read as a table: {printable(error, 160).rstrip('.')}", "Write it again.")
