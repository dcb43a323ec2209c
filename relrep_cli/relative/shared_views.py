"""Project one space with many recipes; similarities that several recipes share are computed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import field, replace

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.embedding import RELATIVE, Embedding
from relrep_cli.numerics.blocks import pick, release, row_blocks
from relrep_cli.numerics.spool import spool
from relrep_cli.numerics.whitening import deviations, moments
from relrep_cli.relative.projection import COLUMNS, Basis, basis, joiner, postprocessed, relative, training_rows
from relrep_cli.relative.recipes import Postprocessing, Recipe

KEPT = 512 << 20  # bytes of similarities that all spaces together may keep in memory


@dataclass(frozen=True, eq=False)
class View:
    """A space projected with one recipe. content: a digest of the vectors, used in cache keys."""

    e: Embedding
    content: str


@dataclass(frozen=True, eq=False)
class Views:
    """The views of one space.

    room: bytes of similarities that it may keep. on_basis: called with the space and each basis made for it.
    """

    e: Embedding
    room: int
    on_basis: Callable[[Embedding, Basis], None] = lambda e, to: None
    parts: dict[str, tuple[np.ndarray, str]] = field(default_factory=dict)

    def of(self, recipe: Recipe) -> View:
        """Project the space: the same result and errors as `relative(e, basis(e, recipe))`."""
        if recipe.statistics_from is not None or recipe.trained is not None:
            to = basis(self.e, recipe)
            self.on_basis(self.e, to)
            name = f"{recipe.space()} {to.digest()}"  # the weights of a trained aggregator enter only the name of the space
            return View(relative(self.e, to), hashlib.sha256(name.encode()).hexdigest())
        parts = [self._part(recipe, name) for name in recipe.similarities]
        joined = parts[0][0] if not recipe.aggregate else _joined([x for x, _ in parts], recipe)
        key = json.dumps([recipe.to_json(), *(digest for _, digest in parts)], sort_keys=True).encode()
        x = joined if recipe.after == replace(recipe.after, standardize=False, step=0.0) else self._after(joined, recipe)
        e = replace(self.e, x=x, var=recipe.var(), kind=RELATIVE, space=recipe.space(), digest="", uns={})
        return View(e, hashlib.sha256(key).hexdigest())

    def _part(self, recipe: Recipe, name: str) -> tuple[np.ndarray, str]:
        """The similarities (n, m) of all rows by one function, kept while there is room, and their digest."""
        negate = Postprocessing(negate=recipe.after.negate)
        alone = replace(recipe, similarities={name: recipe.similarities[name]}, aggregate="", after=negate)
        key = json.dumps(alone.to_json(), sort_keys=True)
        if key in self.parts:
            return self.parts[key]
        to = basis(self.e, alone)
        self.on_basis(self.e, to)
        part = relative(self.e, to).x, to.digest()
        if sum(x.nbytes for x, _ in self.parts.values()) + part[0].nbytes <= self.room:
            self.parts[key] = part
        return part

    def _after(self, x: np.ndarray, recipe: Recipe) -> np.ndarray:
        """Standardise the columns of x (n, m') on the training rows, then round."""
        rows = training_rows(self.e, recipe)
        statistics = {}
        if recipe.after.standardize:
            if rows is None:
                mean, variances, unit = moments(x[b] for b in row_blocks(*x.shape, x))
            else:
                mean, variances, unit = moments(pick(x, rows[b]) for b in row_blocks(len(rows), x.shape[1]))
            statistics = dict(zip(COLUMNS, (mean, deviations(variances, unit)), strict=True))
        out = spool(x.shape, x.dtype)
        for block in row_blocks(*x.shape, x, out):
            out[block] = postprocessed(x[block], recipe, statistics)
        return out


def _joined(parts: list[np.ndarray], recipe: Recipe) -> np.ndarray:
    """(n, m') the aggregated parts, computed block by block."""
    join = joiner(recipe)
    out = spool((len(parts[0]), recipe.width()), parts[0].dtype)
    for block in row_blocks(*out.shape, out):
        out[block] = join([x[block] for x in parts])
        for x in parts:
            release(x, block)
    return out
