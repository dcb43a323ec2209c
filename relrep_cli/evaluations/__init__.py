# ruff: noqa: I001 (the order of imports is the order of the catalogue)
"""What one space is good for; tasks by family in files, one decorated function per task."""

from relrep_cli.evaluations import probes
from relrep_cli.evaluations import anomalies
from relrep_cli.evaluations import clusters
from relrep_cli.evaluations import retrieval
from relrep_cli.evaluations import separation
from relrep_cli.evaluations import index_search
from relrep_cli.evaluations import foreign_rows
from relrep_cli.evaluations import compression
from relrep_cli.evaluations.findings import EVALUATIONS, Finding, Space

__all__ = [
    "EVALUATIONS",
    "Finding",
    "Space",
    "anomalies",
    "clusters",
    "compression",
    "foreign_rows",
    "index_search",
    "probes",
    "retrieval",
    "separation",
]
