"""Columns beside an embedding as they are kept: text as UTF-8, numbers as float64."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.numerics.blocks import release
from relrep_cli.store.files import bad
from relrep_cli.store.limits import TEXT_WIDTH

BLOCK = 16 << 20
START = 128  # bytes of a long text that its short form begins with


def blocks(n: int, row_bytes: int, *mapped: np.ndarray) -> Iterator[slice]:
    """Slices of n rows, each of about 16 MiB. Looks for a pending signal between them, and releases them in `mapped`."""
    step = max(1, BLOCK // max(1, row_bytes))
    for start in range(0, n, step):
        check()
        rows = slice(start, min(start + step, n))
        yield rows
        for values in mapped:
            release(values, rows)


def column(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    """One column (n,) as "S" or float64. Raises DataError when its values are neither text nor numbers."""
    kind = values.dtype.kind
    if kind == "S":
        _check_utf8(path, name, values)
        return shrunk(path, name, values)
    if kind == "U":
        return shrunk(path, name, _encoded(path, name, values))
    if kind in "iub":
        return shrunk(path, name, values.astype("S"))
    if kind == "f" and name != "id":
        return values.astype(np.float64)
    remedy = "Save it as whole numbers, with astype('int64'), or as text." if kind == "f" else "Save it as text."
    raise bad(path, f"the {name} column holds {values.dtype.name}", remedy)


def shortened(text: bytes) -> bytes:
    """A text that is too long for an id or a label as its start and its SHA-256, which tells it apart as well."""
    if len(text) <= TEXT_WIDTH:
        return text
    start = text[:START].decode(errors="ignore")
    return f"{start}… sha256:{hashlib.sha256(text).hexdigest()}".encode()


def shrunk(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    """Text no wider than its longest. Raises DataError when one text is too long."""
    widths = np.strings.str_len(values)
    width = int(widths.max(initial=1))
    if width > TEXT_WIDTH:
        row = int(widths.argmax()) + 1
        raise bad(path, f"item {row}: its {name} is {width} bytes long; at most {TEXT_WIDTH} are read", "Shorten it.")
    return values if values.dtype.itemsize == width else values.astype(f"S{max(1, width)}")


def _check_utf8(path: Path, name: str, values: np.ndarray) -> None:
    width = values.dtype.itemsize
    for rows in blocks(len(values), width + 1, values):
        try:
            values[rows].astype(f"S{width + 1}").tobytes().decode()  # a NUL after each keeps neighbours apart
        except UnicodeDecodeError as error:
            row = rows.start + error.start // (width + 1)
            raise bad(path, f"item {row + 1}: its {name} is not UTF-8", "Save it as UTF-8.") from None


def _encoded(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.itemsize == 0:
        return np.zeros(values.shape, "S1")
    return np.concatenate([_encoded_block(path, name, values[rows]) for rows in blocks(len(values), values.dtype.itemsize)])


def _encoded_block(path: Path, name: str, block: np.ndarray) -> np.ndarray:
    block = np.ascontiguousarray(block, block.dtype.newbyteorder("="))
    points = block.view(np.uint32).reshape(len(block), -1)
    highest = points.max(initial=0)
    if highest < 128:  # ASCII: its bytes are its code points
        return points.astype(np.uint8).view(f"S{points.shape[1]}").reshape(len(block))
    try:
        if highest > sys.maxunicode:  # Python would end in a SystemError
            raise ValueError
        return np.char.encode(block, "utf-8")
    except ValueError:
        raise bad(path, f"the {name} column holds characters that are not Unicode", "Save it as UTF-8.") from None


class ColumnDigest:
    """A running digest of a column of texts, so that two files can be compared without keeping it."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def update(self, values: Iterable[bytes]) -> None:
        for value in values:
            self.hash.update(b"%d:" % len(value) + value)

    def name(self) -> str:
        return self.hash.hexdigest()


def texts_in_json(content: str, n: int) -> tuple[str, ...]:
    """The n texts or whole numbers of a JSON list; () for anything else.

    >>> texts_in_json('["a", "b"]', 2), texts_in_json("resnet", 2)
    (('a', 'b'), ())
    """
    if not content.startswith("["):
        return ()
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return ()
    plain = len(values) == n and all(type(value) in (str, int) for value in values)
    return tuple(str(value) for value in values) if plain and max(len(str(v)) for v in values) <= TEXT_WIDTH else ()


def check_ids(path: Path, ids: np.ndarray) -> None:
    """Raise DataError for an empty id."""
    empty = ids == b""
    if empty.any():
        raise bad(path, f"item {int(empty.argmax()) + 1} has an empty id", "Give every item an id.")


def named_split(split: np.ndarray) -> np.ndarray:
    """`split` (n,) with train and test for 0 and 1."""
    if split.dtype.kind == "S" and ((split == b"0") | (split == b"1")).all():
        return np.where(split == b"0", b"train", b"test")
    return split
