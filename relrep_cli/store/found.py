"""The result of a reader of one file format: arrays and known attributes, no object of the format's own library."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """One embedding as found in a file of any format, checked but not yet interpreted.

    x: (n, d) real numbers, a memory map where the file allows one. columns: what may be ids, labels or splits, as stored and by
    the file's own names; `assignment.assign` chooses. index: which of them the format declares to be the ids. unread:
    columns that may hold ids by their first rows, and were not read. obs, var: columns that are kept, by name, text as "S".
    ids: (n,) UTF-8 in a NumPy "S" array, or None; only `assign` sets them. attrs: the known scalar attributes. uns:
    arrays by name. places: where in the file "x" and "ids" lie, for messages, in formats that name their parts. stored: the
    type of the numbers in the file, as NumPy calls it. notes: what the user should know of how it was read. stamp: size, times
    and inode of the file while it was read, where the format states digests. digests: of columns in `unread`, by name.
    layout: an array has two axes, which the user may swap; a table has columns, which the user may name; a collection says
    itself what its rows are. scaling: arrays that may say what the integers of x stand for; see `store.scaling`.
    """

    x: np.ndarray
    ids: np.ndarray | None = None
    obs: dict[str, np.ndarray] = field(default_factory=dict)
    var: dict[str, np.ndarray] = field(default_factory=dict)
    attrs: dict[str, str | int] = field(default_factory=dict)
    uns: dict[str, np.ndarray] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    index: str | None = None
    unread: tuple[str, ...] = ()
    stored: str = ""
    notes: tuple[str, ...] = ()
    stamp: tuple[int, ...] | None = None
    digests: dict[str, str] = field(default_factory=dict)
    layout: Literal["array", "table", "collection"] = "collection"
    scaling: dict[str, np.ndarray] = field(default_factory=dict)
