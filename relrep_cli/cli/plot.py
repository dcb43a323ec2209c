"""`relrep plot`: pictures of one space, or of several beside each other."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record
from relrep_cli.cli.options import DryRun, Force, Given, Seed, Split, command, names_of, plan
from relrep_cli.cli.picture_options import LookOptions, check_names
from relrep_cli.cli.reading_options import ReadingOptions
from relrep_cli.cli.recipe_options import RecipeOptions, read_recipe
from relrep_cli.comparison import layers
from relrep_cli.embedding import Embedding
from relrep_cli.plots.dots import dots, values_of_results
from relrep_cli.plots.drawing import ready as can_draw
from relrep_cli.plots.reductions import METHODS, USUAL, method_for, ready
from relrep_cli.plots.scatters import Picture, scatter
from relrep_cli.plots.space_panels import ABSOLUTE, PanelOptions, View, note_colours, panels
from relrep_cli.relative.projected_files import note_basis
from relrep_cli.relative.projection import basis, relative
from relrep_cli.relative.recipes import Recipe
from relrep_cli.relative.similarities import SIMILARITIES

TITLE = "What to draw"
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


@dataclass(frozen=True, kw_only=True)
class Options:
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help=FILES, show_default=False)]
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="Picture to write: .png, .svg, .pdf or .html.", metavar="FILE", show_default=False),
    ] = ""
    method: Annotated[
        str,
        names_of(
            METHODS,
            "How to reduce a space to two dims [default: none for spaces of two, else pca].",
            "--method",
            "-m",
            default=False,
        ),
    ] = ""
    color: Annotated[str, typer.Option("--color", help="Column that colours the points.", metavar="COLUMN")] = "label"
    split: Split = None
    sample: Annotated[int, typer.Option("--sample", help="Largest number of items to draw of each file.", min=5)] = SAMPLE
    force: Force = False
    dry_run: DryRun = False
    seed: Seed = 0
    picture: LookOptions
    recipe: RecipeOptions
    reading: ReadingOptions
    given: Given


@command(Options, METHODS, SIMILARITIES)
def plot(options: Options) -> None:
    """Draw one space, or several beside each other; with --anchors, their relative representations below them.

    Files that share items are drawn with the same items. pca is fitted on the training rows, the others on what they show. An
    .html picture is self-contained; hover over a point to see its id.

    Given results written by compare -o, it draws each value as a dot, with a colour for each file and a panel for each metric.
    """
    if not options.output:
        raise UsageError("-o FILE is missing", "Name a .png, .svg, .pdf or .html file.")
    results = _results(options.files)
    if results is not None:
        return _draw_results(options, results)
    can_draw(options.output, "-o", html=True)
    method = METHODS[options.method].name if options.method else USUAL
    params = options.given.choose(METHODS, [method])[method]
    ready(method)
    files = list(itertools.chain(*layers.expand(options.files)))
    store.refuse(options.output, True, [*files, *options.recipe.files()])
    check_names(options.picture.names, len(files))
    recipe = _recipe(options)
    spaces = [store.read(file, options.reading.reading) for file in files]
    if options.dry_run:
        return plan([f"draw {e.uri} ({e.n} x {e.d}) by {method_for(options.method, e.d)} to {options.output}" for e in spaces])
    views = [ABSOLUTE, *([] if recipe is None else [_relative(recipe)])]
    shown = PanelOptions(
        method=options.method,
        params=params,
        color=options.reading.reading.target(options.color),
        split=options.split,
        sample=options.sample,
        seed=options.seed,
        names=options.picture.names,
    )
    used = sorted({method_for(options.method, e.d) for e in spaces} | ({method} if recipe else set()))
    picture = Picture(
        panels(spaces, views, shown),
        _title(" and ".join(METHODS[name].title for name in used), options, recipe),
        printable(options.color),
        options.picture.size,
    )
    note_colours(picture, options.output)
    content = scatter(picture, options.output)
    note = f"{_panels(len(picture.clouds))} {_by(used)}, {_size(len(content))}."
    store.write_bytes(options.output, content, options.force, note)


def _title(methods: str, options: Options, recipe: Recipe | None) -> str:
    if options.picture.plot_title is not None:
        return options.picture.plot_title
    split = f" of {options.split} items" if options.split else ""
    return methods + split + (": absolute above relative" if recipe else "")


def _relative(recipe: Recipe) -> View:
    """The view of spaces through their similarities to the anchors."""

    def of(space: Embedding) -> Callable[[Embedding], Embedding]:
        to = basis(space, recipe)
        note_basis(space, to)
        return lambda items: relative(items, to)

    return View(f"relative: {recipe.label}", of)


def _recipe(options: Options) -> Recipe | None:
    """How to project, or None without anchors. Raises UsageError for options that need some."""
    if options.recipe.anchors:
        return read_recipe(options.recipe, options.given, reading=options.reading.reading)
    if named := options.recipe.given():
        finding = f"{named[0]} says how to project, and --anchors FILE is missing"
        raise UsageError(finding, "Name an anchor file, or leave it out.")
    options.given.refuse(SIMILARITIES, "plot without --anchors")
    return None


def _results(files: list[str]) -> list[list[Record]] | None:
    """The records of each file, where all are results of compare, or None where none is. Raises UsageError for a mix."""
    results = [f for f in files if Path(f).suffix.lower() in store.READABLE and store.has_columns(Path(f), RECORD)]
    if results and len(results) < len(files):
        other = next(file for file in files if file not in results)
        raise UsageError(f"{other} holds no results of compare, and {results[0]} does", "Draw them apart.")
    return [store.decoded(Path(file)) for file in files] if results else None


def _draw_results(options: Options, results: list[list[Record]]) -> None:
    """Draw a dot for each value of results of compare. Raises UsageError for options that are for embeddings."""
    for registry in (METHODS, SIMILARITIES):
        options.given.refuse(registry, RESULTS)
    if named := [*options.recipe.given(), *(["--split"] if options.split else [])]:
        raise UsageError(f"{named[0]} does not go with {RESULTS}", "Leave it out.")
    files, output = options.files, options.output
    can_draw(output, "-o")
    store.refuse(output, True, files)
    stems = [Path(file).stem for file in files]
    check_names(options.picture.names, len(files))
    names = options.picture.names or (stems if len(set(stems)) == len(files) else files)
    values = values_of_results(dict(zip(names, results, strict=True)))
    if not values:
        raise DataError("no values in it", "Compare again.", file=files[0])
    if options.dry_run:
        return plan([f"draw {len(values)} metrics of {', '.join(names)} to {output}"])
    content = dots(values, output, options.picture.size, options.picture.plot_title or "")
    note = f"{_panels(len(values))} of {len(files)} results, {_size(len(content))}."
    store.write_bytes(output, content, options.force, note)


def _by(methods: list[str]) -> str:
    """The method behind the panels, in words.

    >>> _by(["none"]), _by(["none", "pca"])
    ('of the two dims', 'by none and pca')
    """
    return "of the two dims" if methods == ["none"] else f"by {' and '.join(methods)}"


def _panels(count: int) -> str:
    return "one panel" if count == 1 else f"{count} panels"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.0f} kB"
