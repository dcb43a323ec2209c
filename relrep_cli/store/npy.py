"""NumPy's .npy: the header parsed here, never evaluated; pickles never opened; data mapped where it lies.

numpy.load evaluates the header as a Python literal, opens pickles where it is allowed to, and believes the declared shape: a
header of a few bytes can make it ask for terabytes. Here the header is matched by a pattern and its size compared with the
file's before anything is mapped.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.store.arrays import Array, check_embedding, matrix
from relrep_cli.store.beside import columns_beside
from relrep_cli.store.files import HEAD, bad, mistaken, opened, size_of
from relrep_cli.store.found import Found
from relrep_cli.store.maps import mapped
from relrep_cli.store.reading import PLAIN, Reading

MAGIC = b"\x93NUMPY"
HEADER = 4096  # bytes; a plain array's header has 128
ITEM = re.compile(
    r"""\s*(['"])(?P<key>descr|fortran_order|shape)\1\s*:\s*
    (?:(['"])(?P<text>[^'"]{1,32})\3|(?P<bool>True|False)|\((?P<ints>[\d\sL,]{0,800})\)|(?P<fields>\[))
    \s*(?:,|(?=\}))""",
    re.VERBOSE,
)
BFLOAT16 = "V2"  # ml_dtypes gives NumPy its bytes without a name
KINDS = {"O": "object (a pickle, which is never opened)", "V": "void or structured", "M": "datetime", "m": "timedelta"}


@dataclass(frozen=True)
class Header:
    dtype: np.dtype | None
    kind: str
    shape: tuple[int, ...]
    fortran: bool
    offset: int  # of the data, from the start of the header

    @property
    def stored(self) -> int:
        """Bytes of data that the header declares; 0 for types that are not read."""
        return prod(self.shape) * self.dtype.itemsize if self.dtype is not None else 0


def read_npy(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
    """The (n, d) array of an .npy file, mapped unless it needs converting. Raises DataError."""
    if member is not None:
        raise bad(path, "an .npy file holds one array and no members", f"Write {printable(str(path), 1000)}.", member)
    array = arrays_in_npy(path)[0]
    check_embedding(path, array, None)
    content = matrix(path, array, None, reading)
    return replace(content, **columns_beside(path, len(content.x)))


def arrays_in_npy(path: Path) -> list[Array]:
    """The array of an .npy file, by its header. Raises DataError."""
    with opened(path) as file:
        head, size = os.pread(file.fileno(), HEADER + 12, 0), size_of(file)
    if not head.startswith(MAGIC):
        raise mistaken(path, head[:HEAD], "a NumPy array (.npy)")
    header = parse(path, head, None)

    def read() -> np.ndarray:
        check_size(path, header, size - header.offset, None)
        with opened(path) as file:
            return values(path, file, header, header.offset)

    return [Array(path.stem, header.shape, header.dtype, header.kind, read)]


def parse(path: Path, head: bytes, member: str | None) -> Header:
    """The header in the first bytes of an .npy file or member. Raises DataError when it is damaged."""
    start = {b"\x01\x00": 10, b"\x02\x00": 12, b"\x03\x00": 12}.get(head[6:8])
    if not head.startswith(MAGIC) or start is None:
        raise bad(path, "not a NumPy array of version 1, 2 or 3", "Save it again with numpy.save.", member)
    end = start + int.from_bytes(head[8:start], "little")
    if len(head) < min(end, HEADER) or end > HEADER:
        raise bad(path, f"its NumPy header claims {end} bytes; {len(head)} could be read", "Save it again.", member)
    items = _items(head[start:end].decode("latin-1").strip())
    if items is None or not isinstance(items.get("shape"), tuple) or not isinstance(items.get("fortran_order"), bool):
        raise bad(path, "its NumPy header is not that of a plain array", "Save it again with numpy.save.", member)
    dtype, kind = _dtype(items.get("descr"))
    return Header(dtype, kind, items["shape"], items["fortran_order"], end)


def _items(text: str) -> dict[str, Any] | None:
    """The three entries of a header's dict, read without evaluating it; None when it is anything else."""
    items: dict[str, Any] = {}
    at = 1
    while match := ITEM.match(text, at):
        if match["key"] in items:
            return None
        items[match["key"]] = _value(match)
        at = match.end()
    structured = "descr" not in items and re.search(r"['\"]descr['\"]\s*:\s*\[", text)
    if structured:
        return {"descr": "V", "shape": (), "fortran_order": False}
    whole = text[:1] == "{" and text[at:].strip() == "}" and len(items) == 3
    return items if whole else None


def _value(match: re.Match[str]) -> str | bool | tuple[int, ...] | None:
    if match["text"]:
        return match["text"]
    if match["bool"]:
        return match["bool"] == "True"
    sizes = [size.strip().removesuffix("L") for size in (match["ints"] or "").rstrip(", ").split(",")]
    if sizes == [""]:
        return ()
    return tuple(map(int, sizes)) if len(sizes) <= 32 and all(s.isdecimal() and len(s) < 20 for s in sizes) else None


def _dtype(descr: object) -> tuple[np.dtype | None, str]:
    """The type that a header names, None unless numbers or text, and how a message calls it."""
    if not isinstance(descr, str) or not re.fullmatch(r"[<>|=]?[biufcSU]\d{1,6}", descr):
        code = str(descr).lstrip("<>|=")
        if code == BFLOAT16:
            return None, "void of 2 bytes, as bfloat16 is saved"
        return None, KINDS.get(code[:1], printable(code, 40))
    try:
        dtype = np.dtype(descr)
    except (TypeError, ValueError):
        return None, printable(descr)
    return dtype, dtype.name


def values(path: Path, file: FileIO, header: Header, offset: int) -> np.ndarray:
    """The array's data as a read-only memory map."""
    assert header.dtype is not None, "types that are not read have been refused"
    if not header.stored:
        return np.empty(header.shape, header.dtype)
    order: Literal["C", "F"] = "F" if header.fortran else "C"
    return mapped(path, file, header.dtype, offset, header.shape, order)


def check_size(path: Path, header: Header, size: int, member: str | None) -> None:
    if header.dtype is not None and header.stored != size:
        raise bad(path, f"its header declares {header.stored} bytes of data, {size} are there", "Save it again.", member)
