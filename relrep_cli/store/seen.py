"""Digests that were checked before, with size, times and inode of their files: a file that is as it was needs no new check.

They are kept in the user's own cache folder, in a fixed number of small files. Where there is no such folder, digests are
checked in every run.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from relrep_cli.base.private_folder import private_folder
from relrep_cli.base.task_cache import Records, task_key

SLOTS = 4096  # files at most; another file may take the place of an older one
TICK = 20_000_000  # ns in which two changes may get the same time: Linux counts in steps of up to 10 ms
COARSE = 2_000_000_000  # ns on a file system that keeps whole seconds
TIMELESS = {"tmpfs", "ramfs", "hugetlbfs"}  # writes through a memory map leave the times of a file as they are
Stamp = tuple[int, ...]


def stamp_of(file: int) -> Stamp:
    """Size, time of the last change to content and to anything, and inode of an open file."""
    status = os.fstat(file)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def recall(place: tuple[str, str], stamp: Stamp | None) -> str:
    """The digest of the member and file `place` that was found when the file had this stamp; "" when nothing is known."""
    records = _records() if stamp is not None else None
    record = None if records is None else records.get(_slot(place))
    if record is None or record.get("place") != _named(place) or record.get("stamp") != list(stamp or ()):
        return ""
    return str(record.get("digest", ""))


def remember(place: tuple[str, str], stamp: Stamp | None, digest: str) -> None:
    """Keep what was found out about a file while it had this stamp; see `settled`, which must come first."""
    records = _records() if stamp is not None else None
    if records is None:
        return
    records.put(_slot(place), {"place": _named(place), "stamp": stamp, "digest": digest})
    records.close()


def remember_file(path: str, digest: str) -> None:
    """Keep the digest of a file that was just written."""
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY) if path != "-" else None
        if file is not None:
            try:
                stamp = stamp_of(file)
            finally:
                os.close(file)
            if settled((path, ""), stamp):
                remember((path, ""), stamp, digest)


def settled(place: tuple[str, str], stamp: Stamp | None) -> bool:
    """Whether any change to the file from now on will show in its stamp. Content is to be looked at after this only.

    That needs a clock that has moved on since the last change (this waits for it), and no page of the file that a program
    has mapped and written already: the first write to a page sets the time, later ones do not until it is on the disk.
    """
    if stamp is None:
        return False
    try:
        file = os.open(place[0], os.O_RDONLY)
    except OSError:
        return False
    try:
        if not _keeps_times(file) or not _waited(stamp):
            return False
        os.fsync(file)
        return stamp_of(file) == stamp
    except OSError:
        return False
    finally:
        os.close(file)


def _waited(stamp: Stamp) -> bool:
    """Wait until the clock has moved on since the last change; False where that would take long."""
    changed = max(stamp[1:3])
    whole = not any(t % 1_000_000_000 for t in stamp[1:3])
    left = changed + (COARSE if whole else TICK) - time.time_ns()
    if 0 < left <= TICK:
        time.sleep(left / 1e9)
    return left <= TICK


def _keeps_times(file: int) -> bool:
    """Whether a change to the file always changes its times."""
    device = os.fstat(file).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
            mount, _, system = line.partition(" - ")
            if mount.split()[2:3] == [number] and system.split()[0] in TIMELESS:
                return False
    return True


def _records() -> Records | None:
    folder = private_folder()
    return None if folder is None else Records(folder / "seen", quiet=True)


def _named(place: tuple[str, str]) -> str:
    """One name for a member of a file, whatever the folder it is named from."""
    return ascii((os.path.realpath(place[0]), place[1]))


def _slot(place: tuple[str, str]) -> str:
    return f"{int(task_key(_named(place)), 16) % SLOTS:016x}"
