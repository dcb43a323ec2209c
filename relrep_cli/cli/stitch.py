"""`relrep stitch`: heads of one space on items of another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from relrep_cli import store
from relrep_cli.base.errors import DATA, DONE, UsageError, unknown
from relrep_cli.base.output import detail, say
from relrep_cli.base.task_cache import Records
from relrep_cli.cli import options as shared
from relrep_cli.cli.options import Given, command, split_names
from relrep_cli.cli.picture_options import check_names
from relrep_cli.cli.recipe_options import read_recipe
from relrep_cli.cli.stitch_options import HEAD, Options
from relrep_cli.cli.stitch_parts import records_of_run, refuse_here_only, run_elsewhere
from relrep_cli.cli.stitch_report import write_results
from relrep_cli.engine.estimates import takes
from relrep_cli.engine.running import HERE
from relrep_cli.heads.heads import HEADS
from relrep_cli.heads.mlp import ADAPTED
from relrep_cli.plots.looks import PLAIN_LOOK, Look
from relrep_cli.relative.aggregators import AGGREGATORS
from relrep_cli.relative.projected_files import note_basis
from relrep_cli.relative.recipes import Recipe
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.reports.endings import is_report
from relrep_cli.stitching import saved_heads
from relrep_cli.stitching.adaptation import Adaptation
from relrep_cli.stitching.cross_retrieval import TARGETS, RetrievalPlan, Sparse, retrieval_methods
from relrep_cli.stitching.grid_costs import lines_of
from relrep_cli.stitching.grid_run import GridPlan, Run
from relrep_cli.stitching.methods import AGGREGATE, SIMILARITY, USUAL, WITHOUT_ANCHORS, Method, MethodChoice, methods
from relrep_cli.stitching.output_files import OutputFiles
from relrep_cli.stitching.saved_head_run import SavedHeadPlan
from relrep_cli.stitching.spaces import TEST_SIZE, Column, read_spaces
from relrep_cli.stitching.translators import TRANSLATORS
from relrep_cli.stitching.universe import UNIVERSES

WITH_SAVED = {"head", "anchors", "anchor_vectors", "statistics", "predictions", "allow_test_anchors", "force", "seed", "device"}
WITH_SAVED |= {"dry_run", "trust_digest", "format", "json", *shared.SHARED}
RELATIVE = "--method relative or product"
NEEDS = {
    "numbers": "a column to learn",
    "seeds": "heads",
    **dict.fromkeys(("sparse", "power"), "--target asif"),
    "adapt_fraction": "--adapt",
    "similarity": RELATIVE,
    "aggregate": "--method product",
}
TITLE = "What to stitch"
EXAMPLES = (
    "relrep stitch a.h5 b.h5 --anchors anchors.h5 --target label",
    "relrep stitch a.h5 b.h5 --anchors anchors.h5 --method relative,ridge --similarity cosine --head mlp --seeds 5",
    "relrep stitch a.h5 b.h5 --anchors anchors.h5 --method ridge -o b.in-a.h5 --save-head head.safetensors",
    "relrep stitch old.h5 new.h5 --anchors anchors.h5 --target retrieval --method ridge,orthogonal,relative",
    "relrep stitch new.h5 --head head.safetensors --anchors anchors.h5 --predictions out.tsv",
)
Plan = GridPlan | RetrievalPlan | SavedHeadPlan


@command(Options, HEADS, SIMILARITIES, TRANSLATORS, UNIVERSES)
def stitch(options: Options) -> int:
    """Train a head on the training rows of each file and run it on the test rows of every other, by several methods.

    stitching_index is the stitched score over the end-to-end score, that of the encoder's own head by the same method. With
    more than two files, a file that cannot be used gives a record with the error; the others are still used, and the exit code
    is 3. With --cache, a run that was interrupted continues where it stopped.
    """
    style = options.printing.style  # before any file is read
    part, engine = options.running.part, options.running.engine
    refuse_here_only(options, part, engine)
    check_names(options.picture.names, len(options.files))
    if is_report(options.output) or options.table:
        store.agree(options.table, style)
        store.refuse(options.output, True, options.files, store.TABLES if options.table else ())
    plan = plan_of(options)
    if options.dry_run:
        processes = max(1, engine.processes)
        shared.plan(lines_of(plan, processes, part) if isinstance(plan, GridPlan) else [*plan.lines(), takes(None)])
        return DONE
    if part is not None or engine != HERE:
        assert isinstance(plan, GridPlan)
        return run_elsewhere(plan, options, part, engine)
    records = plan.run()
    write_results(options, plan, records)
    if plan.failed:
        say(f"{len(plan.failed)} of {len(options.files)} files could not be used: see their error.")
    return DATA if plan.failed else DONE


def plan_of(options: Options) -> Plan:
    """What to run: a saved head, a retrieval, or the grid of encoders and heads. Raises UsageError."""
    if saved := next((name for name in options.heads if name.endswith(".safetensors")), ""):
        return _saved_head_plan(options, saved)
    if len(options.files) < 2:
        raise UsageError("stitch needs two or more files, or one with a saved --head", "Name another file.")
    choice = _method_choice(options)
    _refuse_idle_options(options, choice)
    recipe = _recipe(options, choice)
    chosen = methods(choice, recipe)
    if options.target in TARGETS:
        return _retrieval_plan(options, chosen, recipe)
    return _grid_plan(options, chosen, recipe)


def _saved_head_plan(options: Options, file: str) -> SavedHeadPlan:
    explicit = options.explicit.options
    allowed = WITH_SAVED | ({"output"} if is_report(options.output) or options.table else set())
    other = next((option for name, option in explicit.items() if name not in allowed), "")
    if other or options.heads[1:]:
        raise UsageError(
            f"{other or 'another head'} does not go with a saved head, which keeps its own settings", "Leave it out."
        )
    saved = saved_heads.load(file)
    recipe_options = options.recipe
    own = [o for o in recipe_options.given() if o not in ("--anchors", "--statistics", "--anchor-vectors")]
    if own:  # by an environment variable
        raise UsageError(f"{own[0]} does not go with a saved head, which brings its own", "Leave it out.")
    plan = SavedHeadPlan(
        options.files,
        file,
        saved,
        read_recipe(recipe_options, options.given, reading=options.reading.reading) if recipe_options.anchors else None,
        note_basis,
        options.predictions,
        options.force,
        options.allow_test_anchors,
        options.seed,
        options.reading.reading,
        style=options.printing.style,
    )
    plan.check(recipe_options.files())
    return plan


def _retrieval_plan(options: Options, chosen: list[Method], recipe: Recipe | None) -> RetrievalPlan:
    of_heads: dict[str, Any] = {
        "-o": options.vectors,
        "--save-head": options.save_head,
        "--save-aggregator": options.save_aggregator,
        "--adapt": options.adapt,
        "--predictions": options.predictions,
        "--plot": options.picture.plot,
        "--cache": options.running.cache,
        "--cluster": options.running.cluster,
        "--shard": options.running.shard,
        "--log": options.running.log,
        "--head": options.heads != HEAD,
        "--source": options.source,
    }
    if option := next((name for name, value in of_heads.items() if value), None):
        remedy = (
            f"Leave out --target {options.target}: -o writes vectors without labels, too."
            if option == "-o"
            else "Leave it out."
        )
        raise UsageError(f"{option} does not go with --target {options.target}, which trains no heads", remedy)
    chosen = retrieval_methods(options.target, chosen, recipe)
    options.given.refuse(HEADS, f"--target {options.target}, which trains no heads")
    spaces = read_spaces(options.files, recipe, Column("", optional=True), options.division, False, options.reading.reading)
    return RetrievalPlan(spaces, chosen, Sparse(options.sparse, options.power), options.seed, note_basis)


def _grid_plan(options: Options, chosen: list[Method], recipe: Recipe | None) -> GridPlan:
    source = options.source
    if (options.target == "images") != bool(source):
        raise UsageError("--target images and --source DIR go together", "Give both, or neither.")
    heads = _heads(["decoder"] if source and options.heads == HEAD else options.heads, chosen, options.given)
    part = options.running.part
    outputs = OutputFiles(
        "" if part is not None else options.vectors,
        options.save_head,
        options.save_aggregator,
        options.predictions,
        options.picture.plot,
        options.force,
        bool(source),
        (options.test_size or TEST_SIZE, options.seed),
        style=options.printing.style,
        look=_look(options),
    )
    outputs.check(options.files, options.recipe.files(), chosen, list(heads))
    adaptation = _adaptation(options, chosen)
    kept = not outputs.retrains and adaptation is None
    cache = records_of_run(options, part) if kept else Records(None)
    column = Column(
        options.reading.reading.target(options.target), options.numbers, optional=bool(outputs.vectors), source=source
    )
    named = bool(options.running.cache) or cache.folder is not None or outputs.names_inputs
    spaces = read_spaces(options.files, recipe, column, options.division, named, options.reading.reading)
    if spaces.target is None:
        outputs.check_without_target(options.files, options.target, chosen[0])
    run = Run(
        chosen,
        heads,
        range(options.seed, options.seed + options.seeds),
        options.device,
        cache,
        note_basis,
        outputs.kept_of if outputs.retrains else None,
        adaptation,
        is_report(options.output),
    )
    return GridPlan(spaces, run, outputs)


def _look(options: Options) -> Look:
    """How the maps look. Raises UsageError for options of maps where --plot draws something else."""
    look = options.picture.look(options.explicit.options)
    if options.picture.plot and replace(look, names=()) != PLAIN_LOOK and (options.source or options.adapt):
        raise UsageError("--vmin, --vmax and --plot-… are for maps of the stitching index", "Leave them out.")
    return look


def _refuse_idle_options(options: Options, choice: MethodChoice) -> None:
    """Raise UsageError for an option in the command line that would have no effect."""
    target, explicit = options.target, options.explicit.options
    met = {
        "a column to learn": target not in (*TARGETS, "images"),
        "heads": target not in TARGETS,
        "--target asif": target == "asif",
        "--adapt": bool(options.adapt),
        RELATIVE: target != "asif" and not {"relative", "product"}.isdisjoint(choice.families),
        "--method product": target != "asif" and "product" in choice.families,
    }
    if idle := next((name for name, need in NEEDS.items() if name in explicit and not met[need]), None):
        raise UsageError(f"{explicit[idle]} needs {NEEDS[idle]}, and does nothing here", "Leave it out.")


def _method_choice(options: Options) -> MethodChoice:
    how = options.recipe
    aggregates = [AGGREGATORS[name].name for name in split_names([how.aggregate])] or list(AGGREGATE)
    more = ["product"] if how.aggregate or how.aggregator else []
    choice = MethodChoice(split_names(options.method) or [*USUAL, *more], aggregates, {})
    params: dict[str, dict[str, Any]] = {}
    for registry in (TRANSLATORS, UNIVERSES):
        named = [name for name in choice.families if name in registry]
        if named:
            params |= options.given.choose(registry, named)
        else:
            options.given.refuse(registry, f"--method {','.join(choice.names)}")
    return replace(choice, translators=params)


def _recipe(options: Options, choice: MethodChoice) -> Recipe | None:
    """The recipe of relative methods; None where no method needs anchors.

    Where neither a method nor anything about the projection is named, it is that of the centred cosine.
    """
    how = options.recipe
    if not how.anchors and set(choice.families) <= set(WITHOUT_ANCHORS):
        return None
    if not options.method and not set(how.given()) - {"--anchors", "--anchor-vectors", "--statistics", "--transductive"}:
        return read_recipe(
            replace(how, similarity=["cosine"], center=True), options.given, trains=True, reading=options.reading.reading
        )
    similarities = how.similarity if how.similarity or how.aggregator else list(SIMILARITY)
    aggregate = how.aggregate if how.aggregator else ""
    return read_recipe(
        replace(how, similarity=similarities, aggregate=aggregate),
        options.given,
        trains=True,
        reading=options.reading.reading,
    )


def _heads(names: list[str], chosen: list[Method], given: Given) -> dict[str, dict[str, Any]]:
    """The params of each head; adds mlp where an aggregator is trained and none of the heads can be trained with it."""
    trains = [m.trains for m in chosen]
    if any(trains) and names and not any(HEADS[name].joint for name in names):
        names = [*([] if all(trains) else names), "mlp"]
        detail("aggregators are trained with an mlp head.")
    return given.choose(HEADS, names)


def _adaptation(options: Options, chosen: list[Method]) -> Adaptation | None:
    """What --adapt asks for. Raises UsageError where nothing can be adapted."""
    parts = split_names(options.adapt)
    if not parts:
        return None
    for part in parts:
        if part not in ADAPTED:
            raise unknown("part for --adapt", part, ADAPTED)
    trained = [m.recipe.aggregate for m in chosen if m.trains and m.recipe is not None]
    if not trained or ("qkv" in parts and not any(name.endswith("attention") for name in trained)):
        raise UsageError(f"--adapt {parts[0]} needs an aggregator that is trained", "Add --aggregate self-attention.")
    return Adaptation(parts, options.adapt_fraction, options.seed, options.device)
