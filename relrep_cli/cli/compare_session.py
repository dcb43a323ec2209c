"""How the pairs of compare are run: in this process, or in others, which read the files themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from relrep_cli.base.errors import RelrepError, UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import LOGGER
from relrep_cli.base.registry import load_plugins
from relrep_cli.base.task_cache import Records
from relrep_cli.cli.engine_options import refuse_standard_input
from relrep_cli.cli.options import Given
from relrep_cli.cli.recipe_options import RecipeOptions, read_recipe
from relrep_cli.comparison.pieces import spread_over
from relrep_cli.comparison.plans import Plan
from relrep_cli.comparison.runs import Session, Views, job_of, usable
from relrep_cli.engine.jobs import Outcome, listening
from relrep_cli.engine.running import Engine, outcomes
from relrep_cli.numerics.spread import WORTH
from relrep_cli.numerics.workspace import Workspace
from relrep_cli.relative.file_views import FileViews, views_of_files
from relrep_cli.relative.recipes import Recipe
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.store.reading import Reading


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a process must know to measure pairs: options and names of files.

    folder: where finished tasks are kept, "" for nowhere. keep: whether they outlive the run. with_content: whether results
    name the content of the files. device: where neighbours are searched, moments added and relative views computed.
    """

    plan: Plan
    split: str | None
    recipe: RecipeOptions
    given: Given
    reading: Reading
    folder: str
    keep: bool
    with_content: bool
    device: str = "cpu"


def session_of(source: Source) -> Session:
    """The state of a process of its own. Files are read when a pair needs them."""
    load_plugins()
    cache = Records(Path(source.folder) if source.folder else None, source.keep)
    return Session(source.plan, lazy_views(source), cache, Workspace.of_run(cache, source.device))


def lazy_views(source: Source) -> FileViews:
    recipes = recipes_of(source)
    return FileViews(source.plan.files, source.split, recipes, source.with_content, source.reading, source.device)


def views_of(source: Source, lazy: bool) -> Views:
    """The views of all files. lazy: read them when they are needed, because this process may need few."""
    if lazy:
        refuse_standard_input([*source.plan.files, *source.recipe.files()])
        return lazy_views(source)
    recipes = recipes_of(source)
    return views_of_files(source.plan.files, source.split, recipes, source.with_content, source.reading, source.device)


def outcomes_of(source: Source, views: Views, cache: Records, engine: Engine) -> Iterator[Outcome]:
    """The outcomes of the pairs of the plan, in their order."""
    shared = replace(source, plan=replace(source.plan, pairs=[]))
    setup = f"{__name__}:session_of"
    job = job_of(source.plan, setup, shared)
    if engine.elsewhere:
        cache.share()
    if engine.elsewhere and _is_one_large_pair(source.plan, views):  # others take pieces of it
        spread = spread_over(engine, source.plan.pairs[0], setup, shared)
        session = Session(source.plan, views, cache, replace(Workspace.of_run(cache, source.device), spread=spread))
        return outcomes(job, Engine(log=engine.log), session)
    state = None if engine.elsewhere else Session(source.plan, views, cache, Workspace.of_run(cache, source.device))
    return outcomes(job, engine, state)


def _is_one_large_pair(plan: Plan, views: Views) -> bool:
    """Whether the plan is one pair that is worth cutting.

    Only then are the notes on its files printed here; otherwise the process that reads the files prints them.
    """
    if not plan.single or len(plan.pairs) != 1:
        return False
    with listening() as notes:
        try:
            embeddings = [usable(views[uri])[0].embedding for uri in plan.pairs[0]]
        except RelrepError:
            return False
    n = float(min(e.n for e in embeddings))
    large = n * n * sum(e.d for e in embeddings) >= 2 * WORTH
    for note in notes.notes if large else []:
        LOGGER.log(*note)
    return large


def recipes_of(source: Source) -> list[Recipe]:
    """The recipes of the relative views: one where each pair has a single value, else also each similarity function alone."""
    recipe = _recipe(source)
    if recipe is None:
        return []
    return [recipe] if source.plan.outputs.one_value_per_pair else recipe.each_similarity()


def _recipe(source: Source) -> Recipe | None:
    if source.recipe.anchors:
        return read_recipe(source.recipe, source.given, reading=source.reading)
    if given := source.recipe.given():
        raise UsageError(
            f"{given[0]} says how to project on --anchors FILE, which is missing", f"Add --anchors FILE, or remove {given[0]}."
        )
    source.given.refuse(SIMILARITIES, "compare without --anchors")
    return None
