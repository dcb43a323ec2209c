"""The transformations of relrep_cli.relative as plain functions, and which of them a metric's traits promise."""

from __future__ import annotations

from relrep_cli.relative import transformations
from relrep_cli.relative.transformations import with_implied

TRANSFORMATIONS = {name: entry.function for name, entry in transformations.TRANSFORMATIONS.items() if name != "isometry"}
# Zero columns carry nothing, so every metric should ignore them; these cannot, as they average over coordinates. A new metric
# that does so is to be named here: CONTRIBUTING.md says so.
AVERAGE_OVER_COLUMNS = {"mse", "pearson", "spearman", "rsa"}


# Columns drawn independently share nothing, and these metrics have no value there. They have property tests of their own.
NEED_SHARED_COLUMNS = {"cka:row-column"}


def expected(name: str, invariant: set[str], transformation: str) -> bool:
    """Whether the metric `name`, which declares `invariant`, should give the same value after the transformation."""
    kept = with_implied(invariant)
    if transformation == "zero-axes":
        return name not in AVERAGE_OVER_COLUMNS or "zero-axes" in invariant
    if transformation == "affine":
        return {"linear", "translation"} <= kept
    return transformation in kept
