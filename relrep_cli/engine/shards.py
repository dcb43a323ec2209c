"""Shards: a job cut into N parts, so that N runs which know nothing of each other do one part each."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from relrep_cli import __version__
from relrep_cli.base.errors import UsageError
from relrep_cli.base.lazy_dataclasses import dataclass

AUTO = "auto"
HEAD = "relrep part"  # the key under which a part says which command has written it
SEAL = "sha256"  # the key of the digest of all else in a part
SCHEDULERS = {  # the variables of an array job: own number, first number, last number, step
    "SLURM": ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP"),
    "LSF": ("LSB_JOBINDEX", "", "LSB_JOBINDEX_END", "LSB_JOBINDEX_STEP"),
    "Grid Engine": ("SGE_TASK_ID", "SGE_TASK_FIRST", "SGE_TASK_LAST", "SGE_TASK_STEPSIZE"),
    "PBS": ("PBS_ARRAY_INDEX", "", "", ""),  # which does not tell its tasks how many they are, as Torque does not
    "Torque": ("PBS_ARRAYID", "", "", ""),
}
COUNT = "SLURM_ARRAY_TASK_COUNT"  # fewer than the numbers say where an array is a list, such as 3,7


@dataclass(frozen=True)
class Shard:
    """Part `number` of `count`, counted from 1.

    >>> [list(Shard(i, 3).of(7)) for i in (1, 2, 3)]
    [[0, 1], [2, 3], [4, 5, 6]]
    """

    number: int
    count: int

    def of(self, total: int) -> range:
        """The places, among `total`, that belong to this part."""
        return range((self.number - 1) * total // self.count, self.number * total // self.count)

    def file(self, output: str, ending: str = "") -> str:
        """The name of the part's own output. ending: in place of that of the whole.

        >>> Shard(2, 8).file("out/a.rel.h5"), Shard(2, 8).file("x.tsv", ".part")
        ('out/a.rel.2-of-8.h5', 'x.tsv.2-of-8.part')
        """
        path = Path(output)
        stem, suffix = (path.name, ending) if ending else (path.stem, path.suffix)
        return str(path.with_name(f"{stem}.{self.number}-of-{self.count}{suffix}"))


def shard_of(text: str, environment: Mapping[str, str] = os.environ) -> Shard | None:
    """Read `--shard`: I/N; auto for the place in an array job; auto/N where the scheduler does not tell N. "" is no shard.

    >>> shard_of("2/8"), shard_of("auto", {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MAX": "3"})
    (Shard(number=2, count=8), Shard(number=3, count=3))
    """
    if not text:
        return None
    number, _, count = text.partition("/")
    if number == AUTO:
        return _of_array(count, environment)
    if not re.fullmatch(r"[0-9]{1,9}/[0-9]{1,9}", text) or not 1 <= int(number) <= int(count):
        raise UsageError(f"--shard {text} names no part", "Write --shard 1/8 to --shard 8/8, or --shard auto in an array job.")
    return Shard(int(number), int(count))


def _of_array(count: str, environment: Mapping[str, str]) -> Shard:
    """The place of this task in an array job. With N given, its own number is the part, so that some parts can run again."""
    for scheduler, (own, first, last, step) in SCHEDULERS.items():
        index = environment.get(own, "")
        if not index.isdigit() or (index == "0" and scheduler == "LSF"):  # where it is 0 without an array
            continue
        if count:
            number, total = int(index), int(count)
        elif last not in environment:
            raise UsageError(
                f"{scheduler} does not say how many tasks the array job has", "Write --shard auto/N, with their number."
            )
        else:
            start, by = int(environment.get(first) or 1), int(environment.get(step) or 1)
            number, total = (int(index) - start) // by + 1, (int(environment[last]) - start) // by + 1
            if (start > 1 and by == 1) or environment.get(COUNT, str(total)) != str(total):
                finding = "--shard auto numbers the tasks of a whole array job, and this one has only some"
                raise UsageError(finding, "To do some parts again, write --shard auto/N, with the number of all parts.")
        if not 1 <= number <= total:
            raise UsageError(f"--shard auto is part {number} of {total}", "Number the tasks of the array job from 1 to N.")
        return Shard(number, total)
    raise UsageError("--shard auto works only in an array job", "Write --shard I/N, or start it with sbatch --array=1-N.")


def to_bytes(command: str, content: Mapping[str, Any]) -> bytes:
    """A part of `command` as a file, with a digest of what it holds."""
    stated = {HEAD: command, "version": __version__, **content}
    return json.dumps({**stated, SEAL: _digest(stated)}).encode() + b"\n"


def is_damaged(content: Mapping[str, Any]) -> bool:
    """Whether the content of a part of this version is not what was written; other versions seal in other ways."""
    return content.get("version") == __version__ and content.get(SEAL) != _digest(
        {k: v for k, v in content.items() if k != SEAL}
    )


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def refuse_incomplete(parts: Sequence[tuple[str, Shard, Any]]) -> None:
    """Raise UsageError unless the parts are all those of one run, each once. parts: file, shard, what all have in common."""
    (first, wanted, common), known = parts[0], dict[int, str]()
    for name, shard, own in parts:
        if shard.count != wanted.count:
            finding = f"one part of {shard.count}, and {first} is one of {wanted.count}"
            raise UsageError(finding, "Name the parts of one run.", file=name)
        if own != common:
            raise UsageError(f"other options than {first}", "Name parts that the same command has written.", file=name)
        if shard.number in known:
            finding = f"part {shard.number}, as {known[shard.number]} is"
            raise UsageError(finding, "Name each part once.", file=name)
        known[shard.number] = name
    missing = [number for number in range(1, wanted.count + 1) if number not in known]
    if missing:
        listed = ", ".join(map(str, missing[:20])) + (", …" if len(missing) > 20 else "")
        finding = f"{len(missing)} of {wanted.count} parts are missing: {listed}"
        raise UsageError(finding, "Run the command with --shard for these, or name them.")
