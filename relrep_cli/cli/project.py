"""`relrep project`: from absolute to relative coordinates."""

from __future__ import annotations

from typing import Annotated

import typer

from relrep_cli import store
from relrep_cli.cli import options
from relrep_cli.cli.anchoring import read_recipe
from relrep_cli.embedding import RELATIVE, chain, make_step
from relrep_cli.errors import UsageError
from relrep_cli.output import progress, say
from relrep_cli.projection import basis, relative_blocks
from relrep_cli.similarities import SIMILARITIES

EXAMPLES = (
    "relrep project a.h5 --anchors anchors.h5 -o a.rel.h5",
    "relrep project a.h5 --anchors anchors.h5 --center -o - | relrep compare - b.rel.h5",
)


@options.command(SIMILARITIES)
def project(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Absolute embedding file; - is stdin.", show_default=False)],
    anchors: options.Anchors = "",
    output: options.Output = "",
    similarity: Annotated[str, options.names_of(SIMILARITIES, "The similarity function.", "--similarity", "-s")] = "cosine",
    center: options.Center = False,
    anchor_vectors: options.AnchorVectors = None,
    dtype: options.Dtype = None,
    device: options.Device = "cpu",
    force: options.Force = False,
    dry_run: options.DryRun = False,
    given: options.Given = options.NOTHING,
) -> None:
    """Describe each item by its similarities to the anchors.

    The vectors of the anchors are looked up by id in FILE itself, or in another file of the same space
    (--anchor-vectors, or the anchor file where it comes from this space); never in another space.
    """
    if not output:
        raise UsageError("-o FILE is missing; -o - writes to stdout.")
    e = store.digested(store.read(file))
    recipe = read_recipe(anchors, similarity, center, anchor_vectors, given)
    to = basis(e, recipe)
    kept = dtype or "float32"
    params = {
        "similarity": similarity,
        **recipe.params,
        "center": center,
        "dtype": kept,
        "anchors": recipe.space(),
        "device": device,
    }
    step = make_step("project", params, None, [e, *map(store.digested, recipe.spares)])
    if not force and store.identify(output) == step["id"]:
        return say(f"{output}: up to date.")
    store.refuse(output, force, [file, anchors, *(anchor_vectors or [])])
    m = len(to.anchors)
    if dry_run:
        return options.plan(
            [f"project {file}: {e.n} x {e.d} on {m} anchors by {recipe.label} to {output}, {e.n * m * 4 / 1e6:.1f} MB"]
        )
    if e.x.dtype.itemsize == 8 and dtype is None:
        say(f"{file}: is float64 and computed so, but stored as float32; --dtype float64 keeps it.")
    with progress("projecting") as advance:
        blocks = _counted(relative_blocks(e.x, to, device), e.n, advance)
        store.write(
            output,
            blocks,
            shape=(e.n, m),
            dtype=kept,
            ids=e.ids,
            obs=e.obs,
            var=recipe.var(),
            kind=RELATIVE,
            space=recipe.space(),
            steps=chain([e, *recipe.spares], step),
            uns={} if to.origin is None else {"center": to.origin},
            force=force,
        )
    say(f"{output}: {e.n} x {m}, {recipe.label} to {m} anchors.")


def _counted(blocks, total, advance):  # type: ignore[no-untyped-def]
    done = 0
    for block in blocks:
        done += len(block)
        advance(done, total)
        yield block
