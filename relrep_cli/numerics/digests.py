"""Names of content: the digest of vectors with their ids, and a fast hash that finds changes (docs/format.md)."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

import numpy as np

from relrep_cli.numerics.blocks import row_blocks

PIECE = 1 << 20  # bytes under one CRC-32 of a checksum


def _terminated(ids: np.ndarray) -> bytes:
    r"""Concatenate the ids, each followed by a zero byte.

    >>> _terminated(np.array([b"a", b"bcd", b""]))
    b'a\x00bcd\x00\x00'
    """
    wide = ids.astype(f"S{ids.dtype.itemsize + 1}").view(np.uint8).reshape(len(ids), -1)
    return wide[np.arange(wide.shape[1]) <= np.strings.str_len(ids)[:, None]].tobytes()


class _Pieces:
    """A fast hash with the methods of hashlib's: the SHA-256 of the CRC-32 of every piece. It finds damage and edits in
    place at the speed of memory, where SHA-256 of everything costs a quarter of a comparison; it does not protect against an
    attacker.
    """

    name = "crc32"

    def __init__(self) -> None:
        self._sums, self._crc, self._filled = hashlib.sha256(), 0, 0

    def update(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while len(view):
            part = view[: PIECE - self._filled]
            self._crc, self._filled, view = zlib.crc32(part, self._crc), self._filled + len(part), view[len(part) :]
            if self._filled == PIECE:
                self._end()

    def _end(self) -> None:
        self._sums.update(self._crc.to_bytes(4, "little"))
        self._crc = self._filled = 0

    def hexdigest(self) -> str:
        """The name of all bytes so far; ends the last piece, so nothing can follow."""
        if self._filled:
            self._end()
        return self._sums.hexdigest()


class Digest:
    """A streaming sha256 of an embedding: `relrep-1`, shape, dtype and ids, then the bytes of X block by block.

    fast: instead a hash of the same bytes that is for finding changes only; see `checksum`.
    """

    def __init__(self, n: int, d: int, dtype: np.dtype, ids: np.ndarray, fast: bool = False) -> None:
        self._hash: Any = _Pieces() if fast else hashlib.sha256()
        self._hash.update(f"relrep-1\n{n} {d} {dtype.newbyteorder('=').name}\n".encode())
        for start in range(0, len(ids), 65536):
            self._hash.update(_terminated(ids[start : start + 65536]))
        self._dtype = dtype.newbyteorder("<")

    def update(self, block: np.ndarray) -> None:
        """Add the next rows of X."""
        self._hash.update(np.ascontiguousarray(block, dtype=self._dtype).data.cast("B") if block.size else b"")

    def name(self) -> str:
        return f"{self._hash.name}:{self._hash.hexdigest()}"


def digest(x: np.ndarray, ids: np.ndarray, fast: bool = False) -> str:
    """Compute the digest of (n, d) `x` with its ids, as docs/format.md defines it (little-endian, row by row).

    fast: the fast hash instead.
    """
    running = Digest(x.shape[0], x.shape[1], x.dtype, ids, fast)
    for block in row_blocks(*x.shape, x):
        running.update(x[block])
    return running.name()


def checksum(fast: str, stated: str) -> str:
    """What a file states beside its digest: the fast hash of the content and the digest that was true of it, in one."""
    return f"sha256:{hashlib.sha256(f'{fast} {stated}'.encode()).hexdigest()}"
