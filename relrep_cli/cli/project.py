"""`relrep project`: from absolute to relative coordinates."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

import typer

from relrep_cli import store
from relrep_cli.base.errors import UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.cli.engine_options import RowOptions, refuse_standard_input
from relrep_cli.cli.options import Device, DryRun, Dtype, Explicit, Force, Given, Output, Printing, Seed, command, plan
from relrep_cli.cli.project_session import SETUP, Source
from relrep_cli.cli.reading_options import TrustingOptions
from relrep_cli.cli.recipe_options import RecipeOptions, read_recipe
from relrep_cli.relative.projected_files import Projection, project_file, project_into_copy
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.store.h5ad_copies import is_h5ad

TITLE = "What to make"
EXAMPLES = (
    "relrep project a.h5 --anchors anchors.h5 -o a.rel.h5",
    "relrep project a.h5 --anchors anchors.h5 --similarity cosine,l1 --aggregate sum --center -o a.rel.h5",
    "relrep project test.h5 --anchors anchors.h5 --center --statistics a.rel.h5 -o test.rel.h5",
    "relrep project cells.h5ad::obsm/X_pca --anchors anchors.h5 --h5ad cells.relative.h5ad",
    "relrep project a.h5 --universe universe.h5 -o a.common.h5",
    "relrep project a.h5 --audit",
    "relrep project a.h5 b.h5 --anchors anchors.h5 --select",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...", help="Absolute embedding file, several with --select; - is stdin.", show_default=False
        ),
    ] = None
    output: Output = ""
    list_functions: Annotated[bool, typer.Option("--list", help="Print what each similarity function is invariant to.")] = False
    audit: Annotated[
        bool, typer.Option("--audit", help="Print how much each function changes when FILE's space is transformed.")
    ] = False
    select: Annotated[
        bool, typer.Option("--select", help="Rank functions, and sets of them, by how well they agree between FILEs.")
    ] = False
    universe: Annotated[
        str,
        typer.Option(
            "--universe",
            help="Write FILE in the common space of this universe, which translate --save-map wrote, without anchors.",
            metavar="FILE",
            show_default=False,
        ),
    ] = ""
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            help="With --aggregator: write the attention of each item to each function.",
            metavar="FILE",
            show_default=False,
        ),
    ] = ""
    h5ad: Annotated[
        str,
        typer.Option(
            "--h5ad",
            help="Also, or instead of -o, write a copy of the input .h5ad with the result in obsm['X_relrep'].",
            metavar="FILE",
            show_default=False,
        ),
    ] = ""
    dtype: Dtype = None
    device: Device = "cpu"
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Compute in float64 on padded tiles, so that no bit depends on the order of rows or the CPU (of those tried).",
        ),
    ] = False
    force: Force = False
    dry_run: DryRun = False
    printing: Printing
    seed: Seed = 0
    recipe: RecipeOptions
    reading: TrustingOptions
    running: RowOptions
    given: Given
    explicit: Explicit = field(default_factory=Explicit)


@command(Options, SIMILARITIES)
def project(options: Options) -> None:
    """Describe each item by its similarities to the anchors.

    The vectors of the anchors are looked up by id in FILE itself, or in another file of the same space
    (--anchor-vectors, or the anchor file where it comes from this space); never in another space. Statistics are those of
    the training rows; the output keeps them, and --statistics takes them from it for other files of the space.

    Several similarity functions make a product: each subspace is normalised row by row, then they are aggregated.
    """
    style = options.printing.style
    modes = _modes(options)
    if modes or options.universe:  # with imports that few runs need
        from relrep_cli.cli import project_modes
    if options.list_functions:
        return project_modes.list_functions(style)
    files = options.files or []
    if not files or (len(files) > 1 and not options.select) or (len(files) < 2 and options.select):
        raise UsageError(
            f"{len(files)} files are named", "Name two or more to select for." if options.select else "Name one FILE."
        )
    if options.dry_run and modes:
        return plan([f"{modes[0].removeprefix('--')} {', '.join(files)}"])
    if options.audit:
        return project_modes.audit_functions(files[0], options, style)
    if options.select:
        return project_modes.select_functions(files, options, style)
    if not options.output and not options.h5ad:
        raise UsageError("-o FILE is missing", "Name the output file; -o - writes to stdout.")
    if options.universe:
        return project_modes.project_into_universe(files[0], options)
    to_do = _projection(files[0], options)
    recipe = read_recipe(options.recipe, options.given, reading=options.reading.reading)
    if options.h5ad:
        _refuse_copy(options, files[0])
    if options.output:
        project_file(files[0], recipe, to_do)
    if options.h5ad:
        project_into_copy(files[0], recipe, to_do, options.h5ad)


def _refuse_copy(options: Options, file: str) -> None:
    """Raise UsageError or WriteError, before any work, where --h5ad cannot be written."""
    place = f"--h5ad {options.h5ad}"
    if not is_h5ad(file):
        raise UsageError("it is written as a copy of an .h5ad, and FILE is not one", "Write -o FILE.", place=place)
    if not is_h5ad(options.h5ad):
        raise UsageError("the name must end in .h5ad", "Choose such a name.", place=place)
    store.refuse_same({"-o": options.output, "--h5ad": options.h5ad})
    if options.running.part is not None or options.weights:
        raise UsageError("--h5ad writes a whole file", "Leave out --shard and --weights.")
    store.refuse(options.h5ad, options.force, [file, *options.recipe.files()])


def _modes(options: Options) -> list[str]:
    """The options that print instead of projecting. Raises UsageError for more than one, or one with -o."""
    chosen = {"--list": options.list_functions, "--audit": options.audit, "--select": options.select}
    modes = [name for name, on in chosen.items() if on]
    if len(modes) > 1 or (modes and options.output):
        names = ", ".join([*modes, *(["-o"] if options.output else [])])
        raise UsageError(f"{names} do not go together", "Choose one.")
    return modes


def _projection(file: str, options: Options) -> Projection:
    engine = options.running.engine
    if engine.elsewhere:
        refuse_standard_input([file, *options.recipe.files()])
    return Projection(
        output=options.output,
        reading=options.reading.reading,
        weights=options.weights,
        inputs=(*options.recipe.files(),),
        dtype=options.dtype,
        device=options.device,
        exact=options.exact,
        force=options.force,
        dry_run=options.dry_run,
        shard=options.running.part,
        engine=engine,
        setup=SETUP,
        source=Source(file=file, reading=options.reading.reading, recipe=options.recipe, given=options.given),
    )
