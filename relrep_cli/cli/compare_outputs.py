"""How compare hands over its results: to standard output or a file, as records, as a matrix, as a picture."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from relrep_cli import store
from relrep_cli.base.errors import DATA, DONE, NO, DataError, UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Mark, Record, Style, emit, render, say, write
from relrep_cli.base.text_tables import FOR_EYES, below
from relrep_cli.cli.picture_options import check_names, renamed
from relrep_cli.comparison.corrected_values import NOTE, high_by_chance
from relrep_cli.comparison.matrix import Matrix, matrix
from relrep_cli.comparison.pairs_of_files import Rows, counts_for_gate, misses_gate
from relrep_cli.comparison.plans import Plan
from relrep_cli.comparison.result_columns import columns_of
from relrep_cli.comparison.runs import Results, Views
from relrep_cli.comparison.shown_names import files_of_sides
from relrep_cli.embedding import ABSOLUTE, Embedding, text
from relrep_cli.engine.estimates import takes
from relrep_cli.plots.looks import PLAIN_LOOK, Look
from relrep_cli.reports.endings import ENDINGS as PAGES
from relrep_cli.reports.endings import is_report
from relrep_cli.store.h5ad_copies import is_h5ad, same_file, write_copy
from relrep_cli.store.reading import PLAIN, Reading

ROWS_IN_HDF5 = (".h5", ".hdf5")
NO_ROW_VALUES = "none of the metrics has a value for each row"
LISTED = 10  # pairs that --dry-run and --fail-under name
ERRORS = 3  # different ones that a message holds


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Where results go, and how they are written. An empty name is no file; for `output` it is standard output.

    reading: how the files were read, for a copy of one of them.
    """

    output: str
    per_row: str
    plot: str
    style: Style
    force: bool
    look: Look = PLAIN_LOOK
    reading: Reading = PLAIN

    @property
    def is_report(self) -> bool:
        """Whether the output is a page."""
        return is_report(self.output)

    def refuse(self, inputs: Sequence[str], files: Sequence[str] = ()) -> None:
        """Raise UsageError when a target is an input or another target, or must not be replaced; WriteError for a bad place.

        files: those that the picture may have names for.
        """
        check_names(self.look.names, len(files))
        for target in filter(None, (self.output, self.plot)):  # an existing file may hold these very results: decided later
            store.refuse(target, True, inputs, store.TABLES if target == self.output else ())
        if self.per_row:
            store.refuse(self.per_row, self.force, inputs)
        store.refuse_same({"-o": self.output, "--per-row": self.per_row, "--plot": self.plot})
        store.agree(self.output, self.style, more=PAGES)
        if self.per_row and is_h5ad(self.per_row) and not any(map(is_h5ad, inputs)):
            remedy = "Name a .tsv, .parquet or .h5 file."
            raise UsageError(
                "it is written as a copy of a compared .h5ad, and none is compared", remedy, place=f"--per-row {self.per_row}"
            )
        if self.per_row and not is_h5ad(self.per_row):
            store.agree(self.per_row, more=ROWS_IN_HDF5)


def write_results(plan: Plan, results: Results, views: Views, targets: Targets, projected: bool, command: str = "") -> None:
    """Write everything that the plan asks for. projected: whether there are relative views. command: the command line, for a
    report.

    Raises UsageError when row values are asked for and no metric has some; WriteError.
    """
    named = partial(renamed, files=plan.files, names=targets.look.names)
    if (plan.outputs.row_table or plan.outputs.worst) and results.rows:
        listed = {r.record["metric"] for r in results.rows}
        if lost := [metric for metric in plan.metrics if metric not in listed]:
            say(f"{', '.join(lost)}: no value for each row, so not among the items.")
    if plan.outputs.row_table:
        _write_row_values(targets, results.rows, projected, views, named)
    table = _named(matrix(results.records, *plan.sides), plan, targets.look) if plan.outputs.one_value_per_pair else None
    if table is not None and plan.outputs.heatmap:
        from relrep_cli.plots.matrices import heatmap

        in_layers = any("::" in uri for uri in plan.files)  # layers stay in their own order
        store.write_bytes(targets.plot, heatmap(table, targets.plot, not in_layers, targets.look), targets.force)
    elif plan.outputs.distributions:
        _draw_distributions(targets, results)
    if targets.is_report and command:
        from relrep_cli.cli.compare_report import write_report

        write_report(plan, results, views, targets, command)
    elif plan.outputs.worst:
        _write_worst(plan.outputs.worst, results.rows, views, targets, projected, named)
    elif table is not None and plan.outputs.matrix:
        _write_matrix(table, results.records, targets)
    else:
        _write_records(named(results.records), columns_of(results, projected), targets)


def _write_records(records: Sequence[Record], columns: Sequence[str], targets: Targets) -> None:
    if targets.output and targets.output != "-":
        content = store.encoded(targets.output, records, columns, targets.style)
        store.write_bytes(targets.output, content, targets.force)
    else:
        write(records, columns, targets.style, Mark("value", high_by_chance, NOTE))


def _write_matrix(m: Matrix, records: Sequence[Record], targets: Targets) -> None:
    """Write the matrix. Formats for eyes have the convention below it, and stars for small q-values; in others, a note gives
    the convention. Errors are notes, too."""
    columns = [m.metric, *m.columns]
    for error in dict.fromkeys(r["error"] for r in records if "error" in r):
        say(error)
    in_file = targets.output not in ("", "-")
    kind = store.format_of(targets.output, targets.style) if in_file else targets.style.on_stdout
    if kind in FOR_EYES:
        columns = [m.metric, *m.shown_labels[1]]
        lines = filter(None, (m.convention_line(), m.closest_line()))
        content = render(m.marked_records(), columns, kind, verbatim=True) + "".join(below(line, kind) for line in lines)
    elif in_file:
        store.write_bytes(targets.output, store.encoded(targets.output, m.records(), columns, targets.style), targets.force)
        return _say_below(m)
    else:
        content = render(m.records(), columns, kind, verbatim=True, quote_formulas=targets.style.quote_formulas)
    if in_file:
        return store.write_bytes(targets.output, content.encode(errors="backslashreplace"), targets.force)
    emit(content)
    if kind not in FOR_EYES:
        _say_below(m)


def _say_below(m: Matrix) -> None:
    """What stands below a matrix for eyes, as notes."""
    for line in filter(None, (m.convention_line(), m.closest_line())):
        say(line)


def _named(m: Matrix, plan: Plan, look: Look) -> Matrix:
    """The matrix with the names that were asked for."""
    if not look.names:
        return m
    if m.metric in look.names:
        raise UsageError(f"--names calls a file {m.metric}, and so the metric is called", "Give it another name.")
    names = dict(zip(plan.files, look.names, strict=True))
    rows, columns = (tuple(names[uri] for uri in side) for side in plan.sides)
    return replace(m, rows=rows, columns=columns, labels=(rows, columns), sides=files_of_sides(*plan.sides))


def _draw_distributions(targets: Targets, results: Results) -> None:
    """Draw the row values of each metric that has some."""
    from relrep_cli.plots.matrices import Panel, distributions

    if not results.rows:
        raise UsageError(
            NO_ROW_VALUES, "For two files, the plot shows these; add a metric such as cosine.", place=_plot(targets)
        )
    keys = ("a", "b", "metric", "k", "projection")
    ks = {(own.record["metric"], own.record["k"]) for own in results.rows}
    several = {metric for metric, count in Counter(metric for metric, _ in ks).items() if count > 1}
    panels = [
        Panel(record, own.values, record["metric"] in several)
        for own in results.rows
        for record in results.records
        if record["value"] is not None and all(record.get(k) == own.record[k] for k in keys if k in record and k in own.record)
    ]
    store.write_bytes(targets.plot, distributions(panels, targets.plot, targets.look), targets.force)


def _plot(targets: Targets) -> str:
    return f"--plot {targets.plot}"


def _write_worst(
    count: int, rows: Sequence[Rows], views: Views, targets: Targets, projected: bool, named: Callable[..., list[Record]]
) -> None:
    """Write the items that agree least, worst first."""
    if not rows:
        raise UsageError(NO_ROW_VALUES, "Add a metric such as cosine, or remove --worst.", place="--worst")
    from relrep_cli.comparison.worst_items import worst

    records, notes = worst(rows, count, _embeddings(views), projected)
    keys = ("id", "label", "a", "b", "metric", "k", "projection", "value")
    _write_records(named(records), [key for key in keys if any(key in r for r in records)], targets)
    for note in notes:
        say(note)


def _write_row_values(
    targets: Targets, rows: Sequence[Rows], projected: bool, views: Views, named: Callable[..., list[Record]]
) -> None:
    """Write the row values as a table, as an embedding file with one column for each metric of one pair of files, or into a
    copy of the first AnnData file among them."""
    if not rows:
        raise UsageError(NO_ROW_VALUES, "Add a metric such as cosine, or remove --per-row.", place="--per-row")
    from relrep_cli.comparison.row_values import label_of_each, row_keys, row_matrix, row_records

    target, keys = targets.per_row, row_keys(rows, projected)
    if is_h5ad(target):
        return _annotate(targets, rows, views, named)
    files = _embeddings(views)
    labels = [label_of_each(r.ids, files[r.record["a"]], files[r.record["b"]]) for r in rows]
    rows = _renamed_rows(rows, named)
    if not target.lower().endswith(ROWS_IN_HDF5):
        records = row_records(rows, keys, labels)
        columns = ["id", *(["label"] if any("label" in r for r in records) else []), *keys, "value"]
        quoted = Style(quote_formulas=targets.style.quote_formulas)
        return store.write_bytes(target, store.encoded(target, records, columns, quoted), targets.force)
    ids, x, names = row_matrix(rows, keys)
    store.write(
        target,
        [x],
        shape=x.shape,
        dtype="float64",
        ids=ids,
        obs={"label": text(map(str, labels[0]))} if None not in labels[0] else {},
        var={"id": text(names)},
        kind=ABSOLUTE,
        space="row values",
        steps=[],
        force=targets.force,
    )


def _annotate(targets: Targets, rows: Sequence[Rows], views: Views, named: Callable[..., list[Record]]) -> None:
    from relrep_cli.comparison.row_values import obs_additions

    uri = next(uri for uri, known in views.items() if isinstance(known, list) and is_h5ad(uri))
    own = [r for r in rows if any(same_file(uri, r.record[side]) for side in ("a", "b"))]
    cells = store.read(uri, targets.reading).ids  # the file's own order: views sort their rows by id, and may hold one split
    write_copy(uri, targets.per_row, obs_additions(_renamed_rows(own, named), cells), targets.force)


def _embeddings(views: Views) -> dict[str, Embedding]:
    return {uri: known[0].embedding for uri, known in views.items() if not isinstance(known, DataError)}


def _renamed_rows(rows: Sequence[Rows], named: Callable[..., list[Record]]) -> list[Rows]:
    return [replace(own, record=record) for own, record in zip(rows, named([own.record for own in rows]), strict=True)]


def prints_matrix(wanted: bool | None, several: bool, metrics: int, more: bool) -> bool:
    """Whether to print a matrix. By default, on a terminal, one metric of several files, when nothing else is asked for."""
    return (sys.stdout.isatty() and several and metrics == 1 and not more) if wanted is None else wanted


def describe(plan: Plan, views: Views, processes: int = 1) -> list[str]:
    """One line for each pair of the plan, and one for the cost of all, for --dry-run. Reads only files of these pairs."""
    from relrep_cli.comparison.pair_costs import cost_of

    names = ", ".join(plan.metrics)
    lines = [f"compare {_shape(a, views)} with {_shape(b, views)} by {names}" for a, b in plan.pairs[:LISTED]]
    if len(plan.pairs) > LISTED:
        lines.append(f"compare {len(plan.pairs) - LISTED} more pairs of files")
    known = {uri: views[uri] for uri in dict.fromkeys(itertools.chain(*plan.pairs))}
    cost, unknown = cost_of(plan, {uri: usable_views for uri, usable_views in known.items() if isinstance(usable_views, list)})
    lines += [f"leave out a file: {error}" for error in known.values() if isinstance(error, DataError)]
    return [*lines, takes(cost, processes, unknown)]


def _shape(uri: str, views: Mapping[str, object]) -> str:
    known = views[uri]
    if not isinstance(known, list):
        return f"{uri} (unusable)"
    return f"{uri} ({known[0].embedding.n} x {known[0].embedding.d})"


def verdict(records: Sequence[Record], fail_under: float | None) -> int:
    """The exit code: DATA when a file could not be used, NO when a value misses --fail-under, else DONE. Prints why."""
    broken = sum("error" in r for r in records)
    if broken:
        for error in list(dict.fromkeys(r["error"] for r in records if "error" in r))[:ERRORS]:
            say(error)
        say(f"{broken} of {len(records)} results are missing: see their error.")
    missed = [r for r in records if fail_under is not None and counts_for_gate(r) and misses_gate(r, fail_under)]
    for r in missed[:LISTED]:
        value = "n/a" if r["value"] is None else r["value"]
        say(f"{r['a']} and {r['b']}: {r['metric']} is {value}, which misses {fail_under}.")
    if len(missed) > LISTED:
        say(f"{len(missed) - LISTED} more values miss {fail_under}.")
    return DATA if broken else NO if missed else DONE
