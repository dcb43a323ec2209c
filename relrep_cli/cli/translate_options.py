"""Options of `relrep translate`, and which of them go together."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

import typer

from relrep_cli import store
from relrep_cli.base.errors import UsageError, unknown
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.cli import options as shared
from relrep_cli.cli.engine_options import RowOptions, refuse_no_rows
from relrep_cli.cli.options import Given, Printing
from relrep_cli.cli.reading_options import TrustingOptions
from relrep_cli.stitching.translation import FIT_ROWS
from relrep_cli.stitching.translation_quality import INDEX
from relrep_cli.stitching.translators import TRANSLATORS
from relrep_cli.stitching.universe import UNIVERSES
from relrep_cli.stitching.universe_files import FIT_ROWS as UNIVERSE_ROWS

ORTHOGONAL, UNIVERSE = "orthogonal", "universe"
LEAST_RECALL = 0.9
FEWEST_ROWS = 12  # that an index can have which says what is retained


def _file(name: str, *more: str, help: str) -> Any:
    return typer.Option(f"--{name}", *more, help=help, metavar="FILE", show_default=False)


@dataclass(frozen=True, kw_only=True)
class Options:
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Embedding file to translate; two or more to build a universe.", show_default=False
        ),
    ]
    into: Annotated[
        str, _file("into", help="Embedding file of the target space, with items of FILE; or a universe that FILE joins.")
    ] = ""
    anchors: Annotated[
        str,
        _file("anchors", "-a", help="Fit on these items: an anchor file, ids or pairs [default: all shared training rows]."),
    ] = ""
    anchor_vectors: Annotated[
        list[str], _file("anchor-vectors", help="More files that hold vectors of anchors; used for files of the same space.")
    ] = field(default_factory=list)
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            help=f"How to fit the map [default: {ORTHOGONAL}; {UNIVERSE} for a universe]. One of: "
            f"{', '.join([*TRANSLATORS, *UNIVERSES])}.",
            metavar="NAME",
            show_default=False,
        ),
    ] = ""
    fit_rows: Annotated[
        int | None,
        typer.Option(
            "--fit-rows",
            help=f"Without --anchors: fit on at most this many shared training rows [default: {FIT_ROWS}; {UNIVERSE_ROWS} "
            "for a universe].",
            min=2,
            show_default=False,
        ),
    ] = None
    index_rows: Annotated[
        int | None,
        typer.Option(
            "--index-rows",
            help=f"Look items up in an index of at most this many rows of --into, in memory [default: {INDEX}].",
            min=FEWEST_ROWS,
            show_default=False,
        ),
    ] = None
    save_map: Annotated[str, _file("save-map", help="Save the map, for files that hold no anchor.")] = ""
    map: Annotated[str, _file("map", help="Translate by a map that was saved, in place of --into.")] = ""
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Print whether to bridge the index of --into or to embed it anew: all methods, sizes of the index, numbers of "
            "anchors and thresholds. Exit code 1 unless a bridge will do.",
        ),
    ] = False
    least_recall: Annotated[
        float,
        typer.Option(
            "--least-recall",
            help="With --report: recall@10 that a bridge must reach; with --queries, as a share of what re-embedding reaches.",
            min=0,
            max=1,
        ),
    ] = LEAST_RECALL
    threshold: Annotated[
        str,
        typer.Option(
            "--threshold",
            help="With --report: cosines that results of the old model must pass, such as 0.6,0.7, to map to the new one.",
            metavar="NUMBERS",
            show_default=False,
        ),
    ] = ""
    queries: Annotated[
        str, _file("queries", help="With --report: embedding file of queries, by the encoder of FILE; needs --relevant.")
    ] = ""
    relevant: Annotated[
        str,
        _file(
            "relevant", help="With --queries: text file of queries and the documents that are relevant to them, a pair a line."
        ),
    ] = ""
    output: shared.Output = ""
    dtype: shared.Dtype = None
    force: shared.Force = False
    dry_run: shared.DryRun = False
    printing: Printing
    seed: shared.Seed = 0
    reading: TrustingOptions
    running: RowOptions
    given: Given


def check(options: Options) -> None:
    """Raise UsageError for options that do not go together."""
    if options.into and options.map:
        raise UsageError(
            "--into and --map both name the target", "Give --into FILE to fit a map, or --map FILE to use a saved one."
        )
    _check_method(options)
    several = len(options.files) > 1
    if several and (options.into or options.map):
        option = "--into" if options.into else "--map"
        raise UsageError(f"{option} translates one file, and {len(options.files)} are named", "Name one FILE.")
    if not several and not options.into and not options.map:
        raise UsageError(
            "neither --into nor --map names the target", "Give --into FILE, --map FILE, or more files to build a universe."
        )
    needless: dict[str, Any] = {"--anchors": options.anchors, "--anchor-vectors": options.anchor_vectors}
    needless |= {
        "--index-rows": options.index_rows,
        "--save-map": options.save_map,
        "--method": options.method,
        "--fit-rows": options.fit_rows,
    }
    if options.map:
        _check_saved_map(options, next((name for name, value in needless.items() if value), ""))
        options.given.refuse(TRANSLATORS, "--map, which is fitted already")
        options.given.refuse(UNIVERSES, "--map, which is fitted already")
    if several and options.index_rows:
        raise UsageError("--index-rows measures a map into one index", "Name the index with --into FILE, or leave it out.")
    if several and options.output:
        raise UsageError(
            "-o writes one file, and a universe is built of several",
            "Keep it with --save-map FILE; then translate each file with --map FILE.",
        )
    if options.report and (not options.into or options.output or options.save_map):
        clash = "needs --into INDEX" if not options.into else "prints, and writes neither -o nor --save-map"
        raise UsageError(f"--report {clash}", "Give --into FILE." if not options.into else "Remove -o and --save-map.")
    _check_queries(options)
    if options.threshold and not options.report:
        raise UsageError("--threshold does nothing without --report", "Add --report, or leave it out.")
    if options.least_recall != LEAST_RECALL and not options.report:
        raise UsageError("--least-recall does nothing without --report", "Add --report, or leave it out.")
    if options.anchors and options.fit_rows:
        raise UsageError("--fit-rows counts training rows, and --anchors names the items to fit on", "Leave one out.")
    if options.running.part is not None and not options.map:
        raise UsageError("--shard would fit the map in every part", "Fit it once with --save-map, then name it with --map.")
    refuse_no_rows(options.running, options.output, options.files)
    store.refuse_same({"-o": options.output, "--save-map": options.save_map})


def _check_saved_map(options: Options, needless: str) -> None:
    measuring: dict[str, Any] = {"--report": options.report, "--least-recall": options.least_recall != LEAST_RECALL}
    measuring |= {"--queries": options.queries, "--relevant": options.relevant, "--threshold": options.threshold}
    if option := next((name for name, value in measuring.items() if value), ""):
        raise UsageError(
            f"{option} measures maps that this run fits, and --map names a saved one",
            "To measure a saved map, translate queries with -o QUERIES.npz, then run relrep evaluate INDEX --task search "
            "--queries QUERIES.npz --relevant FILE --least-recall 0.9.",
        )
    if needless:
        raise UsageError(f"{needless} does not go with --map, which is fitted already", "Leave it out.")
    if not options.output:
        raise UsageError("-o FILE is missing", "Name the output file.")


def _check_method(options: Options) -> None:
    if "," in options.method:
        rest = "; leave it out to try all." if options.report else "."
        raise UsageError(f"--method takes one name, and {options.method} is a list", f"Name one method{rest}")
    if options.method and options.method not in TRANSLATORS and options.method not in UNIVERSES:
        raise unknown("method", options.method, [*TRANSLATORS, *UNIVERSES])


def _check_queries(options: Options) -> None:
    if bool(options.queries) != bool(options.relevant):
        named, other = ("--queries", "--relevant") if options.queries else ("--relevant", "--queries")
        raise UsageError(f"{named} needs {other}", f"Give {other} FILE, too.")
    if options.queries and not options.report:
        raise UsageError("--queries does nothing without --report", "Add --report, or leave it out.")
