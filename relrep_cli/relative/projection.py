"""Compute relative representations: the similarities of items to anchors, block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.embedding import RELATIVE, Embedding
from relrep_cli.numerics.blocks import block_rows, pick, release, row_blocks, slices, widen
from relrep_cli.numerics.devices import NUMPY, chosen, in_float64, memory_of, sent, torch_device
from relrep_cli.numerics.threads import in_order
from relrep_cli.numerics.whitening import deviations, moments
from relrep_cli.relative.aggregators import AGGREGATORS, layer_norm
from relrep_cli.relative.recipes import Recipe, anchors_digest
from relrep_cli.relative.similarities import SIMILARITIES, Training

Statistics = Mapping[str, np.ndarray]
COLUMNS = ("column-mean", "column-scale")
PANEL = 64  # a multiple of the block size of every BLAS kernel
TILE = 1024  # rows of one product on one thread, counted from row 0; the last bits of a value depend on this number


@dataclass(frozen=True, eq=False)
class Basis:
    """A recipe fitted to one space.

    anchors: (m, d) as stored. dtype: that of the computation. statistics: those of the training rows, by name. fitted: for
    each similarity function, what its `fit` returned. exact: whether to pad tiles to multiples of PANEL, so that the BLAS
    kernels of all processors treat every row and column the same way.
    """

    recipe: Recipe
    anchors: np.ndarray
    dtype: np.dtype
    statistics: Statistics = field(default_factory=dict)
    fitted: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    exact: bool = False

    def digest(self) -> str:
        """A digest of anchors, statistics and fitted data, used in cache keys."""
        running = hashlib.sha256(f"{self.anchors.dtype} {self.dtype}".encode() + self.anchors.tobytes())
        for name, known in [("", self.statistics), *sorted(self.fitted.items())]:
            for key, values in sorted(known.items()):
                running.update(f"\n{name} {key} ".encode() + np.ascontiguousarray(values).tobytes())
        return running.hexdigest()


def basis(e: Embedding, recipe: Recipe, double: bool = False, exact: bool = False) -> Basis:
    """Fit a recipe to the space of `e`: look up the anchors and compute the statistics on the training rows.

    double: compute in float64 for any input. exact: compute in float64 and in padded tiles, so that values rounded to float32
    are the same on every processor and for any order or subset of rows; see docs/reliability.md.

    Raises DataError when an anchor has no vector in this space, `e` is already relative, or nothing provides the statistics.
    """
    if e.kind == RELATIVE:
        raise DataError("is a relative representation already", "Project the absolute file that it was made from.", file=e.uri)
    if recipe.trained is not None and recipe.trained.anchors != anchors_digest(recipe.anchor_ids):
        raise DataError(
            "the aggregator was trained on other anchors, or on these in another order", "Name its own with --anchors."
        )
    anchors = recipe.vectors(e)
    wide = np.dtype(np.float64) if double or exact else np.result_type(widen(e.x[:1]).dtype, widen(anchors[:1]).dtype)
    known = _known(e, recipe)
    statistics = dict(known) if known is not None else recipe.before.fit(lambda: _training(e, recipe))
    to = Basis(recipe, anchors, wide, statistics, exact=exact)
    to = replace(to, fitted=_fitted(e, to, known is not None))
    for name, fitted_on in to.fitted.items():
        if SIMILARITIES[name].portable:
            statistics |= {f"{name}-{key}": values for key, values in fitted_on.items()}
    if recipe.after.standardize and known is None:
        mean, variances, unit = moments(map(_values(to), _training(e, recipe)))
        statistics |= dict(zip(COLUMNS, (mean, deviations(variances, unit)), strict=True))
    return replace(to, statistics=statistics, notes=_notes(to))


def _known(e: Embedding, recipe: Recipe) -> Statistics | None:
    """The statistics stored in another file of this space; None when they must be computed on the rows of `e`."""
    source = recipe.statistics_from
    if source is None:
        stored = e.uns.get("center")
        only_center = recipe.before.steps() == ["center"] and not recipe.after.standardize and not recipe.transductive
        plain = only_center and all(SIMILARITIES[name].fit is None for name in recipe.similarities)
        return {"center": np.asarray(stored, np.float64)} if stored is not None and plain else None
    if not source.source_space or source.source_space != e.space:
        raise DataError(
            f"holds statistics of another space ({source.source_space or 'it does not say which'}), not of "
            f"{e.space or 'this unnamed one'}",
            "Name a relative file that was made from the same encoder.",
            file=source.uri,
        )
    if source.space != recipe.space():
        raise DataError(
            f"was projected in another way (space {source.space}, not {recipe.space()})",
            "Give the same anchors, similarity functions and options.",
            file=source.uri,
        )
    if bound := [name for name in recipe.similarities if not SIMILARITIES[name].portable]:
        raise DataError(
            f"does not store the graph of training rows that {' and '.join(bound)} needs",
            "Project a file that holds these rows, without --statistics.",
            file=source.uri,
        )
    known = {name: np.asarray(values, np.float64) for name, values in source.uns.items()}
    missing = [name for name in recipe.statistics() if name not in known]
    if missing:
        raise DataError(
            f"does not hold {', '.join(missing)}",
            "Project a file that holds the training rows, without --statistics.",
            file=source.uri,
        )
    return known


def _training(e: Embedding, recipe: Recipe) -> Iterator[np.ndarray]:
    """Yield blocks of the rows on which statistics are computed."""
    rows = training_rows(e, recipe)
    for block in row_blocks(e.n if rows is None else len(rows), e.d):
        yield e.x[block] if rows is None else pick(e.x, rows[block])
        release(e.x, block)


def training_rows(e: Embedding, recipe: Recipe) -> np.ndarray | None:
    """Return the row numbers of the training split, None for all rows."""
    if recipe.transductive or "split" not in e.obs:
        return None
    try:
        return e.training_rows()
    except DataError as error:
        raise DataError(f"{str(error)[:-1]}, or one projected before, with --statistics FILE.") from None


def _fitted(e: Embedding, to: Basis, known: bool) -> dict[str, Mapping[str, np.ndarray]]:
    """Fit the similarity functions that need it, from stored statistics or on the training rows."""
    statistics: dict[str, Mapping[str, np.ndarray]] = {}
    anchors = _prepared(to.anchors, to)
    for name, params in to.recipe.similarities.items():
        entry = SIMILARITIES[name]
        if entry.fit is None:
            continue
        stored = {key.removeprefix(f"{name}-"): v for key, v in to.statistics.items() if key.startswith(f"{name}-")}
        if known and stored:
            statistics[name] = stored
            continue
        rows = training_rows(e, to.recipe)
        train = Training(lambda: (_prepared(b, to) for b in _training(e, to.recipe)), e.n if rows is None else len(rows))
        statistics[name] = entry.fit(train, anchors, **params)
    return statistics


def _notes(to: Basis) -> list[str]:
    parts = {name: int(known["parts"][0]) for name, known in to.fitted.items() if "parts" in known}
    return [
        f"the neighbour graph of {name} has {count} components, now joined by the shortest edges between them; try a larger k."
        for name, count in parts.items()
        if count > 1
    ]


def _prepared(x: np.ndarray, to: Basis) -> np.ndarray:
    return to.recipe.before.apply(x, to.statistics, to.dtype)


def tile_rows(d: int, width: int) -> int:
    """The rows of one tile. d: dims of the space; width: columns of the relative matrix."""
    return min(TILE, block_rows(max(d, width)))


def relative_blocks(
    x: np.ndarray, to: Basis, device: str = "cpu", attention: Callable[[np.ndarray], None] | None = None
) -> Iterator[np.ndarray]:
    """Yield the relative representation of x (n, d) in blocks (b, m'), in the dtype of `to`.

    device: `cpu` computes with NumPy, all others with torch. attention: called for each block with the attention weights
    (b, subspaces), when the aggregator uses attention.

    Raises DataError when a value is out of range for the dtype.
    """
    if (place := in_float64(device) if to.dtype == np.float64 else chosen(device)) != NUMPY:
        yield from _blocks_there(x, to, place, attention)
        return
    values = _values(to, attention)
    rows = tile_rows(x.shape[1], to.recipe.width())

    def tile(part: slice) -> np.ndarray:
        rows = np.array(x[part])
        release(x, part)
        return postprocessed(values(rows), to.recipe, to.statistics)

    spread = in_order if to.recipe.trained is None else map  # torch has its own threads
    yield from spread(tile, slices(len(x), rows))


def _blocks_there(
    x: np.ndarray, to: Basis, device: str, attention: Callable[[np.ndarray], None] | None
) -> Iterator[np.ndarray]:
    """The same by torch. A device gets larger blocks, the next one while it computes."""
    on, join, width = torch_device(device), joiner(to.recipe, attention), to.recipe.width()
    rows = block_rows(max(x.shape[1], width))
    with memory_of(device, f"{rows} rows and their {width} coordinates take {4 * rows * (x.shape[1] + width) >> 20} MiB"):
        ((anchors,),) = sent([[_prepared(to.anchors, to)]], on)
        for (block,) in sent(([_prepared(np.array(x[part]), to)] for part in slices(len(x), rows, x)), on):
            vectors = join([_part(name, block, anchors, to) for name in to.recipe.similarities]).cpu().numpy()
            yield postprocessed(_in_range(vectors, to), to.recipe, to.statistics)


def _values(to: Basis, attention: Callable[[np.ndarray], None] | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """A function from rows (b, d) to their aggregated similarities (b, m')."""
    anchors, join = _prepared(to.anchors, to), joiner(to.recipe, attention)

    def values(block: np.ndarray) -> np.ndarray:
        x = _prepared(block, to)
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow is reported below
            return _in_range(join([_part(name, x, anchors, to) for name in to.recipe.similarities]), to)

    return values


def _in_range(vectors: np.ndarray, to: Basis) -> np.ndarray:
    """The vectors. Raises DataError when one left the range of its dtype."""
    if not np.isfinite(vectors.sum(dtype=np.float64)):
        remedy = "Use --scale or --normalize, or compute with --dtype float64."
        raise DataError(f"values leave the range of {to.dtype.name}", remedy, place=to.recipe.label)
    return vectors


def _part(name: str, x: Any, anchors: Any, to: Basis) -> Any:
    """The similarities (b, m) of one similarity function, negated when the recipe asks for it."""
    entry = SIMILARITIES[name]
    more = {"fitted": to.fitted[name]} if entry.fit is not None else {}
    if to.exact:
        padded: Any = entry.function(_padded(x), _padded(anchors), **to.recipe.similarities[name], **more)
        values = padded[: len(x), : len(anchors)]
    else:
        values = entry.function(x, anchors, **to.recipe.similarities[name], **more)
    return -values if entry.distance and to.recipe.after.negate else values


def _padded(x: np.ndarray) -> np.ndarray:
    """x (n, d) with rows of zeros up to a multiple of PANEL."""
    return np.pad(x, ((0, -len(x) % PANEL), (0, 0))) if len(x) % PANEL else x


def joiner(recipe: Recipe, attention: Callable[[np.ndarray], None] | None = None) -> Callable[[list[Any]], Any]:
    """Return the function that aggregates the subspaces [(b, m), …] of a block into (b, m')."""
    if not recipe.aggregate:
        return lambda parts: parts[0]
    if recipe.trained is None:
        join = AGGREGATORS[recipe.aggregate].function(len(recipe.similarities), len(recipe.anchor_ids))
        return lambda parts: join([layer_norm(part) for part in parts])
    import torch

    module = recipe.trained.module()

    def trained(parts: list[Any]) -> Any:
        tensors = [torch.as_tensor(layer_norm(part)).float().cpu() for part in parts]
        with torch.inference_mode():
            out = module(tensors)
        if attention is not None and module.attention is not None:
            attention(module.attention.numpy())
        return out if isinstance(parts[0], torch.Tensor) else out.numpy()

    return trained


def postprocessed(vectors: np.ndarray, recipe: Recipe, statistics: Statistics) -> np.ndarray:
    """Standardise and round relative coordinates (b, m') as the recipe says."""
    if recipe.after.standardize:
        mean, spread = (statistics[name] for name in COLUMNS)
        vectors = ((vectors - mean) / spread).astype(vectors.dtype)
    if step := recipe.after.step:
        vectors = (np.round(vectors / np.float64(step)) * step).astype(vectors.dtype)
    return vectors


def relative(e: Embedding, to: Basis, device: str = "cpu") -> Embedding:
    """Return the relative representation of `e` as an embedding. A large array is on disk."""
    from relrep_cli.numerics.spool import spool

    out, start = spool((e.n, to.recipe.width()), to.dtype), 0
    for block in relative_blocks(e.x, to, device):
        out[start : start + len(block)] = block
        release(out, slice(start, start + len(block)))
        start += len(block)
    return replace(e, x=out, var=to.recipe.var(), kind=RELATIVE, space=to.recipe.space(), digest="", uns={})


def projection_notes(embedding: Embedding, fitted: Basis) -> list[str]:
    """What the user should know of how a space was prepared for projection."""
    notes = [f"{embedding.uri}: {note}" for note in fitted.notes]
    if fitted.statistics and "split" not in embedding.obs and fitted.recipe.statistics_from is None:
        notes.append(f"{embedding.uri}: has no split; statistics are those of all {embedding.n} rows.")
    return notes
