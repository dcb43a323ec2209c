"""Measure jobs: whole processes in turns, CPU seconds, one thread."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from statistics import median

from benchmarks.common import CHECKOUT, RELREP, ratio, usage
from benchmarks.table.jobs import SCRIPTS, Job

Row = dict[str, object]


def commands(job: Job, named: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The command lines of relrep and of the peer."""
    ours, theirs = (shlex.split(line.format(**named)) for line in (job.ours, job.theirs))
    return [*RELREP, *ours], [sys.executable, str(SCRIPTS / theirs[0]), *theirs[1:]]


def measured(job: Job, named: Mapping[str, str], rounds: int) -> Row:
    """One row of the table: the median of rounds in which both take turns, after one that warms caches.

    rounds: 0 for a single one without.
    """
    ours, theirs = commands(job, named)
    times: tuple[list[float], list[float]] = ([], [])
    once = job.heavy or not rounds
    for number in range(1 if once else rounds + 1):
        for result, command in zip(times, (ours, theirs), strict=True):
            seconds = _seconds(command)
            if number or once:
                result.append(seconds)
    return row(job, median(times[0]), median(times[1]))


def row(job: Job, ours: float, theirs: float) -> Row:
    """What is stored of a job."""
    times = ratio(ours, theirs)
    reached = times if job.unit == "x" else ours
    return {
        "operation": job.operation,
        "shapes": job.shapes,
        "peer": job.peer,
        "ours": round(ours, 4),
        "theirs": round(theirs, 4),
        "ratio": round(times, 3),
        "goal": job.goal,
        "unit": job.unit,
        "met": None if job.goal is None else bool(reached <= job.goal),
    }


def _seconds(command: list[str]) -> float:
    """CPU seconds of a command; one that completes words, or that is meant to fail, included."""
    words = command[len(RELREP) :]
    if words[:1] == ["complete"]:
        typed = ["relrep", *words[1:]]
        asked = {"_RELREP_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(typed), "COMP_CWORD": str(len(typed) - 1)}
        return usage([*RELREP], asked, good=(0, 1))[0]
    return usage(command, {}, good=(0, 2, 3) if "missing.h5" in words else (0,))[0]


def fresh_environment() -> None:
    """The environment of all measured processes: compiled files are kept, and the checkout is the working folder."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.chdir(CHECKOUT)
