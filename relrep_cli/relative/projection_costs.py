"""What a projection will cost, for --dry-run: constants fitted to runs of the command, see docs/cluster.md."""

from __future__ import annotations

from relrep_cli.embedding import Embedding
from relrep_cli.engine.estimates import Cost
from relrep_cli.numerics import native
from relrep_cli.relative.projection import tile_rows
from relrep_cli.relative.recipes import Recipe

COMPILED = {"l1", "chebyshev", "lp"}  # by compiled kernels, not by matrix products
SLOWER = 8.0  # such a kernel, for each number, against a product
LOADED = 110e6  # bytes of numba
OF_ROW = 22  # bytes of ids and places for each row


def cost_of(e: Embedding, recipe: Recipe, rows: int | None = None) -> Cost:
    """A product for each similarity function, the numbers that are read, and those that are written.

    rows: those of a part; the whole file is read even then, for its digest and statistics. None for all.
    """
    count = len(recipe.similarities)
    compiled = [name for name in recipe.similarities if name in COMPILED]
    by_numba = [name for name in compiled if e.x.dtype.itemsize > 4 or not (name in native.SIGNATURES and native.available())]
    n = e.n if rows is None else rows
    products = float(n) * e.d * len(recipe.anchor_ids) * (count + (SLOWER - 1) * len(compiled))
    scanned = e.x.size * (1 + bool(recipe.statistics())) + n * recipe.width() * count
    blocks = 8.0 * 3 * tile_rows(e.d, recipe.width()) * (e.d + recipe.width() * count)
    return Cost(read=e.x.nbytes, single=products, scanned=scanned, memory=blocks + OF_ROW * e.n + LOADED * bool(by_numba))
