"""The files of one run of stitch: read, divided into training and test rows, and checked for leaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import lru_cache
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.anchors.correspondences import Pairs
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record, say
from relrep_cli.embedding import RELATIVE, Embedding
from relrep_cli.relative.recipes import Recipe
from relrep_cli.splits import anchors_in_test_rows, assign_splits, refuse_leaks
from relrep_cli.stitching.grid import Target, check, target_of
from relrep_cli.stitching.universe import Universe, build, for_heads
from relrep_cli.store.positions import check_positions
from relrep_cli.store.reading import PLAIN, Reading

TEST_SIZE = 0.2


@dataclass(frozen=True, eq=False)
class Spaces:
    """The files of one run, each with a split.

    recipe: has the anchors; None without any. target: what heads learn; None where no file has the column. failed: records of
    the files that cannot be used. flags: columns that every result gets. vectors: the (m, d) anchors of each space, as far as
    they were needed. universes: those that were built, by the label of their method.
    """

    es: list[Embedding]
    recipe: Recipe | None
    target: Target | None
    failed: list[Record]
    flags: Record
    vectors: dict[int, np.ndarray] = field(default_factory=dict)
    universes: dict[str, Universe] = field(default_factory=dict)

    def anchors(self, place: int) -> np.ndarray:
        """(m, d) the anchors in one of the spaces."""
        if place not in self.vectors and self.recipe is not None:
            self.vectors[place] = self.recipe.vectors(self.es[place])
        return self.vectors[place]

    def universe(self, name: str, params: Mapping[str, Any], heads: bool = True) -> Universe:
        """The common space of all of them, built once: for heads, or for lookups."""
        if name not in self.universes:
            how = for_heads(params) if heads else dict(params)
            self.universes[name] = build(name, [self.anchors(place) for place in range(len(self.es))], how)
        return self.universes[name]


@dataclass(frozen=True)
class Column:
    """The column that heads predict.

    numbers: whether integers are regression targets. optional: whether files without the column will do. source: folder of
    the images that decoders reconstruct, "" for a column.
    """

    name: str
    numbers: bool = False
    optional: bool = False
    source: str = ""

    def target(self, es: Sequence[Embedding]) -> Target:
        """What heads learn on these spaces. Raises DataError; see target_of."""
        if not self.source:
            return target_of(es, self.name, self.numbers)
        return _images(self.source)


@dataclass(frozen=True)
class Division:
    """How files without a split are divided.

    size: share of test rows, None for TEST_SIZE. allow_test_anchors: whether anchors may be test rows.
    """

    size: float | None
    seed: int
    allow_test_anchors: bool


def read_spaces(
    files: Sequence[str], recipe: Recipe | None, column: Column, division: Division, digests: bool, reading: Reading = PLAIN
) -> Spaces:
    """Read the files and give each a split.

    A file that cannot be used becomes a record in `failed`. digests: whether to compute the digest of a file that stores none.

    Raises DataError if a file is unusable and at most two were named, if fewer than two usable files are left, or if a test
    item of one file is a training item of another, or an anchor.
    """
    failed: list[Record] = []
    errors: list[DataError] = []

    def usable(made: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a step for one file; None where it failed."""
        try:
            return made(*arguments)
        except DataError as error:
            if len(files) <= 2:
                raise
            uri = arguments[0].uri if isinstance(arguments[0], Embedding) else arguments[0]
            errors.append(error)
            failed.append({"encoder": uri, "error": str(error)})

    es = [e for file in files if (e := usable(_read, file, recipe, digests, reading))]
    undivided = [e.uri for e in es if "split" not in e.obs]
    es = _divided(es, recipe, division)
    predicts = not column.optional or bool(column.source) or any(column.name in e.obs for e in es)
    if predicts:
        es = [e for e in es if usable(_checked, e, column)]
    if len(es) < min(len(files), 2):
        raise errors[0]
    flags = _flags(es, undivided, recipe, division)
    return Spaces(es, recipe, column.target(es) if predicts else None, failed, flags)


def spaces_of(es: Sequence[Embedding], recipe: Recipe | None, column: Column, division: Division) -> Spaces:
    """Give each of some embeddings a split, as `read_spaces` does with files. Raises DataError when one cannot be used."""
    undivided = [e.uri for e in es if "split" not in e.obs]
    divided = _divided([_projectable(e, recipe) for e in es], recipe, division)
    for e in divided:
        _checked(e, column)
    return Spaces(divided, recipe, column.target(divided), [], _flags(divided, undivided, recipe, division))


def _divided(es: list[Embedding], recipe: Recipe | None, division: Division) -> list[Embedding]:
    """The spaces with a split each."""
    if division.size is not None and all("split" in e.obs for e in es):
        raise UsageError("--test-size draws a split for files without one, and all files have one", "Leave it out.")
    return assign_splits(es, _items(recipe, es), division.size or TEST_SIZE, division.seed)


def _flags(es: list[Embedding], undivided: Sequence[str], recipe: Recipe | None, division: Division) -> Record:
    """The flags of all records: drawn splits, and anchors that are test rows. Raises DataError for leaks and unpaired rows.

    undivided: the files for which a split was drawn.
    """
    if recipe is None or not isinstance(recipe.meaning, Pairs):
        check_positions(es)
    for group in groups_sharing_ids(recipe, es):
        refuse_leaks(group)
    drawn = _report_drawn_splits(undivided, es, division.size or TEST_SIZE, division.seed)
    return drawn | refuse_test_anchors(es, recipe, division.allow_test_anchors)


def _read(file: str, recipe: Recipe | None, digests: bool, reading: Reading) -> Embedding:
    e = store.read(file, reading)
    return _projectable(store.digested(e) if digests else e, recipe)


def _projectable(e: Embedding, recipe: Recipe | None) -> Embedding:
    """The embedding itself. Raises DataError when it is relative, or an anchor has no vector in its space."""
    if recipe is not None:
        if e.kind == RELATIVE:
            raise DataError("is a relative representation already", "Give the absolute file that it was made from.", file=e.uri)
        recipe.vectors(e)
    return e


def _items(recipe: Recipe | None, es: Sequence[Embedding]) -> np.ndarray:
    """The ids of all items that are anchors in one of the spaces."""
    items = [np.zeros(0, "S1")] if recipe is None or not es else [recipe.items(e) for e in es]
    return items[0] if all(np.array_equal(ids, items[0]) for ids in items) else np.unique(np.concatenate(items))


@lru_cache(1)
def _images(uri: str) -> Target:
    """The images of a source as the target of decoders. Raises DataError when it holds anything else."""
    from relrep_cli import sources

    items = sources.read(uri, sources.chosen(uri, takes={"images"}), {})
    if items.kind != "images":
        raise DataError(
            f"holds {items.kind}, not images", "Name the folder that the encoders were trained on.", file=printable(uri)
        )
    return Target("images", np.zeros(0, "S1"), items.x, items.ids)


def _checked(e: Embedding, column: Column) -> Any:
    return check(e, column.target([e]))


def _report_drawn_splits(undivided: Sequence[str], es: Sequence[Embedding], size: float, seed: int) -> Record:
    """Say which splits were drawn; the flag for the records."""
    for e in es:
        if e.uri in undivided:
            rows = e.rows_of_split("test")
            count = 0 if rows is None else len(rows)
            say(
                f"{e.uri}: has no split; {count} of {e.n} items are drawn by id as test rows (--test-size {size}, seed {seed})."
            )
    return {"split": f"drawn: {size} by seed {seed}"} if undivided else {}


def groups_sharing_ids(recipe: Recipe | None, es: list[Embedding]) -> list[list[Embedding]]:
    """The spaces in groups within which an id means one item: all of them, unless pairs name items by their sides."""
    if recipe is None or not isinstance(recipe.meaning, Pairs) or recipe.meaning.one_name:
        return [es]
    groups: dict[str, list[Embedding]] = {}
    for e in es:
        groups.setdefault(recipe.meaning.side_of(e, recipe.anchor_sources), []).append(e)
    return list(groups.values())


def refuse_test_anchors(es: list[Embedding], recipe: Recipe | None, allowed: bool) -> Record:
    """Raise DataError for anchors that are test rows; where they are allowed, return the flag for the records."""
    groups = [(group, _items(recipe, group)) for group in groups_sharing_ids(recipe, es)]
    leaked = np.concatenate([anchors_in_test_rows(*one) for one in groups])
    count = sum(len(ids) for _, ids in groups)
    if not len(leaked):
        return {}
    some = printable(bytes(leaked[0]))
    if not allowed:
        raise DataError(
            f"{len(leaked)} of {count} anchors are test rows, such as {some}",
            "Choose anchors among training rows (relrep anchor does), or write --allow-test-anchors, and every result says so.",
        )
    say(f"{len(leaked)} of {count} anchors are test rows, such as {some}: results look better than they are.")
    return {"test_anchors": len(leaked)}


def report_unseen(e: Embedding, target: Target, rows: np.ndarray | None) -> None:
    """Say how many rows do not count, because no head was trained on their class.

    rows: (k,) row numbers.
    """
    if rows is not None and (count := target.unseen(e, rows)):
        name = printable(target.column)
        say(f"{e.uri}: {count} of {len(rows)} test items have a {name} that no training item has; they do not count.")
