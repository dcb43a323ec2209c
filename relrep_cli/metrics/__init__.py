"""Metrics of two spaces whose rows are parallel; one file per family, one decorated function per metric."""

from relrep_cli.metrics import coordinates, kernels, neighborhoods
from relrep_cli.metrics.score import METRICS, Score

__all__ = ["METRICS", "Score", "coordinates", "kernels", "neighborhoods"]
