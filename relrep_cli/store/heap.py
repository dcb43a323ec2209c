"""Text of variable length, followed into HDF5's global heap without libhdf5.

A slot in the dataset holds a length, the address of a heap collection and a number in it. libhdf5 loops for ever on a
collection with a free block of size 0, and copies one long string once for each of the thousand slots that point at it;
so lengths are bounded before any pointer is followed, and collections are walked here, many at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relrep_cli.signals import check
from relrep_cli.store.chunks import Source, Stored, load, mapped
from relrep_cli.store.columns import blocks
from relrep_cli.store.found import spool
from relrep_cli.store.limits import TEXT_WIDTH, padding_fault

NUMBERS = 1 << 16  # objects in a collection: their numbers have 16 bits
HEADER = 16
AT_ONCE = 1 << 19  # slots


def texts(source: Source, item: Stored) -> np.ndarray:
    """(n,) variable-length text as an "S" array as wide as the longest. Raises DataError for what cannot be honest."""
    slots = load(source, item).reshape(-1)
    width, total = 1, 0
    for rows in blocks(len(slots), HEADER):
        lengths = slots["length"][rows]
        width, total = max(width, int(lengths.max())), total + int(lengths.sum(dtype=np.uint64))
    if total > source.size:
        raise source.bad(f"its texts are {total} bytes long in a file of {source.size}. The file is hostile.", item.name)
    if width > TEXT_WIDTH:
        raise source.unusable(f"it holds a text of {width} bytes, at most {TEXT_WIDTH} are read. Shorten it.", item.name)
    fault = padding_fault(len(slots) * width, slots.nbytes + total)
    if fault:
        raise source.unusable(fault, item.name)
    out = spool((len(slots),), f"S{width}")
    heap = mapped(source, np.dtype(np.uint8), 0, (source.size,)).view(np.ndarray)
    for start in range(0, len(slots), AT_ONCE):
        check()
        rows = slice(start, start + AT_ONCE)
        _fill(source, item, heap, slots[rows], out[rows])
    return out


def _fill(source: Source, item: Stored, heap: np.ndarray, slots: np.ndarray, out: np.ndarray) -> None:
    """Copy the texts of `slots` into `out`. A slot of length 0 points nowhere."""
    full = np.flatnonzero(slots["length"])
    out[...] = b""
    if not len(full):
        return
    addresses, which = np.unique(slots["address"][full], return_inverse=True)
    lengths = slots["length"][full].astype(np.int64)
    try:
        if int(addresses[-1]) + source.base + HEADER > source.size or (slots["number"][full] >= NUMBERS).any():
            raise ValueError("points outside of the heap")
        parts = list(_objects(heap, addresses.astype(np.int64) + source.base))
        begins, sizes = _found(parts, which * NUMBERS + slots["number"][full])
        if (sizes < lengths).any():
            raise ValueError("is longer than its place in the heap")
    except ValueError as error:
        raise source.bad(f"one of its texts {error}. The file is damaged or hostile.", item.name) from None
    _copy(heap, begins, lengths, full, out)


Objects = tuple[np.ndarray, np.ndarray, np.ndarray]  # key, first byte and size of each


def _found(parts: list[Objects], wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First byte and size of the objects whose keys are `wanted`. Raises ValueError when one is missing."""
    if parts:
        keys, begins, sizes = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(keys, kind="stable")
        at = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(order) - 1)]
        if (keys[at] == wanted).all():
            return begins[at], sizes[at]
    raise ValueError("points at nothing in the heap")


def _objects(heap: np.ndarray, addresses: np.ndarray) -> Iterator[Objects]:
    """The objects of the heap collections at `addresses`: the i-th objects of all of them at the i-th step.

    The key is the collection's place in `addresses` times 65536, plus the object's number. Raises ValueError for damage.
    """
    head = _headers(heap, addresses)
    sizes = head[:, 8:].copy().view("<i8")[:, 0]
    if (
        (head[:, :4] != np.frombuffer(b"GCOL", np.uint8)).any()
        or (sizes < HEADER).any()
        or (sizes > len(heap) - addresses).any()
    ):
        raise ValueError("points at no heap")
    which, at, end = np.arange(len(addresses)), addresses + HEADER, addresses + sizes
    for _ in range(NUMBERS):
        inside = at + HEADER <= end
        which, at, end = which[inside], at[inside], end[inside]
        if not len(at):
            return
        head = _headers(heap, at)
        number, size = head[:, :2].copy().view("<u2")[:, 0].astype(np.int64), head[:, 8:].copy().view("<i8")[:, 0]
        used = number > 0  # number 0 is the free space at the end, whose size counts its header
        if (size < np.where(used, 0, HEADER)).any() or (size > end - at - np.where(used, HEADER, 0)).any():
            raise ValueError("is in a heap whose sizes do not fit")
        which, at, end, number, size = which[used], at[used], end[used], number[used], size[used]
        yield which * NUMBERS + number, at + HEADER, size
        at = at + HEADER + (size + 7) // 8 * 8


def _headers(heap: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(k, 16) the bytes at k places."""
    return heap[at[:, None] + np.arange(HEADER)]


def _copy(heap: np.ndarray, begins: np.ndarray, lengths: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    """out[rows] = the bytes that begin at `begins` and are `lengths` long."""
    width = out.dtype.itemsize
    target = out.view(np.uint8).reshape(len(out), width)
    for part in blocks(len(rows), 8 * width):
        span = np.arange(int(lengths[part].max()))
        inside = span < lengths[part][:, None]
        places = np.where(inside, begins[part][:, None] + span, 0)
        target[rows[part], : len(span)] = np.where(inside, heap[places], 0)
