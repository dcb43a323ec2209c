"""`relrep anchor`: choose reference items, find pairs of them, and judge them."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import numpy as np
import typer

from relrep_cli import store
from relrep_cli.anchors import STRATEGIES, Candidates, choose
from relrep_cli.anchors.id_lists import read_anchors
from relrep_cli.anchors.mixtures import Mixtures
from relrep_cli.base.errors import DONE, DataError, UsageError, printable
from relrep_cli.base.output import emit, say
from relrep_cli.cli import anchor_pairs as pairing
from relrep_cli.cli import options
from relrep_cli.cli.anchor_candidates import candidates, collections
from relrep_cli.cli.anchor_report import judge
from relrep_cli.embedding import ABSOLUTE, Embedding, Step, chain, make_step, row_numbers, select

NUMBER = 300
EXAMPLES = (
    "relrep anchor a.h5 -n 300 --strategy per-class -o anchors.h5",
    "relrep anchor a.h5 b.h5 -n 300 --strategy kmeans --joint -o anchors.h5",
    "relrep anchor a.h5 -n 300 --ids-only > anchors.txt",
    "relrep anchor a.h5 b.h5 -n 300 --strategy bootstrap --seeds known.tsv -o pairs.tsv",
    "relrep anchor a.h5 b.h5 -n 300 --strategy unsupervised -o pairs.tsv",
    "relrep anchor a.h5 b.h5 --report anchors.h5",
)


@options.legacy_command(STRATEGIES)
def anchor(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Embedding files whose shared items are chosen from; - is stdin.", show_default=False
        ),
    ],
    number: Annotated[
        int | None,
        typer.Option(
            "--number", "-n", help=f"How many anchors; {NUMBER}, or all that --source lists.", min=1, show_default=False
        ),
    ] = None,
    strategy: Annotated[str, options.names_of(STRATEGIES, "How to choose.", "--strategy")] = "random",
    joint: Annotated[
        bool,
        typer.Option("--joint", help="See items in all FILEs, standard-scaled side by side, not in the first alone."),
    ] = False,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            help="With from-file, the list of ids; with out-of-domain, files of another collection, one for each FILE's space.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        str, typer.Option("--seeds", help="With bootstrap: a pairs file of known pairs.", metavar="FILE", show_default=False)
    ] = "",
    confidence: Annotated[
        float, typer.Option("--confidence", help="Pairs that are less sure than this are not written.", min=0, max=1)
    ] = 0.2,
    truth: Annotated[
        str,
        typer.Option(
            "--truth",
            help="Pairs file that scores the pairs found; `id` for equal ids.",
            metavar="FILE",
            show_default=False,
        ),
    ] = "",
    report: Annotated[
        str,
        typer.Option(
            "--report",
            help="Print how good the anchors of this file are for FILEs.",
            metavar="FILE",
            show_default=False,
        ),
    ] = "",
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
    format: options.AsFormat = None,
    json: options.AsJson = False,
    seed: options.Seed = 0,
    given: options.Given = options.NOTHING,
) -> int:
    """Choose reference items, from the training split unless told otherwise.

    Of several files, the items that all of them share are chosen from. The anchor file is an embedding file of the chosen
    items: ids, labels, vectors, and how they were chosen; of mixtures, their means and the weights that make them.

    bootstrap and unsupervised find pairs of items of two files, which need not share ids: a table with the columns a and b,
    which project, compare and stitch take as --anchors. How far to trust them is printed; when that is too little, nothing is
    written and the exit code is 1.
    """
    kind = options.format_of(format, json)
    if report:
        return judge(report, files, truth, split, seed, kind, bool(output or ids_only))
    chosen = given.choose(STRATEGIES, [strategy])[strategy]
    entry = STRATEGIES[strategy]
    _agree(entry, output, ids_only, source or [], seeds, truth, joint, kind)
    spaces = [store.digested(store.read(file)) for file in files]
    if entry.gives == "pairs":
        asked = pairing.Asked(strategy, chosen, number or NUMBER, seeds, truth, confidence, split)
        return pairing.find(spaces, asked, output, force, dry_run, seed, kind)
    listed, lists = _listed(entry, source or [])
    others = collections(spaces, source or []) if entry.reads == "collections" else []
    m = number or (len(listed) if listed is not None else NUMBER)
    asked_for = {"strategy": strategy, "number": m, "split": split or "train", **chosen, **({"joint": True} if joint else {})}
    step = make_step("anchor", asked_for, seed, [*spaces, *lists, *others])
    if output and not force and store.identify(output) == step["id"]:
        say(f"{output}: up to date.")
        return DONE
    if output:
        store.refuse(output, force, [*files, *(source or [])], store.HDF5)
    c = candidates(others or spaces, split, joint, listed)
    if dry_run:
        options.plan([f"choose {m} of {len(c)} items of {', '.join(files)} by {strategy}"])
        return DONE
    found = choose(c, strategy, m, np.random.default_rng(seed), chosen)
    steps = chain([*spaces, *others], step)
    if isinstance(found, Mixtures):
        _write_mixtures(output, c, found, steps, force)
    else:
        _hand_over(output, c, found, ids_only, steps, force)
    if others:
        say("for each other space, give the file of that collection with --anchor-vectors when you project.")
    return DONE


def _agree(
    entry: Any, output: str, ids_only: bool, source: list[str], seeds: str, truth: str, joint: bool, kind: str | None
) -> None:
    """Raise UsageError for options that do not go together."""
    pairs = entry.gives == "pairs"
    if entry.gives != "items" and ids_only:
        raise UsageError(f"--ids-only prints items, and {entry.name} gives {entry.gives}", "Write -o FILE.")
    if not output and not ids_only:
        raise UsageError("-o FILE is missing", f"Name the output file{'' if pairs else ', or print ids with --ids-only'}.")
    if output == "-" and ids_only:
        raise UsageError("--ids-only and -o - both write to stdout", "Name a file with -o FILE.")
    if bool(source) != (entry.reads in ("list", "collections")):
        takers = ", ".join(name for name, e in STRATEGIES.items() if e.reads in ("list", "collections"))
        if source:
            raise UsageError(f"--source does not go with {entry.name}", f"It works with {takers}.")
        raise UsageError(f"--source FILE is missing for {entry.name}", "Name the file to take items from.")
    if bool(seeds) != (entry.reads == "seeds"):
        if seeds:
            raise UsageError(f"--seeds does not go with {entry.name}", "It works with bootstrap.")
        raise UsageError(f"--seeds FILE is missing for {entry.name}", "Name a file of known pairs.")
    if truth and not pairs:
        raise UsageError(
            "--truth scores pairs of items, and this command finds none",
            "Use it with --strategy bootstrap, --strategy unsupervised or --report.",
        )
    if kind and not pairs:
        raise UsageError(
            "--format and --json print a table, and this command prints none",
            "Use them with a strategy that finds pairs, or with --report.",
        )
    if joint and pairs:
        raise UsageError(
            f"--joint needs items that the files share, and {entry.name} finds pairs of different items", "Leave out --joint."
        )


def _listed(entry: Any, source: list[str]) -> tuple[np.ndarray | None, list[Embedding]]:
    """The ids that the user lists, and the files they come from, for the record."""
    if entry.reads != "list":
        return None, []
    if len(source) > 1:
        raise UsageError(f"--source: {entry.name} takes one list, and {len(source)} are given", "Name one.", place="--source")
    ids, spare, meaning = read_anchors(source[0])
    if meaning is not None:
        raise DataError(
            "holds pairs or mixtures, not a list of items",
            "Give it to --anchors of project, compare or stitch as it is.",
            file=source[0],
        )
    x = np.zeros((len(ids), 1), np.float32)
    return ids, [store.digested(spare or Embedding(x, ids, uri=source[0]))]


def _line(uri: str, item: str) -> str:
    """An id as a line: as it is for a pipe, safe to show for a terminal."""
    if "\n" in item:
        raise DataError(f"id {printable(item)} holds a line feed, which one id a line cannot say", "Write -o FILE.", file=uri)
    return (printable(item, 4096) if sys.stdout.isatty() else item) + "\n"


def _hand_over(output: str, c: Candidates, places: np.ndarray, ids_only: bool, steps: list[Step], force: bool) -> None:
    e = c.spaces[0]
    chosen = select(e, c.rows[0][places])
    if ids_only:
        emit("".join(_line(e.uri, i.decode(errors="backslashreplace")) for i in chosen.ids.tolist()))
    if output:
        _write(output, chosen, np.asarray(chosen.x), steps, force, {})
        say(f"{output}: {len(places)} anchors of {e.uri}.")


def _write_mixtures(output: str, c: Candidates, found: Mixtures, steps: list[Step], force: bool) -> None:
    e = c.spaces[0]
    x = found.vectors(e, found.names)
    means = Embedding(x, found.names, {}, space=e.space)
    _write(output, means, x, steps, force, found.uns())
    say(f"{output}: {len(x)} mixtures of {len(np.unique(found.items))} items of {e.uri}.")


def _write(output: str, chosen: Embedding, x: np.ndarray, steps: list[Step], force: bool, uns: dict[str, np.ndarray]) -> None:
    store.write(
        output,
        [x],
        shape=x.shape,
        dtype=x.dtype.newbyteorder("=").name,
        ids=chosen.ids,
        obs=chosen.obs,
        var={"id": row_numbers(x.shape[1])},
        kind=ABSOLUTE,
        space=chosen.space,
        steps=steps,
        uns=uns,
        force=force,
    )
