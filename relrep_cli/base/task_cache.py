"""Finished tasks of a job with many results, one small file each, so that running the job again does only what is missing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relrep_cli import __version__
from relrep_cli.base.errors import WriteError

LARGEST = 1 << 20  # bytes of one record
LONGEST_STEM = 48  # bytes of the output's name in that of its folder of records: names have at most 255
_unfinished: set[Path] = set()


@dataclass(frozen=True)
class Records:
    """A folder of records; without a folder nothing is kept. No locks: two jobs on one task cost time, not truth."""

    folder: Path | None
    keep: bool = True

    def get(self, key: str) -> dict[str, Any] | None:
        """The record of a task, None when it is missing or cannot be read."""
        with contextlib.suppress(ValueError, RecursionError):
            content = self.get_bytes(f"{key}.json", LARGEST)
            found = None if content is None else json.loads(content)
            return found if isinstance(found, dict) else None
        return None

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Keep a record, whole or not at all. Raises WriteError."""
        self.put_bytes(f"{key}.json", json.dumps(record).encode())

    def get_bytes(self, name: str, largest: int) -> bytes | None:
        """The file `name` of the folder, None when it is missing, cannot be read or has more than `largest` bytes."""
        if self.folder is None:
            return None
        with contextlib.suppress(OSError):
            path = self.folder / name
            if path.stat().st_size <= largest:
                return path.read_bytes()
        return None

    def put_bytes(self, name: str, content: bytes) -> None:
        """Keep a file, whole or not at all. Raises WriteError."""
        if self.folder is None:
            return
        temporary = self.folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            os.replace(temporary, self.folder / name)
            _unfinished.add(self.folder)
        except OSError as error:
            raise WriteError(
                f"could not keep a record: {error.strerror}",
                "Check the room and the permissions of the folder.",
                file=str(self.folder),
            ) from None
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def close(self) -> None:
        """The job is done: remove records that served only to resume it."""
        if self.folder is None:
            return
        _unfinished.discard(self.folder)
        if self.keep:
            return
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                path.unlink()
            self.folder.rmdir()


def unfinished() -> list[Path]:
    """Folders of records that this process kept for jobs which it has not finished."""
    return sorted(_unfinished)


def records_for(output: str, cache: str | None, force: bool) -> Records:
    """Where the records of a job go: the folder `cache`, else a hidden one beside `output`, else nowhere."""
    if cache:
        return Records(Path(cache))
    if not output or output == "-":
        return Records(None)
    name = Path(output).name
    if len(os.fsencode(name)) > LONGEST_STEM:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:LONGEST_STEM]
    records = Records(Path(output).parent / f".{name}.relrep-records", keep=False)
    if force:
        records.close()
    return records


def task_key(*parts: Any) -> str:
    """The name of a task: equal for equal inputs, parameters and version of relrep, wherever it runs."""
    return hashlib.sha256(json.dumps([__version__, *parts], sort_keys=True).encode()).hexdigest()[:32]
