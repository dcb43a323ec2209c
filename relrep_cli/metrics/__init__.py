# ruff: noqa: I001 (the order of imports is the order of the catalogue)
"""Metrics of two spaces whose rows are parallel; families in files, one decorated function per metric."""

from relrep_cli.metrics import coordinates
from relrep_cli.metrics import neighborhoods, neighbor_orders, neighbor_kernels
from relrep_cli.metrics import kernels, sampled_columns, dissimilarities, merges
from relrep_cli.metrics import cca
from relrep_cli.metrics import shapes, regression, matching
from relrep_cli.metrics import statistics
from relrep_cli.metrics.score import METRICS, Score

__all__ = [
    "METRICS",
    "Score",
    "cca",
    "coordinates",
    "dissimilarities",
    "kernels",
    "matching",
    "merges",
    "neighbor_kernels",
    "neighbor_orders",
    "neighborhoods",
    "regression",
    "sampled_columns",
    "shapes",
    "statistics",
]
