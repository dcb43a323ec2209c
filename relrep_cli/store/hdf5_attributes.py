"""Attributes of HDF5 objects, bounded before they are read. Runs in the child process only (see `child`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from relrep_cli.store.columns import texts_in_json
from relrep_cli.store.guards import Refused
from relrep_cli.store.libhdf5 import h5a, h5py, h5t
from relrep_cli.store.limits import ATTRIBUTE, TEXT_WIDTH

MOST = 64  # attributes of one object


def attribute(item: Any, name: str, where: str) -> str | int | None:
    """A scalar attribute, text or integer; None when there is none of that kind. Raises Refused when it is too large."""
    if not h5a.exists(item, name.encode()):
        return None
    stored = h5a.open(item, name.encode())
    kind, known = stored.get_type(), stored.get_type().get_class()
    if known not in (h5t.INTEGER, h5t.STRING) or stored.get_space().get_simple_extent_npoints() != 1:
        return None
    if stored.get_storage_size() > ATTRIBUTE:
        raise Refused(where, f"its attribute {name} is larger than {ATTRIBUTE >> 10} KiB", "Remove or shorten it.")
    if known == h5t.INTEGER:
        number = np.empty(stored.shape, np.int64)
        stored.read(number)
        return int(number.reshape(-1)[0])
    variable = kind.is_variable_str()
    content = np.empty(stored.shape, h5py.string_dtype() if variable else f"S{kind.get_size()}")
    stored.read(content, mtype=None if variable else kind)  # HDF5 does not convert UTF-8 text to NumPy's ASCII
    value = content.reshape(-1)[0]
    value = value if isinstance(value, bytes) else str(value).encode(errors="surrogateescape")
    if len(value) > ATTRIBUTE:  # only text of variable length gets here: its size is known after following its pointer
        raise Refused(where, f"its attribute {name} is larger than {ATTRIBUTE >> 10} KiB", "Remove or shorten it.")
    return value.decode(errors="replace")


def attribute_names(item: Any) -> list[str]:
    """The names of the first attributes of an object."""
    count = min(h5a.get_num_attrs(item), MOST)
    return [h5a.open(item, index=i).name.decode(errors="replace") for i in range(count)]


def numbers_attribute(item: Any, name: str) -> tuple[float, ...]:
    """The numbers of an attribute, at most 4096 of them; () for one that is missing or of another kind."""
    if not h5a.exists(item, name.encode()):
        return ()
    stored = h5a.open(item, name.encode())
    plain = stored.get_type().get_class() in (h5t.FLOAT, h5t.INTEGER)
    if not plain or not 0 < stored.get_space().get_simple_extent_npoints() <= 4096 or stored.get_storage_size() > ATTRIBUTE:
        return ()
    numbers = np.empty(stored.shape, np.float64)
    stored.read(numbers)
    return tuple(numbers.reshape(-1).tolist())


def texts_attribute(item: Any, name: bytes, n: int) -> tuple[str, ...]:
    """The n texts or whole numbers of an attribute, also where it is a JSON list of them; () for one of another length or kind.

    Texts of variable length may be pointers to one long text: what they take is bounded by the memory of this process.
    """
    stored = h5a.open(item, name)
    kind = stored.get_type()
    if stored.shape == () and kind.get_class() == h5t.STRING:
        return texts_in_json(str(attribute(item, name.decode(errors="replace"), "") or ""), n)
    if stored.shape not in ((n,), (n, 1), (1, n)) or kind.get_class() not in (h5t.INTEGER, h5t.STRING):
        return ()
    if kind.get_class() == h5t.INTEGER:
        numbers = np.empty(stored.shape, np.int64)
        stored.read(numbers)
        return tuple(map(str, numbers.reshape(-1).tolist()))
    if not kind.is_variable_str() and stored.get_storage_size() > n * TEXT_WIDTH:
        return ()
    content = np.empty(stored.shape, h5py.string_dtype() if kind.is_variable_str() else f"S{kind.get_size()}")
    stored.read(content, mtype=None if kind.is_variable_str() else kind)
    values = [
        value if isinstance(value, bytes) else str(value).encode(errors="surrogateescape") for value in content.reshape(-1)
    ]
    return tuple(value.decode(errors="replace") for value in values) if max(map(len, values)) <= TEXT_WIDTH else ()


def names_attribute(item: Any, name: str) -> list[bytes]:
    """A list of names in fixed-length text. Of variable length it is not read: 4096 pointers to one MiB make 4 GB."""
    if not h5a.exists(item, name.encode()):
        return []
    stored = h5a.open(item, name.encode())
    kind = stored.get_type()
    if not stored.get_space().get_simple_extent_npoints():
        return []  # H5Aget_storage_size fails on it
    if kind.get_class() != h5t.STRING or kind.is_variable_str() or not 0 < stored.get_storage_size() <= ATTRIBUTE:
        return []
    content = np.empty(stored.shape, f"S{kind.get_size()}")
    stored.read(content, mtype=kind)
    return list(content.reshape(-1).tolist())
