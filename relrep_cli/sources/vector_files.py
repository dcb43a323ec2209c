"""Vectors as items, for encoders on top of other encoders: every file that the store reads."""

from __future__ import annotations

import os
from pathlib import Path

from relrep_cli import store
from relrep_cli.base.uris import split_uri
from relrep_cli.sources.items import Items, source
from relrep_cli.store.reading import PLAIN, Reading

HDF5 = (*store.HDF5, ".he5", ".hdf")


def _fits(path: Path) -> bool:
    from relrep_cli.store.files import inner_ending
    from relrep_cli.store.foreign import READERS
    from relrep_cli.store.gzipped import TEXTS
    from relrep_cli.store.parts import is_table

    name = split_uri(str(path))[0]
    if os.path.isdir(name):
        return is_table(Path(name))
    known = TEXTS if name.lower().endswith(".gz") else {*READERS, *HDF5}
    return inner_ending(name) in {*known} - {".txt"}  # a .txt is lines, unless --source vectors says so


@source(kind="vectors", fits=_fits, has_columns=True, source="format version 1 and others")
def vectors(path: Path, *, reading: Reading = PLAIN) -> Items:
    """Vectors of any file that relrep reads, with their ids, labels and splits."""
    e = store.digested(store.read(str(path), reading))
    return Items(e.x, e.ids, e.digest, {name: e.obs[name] for name in ("label", "split") if name in e.obs})
