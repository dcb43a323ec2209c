"""The work of `relrep compare`: files as they are seen, and their pairs one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from relrep_cli import store
from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.output import Record, progress, say
from relrep_cli.base.task_cache import Records
from relrep_cli.cli import compare_layers as layers
from relrep_cli.cli import options
from relrep_cli.comparison.pairs_of_files import Rows, View, compare_pair, failure, join, ratios, tasks
from relrep_cli.comparison.permutations import Significance
from relrep_cli.embedding import Embedding, in_id_order, of_split
from relrep_cli.metrics import METRICS
from relrep_cli.numerics.workspace import Workspace
from relrep_cli.relative.projection import basis, relative
from relrep_cli.relative.recipes import Recipe


def views_of(uri: str, split: str | None, recipes: list[Recipe], named: bool, batch: bool) -> list[View] | DataError:
    """The file as it is and, by each recipe, relative to its anchors; cut to the split after anything was fitted.

    named: give the views content names, for records: of the file, and of the rows and labels in use, for other splits and
    labels are other results. batch: hand an error back instead of raising it.
    """
    try:
        e = store.digested(store.read(uri)) if named else store.read(uri)
        e = in_id_order(e) if recipes else e  # statistics of a recipe are sums over all training rows
        kept = in_id_order(of_split(e, split))
        name = f"{e.digest}:{_in_use(kept)}" if named else ""
        views = [View("absolute", kept, name)]
        for recipe in recipes:
            to = basis(e, recipe)
            if recipe is recipes[-1]:
                options.notes(e, to)
            content = f"{name}:{recipe.space()}:{to.digest()}" if named else ""
            views.append(View(recipe.label, relative(kept, to), content))
        return views
    except DataError as error:
        if batch:
            return error
        raise


def _in_use(kept: Embedding) -> str:
    """A digest of the ids and labels of the rows that are compared."""
    columns = [kept.ids, *([kept.obs["label"]] if "label" in kept.obs else [])]
    return hashlib.sha256(b"".join(f"{c.dtype} {len(c)}\n".encode() + c.tobytes() for c in columns)).hexdigest()


def _usable(views: list[View] | DataError) -> list[View]:
    if isinstance(views, DataError):
        raise views
    return views


@dataclass(frozen=True, eq=False)
class Job:
    """What is done to every pair. rows: whether each row's own values are wanted. alone: one bad file ends it all."""

    seen: Mapping[str, list[View] | DataError]
    groups: list[list[str]]
    chosen: dict[str, dict[str, Any]]
    seed: int
    kept: Records
    require_all: bool
    rows: bool
    alone: bool
    tests: Significance

    def run(self, pairs: list[tuple[str, str]]) -> tuple[list[Record], list[Rows]]:
        """All records and row values, pair by pair."""
        records: list[Record] = []
        rows: list[Rows] = []
        workspace = Workspace.of_run(self.kept)
        with progress("comparing") as advance:
            for done, (a, b) in enumerate(pairs):
                advance(done, len(pairs), f"{a} {b}")
                place = partial(_place, advance, done, len(pairs), f"{a} {b}: permutations")
                try:
                    found, of_rows = self.pair(a, b, place, workspace)
                except DataError as error:
                    if self.alone:
                        raise
                    found, of_rows = [failure(a, b, name, error) for name, _ in tasks(self.chosen)], []
                records += found
                rows += of_rows
        return records, rows

    def pair(self, a: str, b: str, place: Any, workspace: Workspace) -> tuple[list[Record], list[Rows]]:
        """One pair of files. Raises DataError when one cannot be used, or they share no rows."""
        left, right = _usable(self.seen[a]), _usable(self.seen[b])
        shared = join(left[0].embedding, right[0].embedding, self.require_all)
        _say_loss(left[0].embedding, right[0].embedding, len(shared[0]))
        _warn(left[-1].embedding, right[-1].embedding, list(self.chosen))
        found, rows = compare_pair(left, right, shared, self.chosen, self.seed, self.kept, self.rows, workspace)
        if self.tests.permutations:
            family = layers.family(self.groups, a, b)
            self.tests.add(found, (left, right), shared, tasks(self.chosen), family, place, workspace)
        return found + ratios(found, len(left)), rows


def _place(advance: Any, done: int, total: int, note: str, part: float) -> None:
    advance(done + part, total, note)


def _say_loss(a: Embedding, b: Embedding, n: int) -> None:
    if n < max(a.n, b.n):
        say(f"{a.uri} and {b.uri}: {n} common ids; {a.n - n} and {b.n - n} rows left out.")


def _warn(x: Embedding, y: Embedding, names: list[str]) -> None:
    """Coordinates of two spaces mean nothing to each other unless the spaces are one."""
    affected = [n for n in names if METRICS[n].reads_coordinates and x.d == y.d]
    if affected and (not x.space or x.space != y.space):
        spaces = " and ".join(printable(e.space) or "an unnamed one" for e in (x, y))
        verb = "reads" if len(affected) == 1 else "read"
        which = ", ".join(affected)
        say(f"{x.uri} and {y.uri}: different spaces ({spaces}); {which} {verb} coordinates that need not correspond.")
