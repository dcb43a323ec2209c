"""The formats of docs/reading.md that fuzz_kinds.py has not: small good files, and how they are damaged by their structure.

A folder is fuzzed as a tar of its files, which is unpacked before it is read; what it names outside of itself is left out.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch_archives
from fuzz_kinds import IDS, Damage, Kind, N, X, in_gzip, in_text, in_zip, read_source, read_vectors, replace_leaf, written

from relrep_cli.base.errors import DataError

NAMES = [name.decode() for name in IDS.tolist()]
CODES = np.clip(X * 40, -128, 127).astype(np.int8)


def table() -> Any:
    import pyarrow as pa

    return pa.table({"id": NAMES, "x": [row.tolist() for row in X], "label": ["a", "b"] * (N // 2)})


def arrow() -> list[bytes]:
    import pyarrow as pa
    from pyarrow import feather, ipc

    def stream(path: Path) -> None:
        with ipc.new_stream(str(path), table().schema) as sink:
            sink.write_table(table())

    quantised = pa.table({"id": NAMES, "x": pa.array(CODES.tolist(), pa.list_(pa.int8())), "scale": [0.5] * N})
    made = [written(partial(feather.write_feather, table(), compression=c), "x") for c in ("zstd", "uncompressed")]
    return [*made, written(stream, "x"), written(lambda path: feather.write_feather(quantised, str(path)), "x")]


def jsons() -> list[bytes]:
    rows = [{"id": name, "embedding": row} for name, row in zip(NAMES, X.tolist(), strict=True)]
    by_row = {name: {f"dim_{j}": v for j, v in enumerate(row)} for name, row in zip(NAMES, X.tolist(), strict=True)}
    split = {"columns": ["e0", "e1"], "index": NAMES, "data": X[:, :2].tolist()}
    answer = {"data": [{"index": i, "embedding": row} for i, row in enumerate(X.tolist())], "model": "m"}
    return [json.dumps(one).encode() for one in (rows, by_row, split, answer, {"ids": NAMES, "embeddings": X.tolist()})]


def lines() -> list[bytes]:
    rows = [{"doc_id": name, "embedding": row, "label": "l"} for name, row in zip(NAMES, X.tolist(), strict=True)]
    batch = [
        {"custom_id": name, "response": {"body": {"data": [{"embedding": row}]}}}
        for name, row in zip(NAMES, X.tolist(), strict=True)
    ]
    return ["".join(json.dumps(row) + "\n" for row in made).encode() for made in (rows, batch)]


def in_json(data: bytes, rng: random.Random, damage: Damage) -> bytes:
    content = json.loads(data)
    replace_leaf(content, rng)
    return json.dumps(content).encode()


def in_lines(data: bytes, rng: random.Random, damage: Damage) -> bytes:
    rows = data.splitlines()
    at = rng.randrange(len(rows))
    rows[at] = in_json(rows[at], rng, damage)
    return b"\n".join(rows) + b"\n"


def words() -> list[bytes]:
    body = b"".join(name + b" " + " ".join(f"{v:.4f}" for v in row).encode() + b"\n" for name, row in zip(IDS, X, strict=True))
    saved = io.BytesIO()
    np.savetxt(saved, X, header="made by hand")
    quoted = b'"V1" "V2" "V3" "V4" "V5" "V6"\n' + b"".join(
        b'"%s' % line.replace(b" ", b'" ', 1) + b"\n" for line in body.splitlines()
    )
    return [body, b"%d %d\n" % X.shape + body, saved.getvalue(), quoted]


def binary_words() -> list[bytes]:
    rows = b"".join(name + b" " + row.tobytes() + b"\n" for name, row in zip(IDS, X, strict=True))
    return [b"%d %d\n" % X.shape + rows]


def packed() -> list[bytes]:
    return [gzip.compress(words()[1], mtime=0)]


def torch_files(form: bool) -> list[bytes]:
    import torch

    contents = [torch.tensor(X), {"embeddings": torch.tensor(CODES), "scale": 0.5, "ids": NAMES}]
    contents.append(torch.complex(torch.tensor(X), torch.tensor(X)).conj().imag)
    made = []
    for content in contents:
        out = io.BytesIO()
        torch.save(content, out, _use_new_zipfile_serialization=form)
        made.append(out.getvalue())
    return made


def old_torch_files() -> list[bytes]:
    return torch_files(False) + [torch_archives.legacy(body) for body in torch_archives.OLD.values()]


def in_pickle(data: bytes, rng: random.Random, damage: Damage) -> bytes:
    """One byte before the numbers of an old file of PyTorch."""
    changed = bytearray(data)
    changed[rng.randrange(len(data) - 4 * X.size)] = rng.randrange(256)
    return bytes(changed)


def matlab() -> list[bytes]:
    from scipy.io import savemat

    content = {"features": X, "names": np.array(NAMES, dtype=object)}
    return [written(partial(savemat, mdict=content, do_compression=c), "x.mat") for c in (False, True)]


def matlab_7() -> list[bytes]:
    import h5py

    def write(path: Path, kind: str) -> None:
        with h5py.File(path, "w", userblock_size=512) as file:
            file["features"], file["features"].attrs["MATLAB_class"] = X.T, np.bytes_("single")
            letters = [np.frombuffer(name.ljust(8).encode("utf-16-le"), "<u2") for name in NAMES]
            if kind == "cell":
                for i, part in enumerate(letters):
                    file[f"#refs#/{i}"] = part[:, None]
                references = np.array([file[f"#refs#/{i}"].ref for i in range(N)], h5py.ref_dtype)
                file.create_dataset("names", data=references[None], dtype=h5py.ref_dtype)
            else:
                file["names"] = np.array(letters).T
            file["names"].attrs["MATLAB_class"] = np.bytes_(kind)

    return [written(partial(write, kind=kind), "x.mat") for kind in ("cell", "char")]


def hdf5_layouts() -> list[bytes]:
    """Ids in attributes and in groups, a vector for each item, quantised numbers."""
    import h5py

    def attributes(file: Any) -> None:
        file["embeddings"] = X
        file["embeddings"].attrs["ids"] = NAMES
        file.attrs["names"] = json.dumps(NAMES)

    def groups(file: Any) -> None:
        file["X"], file["meta/image_names"] = X, NAMES

    def items(file: Any) -> None:
        for name, row in zip(NAMES, X, strict=True):
            file[f"{name}/embedding"] = row

    def quantised(file: Any) -> None:
        file["embeddings"], file["ids"], file["scale"], file["zero_point"] = CODES, NAMES, X[0], 3
        file["embeddings"].attrs["add_offset"] = 0.5

    def made(path: Path, fill: Callable[[Any], None]) -> None:
        with h5py.File(path, "w") as file:
            fill(file)

    return [written(partial(made, fill=fill), "x.h5") for fill in (attributes, groups, items, quantised)]


def faiss_files() -> list[bytes]:
    import faiss

    flat = faiss.IndexFlatIP(X.shape[1])
    flat.add(X)
    mapped = faiss.IndexIDMap(faiss.IndexFlatL2(X.shape[1]))
    mapped.add_with_ids(X, np.arange(N) * 7 + 3)
    return [written(lambda path, index=index: faiss.write_index(index, str(path)), "x.faiss") for index in (flat, mapped)]


def sqlite() -> list[bytes]:
    def write(path: Path) -> None:
        base = sqlite3.connect(path)
        base.execute("create table v (doc_id text, embedding blob)")
        base.executemany("insert into v values (?, ?)", [(name, row.tobytes()) for name, row in zip(NAMES, X, strict=True)])
        base.commit()
        base.close()

    return [written(write, "x.db")]


def quantised_arrays() -> list[bytes]:
    ranges = np.vstack([X.min(0), X.max(0)])
    return [
        written(partial(np.savez, embeddings=CODES, **more), "x.npz")
        for more in ({"ranges": ranges}, {"scale": X[0], "offset": np.ones((N, 1)), "names": np.array(NAMES)})
    ]


# --- folders ---


def tarred(fill: Callable[[Path], Any]) -> bytes:
    """The files that `fill` writes into a folder, as a tar."""
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder))
        with tarfile.open(fileobj=out, mode="w") as tar:
            for path in sorted(Path(folder).rglob("*")):
                info = tarfile.TarInfo(str(path.relative_to(folder)))
                if path.is_file():
                    info.size = path.stat().st_size
                    tar.addfile(info, io.BytesIO(path.read_bytes()))
    return out.getvalue()


def in_tar(data: bytes, rng: random.Random, damage: Damage) -> bytes:
    """One file of a folder damaged, or lost."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        members = old.getmembers()
        chosen = rng.randrange(len(members))
        for i, member in enumerate(members):
            content = bytearray(old.extractfile(member).read())  # type: ignore[union-attr]
            if i == chosen and rng.random() < 0.05:
                continue
            if i == chosen and content:
                text = content.lstrip()[:1] in (b"{", b"[") and rng.random() < 0.7
                content = bytearray(in_json(bytes(content), rng, damage)) if text else content
                damage(content, rng)
            member.size = len(content)
            new.addfile(member, io.BytesIO(bytes(content)))
    return out.getvalue()


def read_folder(path: Path, read: Callable[[Path], None] = read_vectors) -> None:
    folder = path.with_suffix("")
    try:
        with tarfile.open(path) as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, ValueError, EOFError):
        raise DataError("the damage has left no folder") from None
    read(folder)


def zarr_store(folder: Path, form: int) -> None:
    import zarr

    root = zarr.open_group(str(folder), mode="w", zarr_format=form)
    root.create_array("embeddings", data=X, chunks=(10, 6))
    root.create_array("row_id", data=np.arange(N) * 3 + 7)


def mteb(folder: Path) -> None:
    (folder / "vectors.npy").write_bytes(X.tobytes())
    (folder / "index.json").write_text(json.dumps({f"{i:064x}": i for i in range(N)}))
    (folder / "dimension").write_text(str(X.shape[1]))


def parts(folder: Path) -> None:
    from pyarrow import parquet as pq

    for i in range(3):
        pq.write_table(table().slice(8 * i, 8), folder / f"part-{i}.parquet")


def saved_dataset(folder: Path) -> None:
    from pyarrow import ipc

    with ipc.new_stream(str(folder / "data-0.arrow"), table().schema) as sink:
        sink.write_table(table())
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-0.arrow"}]}))


def clip(folder: Path) -> None:
    from pyarrow import parquet as pq

    for side in ("img_emb", "metadata"):
        (folder / side).mkdir()
    np.save(folder / "img_emb" / "img_emb_0.npy", X)
    pq.write_table(table().select(["id"]), folder / "metadata" / "metadata_0.parquet")


TEXTS = b"Doc_ID,label,text\n" + b"".join(b"d%d,c%d,text %d\n" % (i, i % 3, i) for i in range(8))


def more_kinds() -> dict[str, Kind]:
    """The kinds of this file."""
    folder = partial(Kind, "x.tar", use=read_folder, inner=in_tar)
    return {
        "arrow": Kind("x.arrow", arrow, read_vectors),
        "json": Kind("x.json", jsons, read_vectors, in_json),
        "vectors in jsonl": Kind("x.jsonl", lines, read_vectors, in_lines),
        "words": Kind("x.vec", words, read_vectors, in_text),
        "binary words": Kind("x.bin", binary_words, read_vectors),
        "words.gz": Kind("x.vec.gz", packed, read_vectors, in_gzip),
        "pt": Kind("x.pt", partial(torch_files, True), read_vectors, in_zip),
        "old pt": Kind("x.pt", old_torch_files, read_vectors, in_pickle),
        "mat": Kind("x.mat", matlab, read_vectors),
        "mat 7.3": Kind("x.mat", matlab_7, read_vectors),
        "hdf5 layouts": Kind("x.h5", hdf5_layouts, read_vectors),
        "faiss": Kind("x.faiss", faiss_files, read_vectors),
        "sqlite": Kind("x.db", sqlite, read_vectors),
        "quantised npz": Kind("x.npz", quantised_arrays, read_vectors, in_zip),
        "texts": Kind("x.csv", lambda: [TEXTS], partial(read_source, "table"), in_text),
        "zarr": folder(good=lambda: [tarred(partial(zarr_store, form=form)) for form in (2, 3)]),
        "mteb cache": folder(good=lambda: [tarred(mteb)]),
        "parts": folder(good=lambda: [tarred(parts)]),
        "saved dataset": folder(good=lambda: [tarred(saved_dataset)]),
        "clip-retrieval": folder(good=lambda: [tarred(clip)]),
    }
