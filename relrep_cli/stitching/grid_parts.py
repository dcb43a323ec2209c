"""Parts of a stitching grid that several runs share: what one run writes, and what makes the whole of all parts.

A part is a JSON file with the frame of the table, the cells of its heads, and the content of the files they come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from relrep_cli import __version__
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record
from relrep_cli.embedding import Embedding
from relrep_cli.engine.jobs import Outcome
from relrep_cli.engine.shards import Shard, refuse_incomplete
from relrep_cli.engine.shards import to_bytes as sealed
from relrep_cli.relative.recipes import anchors_digest
from relrep_cli.stitching.grid_results import Column, Frame, Grid, collect
from relrep_cli.stitching.grid_run import GridPlan
from relrep_cli.stitching.spaces import Spaces

KIND = "stitch"
FOREIGN = ("no part of a stitching grid", "Name files that stitch --shard has written.")


@dataclass(frozen=True)
class GridPart:
    """One part. name: its file. job: what all parts must have in common: the frame, the options, the files."""

    name: str
    shard: Shard
    job: Mapping[str, Any]
    outcomes: Sequence[Outcome]


def to_bytes(plan: GridPlan, frame: Frame, shard: Shard, outcomes: Sequence[Outcome]) -> bytes:
    """Write a part. frame: of the whole. outcomes: the outcomes of the part's heads."""
    run, spaces = plan.settings, plan.spaces
    job = {
        "frame": asdict(frame),
        "failed": plan.failed,
        "methods": [m.to_json() for m in run.methods],
        "heads": {name: dict(params) for name, params in run.heads.items()},
        "seeds": list(run.seeds),
        "anchors": "" if spaces.recipe is None else anchors_digest(spaces.recipe.anchor_ids),
        "contents": [_content(e, spaces) for e in spaces.es],
    }
    content = {
        "shard": [shard.number, shard.count],
        "job": job,
        "heads": [_to_json(outcome) for outcome in outcomes],
    }
    return sealed(KIND, content)


def _content(e: Embedding, spaces: Spaces) -> str:
    """What a file held: its digest covers neither labels nor splits."""
    running = hashlib.sha256(e.digest.encode())
    columns = [e.obs["split"], *([e.obs[spaces.target.column]] if spaces.target and spaces.target.column in e.obs else [])]
    for values in columns:
        running.update(np.ascontiguousarray(values).tobytes())
    return running.hexdigest()


def _to_json(outcome: Outcome) -> dict[str, Any]:
    if outcome.error is not None:
        return {"error": list(outcome.error.args), "lost": outcome.lost}
    return {"cells": outcome.result.cells, "counts": outcome.result.counts}


def from_json(name: str, content: Mapping[str, Any]) -> GridPart:
    """Read a part. Raises DataError when it is none, or when another version of relrep has written it."""
    try:
        if content["version"] != __version__:
            finding = f"relrep {content['version']} has written it, and this is {__version__}"
            raise DataError(finding, "Stitch again.", file=name)
        outcomes = [_outcome(one) for one in content["heads"]]
        part = GridPart(name, Shard(*map(int, content["shard"])), dict(content["job"]), outcomes)
        if len(part.outcomes) != len(part.shard.of(sum(len(_frame(part).uris) for _ in _frame(part).grids))):
            raise DataError(*FOREIGN, file=name)
        return part
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DataError(*FOREIGN, file=name) from None


def _outcome(content: Mapping[str, Any]) -> Outcome:
    if "error" in content:
        finding, remedy, file, place = map(str, content["error"])
        return Outcome(error=DataError(finding, remedy, file=file, place=place), lost=bool(content["lost"]))
    return Outcome(Column([(str(label), int(e), dict(cell)) for label, e, cell in content["cells"]], list(content["counts"])))


def _frame(part: GridPart) -> Frame:
    known = dict(part.job["frame"])
    grids = [Grid(one["place"], one["head"], [(label, own) for label, own in one["routes"]]) for one in known["grids"]]
    return Frame(**{**known, "grids": grids, "order": [(label, head) for label, head in known["order"]]})


def refuse_other_parts(parts: Sequence[GridPart]) -> None:
    """Raise UsageError unless the parts are all those of one run, each once, of the same files."""
    first = parts[0]
    for part in parts[1:]:
        for uri, here, there in zip(_frame(first).uris, first.job["contents"], part.job["contents"], strict=False):
            if here != there and uri in _frame(part).uris:
                finding = f"{uri} had other content than for {first.name}"
                raise UsageError(finding, "Stitch again with the same files.", file=part.name)
    refuse_incomplete([(part.name, part.shard, part.job) for part in parts])


def merged(parts: Sequence[GridPart]) -> tuple[list[Record], list[Record]]:
    """The records of the whole, and those of files that could not be used."""
    outcomes = [outcome for part in sorted(parts, key=lambda part: part.shard.number) for outcome in part.outcomes]
    return collect(_frame(parts[0]), outcomes), list(parts[0].job["failed"])
