"""Rows of one file that several processes compute: each writes its range into the file, and this process takes the digest.

The unfinished file and a record of every finished range lie in the folder of records beside the output. So the range of a
process that dies is written again, and a run that was stopped goes on with the ranges that are missing.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, WriteError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.signals import check
from relrep_cli.base.task_cache import Records, task_key
from relrep_cli.engine.jobs import Advance, Job, Task, named
from relrep_cli.engine.log import log_finished
from relrep_cli.engine.running import Engine, outcomes
from relrep_cli.numerics.blocks import all_finite
from relrep_cli.store.writing import published_from, reserve

PIECE = 8 << 20  # bytes that are read back at once
LARGE = 32 << 20  # bytes of the rows of one task
Blocks = Callable[[int, int], Iterator[np.ndarray]]  # the rows from one number to another, in blocks


@dataclass(frozen=True)
class SharedRows:
    """Who computes the rows of a file.

    title: for progress. setup: `module:name` of the function that makes the Blocks of a process from `shared`. step: rows of a
    task, see `rows_of_task`. records: where finished ranges are kept. name: of the computation.
    """

    title: str
    setup: str
    shared: Any
    step: int
    engine: Engine
    records: Records
    name: str

    @contextmanager
    def file(self, target: str, force: bool, size: int) -> Iterator[Path]:
        """The unfinished file, which becomes `target` when the block ends without an exception."""
        folder = self.records.folder
        assert folder is not None
        path = folder / f"{self.name}.h5"
        with published_from(path, target, force):
            self.records.share()
            if self.offset(path) is None:
                folder.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):
                    path.unlink()
                reserve(path, size)
            yield path

    def offset(self, path: Path) -> int | None:
        """Where the rows begin in a file that an earlier run has laid out; None without one."""
        known = self.records.get(task_key(self.name, "layout"))
        whole = known is not None and path.is_file() and path.stat().st_size == known["size"]
        return int(known["offset"]) if known is not None and whole else None

    def laid_out(self, path: Path, offset: int) -> None:
        """Keep that the file has its full size, and its rows begin at `offset`."""
        self.records.put(task_key(self.name, "layout"), {"offset": offset, "size": path.stat().st_size})

    def rows(self, path: Path, offset: int, shape: tuple[int, int], dtype: np.dtype) -> Iterator[np.ndarray]:
        """Have the missing ranges written, and yield all rows of the file in order, once they are there."""
        place = Place(str(path), offset, shape[1], dtype.str, str(self.records.folder), self.name, self.setup, self.shared)
        ranges = [(start, min(start + self.step, shape[0])) for start in range(0, shape[0], self.step)]
        there = {span for span in ranges if _is_written(place, span, self.records)}
        tasks = [Task(span, _label(span)) for span in ranges if span not in there]
        log_finished(self.engine.log, self.title, [_label(span) for span in ranges if span in there])
        written = outcomes(Job(self.title, f"{__name__}:write_range", f"{__name__}:writer_of", place, tasks), self.engine)
        for span in ranges:
            wanted = None
            if span not in there:
                outcome = next(written)
                if outcome.error is not None:
                    raise outcome.error
                wanted = outcome.result
            crc = 0
            for block in _read_back(place, span):
                crc = zlib.crc32(block.data, crc)
                yield block
            if wanted not in (None, crc):
                finding = f"{_label(span)} are not what another process has written"
                raise WriteError(finding, "Name a folder that all machines share.", file=str(path))
        for _ in written:  # let the engine close its log
            raise RuntimeError("more ranges than tasks")


@dataclass(frozen=True)
class Place:
    """Where rows go: a file of rows of `width` numbers from `offset` on. The rest as in SharedRows."""

    path: str
    offset: int
    width: int
    dtype: str
    folder: str
    name: str
    setup: str
    shared: Any

    def at(self, row: int) -> int:
        """Where a row begins in the file."""
        return self.offset + row * self.width * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Writer:
    """The state of a process that computes rows."""

    place: Place
    blocks: Blocks
    records: Records


def rows_of_task(tile: int, width: int) -> int:
    """How many rows one task computes: whole tiles. width: of the wider of input and output."""
    return max(1, LARGE // (8 * tile * max(1, width))) * tile


def writer_of(place: Place) -> Writer:
    """The state of a process of its own."""
    return Writer(place, named(place.setup)(place.shared), Records(Path(place.folder), keep=False))


def write_range(writer: Writer, advance: Advance, start: int, stop: int) -> int:
    """Compute rows and write them into the file. Returns the CRC-32 of their bytes."""
    place, row, crc = writer.place, start, 0
    try:
        with open(place.path, "r+b", buffering=0) as file:
            file.seek(place.at(start))
            for block in writer.blocks(start, stop):
                check()
                ready = finite(block, np.dtype(place.dtype), row)
                view = ready.data.cast("B") if ready.size else memoryview(b"")
                crc, row = zlib.crc32(view, crc), row + len(ready)
                while len(view):
                    view = view[os.write(file.fileno(), view[: 1 << 20]) :]
                advance((row - start) / (stop - start))
            os.fsync(file.fileno())  # before another machine reads it
    except OSError as error:  # another job may have finished the same file and removed this one
        raise WriteError(f"could not write: {error.strerror or error}", "Try again.", file=place.path) from None
    if row != stop:
        raise RuntimeError(f"{row - start} rows came for {stop - start}")
    writer.records.put(_key(place, (start, stop)), {"crc": crc})
    return crc


def finite(block: np.ndarray, dtype: np.dtype, row: int) -> np.ndarray:
    """The rows from number `row` on, as they are stored. Raises DataError for numbers that the dtype cannot hold."""
    with np.errstate(over="ignore"):  # said below
        ready = np.ascontiguousarray(block, dtype)
    if not all_finite(ready):
        bad = row + int(np.argmin(np.isfinite(ready).all(1)))
        raise DataError(f"row {bad} holds a number out of range for {dtype.name}", "Write --dtype float64.")
    return ready


def _label(span: tuple[int, int]) -> str:
    return f"rows {span[0]} to {span[1]}"


def _key(place: Place, span: tuple[int, int]) -> str:
    return task_key(place.name, "rows", *span)


def _is_written(place: Place, span: tuple[int, int], records: Records) -> bool:
    """Whether an earlier run has written these rows, and they are still what it has written."""
    known = records.get(_key(place, span))
    if known is None:
        return False
    crc = 0
    for block in _read_back(place, span):
        crc = zlib.crc32(block.data, crc)
    return bool(crc == known.get("crc"))


def _read_back(place: Place, span: tuple[int, int]) -> Iterator[np.ndarray]:
    dtype = np.dtype(place.dtype)
    rows = max(1, PIECE // max(1, dtype.itemsize * place.width))
    with open(place.path, "rb", buffering=0) as file:  # opened anew: on a network file system, that shows what others wrote
        for start in range(*span, rows):
            check()
            count = min(rows, span[1] - start)
            block = np.fromfile(file, dtype, count * place.width, offset=place.at(start) - file.tell())
            yield block.reshape(count, place.width)
