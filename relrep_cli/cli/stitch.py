"""`relrep stitch`: heads of one space on items of another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from relrep_cli.base.errors import DATA, DONE, UsageError, unknown
from relrep_cli.base.output import detail, say, write
from relrep_cli.base.task_cache import Records
from relrep_cli.cli import options
from relrep_cli.cli import stitch_retrieval as retrieving
from relrep_cli.cli.recipe_options import read_recipe
from relrep_cli.cli.stitch_outputs import Outputs
from relrep_cli.cli.stitch_run import TEST_SIZE, Column, Division, Run, Spaces, read_spaces, records_of
from relrep_cli.cli.stitch_saved import Rerun, rerun
from relrep_cli.heads.heads import HEADS
from relrep_cli.heads.mlp import ADAPTED
from relrep_cli.relative.aggregators import AGGREGATORS
from relrep_cli.relative.recipes import Recipe
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.stitching import methods as known
from relrep_cli.stitching.adaptation import Adaptation
from relrep_cli.stitching.cross_retrieval import Sparse
from relrep_cli.stitching.methods import AGGREGATE, SIMILARITY, Method, Wanted, methods
from relrep_cli.stitching.translators import TRANSLATORS

COLUMNS = (
    "encoder",
    "head",
    "method",
    "anchors",
    "accuracy",
    "f1",
    "end_to_end",
    "stitching_index",
    "deviation",
    "low",
    "high",
    "n",
    "decoder",
)
HEAD = ["linear"]
WITH_SAVED = {"head", "anchors", "anchor_vectors", "statistics", "predictions", "allow_test_anchors", "force", "seed", "device"}
WITH_SAVED |= {"dry_run", "format", "json", *options.SHARED}
RELATIVE = "--method relative or product"
NEEDS = {
    "numbers": "a column to learn",
    "seeds": "heads",
    "sparse": "--target asif",
    "power": "--target asif",
    "adapt_fraction": "--adapt",
    "similarity": RELATIVE,
    "aggregate": "--method product",
}
EXAMPLES = (
    "relrep stitch a.h5 b.h5 --anchors anchors.h5 --target label",
    "relrep stitch a.h5 b.h5 --anchors anchors.h5 --method relative,ridge --similarity cosine --head mlp --seeds 5",
    "relrep stitch a.h5 b.h5 --anchors anchors.h5 --method ridge -o b.in-a.h5 --save-head head.safetensors",
    "relrep stitch old.h5 new.h5 --anchors anchors.h5 --target retrieval --method ridge,orthogonal,relative",
    "relrep stitch new.h5 --head head.safetensors --anchors anchors.h5 --predictions out.tsv",
)


def _path(name: str, help: str, metavar: str = "FILE") -> Any:
    return typer.Option(f"--{name}", help=help, metavar=metavar, show_default=False)


def _complete(incomplete: str) -> list[tuple[str, str]]:
    told = {**known.FAMILIES, **{name: entry.summary for name, entry in TRANSLATORS.items()}}
    return [(name, summary) for name, summary in told.items() if name.startswith(incomplete)]


@options.legacy_command(HEADS, SIMILARITIES, TRANSLATORS)
def stitch(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Two or more absolute files.", show_default=False)],
    target: Annotated[
        str,
        typer.Option(
            "--target",
            "-t",
            help="Column that heads predict; or images, for decoders; or retrieval, to look up one file's test items in "
            "another; or asif, the same by sparse relative rows.",
            metavar="COLUMN",
        ),
    ] = "label",
    method: Annotated[
        list[str],
        typer.Option(
            "--method",
            "-m",
            help="Methods of stitching, repeated or separated by commas; all that apply unless told, and `all` adds statistics "
            f"of test rows. One of: {', '.join(known.names())}.",
            metavar="NAME",
            show_default=False,
            autocompletion=_complete,
        ),
    ] = [],  # noqa: B006
    head: Annotated[
        list[str],
        options.names_of(HEADS, "Heads to train, repeated or separated by commas, or the file of a saved one.", "--head"),
    ] = HEAD,
    numbers: Annotated[bool, typer.Option("--numbers", help="Predict numbers, though the column holds integers.")] = False,
    source: Annotated[str, _path("source", "With --target images: the images that a decoder is to give back.", "DIR")] = "",
    test_size: Annotated[
        float | None,
        typer.Option(
            "--test-size",
            help="Share of items that judge, where no file has a split; drawn by id. 0.2 unless told.",
            min=0.001,
            max=0.999,
            show_default=False,
        ),
    ] = None,
    allow_test_anchors: Annotated[
        bool, typer.Option("--allow-test-anchors", help="Go on with anchors that are test rows; every result says so.")
    ] = False,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="Write the second file's vectors as the first one's head sees them; for two files and one method.",
            metavar="FILE",
            show_default=False,
        ),
    ] = "",
    save_head: Annotated[str, _path("save-head", "Keep the first file's head for other files.", "FILE.safetensors")] = "",
    save_aggregator: Annotated[
        str,
        _path("save-aggregator", "Keep the trainable aggregator, as trained with the first file's head.", "FILE.safetensors"),
    ] = "",
    predictions: Annotated[str, _path("predictions", "Write what each head predicts for each test item.")] = "",
    plot: Annotated[str, _path("plot", "Draw the stitching index of every encoder and head, a map for each method.")] = "",
    adapt: Annotated[
        list[str],
        typer.Option(
            "--adapt",
            help="With a trainable aggregator: train the stitched head further on a few labelled rows of the new encoder, "
            "before and after side by side: qkv (query, key and value of the attention), head or all.",
            metavar="[qkv|head|all]",
            show_default=False,
        ),
    ] = [],  # noqa: B006
    adapt_fraction: Annotated[
        float,
        typer.Option("--adapt-fraction", help="Share of the new training rows that --adapt uses.", min=0, max=1),
    ] = 0.05,
    sparse: Annotated[
        int, typer.Option("--sparse", help="With --target asif: similarities that each row keeps, the largest.", min=1)
    ] = 100,
    power: Annotated[float, typer.Option("--power", help="With --target asif: what they are raised to.", min=0.1)] = 8.0,
    force: options.Force = False,
    seeds: Annotated[int, typer.Option("--seeds", help="Train each head so many times, from --seed on.", min=1)] = 1,
    device: options.Device = "auto",
    cache: Annotated[
        str | None,
        typer.Option(
            "--cache", help="Keep finished cells in FOLDER, and take them from it.", metavar="FOLDER", show_default=False
        ),
    ] = None,
    dry_run: options.DryRun = False,
    format: options.AsFormat = None,
    json: options.AsJson = False,
    seed: options.Seed = 0,
    how: options.How = options.NO_HOW,
    given: options.Given = options.NOTHING,
) -> int:
    """Train a head on the training rows of each file and run it on the test rows of every other, by several methods.

    stitching_index is the stitched score over the end-to-end score, that of the encoder's own head by the same method. With
    more than two files, one that cannot be used gives a record that says so, the others go on, and the exit code is 3. With
    --cache, a run that was cut short goes on where it was.
    """
    kind = options.format_of(format, json)
    heads, told = options.split_names(head), options.told(context)
    if saved := next((name for name in heads if name.endswith(".safetensors")), ""):
        other = next((option for name, option in told.items() if name not in WITH_SAVED), "another head" if heads[1:] else "")
        if other:
            raise UsageError(f"{other} does not go with a saved head, which brings what it learnt and how.")
        records = rerun(files, Rerun(saved, predictions, force, allow_test_anchors, seed, dry_run), how, given)
        if not dry_run:
            write(records, COLUMNS, kind)
        return DONE
    if len(files) < 2:
        raise UsageError("stitch needs two or more files, or one with a saved --head.")
    wanted = _wanted(method, how, given)
    _judge_needs(told, target, wanted, bool(adapt))
    recipe = _recipe(wanted, how, given)
    found = methods(wanted, recipe)
    if target in retrieving.TARGETS:
        others: dict[str, Any] = {
            "-o": output,
            "--save-head": save_head,
            "--save-aggregator": save_aggregator,
            "--adapt": adapt,
        }
        others |= {"--predictions": predictions, "--plot": plot, "--cache": cache, "--head": heads != HEAD, "--source": source}
        found = retrieving.judge(target, found, recipe, others)
        given.refuse(HEADS, f"--target {target}, which trains no heads")
        division = Division(test_size, seed, allow_test_anchors)
        spaces = read_spaces(files, recipe, Column("", optional=True), division, False)
        if dry_run:
            options.plan([f"look up the test items of {len(spaces.es)} spaces in each other by {m.label}" for m in found])
            return DONE
        records = retrieving.records_of(spaces, found, Sparse(sparse, power), seed)
        write([*records, *spaces.failed], retrieving.COLUMNS, kind)
        return DATA if spaces.failed else DONE
    if (target == "images") != bool(source):
        raise UsageError("--target images and --source DIR go together: images are reconstructed from vectors.")
    chosen = _heads(["decoder"] if source and heads == HEAD else heads, found, given)
    drawn = (test_size or TEST_SIZE, seed)
    outputs = Outputs(output, save_head, save_aggregator, predictions, plot, force, bool(source), drawn)
    outputs.judge(files, how, found, list(chosen))
    adaptation = _adaptation(options.split_names(adapt), adapt_fraction, found, seed, device)
    kept = Records(Path(cache) if cache and not outputs.retrains and adaptation is None else None)
    column = Column(target, numbers, optional=bool(output), source=source)
    division = Division(test_size, seed, allow_test_anchors)
    spaces = read_spaces(files, recipe, column, division, bool(cache) or outputs.written)
    if spaces.target is None:
        outputs.judge_vectors(files, target, found[0])
    if dry_run:
        options.plan([f"train {_of(m, chosen)} on {len(spaces.es)} spaces by {m.label}" for m in found])
        return DONE
    run = Run(found, chosen, range(seed, seed + seeds), device, kept, outputs.hear if outputs.retrains else None, adaptation)
    records = records_of(spaces, run)
    outputs.write(spaces, run, records)
    write([*records, *spaces.failed], COLUMNS, kind)
    return _said(spaces, records, len(files))


def _judge_needs(told: dict[str, str], target: str, wanted: Wanted, adapts: bool) -> None:
    """Raise UsageError for an option in the command line that would bear on nothing."""
    met = {
        "a column to learn": target not in (*retrieving.TARGETS, "images"),
        "heads": target not in retrieving.TARGETS,
        "--target asif": target == "asif",
        "--adapt": adapts,
        RELATIVE: target != "asif" and not {"relative", "product"}.isdisjoint(wanted.families),
        "--method product": target != "asif" and "product" in wanted.families,
    }
    if idle := next((name for name, need in NEEDS.items() if name in told and not met[need]), None):
        raise UsageError(f"{told[idle]} needs {NEEDS[idle]}, and does nothing here; leave it out.")


def _wanted(method: list[str], how: options.How, given: options.Given) -> Wanted:
    aggregates = [AGGREGATORS[name].name for name in options.split_names([how.aggregate])] or list(AGGREGATE)
    wanted = Wanted(options.split_names(method), aggregates, {})
    translators = [name for name in wanted.families if name in TRANSLATORS]
    if not translators:
        given.refuse(TRANSLATORS, f"--method {','.join(wanted.names)}")
        return wanted
    return replace(wanted, translators=given.choose(TRANSLATORS, translators))


def _recipe(wanted: Wanted, how: options.How, given: options.Given) -> Recipe | None:
    """What relative methods project by, None where nothing needs anchors."""
    if not how.anchors and set(wanted.families) <= set(known.WITHOUT_ANCHORS):
        return None
    similarities = how.similarity if how.similarity or how.aggregator else list(SIMILARITY)
    aggregate = how.aggregate if how.aggregator else ""
    return read_recipe(replace(how, similarity=similarities, aggregate=aggregate), given, trains=True)


def _heads(named: list[str], found: list[Method], given: options.Given) -> dict[str, dict[str, Any]]:
    """The heads with their params; mlp as well where an aggregator is to be trained, and none of them could be with it."""
    trains = [m.trains for m in found]
    if any(trains) and named and not any(HEADS[name].joint for name in named):
        named = [*([] if all(trains) else named), "mlp"]
        detail("aggregators are trained with an mlp head.")
    return given.choose(HEADS, named)


def _adaptation(parts: list[str], fraction: float, found: list[Method], seed: int, device: str) -> Adaptation | None:
    """What --adapt asks for. Raises UsageError where nothing can be adapted."""
    if not parts:
        return None
    for part in parts:
        if part not in ADAPTED:
            raise unknown("part for --adapt", part, ADAPTED)
    trained = [m.recipe.aggregate for m in found if m.trains and m.recipe is not None]
    if not trained or ("qkv" in parts and not any(name.endswith("attention") for name in trained)):
        raise UsageError(f"--adapt {parts[0]} needs an aggregator that is trained: --aggregate self-attention.")
    return Adaptation(parts, fraction, seed, device)


def _of(m: Method, heads: dict[str, dict[str, Any]]) -> str:
    return ", ".join(name for name in heads if HEADS[name].joint or not m.trains)


def _said(spaces: Spaces, records: list[dict[str, Any]], count: int) -> int:
    if any(r["stitching_index"] is None and r["method"] == "absolute" for r in records):
        say("absolute spaces of unequal dims cannot be stitched: n/a.")
    if spaces.failed:
        say(f"{len(spaces.failed)} of {count} files could not be used: see their error.")
    return DATA if spaces.failed else DONE
