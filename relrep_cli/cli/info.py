"""`relrep info`: what a file holds, where it came from, whether it is sound."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import numpy as np
import typer

from relrep_cli import store
from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record, say, write
from relrep_cli.base.text_tables import FOR_EYES
from relrep_cli.base.uris import is_stdin, natural, split_uri
from relrep_cli.cli.options import Printing, command
from relrep_cli.cli.reading_options import ReadingOptions
from relrep_cli.comparison.layers import expand
from relrep_cli.embedding import Embedding, duplicates
from relrep_cli.numerics.blocks import row_blocks, widen
from relrep_cli.numerics.digests import digest
from relrep_cli.numerics.equal_rows import first_of_equal_rows

MOST = 64  # embeddings of one file that are described: each is checked in a child of its own
MANY = 2  # files of which each has a table of its own
COLUMNS = ("file", "name", "value")
IN_ROWS = ("items", "dims", "dtype", "kind", "space", "ids", "labels", "splits", "digest verified")
COUNTED = ("rows not finite", "zero rows", "duplicate rows", "duplicate ids")
TITLE = "What to check"
EXAMPLES = ("relrep info a.h5", "relrep info a.h5 --verify --json", "relrep info 'a.h5::layer/*'")


@dataclass(frozen=True, kw_only=True)
class Options:
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Embedding files.", show_default=False)]
    verify: Annotated[bool, typer.Option("--verify", help="Recompute the digest and compare it with the one stored.")] = False
    printing: Printing
    reading: ReadingOptions


@command(Options)
def info(options: Options) -> None:
    """Say what a file holds, where it came from and whether it is sound.

    Rows with NaN, zero rows and repeated rows are counted, not refused. When one of several files cannot be read, the others
    are still reported. Where a file holds several embeddings, tables have one row for each of them; TSV, CSV and JSON have one
    for each fact.
    """
    style = options.printing.style  # before any file is read
    records: list[Record] = []
    several = len(options.files) > MANY
    for file in options.files:
        try:
            names = _members(file)
            several = several or len(names) > 1
            for member in names:
                e = store.read(member, options.reading.reading, judge=False)
                facts = {**_facts(e), **_health(e), **(_verified(e) if options.verify else {}), **_provenance(e)}
                records += [{"file": member, "name": name, "value": value} for name, value in facts.items()]
        except DataError as error:
            if len(options.files) == 1:
                raise
            records.append({"file": file, "name": "error", "value": str(error)})
    if several and style.on_stdout in FOR_EYES:
        write(_one_row_each(records), ["file", *IN_ROWS], style)
        say(f"relrep info {shlex.quote(str(records[0]['file']))} prints all that is known of the first.")
    else:
        write(records, COLUMNS, style)
    _judge(records)


def _one_row_each(records: list[Record]) -> list[Record]:
    """The facts of each embedding as one record. Counts of rows that are not sound are there where they are not 0."""
    rows: dict[str, Record] = {}
    for r in records:
        row = rows.setdefault(r["file"], {"file": r["file"]})
        if r["name"] in (*IN_ROWS, "error") or (r["name"] in COUNTED and r["value"]):
            row[r["name"]] = r["value"]
    return list(rows.values())


def _judge(records: list[Record]) -> None:
    """Raise DataError when a digest did not match, or a file could not be read."""
    verdicts = {r["file"]: r["value"] for r in records if r["name"] == "digest verified" and r["value"] != "yes"}
    changed = [file for file, value in verdicts.items() if value == "no"]
    if changed:
        raise DataError(
            "the content does not match its digest; X or ids were changed after writing",
            "Take the original file, or make it again from its source.",
            file=", ".join(changed),
        )
    if verdicts:
        raise DataError("no digest is stored to verify", "Write such a file with relrep embed.", file=", ".join(verdicts))
    broken = {r["file"] for r in records if r["name"] == "error"}
    if broken:
        raise DataError(
            f"{len(broken)} of {len({r['file'] for r in records})} files could not be read", "See the rows named error."
        )


def _members(file: str) -> list[str]:
    """The file itself, or each embedding in it when there are several and none at its root."""
    if set(split_uri(file)[2]) & set("*?["):
        return expand([file])[0]
    if split_uri(file)[1] or is_stdin(file) or not file.lower().endswith((*store.HDF5_ENDINGS, *store.OF_ARRAYS)):
        return [file]
    names = sorted(store.members(file, all_arrays=False), key=natural)
    if len(names) <= 1 or "/" in names:
        return [file]
    if len(names) > MOST:
        say(f"{file}: holds {len(names)} or more embeddings; here are the first {MOST}. Write {file}::NAME for another.")
    return [f"{file}::{name.strip('/')}" for name in names[:MOST]]


def _facts(e: Embedding) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "items": e.n,
        "dims": e.d,
        "dtype": e.x.dtype.name,
        "kind": e.kind,
        "space": printable(e.space) or None,
    }
    facts["ids"] = "row numbers" if e.row_ids else f"{printable(bytes(e.ids[0]))} … {printable(bytes(e.ids[-1]))}"
    facts["columns"] = ", ".join(map(printable, e.obs)) or None
    if "label" in e.obs:
        facts["labels"] = len(np.setdiff1d(e.obs["label"], [b""])) if e.obs["label"].dtype.kind == "S" else "numbers"
    if "split" in e.obs:
        names, counts = np.unique(e.obs["split"], return_counts=True)
        facts["splits"] = ", ".join(f"{printable(bytes(n)) or 'none'} {c}" for n, c in zip(names, counts, strict=True))
    if e.var and "anchor" in e.var:
        facts["anchors"] = len(np.unique(e.var["anchor"]))
    if e.source_space:
        facts["made from"] = printable(e.source_space)
    if e.uns:
        facts["statistics"] = ", ".join(f"{name} {' x '.join(map(str, values.shape))}" for name, values in e.uns.items())
    return facts


def _health(e: Embedding) -> dict[str, Any]:
    """Counts of rows that are not finite, zero, or the same as an earlier row."""
    bad = zero = 0
    for block in row_blocks(*e.x.shape, e.x):
        wide = widen(np.ascontiguousarray(e.x[block]))
        bad += int((~np.isfinite(wide).all(1)).sum())
        zero += int((wide == 0).all(1).sum())
    return {
        "rows not finite": bad,
        "zero rows": zero,
        "duplicate rows": e.n - len(first_of_equal_rows(e.x)),
        "duplicate ids": e.n - len(np.unique(e.ids)) if duplicates(e.ids) else 0,
    }


def _verified(e: Embedding) -> dict[str, Any]:
    if not e.digest:
        return {"digest verified": "no digest stored"}
    return {"digest verified": "yes" if digest(e.x, e.ids) == e.digest else "no"}


def _provenance(e: Embedding) -> dict[str, Any]:
    facts: dict[str, Any] = {"digest": e.digest or None}
    for place, step in enumerate(e.steps, 1):
        params = ", ".join(f"{k}={v}" for k, v in dict(step.get("params") or {}).items())
        inputs = ", ".join(str(i.get("uri")) for i in step.get("inputs") or [])
        seed = "" if step.get("seed") is None else f" seed {step['seed']}"
        facts[f"step {place}"] = printable(
            f"{step.get('command')} {inputs} ({params}){seed}, {step.get('version')}, {step.get('time')}", 400
        )
    return facts
