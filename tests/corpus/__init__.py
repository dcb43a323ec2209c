"""Hostile, damaged, foreign and honest HDF5 files for every reader: `build(folder)` writes them and says what each deserves.

`python -m corpus FOLDER` (from the folder of the tests) writes them for a look. Most dangers come in several places,
because a guard that knows only the matrix is no guard.
"""

from corpus import elsewhere, honest, others, packing, structure, texts
from corpus.base import ACCEPT, REFUSE, VALUES, Case, build

__all__ = ["ACCEPT", "REFUSE", "VALUES", "Case", "build", "elsewhere", "honest", "others", "packing", "structure", "texts"]
