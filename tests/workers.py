"""For tests that kill: the processes that a run of relrep has started for its tasks."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes of the engine room that this one has started."""
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"engine.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    except OSError:
        return []


def kill_a_worker(process: subprocess.Popen[bytes], log: Path) -> None:
    """Kill one of its workers as soon as the log tells of a finished task."""
    for _ in range(3000):
        if log.exists() and log.stat().st_size and (actual := workers_of(process)):
            os.kill(actual[0], signal.SIGKILL)
            return
        assert process.poll() is None, "it ended before a worker could be killed"
        time.sleep(0.02)
    raise AssertionError("no task has finished")
