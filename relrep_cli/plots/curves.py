"""Pictures of what evaluate found: ROC curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.plots.drawing import CLASSES, INK, drawing, saved, wrapped

DASHES = ("-", "--", ":", "-.")


def curves(found: Mapping[str, np.ndarray], title: str, note: str, target: str) -> bytes:
    """ROC curves by name, (points, 2 or more) false and true positive rates each, with the line of chance."""
    from matplotlib.figure import Figure

    with drawing():
        figure = Figure(figsize=(4.8, 4.9), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=(0, (1, 3)), label="chance")
        for number, (name, points) in enumerate(found.items()):
            colour, dash = CLASSES[number % len(CLASSES)], DASHES[number // len(CLASSES) % len(DASHES)]
            axes.plot(points[:, 0], points[:, 1], color=colour, ls=dash, lw=1.6, label=printable(name, 60), clip_on=False)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="false positive rate", ylabel="true positive rate")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=7, loc="lower right")
        figure.suptitle(f"{title}\n{wrapped(printable(note, 400), 62)}".strip(), fontsize=9, color=INK)
        return saved(figure, target)
