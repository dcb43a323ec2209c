"""`relrep compare`: metrics of two or more spaces."""

from __future__ import annotations

import itertools
import math
from typing import Annotated

import numpy as np
import typer

from relrep_cli import store
from relrep_cli.base.errors import DATA, DONE, NO, DataError, UsageError
from relrep_cli.base.output import Record, say, write
from relrep_cli.base.task_cache import records_for
from relrep_cli.cli import compare_layers as layers
from relrep_cli.cli import compare_outputs as results
from relrep_cli.cli import options
from relrep_cli.cli.compare_run import Job, views_of
from relrep_cli.cli.recipe_options import read_recipe
from relrep_cli.comparison.matrix import matrix as of_records
from relrep_cli.comparison.pairs_of_files import Rows, counts_for_gate
from relrep_cli.comparison.permutations import Significance
from relrep_cli.embedding import ABSOLUTE, text
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.catalogue import COLUMNS as CATALOGUE
from relrep_cli.metrics.catalogue import PRESETS, catalogue, expand
from relrep_cli.metrics.catalogue import preset as of_preset
from relrep_cli.relative.recipes import Recipe
from relrep_cli.relative.similarities import SIMILARITIES

COLUMNS = ("a", "b", "metric", "value", "low", "high", "chance", "n", "k", "convention")
EXAMPLES = (
    "relrep compare a.rel.h5 b.rel.h5 --metric cosine,jaccard --k 10",
    "relrep compare a.h5 b.h5 --anchors anchors.h5 --split test",
    "relrep compare a.h5 b.h5 --anchors anchors.h5 --similarity cosine,l1 --preset reference",
    "relrep compare a.h5 b.h5 --metric kernels,procrustes",
    "relrep compare *.h5 --metric cka --matrix",
    "relrep compare 'a.h5::layer/*' 'b.h5::layer/*' --metric cka --matrix",
    "relrep compare a.h5 b.h5 --metric knn-jaccard --worst 20 | cut -f1 > look-at.txt",
    "relrep compare 'a.h5::layer/*' b.h5 --metric cka --permutations 1000",
    "relrep compare --list",
)


@options.legacy_command(METRICS, SIMILARITIES)
def compare(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE FILE...", help="Two or more embedding files.", show_default=False)
    ] = [],  # noqa: B006 (typer reads it, nobody changes it)
    metric: Annotated[
        list[str],
        options.names_of(METRICS, "What to measure: metrics, families or all; repeated or with commas.", "--metric", "-m"),
    ] = ["cosine", "jaccard", "knn-jaccard", "mrr", "cka"],  # noqa: B006
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", help=f"Instead of --metric, one of: {', '.join(PRESETS)}.", metavar="NAME", show_default=False
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Print the metrics with what each declares, and stop.")] = False,
    split: options.Split = None,
    require_all: Annotated[bool, typer.Option("--require-all", help="Refuse to leave any row out.")] = False,
    per_row: Annotated[
        str | None,
        typer.Option(
            "--per-row",
            help="Write each row's own values to FILE (.tsv, .parquet or .h5).",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    reference: results.Reference = None,
    matrix: results.AsMatrix = None,
    plot: results.Plot = "",
    worst: results.Worst = None,
    permutations: results.Permutations = None,
    fail_under: Annotated[
        float | None,
        typer.Option("--fail-under", help="Exit with 1 when a value is below this or missing.", show_default=False),
    ] = None,
    cache: Annotated[
        str | None,
        typer.Option(
            "--cache", help="Keep finished results in FOLDER, and take them from it.", metavar="FOLDER", show_default=False
        ),
    ] = None,
    output: options.Output = "",
    force: options.Force = False,
    dry_run: options.DryRun = False,
    format: options.AsFormat = None,
    json: options.AsJson = False,
    seed: options.Seed = 0,
    how: options.How = options.NO_HOW,
    given: options.Given = options.NOTHING,
) -> int:
    """Measure how alike two or more spaces are, for every pair of files.

    A FILE may be a pattern for embeddings inside one, 'a.h5::layer/*': pairs then run between the arguments, so that layers
    of one file are compared with those of another, and with each other only when the pattern is alone.

    Rows join by id. Every value comes with a 95 % confidence interval, its chance level under random pairing and its
    convention. With --anchors and absolute files, each metric is given for the absolute spaces, for their relative
    representations, and as the ratio of the two; with several similarity functions, for each alone and for their product.

    With more than two files, one that cannot be used gives records that say so, the others are compared, and the exit code
    is 3. A run with -o that was cut short goes on where it was when it is started again.
    """
    kind = options.format_of(format, json)
    if list_:
        write(catalogue(), CATALOGUE, kind)
        return DONE
    groups = layers.expand(files)
    files = list(itertools.chain(*groups))
    if len(files) < 2:
        raise UsageError("compare needs two or more files.")
    if fail_under is not None and not math.isfinite(fail_under):
        raise UsageError(f"--fail-under is {fail_under}; give a number that values can be below.")
    chosen = given.choose(METRICS, expand(of_preset(preset) if preset else options.split_names(metric)))
    inputs = [*files, *how.files()]
    for target in filter(None, (output, plot)):  # what is there may be these very results, which is known when they are
        store.refuse(target, True, inputs, store.TABLES if target == output else ())
    if per_row:
        store.refuse(per_row, force, inputs)
    heat = bool(plot) and results.wants_heatmap(plot, list(chosen), len(files))
    results.refuse_both(matrix, worst, permutations, list(chosen))
    results.refuse_same({"-o": output, "--per-row": per_row or "", "--plot": plot})
    recipe = _recipe(how, given)
    store.agree(output, kind)
    kept = records_for(output, cache, force)
    whole = bool(matrix) or heat  # a matrix holds one value of each pair
    recipes = [] if recipe is None else [recipe] if whole else recipe.each_similarity()
    seen = {f: views_of(f, split, recipes, kept.folder is not None, len(files) > 2) for f in files}
    plain = not (output or kind or recipe or reference or worst or permutations)
    square = results.wants_matrix(matrix, len(files), list(chosen), plain)
    pairs = layers.pairs_of(groups, reference, both=(square or heat) and not all(METRICS[name].symmetric for name in chosen))
    if not pairs:
        raise UsageError(f"{reference} is the only file; name another one to compare with it.")
    if dry_run:
        return _plan(seen, pairs, list(chosen))
    wanted = bool(per_row or worst or (plot and not heat))
    tests = Significance(permutations or 0, seed, kept)
    job = Job(seen, groups, chosen, seed, kept, require_all, wanted, len(files) == 2, tests)
    records, rows = job.run(pairs)
    if len(chosen) == len(records) == 1 and records[0]["value"] is None and "error" not in records[0]:
        raise UsageError(f"{files[0]} and {files[1]}: {records[0]['metric']} is {records[0]['convention']}.")
    for note in tests.close(records):
        say(note)
    if per_row:
        _write_rows(per_row, rows, force, bool(recipe))
    columns = results.columns(COLUMNS, recipe is not None, bool(permutations), bool(tests.families), records)
    m = of_records(records, *layers.sides(groups, reference)) if square or heat else None
    if plot:
        results.draw(plot, m if heat else None, records, rows, any("::" in uri for uri in files), force)
    if worst:
        results.write_worst(worst, rows, seen, bool(recipe), output, kind, force)
    elif square and m:
        results.write_matrix(m, records, output, kind, force)
    else:
        results.write_records(records, columns, output, kind, force)
    kept.close()
    return _verdict(records, fail_under)


def _recipe(how: options.How, given: options.Given) -> Recipe | None:
    if how.anchors:
        return read_recipe(how, given)
    if how.given():
        raise UsageError(f"{how.given()[0]} says how to project on --anchors FILE, which is missing.")
    given.refuse(SIMILARITIES, "compare without --anchors")
    return None


def _plan(seen: results.Seen, pairs: list[tuple[str, str]], names: list[str]) -> int:
    def shape(uri: str) -> str:
        views = seen[uri]
        return (
            f"{uri} (unusable)" if isinstance(views, DataError) else f"{uri} ({views[0].embedding.n} x {views[0].embedding.d})"
        )

    options.plan([f"compare {shape(a)} with {shape(b)} by {', '.join(names)}" for a, b in pairs])
    return DONE


def _write_rows(target: str, rows: list[Rows], force: bool, projected: bool) -> None:
    if not rows:
        raise UsageError("--per-row: none of the metrics has a value for each row.")
    keys = ("a", "b", "metric", *(["k"] if _several(rows) else []), *(["projection"] if projected else []))
    if target.lower().endswith((".h5", ".hdf5")):
        return _write_matrix(target, rows, keys, force)
    flat = [
        {"id": i.decode(errors="backslashreplace"), **{k: r.record[k] for k in keys}, "value": v}
        for r in rows
        for i, v in zip(r.ids.tolist(), r.values.tolist(), strict=True)
    ]
    store.write_bytes(target, store.encoded(target, flat, ["id", *keys, "value"]), force)


def _several(rows: list[Rows]) -> bool:
    """Whether one metric of one pair was asked for more than one k."""
    names = [tuple(v for key, v in r.record.items() if key != "k") for r in rows]
    return len(set(names)) < len(names)


def _write_matrix(target: str, rows: list[Rows], keys: tuple[str, ...], force: bool) -> None:
    """Row values as an embedding file: one column for each metric of one pair of files."""
    ids = rows[0].ids
    if any(len(r.ids) != len(ids) or (r.ids != ids).any() for r in rows):
        raise UsageError(f"--per-row {target}: the pairs share different rows; write a .tsv, which holds them all.")
    x = np.stack([r.values for r in rows], 1)
    store.write(
        target,
        [x],
        shape=x.shape,
        dtype="float64",
        ids=ids,
        obs={},
        var={"id": text([":".join(str(r.record[k]) for k in keys) for r in rows])},
        kind=ABSOLUTE,
        space="row values",
        steps=[],
        force=force,
    )


def _verdict(records: list[Record], fail_under: float | None) -> int:
    """DATA when a file could not be used; NO when a value misses --fail-under (is above it, where lower is closer)."""
    broken = sum("error" in r for r in records)
    if broken:
        say(f"{broken} of {len(records)} results are missing: see their error.")
    missed = []
    for r in (r for r in records if fail_under is not None and counts_for_gate(r)):
        sign = 1 if METRICS[r["metric"]].higher_is_closer else -1
        if r["value"] is None or sign * r["value"] < sign * (fail_under or 0):
            missed.append(r)
            value = "n/a" if r["value"] is None else r["value"]
            say(f"{r['a']} and {r['b']}: {r['metric']} is {value}, which misses {fail_under}.")
    return DATA if broken else NO if missed else DONE
