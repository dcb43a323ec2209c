"""Run every `relrep` of the tests in a fork of one process that has imported its libraries once.

A fork is a process of its own: exit code, environment, folder, descriptors and memory are the command's alone. Only its
start is warm. `relrep_client.py` is the command that a shell finds; tests about starting, importing or limits use
`Workdir.cold`, which starts Python anew.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import pkgutil
import selectors
import signal
import socket
import sys
from importlib import import_module
from typing import Any

NOT_FLUSHED = 120  # Python's exit code when it cannot flush stdout at its end
IMPORTED_LATE = (  # by functions, when a command needs them
    "typer._adapters", "typer._click.shell_completion", "faiss", "pyarrow.parquet", "sklearn.linear_model", "sklearn.cluster",
    "sklearn.mixture", "torch.nn.functional", "safetensors.torch", "matplotlib.figure", "matplotlib.backends.backend_agg",
    "rich.console", "rich.table", "rich.progress",
)  # fmt: skip


def serve(listening: socket.socket) -> None:
    """Fork for every client until stdin, which the test run holds open, ends."""
    events, running = selectors.DefaultSelector(), {}
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer)
    for source in (0, reader, listening):
        events.register(source, selectors.EVENT_READ)
    while True:
        for key, _ in events.select():
            if key.fileobj == 0:
                for pid in running:
                    os.kill(pid, signal.SIGKILL)
                return
            if key.fileobj == reader:
                os.read(reader, 4096)
                answer_ended(running)
            elif key.fileobj is listening:
                client = listening.accept()[0]
                pid = fork(client, [*running.values(), listening])
                running[pid] = client
                tell(client, pid)


def answer_ended(running: dict[int, socket.socket]) -> None:
    """Send the clients of the children that have ended how they ended."""
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with running.pop(pid) as client:
                tell(client, status)


def tell(client: socket.socket, number: int) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(number.to_bytes(4, "little"))


def fork(client: socket.socket, unneeded: list[socket.socket]) -> int:
    """The process id of a child that runs the client's command line; the first call imports everything."""
    import_everything()
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in unneeded:
            other.close()
        become(client)
        code = command()
    finally:
        os._exit(code)


def import_everything() -> None:
    """Import all of relrep_cli and what it imports late; no thread of theirs computes while they are bound to one."""
    if "relrep_cli" in sys.modules:
        return
    import relrep_cli
    from relrep_cli.store import fork_server

    fork_server.start()  # while this process is small; all commands ask it to fork
    modules = [actual.name for actual in pkgutil.walk_packages(relrep_cli.__path__, "relrep_cli.")]
    for name in [*modules, *IMPORTED_LATE]:
        with contextlib.suppress(ImportError):  # the command says what is missing when it is needed
            import_module(name)
    gc.freeze()  # what is never collected is never copied


def become(client: socket.socket) -> None:
    """Take over the client's descriptors, folder, arguments and environment."""
    head, descriptors, _, _ = socket.recv_fds(client, 4, 3)
    with client.makefile("rb") as stream:
        words = stream.read(int.from_bytes(head, "little")).split(b"\0")
    client.close()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    folder, count, *rest = words
    os.chdir(folder)
    sys.argv = ["relrep", *map(os.fsdecode, rest[: int(count)])]
    os.environ.clear()
    os.environb.update(entry.split(b"=", 1) for entry in rest[int(count) :])
    sys.stdin, sys.stdout, sys.stderr = (stream_as_at_start(number) for number in range(3))


def stream_as_at_start(number: int) -> Any:
    """A standard stream as Python opens it in the locale C.UTF-8."""
    raw: Any = io.FileIO(number, "wb" if number else "rb", closefd=False)
    raw.name = ("<stdin>", "<stdout>", "<stderr>")[number]
    buffered = io.BufferedWriter(raw) if number else io.BufferedReader(raw)
    errors = "backslashreplace" if number == 2 else "surrogateescape"
    return io.TextIOWrapper(buffered, "utf-8", errors, line_buffering=number == 2 or os.isatty(number))


def command() -> int:
    """Run relrep and end as Python ends: functions of atexit, a last flush; return the exit code."""
    from relrep_cli.__main__ import main

    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 1
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError as error:
        print(f"Exception ignored in: {sys.stdout!r}\n{error!r}", file=sys.stderr)
        code = NOT_FLUSHED
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
