"""Every kind of file that relrep reads, small and good, with what reads it and how it is damaged by its structure."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli import encoders, sources, store
from relrep_cli.anchors.id_lists import read_anchors
from relrep_cli.base.task_cache import Records
from relrep_cli.embedding import Embedding, text
from relrep_cli.encoders.saved import to_bytes
from relrep_cli.heads.heads import train
from relrep_cli.relative import aggregators
from relrep_cli.relative.projection import basis
from relrep_cli.relative.recipes import Preprocessing, Recipe, anchors_digest
from relrep_cli.sources.items import Items
from relrep_cli.stitching import saved_heads

N, D = 24, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)).astype(np.float32)
IDS = text(f"item-{i}" for i in range(N))
Damage = Callable[[bytearray, random.Random], None]


@dataclass(frozen=True)
class Kind:
    """name: of the file to write, perhaps in a folder of its own. good: the bytes of good files. use: reads one."""

    name: str
    good: Callable[[], Sequence[bytes]]
    use: Callable[[Path], Any]
    inner: Callable[[bytes, random.Random, Damage], bytes] | None = None  # damages what the file holds, and packs it again
    slow_import: str = ""  # a library that a child of its own would import for each file

    @property
    def is_slow_alone(self) -> bool:
        return bool(self.slow_import)


# --- good files ---


def written(write: Callable[[Path], Any], name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, name))
        return Path(folder, name).read_bytes()


def collection(uns: dict[str, np.ndarray], **more: Any) -> bytes:
    about = {"obs": {"label": IDS}, "var": {"id": text(map(str, range(D)))}, "kind": "absolute", "space": "s", "steps": []}
    about |= {"uns": uns, "shape": X.shape, "dtype": "float32", "ids": IDS} | more
    return written(lambda path: store.write(str(path), [X], **about), "x.h5")


def h5ad() -> list[bytes]:
    import anndata

    made = anndata.AnnData(X, obs={"label": [f"c{i % 3}" for i in range(N)]}, obsm={"pca": X[:, :2]})
    made.obs_names = [f"cell-{i}" for i in range(N)]
    return [written(made.write_h5ad, "x.h5ad"), written(partial(made.write_h5ad, compression="gzip"), "x.h5ad")]


def statistics() -> list[bytes]:
    recipe = Recipe(IDS[:4], before=Preprocessing(scale=True))
    known = {"center": X.mean(0).astype("f8"), "scale": X.std(0).astype("f8")}
    return [collection(known, kind="relative", space=recipe.space(), source_space="s")]


def mixtures() -> list[bytes]:
    weights = {"mixture-items": IDS[:8], "mixture-weights": np.full(8, 0.5), "mixture-starts": np.arange(0.0, 9, 2)}
    less = {"shape": (4, D), "ids": text(f"mix-{i}" for i in range(4)), "obs": {}}
    about = {"var": {"id": text(map(str, range(D)))}, "kind": "absolute", "space": "s", "steps": [], "dtype": "float32"}
    mixed = written(lambda path: store.write(str(path), [X[:4]], uns=weights, **about, **less), "x.h5")
    return [collection({}), mixed]


def head() -> list[bytes]:
    about: dict[str, Any] = {"target": "label", "recipe": None, "translator": "", "translation": {}, "anchors": "", "dims": D}
    about |= {"method": "absolute", "trained_on": "x", "space": "s", "end_to_end": 0.5, "vectors": None, "aggregator": None}
    classes, y = ["a", "b"], np.arange(N) % 2
    names = ("linear", "logistic", "knn")
    made = [saved_heads.SavedHead(trained=train(n, X, y, 2, {}), classes=classes, **about) for n in names]
    return [one.to_bytes() for one in made]


def encoder() -> list[bytes]:
    entries, items = encoders.ENCODERS, Items(X, IDS, "", {})
    return [to_bytes(entries[n].function(items, np.arange(N), dim=2)) for n in ("pca", "random-projection")]


def aggregator() -> list[bytes]:
    recipe = Recipe(IDS[:4], similarities={"cosine": {}, "l1": {}})
    module = aggregators.AGGREGATORS["self-attention"].function(2, 4)
    made = aggregators.of_module("self-attention", 2, 4, module, recipe.to_json(), anchors_digest(recipe.anchor_ids))
    return [made.to_bytes()]


def arrays(save: Callable[..., Any], name: str) -> list[bytes]:
    return [written(partial(save, x=X, id=IDS, label=np.arange(N) % 3), name)]


def safetensors() -> list[bytes]:
    from safetensors.numpy import save

    return [save({"x": X}), save({"a": X.astype("f8")})]


def parquet() -> list[bytes]:
    import pyarrow as pa
    from pyarrow import parquet as pq

    table = pa.table({"id": [i.decode() for i in IDS], "x": [row.tolist() for row in X], "label": ["a", "b"] * (N // 2)})
    return [written(lambda path: pq.write_table(table, path), "x.parquet")]


def csv(mark: str) -> list[bytes]:
    rows = [mark.join([f"item-{i}", *(f"{v:.3f}" for v in X[i])]) for i in range(N)]
    return ["\n".join([mark.join(["id", *(f"v{j}" for j in range(D))]), *rows, ""]).encode()]


def pictures(form: str) -> list[bytes]:
    from PIL import Image

    made = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (9, 8, 3)).astype(np.uint8)).save(made, form)
    return [made.getvalue()]


def idx(packed: bool) -> list[bytes]:
    made = struct.pack(">4B3i", 0, 0, 8, 3, 5, 4, 4) + bytes(range(80))
    return [gzip.compress(made, mtime=0) if packed else made]


def cifar_python() -> list[bytes]:
    return [pickle.dumps({b"data": RNG.integers(0, 256, (4, 3072)).astype(np.uint8), b"labels": [0, 1, 2, 3]}, protocol=2)]


def record() -> list[bytes]:
    def put(path: Path) -> None:
        Records(path.parent).put(path.stem, {"value": 0.25, "low": None})

    return [written(put, "0123456789abcdef.json")]


# --- readers ---


def read_vectors(path: Path) -> None:
    x = store.read(str(path)).x
    assert x.ndim == 2 and isinstance(float(x[-1, -1]), float)


def read_statistics(path: Path) -> None:
    recipe = Recipe(IDS[:4], before=Preprocessing(scale=True), statistics_from=store.read(str(path)))
    with np.errstate(all="ignore"):
        basis(Embedding(X, IDS, space="s"), recipe)


def read_head(path: Path) -> None:
    saved = saved_heads.load(path)
    saved.trained(np.zeros((3, saved.dims), np.float32))


def read_encoder(path: Path) -> None:
    trained = encoders.load(path)
    if trained.shape == (D,):
        with np.errstate(all="ignore"):
            list(encoders.encode(trained, Items(X, IDS, "", {}), device="cpu"))


def read_source(name: str, path: Path, **params: Any) -> None:
    items = sources.read(str(path), name, params)
    assert len(items.x) == len(items.ids)


def read_record(path: Path) -> None:
    assert Records(path.parent, quiet=True).get(path.stem) in (None, {"value": 0.25, "low": None})


# --- damage within the structure ---


def in_header(data: bytes, rng: random.Random, damage: Damage) -> bytes:
    """safetensors: a value of its JSON replaced, or its arrays damaged; the lengths stay right."""
    length = int.from_bytes(data[:8], "little")
    header, arrays = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    if rng.random() < 0.7:
        for entry in header.get("__metadata__", {}):
            with_record = json.loads(header["__metadata__"][entry])
            if rng.random() < 0.7:
                replace_leaf(with_record, rng)
                header["__metadata__"][entry] = json.dumps(with_record)
        if rng.random() < 0.4:
            replace_leaf(header, rng)
    elif arrays:
        damage(arrays, rng)
    packed = json.dumps(header).encode()
    return len(packed).to_bytes(8, "little") + packed + bytes(arrays)


LEAVES = [None, True, -1, 0, 1, 2**31, 2**63, 1e308, "", "x", "\x1b[31m", [], {}, [[1]], "inf", 0.5]


def replace_leaf(value: Any, rng: random.Random) -> None:
    """Replace, remove or add one value somewhere in a JSON object."""
    while isinstance(value, dict | list) and value:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        if not isinstance(value[key], dict | list) or not value[key] or rng.random() < 0.2:
            if rng.random() < 0.2:
                del value[key]
            else:
                value[key] = rng.choice(LEAVES)
            return
        value = value[key]


def in_zip(data: bytes, rng: random.Random, damage: Damage) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        warnings.simplefilter("ignore")  # of a name that occurs twice
        names = old.namelist()
        for name in names:
            content = bytearray(old.read(name))
            if rng.random() < 1.5 / len(names):
                damage(content, rng)
            new.writestr(name if rng.random() < 0.95 else rng.choice(names), bytes(content))
    return out.getvalue()


def in_gzip(data: bytes, rng: random.Random, damage: Damage) -> bytes:
    content = bytearray(gzip.decompress(data))
    damage(content, rng)
    return gzip.compress(bytes(content), mtime=0)


CELLS = [b"", b"nan", b"inf", b"1e999", b'"', b"\t", b",", b"\n", b"\r", b"\0", b"\xff", b"=1+1", b"{", b"\xef\xbb\xbf"]
CELLS += [b"9" * 400, b"item-1", b"id"]


def in_text(data: bytes, rng: random.Random, damage: Damage) -> bytes:
    """A cell or a line replaced, repeated or lost."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    kind = rng.random()
    if kind < 0.6:
        mark = b"\t" if b"\t" in lines[at] else b","
        cells = lines[at].split(mark)
        cells[rng.randrange(len(cells))] = rng.choice(CELLS)
        lines[at] = mark.join(cells)
    elif kind < 0.8:
        lines.insert(at, rng.choice(lines))
    else:
        del lines[at]
    return b"\n".join(lines)


PAIRS = b"a\tb\tscore\tspace_a\tspace_b\n" + b"".join(b"item-%d\tthing-%d\t0.5\ts\tt\n" % (i, i) for i in range(8))
JSONL = b"".join(b'{"text": "word %d", "label": "c%d"}\n' % (i, i % 3) for i in range(8))


@cache
def kinds() -> dict[str, Kind]:
    """Every kind but plain HDF5, which fuzz.py has."""
    anchors = lambda path: read_anchors(str(path))  # noqa: E731
    return {
        "h5ad": Kind("x.h5ad", h5ad, read_vectors),
        "statistics": Kind("x.h5", statistics, read_statistics),
        "anchors": Kind("x.h5", mixtures, anchors),
        "pairs": Kind("x.tsv", lambda: [PAIRS], anchors, in_text),
        "ids": Kind("x.txt", lambda: [b"".join(i + b"\n" for i in IDS.tolist())], anchors, in_text),
        "head": Kind("x.safetensors", head, read_head, in_header),
        "encoder": Kind("x.safetensors", encoder, read_encoder, in_header),
        "aggregator": Kind("x.safetensors", aggregator, lambda path: aggregators.load(path), in_header),
        "npy": Kind("x.npy", lambda: [written(lambda p: np.save(p, X), "x.npy")], read_vectors),
        "npz": Kind("x.npz", lambda: arrays(np.savez, "x.npz") + arrays(np.savez_compressed, "x.npz"), read_vectors, in_zip),
        "safetensors": Kind("x.safetensors", safetensors, read_vectors, in_header),
        "parquet": Kind("x.parquet", parquet, read_vectors),
        "csv": Kind("x.csv", lambda: csv(","), read_vectors, in_text),
        "tsv": Kind("x.tsv", lambda: csv("\t"), read_vectors, in_text),
        "png": Kind("x.png", lambda: pictures("PNG"), lambda path: read_source("pictures", path.parent)),
        "jpeg": Kind("x.jpg", lambda: pictures("JPEG"), lambda path: read_source("pictures", path.parent)),
        "idx": Kind("x-images-idx3-ubyte", lambda: idx(False), partial(read_source, "idx")),
        "idx.gz": Kind("x-images-idx3-ubyte.gz", lambda: idx(True), partial(read_source, "idx"), in_gzip),
        "cifar": Kind("data_batch_1.bin", lambda: [bytes(3073 * 3)], partial(read_source, "cifar")),
        "cifar pickle": Kind("data_batch_1", cifar_python, partial(read_source, "cifar")),
        "jsonl": Kind("x.jsonl", lambda: [JSONL], partial(read_source, "table"), in_text),
        "lines": Kind("x.txt", lambda: [b"one\ntwo\nthree\n"], partial(read_source, "lines"), in_text),
        "record": Kind("0123456789abcdef.json", record, read_record),
    }
