"""What decoders give back: rate and distortion, noisy images, points between items and samples.

    python benchmarks/experiments/decoding.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

Convolutional autoencoders of 6,000 images of Fashion-MNIST; errors are mean squared errors of pixels, of 2,000 test images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lab import CHECKOUT, Lab, Record, main
from self_supervised import few

NAME, ROOMS = "decoding", ("encoders", "evaluations", "plots")
NOISE = 0.3
DIMS = (4, 8, 16, 32, 64, 128)
BYTES = {"float32": 4, "float16": 2, "int8": 1}


def trained(lab: Lab, name: str, dim: int, options: str = "") -> tuple[str, str]:
    """The file of the vectors and that of the weights."""
    file, weights = f"{name}.{dim}.h5", f"{name}.{dim}.safetensors"
    loop = f"--epochs {lab.size(15, 1)} --batch-size 64 --save-encoder {weights}"
    lab.file(file, f"embed {images(lab)} --encoder conv-ae --dim {dim}{options} {loop}")
    lab.made[weights] = lab.made[file]
    return file, weights


def images(lab: Lab) -> str:
    return few(lab, "fashion-mnist", 6000, 2000)


def clean(lab: Lab) -> np.ndarray:
    """(n, 28, 28) uint8 test images."""
    with np.load(lab.work / images(lab)) as arrays:
        return np.asarray(arrays["images"][arrays["split"] == "test"])


def opened(lab: Lab, file: str, weights: str) -> tuple[np.ndarray, np.ndarray, Any]:
    """Training vectors, test vectors, and the encoder that made them."""
    from relrep_cli import encoders, store

    e = store.read(str(lab.work / file))
    x, split = np.asarray(e.x), e.obs["split"]
    return x[split == b"train"], x[split == b"test"], encoders.load(lab.work / weights)


def decoded(encoder: Any, vectors: np.ndarray) -> np.ndarray:
    from relrep_cli import encoders

    return np.concatenate(list(encoders.decode(encoder, vectors.astype(np.float32))))


def mean_error(decoded: np.ndarray, true: np.ndarray) -> Record:
    """The mean over images of the error, with a 95 % interval."""
    errors = ((decoded - true / 255) ** 2).mean((1, 2))
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
                return [mean_error(decoded(encoder, shortened(test, kind, np.abs(train).max(0))), clean(lab))]

            (error,) = lab.computed(f"distortion {file} {kind}", ("value", "low", "high"), measure)
            points.append({"dims": dim, "dtype": kind, "bytes": dim * size, **error})
    if lab.measuring:
        from relrep_cli.plots.rates import rates

        target = lab.work if lab.quick else CHECKOUT / "docs" / "figures"
        (target / "rate-distortion.png").write_bytes(
            rates({"fashion-mnist": points}, "error of reconstruction", "rate-distortion.png")
        )
    rows = []
    for dim in dict.fromkeys(point["dims"] for point in points):
        own = [point for point in points if point["dims"] == dim]
        rows.append([str(dim), *(f"{point['value']:.4f} ({point['bytes']})" for point in own)])
    return lab.table(["`--dim`", *(f"{kind}, error (bytes)" for kind in BYTES)], rows)


def noisy(lab: Lab) -> str:
    """The images with noise in the test part alone, as an .npz in WORK."""
    path = lab.work / "noisy.npz"
    lab.made[path.name] = f"{lab.made[images(lab)]} {NOISE}"
    if lab.measuring and not path.exists():
        with np.load(lab.work / images(lab)) as arrays:
            noisy = dict(arrays)
        test = noisy["split"] == "test"
        noise = np.random.default_rng(0).normal(0, NOISE, clean(lab).shape)
        noisy["images"][test] = np.rint((clean(lab) / 255 + noise).clip(0, 1) * 255).astype(np.uint8)
        np.savez(path, **noisy)
    return path.name


def denoising(lab: Lab) -> str:
    rows = []
    for name, options in (("plain", ""), ("denoising", f" --denoising {NOISE}")):
        file, weights = trained(lab, name, lab.size(48, 4), options)
        other = lab.file(f"noisy.{name}.h5", f"embed {noisy(lab)} --encoder {weights}")

        def measure(vectors: str, file: str = file, weights: str = weights) -> list[Record]:
            _, test, encoder = opened(lab, vectors, weights)
            return [mean_error(decoded(encoder, test), clean(lab))]

        cells = [f"`conv-ae{options}`"]
        for vectors in (file, other):
            (error,) = lab.computed(f"error {vectors} {weights}", ("value", "low", "high"), lambda v=vectors: measure(v))
            cells.append(f"{error['value']:.4f}")
        for vectors in (file, other):
            records = lab.cell(f"evaluate {vectors} --task linear-probe,knn", ("task", "name", "value"))
            cells += [f"{r['value']:.3f}" for r in records if r["name"] == "accuracy"]
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

    moved = lab.computed(f"round trip {file} {weights}", ("name", "value"), measure)
    return lab.table(["vectors", "moved, as a share of their variance"], [[r["name"], f"{r['value']:.3f}"] for r in moved])


def _moved(encoder: Any, x: np.ndarray, train: np.ndarray) -> float:
    from relrep_cli import encoders
    from relrep_cli.sources import Items

    pixels = np.rint(decoded(encoder, x) * 255).astype(np.uint8)
    again = np.concatenate(list(encoders.encode(encoder, Items(pixels, np.arange(len(x)).astype("S"), "sha256:"))))
    return float(((again - x) ** 2).sum(1).mean() / ((x - train.mean(0)) ** 2).sum(1).mean())


def _picture(lab: Lab, encoder: Any, test: np.ndarray, samples: np.ndarray) -> None:
    """Draw nine steps between pairs of test items, and nine samples."""
    from relrep_cli.plots.strips import pictures

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
