"""Progress in logs: a line a minute, where no terminal shows a bar."""

from __future__ import annotations

import time
from collections.abc import Callable

from relrep_cli.base.signals import check

LOG_INTERVAL = 60.0  # seconds between two lines


def line_a_minute(task: str, say: Callable[[str], None]) -> Callable[..., None]:
    """Return `advance(done, total, note)` for logs, which says what is done, the rate and the time left.

    It says so at most once in LOG_INTERVAL seconds, and raises Interrupted after a signal.
    """
    started = last_line = time.monotonic()

    def advance(done: float, total: int, note: str = "") -> None:
        nonlocal last_line
        check()
        now = time.monotonic()
        if now - last_line < LOG_INTERVAL or not 0 < done <= total:
            return
        last_line = now
        left = (now - started) * (total - done) / done
        rate = 60 * done / (now - started)
        say(f"{task}: {int(done)} of {total}, {rate:.3g} a minute, {_duration(left)} left.")

    return advance


def _duration(seconds: float) -> str:
    """
    >>> _duration(42), _duration(600), _duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
