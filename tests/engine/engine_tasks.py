"""Tasks for the tests of the engine room, in a module that is quick to import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from relrep_cli.base.errors import DataError
from relrep_cli.base.output import say
from relrep_cli.base.task_cache import Records


def start(shared: Any) -> dict[str, Any]:
    """The state: what is shared, and the tasks that this process has done."""
    return {"shared": shared, "done": []}


def square(state: dict[str, Any], advance: Any, number: int) -> tuple[int, int]:
    advance(0.5)
    say("squaring")
    state["done"].append(number)
    return number * number, len(state["done"])


def refuse_odd(state: dict[str, Any], advance: Any, number: int) -> int:
    if number % 2:
        raise DataError(f"{number} is odd", "Double it.", file="x.npy")
    return number


def fall_once(state: dict[str, Any], advance: Any, number: int) -> int:
    """Kill the own process, the first time that task 2 or 150 is done; state["shared"] is a folder."""
    mark = Path(state["shared"]) / f"{number}"
    if number in (2, 150) and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fall_always(state: dict[str, Any], advance: Any, number: int) -> int:
    if number in (1, 150):
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def crash(state: dict[str, Any], advance: Any, number: int) -> int:
    raise ZeroDivisionError("a bug")


def nap(state: dict[str, Any], advance: Any, number: int) -> int:
    time.sleep(0.2)
    return number


def fall_with_parent(state: dict[str, Any], advance: Any, number: int) -> int:
    """Kill the process that hosts this one, the first time that task 1 is done; state["shared"] is a folder."""
    mark = Path(state["shared"]) / f"{number}"
    if number == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return number


def remember(state: dict[str, Any], advance: Any, number: int) -> int:
    """Keep the square of an even number as a record in the folder state["shared"]; refuse odd ones."""
    records = Records(Path(state["shared"]))
    if (known := records.get(f"{number}")) is not None:
        return int(known["square"])
    if number % 2 == 0:
        records.put(f"{number}", {"square": number * number})
    return refuse_odd(state, advance, number)
