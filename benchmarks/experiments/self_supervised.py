"""Self-supervised and spectral encoders of CIFAR-10, and anomalies found by distances and by reconstruction.

    python benchmarks/experiments/self_supervised.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

DATA/cifar10 holds a folder of pictures for each class in train and test; the figures are of JPEG copies of quality 75.
"""

from __future__ import annotations

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


TABLES = {"probes": probes, "anomalies": anomalies}

if __name__ == "__main__":
    main(NAME, TABLES, ROOMS)
