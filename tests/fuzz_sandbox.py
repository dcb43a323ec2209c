"""Read many damaged files in one process, which may crash, hang or swell without harm to the others.

A reader that guards itself with a child process for each file would spend its time on forks. Here its guarded part runs in
the sandbox itself, with the same limits for each file. What is not read or refused there is tried again alone, with
its own child processes, and that verdict counts. Where that costs seconds, because a library is slow to import, a death
within the guarded part counts as it is: a user's process loses a child then, and refuses the file.
"""

from __future__ import annotations

import faulthandler
import json
import mmap
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from relrep_cli.base.errors import RelrepError
from relrep_cli.store import child

os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # as in a child that imports pyarrow itself; others hold a GiB in reserve
LIMIT = 20.0  # seconds of wall time, on a machine with other work
SILENCE = 3 * LIMIT  # seconds after which a sandbox without a verdict is killed
MOST = 5000  # mutants for one sandbox: libraries lose a little memory with each damaged file
CONTAINED = "died in its child"
SOUND = ("read", "refused", CONTAINED)
INSIDE = mmap.mmap(-1, 1)  # shared with the sandboxes: whether one is in the guarded part
MIB = 1 << 20
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # files that live a millisecond need no disk


class Verdict(NamedTuple):
    """How a mutant was judged. wall, cpu: seconds. memory: MiB beyond what the process held before."""

    seed: int
    outcome: str
    wall: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0


def verdicts(kind: Any, make: Callable[[int], bytes], seeds: Sequence[int], guarded: bool = False) -> Iterator[Verdict]:
    """A verdict for each seed, in order. guarded: each file is read with child processes of its own."""
    todo = list(seeds)
    make(todo[0])  # the good files are made once, here
    while todo:
        known, death = in_sandbox(kind, make, todo[:MOST], guarded)
        for verdict in known:
            yield verdict if guarded or verdict.outcome in SOUND else alone(kind, make, verdict.seed)
        todo = todo[len(known) :]
        if death:
            contained = kind.is_slow_alone and INSIDE[0] and not death.startswith("hang")
            known_death = Verdict(todo[0], CONTAINED if contained else death)
            yield known_death if guarded or contained else alone(kind, make, todo[0])
            del todo[0]


def alone(kind: Any, make: Callable[[int], bytes], seed: int) -> Verdict:
    return next(verdicts(kind, make, [seed], guarded=True))


def in_sandbox(kind: Any, make: Callable[[int], bytes], seeds: Sequence[int], guarded: bool) -> tuple[list[Verdict], str]:
    """Verdicts until the process ends, and how it died before the last of them; "" where it did not."""
    INSIDE[0] = 0
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a fork beside threads
            pid = os.fork()
        if not pid:
            os.close(reading)
            live(writing, Path(folder), kind, make, seeds, guarded)
        os.close(writing)
        answer, silent = bytearray(), False
        while not silent:
            silent = not select.select([reading], [], [], SILENCE)[0]
            if silent:
                os.kill(pid, signal.SIGKILL)
            elif block := os.read(reading, 1 << 16):
                answer += block
            else:
                break
        os.close(reading)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    known = [Verdict(*json.loads(line)) for line in answer.split(b"\n")[:-1]]
    if len(known) == len(seeds):
        return known, ""
    return known, "hang" if silent else f"crash: {signal.Signals(-code).name if code < 0 else f'exit {code}'}"


def live(writing: int, folder: Path, kind: Any, make: Callable[[int], bytes], seeds: Sequence[int], guarded: bool) -> None:
    """The sandbox's whole life."""
    code = 1
    try:
        faulthandler.disable()  # a death is the parent's to report
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        tempfile.tempdir = str(folder)
        signal.signal(signal.SIGALRM, stop)
        if not guarded:
            child.forked = called_here
        for number, seed in enumerate(seeds):
            verdict = judge_mutant(folder / str(number), kind, seed, make(seed))
            os.write(writing, json.dumps(verdict).encode() + b"\n")
        code = 0
    finally:
        os._exit(code)


def judge_mutant(folder: Path, kind: Any, seed: int, content: bytes) -> Verdict:
    folder.mkdir()
    path = folder / kind.name
    path.write_bytes(content)
    before, clock, cpu = held(), time.monotonic(), spent()
    with suppress(OSError), open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        outcome = judge(path, kind.use, named=False)
    used = Verdict(seed, outcome, time.monotonic() - clock, spent() - cpu, (held("VmHWM") - before) / MIB)
    shutil.rmtree(folder)
    return used


def held(what: str = "VmRSS") -> int:
    """Bytes of memory of this process: now, or at most (VmHWM)."""
    with suppress(OSError), open("/proc/self/status") as status:
        for line in status:
            if line.startswith(what):
                return int(line.split()[1]) << 10
    return 0


def spent() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def called_here(request: str, patience: float) -> bytes:
    """In place of `child.forked`: the guarded function in this process. Its limits end with it."""
    limits = {name: resource.getrlimit(name) for name in (resource.RLIMIT_NOFILE, resource.RLIMIT_DATA)}
    imports = list(sys.meta_path)
    INSIDE[0] = 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nobody sees those of a child
            return child.reply(request)
    except TimeoutError:
        raise
    except BaseException as error:  # a child would end with exit code 1
        raise child.Died(f"reading its structure failed ({type(error).__name__})") from None
    finally:
        INSIDE[0] = 0
        signal.setitimer(signal.ITIMER_PROF, 0)
        for name, limit in limits.items():
            resource.setrlimit(name, limit)
        sys.meta_path[:] = imports


def stop(number: int, frame: Any) -> None:
    raise TimeoutError


def judge(path: Path, use: Callable[[Path], Any], named: bool = True) -> str:
    """Whether the file was read or refused, or what went wrong. named: whether a refusal names the file."""
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        use(path)
        return "read"
    except RelrepError as error:
        sound = str(error).isprintable() and (str(path) in str(error) or not named)
        return "refused" if sound else f"message: {error!r}"
    except TimeoutError:
        return "hang"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
