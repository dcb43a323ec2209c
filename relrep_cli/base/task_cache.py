"""Finished tasks of a job with many results, one small file each, so that running the job again does only what is missing.

A record is a line with the SHA-256 of its name and content, and the content. A record that does not match its line, or has
none, is not used: its task runs again. A folder that cannot be written costs time only: the results themselves are there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from dataclasses import field
from pathlib import Path
from typing import Any

from relrep_cli import __version__
from relrep_cli.base.errors import UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import say

LARGEST = 1 << 20  # bytes of one record
LONGEST_STEM = 48  # bytes of the output's name in that of its folder of records: names have at most 255
HEAD = "relrep-record 1"  # then the version that wrote it, and the hash
LONGEST_HEAD = 256  # bytes
_unfinished: set[Path] = set()
_used = [0, 0]  # how many records this process has read and used, and how many it has made


@dataclass
class _State:
    """What a run has met: records that could not be used, and whether the folder can still be written."""

    damaged: set[str] = field(default_factory=set)  # by their names, since a record may be looked up twice
    broken: bool = False


@dataclass(frozen=True)
class Records:
    """A folder of records; without a folder nothing is kept. There are no locks: two jobs that run the same task waste time,
    and get the same result.

    keep: whether the records outlive the job. quiet: print no notes about failures.
    """

    folder: Path | None
    keep: bool = True
    quiet: bool = False
    _state: _State = field(default_factory=_State, repr=False, compare=False)

    def get(self, key: str) -> dict[str, Any] | None:
        """The record of a task, None when it is missing or cannot be used."""
        content = self.get_bytes(f"{key}.json", LARGEST)
        with contextlib.suppress(ValueError, RecursionError):
            record = None if content is None else json.loads(content)
            return record if isinstance(record, dict) else None
        return None

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Keep a record, whole or not at all."""
        self.put_bytes(f"{key}.json", json.dumps(record).encode())

    def get_bytes(self, name: str, largest: int) -> bytes | None:
        """The content of the record `name`, None when it is missing, cannot be used or has more than `largest` bytes."""
        if self.folder is None:
            return None
        try:
            content = read_record(self.folder / name, largest)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            if not self._state.damaged:
                why = error.strerror if isinstance(error, OSError) else error
                self._say(f"{self.folder}: record {name} cannot be used ({why}); its task runs again.")
            self._state.damaged.add(name)
            return None
        _used[0] += 1
        return content

    def put_bytes(self, name: str, content: bytes) -> None:
        """Keep a record, whole or not at all. When that fails, say so once, and keep nothing more."""
        _used[1] += 1
        if self.folder is None or self._state.broken:
            return
        try:
            try:
                _write(self.folder, name, content)
            except FileNotFoundError:  # another job has just removed the folder, because it is done
                _write(self.folder, name, content)
            _unfinished.add(self.folder)
        except OSError as error:
            self._state.broken = True
            why = "it is not a folder" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
            self._say(f"{self.folder}: cannot keep finished results ({why}); goes on without them.")

    def _say(self, note: str) -> None:
        if not self.quiet:
            say(note)

    def share(self) -> None:
        """Declare that other processes keep records here for this job, so that `unfinished` names the folder."""
        if self.folder is not None:
            _unfinished.add(self.folder)

    def close(self, whole: bool = True) -> None:
        """The job is done: remove records that served only to resume it. Unless the result is whole, they stay: when a file is
        mended, the other results are there."""
        if self.folder is None:
            return
        if len(self._state.damaged) > 1:
            self._say(f"{self.folder}: {len(self._state.damaged)} records could not be used; their tasks ran again.")
        _unfinished.discard(self.folder)
        if self.keep or not whole:
            return
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                path.unlink()
            self.folder.rmdir()


def read_record(path: Path, largest: int) -> bytes:
    """The content of a record. Raises OSError, and ValueError with what is wrong with it."""
    with open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if status.st_size > largest + LONGEST_HEAD:
            raise ValueError("it is too large")
        head = os.pread(file.fileno(), LONGEST_HEAD, 0).partition(b"\n")[0]
        words = head.decode("ascii", "replace").split(" ")
        if " ".join(words[:2]) != HEAD or len(words) != 4:
            raise ValueError("relrep did not write it")
        file.seek(len(head) + 1)
        content = file.read(largest + 1) or b""
    if _seal(path.name, words[2], content) != words[3]:
        raise ValueError("it is damaged")
    return content


def version_of(path: Path) -> str:
    """The version of relrep that wrote a record, "" when the file does not say."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        words = file.read(LONGEST_HEAD).partition(b"\n")[0].decode("ascii", "replace").split(" ")
        return printable(words[2], 40) if len(words) == 4 and " ".join(words[:2]) == HEAD else ""
    return ""


def _write(folder: Path, name: str, content: bytes) -> None:
    temporary = folder / f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(f"{HEAD} {__version__} {_seal(name, __version__, content)}\n".encode())
            file.write(content)
        os.replace(temporary, folder / name)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _seal(name: str, version: str, content: bytes) -> str:
    running = hashlib.sha256(f"{name}\n{version}\n".encode())
    running.update(content)
    return running.hexdigest()


def records_used() -> tuple[int, int]:
    """How many records this process has read so far, and how many it has made: a task that makes none is finished already."""
    return _used[0], _used[1]


def unfinished() -> list[Path]:
    """Folders of records that this process kept for jobs which it has not finished."""
    return sorted(_unfinished)


def records_in(folder: str) -> Records:
    """The records in the folder of --cache, which is made when the first is kept. Raises UsageError when it is a file."""
    with contextlib.suppress(OSError, ValueError):
        if stat.S_ISDIR(os.stat(folder).st_mode):
            return Records(Path(folder))
        raise UsageError("is not a folder", "Name a folder for finished results.", file=folder, place="--cache")
    return Records(Path(folder))


def records_for(output: str, cache: str | None) -> Records:
    """Where the records of a job go: the folder `cache`, else a hidden one beside `output`, else nowhere.

    Their keys name content and settings, so what an earlier run left there is right with --force, too.
    """
    if cache:
        return records_in(cache)
    if not output or output == "-":
        return Records(None)
    name = Path(output).name
    if len(os.fsencode(name)) > LONGEST_STEM:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:LONGEST_STEM]
    return Records(Path(output).parent / f".{name}.relrep-records", keep=False)


def task_key(*parts: Any) -> str:
    """The name of a task: equal for equal inputs, parameters and version of relrep, wherever it runs."""
    return hashlib.sha256(json.dumps([__version__, *parts], sort_keys=True).encode()).hexdigest()[:32]
