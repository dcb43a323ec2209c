"""What a choice of anchors will cost, for --dry-run: constants fitted to runs of the command, see docs/cluster.md."""

from __future__ import annotations

from collections.abc import Sequence

from relrep_cli.anchors.candidates import Candidates
from relrep_cli.anchors.strategies import SAMPLE
from relrep_cli.embedding import Embedding
from relrep_cli.engine.estimates import Cost, of_file, total
from relrep_cli.neighbors.kmeans import BYTES, ITERATIONS, ROWS_PER_CENTROID
from relrep_cli.numerics.farthest_rows import LEAST, ROOM, SHARE

FAISS = 18e6  # bytes of the library
SLOWER = 6.0  # the kernel of `farthest`, for each number, against a matrix product
TRAINING = 4.5  # the products of k-means against large ones
PASSES = 4.0  # of `farthest` over all vectors, about
COPY = 20e6  # bytes of the blocks in which vectors are copied
BLOCKS = 64e6  # bytes of the blocks of `herding`
ONE_ROW = 0.6  # comparing every row with one, in passes over the numbers


def cost_of(spaces: Sequence[Embedding], c: Candidates, strategy: str, m: int, by: str) -> Cost | None:
    """The cost of choosing m of the candidates; None where nothing is known of the strategy."""
    n, d = len(c), sum(e.d for e in c.spaces)
    copied = 2.0 * n * d * (by == "cosine" or len(c.spaces) > 1)  # numbers that are made ready in a temporary file
    numbers, reading = float(n) * d, total(of_file(e.x, e.ids) for e in spaces)
    if strategy == "farthest":
        kept = min(max(LEAST, n // SHARE) * d, ROOM)
        work = Cost(single=SLOWER * numbers * m, scanned=PASSES * numbers + copied, memory=8.0 * (n + kept))
    elif strategy == "kmeans":
        sample = min(n, max(m, min(ROWS_PER_CENTROID * m, BYTES // (4 * d))))
        work = Cost(
            single=TRAINING * ITERATIONS * sample * m * d + 2 * numbers * m,
            scanned=2 * numbers + copied,
            memory=4.0 * sample * d + FAISS,
        )
    elif strategy == "herding":
        work = Cost(double=numbers * SAMPLE, scanned=numbers * (2 + ONE_ROW * m) + copied, memory=24.0 * n + BLOCKS)
    elif strategy in ("random", "first", "frequent", "per-class", "from-file", "out-of-domain"):
        work = Cost()
    else:
        return None
    return reading.beside(work).beside(Cost(memory=COPY * bool(copied)))
