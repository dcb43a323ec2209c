"""Run a function in a child process that may crash, hang or swell without harm, and take its answer as plain data.

libhdf5 treats a file as a program: damaged files make it loop for ever, jump through wild pointers, or ask for
gigabytes (hdf5#6618). It therefore runs here only. The answer is JSON with byte strings beside it, never a pickle,
so that a child taken over by its input can still only say something wrong, not do something.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import faulthandler
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

from relrep_cli.base.errors import NO_DESCRIPTORS, DataError
from relrep_cli.base.signals import check
from relrep_cli.store import fork_server

LONGEST_ANSWER = 1 << 30
TOO_FEW = 75  # exit code of a child that could open no file before it had looked at one
SECTION = "\0bytes"  # no name in HDF5 holds a NUL
FORKS = sys.platform == "linux"  # elsewhere fork does not exist or is unsafe next to system libraries (bpo-33725)


class Died(DataError):
    """The child ended without an answer; the text says how."""


def run(function: str | Callable[..., Any], *arguments: Any, patience: float = 60.0) -> Any:
    """The answer of `function(*arguments)`, called in a child process.

    function: at the top of a module, or named as "module:function" when only the child is to import the module.
    Arguments are JSON values, so is the answer, but it may also hold bytes. patience: seconds of wall time.
    Raises Died when the child crashes, is stopped by a limit of its own (see `confine`), or stays silent.
    """
    name = function if isinstance(function, str) else f"{function.__module__}:{function.__qualname__}"
    return decode((forked if FORKS else spawned)(json.dumps([name, arguments]), patience))


def reply(request: str) -> bytes:
    """The child's side of `run`."""
    name, arguments = json.loads(request)
    module, _, function = name.partition(":")
    return encode(getattr(importlib.import_module(module), function)(*arguments))


def confine(seconds: float, files: int, memory: int) -> None:
    """Limits of the calling child, from now on: CPU seconds, bytes to allocate, and how many more files it can ever open.

    With `files` used up nothing else can be opened, so no link, virtual dataset or filter plugin that a check may have
    missed leads out of the file: the kernel hands out the descriptor before it looks at the name.
    """
    codecs.lookup("unicode_escape")  # imported on first use, which would come too late
    if sys.platform == "win32":
        return
    import resource

    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    free = os.dup(0)
    os.close(free)
    for limit, value in (
        (resource.RLIMIT_NOFILE, free + files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_DATA, held() + memory),
    ):
        hard = resource.getrlimit(limit)[1]
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(ValueError, OSError):  # not every system has every limit
            resource.setrlimit(limit, (bounded, hard))


def allow_more(seconds: float, memory: int = 0) -> None:
    """In a confined child: raise its limits of CPU time and of bytes to allocate, for work whose size is known by now."""
    left, _ = signal.getitimer(signal.ITIMER_PROF)
    if left:
        signal.setitimer(signal.ITIMER_PROF, left + seconds)
    if memory and sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        raised = soft if soft == resource.RLIM_INFINITY else soft + memory
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (raised if hard == resource.RLIM_INFINITY else min(raised, hard), hard))


def held() -> int:
    """Bytes of private memory of this process, as RLIMIT_DATA counts them; 2**40 where the system does not say."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 1 << 40


def forked(request: str, patience: float) -> bytes:
    """The answer of a child that this process forks, or that a server forks for it where forks of this process are dear."""
    if asked := fork_server.ask(request):
        reading, ended = asked
        with ended:  # closing it kills a child that is still at work
            try:
                answer = b"".join(received(reading, patience))
            finally:
                os.close(reading)
            return checked_answer(fork_server.exit_code(ended), answer)
    with contextlib.suppress(ImportError):  # the child says it better
        importlib.import_module(json.loads(request)[0].partition(":")[0])  # once here, not in every child: h5py takes 0.04 s
    reading, writing = os.pipe()
    started = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads: ours are NumPy's, which survive a fork
        pid = os.fork()
    if pid == 0:
        answer_and_end(request, writing)
    forking = time.monotonic() - started
    os.close(writing)
    try:
        answer = b"".join(received(reading, patience))
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(reading)
        _, status, used = os.wait4(pid, 0)
        fork_server.spent(forking, used.ru_utime + used.ru_stime)
    return checked_answer(os.waitstatus_to_exitcode(status), answer)


def answer_and_end(request: str, writing: int) -> None:
    """The child's whole life. It ends by os._exit: libhdf5 may crash while closing a damaged file (h5py#914)."""
    code = 1
    try:
        faulthandler.disable()  # a crash is the parent's to report
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        with open(writing, "wb") as pipe:
            pipe.write(reply(request))
        code = 0
    except OSError as error:
        code = TOO_FEW if error.errno in NO_DESCRIPTORS else 1
    finally:
        os._exit(code)


def received(reading: int, patience: float) -> Iterator[bytes]:
    """The bytes that come through the pipe until its end. Raises Died when they take too long or are too many."""
    deadline, total = time.monotonic() + patience, 0
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    while True:
        check()
        if time.monotonic() > deadline:
            raise Died(f"reading its structure took longer than {patience:.0f} s; the file system does not answer")
        if not poll.poll(500):
            continue
        block = os.read(reading, 1 << 20)
        total += len(block)
        if not block:
            return
        if total > LONGEST_ANSWER:
            raise Died("its structure is too large to survey; the file is damaged or hostile")
        yield block


def spawned(request: str, patience: float) -> bytes:
    """The answer of a fresh interpreter, for systems without fork; it takes 0.4 s instead of 0.07 s."""
    program = "from relrep_cli.store.child import serve; serve()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", program]
    try:
        done = subprocess.run(
            command, check=False, input=request.encode(), capture_output=True, timeout=patience, env=environment
        )
    except subprocess.TimeoutExpired:
        raise Died(f"reading its structure took longer than {patience:.0f} s; the file system does not answer") from None
    return checked_answer(done.returncode, done.stdout)


def serve() -> None:
    """The other end of `spawned`."""
    sys.stdout.buffer.write(reply(sys.stdin.read()))
    sys.stdout.buffer.flush()
    os._exit(0)


def checked_answer(code: int, answer: bytes) -> bytes:
    """The answer of a child that ended with this exit code. Raises Died, or OSError where it could open no file."""
    if code == 0:
        return answer
    if code == TOO_FEW:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    if code == -getattr(signal, "SIGPROF", 0):
        raise Died("reading its structure keeps libhdf5 busy without end; the file is damaged or hostile")
    how = f"crashed libhdf5 (signal {-code})" if code < 0 else f"failed (exit {code})"
    raise Died(f"reading its structure {how}; the file is damaged or hostile")


def encode(value: Any) -> bytes:
    """One line of section lengths, the JSON, then the byte strings that the JSON refers to by number."""
    sections: list[bytes] = []

    def refer(item: Any) -> dict[str, int]:
        sections.append(bytes(item))
        return {SECTION: len(sections) - 1}

    body = json.dumps(value, default=refer).encode()
    lengths = json.dumps([len(body), *map(len, sections)]).encode()
    return b"".join([lengths, b"\n", body, *sections])


def decode(answer: bytes) -> Any:
    """The inverse of `encode`. Raises Died for anything else."""
    try:
        line, rest = answer.split(b"\n", 1)
        lengths = json.loads(line)
        if sum(lengths) != len(rest) or min(lengths) < 0:
            raise ValueError("lengths")
        parts = [rest[end - length : end] for end, length in zip(accumulate(lengths), lengths, strict=True)]
        return json.loads(parts[0], object_hook=lambda item: parts[1 + item[SECTION]] if SECTION in item else item)
    except (ValueError, TypeError, LookupError, RecursionError):
        raise Died("reading its structure gave no answer; the file is damaged or hostile") from None
