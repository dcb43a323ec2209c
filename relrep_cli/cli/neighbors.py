"""`relrep neighbors`: the nearest or farthest items of a few."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

import numpy as np
import typer

from relrep_cli import sources, store
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.output import Record, say, write
from relrep_cli.cli import options
from relrep_cli.embedding import Embedding, bare_name, find_ids, in_id_order, text
from relrep_cli.evaluations.lookup import Looked, look_up
from relrep_cli.numerics.blocks import pick
from relrep_cli.plots import Strip, fitting, ready, strips
from relrep_cli.sources import SOURCES

COLUMNS = ("query", "query_label", "rank", "id", "label", "distance")
EXAMPLES = (
    "relrep neighbors a.h5 --query test-00000,test-00007 -k 5",
    "relrep neighbors a.h5 --sample 10 --farthest --by euclidean",
    "relrep neighbors a.h5 --sample 8 --split test --images fashion-mnist/ --plot strip.png",
)
IMAGES = SOURCES.those(lambda entry: entry.kind == "images")


@options.legacy_command(IMAGES)
def neighbors(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Embedding file; - is stdin.", show_default=False)],
    query: Annotated[
        list[str],
        typer.Option("--query", help="Ids of items, repeated or with commas.", metavar="ID", show_default=False),
    ] = [],  # noqa: B006 (typer reads it, nobody changes it)
    sample: Annotated[
        int | None, typer.Option("--sample", help="Take so many items at random instead.", min=1, show_default=False)
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="How many items for each.", min=1)] = 10,
    farthest: Annotated[bool, typer.Option("--farthest", help="The farthest items, not the nearest.")] = False,
    by: Annotated[
        Literal["cosine", "euclidean"], typer.Option("--by", help="Which rows are near: by cosine or Euclidean distance.")
    ] = "cosine",
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Look, and sample, among rows of this split only, such as train.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    column: Annotated[str, typer.Option("--label", help="Column to show of each item.", metavar="COLUMN")] = "label",
    images: Annotated[
        str,
        typer.Option(
            "--images", help="The source that FILE was embedded from, for --plot.", metavar="SOURCE", show_default=False
        ),
    ] = "",
    plot: Annotated[
        str,
        typer.Option(
            "--plot",
            help="Draw FILE (.png, .svg or .pdf) as well: a line of pictures for each query.",
            metavar="FILE",
            show_default=False,
        ),
    ] = "",
    source_kind: Annotated[
        str,
        typer.Option(
            "--source", help=f"What SOURCE is, if its looks mislead: {', '.join(IMAGES)}.", metavar="NAME", show_default=False
        ),
    ] = "",
    force: options.Force = False,
    format: options.AsFormat = None,
    json: options.AsJson = False,
    seed: options.Seed = 0,
    given: options.Given = options.NOTHING,
) -> None:
    """Print the nearest or farthest items of a few, or draw them.

    Distances are exact: 1 - cosine, or Euclidean. Equally near items stand in the order of their ids; an item is never its own
    neighbour. Pictures are found by id, so the source is that of embed.
    """
    kind = options.format_of(format, json)
    if query and sample is not None:
        raise UsageError("--query and --sample exclude each other", "Give one of them.")
    if not query and sample is None:
        raise UsageError("no items are named", "Name some with --query ID, or take some at random with --sample N.")
    _refuse_plot(plot, images, file, given)
    e = in_id_order(store.read(file))
    among = _among(e, split)
    rows = _named(e, query) if query else _sampled(e, among, sample or 0, seed)
    found = look_up(e, rows, among, k, by, farthest)
    labels = _labels(e, column)
    if plot:
        queries, most = fitting(len(rows), k)
        if queries < len(rows) or most < k:
            say(f"{plot}: shows the first {queries} of {len(rows)} queries, the first {most} of {k} items of each.")
        title = f"{bare_name(e.uri)}: {k} {'farthest' if farthest else 'nearest'} of {len(among)} items, {by}"
        shown = np.concatenate([rows[:, None], found.rows], 1)[:queries, : most + 1]
        pictures = _pictures(images, source_kind, given, e, shown)
        store.write_bytes(plot, strips(_strips(e, shown, found, labels, pictures), title, plot), force)
    write(_records(e, rows, found, labels), COLUMNS, kind)


def _refuse_plot(plot: str, images: str, file: str, given: options.Given) -> None:
    if bool(images) != bool(plot):
        raise UsageError(
            f"{'--images' if images else '--plot'} does not work alone",
            f"Add {'--plot FILE' if images else '--images SOURCE'}.",
        )
    if plot:
        ready(plot)
        store.refuse(plot, True, [file, images])
    else:
        given.refuse(IMAGES, "neighbors without --images")


def _among(e: Embedding, split: str | None) -> np.ndarray:
    rows = np.arange(e.n) if split in (None, "all") else e.rows_of_split(str(split))
    if rows is None or not len(rows):
        found = "no split column" if rows is None else ", ".join(printable(s) for s in np.unique(e.obs["split"]).tolist())
        raise DataError(
            f"no rows of split {printable(str(split))!r}; found: {found}", "Choose one of these with --split.", file=e.uri
        )
    return rows


def _named(e: Embedding, query: list[str]) -> np.ndarray:
    """Row numbers of ids, each of which is an option's value or a part of one between commas."""
    parts = [[value] if _row(e, value) >= 0 else options.split_names([value]) for value in query]
    if not all(parts):
        raise UsageError(f"--query {printable(query[parts.index([])])!r} names no item", "Write --query ID.")
    words = list(itertools.chain(*parts))
    rows = find_ids(e.ids, text(words))
    if (rows < 0).any():
        missing = [word for word, row in zip(words, rows, strict=True) if row < 0]
        some = f"such as {printable(bytes(e.ids[0]))}"
        raise DataError(
            f"no item {printable(missing[0])!r} ({len(missing)} of {len(words)}); ids look {some}",
            "Check the ids; relrep info shows the first and the last.",
            file=e.uri,
        )
    return rows


def _row(e: Embedding, item: str) -> int:
    return int(find_ids(e.ids, text([item]))[0])


def _sampled(e: Embedding, among: np.ndarray, count: int, seed: int) -> np.ndarray:
    if count > len(among):
        say(f"{e.uri}: all {len(among)} items are taken, which are fewer than --sample {count}.")
    return among[np.sort(np.random.default_rng(seed).permutation(len(among))[:count])]


def _labels(e: Embedding, column: str) -> np.ndarray | None:
    return e.column(column) if column != "label" or column in e.obs else None


def _text(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _records(e: Embedding, rows: np.ndarray, found: Looked, labels: np.ndarray | None) -> list[Record]:
    def label(row: int) -> str | None:
        return None if labels is None else _text(labels[row])

    return [
        dict(
            zip(
                COLUMNS,
                (_text(e.ids[row]), label(row), rank, _text(e.ids[other]), label(other), distance),
                strict=True,
            )
        )
        for row, others, far in zip(rows.tolist(), found.rows.tolist(), found.distances.tolist(), strict=True)
        for rank, (other, distance) in enumerate(zip(others, far, strict=True), 1)
    ]


def _pictures(source: str, kind: str, given: options.Given, e: Embedding, shown: np.ndarray) -> list[list[np.ndarray]]:
    """The pictures (h, w) or (h, w, 3) of the rows `shown` (lines, columns) of e, looked up by id."""
    name = sources.chosen(source, kind, given.names(IMAGES), {"images"})
    if name not in IMAGES:
        raise DataError(f"holds {SOURCES[name].kind}, and a strip shows images", "Leave out --images and --plot.", file=source)
    items = sources.read(source, name, given.choose(IMAGES, [name])[name])
    places = find_ids(items.ids, e.ids[shown.ravel()])
    if (places < 0).any():
        missing = printable(bytes(e.ids[shown.ravel()][np.argmax(places < 0)]))
        raise DataError(
            f"holds no item {missing}, which {e.uri} has", "Name the source that it was embedded from.", file=source
        )
    return [list(line) for line in pick(items.x, places.reshape(shown.shape))]


def _strips(
    e: Embedding, shown: np.ndarray, found: Looked, labels: np.ndarray | None, pictures: list[list[np.ndarray]]
) -> list[Strip]:
    """What to draw for each query: label, or id, under each picture, and the distances."""

    def name(row: int) -> str:
        return _text(e.ids[row] if labels is None else labels[row])

    return [
        Strip(line, [name(row) for row in own], distances[: len(own) - 1])
        for own, distances, line in zip(shown.tolist(), found.distances.tolist(), pictures, strict=False)
    ]
