"""How the rows of project are computed in other processes, which read the files themselves."""

from __future__ import annotations

from relrep_cli import store
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import load_plugins
from relrep_cli.cli.options import Given
from relrep_cli.cli.recipe_options import RecipeOptions, read_recipe
from relrep_cli.engine.jobs import listening
from relrep_cli.relative.projected_rows import Fitted, blocks_of
from relrep_cli.store.shared_rows import Blocks

SETUP = f"{__name__}:rows_of"


@dataclass(frozen=True, kw_only=True)
class Source:
    """The file to project, and the options that make the recipe."""

    file: str
    reading: store.Reading
    recipe: RecipeOptions
    given: Given


def rows_of(shared: tuple[Source, Fitted]) -> Blocks:
    """The rows of a process of its own. The main process has printed the notes on the files."""
    source, fitted = shared
    load_plugins()
    with listening():
        recipe = read_recipe(source.recipe, source.given, reading=source.reading)
        e = store.read(source.file, source.reading)
    return blocks_of(e, recipe, fitted)
