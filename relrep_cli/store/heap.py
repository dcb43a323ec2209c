"""Text of variable length, followed into HDF5's global heap without libhdf5.

A slot in the dataset holds a length, the address of a heap collection and a number in it. libhdf5 loops for ever on a
collection with a free block of size 0, and copies one long string once for each of the thousand slots that point at it;
so lengths are bounded before any pointer is followed, and the collections are walked here.
"""

from __future__ import annotations

from array import array
from struct import Struct

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.numerics.spool import spool
from relrep_cli.store.chunks import Source, Stored, load
from relrep_cli.store.columns import blocks
from relrep_cli.store.files import AGAIN
from relrep_cli.store.limits import SHORTEN, TEXT_WIDTH, padding_fault
from relrep_cli.store.maps import mapped

COLLECTION = Struct("<4s4xQ")  # signature, version, size with this header
OBJECT = Struct("<H6xQ")  # number, count of references, size without this header; number 0 is free space, with its header
HEADER = 16  # bytes of either
GCOL = int.from_bytes(b"GCOL", "little")
NUMBERS = 1 << 16  # of objects in a collection
AT_ONCE = 1 << 19  # slots


def texts(source: Source, item: Stored) -> np.ndarray:
    """(n,) variable-length text as an "S" array as wide as the longest. Raises DataError for what cannot be honest."""
    slots = load(source, item).reshape(-1)
    width, total = 1, 0
    for rows in blocks(len(slots), slots.dtype.itemsize):
        lengths = slots["length"][rows]
        width, total = max(width, int(lengths.max())), total + int(lengths.sum(dtype=np.uint64))
    if total > source.size:
        raise source.bad(f"its texts are {total} bytes long in a file of {source.size}; the file is hostile", AGAIN, item.name)
    if width > TEXT_WIDTH:
        raise source.unusable(f"it holds a text of {width} bytes, at most {TEXT_WIDTH} are read", "Shorten it.", item.name)
    fault = padding_fault(len(slots) * width, slots.nbytes + total)
    if fault:
        raise source.unusable(fault, SHORTEN, item.name)
    out = spool((len(slots),), f"S{width}")
    heap = mapped(source.path, source.file, np.uint8, 0, (source.size,)).view(np.ndarray)
    for start in range(0, len(slots), AT_ONCE):
        check()
        rows = slice(start, start + AT_ONCE)
        try:
            _fill(heap, source.base, slots[rows], out[rows])
        except ValueError as error:
            raise source.bad(f"one of its texts {error}; the file is damaged or hostile", AGAIN, item.name) from None
    return out


def _fill(heap: np.ndarray, base: int, slots: np.ndarray, out: np.ndarray) -> None:
    """Copy the texts of `slots` into `out`; a slot of length 0 points nowhere. Raises ValueError for damage."""
    out[...] = b""
    rows = np.flatnonzero(slots["length"])
    if not len(rows):
        return
    addresses, numbers, lengths = (slots[field][rows] for field in ("address", "number", "length"))
    if int(addresses.max()) + base + HEADER > len(heap) or int(numbers.max()) >= NUMBERS:
        raise ValueError("points outside of the heap")
    at, numbers, lengths = addresses.astype(np.int64) + base, numbers.astype(np.int64), lengths.astype(np.int64)
    begins = _in_order(heap, at, numbers, lengths)
    left = np.flatnonzero(begins < 0)
    begins[left] = _walked(heap, at[left], numbers[left], lengths[left])
    _copy(heap, begins, lengths, rows, out)


def _in_order(heap: np.ndarray, at: np.ndarray, numbers: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """First bytes of texts that each follow the one before in its collection, as libhdf5 writes them; -1 where they do not.

    Every guess is checked against the header in front of the text, the collection's header, and what follows the last.
    """
    steps = HEADER + (lengths + 7 & ~7)
    starts = np.flatnonzero(np.r_[True, at[1:] != at[:-1]])
    sizes = np.diff(np.r_[starts, len(at)])
    before = np.cumsum(steps) - steps
    begins = at + 2 * HEADER + before - np.repeat(before[starts], sizes)
    end = at[starts] + _numbers(heap, at[starts] + 8)
    tail = begins[starts + sizes - 1] + steps[starts + sizes - 1] - HEADER
    good = (_numbers(heap, at[starts]) & 0xFFFFFFFF == GCOL) & (tail <= end) & (end <= len(heap))
    more = np.flatnonzero(good & (tail + HEADER <= end))
    free = _numbers(heap, tail[more]) & 0xFFFF == 0
    good[more] &= ~free | (_numbers(heap, tail[more] + 8) == end[more] - tail[more])
    known = np.repeat(good, sizes)
    places = np.where(known, begins, 2 * HEADER)
    known &= (_numbers(heap, places - HEADER) & 0xFFFF == numbers) & (_numbers(heap, places - 8) == lengths)
    return np.where(known, begins, -1)


def _numbers(heap: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(k,) the 64-bit numbers at k places."""
    return heap[at[:, None] + np.arange(8)].view("<i8")[:, 0]


def _walked(heap: np.ndarray, at: np.ndarray, numbers: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """First bytes of texts, found by walking their collections. Raises ValueError when one is missing or too short."""
    if not len(at):
        return at
    addresses, which = np.unique(at, return_inverse=True)
    keys, begins = (np.frombuffer(column, np.int64) for column in _objects(heap.data, addresses.tolist()))
    wanted = which * NUMBERS + numbers
    order = np.argsort(keys, kind="stable")
    places = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(order) - 1)] if len(order) else order
    if not len(order) or (keys[places] != wanted).any():
        raise ValueError("points at nothing in the heap")
    if (_numbers(heap, begins[places] - 8) < lengths).any():
        raise ValueError("is longer than its place in the heap")
    return begins[places]


def _objects(heap: memoryview, addresses: list[int]) -> tuple[array[int], array[int]]:
    """Key and first byte of every object in the collections at `addresses`. Raises ValueError for damage.

    The key is the collection's place in `addresses` times 65536, plus the object's number. Honest collections lie apart, so
    all of them together are no larger than the file, and the walk is no longer.
    """
    keys, begins, room = array("q"), array("q"), len(heap)
    for which, address in enumerate(addresses):
        signature, size = COLLECTION.unpack_from(heap, address)
        at, end, room = address + HEADER, address + size, room - size
        if signature != b"GCOL" or size < HEADER or end > len(heap) or room < 0:
            raise ValueError("points at no heap")
        while at + HEADER <= end:
            number, size = OBJECT.unpack_from(heap, at)
            begin = at + HEADER
            if size > end - (begin if number else at) or (size < HEADER and not number):
                raise ValueError("is in a heap whose sizes do not fit")
            if not number:
                break
            keys.append(which * NUMBERS + number)
            begins.append(begin)
            at = begin + (size + 7 & ~7)
    return keys, begins


def _copy(heap: np.ndarray, begins: np.ndarray, lengths: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    """out[rows] = the bytes that begin at `begins` and are `lengths` long."""
    width = out.dtype.itemsize
    target = out.view(np.uint8).reshape(len(out), width)
    for part in blocks(len(rows), 8 * width):
        span = np.arange(int(lengths[part].max()))
        inside = span < lengths[part][:, None]
        places = np.where(inside, begins[part][:, None] + span, 0)
        target[rows[part], : len(span)] = np.where(inside, heap[places], 0)
