"""Lance tables, which are folders, as LanceDB keeps them: read by the lance package in a child process.

The package (pylance) is the extra relrep[lance]. A table may name data in other folders or on other machines, so one that
does is refused before its data are read.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from relrep_cli.base.errors import DataError, UsageError, is_out_of_descriptors, printable
from relrep_cli.store.apart import Answer, Files, answered, import_alone, limit, read_apart, spill
from relrep_cli.store.arrow_tables import columns_of, could_be_ids, embedding_batches, index_of, stored_of
from relrep_cli.store.assignment import FIRST
from relrep_cli.store.files import bad
from relrep_cli.store.found import Found
from relrep_cli.store.lance_manifests import PLAIN_NAME, VERSIONS, check_table, in_other_folders
from relrep_cli.store.reading import Reading
from relrep_cli.store.table_columns import Chosen
from relrep_cli.store.zarr_folders import stored_in

MEMORY = 512 << 20  # bytes for the package, beside
FACTOR = 4  # times the bytes of the table
ROWS = 1024  # of one batch
LOOKED_AT = 16  # unread columns
ONE_THREAD = ("LANCE_CPU_THREADS", "LANCE_IO_THREADS", "TOKIO_WORKER_THREADS")


def is_lance(path: Path) -> bool:
    """Whether a folder is a Lance table."""
    return (path / VERSIONS).is_dir()


def read_lance(path: Path, member: str | None, reading: Reading) -> Found:
    """The column of vectors that `member` names, or the only one, with its ids by the rule for tables.

    Raises UsageError without the lance package, DataError for a table that cannot be read.
    """
    if find_spec("lance") is None:
        raise UsageError("this is a Lance table", "Install relrep[lance] to read it.", file=printable(str(path), 1000))
    size = stored_in(path)
    check_table(path)
    return read_apart(path, size, survey, size, member, asdict(reading))


def survey(name: str, files: Files, size: int, member: str | None, reading: Mapping[str, Any]) -> Answer:
    """In the child: the embedding in the Lance table `name`, spilled into `files`."""
    path = Path(name)

    def work() -> Answer:
        with _plain_errors(path):
            return _of_table(path, files, size, member, Reading(**reading))

    os.environ |= dict.fromkeys(ONE_THREAD, "1")
    import_alone()
    limit(4 + size / 2e7, MEMORY + FACTOR * size)
    return answered(path, work)


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    """Turn the errors of lance, whose panics are no Exception, into a DataError of one line."""
    try:
        yield
    except (MemoryError, DataError):
        raise
    except BaseException as error:
        if is_out_of_descriptors(error):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from None
        cause = re.sub(r", \S+\.rs:\d.*", "", str(error).partition("\n")[0])  # where in the package's source it was raised
        reason = printable(cause or type(error).__name__, 120)
        raise bad(path, f"the lance package cannot read it: {reason}", "Write it again.") from None


def _of_table(path: Path, files: Files, size: int, member: str | None, reading: Reading) -> Answer:
    import lance

    table = lance.dataset(os.path.abspath(path))
    _refuse_strangers(path, table)
    chosen = columns_of(path, table.schema, member, reading)
    batches = table.scanner(columns=[*chosen.vectors, *chosen.named], batch_size=ROWS, scan_in_order=True).to_batches()
    answer = spill(path, files, embedding_batches(path, batches, chosen), size)
    stored, index = stored_of(table.schema, chosen), index_of(table.schema)
    return {**answer, "stored": stored, "index": index, "unread": _unread(table, chosen)}


def _refuse_strangers(path: Path, table: Any) -> None:
    """Raise DataError where the table's data lie in another folder."""
    outside = bool(table.base_paths())
    for fragment in table.get_fragments():
        stated = fragment.metadata
        parts = [*stated.files, *filter(None, [stated.deletion_file])]
        outside |= any(getattr(part, "base_id", None) is not None for part in parts)
        outside |= not all(PLAIN_NAME.fullmatch(part.path) for part in stated.files)
    if outside:
        raise in_other_folders(path)


def _unread(table: Any, chosen: Chosen) -> list[str]:
    """Which of the other columns could hold ids, by their first rows."""
    first = table.scanner(columns=chosen.others[:LOOKED_AT], limit=FIRST).to_table() if chosen.others else None
    return [name for name in chosen.others[:LOOKED_AT] if first is not None and could_be_ids(first[name].combine_chunks())]
