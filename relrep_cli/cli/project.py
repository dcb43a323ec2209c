"""`relrep project`: from absolute to relative coordinates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from relrep_cli import store
from relrep_cli.anchors.correspondences import Pairs
from relrep_cli.base.errors import UsageError
from relrep_cli.base.output import Record, progress, say, write
from relrep_cli.cli import options
from relrep_cli.cli.recipe_options import read_recipe
from relrep_cli.embedding import RELATIVE, Embedding, chain, in_id_order, make_step
from relrep_cli.relative.invariance_audit import audit, described, sample, table
from relrep_cli.relative.projection import Basis, basis, relative_blocks
from relrep_cli.relative.recipes import Recipe
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.relative.similarity_selection import select
from relrep_cli.relative.transformations import TRANSFORMATIONS
from relrep_cli.store.limits import STATISTIC

EXAMPLES = (
    "relrep project a.h5 --anchors anchors.h5 -o a.rel.h5",
    "relrep project a.h5 --anchors anchors.h5 --similarity cosine,l1 --aggregate sum --center -o a.rel.h5",
    "relrep project test.h5 --anchors anchors.h5 --center --statistics a.rel.h5 -o test.rel.h5",
    "relrep project a.h5 --audit",
    "relrep project a.h5 b.h5 --anchors anchors.h5 --select",
)
ANCHORS = 300  # of an audit for which none are named


@options.legacy_command(SIMILARITIES)
def project(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...", help="Absolute embedding file, several with --select; - is stdin.", show_default=False
        ),
    ] = None,
    output: options.Output = "",
    list_: Annotated[bool, typer.Option("--list", help="Print what each similarity function is invariant to.")] = False,
    audit_: Annotated[
        bool, typer.Option("--audit", help="Print how far each function moves when FILE's own space is moved.")
    ] = False,
    select_: Annotated[
        bool, typer.Option("--select", help="Rank functions, and sets of them, by the agreement they give between FILEs.")
    ] = False,
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            help="With --aggregator: write each item's attention to each function.",
            metavar="FILE",
            show_default=False,
        ),
    ] = "",
    dtype: options.Dtype = None,
    device: options.Device = "cpu",
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Compute in float64 on padded tiles: for given statistics, no order of rows and no CPU tried changes a bit.",
        ),
    ] = False,
    force: options.Force = False,
    dry_run: options.DryRun = False,
    format: options.AsFormat = None,
    json: options.AsJson = False,
    seed: options.Seed = 0,
    how: options.How = options.NO_HOW,
    given: options.Given = options.NOTHING,
) -> None:
    """Describe each item by its similarities to the anchors.

    The vectors of the anchors are looked up by id in FILE itself, or in another file of the same space
    (--anchor-vectors, or the anchor file where it comes from this space); never in another space. Statistics are those of
    the training rows; the output keeps them, and --statistics takes them from it for other files of the space.

    Several similarity functions make a product: each subspace is normalised row by row, then they are aggregated.
    """
    kind = options.format_of(format, json)
    modes = [name for name, on in (("--list", list_), ("--audit", audit_), ("--select", select_)) if on]
    if len(modes) > 1 or (modes and output):
        raise UsageError(f"{', '.join([*modes, *(['-o'] if output else [])])} do not go together", "Choose one.")
    if list_:
        return write([*table()], ["similarity", *TRANSFORMATIONS], kind)
    named = files or []
    if not named or (len(named) > 1 and not select_) or (len(named) < 2 and select_):
        raise UsageError(f"{len(named)} files are named", "Name two or more to select for." if select_ else "Name one FILE.")
    if dry_run and modes:
        return options.plan([f"{modes[0].removeprefix('--')} {', '.join(named)}"])
    if audit_:
        return _audit(named[0], how, given, seed, kind)
    if select_:
        return _select(named, how, given, seed, kind)
    if not output:
        raise UsageError("-o FILE is missing", "Name the output file; -o - writes to stdout.")
    _project(named[0], output, weights, dtype, device, exact, force, dry_run, read_recipe(how, given), how)


def _project(
    file: str,
    output: str,
    weights: str,
    dtype: str | None,
    device: str,
    exact: bool,
    force: bool,
    dry_run: bool,
    recipe: Recipe,
    how: options.How,
) -> None:
    if weights and (recipe.trained is None or not recipe.aggregate.endswith("attention")):
        raise UsageError(
            "--weights needs --aggregator", "Name a trained one that attends: self-attention or mlp-self-attention."
        )
    if exact and (device != "cpu" or recipe.trained is not None):
        raise UsageError(
            f"--exact computes with NumPy, so it does not go with {'--device' if device != 'cpu' else '--aggregator'}",
            "Leave one of them out.",
        )
    e = store.digested(store.read(file))
    kept = dtype or "float32"
    params = {
        **recipe.params(),
        "dtype": kept,
        "anchors": recipe.space(),
        "device": device,
        **({"exact": True} if exact else {}),
    }
    if isinstance(recipe.meaning, Pairs):
        params["side"] = recipe.meaning.side_of(e, recipe.spares)
    inputs = [e, *map(store.digested, recipe.spares), *([recipe.like] if recipe.like else [])]
    step = make_step("project", params, None, inputs)
    if not force and store.identify(output) == step["id"] and (not weights or Path(weights).exists()):
        return say(f"{output}: up to date.")
    if output == weights:
        raise UsageError("-o and --weights name the same file", "Choose another name for one.", file=output)
    for target in filter(None, (output, weights)):
        store.refuse(target, force, [file, *how.files()], store.HDF5 if target == output else ())
    if dry_run:
        m, size = recipe.width(), e.n * recipe.width() * np.dtype(kept).itemsize / 1e6
        return options.plan([f"project {file}: {e.n} x {e.d} on {m} columns by {recipe.label} to {output}, {size:.1f} MB"])
    to = basis(e, recipe, double=kept == "float64", exact=exact)
    options.notes(e, to)
    if e.x.dtype.itemsize == 8 and dtype is None:
        say(f"{file}: is float64 and computed so, but stored as float32; --dtype float64 keeps it.")
    attention: list[np.ndarray] = []
    _write(output, e, to, kept, device, chain([e, *recipe.spares], step), force, attention if weights else None)
    if weights:
        _write_weights(weights, e, recipe, np.concatenate(attention), force)
    say(f"{output}: {e.n} x {recipe.width()}, {recipe.label} to {len(to.anchors)} anchors.")


def _write(
    output: str,
    e: Embedding,
    to: Basis,
    dtype: str,
    device: str,
    steps: list[dict[str, object]],
    force: bool,
    attention: list[np.ndarray] | None,
) -> None:
    with progress("projecting") as advance:
        blocks = relative_blocks(e.x, to, device, None if attention is None else attention.append)
        store.write(
            output,
            _counted(blocks, e.n, advance),
            shape=(e.n, to.recipe.width()),
            dtype=dtype,
            ids=e.ids,
            obs=e.obs,
            var=to.recipe.var(),
            kind=RELATIVE,
            space=to.recipe.space(),
            source_space=e.space,
            steps=steps,
            uns=_lasting(output, to),
            force=force,
        )


def _lasting(output: str, to: Basis) -> dict[str, np.ndarray]:
    """The statistics that the format takes; what is too large for it is left out, and said."""
    large = [name for name, values in to.statistics.items() if values.size > STATISTIC]
    if large:
        say(f"{output}: {', '.join(large)} is too large to keep, so --statistics cannot take it from this file.")
    return {name: values for name, values in to.statistics.items() if name not in large}


def _counted(blocks: Iterator[np.ndarray], total: int, advance) -> Iterator[np.ndarray]:  # type: ignore[no-untyped-def]
    done = 0
    for block in blocks:
        done += len(block)
        advance(done, total)
        yield block


def _write_weights(target: str, e: Embedding, recipe: Recipe, attention: np.ndarray, force: bool) -> None:
    """One line for each item: its id, and how much attention each similarity function got."""
    names = list(recipe.similarities)
    records: list[Record] = [
        {"id": i.decode(errors="backslashreplace"), **dict(zip(names, row, strict=True))}
        for i, row in zip(e.ids.tolist(), attention.tolist(), strict=True)
    ]
    store.write_bytes(target, store.encoded(target, records, ["id", *names]), force)
    means = ", ".join(f"{name} {share:.3f}" for name, share in zip(names, attention.mean(0), strict=True))
    say(f"{target}: mean attention {means}.")


def _audit(file: str, how: options.How, given: options.Given, seed: int, kind: str | None) -> None:
    e = in_id_order(store.read(file))
    how = how if how.similarity or how.aggregator else replace(how, similarity=["all"])
    if how.anchors:
        recipe = read_recipe(how, given)
    else:
        rows = e.training_rows()
        some = np.sort(np.random.default_rng(seed).permutation(rows)[: min(ANCHORS, max(1, len(rows) // 2))])
        recipe = read_recipe(how, given, e.ids[some])
    some_items = sample(e, recipe)
    say(f"{file}: {some_items.n} items and anchors in float64; change over the standard deviation, 0 where nothing moves.")
    with progress("auditing") as advance:
        records = audit(some_items, recipe, seed, advance)
    write([described(r) for r in records], ["similarity", *TRANSFORMATIONS], kind)


def _select(files: list[str], how: options.How, given: options.Given, seed: int, kind: str | None) -> None:
    how = how if how.similarity else replace(how, similarity=["all"])
    recipe = read_recipe(how, given)
    with progress("selecting") as advance:
        records = select([in_id_order(store.read(f)) for f in files], recipe, seed, advance)
    write(records, ["rank", "similarities", "agreement", "low", "high", "correlation", "n"], kind)
