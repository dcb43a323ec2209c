"""The options that say where the tasks of a command run, for every command that runs a job."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, ClassVar

from relrep_cli.base.errors import UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.cli.plain_options import plain_option
from relrep_cli.engine.running import Engine
from relrep_cli.engine.shards import Shard, shard_of
from relrep_cli.numerics.threads import thread_count
from relrep_cli.store.exports import EXPORTS

LOCAL = re.compile(r"local:([1-9][0-9]{0,4})")
MOST_PROCESSES = 1024


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """Which part of the work to do."""

    PANEL: ClassVar[str] = "Running"

    shard: Annotated[
        str,
        plain_option("--shard", "Do part I of N only, for relrep merge; auto takes both from an array job.", "I/N"),
    ] = ""

    @property
    def part(self) -> Shard | None:
        """The shard to do; None for the whole."""
        return shard_of(self.shard)


@dataclass(frozen=True, kw_only=True)
class ProcessOptions:
    """Where tasks run."""

    PANEL: ClassVar[str] = "Running"

    cluster: Annotated[
        str,
        plain_option(
            "--cluster",
            "Run in N processes here (local:N), in N jobs (slurm:N), or on a Dask cluster: address or file.",
            "WHERE",
        ),
    ] = ""
    log: Annotated[
        str, plain_option("--log", "Add a JSON line for each task to FILE: what happened, seconds, memory, error.", "FILE")
    ] = ""

    @property
    def engine(self) -> Engine:
        """The place where tasks run. Raises UsageError when it does not exist."""
        if not self.cluster:
            return Engine(log=self.log)
        if local := LOCAL.fullmatch(self.cluster):
            if int(local[1]) > MOST_PROCESSES:
                raise UsageError(f"--cluster {self.cluster} asks for too many processes", f"Name at most {MOST_PROCESSES}.")
            return Engine(int(local[1]), thread_count(), log=self.log)
        if self.cluster.partition(":")[0] == "local" or self.cluster.isdecimal():
            number = self.cluster if self.cluster.isdecimal() else "4"
            raise UsageError(f"--cluster {self.cluster} names no place to run", f"Write local:{number}.")
        if not re.search(r":\d+$|[./]", self.cluster):
            remedy = "Write local:N, or the address or the file of a Dask scheduler. In a batch system, use --shard auto."
            raise UsageError(f"--cluster {printable(self.cluster)} is no address", remedy)
        return Engine(address=self.cluster, log=self.log)


@dataclass(frozen=True, kw_only=True)
class RowOptions(ProcessOptions, ShardOptions):
    """Where the rows of a file are computed, and which of them."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions(ProcessOptions, ShardOptions):
    """Where tasks run, which of them, and what is kept of them."""

    cache: Annotated[str | None, plain_option("--cache", "Keep finished results in FOLDER, and reuse them.", "FOLDER")] = None


def refuse_standard_input(files: Iterable[str]) -> None:
    """Raise UsageError for `-`, which no other process can read."""
    if any(uri.partition("::")[0] == "-" for uri in files):
        raise UsageError("only one process can read standard input (-)", "Save the input as a file, and name the file.")


def refuse_no_rows(running: RowOptions, output: str, files: Iterable[str]) -> None:
    """Raise UsageError where --cluster or --shard has no HDF5 file to divide, or an input that no other process can read."""
    if running.part is None and not running.engine.elsewhere:
        return
    option = "--shard" if running.part is not None else "--cluster"
    if not output or output == "-" or output.lower().endswith(tuple(EXPORTS)):
        raise UsageError(f"{option} divides the rows of an HDF5 file", f"Name one with -o, or remove {option}.")
    if running.engine.elsewhere:
        refuse_standard_input(files)
