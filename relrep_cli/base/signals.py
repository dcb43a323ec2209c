"""INT, TERM and HUP end any command soon, with the right code and no temporary file left.

A handler that raises is swallowed inside h5py's callbacks, so handlers only set a flag, which `check` turns into an
exception between blocks. Python runs handlers only between bytecodes, so a second line of defence watches from a thread:
when the program has not left within GRACE seconds, it removes the temporary files and exits.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from types import FrameType

GRACE = 2.0
_pending: list[int] = []
_temporaries: set[Path] = set()


class Interrupted(BaseException):
    """A signal asked the program to end; `code` is the exit status a shell expects, 128 + its number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


def ended() -> int:
    """The exit status for the signal that has arrived, 0 if none has."""
    return 128 + _pending[0] if _pending else 0


def check() -> None:
    """Raise Interrupted if a signal has arrived. Called between blocks, batches and tasks."""
    if _pending:
        raise Interrupted(_pending[0])


def install() -> None:
    """Take over INT, TERM and HUP for this process; a signal that was ignored at the start (nohup) stays ignored."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watched = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    for number in watched:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _note)
    threading.Thread(target=_watch, args=(reader, watched), daemon=True).start()


def _note(number: int, frame: FrameType | None) -> None:
    if _pending:
        leave(128 + number)
    _pending.append(number)


def _watch(reader: int, watched: set[signal.Signals]) -> None:
    """Give the program GRACE seconds after a signal, even when it sits in one long call of C code."""
    while True:
        got = os.read(reader, 1)
        if not got:
            return
        if got[0] in watched:
            threading.Event().wait(GRACE)
            leave(128 + got[0])


def leave(code: int) -> None:
    """End at once, without a word from Python's own shutdown, and leave no temporary file."""
    for path in list(_temporaries):
        with contextlib.suppress(OSError):
            path.unlink()
    os._exit(code)


@contextlib.contextmanager
def temporary(path: Path):  # type: ignore[no-untyped-def]
    """Within, `path` is removed if a signal ends the program; afterwards too, if it is still there."""
    _temporaries.add(path)
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        _temporaries.discard(path)
