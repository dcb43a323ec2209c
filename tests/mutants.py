"""A mutation check: change the code in one small way, and see that the tests notice: `python tests/mutants.py [PATTERN …]`.

mutants.toml lists the changes; each names the tests that should fail. The package and its tests are copied to a scratch
folder, so that the checkout stays as it is. Results: `killed`, a test failed; `SURVIVED`, none did; `stale`, the text to
change is no longer there once, or its tests do not run. In the end the tests that failed run on the package as it is, where
they must pass. Exit code 1 unless all are killed.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = "relrep_cli"
COPIED = (PACKAGE, "tests", "sample_data", "docs", "pyproject.toml", "README.md", "CONTRIBUTING.md")
PRELOADED = (
    "pytest", "hypothesis.strategies", "numpy", "scipy.stats", "scipy.optimize", "scipy.sparse", "sklearn.linear_model",
    "faiss", "h5py", "numba", "torch", "typer", "rich.console", "threadpoolctl",
)  # fmt: skip
OPTIONS = ("-x", "-q", "-p", "xdist.plugin", "-n", "0", "-p", "no:cacheprovider")
PATIENCE = 300  # seconds of wall time; tests that take longer hang, which is noticed: the alarm ends them with -14
PASSED, FAILED, BROKEN = 0, (1, -signal.SIGALRM), 99  # exit codes of pytest; others mean that no test ran
KILLED, SURVIVED, STALE = "killed", "SURVIVED", "stale"


@dataclass(frozen=True)
class Mutant:
    """One change. file: below the package. before, after: the text to replace, and by what. tests: arguments of pytest.
    harm: what would go wrong for a user."""

    name: str
    file: str
    before: str
    after: str
    tests: str
    harm: str

    def changed(self, source: str) -> str:
        """The source of the file with the change. Raises ValueError unless the text is there exactly once."""
        count = source.count(self.before)
        if count != 1:
            raise ValueError(f"{PACKAGE}/{self.file}: the text to change is there {count} times")
        return source.replace(self.before, self.after)


def mutants(patterns: Iterable[str] = ("*",)) -> list[Mutant]:
    """Those whose name matches one of the patterns."""
    listed = tomllib.loads((CHECKOUT / "tests" / "mutants.toml").read_text())
    out = [Mutant(name, **record) for name, record in listed.items()]
    return [m for m in out if any(fnmatch.fnmatch(m.name, pattern) for pattern in patterns)]


class Failures:
    """A plugin of pytest that writes down which tests fail."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            with self.path.open("a") as file:
                file.write(report.nodeid + "\n")


class Scratch:
    """A copy of the package and its tests, in which one file at a time is changed."""

    def __init__(self, folder: Path) -> None:
        self.copy, self.log, self.failed, self.writes = folder / "copy", folder / "log", folder / "failed", 0
        self.copy.mkdir(parents=True)
        for name in COPIED:
            source = CHECKOUT / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, self.copy / name)

    def change(self, mutant: Mutant) -> str:
        """Apply the change; returns the source as it was."""
        source = (self.copy / PACKAGE / mutant.file).read_text()
        self.write(mutant.file, mutant.changed(source))
        return source

    def write(self, file: str, source: str) -> None:
        """Write with a time of its own: compiled modules are told from newer ones by whole seconds and size alone."""
        path = self.copy / PACKAGE / file
        path.write_text(source)
        self.writes += 1
        os.utime(path, (2_000_000_000 + self.writes,) * 2)

    def start(self, tests: Sequence[str]) -> int:
        """The process that runs these tests: a fork of this one, which has imported what takes long to import."""
        self.failed.write_text("")
        process = os.fork()
        if process:
            return process
        try:
            signal.alarm(PATIENCE)
            handle = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(handle, stream)
            os.chdir(self.copy)
            os.environ["PYTHONPATH"] = sys.path[0] = str(self.copy)  # the first path was that of this file
            pytest = import_module("pytest")
            os._exit(int(pytest.main([*OPTIONS, *tests], plugins=[Failures(self.failed)])))
        finally:
            os._exit(BROKEN)


@dataclass(frozen=True)
class Done:
    """How the tests of a mutant ended, and the first that failed."""

    mutant: Mutant
    result: str
    failed: str = ""


def run(chosen: Sequence[Mutant], scratches: Sequence[Scratch]) -> Iterator[Done]:
    """The mutants as their tests end; as many at a time as there are scratch folders."""
    waiting, free = list(reversed(chosen)), list(scratches)
    running: dict[int, tuple[Mutant, Scratch, str]] = {}
    while waiting or running:
        while waiting and free:
            mutant = waiting.pop()
            try:
                source = free[-1].change(mutant)
            except (ValueError, OSError):
                yield Done(mutant, STALE)
                continue
            scratch = free.pop()
            running[scratch.start(shlex.split(mutant.tests))] = mutant, scratch, source
        if running:
            process, status = os.wait()
            mutant, scratch, source = running.pop(process)
            scratch.write(mutant.file, source)
            free.append(scratch)
            code = os.waitstatus_to_exitcode(status)
            result = SURVIVED if code == PASSED else KILLED if code in FAILED else STALE
            yield Done(mutant, result, scratch.failed.read_text().strip())


def fails_without_a_change(tests: Sequence[str], scratch: Scratch) -> str:
    """What pytest says where one of these tests fails on the package as it is, which then proves nothing."""
    _, status = os.waitpid(scratch.start(tests), 0)
    return "" if os.waitstatus_to_exitcode(status) == PASSED else scratch.log.read_text(errors="replace")


def main() -> int:
    parser = argparse.ArgumentParser(description="Change the code in one small way at a time, and see that tests notice.")
    parser.add_argument("patterns", nargs="*", default=["*"], metavar="PATTERN", help="names of mutants, such as 'cka-*'")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="how many to run at the same time [default: 1]")
    parser.add_argument("--list", action="store_true", help="print the mutants and what each would do to a user")
    options = parser.parse_args()
    chosen = mutants(options.patterns)
    if options.list:
        print("\n".join(f"{mutant.name}: {mutant.harm}" for mutant in chosen))
        return 0
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # some that other packages bring take two seconds to import
    for name in PRELOADED:
        import_module(name)
    results, failed = dict.fromkeys((KILLED, SURVIVED, STALE), 0), set()
    with tempfile.TemporaryDirectory(prefix="relrep-mutants-") as folder:
        scratches = [Scratch(Path(folder, str(number))) for number in range(options.jobs)]
        for done in run(chosen, scratches):
            results[done.result] += 1
            failed.add(done.failed)
            reason = f": {done.failed or 'ran too long'}" if done.result == KILLED else f": {done.mutant.harm}"
            print(f"{done.result:8} {done.mutant.name}{reason}", flush=True)
        reason = fails_without_a_change(sorted(failed - {""}), scratches[0]) if failed - {""} else ""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(usage.ru_utime + usage.ru_stime for usage in used)
    print(", ".join(f"{count} {result}" for result, count in results.items()), f"in {seconds:.0f} s of CPU")
    if reason:
        print(f"A test fails without any change, so that it proves nothing:\n{reason}")
    return int(bool(reason) or results[KILLED] < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
