"""Texts as MATLAB keeps them in version 7.3: letters are 16-bit numbers, a cell holds references to texts elsewhere.

The first part runs in the child that surveys a file (see `child`), the second in the parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.store.chunks import Source, load, stored
from relrep_cli.store.files import AGAIN
from relrep_cli.store.hdf5_plans import DatasetPlan
from relrep_cli.store.limits import SHORTEN, TEXT_WIDTH, padding_fault

MOST = 1 << 16  # texts of a cell
SECONDS = 1e-3  # CPU time in which libhdf5 opens one of them, on a slow processor
BYTES = 1 << 10  # memory that it keeps for one
LETTERS = "<u2"


def letters_of(item: Any, where: str, n: int) -> tuple[DatasetPlan, ...]:
    """The plans of n texts: one of all for an array of characters (width, n), one for each of a cell; () for other datasets."""
    from relrep_cli.store.guards import Refused, dataset, extent
    from relrep_cli.store.hdf5_attributes import attribute
    from relrep_cli.store.libhdf5 import h5d, h5t

    if item.get_create_plist().get_layout() == h5d.VIRTUAL:
        return ()
    try:
        known = attribute(item, "MATLAB_class", where)
        shape, kind = extent(item, where), item.get_type().get_class()
        if known == "char" and kind == h5t.INTEGER and len(shape) == 2 and shape[1] == n and shape[0] <= TEXT_WIDTH:
            plan = dataset(item, where)
            return (plan,) if plan.kind == LETTERS else ()
        return (
            _cell(item, where, n)
            if known == "cell" and kind == h5t.REFERENCE and shape in ((n,), (1, n), (n, 1)) and n <= MOST
            else ()
        )
    except Refused:
        return ()


def _cell(item: Any, where: str, n: int) -> tuple[DatasetPlan, ...]:
    from relrep_cli.store.child import allow_more
    from relrep_cli.store.guards import dataset, file_size, width_of
    from relrep_cli.store.libhdf5 import h5d, h5i, h5py, h5r, h5s

    if item.get_storage_size() != n * width_of(item, where) or 16 * n > file_size(item):
        return ()
    allow_more(SECONDS * n, BYTES * n)
    references = np.empty(item.shape, h5py.ref_dtype)
    item.read(h5s.ALL, h5s.ALL, references)
    plans = []
    for reference in references.reshape(-1):
        part = h5r.dereference(reference, h5i.get_file_id(item)) if reference else None
        plan = dataset(part, where) if isinstance(part, h5d.DatasetID) else None
        if plan is None or plan.kind != LETTERS or prod(plan.shape) > TEXT_WIDTH:
            return ()
        plans.append(plan)
    return tuple(plans)


def texts_of(source: Source, plans: Sequence[DatasetPlan], n: int) -> np.ndarray:
    """(n,) the texts of `letters_of` as "S" in UTF-8. Raises DataError."""
    if len(plans) not in (1, n) or (len(plans) == 1 and plans[0].shape[1:] != (n,) and n > 1):
        raise source.bad("its texts do not fit its rows; the file is hostile", AGAIN)
    whole = len(plans) == 1 and plans[0].shape[1:] == (n,)
    rows = list(load(source, stored(source, plans[0])).T) if whole else [load(source, stored(source, plan)) for plan in plans]
    texts = []
    for i, row in enumerate(rows):
        if i % 1024 == 0:
            check()
        if row.dtype != np.dtype(LETTERS):
            raise source.bad("its texts are of no known type; the file is hostile", AGAIN)
        letters = row.tobytes().decode("utf-16-le", "replace")
        texts.append((letters.rstrip(" ") if whole else letters).encode())
    width = max(1, *map(len, texts))
    if fault := padding_fault(width * n, source.size):
        raise source.bad(fault, SHORTEN)
    return np.array(texts, f"S{width}")
