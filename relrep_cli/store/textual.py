"""Texts in Parquet: a child process with limits turns the wanted columns into lines of JSON, which we then read."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from relrep_cli.base.errors import printable
from relrep_cli.base.signals import temporary
from relrep_cli.store.apart import Answer, answered, import_alone, limit, raise_if_failed
from relrep_cli.store.child import Died, run
from relrep_cli.store.column_names import is_id_name, role
from relrep_cli.store.files import HEAD, bad, mistaken, opened, size_of
from relrep_cli.store.limits import packing_fault
from relrep_cli.store.parquet import OPTIONS
from relrep_cli.store.table_columns import listed

LIBRARIES = ("pyarrow.parquet", "pyarrow.compute")  # imported by the fork server
ROWS = 1024
MEMORY = 512 << 20  # bytes for reading at all, beside what the footer takes


@contextmanager
def as_lines(path: Path, text: str, named: Sequence[str]) -> Iterator[IO[bytes]]:
    """A file of JSON objects, one for each row of a Parquet file, with the column `text`, those that the user names, and those
    that may hold ids, labels or splits.

    Raises DataError when the file is damaged or has no such column, WriteError when the temporary folder is full.
    """
    with opened(path) as file:
        head, size = os.pread(file.fileno(), HEAD, 0), size_of(file)
    if not head.startswith(b"PAR1"):
        raise mistaken(path, head, "a Parquet file")
    handle, name = tempfile.mkstemp(prefix="relrep-")
    os.close(handle)
    with temporary(Path(name)) as lines:
        try:
            answer = run(write_lines, str(path), str(lines), text, list(named), patience=60 + size / 1e6)
        except Died as error:
            raise bad(path, f"damaged: {printable(error.finding.replace('libhdf5', 'pyarrow'))}", "Write it again.") from None
        raise_if_failed(answer, lines.parent)
        with lines.open("rb") as file:
            yield file


def write_lines(name: str, target: str, text: str, named: list[str]) -> Answer:
    """In the child: the rows of the Parquet file `name` as lines of JSON in `target`."""
    path = Path(name)

    def work() -> Answer:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path, **OPTIONS) as file, open(target, "w", encoding="utf-8") as lines:
            names = file.schema_arrow.names
            if text not in names:
                raise bad(
                    path,
                    f"no column of this name. Found {listed(names)}",
                    "Name one that is there with --text-column.",
                    text,
                )
            wanted = [n for n in dict.fromkeys(names) if n in (text, *named) or role(n) or is_id_name(n)]
            stored = os.stat(path).st_size
            for batch in file.iter_batches(ROWS, columns=wanted, use_threads=False):
                batch.validate(full=True)
                lines.writelines(json.dumps(row, default=_plain) + "\n" for row in batch.to_pylist())
                if fault := packing_fault(lines.tell(), stored):
                    raise bad(path, fault, "Write it uncompressed.")
        return {}

    import_alone()
    limit(2 + os.stat(path).st_size / 2e6, MEMORY)
    return answered(path, work)


def _plain(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
