"""Pictures of curves: ROC curves of evaluate, terms of the loss of embed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.plots.drawing import CLASSES, INK, drawing, saved, wrapped

DASHES = ("-", "--", ":", "-.")


def curves(series: Mapping[str, np.ndarray], title: str, note: str, target: str) -> bytes:
    """ROC curves by name, (points, 2 or more) false and true positive rates each, with the line of chance."""
    from matplotlib.figure import Figure

    with drawing():
        figure = Figure(figsize=(4.8, 4.9), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=(0, (1, 3)), label="chance")
        for number, (name, points) in enumerate(series.items()):
            colour, dash = CLASSES[number % len(CLASSES)], DASHES[number // len(CLASSES) % len(DASHES)]
            axes.plot(points[:, 0], points[:, 1], color=colour, ls=dash, lw=1.6, label=printable(name, 60), clip_on=False)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="false positive rate", ylabel="true positive rate")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=7, loc="lower right")
        figure.suptitle(f"{title}\n{wrapped(printable(note, 400), 62)}".strip(), fontsize=9, color=INK)
        return saved(figure, target)


def training(log: Sequence[Mapping[str, float]], title: str, target: str) -> bytes:
    """A panel for each term of the loss over the epochs; the loss itself has that of the held-out rows beside it."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    terms = [name for name in log[0] if name.startswith("train_")]
    epochs = [record["epoch"] for record in log]
    with drawing():
        figure = Figure(figsize=(3.2 * len(terms), 2.8), layout="constrained")
        for number, (axes, term) in enumerate(zip(figure.subplots(1, len(terms), squeeze=False)[0], terms, strict=True)):
            axes.plot(epochs, [record[term] for record in log], color=CLASSES[0], marker=".", label="training rows")
            if not number:
                held = [record["held_out_loss"] for record in log]
                axes.plot(epochs, held, color=CLASSES[2], ls="--", marker=".", label="held-out rows")
                axes.legend(frameon=False, fontsize=7)
            axes.set(title=printable(term.removeprefix("train_"), 40), xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
            axes.spines[["top", "right"]].set_visible(False)
        figure.suptitle(printable(title, 200), fontsize=9, color=INK)
        return saved(figure, target)
