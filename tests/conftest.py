"""What the tests of the command share: a shell in a folder of its own, and small real files to work on."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does, before anything loads NumPy
os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # as in the children that read files: see fuzz_sandbox.py

import fcntl
import io
import json
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import corpus
import numpy as np
import pytest
import relrep_client

from relrep_cli import cli
from relrep_cli.store import fork_server

collect_ignore = ["library/typed_calls.py"]  # mypy reads it, and nobody runs it
CHECKOUT = Path(__file__).resolve().parents[1]
N, D, ANCHORS = 240, 16, 30
SERVER = "PYTEST_RELREP_SERVER"  # the variable that holds the address of relrep_server
SHELL_SIGNS = set("|&;<>()$`*?[]{}~#!\n")
WARM, COLD = "warm", "cold"  # folders with a command `relrep`: a fork of the server, and a Python that starts anew


def pytest_configure(config: pytest.Config) -> None:
    """Start the server from which all workers of this run fork their commands; it imports nothing before the first.

    The workers share the processors, so linear algebra takes one thread in each.
    """

    def end_server() -> None:
        for connection, process in fork_server._server:
            connection.close()
            process.wait(10)

    config.add_cleanup(end_server)
    fork_server.start()  # or every file would be read by a fork of a process with all libraries of all tests
    if "PYTEST_XDIST_WORKER" not in os.environ:
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    if sys.platform != "linux" or SERVER in os.environ:
        return
    folder = tempfile.mkdtemp(prefix="relrep-server-")
    os.environ[SERVER] = os.path.join(folder, "socket")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(os.environ[SERVER])
    listening.listen(64)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "RELREP_"))}
    huge = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # few, large pages are quick to fork
    env = {**own, **huge, "PYTHONPATH": str(CHECKOUT)}
    words = [sys.executable, str(CHECKOUT / "tests" / "relrep_server.py"), str(listening.fileno())]
    server = subprocess.Popen(words, stdin=subprocess.PIPE, pass_fds=[listening.fileno()], env=env)
    listening.close()

    def stop() -> None:
        server.communicate()
        shutil.rmtree(folder)
        del os.environ[SERVER]

    config.add_cleanup(stop)


@dataclass(frozen=True)
class Done:
    """What a command left behind; printed in full when a test fails."""

    command: str
    cwd: Path
    code: int
    out: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        return self.out.decode(errors="backslashreplace")

    @property
    def rows(self) -> list[dict[str, str]]:
        """The records of a TSV result."""
        header, *lines = [line.split("\t") for line in self.stdout.splitlines()]
        return [dict(zip(header, line, strict=True)) for line in lines]

    def __repr__(self) -> str:
        streams = f"--- stdout\n{self.stdout[:4000]}\n--- stderr\n{self.stderr[:4000]}\n"
        return f"\n$ cd {self.cwd}\n$ {self.command}\nexit {self.code}\n{streams}"


@dataclass(frozen=True)
class Workdir:
    """A folder with the command `relrep` on PATH, an environment without the caller's settings, and its own TMPDIR."""

    path: Path
    tmp: Path
    env: dict[str, str]
    is_cold: bool = False

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def cold(self) -> Workdir:
        """The same folder where `relrep` starts Python anew: for tests of starting, importing, limits, streams and kills."""
        first, *rest = self.env["PATH"].split(os.pathsep)
        path = os.pathsep.join([str(Path(first).with_name(COLD)), *rest])
        return replace(self, env={**self.env, "PATH": path}, is_cold=True)

    def run(self, command: str, code: int | Sequence[int] = 0, *, timeout: float = 60, **env: str) -> Done:
        """Run a command line in bash with pipefail, and assert its exit code; `relrep` is a process with a warm start."""
        full = ["bash", "-o", "pipefail", "-c", command]
        ran = subprocess.run(full, cwd=self.path, env={**self.env, **env}, capture_output=True, timeout=timeout, check=False)
        done = Done(command, self.path, ran.returncode, ran.stdout, ran.stderr.decode(errors="backslashreplace"))
        assert done.code in ([code] if isinstance(code, int) else code), done
        assert "Traceback" not in done.stderr, done
        return done

    def here(self, command: str, code: int | Sequence[int] = 0, **env: str) -> Done:
        """Run `relrep …` within this process: the same words and codes, without the price of a process."""
        words = shlex.split(command)
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with ExitStack() as stack:
            stack.enter_context(chdir(self.path))
            stack.enter_context(redirect_stdout(out))
            stack.enter_context(redirect_stderr(err))
            stack.enter_context(mock.patch.dict(os.environ, {**self.env, **env}, clear=True))
            stack.enter_context(mock.patch.object(tempfile, "tempdir", str(self.tmp)))
            status = cli.run(words[1:])
        both = [stream.buffer.getvalue() for stream in (out, err)]
        done = Done(command, self.path, status, both[0], both[1].decode(errors="backslashreplace"))
        assert done.code in ([code] if isinstance(code, int) else code), done
        return done

    def start(self, command: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start `relrep COMMAND` alone, without a shell, in a Python that starts anew; signals reach it and nobody else."""
        words = [sys.executable, "-m", "relrep_cli", *command.split()]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": self.env, "cwd": self.path}
        return subprocess.Popen(words, **{**pipes, **options})

    def fork(self, command: str) -> Process:
        """Start `relrep COMMAND` alone, as a fork of the server where there is one: it is at its work from its first moment."""
        return Fork(command.split(), self) if SERVER in os.environ else self.start(command)

    def error(self, command: str, code: int, *words: str, **env: str) -> str:
        """Run what must fail with one line on stderr that holds all `words`; return that line.

        A command without a shell's signs runs within this process, unless the folder is cold.
        """
        needs_shell = self.is_cold or not command.startswith("relrep ") or set(command) & SHELL_SIGNS
        return only_line((self.run if needs_shell else self.here)(command, code, **env), *words)

    def leftovers(self) -> list[str]:
        """Temporary files that a command forgot, beside its output or in TMPDIR."""
        return sorted(p.name for p in [*self.path.glob(".*.relrep.*"), *self.tmp.glob("*relrep*"), *self.tmp.glob(".*relrep*")])


class Fork:
    """A command that the server has forked, with what the tests need of subprocess.Popen."""

    def __init__(self, words: Sequence[str], work: Workdir) -> None:
        self.files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115  (closed where their content is returned)
        environment = {os.fsencode(name): os.fsencode(value) for name, value in work.env.items()}
        with open(os.devnull) as nothing:
            streams = [file.fileno() for file in (nothing, *self.files)]
            asked = relrep_client.ask(os.environ[SERVER], words, os.fsencode(work.path), environment, streams)
        self.connection, self.pid = asked
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code if the command has ended."""
        if self.returncode is None and select.select([self.connection], [], [], 0)[0]:
            self.returncode = os.waitstatus_to_exitcode(relrep_client.number_from(self.connection))
        return self.returncode

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # it has ended
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Wait for the end; raise TimeoutExpired, as Popen does, when it does not come."""
        if self.returncode is None and not select.select([self.connection], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        self.poll()
        contents = []
        for file in self.files:
            file.seek(0)
            contents.append(file.read())
            file.close()
        self.connection.close()
        return contents[0], contents[1]


Process = Fork | subprocess.Popen[bytes]


def only_line(done: Done, *words: str) -> str:
    """The one line on stderr, which holds all `words`."""
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("relrep"), done
    for word in words:
        assert word in lines[0], f"{word!r} is not said: {done}"
    return lines[0]


def same_bytes(work: Workdir, *names: str) -> bool:
    """Whether the files hold the same bytes."""
    return len({(work / name).read_bytes() for name in names}) == 1


def vectors(n: int = N, d: int = D, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, d) float32 in five clouds, and the cloud of each row."""
    rng = np.random.default_rng(seed)
    clouds = rng.integers(0, 5, n)
    return (2 * rng.normal(size=(5, d))[clouds] + rng.normal(size=(n, d))).astype(np.float32), clouds


def columns(clouds: np.ndarray) -> dict[str, np.ndarray]:
    n = len(clouds)
    return {
        "ids": np.array([f"item-{i:03d}" for i in range(n)]),
        "label": np.array([f"class {c}" for c in clouds]),
        "split": np.where(np.arange(n) % 3 == 0, "test", "train"),
    }


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment in which `relrep` is the command of this checkout."""
    bin, python = tmp_path_factory.mktemp("bin"), f'#!/bin/sh\nexec "{sys.executable}"'
    scripts = {COLD: f'{python} -m relrep_cli "$@"\n'}
    client = CHECKOUT / "tests" / "relrep_client.py"
    scripts[WARM] = f'{python} -I -S "{client}" "{os.environ[SERVER]}" "$@"\n' if SERVER in os.environ else scripts[COLD]
    for name, script in scripts.items():
        (bin / name).mkdir()
        (bin / name / "relrep").write_text(script)
        (bin / name / "relrep").chmod(0o755)
    foreign = ("PYTHON", "RELREP_", "_RELREP", "SLURM_", "HDF5_", "OMP_", "PYTEST")
    unwanted = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "SOURCE_DATE_EPOCH"}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign) and k not in unwanted}
    path = os.pathsep.join([str(bin / WARM), os.path.dirname(sys.executable), kept.get("PATH", "/usr/bin:/bin")])
    kernels = {"RELREP_KERNEL_CACHE": str(CHECKOUT / ".pytest_cache" / "kernels")}  # compiled once for all runs of the tests
    own = {"PATH": path, "PYTHONPATH": str(CHECKOUT), "LC_ALL": "C.UTF-8", "TERM": "xterm", "HOME": str(bin)}
    return {**kept, **own, **kernels}


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One worker at a time."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def hostile_corpus(tmp_path_factory: pytest.TempPathFactory) -> list[corpus.Case]:
    """The files of tests/corpus, written once for all workers of a run; nobody changes them."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    built = folder / "corpus.json"
    with alone(folder / "corpus.lock"):
        if not built.exists():
            (folder / "corpus").mkdir()
            cases = corpus.build(folder / "corpus")
            built.write_text(json.dumps([{**asdict(case), "path": str(case.path)} for case in cases]))
    return [corpus.Case(**{**records, "path": Path(records["path"])}) for records in json.loads(built.read_text())]


def _workdir(path: Path, environment: Mapping[str, str]) -> Workdir:
    tmp = path.with_name(path.name + "-tmp")
    tmp.mkdir()
    return Workdir(path, tmp, {**environment, "TMPDIR": str(tmp)})


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, environment: Mapping[str, str]) -> Path:
    """A folder with files that the tests start from, made by the command itself.

    a.h5; b.h5: a rotated, with a little noise, same ids, labels and splits; c.h5: fewer dims; anchors.h5: of a's training
    rows; a.rel.h5, b.rel.h5.
    """
    work = _workdir(tmp_path_factory.mktemp("made"), environment)
    a, clouds = vectors()
    rng = np.random.default_rng(1)
    turn = np.linalg.qr(rng.normal(size=(D, D)))[0]
    spaces = {
        "a": a,
        "b": (a @ turn + 0.05 * rng.normal(size=a.shape)).astype(np.float32),
        "c": (a @ rng.normal(size=(D, D - 4))).astype(np.float32),
    }
    for name, x in spaces.items():
        np.savez(work / f"{name}.npz", x=x, **columns(clouds))
        work.here(f"relrep embed {name}.npz --space {name} -o {name}.h5 -q")
    work.here(f"relrep anchor a.h5 -n {ANCHORS} --strategy per-class -o anchors.h5 -q")
    for name in "ab":
        work.here(f"relrep project {name}.h5 --anchors anchors.h5 -o {name}.rel.h5 -q")
    return work.path


@pytest.fixture
def own_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children are forked by this process, not by the server, which does not know what a test has defined or changed."""
    monkeypatch.setattr(fork_server, "_server", [])
    monkeypatch.setattr(fork_server, "SPENT", float("inf"))


@pytest.fixture
def empty(tmp_path: Path, environment: Mapping[str, str]) -> Workdir:
    """A shell in an empty folder."""
    (tmp_path / "work").mkdir()
    return _workdir(tmp_path / "work", environment)


@pytest.fixture
def work(empty: Workdir, made: Path) -> Workdir:
    """A shell in a folder with copies of the files of `made`."""
    shutil.copytree(made, empty.path, dirs_exist_ok=True)
    return empty


def ended(process: Process, number: signal.Signals | None = None, within: float = 60) -> tuple[int, str, float]:
    """Send a signal, wait, and return exit code, stderr and the seconds it took. Kills the process if it stays."""
    started = time.monotonic()
    if number is not None:
        process.send_signal(number)
    try:
        _, stderr = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, stderr.decode(errors="backslashreplace"), time.monotonic() - started
