"""Passes over many candidates by several processes: each looks at ranges of them, and keeps what it has seen.

`farthest` passes over all candidates a few times, and `kmeans` once, to find the items nearest to its centroids.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from relrep_cli.anchors.candidates import Candidates, Frame
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.task_cache import Records, task_key
from relrep_cli.engine.jobs import Advance, Job, Task, listening, named
from relrep_cli.engine.running import Engine, outcomes
from relrep_cli.neighbors.kmeans import nearest_in
from relrep_cli.numerics.farthest_rows import Far, far_apart, farthest_of, update
from relrep_cli.numerics.spread import WORTH, row_ranges

DIVISIBLE = ("farthest", "kmeans")  # strategies that ask Candidates.ranges
NUMBERS = 1 << 22  # of vectors that a process holds at a time
LARGEST = 1 << 31  # bytes of what is kept of a range


@dataclass(frozen=True, eq=False)
class View:
    """What a process must know to look at candidates. again: makes them in another process, as (name of a function, values).

    name: of the content and of all options. records: where what was seen is kept. centres: (m, D) of kmeans.
    """

    again: tuple[str, Any]
    frame: Frame | None
    dims: int
    name: str
    records: Records
    centres: np.ndarray | None = None


@dataclass(frozen=True)
class Ranges:
    """Looks at all candidates by an engine.

    again, name, records: see View. size: the number of candidates in a range; 0 for what is worth a task.
    """

    engine: Engine
    again: tuple[str, Any]
    name: str
    records: Records
    size: int = 0

    def farthest(self, c: Candidates, first: int, m: int, by: str) -> np.ndarray:
        """(m,) places among the candidates, as the strategy chooses them. A run that was stopped goes on from the last pass."""
        view, key = self._view(c, by), task_key(self.name, "chosen")

        def everywhere(chosen: np.ndarray) -> Far:
            self.records.put(key, {"places": chosen.tolist()})
            return Far.of(self._all(c, view, "far", m / 4, chosen.tolist()))

        known = (self.records.get(key) or {}).get("places") or [first]
        return far_apart(lambda places: c.vectors_in(view.frame, places), known, m, everywhere)

    def near(self, c: Candidates, centres: np.ndarray, by: str) -> list[np.ndarray]:
        """For each range, (m, r) places of the candidates in it that are nearest to each of the centres (m, D)."""
        return self._all(c, self._view(c, by, centres), "near", len(centres))

    def _view(self, c: Candidates, by: str, centres: np.ndarray | None = None) -> View:
        return View(self.again, c.frame(by), sum(e.d for e in c.spaces), self.name, self.records, centres)

    def _all(self, c: Candidates, view: View, what: str, times: float, *arguments: Any) -> list[Any]:
        """The results for all ranges, in their order. times: how many vectors each candidate is compared with."""
        ranges = row_ranges(len(c), WORTH / self.size if self.size else view.dims * times)
        tasks = [Task((what, start, stop, *arguments), f"items {start + 1} to {stop}") for start, stop in ranges]
        self.records.share()
        results = []
        for outcome in outcomes(Job("choosing anchors", f"{__name__}:look", f"{__name__}:looker", view, tasks), self.engine):
            if outcome.error is not None:
                raise outcome.error
            results.append(outcome.result)
        return results


def looker(view: View) -> tuple[View, Candidates]:
    """The state of a process that looks. The process that sees the user has said what is to be said of the files."""
    make, values = view.again
    with listening():
        return view, named(make)(values)


def look(state: tuple[View, Candidates], advance: Advance, what: str, start: int, stop: int, *arguments: Any) -> Any:
    """Look at the candidates from start to stop: for those far from the chosen ones, or for those near each centre."""
    view, c = state
    if what == "near":
        assert view.centres is not None
        return nearest_in(c.vectors_between(view.frame, start, stop), view.centres) + start
    return farthest_of(_gaps(view, c, advance, start, stop, *arguments), view.dims, start)


def _gaps(view: View, c: Candidates, advance: Advance, start: int, stop: int, chosen: list[int]) -> np.ndarray:
    """The squared distance of each candidate to the nearest chosen one, from those of the last pass where they were kept."""
    dtype = np.dtype(view.frame.dtype if view.frame else c.spaces[0].x.dtype.newbyteorder("="))
    name = f"{task_key(view.name, 'gaps', start, stop)}.gaps"
    gaps, done, kept = np.full(stop - start, np.inf, dtype), 0, view.records.get_bytes(name, LARGEST)
    if kept is not None and len(kept) == 8 + gaps.nbytes and int.from_bytes(kept[:8], "little") <= len(chosen):
        gaps, done = np.frombuffer(kept, dtype, offset=8).copy(), int.from_bytes(kept[:8], "little")
    new = np.array(chosen[done:], np.int64)
    gaps[new[(new >= start) & (new < stop)] - start] = -1  # nearer than any, so never again
    picks, rows = c.vectors_in(view.frame, new), max(1, NUMBERS // view.dims)
    for low in range(start, stop if len(new) else start, rows):
        block = slice(low, min(low + rows, stop))
        update(c.vectors_in(view.frame, block), picks, gaps[block.start - start : block.stop - start])
        advance((block.stop - start) / len(gaps))
    if len(new):
        view.records.put_bytes(name, len(chosen).to_bytes(8, "little") + gaps.tobytes())
    return gaps
