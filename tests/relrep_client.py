"""The command `relrep` of the tests: hand arguments, folder, environment and streams to relrep_server, and end as it did.

It starts with every command of a test's shell, so it imports only what Python holds within itself.
"""

from __future__ import annotations

import os
import sys
from _socket import AF_UNIX, MSG_WAITALL, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def ask(
    address: str, arguments: Sequence[str], folder: bytes, environment: Mapping[bytes, bytes], streams: Sequence[int]
) -> tuple[socket, int]:
    """Start a command; return the connection on which its end will be told, and its process id."""
    variables = [name + b"=" + value for name, value in environment.items()]
    request = b"\0".join([folder, str(len(arguments)).encode(), *map(os.fsencode, arguments), *variables])
    connection = socket(AF_UNIX, SOCK_STREAM)
    connection.connect(address)
    descriptors = b"".join(number.to_bytes(4, sys.byteorder) for number in streams)
    connection.sendmsg([len(request).to_bytes(4, "little")], [(SOL_SOCKET, SCM_RIGHTS, descriptors)])
    connection.sendall(request)
    return connection, number_from(connection)


def number_from(connection: socket) -> int:
    """The next number that the server says: first the process id, then the status with which the process ended."""
    answer = connection.recv(4, MSG_WAITALL)
    if len(answer) < 4:
        raise EOFError("the server of the tests has ended")
    return int.from_bytes(answer, "little")


def main() -> None:
    """Be the command: run it, and end with its exit code or by its signal."""
    connection, _ = ask(sys.argv[1], sys.argv[2:], os.getcwdb(), os.environb, (0, 1, 2))
    status = number_from(connection)
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
