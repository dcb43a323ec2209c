"""One space in many relative coordinates: the similarities that several recipes share are computed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from relrep_cli.embedding import RELATIVE, Embedding
from relrep_cli.numerics.blocks import pick, release, row_blocks
from relrep_cli.numerics.spool import spool
from relrep_cli.numerics.whitening import deviations, moments
from relrep_cli.relative.projection import COLUMNS, Basis, after, basis, joiner, relative, training_rows
from relrep_cli.relative.recipes import After, Recipe

KEPT = 512 << 20  # bytes of similarities that all spaces together keep


@dataclass(frozen=True, eq=False)
class View:
    """A space in the coordinates of one recipe. content: names the vectors, for records of what was computed with them."""

    e: Embedding
    content: str


@dataclass(frozen=True, eq=False)
class Views:
    """The views of one space. room: bytes it may keep. heard: gets the space and each basis that was made for it."""

    e: Embedding
    room: int
    heard: Callable[[Embedding, Basis], None] = lambda e, to: None
    parts: dict[str, tuple[np.ndarray, str]] = field(default_factory=dict)

    def of(self, recipe: Recipe) -> View:
        """What `relative(e, basis(e, recipe))` gives, whose errors it raises."""
        if recipe.like is not None or recipe.trained is not None:
            to = basis(self.e, recipe)
            self.heard(self.e, to)
            named = f"{recipe.space()} {to.digest()}"  # what an aggregator learnt is in the space's name alone
            return View(relative(self.e, to), hashlib.sha256(named.encode()).hexdigest())
        parts = [self._part(recipe, name) for name in recipe.similarities]
        joined = parts[0][0] if not recipe.aggregate else _joined([x for x, _ in parts], recipe)
        about = json.dumps([recipe.how(), *(digest for _, digest in parts)], sort_keys=True).encode()
        x = joined if recipe.after == replace(recipe.after, standardize=False, step=0.0) else self._after(joined, recipe)
        e = replace(self.e, x=x, var=recipe.var(), kind=RELATIVE, space=recipe.space(), digest="", uns={})
        return View(e, hashlib.sha256(about).hexdigest())

    def _part(self, recipe: Recipe, name: str) -> tuple[np.ndarray, str]:
        """(n, m) one similarity function of all rows, kept while there is room, and its digest."""
        negate = After(negate=recipe.after.negate)
        alone = replace(recipe, similarities={name: recipe.similarities[name]}, aggregate="", after=negate)
        key = json.dumps(alone.how(), sort_keys=True)
        if key in self.parts:
            return self.parts[key]
        to = basis(self.e, alone)
        self.heard(self.e, to)
        found = relative(self.e, to).x, to.digest()
        if sum(x.nbytes for x, _ in self.parts.values()) + found[0].nbytes <= self.room:
            self.parts[key] = found
        return found

    def _after(self, x: np.ndarray, recipe: Recipe) -> np.ndarray:
        """(n, m') with columns standardised on the training rows, then rounded."""
        rows = training_rows(self.e, recipe)
        statistics = {}
        if recipe.after.standardize:
            if rows is None:
                mean, variances = moments(x[b] for b in row_blocks(*x.shape, x))
            else:
                mean, variances = moments(pick(x, rows[b]) for b in row_blocks(len(rows), x.shape[1]))
            statistics = dict(zip(COLUMNS, (mean, deviations(variances)), strict=True))
        out = spool(x.shape, x.dtype)
        for block in row_blocks(*x.shape, x, out):
            out[block] = after(x[block], recipe, statistics)
        return out


def _joined(parts: list[np.ndarray], recipe: Recipe) -> np.ndarray:
    """(n, m') the parts, aggregated block by block."""
    join = joiner(recipe)
    out = spool((len(parts[0]), recipe.width()), parts[0].dtype)
    for block in row_blocks(*out.shape, out):
        out[block] = join([x[block] for x in parts])
        for x in parts:
            release(x, block)
    return out
