"""`relrep translate`: vectors of one space as vectors of another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from relrep_cli import store
from relrep_cli.anchors.id_lists import read_anchors
from relrep_cli.base.errors import UsageError
from relrep_cli.base.output import say, write
from relrep_cli.cli import options as shared
from relrep_cli.cli.options import Given, Printing, command
from relrep_cli.cli.reading_options import ReadingOptions
from relrep_cli.embedding import Embedding, chain
from relrep_cli.relative.recipes import Recipe
from relrep_cli.stitching.space_maps import read_maps, read_target, save_maps
from relrep_cli.stitching.translation import (
    FIT_ROWS,
    Fitting,
    Output,
    fit_map,
    maps_of,
    refuse_same,
    translate_with_maps,
    write_translated,
)
from relrep_cli.stitching.translation_quality import COLUMNS
from relrep_cli.stitching.translators import TRANSLATORS

TITLE = "What to translate"
COMMON = ("into", "anchors", "method", "save_map", "map", "output")
EXAMPLES = (
    "relrep translate new.h5 --into old.h5 -o new.in-old.h5",
    "relrep translate new.h5 --into old.h5 --anchors anchors.h5 --method ridge --save-map map.h5",
    "relrep translate queries.h5 --map map.h5 -o queries.in-old.h5",
)


def _file(name: str, *more: str, help: str) -> Any:
    return typer.Option(f"--{name}", *more, help=help, metavar="FILE", show_default=False)


@dataclass(frozen=True, kw_only=True)
class Options:
    file: Annotated[str, typer.Argument(metavar="FILE", help="Embedding file to translate.", show_default=False)]
    into: Annotated[str, _file("into", help="Embedding file of the target space, with items of FILE.")] = ""
    anchors: Annotated[
        str,
        _file("anchors", "-a", help="Fit on these items: an anchor file, ids or pairs [default: all shared training rows]."),
    ] = ""
    anchor_vectors: Annotated[
        list[str], _file("anchor-vectors", help="More files that hold vectors of anchors; used for files of the same space.")
    ] = field(default_factory=list)
    method: Annotated[
        str, typer.Option("--method", "-m", help=f"How to fit the map. One of: {', '.join(TRANSLATORS)}.", metavar="NAME")
    ] = "orthogonal"
    fit_rows: Annotated[
        int, typer.Option("--fit-rows", help="Without --anchors: fit on at most so many shared training rows.", min=2)
    ] = FIT_ROWS
    save_map: Annotated[str, _file("save-map", help="Save the map, for files that hold no anchor.")] = ""
    map: Annotated[str, _file("map", help="Translate by a map that was saved, in place of --into.")] = ""
    output: shared.Output = ""
    dtype: shared.Dtype = None
    force: shared.Force = False
    dry_run: shared.DryRun = False
    trust_digest: shared.TrustDigest = False
    printing: Printing
    seed: shared.Seed = 0
    reading: ReadingOptions
    given: Given


@command(Options, TRANSLATORS)
def translate(options: Options) -> None:
    """Turn the vectors of FILE into vectors of another space, such as that of the encoder of an old index.

    The map is fitted on items that both files hold: the anchors, or all shared training rows. The table says how well items
    that the map was not fitted on find themselves in the target space. No labels are needed.
    """
    kind = options.printing.kind
    _check(options)
    if options.map:
        return _by_map(options)
    reading = options.reading.reading
    e, target = store.digested(store.read(options.file, reading)), read_target(options.into, reading)
    how = _fitting(options)
    step = how.step(e, target, options.dtype or "float32")
    if options.dry_run:
        return shared.plan([f"translate {options.file} into the space of {options.into} by {how.method}"])
    output = _output(options)
    todo = [file for file in (options.save_map, options.output) if file and output.is_due(file, step)]
    carry, records = fit_map(e, target, how)
    write(records, COLUMNS, kind)
    if options.save_map in todo:
        save_maps(options.save_map, maps_of(e, target, carry, how), chain([e, target], step), options.force)
        say(f"{options.save_map}: map from {e.space} into {target.space}.")
    if options.output in todo:
        write_translated(output, e, carry, target.space, target.kind, step, [e, target])


def _check(options: Options) -> None:
    """Raise UsageError for options that do not go together."""
    if bool(options.into) == bool(options.map):
        found = "--into and --map both name the target" if options.map else "neither --into nor --map names the target"
        raise UsageError(found, "Give --into FILE to fit a map, or --map FILE to use a saved one.")
    needless = {"--anchors": options.anchors, "--save-map": options.save_map, "--anchor-vectors": options.anchor_vectors}
    if options.map and (option := next((name for name, value in needless.items() if value), "")):
        raise UsageError(f"{option} does not go with --map, which is fitted already", "Leave it out.")
    if options.map and not options.output:
        raise UsageError("-o FILE is missing", "Name the output file.")
    if options.map:
        options.given.refuse(TRANSLATORS, "--map, which is fitted already")
    refuse_same({"-o": options.output, "--save-map": options.save_map})


def _inputs(options: Options) -> list[str]:
    return [f for f in (options.file, options.into, options.map, options.anchors, *options.anchor_vectors) if f]


def _output(options: Options) -> Output:
    return Output(options.output, options.dtype or "float32", options.force, _inputs(options))


def _fitting(options: Options) -> Fitting:
    params = options.given.choose(TRANSLATORS, [options.method])[options.method]
    if not options.anchors:
        return Fitting(options.method, params, None, options.fit_rows, options.seed)
    ids, spare, meaning = read_anchors(options.anchors)
    sources = ([spare] if spare else []) + [store.read(v) for v in options.anchor_vectors]
    return Fitting(options.method, params, Recipe(ids, anchor_sources=sources, meaning=meaning), seed=options.seed)


def _by_map(options: Options) -> None:
    maps = read_maps(options.map)
    if maps is None:
        raise UsageError("holds no map", "Give a file that relrep translate --save-map wrote.", file=options.map)
    e: Embedding = store.digested(store.read(options.file, options.reading.reading))
    if options.dry_run:
        maps.of(e)
        return shared.plan([f"translate {options.file} into space {maps.space} to {options.output}"])
    translate_with_maps(e, maps, _output(options))
