"""Word vectors: the text form of word2vec and GloVe, with or without a first line of counts, and word2vec's binary form.

The library that reads these forms, gensim, is a large dependency for one format. It allocates as many rows as the first line
declares, and holds all words as Python objects. Here plain Python reads bounded pieces: counts are checked against the size of
the file, and no line is longer than LINE bytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from io import BufferedReader, FileIO
from pathlib import Path
from typing import IO

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.signals import check
from relrep_cli.numerics.spool import spool
from relrep_cli.store.beside import columns_beside
from relrep_cli.store.files import HEAD, bad, mistaken, opened, size_of, sniff
from relrep_cli.store.found import Found
from relrep_cli.store.limits import SHORTEN, TEXT_WIDTH, padding_fault
from relrep_cli.store.reading import PLAIN, Reading
from relrep_cli.store.table_columns import whole_first

LINE = 1 << 20  # bytes
DIMS = 1 << 16
ROWS = 1024  # lines that are converted at once
COUNTS = re.compile(rb"\s*(\d{1,12})\s+(\d{1,6})\s*")
NUMBER = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(nan|inf)", re.IGNORECASE)
SAMPLE = 200  # lines that tell how a file is laid out
WORD = "word"
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Layout:
    """How the lines of a text file are laid out: the first gives counts, each has a word before its d numbers, n lines.

    skipped: lines before them, comments and names of columns. quoted: whether words stand in quotes.
    """

    d: int
    named: bool
    counted: bool = False
    n: int | None = None
    skipped: int = 0
    quoted: bool = False


def text_layout(path: Path, lines: list[bytes], reading: Reading) -> Layout:
    """The layout that the first lines show. Raises DataError where they show none, or a first column of numbers could be ids.

    Words may hold spaces and may look like numbers. Where no line of counts tells the width, it is the number of columns, from
    the right, that mostly hold numbers with a decimal point; where no column does, all cells but the first.
    """
    counts = COUNTS.fullmatch(lines[0].rstrip(b"\r\n")) if lines else None
    cells = [line.split() for line in lines if line.strip()]
    if counts and len(cells) > 1:
        n, d = int(counts[1]), int(counts[2])
        longer = sum(len(line) > d for line in cells[1:])
        if 2 * longer >= len(cells) - 1:
            return Layout(d, True, True, n)
        if d != 2 and all(len(line) == d for line in cells[1:]):
            return Layout(d, False, True, n)
        if any(len(line) != 2 for line in cells[1:]):
            dims = len(cells[1]) - 1
            raise bad(path, f"its first line declares {d} numbers a line, and line 2 holds {dims}", "Correct its first line.")
    if not cells or len(cells[0]) < 2:
        table = bool(cells) and cells[0][0].count(b",") > 1
        remedy = "Give it a name that ends in .csv." if table else "Choose an --encoder if these are texts."
        raise bad(path, "no lines of a word and its numbers", remedy)
    if all(NUMBER.fullmatch(cell) for line in cells for cell in line):
        return _of_numbers(path, cells, reading)
    width = min(map(len, cells))
    d = 0
    while d < width and 2 * sum(_has_point(line[-1 - d]) for line in cells) >= len(cells):
        d += 1
    widths = sorted(map(len, cells))
    return Layout(d or max(1, max(widths, key=widths.count) - 1), True)


def preamble(lines: list[bytes]) -> tuple[int, bool]:
    """How many lines stand before the vectors, and whether names of columns, as R's write.table writes them, are quoted.

    Comments are lines that numpy.savetxt begins with `#`; a line of the word # holds numbers alone. Names of columns are a line
    without any number, as long as the next one, or shorter by one.
    """
    cells = [line.split() for line in lines]
    count = 0
    while count < len(cells) and cells[count][:1] and cells[count][0].startswith(b"#"):
        if len(cells[count]) > 1 and all(map(NUMBER.fullmatch, cells[count][1:])):
            break
        count += 1
    head, following = cells[count : count + 2] if len(cells) > count + 1 else ([], [])
    numbers = len(following) > 1 and all(map(NUMBER.fullmatch, following[1:]))
    if numbers and len(following) - len(head) in (0, 1) and not any(map(NUMBER.fullmatch, head)):
        return count + 1, all(name.startswith(b'"') for name in head)
    return count, False


def _of_numbers(path: Path, cells: list[list[bytes]], reading: Reading) -> Layout:
    """The layout of a table of numbers alone: as numpy.savetxt writes it, or with words that are numbers."""
    widths = sorted(map(len, cells))
    d = max(widths, key=widths.count)
    if reading.id_column is not None:
        return Layout(d - 1, True)
    first, others = [line[0] for line in cells], [cell for line in cells for cell in line[1:]]
    if reading.vector_columns is None and d > 1 and not any(map(_has_point, first)) and any(map(_has_point, others)):
        raise whole_first(path, first[0].decode())
    return Layout(d, False)


def _has_point(cell: bytes) -> bool:
    return bool(NUMBER.fullmatch(cell)) and not cell.lstrip(b"+-").isdigit()


def read_words(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
    """The vectors of a .txt, .vec, .glove or .bin file as float32 (n, d), words as ids. Raises DataError with the line.

    A table of numbers alone, as numpy.savetxt and thingsvision write, has no ids; those in `file_names.txt` beside it are
    taken if there is one for each row.
    """
    with opened(path) as raw:
        size, head = size_of(raw), os.pread(raw.fileno(), HEAD, 0)
        if head.startswith(b"\x89HDF"):  # names with these endings say little
            from relrep_cli.store.hdf5 import read_hdf5

            return read_hdf5(path, member, reading)
        if member is not None:
            raise bad(path, "word vectors have no members", f"Write {printable(str(path), 1000)}.", member)
        first = head.removeprefix(BOM).partition(b"\n")[0]
        counts = COUNTS.fullmatch(first.rstrip(b"\r"))
        file: IO[bytes] = BufferedReader(raw, 1 << 20)
        if counts and (path.suffix.lower() == ".bin" or (sniff(head) != "text" and b"\0" in head)):
            return _binary(path, file, int(counts[1]), int(counts[2]), size)
        if b"\0" in head or sniff(head) not in ("text", None):
            raise mistaken(path, head, "word vectors")
        if sniff(head) is None and not counts and not _looks_like_words(head):
            raise mistaken(path, head, "word vectors")
        return _text(path, raw, file, size, reading)


def _looks_like_words(head: bytes) -> bool:
    """Whether the first line ends in numbers, so that what is wrong with its text is for its own message."""
    return len(head.split(b"\n")[0].split()) > 1 and bool(NUMBER.fullmatch(head.split(b"\n")[0].split()[-1]))


def _binary(path: Path, file: IO[bytes], n: int, d: int, size: int) -> Found:
    """word2vec's binary form: after a line of counts, each word, a space, and d singles."""
    _check_counts(path, n, d)
    file.readline(LINE)
    if n * (4 * d + 2) > size:
        raise bad(path, f"its first line declares {n} vectors of {d}, more than {size} bytes hold", "Fetch it again.")
    x, words = spool((n, d), np.float32), []
    for i in range(n):
        if i % ROWS == 0:
            check()
        word = _until_space(file)
        content = file.read(4 * d)
        if word is None or len(content) < 4 * d:
            raise bad(path, f"it ends within vector {i + 1} of {n}", "Fetch it again.")
        words.append(_checked_word(path, word.lstrip(b"\n"), i + 1))
        x[i] = np.frombuffer(content, "<f4")
    return Found(x, columns={WORD: _texts(path, words, size)}, index=WORD, layout="table")


def _checked_word(path: Path, word: bytes, number: int) -> bytes:
    """A word of the binary form, in which a space ends a word, so that one that holds a space shifts all that follows."""
    try:
        word.decode()
    except UnicodeDecodeError:
        raise bad(
            path,
            f"the word of vector {number} is not UTF-8; a word before it may hold a space, which this binary form cannot keep",
            "Save it as text (.vec), or without spaces in words.",
        ) from None
    return word


def _until_space(file: IO[bytes]) -> bytes | None:
    """The bytes before the next space, None when there is none within what an id may have."""
    word = bytearray()
    while len(word) <= TEXT_WIDTH:
        byte = file.read(1)
        if byte == b" ":
            return bytes(word)
        if not byte:
            return None
        word += byte
    return None


def _text(path: Path, raw: FileIO, file: IO[bytes], size: int, reading: Reading) -> Found:
    """One line a word; words may hold spaces, so the last d cells are the vector."""
    start = len(BOM) if file.read(len(BOM)) == BOM else 0
    file.seek(start)
    lines = [line for _, line in zip(range(1 + SAMPLE), iter(lambda: file.readline(LINE), b""), strict=False)]
    skipped, quoted = preamble(lines)
    layout = replace(text_layout(path, lines[skipped:], reading), skipped=skipped, quoted=quoted)
    _check_counts(path, 1, layout.d)
    file.seek(start)
    skip = layout.skipped + layout.counted
    n = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) + 1 - skip  # one more than lines, maybe
    if n * layout.d * 2 > 2 * size + 2 * layout.d:
        raise bad(path, f"{n} lines of {layout.d} numbers do not fit into {size} bytes", "Every line needs the same number.")
    file.seek(start)
    x, words = spool((n, layout.d), np.float32), []
    at = 0
    for number, lines in _blocks(file, skip):
        rows = [_cells(path, number + i, line, layout) for i, line in enumerate(lines)]
        x[at : at + len(rows)] = _numbers(path, number, [row for _, row in rows])
        words += [word for word, _ in rows]
        at += len(rows)
    if layout.n is not None and layout.n != at:
        raise bad(
            path, f"its first line declares {layout.n} vectors, and {at} follow", "Fetch it again, or correct its first line."
        )
    if layout.named:
        name = reading.id_column or WORD  # they have no name of their own
        return Found(x[:at], columns={name: _texts(path, words, size)}, index=name, layout="table")
    return replace(Found(x[:at], layout="table"), **columns_beside(path, at))


def _blocks(file: IO[bytes], skip: int) -> Iterator[tuple[int, list[bytes]]]:
    """(number of the first, lines) of all lines after the first `skip` ones; a last empty one is left out."""
    for _ in range(skip):
        file.readline(LINE)
    number, lines = skip + 1, list[bytes]()
    while line := file.readline(LINE):
        lines.append(line)
        if len(lines) == ROWS:
            check()
            yield number, lines
            number, lines = number + ROWS, []
    if lines:
        yield number, lines


def _cells(path: Path, number: int, line: bytes, layout: Layout) -> tuple[bytes, list[bytes]]:
    """The word and the numbers of one line."""
    d = layout.d
    row = line.split()
    if not layout.named:
        if len(row) != d:
            raise bad(path, f"line {number} holds {len(row)} numbers, those before {d}", "Mend or remove it.")
        return b"", row
    parts = line.rstrip().rsplit(None, d)
    if len(row) == d and len(parts) == d and all(map(NUMBER.fullmatch, row)):
        blank = len(line) - len(line.lstrip())
        word = f"its word is blank ('{printable(line[: blank - 1])}')" if blank > 1 else "it has no word"
        raise bad(path, f"line {number}: {word} before its {d} numbers", "Give it a word, or remove it.")
    if len(parts) != d + 1:
        raise bad(path, f"line {number} holds {max(0, len(row) - 1)} numbers, those before {d}", "Mend or remove it.")
    try:
        parts[0].decode()
    except UnicodeDecodeError:
        raise bad(path, f"line {number}: its word is not UTF-8", "Save the file as UTF-8.") from None
    return parts[0].strip(b'"') if layout.quoted else parts[0], parts[1:]


def _numbers(path: Path, number: int, rows: list[list[bytes]]) -> np.ndarray:
    try:
        return np.array(rows, "S").astype(np.float32)
    except ValueError:
        for i, row in enumerate(rows):
            for cell in row:
                try:
                    float(cell)
                except ValueError:
                    shown = printable(cell[:40])
                    raise bad(path, f"line {number + i}: {shown!r} is not a number", "Mend or remove it.") from None
        raise


def _check_counts(path: Path, n: int, d: int) -> None:
    if not (n > 0 and 0 < d <= DIMS):
        raise bad(path, f"its lines declare {n} vectors of {d} numbers; from 1 to {DIMS} are read", "Check what it is.")


def _texts(path: Path, words: list[bytes], size: int) -> np.ndarray:
    width = max(map(len, words), default=1)
    if fault := padding_fault(width * len(words), size):
        raise bad(path, fault, SHORTEN)
    return np.array(words, f"S{max(1, width)}")
