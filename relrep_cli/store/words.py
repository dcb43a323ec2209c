"""Word vectors: the text form of word2vec and GloVe, with or without a first line of counts, and word2vec's binary form.

The library that reads these forms, gensim, is a large dependency for one format. It allocates as many rows as the first line
declares, and holds all words as Python objects. Here plain Python reads bounded pieces: counts are checked against the size of
the file, and no line is longer than LINE bytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from io import BufferedReader, FileIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.base.signals import check
from relrep_cli.numerics.spool import spool
from relrep_cli.store.columns import described
from relrep_cli.store.files import HEAD, bad, mistaken, opened, size_of, sniff
from relrep_cli.store.found import Found
from relrep_cli.store.limits import SHORTEN, TEXT_WIDTH, padding_fault

LINE = 1 << 20  # bytes
DIMS = 1 << 16
ROWS = 1024  # lines that are converted at once
COUNTS = re.compile(rb"\s*(\d{1,12})\s+(\d{1,6})\s*")
FLOAT = re.compile(rb"[-+]?\d*\.\d*(e[-+]?\d+)?|[-+]?\d+e[-+]?\d+", re.IGNORECASE)


def read_words(path: Path, member: str | None) -> Found:
    """The vectors of a .txt, .vec, .glove or .bin file as float32 (n, d), words as ids. Raises DataError with the line.

    A table of numbers alone, as numpy.savetxt and thingsvision write, has no ids; those in `file_names.txt` beside it are
    taken if there is one for each row.
    """
    with opened(path) as raw:
        size, head = size_of(raw), os.pread(raw.fileno(), HEAD, 0)
        if head.startswith(b"\x89HDF"):  # names with these endings say little
            from relrep_cli.store.hdf5 import read_hdf5

            return read_hdf5(path, member)
        if member is not None:
            raise bad(path, "word vectors have no members", f"Write {printable(str(path), 1000)}.", member)
        first = head.partition(b"\n")[0]
        counts = COUNTS.fullmatch(first.rstrip(b"\r"))
        file: IO[bytes] = BufferedReader(raw, 1 << 20)
        if counts and (path.suffix.lower() == ".bin" or sniff(head) != "text"):
            return _binary(path, file, int(counts[1]), int(counts[2]), size)
        if sniff(head) != "text":
            raise mistaken(path, head, "word vectors")
        return _text(path, raw, file, counts is not None, size)


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
        words.append(word.lstrip(b"\n"))
        x[i] = np.frombuffer(content, "<f4")
    return Found(x, *described(path, {"id": _texts(path, words, size)}))


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


def _text(path: Path, raw: FileIO, file: IO[bytes], counted: bool, size: int) -> Found:
    """One line a word; words may hold spaces, so the last d cells are the vector."""
    sample = [file.readline(LINE) for _ in range(1 + 20)][counted:]
    cells = [line.split() for line in sample if line.strip()]
    if not cells or len(cells[0]) < 2:
        raise bad(path, "no lines of a word and its numbers", "Choose an --encoder if these are texts.")
    named = not all(FLOAT.fullmatch(line[0]) for line in cells)
    widths = sorted(map(len, cells))
    d = max(widths, key=widths.count) - named  # words may hold spaces, which few do
    if counted:
        file.seek(0)
        counts = COUNTS.fullmatch(file.readline(LINE).rstrip(b"\r\n"))
        d = int(counts[2]) if counts else d
    _check_counts(path, 1, d)
    file.seek(0)
    n = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) + 1 - counted  # one more than lines, maybe
    if n * d * 2 > 2 * size + 2 * d:
        raise bad(path, f"{n} lines of {d} numbers do not fit into {size} bytes", "Every line needs the same number.")
    file.seek(0)
    x, words = spool((n, d), np.float32), []
    at = 0
    for number, lines in _blocks(file, int(counted)):
        rows = [_cells(path, number + i, line, d, named) for i, line in enumerate(lines)]
        x[at : at + len(rows)] = _numbers(path, number, [row for _, row in rows])
        words += [word for word, _ in rows]
        at += len(rows)
    ids, obs = described(path, {"id": _texts(path, words, size)} if named else beside(path, at))
    return Found(x[:at], ids, obs)


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


def _cells(path: Path, number: int, line: bytes, d: int, named: bool) -> tuple[bytes, list[bytes]]:
    """The word and the numbers of one line."""
    parts = line.rstrip().rsplit(None, d) if named else line.split()
    row = parts[1:] if named else parts
    if len(row) != d or len(parts) != d + named:
        found = max(0, len(line.split()) - named)
        raise bad(path, f"line {number} holds {found} numbers, those before {d}", "Mend or remove it.")
    return parts[0] if named else b"", row


def _numbers(path: Path, number: int, rows: list[list[bytes]]) -> np.ndarray:
    try:
        return np.array(rows, "S").astype(np.float32)
    except ValueError:
        for i, row in enumerate(rows):
            for cell in row:
                try:
                    float(cell)
                except ValueError:
                    found = printable(cell[:40])
                    raise bad(path, f"line {number + i}: {found!r} is not a number", "Mend or remove it.") from None
        raise


def _check_counts(path: Path, n: int, d: int) -> None:
    if not (n > 0 and 0 < d <= DIMS):
        raise bad(path, f"its lines declare {n} vectors of {d} numbers; from 1 to {DIMS} are read", "Check what it is.")


def _texts(path: Path, words: list[bytes], size: int) -> np.ndarray:
    width = max(map(len, words), default=1)
    if fault := padding_fault(width * len(words), size):
        raise bad(path, fault, SHORTEN)
    return np.array(words, f"S{max(1, width)}")


def beside(path: Path, n: int) -> dict[str, Any]:
    """Columns of `file_names.txt` or `metadata.tsv` beside a file of n vectors: what thingsvision and the projector write.

    A list of names is ids where they are all different, else labels. A table has names of columns in its first row.
    """
    for name, separator in (("file_names.txt", None), ("metadata.tsv", "\t"), (f"{path.stem}.metadata.tsv", "\t")):
        place = path.with_name(name)
        if place == path or not place.is_file() or place.stat().st_size > 64 << 20:
            continue
        lines = place.read_bytes().decode("utf-8", "replace").removesuffix("\n").split("\n")
        rows = [line.rstrip("\r").split(separator) if separator else [line.rstrip("\r")] for line in lines]
        if len(rows) == n and all(len(row) == 1 for row in rows):
            values = [row[0] for row in rows]
            return {"id" if len(set(values)) == n and all(values) else "label": np.array(values)}
        if separator and len(rows) == n + 1 and all(len(row) == len(rows[0]) > 1 for row in rows):
            return _table(rows, n)
    return {}


def _table(rows: list[list[str]], n: int) -> dict[str, Any]:
    """The columns that are named as roles; without an id among them, the first that tells all rows apart."""
    from relrep_cli.store.columns import role

    columns = {name: [row[i] for row in rows[1:]] for i, name in enumerate(rows[0])}
    found = {kind: values for name, values in columns.items() if (kind := role(name))}
    if "id" not in found:
        whole = [values for values in columns.values() if len(set(values)) == n and all(values)]
        found |= {"id": whole[0]} if whole else {}
    return {name: np.array(values) for name, values in found.items()}
