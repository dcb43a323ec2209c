"""`relrep translate`: vectors of one space as vectors of another."""

from __future__ import annotations

import math
from typing import Any

from relrep_cli import store
from relrep_cli.anchors.id_lists import read_anchors
from relrep_cli.base.errors import DONE, NO, UsageError, printable
from relrep_cli.base.output import Style, say, write
from relrep_cli.cli import options as shared
from relrep_cli.cli.options import command
from relrep_cli.cli.translate_options import ORTHOGONAL, UNIVERSE, Options, check
from relrep_cli.embedding import Embedding, chain
from relrep_cli.engine.estimates import takes
from relrep_cli.relative.recipes import Recipe
from relrep_cli.stitching.bridge_verdicts import BRIDGE
from relrep_cli.stitching.migration import COLUMNS as REPORT_COLUMNS
from relrep_cli.stitching.migration import report
from relrep_cli.stitching.space_maps import SpaceMaps, read_target, required_maps, save_maps
from relrep_cli.stitching.translation import (
    FIT_ROWS,
    Fitting,
    Output,
    fit_map,
    maps_of,
    translate_with_maps,
    write_translated,
)
from relrep_cli.stitching.translation_costs import cost_of_fit, cost_of_rows, lines_of_rows
from relrep_cli.stitching.translation_quality import COLUMNS, INDEX
from relrep_cli.stitching.translators import TRANSLATORS
from relrep_cli.stitching.universe import PENALTY, UNIVERSES
from relrep_cli.stitching.universe_files import FIT_ROWS as UNIVERSE_ROWS
from relrep_cli.stitching.universe_files import Building, build_universe
from relrep_cli.store.relevance_files import read_relevant

TITLE = "What to translate"
EXAMPLES = (
    "relrep translate new.h5 --into old.h5 -o new.in-old.h5",
    "relrep translate new.h5 --into old.h5 --anchors anchors.h5 --method ridge --save-map map.h5",
    "relrep translate queries.h5 --map map.h5 -o queries.in-old.h5",
    "relrep translate new.h5 --into old.h5 --anchors anchors.h5 --report",
    "relrep translate a.h5 b.h5 c.h5 --anchors anchors.h5 --save-map universe.h5",
    "relrep translate d.h5 --into universe.h5 --save-map d.map.h5",
)


@command(Options, TRANSLATORS, UNIVERSES)
def translate(options: Options) -> int | None:
    """Turn the vectors of FILE into vectors of another space, such as that of the encoder of an old index.

    The map is fitted on items that both files hold: the anchors, or all shared training rows. The table says how well items
    that the map was not fitted on find themselves in the target space. No labels are needed.

    Two or more FILEs without --into build a universe: a common space with a map from each. --save-map keeps it, --map
    translates files of its spaces into it, and --into lets another space join without changing the maps that exist.
    """
    style = options.printing.style
    check(options)
    if options.map:
        _by_map(options)
        return DONE
    if not options.into:
        _build_universe(options, style)
        return DONE
    reading = options.reading.reading
    e, target = store.digested(store.read(options.files[0], reading)), read_target(options.into, reading)
    if options.report:
        return _report(options, e, target, style)
    how = _fitting(options, target)
    target = target.as_embedding() if isinstance(target, SpaceMaps) else target
    step = how.step(e, target, options.dtype or "float32")
    if options.dry_run:
        cost = cost_of_fit(e, target, how)
        if options.output:
            cost += cost_of_rows(e, target.d)
        line = f"translate {e.uri} into the space of {options.into} by {how.method}"
        shared.plan([line, takes(cost, max(1, options.running.engine.processes))])
        return DONE
    output = _output(options)
    todo = [file for file in (options.save_map, options.output) if file and output.is_due(file, step)]
    carry, records = fit_map(e, target, how)
    if "-" in todo:  # stdout takes the file
        say(f"recall@1 is {records[0]['value']:.3f} ({records[0]['low']:.3f} to {records[0]['high']:.3f}).")
    else:
        write(records, COLUMNS, style)
    if options.save_map in todo:
        save_maps(options.save_map, maps_of(e, target, carry, how), chain([e, target], step), options.force)
        say(f"{options.save_map}: map from {e.space} into {target.space}.")
    if options.output in todo:
        write_translated(output, e, carry, target.space, target.kind, step, [e, target])
    return DONE


def _report(options: Options, e: Embedding, target: Embedding | SpaceMaps, style: Style) -> int:
    """Print the report of a migration; its exit code says whether a bridge will do."""
    if isinstance(target, SpaceMaps):
        raise UsageError("--report needs an index, and --into names a universe", "Name an embedding file.", file=options.into)
    names = [options.method] if options.method else [*TRANSLATORS, UNIVERSE]
    methods: dict[str, Any] = {}
    for registry in (TRANSLATORS, UNIVERSES):
        named = [name for name in names if name in registry or (registry is TRANSLATORS and name not in UNIVERSES)]
        if named:
            methods |= options.given.choose(registry, named)
        else:
            options.given.refuse(registry, f"--method {options.method}")
    searched = options.index_rows or INDEX
    how = Fitting(names[0], methods[names[0]], _recipe(options), options.fit_rows or FIT_ROWS, options.seed, searched)
    if options.dry_run:
        shared.plan([f"report on a bridge from {e.uri} to {target.uri} by {', '.join(names)}", takes(None)])
        return DONE
    asked = None
    if options.queries:
        queries = store.read(options.queries, options.reading.reading)
        asked = queries, read_relevant(options.relevant)
    records = report(e, target, methods, how, options.least_recall, asked, _cosines(options.threshold))
    write(records.records, REPORT_COLUMNS, style)
    say(records.sentence)
    return DONE if records.verdict == BRIDGE else NO


def _cosines(written: str) -> list[float]:
    """The numbers of --threshold. Raises UsageError for what is no cosine."""
    numbers = []
    for word in filter(None, (word.strip() for word in written.split(","))):
        try:
            numbers.append(float(word))
        except ValueError:
            numbers.append(math.nan)
        if not -1 <= numbers[-1] <= 1:
            raise UsageError(f"--threshold {printable(word)} is not a cosine", "Give numbers from -1 to 1, such as 0.6,0.7.")
    return numbers


def _inputs(options: Options) -> list[str]:
    return [f for f in (*options.files, options.into, options.map, options.anchors, *options.anchor_vectors) if f]


def _output(options: Options) -> Output:
    part, engine = options.running.part, options.running.engine
    name = options.output if part is None else part.file(options.output)
    return Output(name, options.dtype or "float32", options.force, _inputs(options), options.reading.reading, engine, part)


def _recipe(options: Options) -> Recipe | None:
    """The recipe that has the anchors; None where none are named."""
    if not options.anchors:
        return None
    reading = options.reading.reading
    ids, spare, meaning = read_anchors(options.anchors, reading)
    sources = [spare] if spare else []
    sources += [store.read(v, reading.beside) for v in options.anchor_vectors]
    return Recipe(ids, anchor_sources=sources, meaning=meaning)


def _fitting(options: Options, target: Embedding | SpaceMaps) -> Fitting:
    """How to fit: a translator; or into a universe, as it fitted its own spaces. Raises UsageError."""
    recipe, method, searched = _recipe(options), options.method, options.index_rows or INDEX
    if isinstance(target, SpaceMaps) and method in ("", target.method):
        options.given.refuse(TRANSLATORS, "a universe, which says how to join it")
        options.given.refuse(UNIVERSES, "a universe that is built already")
        params = {PENALTY: target.params[PENALTY]}
        assert target.anchor_ids is not None
        return Fitting(target.method, params, recipe or Recipe(target.anchor_ids), seed=options.seed, searched=searched)
    if method in UNIVERSES:
        raise UsageError(
            f"--method {method} maps both files into a common space, and --into names a file whose vectors stay",
            f"Build the space with relrep translate {options.files[0]} {options.into} --save-map universe.h5, then translate "
            "both files with --map universe.h5. Or name a translator.",
        )
    method = method or ORTHOGONAL
    params = options.given.choose(TRANSLATORS, [method])[method]
    options.given.refuse(UNIVERSES, f"--method {method}")
    return Fitting(method, params, recipe, options.fit_rows or FIT_ROWS, options.seed, searched)


def _build_universe(options: Options, style: Style) -> None:
    method = options.method or UNIVERSE
    if method in TRANSLATORS:
        raise UsageError(
            f"--method {method} maps one space into another, and {len(options.files)} files are named",
            f"Name the target with --into FILE, or a universe: {', '.join(UNIVERSES)}.",
        )
    params = options.given.choose(UNIVERSES, [method])[method]
    options.given.refuse(TRANSLATORS, f"--method {method}")
    how = Building(method, params, _recipe(options), options.fit_rows or UNIVERSE_ROWS, options.seed)
    if options.dry_run:
        return shared.plan([f"build a universe of {len(options.files)} files by {method}", takes(None)])
    es = [store.digested(store.read(file, options.reading.reading)) for file in options.files]
    universe, maps, records = build_universe(es, how)
    step = how.step(es, universe)
    if options.save_map and _output(options).is_due(options.save_map, step):
        save_maps(options.save_map, maps, chain(es, step), options.force)
        say(f"{options.save_map}: {len(es)} maps into a common space of {universe.anchors.shape[1]} dims.")
    if options.save_map != "-":  # stdout takes the file
        write(records, COLUMNS, style)


def _by_map(options: Options) -> None:
    maps = required_maps(options.map)
    e = store.digested(store.read(options.files[0], options.reading.reading))
    if options.dry_run:
        return shared.plan(lines_of_rows(e, maps, _output(options)))
    translate_with_maps(e, maps, _output(options))
