"""relrep: saved embeddings made comparable and interchangeable.

The functions below are the library; docs/api.md shows them. They are imported on first use, so `import relrep_cli` is quick.

>>> import numpy as np, relrep_cli as relrep
>>> x = np.random.default_rng(0).normal(size=(200, 8))
>>> turn = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
>>> round(relrep.compare(x, x @ turn, metric="cka").value, 6)
1.0
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from relrep_cli.base.errors import DataError, RelrepError, UsageError, WriteError
    from relrep_cli.embedding import Embedding
    from relrep_cli.library.calls import anchor, compare, diagnose, nearest, project, read, stitch, write
    from relrep_cli.library.estimators import RelativeProjector, Translator
    from relrep_cli.library.given_spaces import as_embedding
    from relrep_cli.library.result_tables import Result, Results
    from relrep_cli.library.translations import Translation, translate

_HOMES = {
    "base.errors": ("DataError", "RelrepError", "UsageError", "WriteError"),
    "embedding": ("Embedding",),
    "library.calls": ("anchor", "compare", "diagnose", "nearest", "project", "read", "stitch", "write"),
    "library.estimators": ("RelativeProjector", "Translator"),
    "library.given_spaces": ("as_embedding",),
    "library.result_tables": ("Result", "Results"),
    "library.translations": ("Translation", "translate"),
}
__all__ = [
    "DataError",
    "Embedding",
    "RelativeProjector",
    "RelrepError",
    "Result",
    "Results",
    "Translation",
    "Translator",
    "UsageError",
    "WriteError",
    "__version__",
    "anchor",
    "as_embedding",
    "compare",
    "diagnose",
    "nearest",
    "project",
    "read",
    "stitch",
    "translate",
    "write",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
