"""Progress in logs: a line a minute, where no terminal shows a bar."""

from __future__ import annotations

import time
from collections.abc import Callable

from relrep_cli.base.signals import check

FIRST, LOG_INTERVAL = 15.0, 60.0  # seconds before the first line, and between two lines


def line_a_minute(task: str, say: Callable[[str], None]) -> Callable[..., None]:
    """Return `advance(done, total, note)` for logs, which says what is done, the rate and the time left.

    It says so after FIRST seconds, then at most once in LOG_INTERVAL seconds, and raises Interrupted after a signal.
    """
    started = time.monotonic()
    next_line = started + FIRST

    def advance(done: float, total: int, note: str = "") -> None:
        nonlocal next_line
        check()
        now = time.monotonic()
        if now < next_line or not 0 < done <= total:
            return
        next_line = now + LOG_INTERVAL
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
