"""Translate files of one space into another: fit a map, measure it on items that it was not fitted on, write vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.output import Record, say
from relrep_cli.comparison.joins import join
from relrep_cli.embedding import Embedding, Step, chain, check_positions, find_ids, id_order, make_step, match_ids
from relrep_cli.numerics.blocks import pick, row_blocks
from relrep_cli.numerics.spool import spool
from relrep_cli.numerics.threads import in_order
from relrep_cli.relative.recipes import Recipe, anchors_digest
from relrep_cli.splits import drawn_test_rows
from relrep_cli.stitching import translators
from relrep_cli.stitching.space_maps import SpaceMaps
from relrep_cli.stitching.translation_quality import QUERIES, crossed_scores, held_out_scores, quality
from relrep_cli.stitching.translators import Affine
from relrep_cli.store.exports import EXPORTS, export

FIT_ROWS = 10_000  # training rows that a map is fitted on where no anchors are named
HELD_OUT = 0.1  # share of the shared items that is held out where no file has a split


@dataclass(frozen=True, eq=False)
class Fitting:
    """How to fit a map.

    method: name of a translator, with its params. recipe: has the anchors; None for all shared training rows, at most `rows`
    of them, drawn by the seed.
    """

    method: str
    params: Mapping[str, Any] = field(default_factory=dict)
    recipe: Recipe | None = None
    rows: int = FIT_ROWS
    seed: int = 0

    def fit(self, x: np.ndarray, y: np.ndarray) -> Affine:
        return translators.fit(self.method, x, y, dict(self.params))

    def step(self, e: Embedding, target: Embedding, dtype: str) -> Step:
        """The step that made the map, and the vectors that are stored as dtype."""
        anchors = "" if self.recipe is None else anchors_digest(self.recipe.anchor_ids)
        params = {"method": self.method, "anchors": anchors, "rows": self.rows, "dtype": dtype, **self.params}
        sources = [] if self.recipe is None else map(store.digested, self.recipe.anchor_sources)
        return make_step("translate", params, self.seed, [e, target, *sources])


@dataclass(frozen=True, eq=False)
class Samples:
    """The rows of e and of the target that a map is fitted on, (m, dx) and (m, dy), and those that are held out, as row
    numbers (q,) of both files."""

    x: np.ndarray
    y: np.ndarray
    held: np.ndarray
    own: np.ndarray


def fit_map(e: Embedding, target: Embedding, how: Fitting) -> tuple[Affine, list[Record]]:
    """The map from the space of e into that of the target, and its quality on items that it was not fitted on.

    Where every shared item is needed for the fit, the quality is that of five maps, each fitted without a fifth of the items.
    Raises DataError when the files share too few items, or an anchor is missing.
    """
    if not np.shares_memory(e.x, target.x) and e.space and e.space == target.space:
        say(f"{e.uri} and {target.uri} name the same space, {printable(e.space)}.")
    rows = _samples(e, target, how)
    if len(rows.x) < 2:
        raise DataError(
            f"share {len(rows.x)} items to fit a map on, and it needs two or more",
            "Give files that share more items, or name anchors with --anchors.",
            file=f"{e.uri} and {target.uri}",
        )
    carry = how.fit(rows.x, rows.y)
    flags: Record = {"fitted_on": len(rows.x)}
    if len(rows.held):
        found = held_out_scores(carry, e, rows.held, target, rows.own, how.seed)
        flags |= {"index_size": min(target.n, 20_000), "held_out": "items"}
    else:
        found = crossed_scores(how.fit, rows.x, rows.y, how.seed)
        flags |= {"index_size": len(rows.y), "held_out": "cross-validation"}
    return carry, list(quality(found, how.seed, flags))


def _samples(e: Embedding, target: Embedding, how: Fitting) -> Samples:
    if how.recipe is None:
        return _shared_samples(e, target, how)
    x, y = how.recipe.vectors(e), how.recipe.vectors(target)
    taken = how.recipe.items(e)
    shared, theirs = match_ids(e.ids, target.ids)
    free = find_ids(taken, e.ids[shared]) < 0
    if e.row_ids != target.row_ids:  # row numbers say nothing of ids
        free[:] = False
    held = _sampled(e, shared[free], theirs[free], QUERIES, how.seed, _tested(e, target, shared[free], theirs[free]))
    return Samples(x, y, *held)


def _shared_samples(e: Embedding, target: Embedding, how: Fitting) -> Samples:
    """All shared training rows, and the shared test rows; where neither file has a split, one is drawn by id."""
    check_positions([e, target])
    shared, theirs = join(e, target)
    test = _tested(e, target, shared, theirs)
    if test is None:
        named = replace(e, x=e.x[:0], ids=e.ids[shared], obs={})
        test = drawn_test_rows(named, np.zeros(0, "S1"), HELD_OUT, how.seed)
        train = ~test
    else:
        train = _is_split(e, shared, b"train") & _is_split(target, theirs, b"train")
    held = _sampled(e, shared[test], theirs[test], QUERIES, how.seed)
    rows = _sampled(e, shared[train], theirs[train], how.rows, how.seed)
    return Samples(pick(e.x, rows[0]), pick(target.x, rows[1]), *held)


def _tested(e: Embedding, target: Embedding, shared: np.ndarray, theirs: np.ndarray) -> np.ndarray | None:
    """(s,) whether a shared item is a test row of either file; None where neither has a split."""
    if "split" not in e.obs and "split" not in target.obs:
        return None
    return _is_split(e, shared, b"test", False) | _is_split(target, theirs, b"test", False)


def _is_split(e: Embedding, rows: np.ndarray, name: bytes, unknown: bool = True) -> np.ndarray:
    return e.obs["split"][rows] == name if "split" in e.obs else np.full(len(rows), unknown)


def _sampled(
    e: Embedding, rows: np.ndarray, theirs: np.ndarray, most: int, seed: int, keep: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` of the pairs of rows, drawn by the seed whatever their order. keep: those to draw from, if it has any."""
    if keep is not None and keep.any():
        rows, theirs = rows[keep], theirs[keep]
    order = id_order(e.ids[rows])
    if order is not None:
        rows, theirs = rows[order], theirs[order]
    if len(rows) > most:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])
        rows, theirs = rows[chosen], theirs[chosen]
    return rows, theirs


def maps_of(e: Embedding, target: Embedding, carry: Affine, how: Fitting) -> SpaceMaps:
    """The map as a file holds it."""
    return SpaceMaps(target.space, target.kind, {e.space: carry}, how.method)


def translated_blocks(e: Embedding, carry: Affine) -> Iterator[np.ndarray]:
    """The rows of e in the target space, block by block."""
    return in_order(lambda block: carry.rows(e.x[block]), row_blocks(e.n, max(carry.matrix.shape), e.x))


@dataclass(frozen=True)
class Output:
    """The file to write. inputs: files that must not be overwritten."""

    file: str
    dtype: str = "float32"
    force: bool = False
    inputs: Sequence[str] = ()

    def is_due(self, file: str, step: Step) -> bool:
        """Whether the output, or the map file, is still to be written. Raises UsageError or WriteError where it cannot be."""
        if not self.force and store.identify(file) == step["id"]:
            say(f"{file}: up to date.")
            return False
        store.refuse(file, self.force, self.inputs, (*store.HDF5, *EXPORTS) if file == self.file else store.HDF5)
        return True


def write_translated(output: Output, e: Embedding, carry: Affine, space: str, kind: str, step: Step, inputs: Any) -> None:
    """Write e in the target space. inputs: the embeddings whose history the file continues."""
    d = carry.matrix.shape[1]
    if Path(output.file).suffix.lower() in EXPORTS:
        x = spool((e.n, d), np.dtype(output.dtype))
        at = 0
        for block in translated_blocks(e, carry):
            x[at : at + len(block)] = block
            at += len(block)
        export(replace(e, x=x, space=space), output.file, output.dtype, output.force)
    else:
        store.write(
            output.file,
            translated_blocks(e, carry),
            shape=(e.n, d),
            dtype=output.dtype,
            ids=e.ids,
            obs=e.obs,
            var={"id": np.arange(d).astype("S")},
            kind=kind,
            space=space,
            row_ids=e.row_ids,
            steps=chain(inputs, step),
            force=output.force,
        )
    say(f"{output.file}: {e.n} x {d} in space {printable(space)}.")


def translate_with_maps(e: Embedding, maps: SpaceMaps, output: Output) -> None:
    """Write a file of a space that the maps know."""
    carry = maps.of(e)
    as_input = Embedding(
        np.zeros((0, 1)), np.zeros(0, "S1"), space=maps.space, digest=maps.digest, uri=maps.uri, steps=maps.steps
    )
    step = make_step("translate", {"method": maps.method, "dtype": output.dtype}, None, [e, as_input])
    if output.is_due(output.file, step):
        write_translated(output, e, carry, maps.space, maps.kind, step, [e, as_input])


def refuse_same(names: Mapping[str, str]) -> None:
    """Raise UsageError when two outputs name one file. names: files by option."""
    found: dict[str, str] = {}
    for option, file in names.items():
        if file and file in found:
            raise UsageError(f"{found[file]} and {option} name the same file", "Choose another name for one.", file=file)
        found[file] = option
