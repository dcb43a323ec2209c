"""What a translation will cost, for --dry-run: constants fitted to runs of the command, see docs/cluster.md."""

from __future__ import annotations

from relrep_cli.embedding import Embedding
from relrep_cli.engine.estimates import Cost, of_file, takes, total
from relrep_cli.numerics.blocks import block_rows
from relrep_cli.stitching.shared_samples import samples
from relrep_cli.stitching.space_maps import SpaceMaps
from relrep_cli.stitching.translated_rows import part_of
from relrep_cli.stitching.translation import Fitting, Output

DECOMPOSED = 25.0  # multiply-adds of the decompositions of a fit, for each dim to the third power
FITTED = 0.3  # seconds of what a fit does beside them
LOADED = 45e6  # bytes of the libraries of searches
FIT = 2  # arrays of the rows that a map is fitted on


def cost_of_rows(e: Embedding, width: int, rows: int | None = None) -> Cost:
    """Writing rows of e, as `width` numbers of another space. rows: their number in a part; None for all."""
    block, n = 8.0 * 3 * block_rows(max(e.d, width)) * (e.d + width), e.n if rows is None else rows
    return of_file(e.x, e.ids).beside(Cost(double=float(n) * e.d * width, scanned=n * (e.d + width), memory=block))


def cost_of_fit(e: Embedding, target: Embedding, how: Fitting) -> Cost:
    """Fitting a map on shared rows, and measuring it on others, whose neighbours are searched in the index."""
    rows = samples([e, target], how.recipe, how.rows, how.seed)
    fitted, held = len(rows.ids), len(rows.held[0]) or len(rows.ids)
    d, index = max(e.d, target.d), min(target.n, how.searched)
    products = float(fitted) * d * d * 3 + DECOMPOSED * float(d) ** 3 + float(held) * d * d
    measured = Cost(searched=2.0 * held * index * (1 + d / 256), memory=16.0 * index * d)
    fit = Cost(double=products, fixed=FITTED, memory=8.0 * FIT * fitted * (e.d + target.d))
    reading = total(of_file(one.x, one.ids) for one in (e, target))
    return reading.beside(measured + fit).beside(Cost(memory=LOADED))


def lines_of_rows(e: Embedding, maps: SpaceMaps, output: Output) -> list[str]:
    """What --dry-run prints of a file, or of a part of it, that is carried into a space by a map."""
    carry = maps.of(e)
    rows = e.n if output.shard is None else part_of(e, carry, output.shard)[0].n
    line = f"translate {rows} rows of {e.uri} into space {maps.space} to {output.file}"
    return [line, takes(cost_of_rows(e, carry.matrix.shape[1], rows), max(1, output.engine.processes))]
