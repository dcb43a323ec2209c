"""Write Lance tables into a folder: `python lance_tables.py FOLDER`. In a process of its own, since lance survives no fork."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
NAMES = [f"w{i}" for i in range(len(X))]


def main(folder: Path) -> None:
    """whole.lance in three files, deleted.lance without w2, and clone.lance, whose data are in whole.lance."""
    import lance
    import pyarrow as pa

    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
    table = pa.table({"doc_id": NAMES, "vector": lists, "label": ["u", "v"] * 4})
    whole = lance.write_dataset(table, str(folder / "whole.lance"), max_rows_per_file=3)
    whole.shallow_clone(str(folder / "clone.lance"), 1)
    lance.write_dataset(table, str(folder / "deleted.lance")).delete("doc_id = 'w2'")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
