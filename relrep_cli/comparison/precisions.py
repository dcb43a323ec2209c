"""In which precision a file holds numbers of another one: all of them, those of its first columns, or those of other rows."""

from __future__ import annotations

import numpy as np

from relrep_cli.comparison.file_pairs import FilePair, Map, file_pair
from relrep_cli.comparison.quantisation import eight_bits, short_floats, sign_bits
from relrep_cli.comparison.row_maps import one_length
from relrep_cli.comparison.row_orders import Moved
from relrep_cli.numerics.blocks import pick

USUAL = "float32"  # not worth a word


def kind_of(pair: FilePair) -> str:
    """The precision in which y holds the numbers of x, in words; "" for none."""
    return ((short_floats(pair) or eight_bits(pair)) if pair.d == pair.e else "") or sign_bits(pair)


def cut_precision(pair: FilePair) -> str:
    """The evidence where y holds the first columns of x in another precision; "" where it does not."""
    if pair.d <= pair.e:
        return ""
    kind = kind_of(file_pair(pair.x[:, : pair.e], pair.y))
    if kind == USUAL or (kind.endswith("each row") and one_length(pair.ys)):
        return ""
    a, b = pair.names
    return f"{b} from {a}: the first {pair.e} of {pair.d} columns, in {kind}" if kind else ""


def precision_of_moved(pair: FilePair, base: Map, moved: Moved) -> str:
    """The precision of the rows of y that were moved, as far as those that were looked up show it; "" for none."""
    kept = np.flatnonzero(moved.rows >= 0)
    x = base(np.asarray(pick(pair.x, moved.rows[kept]), np.float64)).astype(pair.x.dtype)
    kind = kind_of(file_pair(x, np.ascontiguousarray(pick(pair.y, moved.asked[kept]))))
    return "" if kind == USUAL else kind
