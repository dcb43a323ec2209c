"""What `import relrep_cli` offers, and where it lives.

>>> import numpy as np, relrep_cli as relrep
>>> x = np.random.default_rng(0).normal(size=(200, 8))
>>> turn = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
>>> round(relrep.compare(x, x @ turn, metric="cka").value, 6)
1.0
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

PACKAGE = "relrep_cli"
HOMES = {
    "base.errors": ("DataError", "RelrepError", "UsageError", "WriteError"),
    "embedding": ("Embedding",),
    "library.compared_spaces": ("compare", "diagnose"),
    "library.drawings": ("Drawing", "plot"),
    "library.encodings": ("embed",),
    "library.estimators": ("RelativeProjector", "Translator"),
    "library.evaluations": ("evaluate",),
    "library.given_spaces": ("as_embedding",),
    "library.nearest_items": ("nearest",),
    "library.projections": ("anchor", "project"),
    "library.result_tables": ("Result", "Results"),
    "library.saved_maps": ("SavedMap", "read_map"),
    "library.space_files": ("read", "write"),
    "library.stitches": ("stitch",),
    "library.translations": ("Translation", "Universe", "translate", "universe"),
}
NAMES = sorted(["__version__", *(name for names in HOMES.values() for name in names)])


def offered(name: str) -> Any:
    """Import a name of the library, and keep it in the package. Raises AttributeError for any other name."""
    if name == "__all__":
        return NAMES
    home = next((home for home, names in HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}")
    value = getattr(import_module(f"{PACKAGE}.{home}"), name)
    setattr(sys.modules[PACKAGE], name, value)
    return value
