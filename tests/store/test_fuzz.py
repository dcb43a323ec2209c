"""Every kind of file that relrep reads, damaged at random: it is read or refused in one line, without a library's warning.

RELREP_FUZZ=500 tries that many mutants of each kind in a sandbox (fuzz_sandbox.py); a few are read with child processes, too.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import fuzz
import pytest
from fuzz_kinds import Kind, replace_leaf
from fuzz_sandbox import CONTAINED, LIMIT, SOUND, Verdict, judge, verdicts

from relrep_cli.base.errors import DataError
from relrep_cli.store import child

COUNT = int(os.environ.get("RELREP_FUZZ", "100"))
GUARDED = 2  # mutants of each kind that are read as a user reads them, with a process for each file
FIRST = 1_000_000
FOUND = {
    "parquet": [2801],
    "faiss": [401],
    "quantised npz": [372],
    "texts": [378],
    "head": [167],
}  # once were a fault, tried in every run
LARGE = {"lance": 200}  # MiB of a refusal, most of which the package's import takes
ALL_READ_OR_REFUSED = {"record", "png", "map", "part of compare", "part of stitch"}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(fuzz.all_kinds()))
def test_damaged_files_are_read_or_refused(name: str) -> None:
    seeds = range(FIRST, FIRST + COUNT)
    verdicts = list(fuzz.judged(name, [*seeds, *FOUND.get(name, [])]))
    assert not [one for one in verdicts if one.outcome not in SOUND or one.wall > LIMIT]
    assert {one.outcome for one in verdicts} >= {"read", "refused"} or name in ALL_READ_OR_REFUSED or COUNT < 100
    refused = [one for one in verdicts if one.outcome == "refused"]
    assert max((one.cpu for one in refused), default=0) < 2
    assert max((one.memory for one in refused), default=0) < LARGE.get(name, 60)
    guarded = list(fuzz.judged(name, seeds[:GUARDED], guarded=True))
    wanted = ["refused" if one.outcome == CONTAINED else one.outcome for one in verdicts[:GUARDED]]
    assert [one.outcome for one in guarded] == wanted


@pytest.mark.parametrize("name", list(fuzz.all_kinds()))
def test_good_files_are_read(name: str) -> None:
    kind, good = fuzz.goods(name)
    assert [one.outcome for one in verdicts(kind, good.__getitem__, range(len(good)))] == ["read"] * len(good)


def test_a_mutant_is_the_same_for_ever() -> None:
    assert fuzz.mutant_of("pairs", 7) == fuzz.mutant_of("pairs", 7) != fuzz.mutant_of("pairs", 8)


def test_a_leaf_is_replaced() -> None:
    rng, made = random.Random(0), []
    for _ in range(50):
        value = {"a": [1, {"b": 2}], "c": "d"}
        replace_leaf(value, rng)
        made.append(str(value))
    assert len(set(made)) > 20 and str({"a": [1, {"b": 2}], "c": "d"}) not in made


def test_faults_are_seen(tmp_path: Path) -> None:
    """A warning and a message of two lines are no refusals."""

    def fails(error: Exception) -> str:
        def use(path: object) -> None:
            raise error

        return judge(tmp_path / "x", use, named=False)

    assert fails(DataError("damaged")) == "refused"
    assert fails(DataError("two\nlines")).startswith("message") and fails(ValueError("x")).startswith("ValueError")
    assert fails(RuntimeWarning("overflow")).startswith("RuntimeWarning")


def test_a_sandbox_survives_the_death_of_a_reader() -> None:
    """The mutant that kills it is named; those before and after it are judged all the same."""

    def use(path: Path) -> None:
        if path.read_bytes() == b"2":
            os.kill(os.getpid(), signal.SIGSEGV)

    judgements = list(verdicts(Kind("x", list, use), lambda seed: b"%d" % seed, range(4)))
    assert [one.outcome for one in judgements] == ["read", "read", "crash: SIGSEGV", "read"]
    assert [one.seed for one in judgements] == [0, 1, 2, 3] and isinstance(judgements[0], Verdict)


def test_a_death_in_the_guarded_part_counts_as_one_of_a_child() -> None:
    """Where reading alone is slow; a death elsewhere is still a fault."""

    def use(path: Path) -> None:
        content = path.read_bytes()
        if content == b"1":
            child.run("os:abort")
        elif content == b"2":
            os.abort()

    kind = Kind("x", list, use, slow_import="json")
    judgements = list(verdicts(kind, lambda seed: b"%d" % seed, range(4)))
    assert [one.outcome for one in judgements] == ["read", CONTAINED, "crash: SIGABRT", "read"]


def test_every_format_is_fuzzed() -> None:
    from relrep_cli.store.foreign import FORMATS

    endings = {Path(kind.name).suffix for kind in fuzz.all_kinds().values()}
    assert [one.endings for one in FORMATS if not endings & set(one.endings)] == []
