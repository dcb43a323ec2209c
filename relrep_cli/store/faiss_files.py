"""Indexes that faiss wrote: those that keep their vectors, flat or under ids, read by faiss in a child process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from relrep_cli.base.errors import printable
from relrep_cli.store.apart import Answer, Files, limit
from relrep_cli.store.arrays import Array
from relrep_cli.store.files import HEAD, bad, mistaken, opened, sniff
from relrep_cli.store.found import Found
from relrep_cli.store.library_files import BYTES_A_SECOND, FACTOR, SECONDS, array_of, read_with_library, surveyed
from relrep_cli.store.reading import PLAIN, Reading

BESIDE = 24 << 20  # bytes of memory for a small index
LIBRARIES = ("faiss",)  # imported by the fork server
KINDS = {b"IxF2", b"IxFI", b"IxFl", b"IxMp", b"IxM2"}  # flat by L2 or inner product, and maps of ids, as their files begin
READ = "relrep reads IndexFlat, alone or in an IndexIDMap"
SAVE = "Write the vectors themselves: numpy.save(FILE, index.reconstruct_n(0, index.ntotal))."


def read_faiss(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
    """The vectors (n, d) of an IndexFlat, and the ids of an IndexIDMap. Raises DataError."""
    if member is not None:
        raise bad(path, "an index has no members", f"Write {printable(str(path), 1000)}.", member)
    with opened(path) as file:
        head = os.pread(file.fileno(), HEAD, 0)
    if head[:4] not in KINDS:
        if head[:2] in (b"Ix", b"Iw", b"IB", b"IH"):
            kind = printable(head[:4].decode("ascii", "replace"))
            raise bad(path, f"this is a faiss index of the kind {kind}, and {READ}", SAVE)
        raise mistaken(path, head, "a faiss index") if sniff(head) else bad(path, "this is not a faiss index", SAVE)
    return read_with_library(path, member, reading, survey)


def survey(name: str, files: Files, member: str | None, reading: Mapping[str, Any]) -> Answer:
    """In the child: see `surveyed`."""
    return surveyed(name, files, member, reading, _arrays, "index")


def _arrays(path: Path) -> Sequence[Array]:
    import faiss

    faiss.omp_set_num_threads(1)  # each takes 8 MiB of the limit
    size = os.stat(path).st_size  # beyond it, a damaged index may not ask for what the import was allowed to take
    limit(SECONDS + size / BYTES_A_SECOND, BESIDE + FACTOR * size)
    try:
        outer = faiss.read_index(str(path))  # owns what it holds, so it has to stay
    except RuntimeError as error:
        raise bad(path, f"faiss cannot read it: {printable(str(error).splitlines()[-1], 120)}", "Write it again.") from None
    arrays, index = [], outer
    if hasattr(outer, "id_map"):
        arrays.append(array_of(path, "id", faiss.vector_to_array(outer.id_map)))
        index = faiss.downcast_index(outer.index)  # type: ignore[attr-defined]
    if not isinstance(index, faiss.IndexFlat):
        raise bad(path, f"it holds {printable(type(index).__name__)}, and {READ}", SAVE)
    return [array_of(path, "vectors", index.reconstruct_n(0, index.ntotal)), *arrays]
