"""`relrep anchor`: choose reference items."""

from __future__ import annotations

import sys
from typing import Annotated

import numpy as np
import typer

from relrep_cli import store
from relrep_cli.anchors import STRATEGIES, choose
from relrep_cli.cli import options
from relrep_cli.embedding import ABSOLUTE, Embedding, chain, make_step, row_numbers, select
from relrep_cli.errors import DataError, UsageError, printable
from relrep_cli.output import emit, say

EXAMPLES = (
    "relrep anchor a.h5 -n 300 --strategy per-class -o anchors.h5",
    "relrep anchor a.h5 -n 300 --ids-only > anchors.txt",
)


@options.command(STRATEGIES)
def anchor(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Embedding file; - is stdin.", show_default=False)],
    number: Annotated[int, typer.Option("--number", "-n", help="How many anchors.", min=1)] = 300,
    strategy: Annotated[str, options.names_of(STRATEGIES, "How to choose.", "--strategy")] = "random",
    output: options.Output = "",
    ids_only: Annotated[bool, typer.Option("--ids-only", help="Print the ids, one a line.")] = False,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", help="Choose from this split, or from all; train where the file has splits.", show_default=False
        ),
    ] = None,
    force: options.Force = False,
    dry_run: options.DryRun = False,
    seed: options.Seed = 0,
    given: options.Given = options.NOTHING,
) -> None:
    """Choose reference items, from the training split unless told otherwise.

    The anchor file is an embedding file of the chosen items: ids, labels, vectors, and how they were chosen.
    """
    if not output and not ids_only:
        raise UsageError("-o FILE is missing; or print ids with --ids-only.")
    if output == "-" and ids_only:
        raise UsageError("--ids-only and -o - both write to stdout; name a file with -o FILE.")
    params = given.choose(STRATEGIES, [strategy])[strategy]
    e = store.digested(store.read(file))
    asked = {"strategy": strategy, "number": number, "split": split or "train", **params}
    step = make_step("anchor", asked, seed, [e])
    if output and not force and store.identify(output) == step["id"]:
        return say(f"{output}: up to date.")
    if output:
        store.refuse(output, force, [file], store.HDF5)
    rows = _candidates(e, split)
    if dry_run:
        return options.plan([f"choose {number} of {len(rows)} items of {file} by {strategy}"])
    rows = choose(e, rows, strategy, number, np.random.default_rng(seed), params)
    if ids_only:
        emit("".join(_line(e, i.decode(errors="backslashreplace")) for i in e.ids[rows].tolist()))
    if output:
        _write(output, e, rows, chain([e], step), force)


def _line(e: Embedding, item: str) -> str:
    """An id as a line: as it is for a pipe, safe to show for a terminal."""
    if "\n" in item:
        raise DataError(f"{e.uri}: id {printable(item)} holds a line feed, which one id a line cannot say; write -o FILE.")
    return (printable(item, 4096) if sys.stdout.isatty() else item) + "\n"


def _candidates(e: Embedding, split: str | None) -> np.ndarray:
    if split == "all":
        return np.arange(e.n)
    rows = e.rows_of_split(split or "train")
    if rows is None and split is None:
        say(f"{e.uri}: has no split; choosing from all {e.n} items.")
        return np.arange(e.n)
    if rows is None or not len(rows):
        found = "no split column" if rows is None else ", ".join(printable(s) for s in np.unique(e.obs["split"]).tolist())
        raise DataError(
            f"{e.uri}: no items of split {split or 'train'!r}; found: {found}. Choose another with --split, or all."
        )
    return rows


def _write(output: str, e: Embedding, rows: np.ndarray, steps: list[dict[str, object]], force: bool) -> None:
    chosen = select(e, rows)
    store.write(
        output,
        [np.asarray(chosen.x)],
        shape=chosen.x.shape,
        dtype=e.x.dtype.newbyteorder("=").name,
        ids=chosen.ids,
        obs=chosen.obs,
        var={"id": row_numbers(e.d)},
        kind=ABSOLUTE,
        space=e.space,
        steps=steps,
        force=force,
    )
    say(f"{output}: {len(rows)} anchors of {e.uri}.")
