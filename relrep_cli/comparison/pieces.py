"""One pair of large files, measured by several processes: the pieces that they compute, and who sends them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from relrep_cli.base.task_cache import task_key
from relrep_cli.comparison.joins import join
from relrep_cli.comparison.pairs_of_files import largest_k, measure
from relrep_cli.comparison.runs import Session, usable
from relrep_cli.embedding import Embedding, select
from relrep_cli.engine.jobs import Advance, Job, Task, listening
from relrep_cli.engine.running import Engine, outcomes
from relrep_cli.numerics.spread import Piece, Spread, Taken

LARGEST = 1 << 30  # bytes of the values of a piece


def spread_over(engine: Engine, pair: tuple[str, str], setup: str, shared: Any) -> Spread:
    """What sends the pieces of a metric of this pair. setup, shared: how another process makes its Session; see Job."""

    def compute(task: tuple[Any, ...], pieces: Sequence[Piece]) -> list[Any]:
        name = task[1]
        tasks = [Task((*pair, *task, piece), f"{name}, {piece.what}, piece {number}") for number, piece in enumerate(pieces, 1)]
        results = []
        for outcome in outcomes(Job(f"measuring {name}", f"{__name__}:measure_piece", setup, shared, tasks), engine):
            if outcome.error is not None:
                raise outcome.error
            results.append(outcome.result)
        return results

    return Spread(compute)


def measure_piece(
    session: Session, advance: Advance, a: str, b: str, place: int, name: str, params: Mapping[str, Any], piece: Piece
) -> Any:
    """Compute one piece of a metric. place: of the view. Values of rows are kept by content, for a run that was stopped."""
    with listening():  # the main process has printed the notes on the files
        x, y, content = _prepared(session, a, b, place)
    key = content and piece.what == "rows" and task_key(content, name, dict(params), session.plan.seed, piece.some)
    known = session.cache.get_bytes(f"{key}.piece", LARGEST) if key else None
    if known is not None:
        return np.frombuffer(known, "<f8", offset=16), np.frombuffer(known, "<i8", 2).tolist()
    k = largest_k(session.plan.tasks, x.n)
    workspace = replace(session.workspace.for_pair(k), piece=piece)
    try:
        measure(name, params, x, y, session.plan.seed, workspace)
    except Taken as taken:
        if key:
            values, tied = taken.result
            session.cache.put_bytes(f"{key}.piece", np.array(tied, "<i8").tobytes() + values.astype("<f8").tobytes())
        return taken.result
    raise RuntimeError(f"{name} has no work that can be cut into {piece.what}")


def _prepared(session: Session, a: str, b: str, place: int) -> tuple[Embedding, Embedding, str]:
    """The common rows of a pair in one view, and a name of their content, "" where it is not known. Made once."""
    if (a, b, place) not in session.prepared:
        left, right = (usable(session.views[uri])[place] for uri in (a, b))
        rows = join(usable(session.views[a])[0].embedding, usable(session.views[b])[0].embedding)
        x, y = select(left.embedding, rows[0]), select(right.embedding, rows[1])
        digest = hashlib.sha256(rows[0].tobytes() + rows[1].tobytes()).hexdigest()
        content = left.content and f"{left.content} {right.content} {digest}"
        session.prepared[a, b, place] = x, y, content
    return session.prepared[a, b, place]
