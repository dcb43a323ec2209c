"""A mutation check: change the code in one small way, and see that the tests notice: `python tests/mutants.py [PATTERN …]`.

mutants.toml lists the changes; each names the tests that should fail. The package and its tests are copied to a scratch
folder, so that the checkout stays as it is. Results: `killed`, a test failed; `SURVIVED`, none did; `stale`, the text to
change is no longer there once, or its tests do not run. Exit code 1 unless all are killed.
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

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = "relrep_cli"
COPIED = (PACKAGE, "tests", "sample_data", "docs", "pyproject.toml", "README.md")
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
    found = [Mutant(name, **record) for name, record in listed.items()]
    return [m for m in found if any(fnmatch.fnmatch(m.name, pattern) for pattern in patterns)]


class Scratch:
    """A copy of the package and its tests, in which one file at a time is changed."""

    def __init__(self, folder: Path) -> None:
        self.copy, self.said, self.writes = folder / "copy", folder / "said", 0
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

    def start(self, tests: str) -> int:
        """The process that runs these tests: a fork of this one, which has imported what takes long to import."""
        process = os.fork()
        if process:
            return process
        try:
            signal.alarm(PATIENCE)
            handle = os.open(self.said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(handle, stream)
            os.chdir(self.copy)
            os.environ["PYTHONPATH"] = sys.path[0] = str(self.copy)  # the first path was that of this file
            pytest = import_module("pytest")
            os._exit(int(pytest.main([*OPTIONS, *shlex.split(tests)])))
        finally:
            os._exit(BROKEN)


@dataclass(frozen=True)
class Run:
    """The tests of a mutant, or of the package as it is, and how they ended."""

    mutant: Mutant | None
    tests: str
    code: int = PASSED
    said: str = ""

    @property
    def result(self) -> str:
        return SURVIVED if self.code == PASSED else KILLED if self.code in FAILED else STALE


def outcomes(asked: Sequence[Run], scratches: Sequence[Scratch]) -> Iterator[Run]:
    """The runs as they end; as many at a time as there are scratch folders."""
    waiting, free = list(reversed(asked)), list(scratches)
    running: dict[int, tuple[Run, Scratch, str]] = {}
    while waiting or running:
        while waiting and free:
            run, scratch = waiting.pop(), free.pop()
            source = scratch.change(run.mutant) if run.mutant else ""
            running[scratch.start(run.tests)] = run, scratch, source
        process, status = os.wait()
        run, scratch, source = running.pop(process)
        if run.mutant:
            scratch.write(run.mutant.file, source)
        free.append(scratch)
        yield Run(run.mutant, run.tests, os.waitstatus_to_exitcode(status), scratch.said.read_text(errors="replace"))


def applies(mutant: Mutant) -> bool:
    try:
        return bool(mutant.changed((CHECKOUT / PACKAGE / mutant.file).read_text()))
    except (ValueError, OSError):
        return False


def check(chosen: Sequence[Mutant], scratches: Sequence[Scratch]) -> dict[str, int]:
    """Print what becomes of each mutant; returns how many came to what. Raises SystemExit when tests fail without a change."""
    unchanged = outcomes([Run(None, tests) for tests in dict.fromkeys(m.tests for m in chosen)], scratches)
    if failing := [run for run in unchanged if run.code != PASSED]:
        raise SystemExit("\n".join(f"These tests fail without any change: {run.tests}\n{run.said}" for run in failing))
    results = dict.fromkeys((KILLED, SURVIVED, STALE), 0)
    stale = [Run(m, m.tests, BROKEN) for m in chosen if not applies(m)]
    for done in (*stale, *outcomes([Run(m, m.tests) for m in chosen if applies(m)], scratches)):
        assert done.mutant is not None
        results[done.result] += 1
        print(f"{done.result:8} {done.mutant.name}" + ("" if done.result == KILLED else f": {done.mutant.harm}"), flush=True)
    return results


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
    with tempfile.TemporaryDirectory(prefix="relrep-mutants-") as folder:
        results = check(chosen, [Scratch(Path(folder, str(number))) for number in range(options.jobs)])
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(usage.ru_utime + usage.ru_stime for usage in used)
    print(", ".join(f"{count} {result}" for result, count in results.items()), f"in {seconds:.0f} s of CPU")
    return int(results[KILLED] < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
