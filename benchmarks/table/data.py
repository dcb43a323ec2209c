"""The inputs of the jobs: two noisy views of hidden points around centres, float32, from NumPy's generator with seed 0."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

SHAPES = {"64": (10_000, 64), "256": (20_000, 256), "768": (100_000, 768)}
FILES, LAYERS, ANCHORS, LAYER_SHAPE = 12, 12, 300, (1000, 128)


def make(folder: Path, shrink: int = 1) -> dict[str, str]:
    """Write the inputs into a folder, and say what each placeholder of a job stands for. shrink: of rows and of dims."""
    folder.mkdir(parents=True, exist_ok=True)
    named = {"out": str(folder / "out"), "rows": str(folder / "rows.txt")}
    few = min(SHAPES["256"][0] // shrink, SHAPES["768"][0] // shrink)
    (folder / "rows.txt").write_text("".join(f"{row * (few // (ANCHORS // shrink))}\n" for row in range(ANCHORS // shrink)))
    for name, (n, d) in SHAPES.items():
        for side in ("a", "b"):
            named[side + name] = _saved(folder / f"{side}{name}.npy", n // shrink, max(8, d // shrink), ord(side))
    many = [_saved(folder / f"many{i}.npy", SHAPES["256"][0] // shrink, max(8, 256 // shrink), i) for i in range(FILES)]
    named["many"] = " ".join(many)
    for side in ("layers", "others"):
        named[side] = _layers(
            folder / f"{side}.h5", max(50, LAYER_SHAPE[0] // shrink), max(8, LAYER_SHAPE[1] // shrink), shrink
        )
    return named


def view(n: int, d: int, seed: int, noise: float = 0.3) -> np.ndarray:
    """One view (n, d), float32, of the same n points in 12 dimensions around 100 centres."""
    rng, own = np.random.default_rng(0), np.random.default_rng([1, seed])
    z = 2 * rng.normal(size=(100, 12))[rng.integers(100, size=n)] + rng.normal(size=(n, 12))
    x = z.astype(np.float32) @ own.normal(size=(12, d)).astype(np.float32)
    x += noise * own.standard_normal(size=(n, d), dtype=np.float32)
    return x


def _saved(path: Path, n: int, d: int, seed: int) -> str:
    if not path.exists():
        np.save(path, view(n, d, seed))
    return str(path)


def _layers(path: Path, n: int, d: int, shrink: int) -> str:
    if not path.exists():
        with h5py.File(path, "w") as file:
            for layer in range(LAYERS // min(shrink, 6)):
                file[f"layer/{layer}"] = view(n, d, 100 + layer + 50 * (path.stem == "others"))
    return str(path)
