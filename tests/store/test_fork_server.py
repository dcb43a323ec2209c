"""The server that forks for large processes: the same answers and verdicts as forks of one's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relrep_cli.store import child, fork_server

pytestmark = pytest.mark.skipif(not child.FORKS, reason="needs fork")


LIBRARIES = ("wave",)  # of the standard library, which nothing else here imports


def imported() -> list[str]:
    return [name for name in LIBRARIES if name in sys.modules]


def folder() -> str:
    return os.getcwd()


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def process() -> list[int]:
    return [os.getpid(), os.getppid()]


def sleep(seconds: float, note: str) -> None:
    Path(note).write_text(str(os.getpid()))
    time.sleep(seconds)


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server of this test, which can import this module; returns its process id."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(fork_server, "_server", [])
    fork_server.start()
    connection, process = fork_server._server[0]
    yield process.pid
    connection.close()
    process.wait()


def test_children_are_the_servers_and_run_in_the_callers_folder(
    server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert child.run(folder) == str(tmp_path)
    pid, parent = child.run(process)
    assert parent == server and pid not in (server, os.getpid())


def test_a_crash_is_told() -> None:
    with pytest.raises(child.Died, match=r"crashed libhdf5 \(signal 11\)"):
        child.run(crash)
    assert child.run(folder) == os.getcwd()


@pytest.mark.slow
def test_a_child_that_nobody_waits_for_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(child.Died, match="took longer than 4 s"):
        child.run(sleep, 60.0, str(note), patience=4.0)
    pid = int(note.read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()


def test_without_its_server_a_process_forks_itself(server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    os.kill(server, signal.SIGKILL)
    fork_server._server[0][1].wait()
    monkeypatch.setattr(fork_server, "SPENT", float("inf"))
    assert child.run(process)[1] == os.getpid()
    assert fork_server._server == []


def test_a_request_too_long_for_a_packet_is_forked_here() -> None:
    assert child.run("os.path:basename", "/" + "x" * 100_000) == "x" * 100_000


@pytest.mark.parametrize("cost", [(2 * fork_server.SPENT, 0.0), (0.0, 9.0)], ids=["forks", "imports"])
def test_dear_children_start_the_server(monkeypatch: pytest.MonkeyPatch, cost: tuple[float, float]) -> None:
    monkeypatch.setattr(fork_server, "_server", [])
    monkeypatch.setattr(fork_server, "_spent", [0.0])
    fork_server.spent(*cost)
    child.run(folder)
    assert bool(fork_server._server) is (cost[0] > 0)  # a single child, whatever it takes, is no reason
    for _ in range(3):
        fork_server.spent(*cost)
    assert child.run(folder) == os.getcwd() and fork_server._server
    connection, process = fork_server._server[0]
    connection.close()
    process.wait()


def test_the_server_imports_what_a_module_lists() -> None:
    """So its children find it imported. A module that cannot be imported is the child's to report."""
    assert child.run(imported) == ["wave"]
    with pytest.raises(child.Died):
        child.run("no_such_module:function")


@pytest.mark.slow
def test_the_server_ends_with_its_last_client(tmp_path: Path) -> None:
    program = "from relrep_cli.store import fork_server as f; f.start(); print(f._server[0][1].pid)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{int(ran.stdout)}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{int(ran.stdout)}").exists()
