"""`relrep neighbors`: the nearest or farthest items of a few."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Annotated, Literal

import numpy as np
import typer

from relrep_cli import sources, store
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import say, write
from relrep_cli.cli.options import Device, Force, Given, Printing, Seed, command, split_names
from relrep_cli.cli.plain_options import plain_option
from relrep_cli.cli.reading_options import ReadingOptions
from relrep_cli.comparison.low_dims import hint
from relrep_cli.embedding import Embedding, bare_name, in_id_order
from relrep_cli.evaluations.lookup import (
    COLUMNS,
    Looked,
    Queries,
    look_up,
    look_up_vectors,
    pictures_of,
    records_of,
    rows_of_ids,
    rows_of_split,
    sampled,
    strips_of,
)
from relrep_cli.plots.drawing import ready
from relrep_cli.plots.strips import fitting, strips
from relrep_cli.sources import SOURCES, Items

TITLE = "What to look up"
EXAMPLES = (
    "relrep neighbors a.h5 --query test-00000,test-00007 -k 5",
    "relrep neighbors index.h5 --queries queries.h5 -k 10 -o hits.tsv",
    "relrep neighbors a.h5 --sample 10 --farthest --by euclidean",
    "relrep neighbors a.h5 --sample 8 --split test --images fashion-mnist/ --plot strip.png",
)
IMAGES = SOURCES.those(lambda entry: entry.kind == "images")


@dataclass(frozen=True, kw_only=True)
class Options:
    file: Annotated[str, typer.Argument(metavar="FILE", help="Embedding file; - is stdin.", show_default=False)]
    query: Annotated[
        list[str], typer.Option("--query", help="Ids of items, repeated or with commas.", metavar="ID", show_default=False)
    ] = field(default_factory=list)
    queries: Annotated[
        str, plain_option("--queries", "Look up all rows of another file, vectors of the same model as FILE's.", "FILE")
    ] = ""
    sample: Annotated[
        int | None, typer.Option("--sample", help="Take this many items at random instead.", min=1, show_default=False)
    ] = None
    k: Annotated[int, typer.Option("-k", "--k", help="Number of items to print for each.", min=1)] = 10
    farthest: Annotated[bool, typer.Option("--farthest", help="Print the farthest items instead of the nearest.")] = False
    by: Annotated[Literal["cosine", "euclidean"], typer.Option("--by", help="Distance between rows.")] = "cosine"
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Search, and sample, only the rows of this split, such as train.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None
    column: Annotated[str, typer.Option("--label", help="Column to print for each item.", metavar="COLUMN")] = "label"
    images: Annotated[
        str,
        typer.Option(
            "--images", help="The source that FILE was embedded from, for --plot.", metavar="SOURCE", show_default=False
        ),
    ] = ""
    plot: Annotated[
        str,
        typer.Option(
            "--plot",
            help="Also draw FILE (.png, .svg or .pdf): a line of pictures for each query.",
            metavar="FILE",
            show_default=False,
        ),
    ] = ""
    source_kind: Annotated[
        str,
        typer.Option(
            "--source",
            help=f"Kind of SOURCE, if relrep does not recognise it: {', '.join(IMAGES)}.",
            metavar="NAME",
            show_default=False,
        ),
    ] = ""
    output: Annotated[
        str, typer.Option("--output", "-o", help="Table to write; - is stdout.", metavar="FILE", show_default=False)
    ] = ""
    force: Force = False
    printing: Printing
    device: Device = "cpu"
    seed: Seed = 0
    reading: ReadingOptions
    given: Given


@command(Options, IMAGES)
def neighbors(options: Options) -> None:
    """Print the nearest or farthest items of a few, or draw them.

    The few are items of FILE (--query, --sample) or all rows of another file (--queries), such as queries to a search index.
    Distances are exact: 1 - cosine, or Euclidean. Items at the same distance are sorted by id. An item of FILE is never its own
    neighbour; a row of --queries finds an item of the same id, too. Pictures are found by id, so --images names the source that
    was embedded.
    """
    _check(options)
    embedding = in_id_order(store.read(options.file, options.reading.reading))
    searched = rows_of_split(embedding, options.split)
    labels = _labels(options, embedding)
    if options.queries:
        asked, result = _of_file(options, embedding, searched)
    else:
        rows = _rows(options, embedding, searched)
        result = look_up(embedding, rows, searched, options.k, options.by, options.farthest, options.device)
        asked = Queries(embedding.ids[rows], None if labels is None else labels[rows])
        if options.plot:
            _draw(options, embedding, searched, rows, result, labels)
    if note := hint(embedding, ["--by"] if options.by == "cosine" else []):
        say(note)
    records = records_of(asked, embedding, result, labels)
    if options.output not in ("", "-"):
        content = store.encoded(options.output, records, COLUMNS, options.printing.style)
        return store.write_bytes(options.output, content, options.force)
    write(records, COLUMNS, options.printing.style)


def _labels(options: Options, embedding: Embedding) -> np.ndarray | None:
    """(n,) the column to print, None for a file without labels."""
    column = options.reading.reading.target(options.column)
    return embedding.column(column) if column != "label" or "label" in embedding.obs else None


def _of_file(options: Options, embedding: Embedding, searched: np.ndarray) -> tuple[Queries, Looked]:
    """The rows of --queries, and what is found for each. They need not have the column of labels that FILE has."""
    reading = replace(options.reading.reading, label_column=None, split_column=None)
    queries = store.read(options.queries, reading)
    names = [name for name in (options.reading.label_column, options.column) if name in queries.obs]
    result = look_up_vectors(embedding, queries, searched, options.k, options.by, options.farthest, options.device)
    return Queries(queries.ids, queries.obs[str(names[0])] if names else None), result


def _rows(options: Options, embedding: Embedding, searched: np.ndarray) -> np.ndarray:
    """(q,) row numbers of the items to look up."""
    if options.query:
        return rows_of_ids(embedding, options.query, split_names)
    return sampled(embedding, searched, options.sample or 0, options.seed)


def _draw(
    options: Options, embedding: Embedding, searched: np.ndarray, queries: np.ndarray, result: Looked, labels: np.ndarray | None
) -> None:
    """Draw a strip of pictures for each of the first queries."""
    shown, depth = fitting(len(queries), options.k)
    if shown < len(queries) or depth < options.k:
        counts = f"the first {shown} of {len(queries)} queries, the first {depth} of {options.k} items of each"
        say(f"{options.plot}: shows {counts}.")
    rows = np.concatenate([queries[:, None], result.rows], 1)[:shown, : depth + 1]
    pictures = pictures_of(_images(options, embedding), embedding, rows, options.images)
    drawn = strips(strips_of(embedding, rows, result, labels, pictures), _title(options, embedding, searched), options.plot)
    store.write_bytes(options.plot, drawn, options.force)


def _check(options: Options) -> None:
    """Raise UsageError for options that do not go together."""
    named = [
        option
        for option, is_given in (
            ("--query", bool(options.query)), ("--queries", bool(options.queries)), ("--sample", options.sample is not None)
        )
        if is_given
    ]  # fmt: skip
    if len(named) > 1:
        raise UsageError(f"{named[0]} and {named[1]} exclude each other", "Give one of them.")
    if not named:
        remedy = "Name some with --query ID or a file of them with --queries FILE, or take some at random with --sample N."
        raise UsageError("no items are named", remedy)
    if options.queries and options.plot:
        raise UsageError("--plot draws items of FILE, and --queries names another file", "Leave out one of them.")
    if bool(options.images) != bool(options.plot):
        given, missing = ("--images", "--plot FILE") if options.images else ("--plot", "--images SOURCE")
        raise UsageError(f"{given} does not work alone", f"Add {missing}.")
    if options.queries == options.file == "-":
        raise UsageError("FILE and --queries cannot both be standard input (-)", "Save one as a file, and name the file.")
    inputs = [options.file, options.queries, options.images]
    if options.output not in ("", "-"):
        store.refuse(options.output, True, inputs)
        store.agree(options.output, options.printing.style)
    store.refuse_same({"-o": options.output, "--plot": options.plot})
    if options.plot:
        ready(options.plot)
        store.refuse(options.plot, True, inputs)
    else:
        options.given.refuse(IMAGES, "neighbors without --images")


def _title(options: Options, embedding: Embedding, searched: np.ndarray) -> str:
    which = "farthest" if options.farthest else "nearest"
    return f"{bare_name(embedding.uri)}: {options.k} {which} of {len(searched)} items, {options.by}"


def _images(options: Options, embedding: Embedding) -> Items:
    """The items of the source of --images. Raises DataError where they are no images."""
    name = sources.chosen(options.images, options.source_kind, options.given.names(IMAGES), {"images"})
    if name not in IMAGES:
        remedy = f"Name the images that {embedding.uri} was embedded from, or leave out --images and --plot."
        raise DataError(f"holds {SOURCES[name].kind}, and a strip shows images", remedy, file=options.images)
    return sources.read(options.images, name, options.given.choose(IMAGES, [name])[name])
