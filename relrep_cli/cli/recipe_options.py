"""What project, compare, plot and stitch share: the options that say how to project, read into a Recipe."""

from __future__ import annotations

from dataclasses import field, replace
from math import isfinite
from typing import Annotated, Any, ClassVar

import numpy as np
import typer

from relrep_cli import store
from relrep_cli.anchors.id_lists import MANY, read_anchors, refuse_whole_collections
from relrep_cli.base.errors import UsageError
from relrep_cli.base.lazy_dataclasses import dataclass, fields
from relrep_cli.cli.options import Given, names_of, split_names
from relrep_cli.relative.aggregators import AGGREGATORS, load
from relrep_cli.relative.preparation import Preprocessing
from relrep_cli.relative.recipes import Postprocessing, Recipe, with_trained_aggregator
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.store.reading import PLAIN, Reading

OF_AGGREGATOR = {"--similarity", "--aggregate", "--center", "--scale", "--whiten", "--normalize", "--as-similarity"}
SIMILARITY_HELP = "Similarity functions, repeated or separated by commas, or all"
AGGREGATE_HELP = "How to combine several similarity functions"


def _file(name: str, *more: str, help: str) -> Any:
    return typer.Option(f"--{name}", *more, help=help, metavar="FILE", show_default=False)


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """The options that say how to project: a group in the Options of each command that projects.

    A command with other defaults for `similarity` and `aggregate` subclasses it and states them in the help.
    """

    PANEL: ClassVar[str] = "Projection"

    anchors: Annotated[str, _file("anchors", "-a", help="Anchor file, or a text file with one id a line.")] = ""
    similarity: Annotated[
        list[str], names_of(SIMILARITIES, f"{SIMILARITY_HELP} [default: cosine].", "--similarity", "-s", default=False)
    ] = field(default_factory=list)
    aggregate: Annotated[str, names_of(AGGREGATORS, f"{AGGREGATE_HELP} [default: concat].", "--aggregate", default=False)] = ""
    aggregator: Annotated[
        str,
        _file(
            "aggregator",
            help="Trained aggregator that stitch saved. It brings its own similarity functions and preparation.",
        ),
    ] = ""
    center: Annotated[bool, typer.Option("--center", help="Subtract the mean of the training rows, before anything else.")] = (
        False
    )
    scale: Annotated[
        bool,
        typer.Option("--scale", help="Standardise each axis first (mean 0, standard deviation 1 on the training rows)."),
    ] = False
    whiten: Annotated[
        bool, typer.Option("--whiten", help="Whiten first (ZCA): the covariance of the training rows becomes the identity.")
    ] = False
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Scale each vector to length 1, after --center, --scale or --whiten.")
    ] = False
    as_similarity: Annotated[
        bool, typer.Option("--as-similarity", help="Negate distances, so that larger always means more alike.")
    ] = False
    standardize_columns: Annotated[
        bool,
        typer.Option(
            "--standardize-columns",
            help="Standardise each relative column (mean 0, standard deviation 1 on the training rows).",
        ),
    ] = False
    round: Annotated[
        float,
        typer.Option("--round", help="Round the final result to multiples of this step.", min=0, show_default=False),
    ] = 0.0
    transductive: Annotated[
        bool,
        typer.Option("--transductive", help="Take statistics from all rows, test rows included. The output records this."),
    ] = False
    statistics: Annotated[
        str, _file("statistics", help="Take the statistics of this relative file, which must be of the same space.")
    ] = ""
    anchor_vectors: Annotated[
        list[str],
        typer.Option(
            "--anchor-vectors",
            help="More files that hold vectors of anchors; used for files of the same space.",
            metavar="FILE",
            show_default=False,
        ),
    ] = field(default_factory=list)

    all_as_anchors: Annotated[
        bool, typer.Option("--all-as-anchors", help=f"Use every row of --anchors FILE, though there are more than {MANY}.")
    ] = False

    def files(self) -> list[str]:
        """Every file that the options name."""
        return [f for f in (self.anchors, self.aggregator, self.statistics, *self.anchor_vectors) if f]

    def given(self) -> list[str]:
        """The options that were given, as written on the command line."""
        return [f"--{f.name.replace('_', '-')}" for f in fields(self) if getattr(self, f.name)]


def read_recipe(
    options: RecipeOptions,
    given: Given,
    anchor_ids: np.ndarray | None = None,
    trains: bool = False,
    reading: Reading = PLAIN,
) -> Recipe:
    """The recipe that the options describe, on the anchors they name unless `anchor_ids` gives others.

    trains: whether the command can train an aggregator. reading: of the files that are projected.
    Raises UsageError for options that contradict each other.
    """
    if not options.anchors and anchor_ids is None:
        raise UsageError("--anchors FILE is missing", "Make one with relrep anchor.")
    if options.whiten and options.scale:
        raise UsageError("--whiten and --scale both set the variance of the axes", "Choose one.")
    if options.statistics and options.transductive:
        raise UsageError("--statistics and --transductive both say where statistics come from", "Choose one.")
    if not isfinite(options.round):
        raise UsageError(f"--round is {options.round}", "Give a step that coordinates can be rounded to, such as 0.1.")
    if options.aggregate and AGGREGATORS[options.aggregate].trainable and not trains:
        raise UsageError(
            f"--aggregate {options.aggregate} has to be trained first",
            f"Run relrep stitch --aggregate {options.aggregate} --save-aggregator FILE, then name FILE with --aggregator.",
        )
    ids, spare, meaning = read_anchors(options.anchors, reading) if anchor_ids is None else (anchor_ids, None, None)
    if not options.all_as_anchors:
        refuse_whole_collections(spare)
    recipe = Recipe(
        ids,
        anchor_sources=tuple(([spare] if spare else []) + [store.read(v, reading.beside) for v in options.anchor_vectors]),
        after=Postprocessing(options.as_similarity, options.standardize_columns, options.round),
        transductive=options.transductive,
        statistics_from=store.read(options.statistics, reading.beside) if options.statistics else None,
        meaning=meaning,
    )
    fill = _with_aggregator_file if options.aggregator else _with_named_functions
    return fill(recipe, options, given)


def _with_named_functions(recipe: Recipe, options: RecipeOptions, given: Given) -> Recipe:
    names = split_names(options.similarity) or ["cosine"]
    names = list(SIMILARITIES) if "all" in names else names
    chosen = given.choose(SIMILARITIES, names)
    aggregate = options.aggregate or ("concat" if len(chosen) > 1 else "")
    before = Preprocessing(options.center, options.scale, options.whiten, options.normalize)
    return replace(recipe, similarities=chosen, before=before, aggregate=aggregate)


def _with_aggregator_file(recipe: Recipe, options: RecipeOptions, given: Given) -> Recipe:
    clash = [option for option in options.given() if option in OF_AGGREGATOR]
    if clash:
        raise UsageError(f"{clash[0]} does not go with --aggregator, which brings its own", "Leave one out.")
    given.refuse(SIMILARITIES, "--aggregator, which brings its own")
    return with_trained_aggregator(recipe, load(options.aggregator))
