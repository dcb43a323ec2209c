"""Texts of any number: their bytes in one mapped file, so that memory does not grow with them."""

from __future__ import annotations

import hashlib
import tempfile
from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST = 1 << 20  # bytes of one text


class Texts:
    """n texts as a read-only sequence: `texts[3:5]` and `texts[rows]` are lists of str, `shape` is (n,)."""

    def __init__(self, blob: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self.blob, self.ends = blob, ends

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.ends),)

    def __len__(self) -> int:
        return len(self.ends)

    def part(self, rows: slice) -> Texts:
        """Consecutive texts, as a sequence of the same kind."""
        begin = int(self.ends[rows.start - 1]) if rows.start else 0
        ends = self.ends[rows]
        return Texts(self.blob[begin : int(ends[-1]) if len(ends) else begin], ends - begin)

    def __getitem__(self, rows: Any) -> list[str]:
        numbers = np.arange(len(self))[rows]
        starts = np.where(numbers > 0, self.ends[numbers - 1], 0)
        return [self.blob[a:b].tobytes().decode() for a, b in zip(starts, self.ends[numbers], strict=True)]


def collected(texts: Iterable[bytes]) -> tuple[Texts, str]:
    """Texts in UTF-8, gathered in a temporary file that vanishes with the process, and their digest."""
    ends, digest, at = array("q"), hashlib.sha256(), 0
    with tempfile.TemporaryFile(prefix="relrep-") as file:
        for text in texts:
            file.write(text)
            at += len(text)
            ends.append(at)
            digest.update(b"%d\n" % len(text) + text)
        file.flush()
        blob = np.memmap(file, np.uint8, "r", 0, (at,)) if at else np.empty(0, np.uint8)
    return Texts(blob, np.array(ends, np.int64)), f"sha256:{digest.hexdigest()}"
