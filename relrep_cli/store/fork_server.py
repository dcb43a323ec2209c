"""A small process that forks the children of child.py for a large one.

A fork copies the page tables of its parent: 1 ms for a bare Python, 25 ms with torch loaded, more in a notebook that holds
gigabytes. And a child that reads Parquet imports pyarrow first, which takes longer than most files. So a process that has
spent SPENT seconds on both starts this server once, and asks it from then on. The server imports the module that a request
names, and the module's LIBRARIES, before it forks: its children find them imported. Processes that are forked later inherit
the connection; the server ends when the last of them has.

One packet is one request. With it come the two ends of the caller: a pipe for the child's answer, and a socket on which the
server says how the child ended. When the caller closes that socket first, the child is killed.
"""

from __future__ import annotations

import codecs
import gc
import json
import os
import selectors
import signal
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where a server is started or asked, which few runs do
    import socket

SPENT = 0.3  # seconds in forks and imports after which starting the server pays
LONGEST_IMPORT = 0.12  # seconds of a child's CPU time that count as its imports; the rest it owes to its file
LONGEST_REQUEST = 64 << 10  # bytes of one packet
MODULES = ("resource", "relrep_cli.store.survey")  # imported by the server once instead of by every child
_server: list[tuple[socket.socket, subprocess.Popen[bytes]]] = []
_spent = [0.0]


def spent(forking: float, child: float) -> None:
    """Count the seconds that a fork took, and the CPU time of the child. `ask` starts the server when they add up."""
    _spent[0] += forking + min(child, LONGEST_IMPORT)


def start() -> None:
    """Start the server, once."""
    if _server:
        return
    import socket

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    program = f"from relrep_cli.store.fork_server import serve; serve({theirs.fileno()})"
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    with theirs:
        process = subprocess.Popen([sys.executable, "-c", program], env=environment, pass_fds=[theirs.fileno()], **streams)  # type: ignore[call-overload]
    _server.append((ours, process))


def ask(request: str) -> tuple[int, socket.socket] | None:
    """Have the server fork a child for the request.

    Returns the pipe with the child's answer, and the socket that tells its exit code (see `exit_code`). None when no server
    runs, or the request is too long for one packet.
    """
    if _spent[0] > SPENT or "lance" in sys.modules:  # whose threads do not survive a fork
        start()
    packet = json.dumps([os.getcwd(), request]).encode()
    if not _server or len(packet) > LONGEST_REQUEST:
        return None
    import socket

    reading, writing = os.pipe()
    ours, theirs = socket.socketpair()
    try:
        socket.send_fds(_server[0][0], [packet], [writing, theirs.fileno()])
    except OSError:  # the server was killed
        os.close(reading)
        ours.close()
        _server.clear()
        return None
    finally:
        os.close(writing)
        theirs.close()
    return reading, ours


def exit_code(answers: socket.socket) -> int:
    """The exit code of the child, negative for a signal; -SIGKILL when the server has ended."""
    with answers:
        status = answers.recv(4)
    return int.from_bytes(status, "little", signed=True) if len(status) == 4 else -signal.SIGKILL


def serve(descriptor: int) -> None:
    """The server's whole life: fork for every packet until the last client has closed its end."""
    import socket

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a signal to the whole group ends the clients, and they end the server
    for module in MODULES:
        import_module(module)
    codecs.lookup("unicode_escape")
    gc.freeze()  # what is never collected is never copied
    requests = socket.socket(fileno=descriptor)
    woken, waking = os.pipe()
    for end in (woken, waking):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking)
    events = selectors.DefaultSelector()
    running: dict[int, socket.socket] = {}
    events.register(requests, selectors.EVENT_READ)
    events.register(woken, selectors.EVENT_READ)
    while True:
        for key, _ in events.select():
            if key.fileobj is requests:
                packet, descriptors, _, _ = socket.recv_fds(requests, LONGEST_REQUEST, 2)
                if not packet:
                    os._exit(0)
                client = socket.socket(fileno=descriptors[1])
                _import_for(packet)
                pid = _fork(packet, descriptors[0], [requests, client, *running.values()], [woken, waking])
                os.close(descriptors[0])
                running[pid] = client
                events.register(client, selectors.EVENT_READ, pid)
            elif key.fileobj == woken:
                os.read(woken, 4096)
                _tell_ended(running, events)
            elif key.data in running:  # a client says nothing, so this one has closed its end
                os.kill(key.data, signal.SIGKILL)
                events.unregister(key.fileobj)


def _import_for(packet: bytes) -> None:
    """Import the module that a request names and the libraries that it lists, once.

    What cannot be imported is the child's to report.
    """
    _, request = json.loads(packet)
    module, _, _ = json.loads(request)[0].partition(":")
    if module in sys.modules:
        return
    from relrep_cli.store.apart import import_alone

    import_alone()
    with suppress(Exception):
        for library in getattr(import_module(module), "LIBRARIES", ()):
            import_module(library)
    gc.freeze()


def _fork(packet: bytes, writing: int, sockets: list[socket.socket], pipes: list[int]) -> int:
    """Fork the child that answers a packet into a pipe; it holds no way to the server or to other clients."""
    from relrep_cli.store.child import answer_and_end

    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in sockets:
            one.close()
        for end in pipes:
            os.close(end)
        folder, request = json.loads(packet)
        os.chdir(folder)
        answer_and_end(request, writing)
    finally:
        os._exit(1)


def _tell_ended(running: dict[int, socket.socket], events: selectors.BaseSelector) -> None:
    """Tell the clients whose children have ended how they ended."""
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            continue
        with suppress(KeyError):  # a client that has closed its end is no longer watched
            events.unregister(running[pid])
        with running.pop(pid) as client, suppress(OSError):
            client.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "little", signed=True))
