"""Anchor files: choose anchors among the items that files share, and write them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.anchors.candidates import Strategy
from relrep_cli.anchors.choice_costs import cost_of
from relrep_cli.anchors.id_lists import read_anchors
from relrep_cli.anchors.mixtures import Mixtures
from relrep_cli.anchors.row_ranges import Ranges
from relrep_cli.anchors.shared_items import ItemFiles, candidates, collections
from relrep_cli.anchors.strategies import STRATEGIES, Candidates, choose
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import emit, say
from relrep_cli.base.task_cache import Records, records_for
from relrep_cli.embedding import ABSOLUTE, Embedding, Step, chain, make_step, row_numbers, select
from relrep_cli.engine.estimates import takes
from relrep_cli.engine.jobs import Advance, Job, Task
from relrep_cli.engine.running import HERE, Engine, outcomes
from relrep_cli.numerics.devices import NUMPY
from relrep_cli.store.reading import PLAIN

NUMBER = 300


@dataclass(frozen=True, kw_only=True)
class AnchorChoice:
    """Which anchors to choose, and where to write them.

    params: of the strategy. number: None for NUMBER, or for all ids of a list. source: the file of a list, or files of
    another collection. joint: choose by all spaces instead of the first. ids_only: print ids, one a line. reading: of the
    files. engine: where passes over the candidates run. device: where large products are computed; see devices.chosen.
    """

    strategy: str
    params: dict[str, Any]
    number: int | None = None
    joint: bool = False
    source: tuple[str, ...] = ()
    split: str | None = None
    output: str = ""
    ids_only: bool = False
    force: bool = False
    dry_run: bool = False
    seed: int = 0
    reading: store.Reading = PLAIN
    engine: Engine = HERE
    device: str = NUMPY


def write_anchors(spaces: Sequence[Embedding], choice: AnchorChoice) -> None:
    """Choose anchors among the items that all spaces share, and write or print them, unless the output is up to date.

    Raises UsageError, DataError or WriteError.
    """
    entry, output = STRATEGIES[choice.strategy], choice.output
    listed, lists = _listed(entry, choice)
    others = collections(spaces, choice.source, choice.reading.trust_digest) if entry.reads == "collections" else []
    m = choice.number or (len(listed) if listed is not None else NUMBER)
    params = {"strategy": entry.name, "number": m, "split": choice.split or "train", **choice.params}
    if choice.joint:
        params["joint"] = True
    step = make_step("anchor", params, choice.seed, [*spaces, *lists, *others])
    if output and not choice.force and store.identify(output) == step["id"]:
        return say(f"{output}: up to date.")
    if output:
        store.refuse(output, choice.force, [*(e.uri for e in spaces), *choice.source], store.HDF5)
    c = replace(candidates(others or spaces, choice.split, choice.joint, listed), device=choice.device)
    if choice.dry_run:
        say(f"would: choose {m} of {len(c)} items of {', '.join(e.uri for e in spaces)} by {entry.name}")
        cost = cost_of(spaces, c, entry.name, m, str(choice.params.get("by", "")))
        return say(f"would: {takes(cost, max(1, choice.engine.processes))}")
    records = records_for(output, None) if choice.engine.elsewhere else Records(None)
    if choice.engine.elsewhere:
        again = ItemFiles(tuple(e.uri for e in spaces), choice.reading, choice.split, choice.joint)
        c = replace(c, ranges=Ranges(choice.engine, (f"{ItemFiles.__module__}:candidates_of", again), step["id"], records))
    task = Task((entry.name, m, choice.seed, choice.params), entry.name)
    job = Job("choosing anchors", f"{__name__}:chosen", "", None, [task])  # of one task, whose passes are jobs of their own
    (outcome,) = outcomes(job, Engine(log=choice.engine.log), c)
    if outcome.error is not None:
        raise outcome.error
    anchors = outcome.result
    records.close()
    steps = chain([*spaces, *others], step)
    if isinstance(anchors, Mixtures):
        _write_mixtures(output, c, anchors, steps, choice.force)
    else:
        _hand_over(output, c, anchors, choice.ids_only, steps, choice.force)
    if others:
        say("for each other space, give the file of that collection with --anchor-vectors when you project.")


def chosen(c: Candidates, advance: Advance, name: str, m: int, seed: int, params: dict[str, Any]) -> np.ndarray | Mixtures:
    """Choose m anchors by the strategy of that name."""
    anchors: np.ndarray | Mixtures = choose(c, name, m, np.random.default_rng(seed), params)
    return anchors


def _listed(entry: Strategy, choice: AnchorChoice) -> tuple[np.ndarray | None, list[Embedding]]:
    """The ids of a list, and the file that they come from, for the history of the output."""
    if entry.reads != "list":
        return None, []
    source = choice.source
    if len(source) > 1:
        raise UsageError(f"--source: {entry.name} takes one list, and {len(source)} are given", "Name one.", place="--source")
    ids, spare, meaning = read_anchors(source[0], choice.reading)
    if meaning is not None:
        raise DataError(
            "holds pairs or mixtures, not a list of items",
            "Give it to --anchors of project, compare or stitch as it is.",
            file=source[0],
        )
    x = np.zeros((len(ids), 1), np.float32)
    return ids, [store.digested(spare or Embedding(x, ids, uri=source[0]))]


def _line(uri: str, item: str) -> str:
    """An id as a line: unchanged in a pipe, with control characters escaped on a terminal."""
    if "\n" in item:
        raise DataError(
            f"id {printable(item)} holds a line feed, which a file of one id a line cannot hold", "Write -o FILE.", file=uri
        )
    return (printable(item, 4096) if sys.stdout.isatty() else item) + "\n"


def _hand_over(output: str, c: Candidates, places: np.ndarray, ids_only: bool, steps: list[Step], force: bool) -> None:
    e = c.spaces[0]
    chosen = select(e, c.rows[0][places])
    if ids_only:
        emit("".join(_line(e.uri, i.decode(errors="backslashreplace")) for i in chosen.ids.tolist()))
    if output:
        _write(output, chosen, np.asarray(chosen.x), steps, force, {})
        say(f"{output}: {len(places)} anchors of {e.uri}.")


def _write_mixtures(output: str, c: Candidates, mixtures: Mixtures, steps: list[Step], force: bool) -> None:
    e = c.spaces[0]
    x = mixtures.vectors(e, mixtures.names)
    means = Embedding(x, mixtures.names, {}, space=e.space)
    _write(output, means, x, steps, force, mixtures.uns())
    say(f"{output}: {len(x)} mixtures of {len(np.unique(mixtures.items))} items of {e.uri}.")


def _write(output: str, chosen: Embedding, x: np.ndarray, steps: list[Step], force: bool, uns: dict[str, np.ndarray]) -> None:
    store.write(
        output,
        [x],
        shape=x.shape,
        dtype=x.dtype.newbyteorder("=").name,
        ids=chosen.ids,
        obs=chosen.obs,
        var={"id": row_numbers(x.shape[1])},
        kind=ABSOLUTE,
        space=chosen.space,
        steps=steps,
        uns=uns,
        force=force,
    )
