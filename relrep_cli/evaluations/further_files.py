"""Files that `evaluate` writes beside its table: scores of items, ROC curves and their points, rate and distortion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from relrep_cli import store
from relrep_cli.base.errors import UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import PLAIN_STYLE, Record, Style
from relrep_cli.comparison.shown_names import short_names
from relrep_cli.embedding import bare_name
from relrep_cli.evaluations.findings import Finding
from relrep_cli.plots.curves import curves
from relrep_cli.plots.drawing import ready
from relrep_cli.plots.rates import rates

ITEM_COLUMNS = {
    "foreign": ("file", "id", "score", "threshold", "foreign"),
    "search": ("file", "query", "rank", "hit", "cosine", "distance", "right"),
}  # by task


def check_item_file(target: str, inputs: Sequence[str], tasks: Sequence[str], force: bool) -> None:
    """Raise UsageError or WriteError, before any work, where `target` cannot hold the records of judged items."""
    if not target:
        return
    able = [name for name in tasks if name in ITEM_COLUMNS]
    if len(able) != 1:
        finding = "holds the rows of one task" if able else "only tasks foreign and search write rows"
        remedy = f"Run {' and '.join(able)} apart." if able else "Write --task foreign or --task search, or remove --rows."
        raise UsageError(finding, remedy, place="--rows")
    store.agree(target)
    store.refuse(target, force, inputs, store.TABLES)


def write_items(target: str, items: Sequence[Record], task: str, force: bool, style: Style = PLAIN_STYLE) -> None:
    """Write the records of all judged items of all files."""
    here = set().union(*items)
    columns = [name for name in ITEM_COLUMNS[task] if name in here or not items]
    more = [name for name in dict.fromkeys(name for item in items for name in item) if name not in columns]
    content = store.encoded(target, items, [*columns, *more], Style(quote_formulas=style.quote_formulas))
    store.write_bytes(target, content, force)


def write_rates(target: str, points: Sequence[Record], force: bool) -> None:
    """Draw the recall of shorter vectors against their size. points: records of task compression."""
    sizes = [r for r in points if r.get("dims")]
    if target and sizes:
        called = short_names(list(dict.fromkeys(r["file"] for r in sizes)))
        by_file: dict[str, list[Record]] = {}
        for r in sizes:
            by_file.setdefault(called[r["file"]], []).append(r)
        name = str(sizes[0]["name"]).partition(" ")[0]
        store.write_bytes(target, rates(by_file, name, target), force)


@dataclass(frozen=True)
class CurveFiles:
    """Where to draw and to write the ROC curves; "" for nowhere."""

    plot: str = ""
    points: str = ""

    def check(self, inputs: Sequence[str], anomaly: bool, compression: bool) -> None:
        """Raise UsageError or WriteError, before any work.

        inputs: every file that is read. anomaly: whether a task makes curves. compression: whether that task runs.
        """
        plot, curve = self.plot, self.points
        if plot and not (anomaly or compression):
            remedy = "Name --anomalies FILE, or write --task compression."
            raise UsageError("only tasks anomaly and compression have a picture", remedy, file=f"--plot {plot}")
        if plot and anomaly and compression:
            raise UsageError("--plot draws one task", "Run tasks anomaly and compression apart.", file=f"--plot {plot}")
        if curve and not anomaly:
            raise UsageError("only task anomaly has a ROC curve", "Name --anomalies FILE.", file=f"--curve {curve}")
        if plot:
            ready(plot)
        store.agree(curve)
        store.refuse_same({"--plot": plot, "--curve": curve})
        for target in filter(None, (plot, curve)):  # an existing file is refused later, unless it holds these very results
            store.refuse(target, True, inputs, store.TABLES if target == curve else ())

    def write(self, drawn: Mapping[str, Finding], force: bool, style: Style = PLAIN_STYLE) -> None:
        """Write the files. drawn: findings with a curve, by name."""
        plot, curve = self.plot, self.points
        points = {file: f.curve for file, f in drawn.items() if f.curve is not None}
        if curve:
            names = ("file", "false_positive_rate", "true_positive_rate", "threshold")
            flat = [dict(zip(names, (file, *row), strict=True)) for file, rows in points.items() for row in rows.tolist()]
            store.write_bytes(curve, store.encoded(curve, flat, names, Style(quote_formulas=style.quote_formulas)), force)
        if plot and drawn:
            called = short_names(list(points)) if len(points) > 1 else {file: bare_name(file) for file in points}
            shown = {f"{called[file]}, AUC {drawn[file].value:.4f}": rows for file, rows in points.items()}
            notes = {f.convention for f in drawn.values()}
            note = notes.pop() if len(notes) == 1 else ""  # where they differ, the table has them
            store.write_bytes(plot, curves(shown, "anomalies: ROC curve", note, plot), force)
