"""Files that hold some rows of a whole: which rows belong to a part, and what its file says of them."""

from __future__ import annotations

import numpy as np

from relrep_cli.base.errors import UsageError
from relrep_cli.engine.shards import Shard

SHARD = "shard"  # in `uns` of a part: its number, their count, its first row, and the rows of the whole


def rows_of_shard(n: int, step: int, shard: Shard, uri: str) -> slice:
    """The rows of a part. It begins where a block of `step` rows of the whole begins, so that no bit changes.

    Raises UsageError when there are fewer blocks than parts.
    """
    blocks = -(-n // step)
    if blocks < shard.count:
        raise UsageError(
            f"{n} rows are {blocks} blocks of {step}, too few for {shard.count} parts",
            f"Write --shard I/{blocks}, or fewer.",
            file=uri,
        )
    own = shard.of(blocks)
    return slice(own.start * step, min(own.stop * step, n))


def stated(shard: Shard, start: int, n: int) -> dict[str, np.ndarray]:
    """What the file of a part says of its rows, for `uns`."""
    return {SHARD: np.array([shard.number, shard.count, start, n], np.float64)}
