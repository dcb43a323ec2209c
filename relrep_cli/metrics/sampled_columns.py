"""Centred kernel alignment of spaces whose columns are a sample, such as some neurons of many."""

from __future__ import annotations

import numpy as np

from relrep_cli.metrics.families import kernel_metric
from relrep_cli.metrics.forms import ESTIMATOR
from relrep_cli.metrics.kernels import cka
from relrep_cli.metrics.score import NotApplicable, Score
from relrep_cli.numerics import hsic
from relrep_cli.numerics.blocks import row_blocks
from relrep_cli.numerics.narrowing import scalable
from relrep_cli.numerics.workspace import UNSHARED, Workspace

CONSTANT = 1e-28  # share of a column's raw mean square below which its variance is rounding error


@kernel_metric(
    form=ESTIMATOR("row-column"),
    bounds=(None, 1),
    invariant={"permutation", "scale", "signed-permutation", "translation"},
    source="Chun et al. 2025, arXiv 2502.15104; rows: Song et al. 2012",
)
def row_column_cka(x: np.ndarray, y: np.ndarray, *, workspace: Workspace = UNSHARED) -> Score:
    """Linear CKA where rows and columns are both samples: an estimate for all rows and all columns.

    x: (n, dx) and y: (n, dy) floats. As unbiased CKA, and the self terms leave out the products of a column with itself, which
    grow with the share of noise in few columns. The columns of the two spaces are taken to be drawn separately, so a space with
    itself would pass 1, and is cut there. A rotation of the columns changes the value. Constant columns are left out.

    Raises NotApplicable for fewer than 4 items, fewer than 2 columns that vary, or when a self term is not positive.
    """
    plain = cka(x, y, estimator="unbiased", workspace=workspace)
    factors = [_factor(side, name, workspace) for name, side in (("first", x), ("second", y))]
    factor = float(np.prod(factors))
    jackknife = None if plain.jackknife is None else plain.jackknife * factor
    convention = "linear kernel, columns centred, unbiased HSIC, self terms over pairs of different columns"
    return Score(min(1.0, plain.value * factor), 0.0, convention, jackknife=jackknife)


def _factor(x: np.ndarray, name: str, workspace: Workspace) -> float:
    """By how much one space's self term raises unbiased CKA when no column is paired with itself.

    With the sum A of HSIC over all pairs of p columns, and B over each column with itself, the mean over all pairs is A / p^2,
    and over different columns (A - B) / (p (p - 1)).
    """
    x = scalable(x, workspace)
    m, _ = hsic.centred_moments(x, x, workspace=workspace)
    mean, part = m.shift[: m.dx], m.products[: m.dx, : m.dx]
    fourth = np.zeros(m.dx)
    for block in row_blocks(len(x), m.dx, x):
        fourth += np.power(x[block] - mean, 4).sum(0)
    squares = np.diag(part)
    kept = squares > CONSTANT * m.n * np.square(mean)
    count = int(np.count_nonzero(kept))
    if count < 2:
        raise NotApplicable(f"the {name} space has {count} columns that vary; it takes two or more")
    every = float(hsic.terms(m, 0, 0).unbiased())
    own = hsic.Terms(m.n, np.square(squares), (squares, squares), fourth).unbiased()[kept].sum()
    if not every - own > 1e-9 * every:
        raise NotApplicable(f"the columns of the {name} space are unrelated, so its self term is not positive")
    return float(np.sqrt(every / (every - own) * (count - 1) / count))
