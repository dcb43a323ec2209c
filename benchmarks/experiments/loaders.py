"""Whether relrep opens the encoders whose weights cannot be had here: tiny ones with random weights, saved in the same format.

    python benchmarks/experiments/loaders.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

Needs packages transformers and timm. The vectors are those that each package itself gives, item by item.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lab import Lab, Record, main
from tiny_models import TEXTS, write_texts, write_timm, write_vision

NAME, ROOMS = "loaders", ("encoders", "sources")
QUESTIONS = ("How far is it ?", "Who wrote the first book of the two ?", "What is a fish ?", "When did the war end ?") * 6
VISION = {"hf": ("vit", "clip"), "timm": ("rexnet_100", "vit_tiny_patch16_224")}
COLUMNS = ("n", "dims", "apart")


def embedded(lab: Lab, folder: str, scheme: str, source: str, write: Callable[[Path], None]) -> str:
    """The file of the vectors that relrep gives items by the model in the folder."""
    lab.made[f"{scheme}:{folder}"] = folder
    if lab.measuring and not (lab.work / folder / "config.json").exists():
        write(lab.work / folder)
    return lab.file(f"{folder}.h5", f"embed {source} --encoder {scheme}:{folder}")


def texts(lab: Lab) -> str:
    questions = lab.text("questions.txt", QUESTIONS)
    rows = []
    for name in TEXTS:
        file = embedded(lab, f"tiny-{name}", "hf", questions, lambda at, name=name: write_texts(name, QUESTIONS, at))

        def measure(file: str = file, name: str = name) -> list[Record]:
            return _apart(lab, file, [_of_text(lab.work / f"tiny-{name}", text) for text in QUESTIONS])

        rows += _row(lab, name, "hf", file, measure)
    return lab.table(HEADER, rows)


def images(lab: Lab) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    if lab.measuring:
        np.savez(lab.work / "pixels.npz", images=pixels)
    lab.made["pixels.npz"] = "6 random images"
    rows = []
    for scheme, names in VISION.items():
        write = write_vision if scheme == "hf" else write_timm
        of = _of_image if scheme == "hf" else _by_timm
        for name in names:
            file = embedded(lab, f"tiny-{name}", scheme, "pixels.npz", lambda at, name=name, write=write: write(name, at))

            def measure(file: str = file, name: str = name, of: Any = of) -> list[Record]:
                return _apart(lab, file, [of(lab.work / f"tiny-{name}", image) for image in pixels])

            rows += _row(lab, name, scheme, file, measure)
    return lab.table(HEADER, rows)


HEADER = ("architecture", "scheme", "items", "dims", "largest difference from the package's own vectors")


def _row(lab: Lab, name: str, scheme: str, file: str, measure: Callable[[], list[Record]]) -> list[list[str]]:
    (measured,) = lab.computed(f"apart {file}", COLUMNS, measure)
    return [[name, f"`{scheme}:`", str(measured["n"]), str(measured["dims"]), f"{measured['apart']:.0e}"]]


def _apart(lab: Lab, file: str, own: list[np.ndarray]) -> list[Record]:
    from relrep_cli import store

    x = np.asarray(store.read(str(lab.work / file)).x)
    return [{"n": len(x), "dims": x.shape[1], "apart": float(np.abs(x - np.stack(own)).max())}]


def _of_text(folder: Path, text: str) -> np.ndarray:
    """The mean of the last layer's tokens, of one text by itself."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    with torch.inference_mode():
        given = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
        return np.asarray(AutoModel.from_pretrained(folder).eval()(**given).last_hidden_state[0].mean(0))


def _of_image(folder: Path, image: np.ndarray) -> np.ndarray:
    import torch
    from transformers import AutoImageProcessor, AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        given = AutoImageProcessor.from_pretrained(folder)(images=[image], return_tensors="pt")
        return np.asarray(
            getattr(model, "vision_model", model)(**given, output_hidden_states=True).hidden_states[-1][0].mean(0)
        )


def _by_timm(folder: Path, image: np.ndarray) -> np.ndarray:
    import timm
    import torch

    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    config = timm.data.resolve_data_config({}, model=model)
    mean, std = (torch.tensor(config[key])[:, None, None] for key in ("mean", "std"))
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    x = torch.nn.functional.interpolate(x, config["input_size"][1:], mode="bicubic", antialias=True, align_corners=False)
    with torch.inference_mode():
        return np.asarray(model((x - mean) / std)[0])


TABLES = {"texts": texts, "images": images}

if __name__ == "__main__":
    main(NAME, TABLES, ROOMS)
