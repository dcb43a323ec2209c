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
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = "relrep_cli"
COPIED = (PACKAGE, "tests", "sample_data", "docs", "pyproject.toml", "README.md")
PATIENCE = 300  # seconds of wall time; a mutant whose tests take longer hangs, which is noticed
PASSED, FAILED = 0, 1  # exit codes of pytest; any other means that no test ran
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
        self.folder, self.writes, self.output = folder, 0, ""
        for name in COPIED:
            source = CHECKOUT / name
            if source.is_dir():
                shutil.copytree(source, folder / name)
            elif source.exists():
                shutil.copy2(source, folder / name)

    def pytest(self, tests: Sequence[str]) -> int:
        """The exit code of pytest on the copy; FAILED where it takes too long."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        environment = {**os.environ, **one_thread, "PYTHONPATH": str(self.folder)}
        try:
            ran = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            self.output = f"no end after {PATIENCE} s"
            return FAILED
        self.output = ran.stdout + ran.stderr
        return ran.returncode

    def judge(self, mutant: Mutant) -> str:
        """Apply the change, run its tests and take the change back."""
        path = self.folder / PACKAGE / mutant.file
        try:
            source = path.read_text()
            changed = mutant.changed(source)
        except (ValueError, OSError):
            return STALE
        try:
            self._write(path, changed)
            code = self.pytest(shlex.split(mutant.tests))
        finally:
            self._write(path, source)
        return {PASSED: SURVIVED, FAILED: KILLED}.get(code, STALE)

    def _write(self, path: Path, source: str) -> None:
        """Write with a time of its own: compiled modules are told from newer ones by whole seconds and size alone."""
        path.write_text(source)
        self.writes += 1
        moment = 2_000_000_000 + self.writes
        os.utime(path, (moment, moment))


def failing_without_a_change(scratch: Scratch, chosen: Sequence[Mutant]) -> str:
    """What pytest says where the chosen tests fail on the package as it is; empty where they pass."""
    each = {m.tests for m in chosen}
    named = sorted({node for tests in each if " -k " not in tests for node in shlex.split(tests)})
    for tests in [*([named] if named else []), *(shlex.split(tests) for tests in sorted(each) if " -k " in tests)]:
        if scratch.pytest(tests) != PASSED:
            return f"{shlex.join(tests)}\n{scratch.output}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description="Change the code in one small way at a time, and see that tests notice.")
    parser.add_argument("patterns", nargs="*", default=["*"], metavar="PATTERN", help="names of mutants, such as 'cka-*'")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="how many to run at the same time [default: 1]")
    parser.add_argument("--list", action="store_true", help="print the mutants and what each would do to a user")
    options = parser.parse_args()
    chosen = mutants(options.patterns)
    if options.list:
        for mutant in chosen:
            print(f"{mutant.name}: {mutant.harm}")
        return 0
    results: dict[str, int] = dict.fromkeys((KILLED, SURVIVED, STALE), 0)
    with tempfile.TemporaryDirectory(prefix="relrep-mutants-") as folder:
        free: SimpleQueue[Scratch] = SimpleQueue()
        first = Scratch(Path(folder, "0"))
        if said := failing_without_a_change(first, chosen):
            print(f"These tests fail without any change:\n{said}")
            return 1
        free.put(first)
        for number in range(1, options.jobs):
            free.put(Scratch(Path(folder, str(number))))

        def judge(mutant: Mutant) -> str:
            scratch = free.get()
            try:
                return scratch.judge(mutant)
            finally:
                free.put(scratch)

        with ThreadPoolExecutor(options.jobs) as pool:
            for mutant, result in zip(chosen, pool.map(judge, chosen), strict=True):
                results[result] += 1
                print(f"{result:8} {mutant.name}" + ("" if result == KILLED else f": {mutant.harm}"), flush=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(", ".join(f"{count} {result}" for result, count in results.items()), f"in {used.ru_utime + used.ru_stime:.0f} s of CPU")
    return int(results[KILLED] < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
