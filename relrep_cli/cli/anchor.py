"""`relrep anchor`: choose reference items, find pairs of them, and judge them."""

from __future__ import annotations

from typing import Annotated

import typer

from relrep_cli import store
from relrep_cli.anchors.anchor_files import NUMBER, AnchorChoice, write_anchors
from relrep_cli.anchors.candidates import Strategy
from relrep_cli.anchors.pair_search import PairSearch, write_pairs
from relrep_cli.anchors.row_ranges import DIVISIBLE
from relrep_cli.anchors.strategies import ON_DEVICE, STRATEGIES
from relrep_cli.base.errors import DONE, UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Style, write
from relrep_cli.cli.engine_options import ProcessOptions, refuse_standard_input
from relrep_cli.cli.options import Device, DryRun, Force, Given, Output, Printing, Seed, command, names_of
from relrep_cli.cli.reading_options import TrustingOptions
from relrep_cli.numerics.devices import NUMPY, chosen
from relrep_cli.relative.anchor_report import COLUMNS, report_anchors

TITLE = "What to choose"
EXAMPLES = (
    "relrep anchor a.h5 -n 300 --strategy per-class -o anchors.h5",
    "relrep anchor a.h5 b.h5 -n 300 --strategy kmeans --joint -o anchors.h5",
    "relrep anchor a.h5 -n 300 --ids-only > anchors.txt",
    "relrep anchor a.h5 b.h5 -n 300 --strategy bootstrap --seeds known.tsv -o pairs.tsv",
    "relrep anchor a.h5 b.h5 -n 300 --strategy unsupervised -o pairs.tsv",
    "relrep anchor a.h5 b.h5 --report anchors.h5",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Embedding files whose shared items are chosen from; - is stdin.", show_default=False
        ),
    ]
    number: Annotated[
        int | None,
        typer.Option(
            "--number", "-n", help=f"How many anchors [default: {NUMBER}, or all ids of --source]", min=1, show_default=False
        ),
    ] = None
    strategy: Annotated[str, names_of(STRATEGIES, "How to choose.", "--strategy")] = "random"
    joint: Annotated[
        bool,
        typer.Option(
            "--joint", help="Choose by the vectors of all FILEs, standardised and side by side, instead of the first alone."
        ),
    ] = False
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            help="With from-file, the list of ids; with out-of-domain, files of another collection, one for each FILE's space.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None
    seeds: Annotated[
        str, typer.Option("--seeds", help="With bootstrap: a pairs file of known pairs.", metavar="FILE", show_default=False)
    ] = ""
    confidence: Annotated[
        float, typer.Option("--confidence", help="Least confidence of the pairs; below it nothing is written.", min=0, max=1)
    ] = 0.2
    truth: Annotated[
        str,
        typer.Option(
            "--truth",
            help="Pairs file that scores the pairs found; `id` for equal ids.",
            metavar="FILE",
            show_default=False,
        ),
    ] = ""
    report: Annotated[
        str,
        typer.Option(
            "--report",
            help="Report the quality of this file's anchors for FILEs.",
            metavar="FILE",
            show_default=False,
        ),
    ] = ""
    output: Output = ""
    ids_only: Annotated[bool, typer.Option("--ids-only", help="Print the ids, one a line.")] = False
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Choose from this split, or from all [default: train, where the file has splits].",
            show_default=False,
        ),
    ] = None
    device: Device = NUMPY
    force: Force = False
    dry_run: DryRun = False
    printing: Printing
    seed: Seed = 0
    reading: TrustingOptions
    running: ProcessOptions
    given: Given


@command(Options, STRATEGIES)
def anchor(options: Options) -> int:
    """Choose reference items, by default from the training split.

    Of several files, the items that all of them share are chosen from. The anchor file is an embedding file of the chosen
    items: ids, labels, vectors, and how they were chosen; of mixtures, their means and the weights that make them.

    bootstrap and unsupervised find pairs of items of two files, which need not share ids: a table with the columns a and b,
    which project, compare and stitch take as --anchors. Their confidence is printed; when it is too low, nothing is written and
    the exit code is 1.
    """
    style = options.printing.style
    reading = options.reading.reading
    if options.report:
        if options.output or options.ids_only:
            raise UsageError("--report chooses no anchors, so it writes none", "Leave out -o and --ids-only.")
        write(
            report_anchors(options.report, options.files, options.truth, options.split, options.seed, reading), COLUMNS, style
        )
        return DONE
    params = options.given.choose(STRATEGIES, [options.strategy])[options.strategy]
    entry = STRATEGIES[options.strategy]
    _check(entry, options, style)
    device = chosen(options.device)
    spaces = [store.digested(store.read(file, reading)) for file in options.files]
    if entry.gives == "pairs":
        number = options.number or NUMBER
        search = PairSearch(entry.name, params, number, options.seeds, options.truth, options.confidence, options.split)
        return write_pairs(spaces, search, options.output, options.force, options.dry_run, options.seed, style)
    choice = AnchorChoice(
        strategy=entry.name,
        params=params,
        number=options.number,
        joint=options.joint,
        source=(*(options.source or []),),
        split=options.split,
        output=options.output,
        ids_only=options.ids_only,
        force=options.force,
        dry_run=options.dry_run,
        seed=options.seed,
        reading=reading,
        engine=options.running.engine,
        device=device,
    )
    write_anchors(spaces, choice)
    return DONE


def _check(entry: Strategy, options: Options, style: Style) -> None:
    """Raise UsageError for options that do not go together."""
    pairs = entry.gives == "pairs"
    if entry.gives != "items" and options.ids_only:
        raise UsageError(f"--ids-only prints items, and {entry.name} gives {entry.gives}", "Write -o FILE.")
    if not options.output and not options.ids_only:
        raise UsageError("-o FILE is missing", f"Name the output file{'' if pairs else ', or print ids with --ids-only'}.")
    if options.output == "-" and options.ids_only:
        raise UsageError("--ids-only and -o - both write to stdout", "Name a file with -o FILE.")
    if bool(options.source) != (entry.reads in ("list", "collections")):
        takers = ", ".join(name for name, e in STRATEGIES.items() if e.reads in ("list", "collections"))
        if options.source:
            raise UsageError(f"--source does not go with {entry.name}", f"It works with {takers}.")
        raise UsageError(f"--source FILE is missing for {entry.name}", "Name the file to take items from.")
    if bool(options.seeds) != (entry.reads == "seeds"):
        if options.seeds:
            raise UsageError(f"--seeds does not go with {entry.name}", "It works with bootstrap.")
        raise UsageError(f"--seeds FILE is missing for {entry.name}", "Name a file of known pairs.")
    if options.truth and not pairs:
        raise UsageError(
            "--truth scores pairs of items, and this command finds none",
            "Use it with --strategy bootstrap, --strategy unsupervised or --report.",
        )
    if style.format and not pairs:
        raise UsageError(
            "--format and --json print a table, and this command prints none",
            "Use them with a strategy that finds pairs, or with --report.",
        )
    if (options.running.cluster or options.running.log) and pairs:
        raise UsageError(f"--cluster and --log do not go with {entry.name}", "It runs in this process; leave them out.")
    if options.running.engine.elsewhere:
        if entry.name not in DIVISIBLE:
            finding = f"--cluster has nothing to divide in {entry.name}"
            raise UsageError(finding, f"It works with {', '.join(DIVISIBLE)}; leave it out otherwise.")
        refuse_standard_input(options.files)
    if options.device not in (NUMPY, "auto"):
        if entry.name not in ON_DEVICE:
            finding = f"--device has nothing to compute in {entry.name}"
            raise UsageError(finding, f"It works with {', '.join(ON_DEVICE)}; leave it out otherwise.")
        if options.running.engine.elsewhere:
            raise UsageError("--cluster passes over the items in processes, not on a --device", "Leave one of them out.")
    if options.joint and pairs:
        raise UsageError(
            f"--joint needs items that the files share, and {entry.name} finds pairs of different items", "Leave out --joint."
        )
