"""Picture of rate and distortion: how much of the neighbours shorter vectors find, by their size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from relrep_cli.base.errors import printable
from relrep_cli.base.output import Record
from relrep_cli.plots.drawing import CLASSES, INK, drawing, saved

MARKERS = "osD^v<>P"


def rates(rates_of_files: Mapping[str, Sequence[Record]], measure: str, target: str) -> bytes:
    """A panel for each file, a line for each kind of number through its numbers of columns, with 95 % intervals.

    rates_of_files: records by file, with `dtype`, `dims`, `bytes`, `value`, `low` and `high`. measure: what the values are.
    """
    from matplotlib.figure import Figure

    each = [r for records in rates_of_files.values() for r in records]
    kinds = sorted(
        {r["dtype"] for r in each}, key=lambda kind: -max(r["bytes"] / r["dims"] for r in each if r["dtype"] == kind)
    )
    with drawing():
        figure = Figure(figsize=(max(4.8, 3.6 * len(rates_of_files)), 3.6), layout="constrained")
        panels = figure.subplots(1, len(rates_of_files), squeeze=False, sharey=True)[0]
        for axes, (file, records) in zip(panels, rates_of_files.items(), strict=True):
            for number, kind in enumerate(kinds):
                line = sorted((r for r in records if r["dtype"] == kind), key=lambda r: r["bytes"])
                values = [r["value"] for r in line]
                margins = [[r["value"] - r["low"] for r in line], [r["high"] - r["value"] for r in line]]
                style = {"color": CLASSES[number % len(CLASSES)], "marker": MARKERS[number % len(MARKERS)], "ms": 4}
                axes.errorbar([r["bytes"] for r in line], values, margins, label=kind, lw=1.4, capsize=2, **style)
                for r in line:
                    axes.annotate(str(r["dims"]), (r["bytes"], r["value"]), (3, -8), textcoords="offset points", fontsize=6)
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(lambda size, _: f"{size:g}")
            axes.set(title=printable(file, 40), xlabel="bytes of a vector")
            axes.set_ylim(bottom=0)
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel(printable(measure, 60))
        panels[-1].legend(frameon=False, fontsize=7, loc="best")
        figure.suptitle(f"{printable(measure, 60)} by size; each point names its number of columns", fontsize=9, color=INK)
        return saved(figure, target)
