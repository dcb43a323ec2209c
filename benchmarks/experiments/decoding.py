"""What decoders give back: rate and distortion, noisy images, points between items and samples.

    python benchmarks/experiments/decoding.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

Convolutional autoencoders of Fashion-MNIST; errors are mean squared errors of pixels in 0..1, of the test images.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from lab import CHECKOUT, Lab, Record, main

NAME, ROOMS = "decoding", ("encoders", "evaluations", "plots")
DATA, NOISE = "fashion-mnist", 0.3
DIMS = (4, 8, 16, 32, 64, 128)
BYTES = {"float32": 4, "float16": 2, "int8": 1}


def trained(lab: Lab, name: str, dim: int, options: str = "") -> tuple[str, str]:
    """The file of the vectors and that of the weights."""
    file, weights = f"{name}.{dim}.h5", f"{name}.{dim}.safetensors"
    embed = f"embed DATA/{DATA} --encoder conv-ae --dim {dim}{options} --epochs {lab.size(3, 1)} --save-encoder {weights}"
    lab.file(file, embed)
    lab.made[weights] = lab.made[file]
    return file, weights


def images(lab: Lab, part: str) -> np.ndarray:
    """(n, 28, 28) uint8 of the IDX file of a part, train or t10k."""
    content = gzip.decompress((lab.data / DATA / f"{part}-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)


def opened(lab: Lab, file: str, weights: str) -> tuple[np.ndarray, np.ndarray, Any]:
    """Training vectors, test vectors, and the encoder that made them."""
    from relrep_cli import encoders, store

    e = store.read(str(lab.work / file))
    x, split = np.asarray(e.x), e.obs["split"]
    return x[split == b"train"], x[split == b"test"], encoders.load(lab.work / weights)


def decoded(encoder: Any, vectors: np.ndarray) -> np.ndarray:
    from relrep_cli import encoders

    return np.concatenate(list(encoders.decode(encoder, vectors.astype(np.float32))))


def mean_error(found: np.ndarray, true: np.ndarray) -> Record:
    """The mean over images of the error, with a 95 % interval."""
    errors = ((found - true / 255) ** 2).mean((1, 2))
    margin = 1.96 * errors.std(ddof=1) / np.sqrt(len(errors))
    return {"value": errors.mean(), "low": errors.mean() - margin, "high": errors.mean() + margin}


def rate(lab: Lab) -> str:
    """The error of images from vectors of a width, stored as a kind of number; and its picture."""
    points: list[Record] = []
    for dim in DIMS[: lab.size(6, 2)]:
        file, weights = trained(lab, "rate", dim)
        for kind, size in BYTES.items():

            def measure(file: str = file, weights: str = weights, kind: str = kind) -> list[Record]:
                from relrep_cli.evaluations.compression import shortened

                train, test, encoder = opened(lab, file, weights)
                return [mean_error(decoded(encoder, shortened(test, kind, np.abs(train).max(0))), images(lab, "t10k"))]

            (found,) = lab.computed(f"distortion {file} {kind}", ("value", "low", "high"), measure)
            points.append({"dims": dim, "dtype": kind, "bytes": dim * size, **found})
    if lab.measuring:
        from relrep_cli.plots import rates

        target = lab.work if lab.quick else CHECKOUT / "docs" / "figures"
        (target / "rate-distortion.png").write_bytes(rates({DATA: points}, "error of reconstruction", "rate-distortion.png"))
    rows = []
    for dim in dict.fromkeys(point["dims"] for point in points):
        own = [point for point in points if point["dims"] == dim]
        rows.append([str(dim), *(f"{point['value']:.4f} ({point['bytes']})" for point in own)])
    return lab.table(["`--dim`", *(f"{kind}, error (bytes)" for kind in BYTES)], rows)


def noisy(lab: Lab) -> str:
    """The images with noise in the test part alone, as an .npz in WORK."""
    path = lab.work / "noisy.npz"
    lab.made[path.name] = f"{DATA} {NOISE}"
    if lab.measuring and not path.exists():
        test = images(lab, "t10k") / 255 + np.random.default_rng(0).normal(0, NOISE, images(lab, "t10k").shape)
        labels = {part: gzip.decompress(_labels(lab, part).read_bytes())[8:] for part in ("train", "t10k")}
        np.savez(
            path,
            x_train=images(lab, "train"),
            y_train=np.frombuffer(labels["train"], np.uint8),
            x_test=np.rint(test.clip(0, 1) * 255).astype(np.uint8),
            y_test=np.frombuffer(labels["t10k"], np.uint8),
        )
    return path.name


def _labels(lab: Lab, part: str) -> Path:
    return lab.data / DATA / f"{part}-labels-idx1-ubyte.gz"


def denoising(lab: Lab) -> str:
    rows = []
    for name, options in (("plain", ""), ("denoising", f" --denoising {NOISE}")):
        file, weights = trained(lab, name, lab.size(48, 4), options)
        other = lab.file(f"noisy.{name}.h5", f"embed {noisy(lab)} --encoder {weights}")

        def measure(vectors: str, file: str = file, weights: str = weights) -> list[Record]:
            _, test, encoder = opened(lab, vectors, weights)
            return [mean_error(decoded(encoder, test), images(lab, "t10k"))]

        cells = [f"`conv-ae{options}`"]
        for vectors in (file, other):
            (error,) = lab.computed(f"error {vectors} {weights}", ("value", "low", "high"), lambda v=vectors: measure(v))
            cells.append(f"{error['value']:.4f}")
        for vectors in (file, other):
            found = lab.cell(f"evaluate {vectors} --task linear-probe,knn", ("task", "name", "value"))
            cells += [f"{r['value']:.3f}" for r in found if r["name"] == "accuracy"]
        rows.append(cells)
    header = ["", "error, clean", "error, denoised", "linear probe, clean", "k-NN, clean", "linear probe, noisy", "k-NN, noisy"]
    return lab.table(header, rows)


def between(lab: Lab) -> str:
    """How far a vector moves when its image is encoded again: of items, of middles of two items, and of samples."""
    file, weights = trained(lab, "plain", lab.size(48, 4))

    def measure() -> list[Record]:
        train, test, encoder = opened(lab, file, weights)
        rng = np.random.default_rng(0)
        middles = (test + rng.permutation(test)) / 2
        samples = rng.multivariate_normal(train.mean(0), np.cov(train.T), len(test))
        if not lab.quick:
            _picture(lab, encoder, test, samples)
        kinds = {"test items": test, "middles of two test items": middles, "samples of a normal distribution": samples}
        return [{"name": name, "value": _moved(encoder, x, train)} for name, x in kinds.items()]

    found = lab.computed(f"round trip {file} {weights}", ("name", "value"), measure)
    return lab.table(["vectors", "moved, as a share of their variance"], [[r["name"], f"{r['value']:.3f}"] for r in found])


def _moved(encoder: Any, x: np.ndarray, train: np.ndarray) -> float:
    from relrep_cli import encoders
    from relrep_cli.sources import Items

    pixels = np.rint(decoded(encoder, x) * 255).astype(np.uint8)
    again = np.concatenate(list(encoders.encode(encoder, Items(pixels, np.arange(len(x)).astype("S"), "sha256:"))))
    return float(((again - x) ** 2).sum(1).mean() / ((x - train.mean(0)) ** 2).sum(1).mean())


def _picture(lab: Lab, encoder: Any, test: np.ndarray, samples: np.ndarray) -> None:
    """Draw nine steps between pairs of test items, and nine samples."""
    from relrep_cli.plots import pictures

    lines = []
    for a, b in ((0, 1), (2, 6), (8, 19)):
        steps = np.linspace(0, 1, 9)[:, None]
        lines.append((f"{a} to {b}", decoded(encoder, (1 - steps) * test[a] + steps * test[b])))
    lines.append(("samples", decoded(encoder, samples[:9])))
    target = "fashion-mnist-between.png"
    (CHECKOUT / "docs" / "figures" / target).write_bytes(pictures(lines, (28, 28), target))


TABLES = {"rate": rate, "denoising": denoising, "between": between}

if __name__ == "__main__":
    main(NAME, TABLES, ROOMS)
