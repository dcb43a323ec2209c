"""The plan of a comparison: which pairs of files, which metrics, and what the results are needed for."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from relrep_cli.base.errors import UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.uris import is_stdin
from relrep_cli.comparison.layers import Groups, Pairs, pairs_of, sides
from relrep_cli.comparison.pairs_of_files import tasks
from relrep_cli.engine.shards import Shard
from relrep_cli.metrics import METRICS


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is made of the results.

    matrix: a table of files by files. heatmap: a picture of that table. distributions: a picture of the row values. row_table:
    a table of the row values. worst: the number of items that agree least to list for each metric, 0 for none. permutations:
    the number of random pairings of each test, 0 for no tests. intervals: whether values get confidence intervals. report:
    the number of items that the summary of row values names for a report, 0 for no summaries.
    """

    matrix: bool = False
    heatmap: bool = False
    distributions: bool = False
    row_table: bool = False
    worst: int = 0
    permutations: int = 0
    intervals: bool = True
    report: int = 0

    @property
    def one_value_per_pair(self) -> bool:
        """Whether each pair of files must have a single value, as a matrix needs."""
        return self.matrix or self.heatmap

    @property
    def keeps_row_values(self) -> bool:
        """Whether the values of all rows are needed at the end."""
        return self.distributions or self.row_table or bool(self.worst)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a comparison computes.

    groups: the URIs that each argument names. pairs: the pairs of URIs, in order. metrics: names with their options. outputs:
    what the results are for. reference: the file that all others are compared with. seed: for everything random. require_all:
    whether every row must have a partner.
    """

    groups: Groups
    pairs: Pairs
    metrics: Mapping[str, Mapping[str, Any]]
    outputs: Outputs
    reference: str | None
    seed: int
    require_all: bool

    @property
    def files(self) -> list[str]:
        """All URIs, in order."""
        return list(itertools.chain(*self.groups))

    @property
    def single(self) -> bool:
        """Whether the plan compares two files only, so that an unusable file leaves nothing to do."""
        return len(self.files) == 2

    def part(self, shard: Shard) -> Plan:
        """The plan of one part: some of the pairs."""
        return replace(self, pairs=[self.pairs[place] for place in shard.of(len(self.pairs))])

    @property
    def tasks(self) -> list[tuple[str, dict[str, Any]]]:
        """Every metric with each set of its parameters."""
        return tasks(self.metrics)

    @property
    def sides(self) -> tuple[list[str], list[str]]:
        """The URIs of the rows and of the columns of a matrix."""
        return sides(self.groups, self.reference)


def refuse_contradictions(outputs: Outputs, metrics: Sequence[str]) -> None:
    """Raise UsageError for outputs that exclude each other, or for a matrix or a heatmap of several metrics."""
    if outputs.permutations and outputs.worst:
        raise UsageError("--worst shows no p-values", "Remove --permutations.")
    if outputs.matrix and outputs.worst:
        raise UsageError("--matrix and --worst cannot be combined", "Choose one of the two.")
    for wanted, option, what in ((outputs.matrix, "--matrix", "a matrix"), (outputs.heatmap, "--plot", "a heatmap")):
        if wanted and len(metrics) > 1:
            raise UsageError(f"{what} shows one metric, not {', '.join(metrics)}", "Write --metric NAME.", place=option)


def make_plan(
    groups: Groups,
    metrics: Mapping[str, Mapping[str, Any]],
    outputs: Outputs | None = None,
    *,
    reference: str | None = None,
    seed: int = 0,
    require_all: bool = False,
) -> Plan:
    """Plan the comparison of several embeddings.

    groups: URIs, one list for each argument; see layers.expand. metrics: names with their options; see Registry.choose.
    outputs: what the results are for. reference: compare every file with this one only; `first` or a URI.

    A matrix of an asymmetric metric needs each pair in both orders.

    Raises UsageError when outputs contradict each other, or when there is nothing to compare.
    """
    outputs = outputs or Outputs()
    if sum(map(len, groups)) < 2:
        joined = [uri for group in groups for uri in group if "," in uri and not os.path.exists(uri)]
        more = "Separate names of files with blanks." if joined else "Name another file to compare with."
        raise UsageError("compare needs two or more files", more)
    if sum(is_stdin(uri) for uri in itertools.chain(*groups)) > 1:
        raise UsageError("standard input can be read once", "Name a file in its other place.", place="-")
    refuse_contradictions(outputs, list(metrics))
    both = outputs.one_value_per_pair and not all(METRICS[name].symmetric for name in metrics)
    pairs = pairs_of(groups, reference, both)
    if not pairs:
        raise UsageError("is the only file", "Name another one to compare with it.", place=f"--reference {reference}")
    return Plan(
        groups=groups, pairs=pairs, metrics=metrics, outputs=outputs, reference=reference, seed=seed, require_all=require_all
    )
