"""Tables as text, .csv and .tsv: the first line judged here, the rest streamed through pyarrow in a child process."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.store.apart import Answer, Batch, Files, answered, import_alone, limit, read_apart, spill, texts
from relrep_cli.store.assignment import counts_rows, tells_rows_apart
from relrep_cli.store.beside import columns_beside
from relrep_cli.store.column_names import may_count_rows
from relrep_cli.store.columns import ColumnDigest
from relrep_cli.store.files import HEAD, bad, first_fault, mistaken, opened, size_of, sniff
from relrep_cli.store.found import Found
from relrep_cli.store.reading import PLAIN, Reading
from relrep_cli.store.table_columns import Kind, choose_columns, listed, whole_first

LIBRARIES = ("pyarrow.csv", "pyarrow.compute")  # imported by the fork server
LINE = 1 << 20  # bytes of the first line
COLUMNS = 1 << 14
COLUMN = 16 << 10  # bytes of memory that each takes
BLOCK = 256 << 10  # bytes read at once; pyarrow reads some blocks ahead, which cost 15 MB more at 1 MiB
CELL = 64  # bytes of a number; with this many for each column, a row fits into a block
SAMPLE = 1000  # rows that tell what a column holds
DELIMITERS = {".csv": ",", ".tsv": "\t"}
SEMICOLONS = re.compile(rb"[^,;]*(;[^,;]*)+|-?\d+(,\d+)?(;-?\d+(,\d+)?)+")
BAD_CELL = re.compile(r"column #(\d+): Row #(\d+): .*?invalid value '(.*)'\s*$", re.DOTALL)
BAD_ROW = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")


def read_text(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
    """The columns of numbers of a table as float64 (n, d), or its one column of vectors. Raises DataError.

    The first row names the columns; a table of numbers alone needs no such row. Rows are counted from 1, as editors do.
    """
    if member is not None:
        raise bad(path, "a text table holds one embedding and no members", f"Write {printable(str(path), 1000)}.", member)
    with opened(path) as file:
        start, size = os.pread(file.fileno(), LINE, 0), size_of(file)
    _check_text(path, start)
    delimiter = DELIMITERS[path.suffix.lower()]
    cells = _cells(path, start, size, delimiter)
    if len(cells) == 1 and re.search(r"[,;\t|]", cells[0]) and not cells[0].startswith("["):
        right = "Give it a name that ends in .tsv." if "\t" in cells[0] else f"Cells must be separated by {delimiter!r}."
        raise bad(path, f"no columns of numbers; found {listed(cells)}", right)
    named = names_columns(cells)
    rows = sample(start, size, delimiter)
    if start.startswith(b"#") and len(rows) > 1 and len(rows[1]) != len(cells):
        raise bad(path, "its first line is a comment, not the names of columns", "Remove the lines that begin with '#'.")
    if named and _lacks_a_name(cells, rows[1:]):
        cells = ["", *cells]
    names = cells if named else [str(i + 1) for i in range(len(cells))]
    if len(set(names)) != len(names):
        twice = max(names, key=names.count)
        raise bad(path, f"two columns have the same name, {printable(twice, 40)!r}", "Rename one.")
    kinds = {name: _kind([row[i] for row in rows[named:] if i < len(row)]) for i, name in enumerate(names)}
    if not named:
        kinds = _first_named(path, kinds, rows, reading)
        names = list(kinds)
    chosen = choose_columns(path, kinds, reading, None)
    parts = ["vector" if kinds[n] == "vector" else "number" if n in chosen.vectors else "text" for n in names]
    wanted = [n in chosen.vectors or n in chosen.named for n in names]
    cells_of = {n: [row[i] for row in rows[named:] if len(row) == len(names)] for i, n in enumerate(names)}
    unread = [n for n in chosen.others if _could_be_ids(cells_of[n])]
    parts = [part if w else "" for part, w in zip(parts, wanted, strict=True)]
    if any(may_count_rows(n) and counts_rows(np.array(cells_of[n]).astype("S")) for n in chosen.named if _ascii(cells_of[n])):
        parts = ["digest" if n in unread else part for n, part in zip(names, parts, strict=True)]
    answer = read_apart(path, size, parse, delimiter, int(named), names, parts)
    content = replace(answer, unread=tuple(unread))
    if delimiter == "\t" and not content.columns:  # the TensorFlow projector's vectors.tsv
        return replace(content, **columns_beside(path, len(content.x)))
    return content


def _lacks_a_name(cells: list[str], rows: list[list[str]]) -> bool:
    """Whether the first row leaves out the name of the first column, as R's write.table does."""
    return bool(rows) and all(len(row) == len(cells) + 1 for row in rows) and any(row[-1].strip() for row in rows)


def names_columns(cells: list[str]) -> bool:
    """Whether the first row holds names: not numbers with a decimal point, which are data, nor numbers alone but 0, 1, 2, …"""
    if len(cells) > 1 and cells == [str(i) for i in range(len(cells))]:  # pandas' names
        return True
    values = [cell for cell in cells if _numeric([cell]) and not cell.strip().isdecimal()]
    return not _numeric(cells) and 2 * len(values) <= len(cells)


def sample(start: bytes, size: int, delimiter: str) -> list[list[str]]:
    """The first rows, as many as lie in `start` whole, at most SAMPLE."""
    whole = start if len(start) >= size else start[: start.rfind(b"\n") + 1]
    content = whole.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    rows: list[list[str]] = []
    try:
        rows.extend(islice(csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True), SAMPLE))
    except csv.Error:  # of a cell that the sample cuts, or of a fault, which the reader of the whole explains
        return rows if len(start) < size else []
    return rows


def _kind(cells: list[str]) -> Kind:
    """The kind of a column by most of its cells: a bad cell among numbers is for the reader to report."""
    numbers = [cell for cell in cells if _numeric([cell])]
    if 2 * sum(not _numeric([cell]) for cell in cells if cell.strip()) <= len(cells):
        return "whole" if numbers and all(re.fullmatch(r"\s*[-+]?\d+\s*", cell) for cell in numbers) else "real"
    vectors = [cell for cell in cells if cell.strip().startswith("[") and cell.strip().endswith("]")]
    return "vector" if 2 * len(vectors) > len(cells) else "text"


def _first_named(path: Path, kinds: dict[str, Kind], rows: list[list[str]], reading: Reading) -> dict[str, Kind]:
    """A table without names of columns: a first column of text among numbers is an index.

    Raises DataError where the first column alone holds whole numbers, which may be ids or a coordinate.
    """
    first, others = kinds["1"], [kind for name, kind in kinds.items() if name != "1"]
    if first == "text" and others and "text" not in others and reading.id_column is None:
        return {"": first, **{name: kind for name, kind in kinds.items() if name != "1"}}
    named = reading.id_column is not None or reading.vector_columns is not None
    if first == "whole" and "real" in others and not named and _could_be_ids([row[0] for row in rows]):
        raise whole_first(path, rows[0][0])
    return kinds


def _could_be_ids(cells: list[str]) -> bool:
    return bool(cells) and all(cells) and tells_rows_apart(np.array(cells).astype("S") if _ascii(cells) else np.array(cells))


def _ascii(cells: list[str]) -> bool:
    return all(map(str.isascii, cells))


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
    if delimiter == "," and SEMICOLONS.fullmatch(first):
        finding = "its cells are separated by ';', which goes with decimal commas"
        raise bad(path, finding, "Write it with ',' between cells and points in numbers: write.csv in R, to_csv in pandas.")
    csv.field_size_limit(LINE)
    try:
        cells = next(csv.reader([first.decode()], delimiter=delimiter, strict=True), [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise bad(path, f"its first line is malformed: {printable(str(error))}", "Write it again.") from None
    if cells and cells[0].startswith("#"):  # as numpy.savetxt writes a header
        cells[0] = cells[0].lstrip("# ")
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


def parse(name: str, files: Files, delimiter: str, skip: int, names: list[str], parts: list[str]) -> Answer:
    """In the child: the table after its first `skip` rows, spilled into `files`.

    parts: "number", "vector", "text", "digest" for a column whose digest alone is wanted, or "" for one that is not read.
    """
    path = Path(name)
    size = os.stat(path).st_size

    def work() -> Answer:
        digests = {name: ColumnDigest() for name, part in zip(names, parts, strict=True) if part == "digest"}
        try:
            answer = spill(path, files, _batches(path, delimiter, skip, names, parts, digests))
            return {**answer, "digests": {name: digest.name() for name, digest in digests.items()}}
        except ValueError as error:
            raise _explained(path, str(error), [printable(name, 40) for name in names]) from None

    import_alone()
    limit(1 + 1e-4 * len(names) + size / 4e6, (256 << 20) + len(names) * COLUMN)
    return answered(path, work)


def _batches(
    path: Path, delimiter: str, skip: int, names: list[str], parts: list[str], digests: Mapping[str, ColumnDigest]
) -> Iterator[Batch]:
    import pyarrow as pa
    from pyarrow import csv

    read = [str(i) for i, part in enumerate(parts) if part]
    reader = csv.open_csv(
        path,  # no threads: with them, errors name no row
        csv.ReadOptions(
            use_threads=False, block_size=_block(len(names)), column_names=[str(i) for i in range(len(names))], skip_rows=skip
        ),
        csv.ParseOptions(delimiter=delimiter, newlines_in_values="vector" in parts),
        csv.ConvertOptions(
            column_types={key: pa.float64() if parts[int(key)] == "number" else pa.string() for key in read},
            null_values=[],
            include_columns=read,
        ),
    )
    at, width = 1 + skip, None
    for batch in reader:
        numbers = [batch.column(i) for i, key in enumerate(read) if parts[int(key)] == "number"]
        vectors = [batch.column(i) for i, key in enumerate(read) if parts[int(key)] == "vector"]
        x = np.empty((batch.num_rows, len(numbers)))
        for i, column in enumerate(numbers):
            x[:, i] = column
        if vectors:
            x = parsed_vectors(path, vectors[0].to_pylist(), at, width)
        at, width = at + batch.num_rows, x.shape[1]
        for i, key in enumerate(read):
            if parts[int(key)] == "digest":
                digests[names[int(key)]].update(str(value).encode() for value in batch.column(i).to_pylist())
        named = {names[int(key)]: batch.column(i) for i, key in enumerate(read) if parts[int(key)] == "text"}
        yield x, {name: texts(path, name, values) for name, values in named.items()}


def parsed_vectors(path: Path, cells: list[str], at: int, width: int | None) -> np.ndarray:
    """Cells such as "[0.1, 0.2]" as rows (n, d). at: the number of the first row. Raises DataError, naming the row."""
    rows = []
    for number, cell in enumerate(cells, at):
        values = cell.strip().removeprefix("[").removesuffix("]").replace(",", " ").split()
        width = len(values) if width is None else width
        if "..." in values:
            finding, remedy = "its vector is cut by '...', as print does", "Write all numbers, for example with list(vector)."
            raise bad(path, f"row {number}: {finding}", remedy)
        if len(values) != width or not values:
            raise bad(path, f"row {number} holds {len(values)} numbers, those before {width}", "Vectors must be of one length.")
        try:
            rows.append([float(value) for value in values])
        except ValueError:
            text = printable(next(value for value in values if not _numeric([value])), 40)
            raise bad(
                path, f"row {number}: '{text}' is not a number", "Every coordinate of a vector must be a number."
            ) from None
    return np.array(rows, np.float64).reshape(len(rows), width or 0)


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
