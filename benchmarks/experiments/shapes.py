"""Coloured shapes: what an augmentation makes a contrastive space blind to.

    python benchmarks/experiments/shapes.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

Three seeds; linear probes tell each factor from the space.
"""

from __future__ import annotations

import subprocess
import sys
from statistics import mean

import numpy as np
from lab import CHECKOUT, Lab, main

NAME, ROOMS = "shapes", ("encoders", "evaluations")
FACTORS = ("colour", "shape", "location")
BY_COLOUR = "none --positives label --labels colours.txt"  # the other view is another item of the same colour
SETTINGS = {
    "noise": "A: keeps all",
    "noise,color": "B: loses colour",
    "noise,location": "loses place",
    BY_COLOUR: "C: loses shape and place",
}
PASSES = (15, 30, 60)
VARIANTS = {"one tower": "", "two towers": " --towers 2", "inner products": " --logits inner"}


def drawn(lab: Lab) -> str:
    """The shapes as a file in WORK, and their colours as a list beside it."""
    path = lab.work / "shapes.npz"
    if lab.measuring and not path.exists():
        subprocess.run([sys.executable, CHECKOUT / "sample_data" / "shapes.py", path, str(lab.size(4000, 300))], check=True)
    if lab.measuring:
        with np.load(path) as arrays:
            lab.text("colours.txt", arrays["colour"].tolist())
    lab.made["colours.txt"] = "colours"  # they come from the shapes, so keys need no more, with or without the data
    return "shapes.npz"


def embedded(lab: Lab, augment: str, seed: int, options: str = "", passes: int = 60) -> str:
    embed = f"embed {drawn(lab)} --encoder infonce --augment {augment} --dim 32 --channels 8 --batch-size 64"
    epochs = f"--epochs {lab.size(passes, 1)} --temperature 0.5 --learning-rate 0.003 --patience 99"
    name = f"shapes.{augment.split()[0].replace(',', '-')}{options.replace(' ', '').replace('--', '.')}.{seed}.h5"
    name = name if passes == 60 else f"{passes}.{name}"
    return lab.file(name, f"{embed} {epochs}{options} --seed {seed}")


def probes(lab: Lab) -> str:
    rows = []
    for augment, expected in SETTINGS.items():
        result: dict[str, list[float]] = {factor: [] for factor in FACTORS}
        for seed in range(lab.size(3, 1)):
            command = f"evaluate {embedded(lab, augment, seed)} --task linear-probe --target {','.join(FACTORS)}"
            for r in lab.cell(command, ("target", "name", "value")):
                if r["name"] == "accuracy":
                    result[r["target"]].append(r["value"])
        cells = [f"{mean(numbers):.2f} ({min(numbers):.2f} to {max(numbers):.2f})" for numbers in result.values()]
        rows.append(["another item of its colour" if augment == BY_COLOUR else augment.replace(",", ", "), *cells, expected])
    return lab.table(["augmentation", "colour (chance 0.17)", "shape (0.25)", "place (0.25)", "expected"], rows)


def variants(lab: Lab) -> str:
    """How the classes of colour lie with two towers, and with inner products in place of cosines."""
    rows = []
    for name, options in VARIANTS.items():
        file = embedded(lab, "noise", 0, options)
        records = lab.cell(f"evaluate {file} --task linear-probe,separation --target colour", ("task", "name", "value"))
        numbers = {r["name"]: f"{r['value']:.3f}" for r in records if r["value"] is not None and r["name"] != "f1"}
        rows.append([name, *numbers.values()])
    return lab.table(["", *numbers], rows)


def lengths(lab: Lab) -> str:
    """How long vectors are on average after so many passes, where inner products stand in place of cosines and where not."""
    rows = []
    for name, options in (("one tower", ""), ("inner products", " --logits inner")):
        measured = []
        for passes in PASSES[: lab.size(3, 1)]:
            file = embedded(lab, "noise", 0, options, passes)
            (record,) = lab.computed(f"length of {file}", ("length",), lambda file=file: [{"length": _mean_length(lab, file)}])
            measured.append(f"{record['length']:.2f}")
        rows.append([name, *measured])
    return lab.table(["mean length after", *(f"{passes} passes" for passes in PASSES[: lab.size(3, 1)])], rows)


def _mean_length(lab: Lab, file: str) -> float:
    import relrep_cli as relrep

    return float(np.linalg.norm(relrep.read(lab.work / file).x, axis=1).mean())


TABLES = {"probes": probes, "variants": variants, "lengths": lengths}

if __name__ == "__main__":
    main(NAME, TABLES, ROOMS)
