"""`relrep plot`: pictures of one space, or of several beside each other."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.output import Record, progress, say
from relrep_cli.cli import compare_layers as layers
from relrep_cli.cli import options
from relrep_cli.cli.recipe_options import read_recipe
from relrep_cli.embedding import Embedding, bare_name, of_split
from relrep_cli.plots import Cloud, Picture, dots, scatter
from relrep_cli.plots import ready as can_draw
from relrep_cli.plots.reductions import FITTED, METHODS, ready, reduce
from relrep_cli.plots.scatters import MOST, REST
from relrep_cli.relative.projection import basis, relative
from relrep_cli.relative.recipes import Recipe
from relrep_cli.relative.similarities import SIMILARITIES

EXAMPLES = (
    "relrep plot a.h5 b.h5 -o spaces.png",
    "relrep plot a.h5 b.h5 --anchors anchors.h5 --method tsne --split test -o spaces.svg",
    "relrep plot a.h5 --method laplacian --color label -o a.html",
    "relrep plot conv-ae.tsv lin-ae.tsv -o seeds.svg",
)
SAMPLE = 2_000
RESULTS = "results of compare, which are drawn as they are"
RECORD = {"a", "b", "metric", "value"}
FILES = f"Embedding files, or results of compare ({', '.join(store.READABLE)})."


@options.legacy_command(METHODS, SIMILARITIES)
def plot(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help=FILES, show_default=False)],
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="Picture to write: .png, .svg, .pdf or .html.", metavar="FILE", show_default=False),
    ] = "",
    method: Annotated[str, options.names_of(METHODS, "How to make two dims of many.", "--method", "-m")] = "pca",
    color: Annotated[str, typer.Option("--color", help="Column that colours the points.", metavar="COLUMN")] = "label",
    split: options.Split = None,
    sample: Annotated[int, typer.Option("--sample", help="Draw at most so many items of each file.", min=5)] = SAMPLE,
    force: options.Force = False,
    dry_run: options.DryRun = False,
    seed: options.Seed = 0,
    how: options.How = options.NO_HOW,
    given: options.Given = options.NOTHING,
) -> None:
    """Draw one space, or several beside each other; with --anchors, their relative representations below them.

    The same items are drawn of files that share them. pca is fitted on the training rows, the others on what they show. An
    .html picture is interactive, with ids under the pointer, and holds all it needs.

    Of results that compare wrote with -o: each value as a dot, a colour for each file, a panel for each metric.
    """
    if not output:
        raise UsageError("-o FILE is missing", "Name a .png, .svg, .pdf or .html file.")
    found = _results(files)
    if found is not None:
        _refuse_options(how, given, split)
        return _draw_results(files, found, output, force, dry_run)
    can_draw(output, "-o", html=True)
    params = given.choose(METHODS, [method])[method]
    ready(method)
    files = list(itertools.chain(*layers.expand(files)))
    store.refuse(output, True, [*files, *how.files()])
    recipe = _recipe(how, given)
    spaces = [store.read(file) for file in files]
    if dry_run:
        return options.plan([f"draw {e.uri} ({e.n} x {e.d}) by {method} to {output}" for e in spaces])
    title = METHODS[method].title + (f" of {split} items" if split else "") + (": absolute above relative" if recipe else "")
    wanted = _Wanted(method, params, color, split, sample, seed)
    picture = Picture(_lines(spaces, recipe, wanted), title, printable(color))
    _say_classes(picture, output)
    content = scatter(picture, output)
    store.write_bytes(output, content, force, f"{_panels(len(picture.clouds))} by {method}, {_size(len(content))}.")


@dataclass(frozen=True)
class _Wanted:
    """What the options ask of every panel; at most `sample` items in it, of the split if one is named."""

    method: str
    params: dict[str, Any]
    color: str
    split: str | None
    sample: int
    seed: int


def _recipe(how: options.How, given: options.Given) -> Recipe | None:
    """How to project, or None without anchors. Raises UsageError for options that need some."""
    if how.anchors:
        return read_recipe(how, given)
    if how.given():
        raise UsageError(
            f"{how.given()[0]} says how to project, and --anchors FILE is missing", "Name an anchor file, or leave it out."
        )
    given.refuse(SIMILARITIES, "plot without --anchors")
    return None


def _refuse_options(how: options.How, given: options.Given, split: str | None) -> None:
    for registry in (METHODS, SIMILARITIES):
        given.refuse(registry, RESULTS)
    if how.given() or split:
        raise UsageError(f"{(how.given() or ['--split'])[0]} does not go with {RESULTS}", "Leave it out.")


def _results(files: list[str]) -> list[list[Record]] | None:
    """The records of each file, where all are results of compare; None where none is. Raises UsageError for some of each."""
    found = [f for f in files if Path(f).suffix.lower() in store.READABLE and store.has_columns(Path(f), RECORD)]
    if found and len(found) < len(files):
        other = next(file for file in files if file not in found)
        raise UsageError(f"{other} holds no results of compare, and {found[0]} does", "Draw them apart.")
    return [store.decoded(Path(file)) for file in files] if found else None


def _draw_results(files: list[str], found: list[list[Record]], output: str, force: bool, dry_run: bool) -> None:
    """A dot for each value, but for ratios."""
    can_draw(output, "-o")
    store.refuse(output, True, files)
    names = [Path(file).stem for file in files] if len({Path(file).stem for file in files}) == len(files) else files
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    asked = {(r.get("metric"), r.get("k")) for records in found for r in records}
    several = {metric for metric, count in Counter(metric for metric, _ in asked).items() if count > 1}
    for name, records in zip(names, found, strict=True):
        for r in records:
            view, metric, k, value = str(r.get("projection") or "absolute"), r.get("metric"), r.get("k"), r.get("value")
            if isinstance(value, float | int) and not view.startswith("ratio"):
                panel = f"{metric}, k = {k:g}" if metric in several and isinstance(k, float | int) else str(metric)
                values.setdefault(panel, {}).setdefault(name, {}).setdefault(view, []).append(value)
    if not values:
        raise DataError("no values in it", "Compare again.", file=files[0])
    if dry_run:
        return options.plan([f"draw {len(values)} metrics of {', '.join(names)} to {output}"])
    content = dots(values, output)
    return store.write_bytes(output, content, force, f"{_panels(len(values))} of {len(files)} results, {_size(len(content))}.")


def _panels(count: int) -> str:
    return "one panel" if count == 1 else f"{count} panels"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.0f} kB"


def _lines(spaces: list[Embedding], recipe: Recipe | None, wanted: _Wanted) -> list[list[Cloud]]:
    """A panel for each space, and below each, with a recipe, one for its relative representation."""
    drawn = [_shown(e, wanted) for e in spaces]
    ways = [None] if recipe is None else [None, recipe]
    lines: list[list[Cloud]] = []
    with progress("drawing") as advance:
        for way in ways:
            clouds = []
            for place, (e, (shown, train)) in enumerate(zip(spaces, drawn, strict=True)):
                advance(len(lines) * len(spaces) + place, len(ways) * len(spaces), e.uri)
                if way is not None:
                    to = basis(e, way)
                    options.notes(e, to)
                    shown, train = relative(shown, to), relative(train, to)
                clouds.append(_cloud(e, shown, train, wanted, f", relative: {way.label}" if way else ""))
            lines.append(clouds)
    return lines


def _shown(e: Embedding, wanted: _Wanted) -> tuple[Embedding, Embedding]:
    """The items to draw, and those to learn from; drawn by id, so that files of the same items show the same."""
    from relrep_cli.embedding import select

    if wanted.color != "label":
        e.column(wanted.color)
    rng = np.random.default_rng(wanted.seed)
    shown = of_split(e, wanted.split)
    if shown.n > wanted.sample:
        say(f"{e.uri}: {wanted.sample} of {shown.n} items are drawn (seed {wanted.seed}); --sample draws more.")
        order = np.argsort(shown.ids, kind="stable")
        shown = select(shown, np.sort(order[rng.permutation(shown.n)[: wanted.sample]]))
    training = _training(e)
    train = np.sort(rng.permutation(np.arange(e.n) if training is None else training)[:FITTED])
    return shown, select(e, train)


def _training(e: Embedding) -> np.ndarray | None:
    """The training rows, or None where a file tells of none: then all items are learnt from."""
    rows = e.rows_of_split("train")
    return None if rows is None or not len(rows) else rows


def _cloud(e: Embedding, shown: Embedding, train: Embedding, wanted: _Wanted, view: str) -> Cloud:
    whose = "items" if _training(e) is None else "training rows"
    try:
        made = reduce(wanted.method, train.x, shown.x, wanted.params, wanted.seed, whose)
    except DataError as error:
        raise DataError(error.finding, error.remedy, file=e.uri) from None
    note = f"{shown.n} items, {shown.x.shape[1]} dims; {made.convention}"
    values, scaled = _values(shown, wanted.color), METHODS[wanted.method].scaled
    return Cloud(bare_name(e.uri) + view, note, made.places, shown.ids, values, made.axes, scaled)


def _values(e: Embedding, color: str) -> np.ndarray | None:
    """What colours the points: text as it is, whole numbers as classes while they are few, else numbers."""
    if color not in e.obs:
        return None
    values = e.obs[color]
    if values.dtype.kind == "S":
        return np.array([v.decode(errors="backslashreplace") for v in values.tolist()])
    if values.dtype.kind == "f" or len(np.unique(values)) > MOST:
        return np.asarray(values, np.float64)
    return values.astype(str)


def _say_classes(picture: Picture, output: str) -> None:
    if REST in picture.classes():
        say(f"{output}: the {MOST} most frequent values of {picture.colour} have a colour, others are grey.")
    if all(c.values is None for c in picture.clouds):
        say(f"{output}: no column {picture.colour!r} to colour points by.")
