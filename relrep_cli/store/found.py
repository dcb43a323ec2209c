"""What a reader of one file format hands to the store: arrays and known attributes, nothing of the file's own library."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Found:
    """One embedding as found in a file of any format, checked but not yet interpreted.

    x: (n, d) real numbers, a memory map where the file allows one. ids: (n,) UTF-8 in a NumPy "S" array, or None.
    obs, var: columns by name, text as "S" arrays. attrs: the known scalar attributes. uns: arrays by name.
    stamp: size, times and inode of the file while it was read, where the format states digests.
    places: where in the file "x" and "ids" lie, for messages, in formats that name their parts.
    """

    x: np.ndarray
    ids: np.ndarray | None = None
    obs: dict[str, np.ndarray] = field(default_factory=dict)
    var: dict[str, np.ndarray] = field(default_factory=dict)
    attrs: dict[str, str | int] = field(default_factory=dict)
    uns: dict[str, np.ndarray] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    stamp: tuple[int, ...] | None = None
