"""Self-supervised and spectral encoders of CIFAR-10, and anomalies found by distances and by reconstruction.

    python benchmarks/experiments/self_supervised.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

DATA/cifar10 holds a folder of pictures for each class in train and test; the figures are of JPEG copies of quality 75.
"""

from __future__ import annotations

import os
import re

import numpy as np
from lab import Lab, main

NAME, ROOMS = "self_supervised", ("encoders", "evaluations", "neighbors")
VICREG = "--encoder vicreg --dim 128 --channels 16"
ENCODERS = {
    "VICReg": f"{VICREG} --projector 256 --epochs 15",
    "without the variance term": f"{VICREG} --variance 0 --projector 256 --epochs 4",
    "without it, `--projector 0`": f"{VICREG} --variance 0 --projector 0 --epochs 4",
    "neighbours by PCA as positives": f"{VICREG} --positives pca.h5 --k 3 --projector 256 --epochs 6",
    "neighbours by VICReg as positives": f"{VICREG} --positives vicreg.h5 --k 3 --projector 256 --epochs 6",
    "Laplacian eigenmaps": "--encoder laplacian-eigenmaps --dim 64",
    "PCA": "--encoder pca --dim 72",
}
NAMES = ("vicreg", "novar", "novar0", "pairs", "own-pairs", "maps", "pca")
FEW = {
    "PCA": "--encoder pca --dim 64",
    "I-JEPA, its first weights": "--encoder jepa --dim 64 --depth 2 --momentum 1 --epochs 1",
    "I-JEPA": "--encoder jepa --dim 64 --depth 2 --momentum 0.99 --epochs 12",
    "siamese, augmentations": "--encoder siamese --channels 8 --epochs 6",
    "siamese, 3 neighbours by PCA": "--encoder siamese --channels 8 --epochs 6 --positives few.0.h5 --k 3",
    "siamese, labels": "--encoder siamese --channels 8 --epochs 6 --positives label",
}
PUBLISHED = ("0.72", "0.17", "0.17", "", "0.32", "at chance (0.10)", "")


def encoders(lab: Lab) -> list[str]:
    """The files in the order of ENCODERS; PCA and VICReg come first, since others take their pairs from these."""
    commands = dict(zip(NAMES, ENCODERS.values(), strict=True))
    for name in ("pca", "vicreg", *NAMES):
        options = f"embed DATA/cifar10 {commands[name]}"
        if lab.quick:
            options = options.replace("--channels 16", "--channels 2").replace("--epochs 15", "--epochs 2")
            options = options.replace("--dim 128", "--dim 8").replace("--dim 72", "--dim 8").replace("--dim 64", "--dim 4")
        lab.file(f"{name}.h5", options)
    return [f"{name}.h5" for name in NAMES]


def probes(lab: Lab) -> str:
    rows = []
    for (name, _), file, published in zip(ENCODERS.items(), encoders(lab), PUBLISHED, strict=True):
        records = lab.cell(f"evaluate {file} --task linear-probe,knn,cluster", ("task", "name", "value", "low", "high"))
        by_name = {(r["task"], r["name"]): r for r in records}
        probe = by_name["linear-probe", "accuracy"]
        cluster = [f"{r['value']:.2f}" for r in records if r["task"] == "cluster"]
        interval = f"{probe['low']:.3f} to {probe['high']:.3f}"
        knn = f"{by_name['knn', 'accuracy']['value']:.3f}"
        rows.append([name, f"{probe['value']:.3f}", interval, knn, published, ", ".join(cluster)])
    measures = ", ".join(r["name"] for r in records if r["task"] == "cluster")
    return lab.table(["", "linear probe", "95 %", "k-NN", "published", f"clusters: {measures}"], rows)


def anomalies(lab: Lab) -> str:
    """MNIST among Fashion-MNIST, by distances to training items and by errors of reconstruction."""
    rows = []
    for name, options in (("conv-ae", ""), ("conv-ae --denoising 0.3", " --denoising 0.3")):
        dim = lab.size(48, 4)
        stem = name.replace(" --", ".").replace(" ", "")
        weights = f"{stem}.safetensors"
        embed = f"embed DATA/fashion-mnist --encoder conv-ae --dim {dim}{options} --save-encoder {weights}"
        normal = lab.file(f"{stem}.normal.h5", embed)
        lab.made[weights] = lab.made[normal]
        digits = lab.file(f"{stem}.digits.h5", f"embed DATA/mnist --encoder {weights}")
        for score, option in (("2 nearest training items", "--k 2"), ("error", "--score-column reconstruction_error")):
            command = f"evaluate {normal} --anomalies {digits} --task anomaly {option}"
            records = {r["name"]: r["value"] for r in lab.cell(command, ("name", "value"))}
            rows.append([f"`{name}`", score, *(f"{value:.3f}" for value in records.values())])
    return lab.table(["space", "score", *records], rows)


def few(lab: Lab, data: str, train: int, test: int) -> str:
    """So many images of each part of a collection, at equal steps, as an .npz in WORK."""
    path = lab.work / f"{data}.few.npz"
    lab.made[path.name] = f"{data} {train} {test}"
    if lab.measuring and not path.exists():
        from relrep_cli import sources

        name = sources.chosen(str(lab.data / data))
        items = sources.read(str(lab.data / data), name, sources.SOURCES[name].resolve({}))
        parts = [_spaced(items.rows_of(part), count) for part, count in (("train", train), ("test", test))]
        rows, split = np.concatenate(parts), np.repeat(["train", "test"], [len(part) for part in parts])
        np.savez(path, images=items.x[rows], label=items.obs["label"][rows], split=split)
    return path.name


def _spaced(rows: np.ndarray, count: int) -> np.ndarray:
    return rows[:: max(1, len(rows) // count)][:count]


def few_images(lab: Lab) -> str:
    """Encoders that see no labels, and one that sees some, on 6,000 images of Fashion-MNIST."""
    source = few(lab, "fashion-mnist", 6000, 2000)
    rows = []
    for number, (name, options) in enumerate(FEW.items()):
        file = lab.file(f"few.{number}.h5", f"embed {source} {_tiny(lab, options)}")
        rows.append([name, *_accuracies(lab, file)])
    return lab.table(
        ["", "options", "linear probe", "k-NN"],
        [[row[0], f"`{o}`", *row[1:]] for row, o in zip(rows, FEW.values(), strict=True)],
    )


def curve(lab: Lab) -> str:
    """Accuracy of VICReg by passes over 5,000 images of CIFAR-10, for both trunks."""
    source = few(lab, "cifar10", 5000, 2000)
    rows = []
    for trunk, channels in (("plain", 16), ("residual", 8)):
        for passes in (2, 4, 8, 16)[: lab.size(4, 1)]:
            options = f"--encoder vicreg --dim 128 --trunk {trunk} --channels {channels} --projector 256 --epochs {passes}"
            file = f"curve.{trunk}.{passes}.h5"

            def measure(file: str = file, options: str = options) -> list[dict[str, float]]:
                start = sum(os.times()[2:4])
                lab.file(file, f"embed {source} {_tiny(lab, options)}")
                return [{"cpu": round(sum(os.times()[2:4]) - start)}]

            (cost,) = lab.computed(f"cost embed {source} {options}", ("cpu",), measure)
            lab.file(file, f"embed {source} {_tiny(lab, options)}")
            rows.append([f"{trunk}, {channels} channels", str(passes), f"{cost['cpu']} s", *_accuracies(lab, file)])
    return lab.table(["trunk", "passes", "CPU", "linear probe", "k-NN"], rows)


def _tiny(lab: Lab, options: str) -> str:
    """The options, or in a smoke test those of a smaller network."""
    if not lab.quick:
        return options
    return re.sub(r"--(epochs|depth|channels) \d+", r"--\1 1", re.sub(r"--dim \d+", "--dim 8", options))


def _accuracies(lab: Lab, file: str) -> list[str]:
    measured = lab.cell(f"evaluate {file} --task linear-probe,knn", ("task", "name", "value", "low", "high"))
    return [f"{r['value']:.3f} ({r['low']:.3f} to {r['high']:.3f})" for r in measured if r["name"] == "accuracy"]


TABLES = {"probes": probes, "anomalies": anomalies, "few": few_images, "curve": curve}

if __name__ == "__main__":
    main(NAME, TABLES, ROOMS)
