"""What a translation will cost, for --dry-run: constants fitted to runs of the command, see docs/cluster.md."""

from __future__ import annotations

from relrep_cli.embedding import Embedding
from relrep_cli.engine.estimates import Cost, of_file, total
from relrep_cli.numerics.blocks import block_rows
from relrep_cli.stitching.shared_samples import samples
from relrep_cli.stitching.translation import Fitting
from relrep_cli.stitching.translation_quality import INDEX

DECOMPOSED = 25.0  # multiply-adds of the decompositions of a fit, for each dim to the third power
FITTED = 0.3  # seconds of what a fit does beside them
LOADED = 45e6  # bytes of the libraries of searches
FIT = 2  # arrays of the rows that a map is fitted on


def cost_of_rows(e: Embedding, width: int) -> Cost:
    """Writing every row of e, as `width` numbers of another space."""
    block = 8.0 * 3 * block_rows(max(e.d, width)) * (e.d + width)
    return of_file(e.x, e.ids).beside(Cost(double=float(e.n) * e.d * width, scanned=e.n * (e.d + width), memory=block))


def cost_of_fit(e: Embedding, target: Embedding, how: Fitting) -> Cost:
    """Fitting a map on shared rows, and measuring it on others, whose neighbours are searched in the index."""
    rows = samples([e, target], how.recipe, how.rows, how.seed)
    fitted, held = len(rows.ids), len(rows.held[0]) or len(rows.ids)
    d, index = max(e.d, target.d), min(target.n, INDEX)
    products = float(fitted) * d * d * 3 + DECOMPOSED * float(d) ** 3 + float(held) * d * d
    measured = Cost(searched=2.0 * held * index * (1 + d / 256), memory=16.0 * index * d)
    fit = Cost(double=products, fixed=FITTED, memory=8.0 * FIT * fitted * (e.d + target.d))
    reading = total(of_file(one.x, one.ids) for one in (e, target))
    return reading.beside(measured + fit).beside(Cost(memory=LOADED))
