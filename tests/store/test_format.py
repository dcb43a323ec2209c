"""The written file, as docs/format.md promises it to programs that are not relrep; and what relrep reads of theirs."""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import socket
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ANCHORS, CHECKOUT, D, N, Workdir, columns, only_line, vectors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from relrep_cli import __version__, store
from relrep_cli.base.errors import DataError
from relrep_cli.embedding import Embedding

ARCHIVE = Path(__file__).parents[1] / "data" / "v1.h5"
X, CLOUDS = vectors()
COLUMNS = columns(CLOUDS)
ROOT = {"format", "format-version", "generated-by", "encoding-type", "encoding-version", "kind", "space", "steps"}
ROOT |= {"digest", "checksum"}


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def documented_content(x: np.ndarray, ids: list[str]) -> bytes:
    """The bytes that have a digest, as docs/format.md words it, without relrep."""
    n, d = x.shape
    head = b"relrep-1\n" + f"{n} {d} {x.dtype.name}\n".encode()
    return head + b"".join(item.encode() + b"\0" for item in ids) + x.astype(x.dtype.newbyteorder("<")).tobytes()


def documented_digest(x: np.ndarray, ids: list[str]) -> str:
    return f"sha256:{hashlib.sha256(documented_content(x, ids)).hexdigest()}"


def documented_checksum(x: np.ndarray, ids: list[str]) -> str:
    content = documented_content(x, ids)
    pieces = [content[start : start + (1 << 20)] for start in range(0, len(content), 1 << 20)]
    sums = b"".join(zlib.crc32(piece).to_bytes(4, "little") for piece in pieces)
    fast = f"crc32:{hashlib.sha256(sums).hexdigest()}"
    return f"sha256:{hashlib.sha256(f'{fast} {documented_digest(x, ids)}'.encode()).hexdigest()}"


# --- the file on disk ---


def test_two_lines_of_h5py(made: Path) -> None:
    x = h5py.File(made / "a.h5")["X"][:]
    assert x.dtype == np.float32 and np.array_equal(x, X)


def test_x_can_be_mapped(made: Path) -> None:
    """Contiguous, uncompressed, allocated, little-endian, at the offset that HDF5 tells."""
    for name, dtype in (("a.h5", "<f4"), ("a.rel.h5", "<f4")):
        with h5py.File(made / name) as file:
            data = file["X"]
            assert data.chunks is None and data.compression is None and data.dtype == np.dtype(dtype)
            offset, shape, expected = data.id.get_offset(), data.shape, data[:]
            assert data.id.get_storage_size() == data.size * data.dtype.itemsize
        assert np.array_equal(np.memmap(made / name, dtype, "r", offset, shape), expected)


def test_attributes(made: Path) -> None:
    for name, kind in (("a.h5", "absolute"), ("a.rel.h5", "relative"), ("anchors.h5", "absolute")):
        with h5py.File(made / name) as file:
            actual = dict(file.attrs)
            assert set(actual) == ROOT | ({"source-space"} if kind == "relative" else set())
            assert set(file) == {"X", "obs", "var"}
        assert int(actual["format-version"]) == 1
        assert {k: text(actual[k]) for k in ("format", "generated-by", "encoding-type", "encoding-version", "kind")} == {
            "format": "HDF5::RelRep",
            "generated-by": f"relrep {__version__}",
            "encoding-type": "anndata",
            "encoding-version": "0.1.0",
            "kind": kind,
        }


def test_every_text_is_of_fixed_length(made: Path) -> None:
    """No global heap: strings lie in place, as wide as the longest, UTF-8."""

    def check(name: str, item: Any) -> None:
        things = [item] if isinstance(item, h5py.Dataset) else []
        dtypes = [d.dtype for d in things] + [item.attrs.get_id(a).dtype for a in item.attrs]
        for dtype in dtypes:
            info = h5py.check_string_dtype(dtype)
            assert info is None or (info.length is not None and info.encoding == "utf-8"), name

    with h5py.File(made / "a.rel.h5") as file:
        file.visititems(check)
        check("/", file)
        assert file["obs/id"].dtype.itemsize == len("item-000")


def test_digest_as_documented(made: Path) -> None:
    for name in ("a.h5", "b.rel.h5", "anchors.h5"):
        with h5py.File(made / name) as file:
            ids = [i.decode() for i in file["obs/id"]]
            assert text(file.attrs["digest"]) == documented_digest(file["X"][:], ids)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_digest_of_every_dtype(empty: Workdir, dtype: str) -> None:
    np.savez(empty / "x.npz", x=X[:5].astype(">f8"), ids=["é", "b", "c", "d", "a longer id"])
    empty.here(f"relrep embed x.npz --dtype {dtype} -o x.h5 -q")
    with h5py.File(empty / "x.h5") as file:
        content = X[:5].astype(dtype), ["é", "b", "c", "d", "a longer id"]
        assert file["X"].dtype == np.dtype(dtype).newbyteorder("<")
        assert text(file.attrs["digest"]) == documented_digest(*content)
        assert text(file.attrs["checksum"]) == documented_checksum(*content)
    assert "digest verified\tyes" in empty.here("relrep info x.h5 --verify").stdout


def test_checksum_of_several_pieces(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(300, 1000))
    frame = {"obs": {}, "var": {"id": np.arange(1000).astype("S")}, "kind": "absolute", "space": "s", "steps": []}
    ids = [f"item {i}" for i in range(300)]
    store.write(str(tmp_path / "x.h5"), [x[:7], x[7:]], shape=x.shape, dtype="float64", ids=np.array(ids, "S"), **frame)
    with h5py.File(tmp_path / "x.h5") as file:
        assert text(file.attrs["checksum"]) == documented_checksum(x, ids)


# --- other programs ---


def test_anndata_opens_it(made: Path) -> None:
    a = anndata.read_h5ad(made / "a.h5")
    assert a.shape == (N, D) and np.array_equal(a.X, X)
    assert list(a.obs_names) == COLUMNS["ids"].tolist()
    assert a.obs["label"].dtype.name == "category" and a.obs["label"].tolist() == COLUMNS["label"].tolist()
    assert a.obs["split"].tolist() == COLUMNS["split"].tolist()
    assert list(a.var_names) == [str(i) for i in range(D)]
    anchors = anndata.read_h5ad(made / "anchors.h5")
    relative = anndata.read_h5ad(made / "a.rel.h5")
    assert relative.shape == (N, ANCHORS) and relative.obs.equals(a.obs)
    assert list(relative.var_names) == [f"cosine:{i}" for i in anchors.obs_names]
    assert relative.var["anchor"].tolist() == list(anchors.obs_names) and set(relative.var["similarity"]) == {"cosine"}
    assert np.array_equal(anchors.X, a[anchors.obs_names].X)


def test_anndata_reads_a_centred_projection(work: Workdir) -> None:
    work.here("relrep project a.h5 -a anchors.h5 --center --dtype float64 -o x.h5")
    actual = anndata.read_h5ad(work / "x.h5", backed="r")
    train = COLUMNS["split"] == "train"
    assert np.allclose(actual.uns["center"], X[train].mean(0, dtype=np.float64), rtol=1e-12)
    anchors = anndata.read_h5ad(work / "anchors.h5").X - actual.uns["center"]
    moved = X - actual.uns["center"]
    expected = (moved @ anchors.T) / np.outer(np.linalg.norm(moved, axis=1), np.linalg.norm(anchors, axis=1))
    assert np.allclose(actual.X[:], expected, atol=1e-6)
    actual.file.close()


def test_anndata_may_rewrite_it(work: Workdir) -> None:
    """What AnnData writes back is read again: ids, labels, splits and vectors are the same."""
    anndata.read_h5ad(work / "a.h5").write_h5ad(work / "again.h5ad")
    rows = work.here("relrep compare a.h5 again.h5ad -m cosine,jaccard -q").rows
    assert [r["value"] for r in rows] == ["1.0", "1.0"] and rows[0]["n"] == str(N)
    work.here("relrep stitch again.h5ad b.h5 -a anchors.h5 --head linear -q")


# --- where it came from ---


def steps(path: Path) -> list[dict[str, Any]]:
    with h5py.File(path) as file:
        return json.loads(text(file.attrs["steps"]))


def test_steps_are_a_chain(made: Path) -> None:
    chain = steps(made / "a.rel.h5")
    assert [s["command"] for s in chain] == ["embed", "anchor", "project"]
    embed, anchor, project = chain
    assert embed["prev"] == [] and anchor["prev"] == [embed["id"]] and project["prev"] == [embed["id"], anchor["id"]]
    for step in chain:
        assert set(step) == {"id", "prev", "program", "version", "command", "params", "seed", "inputs", "time"}
        assert re.fullmatch(r"[0-9a-f]{16}", step["id"]) and step["version"] == __version__
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", step["time"])
    with h5py.File(made / "a.h5") as a, h5py.File(made / "anchors.h5") as anchors:
        digests = [text(file.attrs["digest"]) for file in (a, anchors)]
    assert project["inputs"] == [{"uri": "a.h5", "digest": digests[0]}, {"uri": "anchors.h5", "digest": digests[1]}]
    assert embed["seed"] is None and anchor["seed"] == 0
    assert anchor["params"] == {"strategy": "per-class", "number": ANCHORS, "split": "train"}
    assert {"similarity": "cosine", "center": False, "dtype": "float32"}.items() <= project["params"].items()


def test_steps_name_no_place(work: Workdir) -> None:
    """No host, user or folder, whatever the paths were."""
    work.here(f"relrep project {work.path}/a.h5 -a {work.path}/anchors.h5 -o {work.path}/x.h5")
    work.here(f"relrep embed {work.path}/a.npz -o {work.path}/y.h5")
    for name in ("x.h5", "y.h5"):
        content = (work / name).read_bytes()
        for secret in (str(work.path.parent), socket.gethostname() + ".", f"/{getpass.getuser()}/", "/home/"):
            assert secret.encode() not in content, secret
        assert steps(work / name)[-1]["inputs"][0]["uri"] in ("a.h5", "a.npz")


def test_spaces(work: Workdir) -> None:
    """Equal where coordinates can be compared, and only there."""

    def space(name: str, command: str = "") -> str:
        if command:
            work.here(f"relrep {command} -o {name} -q")
        with h5py.File(work / name) as file:
            return text(file.attrs["space"])

    assert space("a.rel.h5") == space("b.rel.h5")
    (work / "ids.txt").write_text("item-001\nitem-002\n")
    (work / "turned.txt").write_text("item-002\nitem-001\n")
    words = ["-a anchors.h5 -s euclidean", "-a anchors.h5 --center", "-a ids.txt", "-a turned.txt"]
    actual = {space("a.rel.h5"), *(space(f"x{i}.h5", f"project a.h5 {w}") for i, w in enumerate(words))}
    assert len(actual) == 5 and all(re.fullmatch("relative:[0-9a-f]{16}", name) for name in actual)
    assert space("a.h5") == "a"
    unnamed = space("u.h5", "embed a.npz"), space("v.h5", "embed b.npz")
    assert unnamed[0] != unnamed[1] and all(re.fullmatch("unnamed:[0-9a-f]{16}", name) for name in unnamed)


# --- what relrep reads ---


def in_anndata(path: Path) -> None:
    actual = anndata.AnnData(np.zeros((N, 2), np.float32))
    actual.obs_names, actual.obs["label"], actual.obs["split"] = COLUMNS["ids"], COLUMNS["label"], COLUMNS["split"]
    actual.obsm["X_pca"] = X
    actual.write_h5ad(path)


def in_hdf5(path: Path) -> None:
    """A bare dataset with siblings, as many scripts save it; 0 and 1 for the split."""
    with h5py.File(path, "w") as file:
        group = file.create_group("layer/6")
        group.create_dataset("features", data=X, chunks=(50, D), compression="gzip", shuffle=True)
        group["ids"], group["labels"] = [i.encode() for i in COLUMNS["ids"]], [label.encode() for label in COLUMNS["label"]]
        group["split"] = (COLUMNS["split"] == "test").astype(np.int64)


def in_table(delimiter: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        head = ["id", *(f"x{i}" for i in range(D)), "label", "split"]
        lines = [
            [i, *(repr(float(v)) for v in row), label, split]
            for i, row, label, split in zip(COLUMNS["ids"], X, COLUMNS["label"], COLUMNS["split"], strict=True)
        ]
        path.write_text("".join(delimiter.join(line) + "\n" for line in [head, *lines]))

    return write


def in_parquet(path: Path) -> None:
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), D)
    table = {
        "id": COLUMNS["ids"].tolist(),
        "embedding": lists,
        "label": COLUMNS["label"].tolist(),
        "split": COLUMNS["split"].tolist(),
    }
    pq.write_table(pa.table(table), path)


FORMATS: dict[str, tuple[Callable[[Path], Any], bool]] = {  # file (and member) -> how it is made, whether it has ids
    "x.h5ad::obsm/X_pca": (in_anndata, True),
    "x.h5::/layer/6/features": (in_hdf5, True),
    "x.npz": (lambda path: np.savez(path, x=X, **COLUMNS), True),
    "z.npz::x": (lambda path: np.savez_compressed(path, x=X, other=X[:, :2], **COLUMNS), True),
    "x.csv": (in_table(","), True),
    "x.tsv": (in_table("\t"), True),
    "x.parquet": (in_parquet, True),
    "y.parquet::embedding": (in_parquet, True),
    "x.npy": (lambda path: np.save(path, X), False),
    "fortran.npy": (lambda path: np.save(path, np.asfortranarray(X)), False),
    "x.safetensors": (lambda path: save_file({"x": X}, path), False),
    "big.npy": (lambda path: np.save(path, X.astype(">f4")), False),
    "double.npy": (lambda path: np.save(path, X.astype("f8")), False),
    "whole.npy": (lambda path: np.save(path, (X * 100).astype("i2")), False),
    "half.npy": (lambda path: np.save(path, X.astype("f2")), False),
}


@pytest.mark.parametrize("uri", FORMATS)
def test_reading(empty: Workdir, uri: str) -> None:
    """Through the command: the same vectors, ids, labels and splits, whatever the file."""
    make, named = FORMATS[uri]
    make(empty / uri.partition("::")[0])
    done = empty.here(f"relrep embed {uri} -o out.h5")
    expected = {"whole.npy": (X * 100).astype("i2").astype("f4"), "half.npy": X.astype("f2")}.get(uri, X)
    with h5py.File(empty / "out.h5") as file:
        assert file["X"].dtype == expected.dtype and np.array_equal(file["X"][:], expected)
        ids = [i.decode() for i in file["obs/id"]]
        if named:
            assert ids == COLUMNS["ids"].tolist()
            for name in ("label", "split"):
                values = file[f"obs/{name}/categories"][:][file[f"obs/{name}/codes"][:]]
                assert [v.decode() for v in values] == COLUMNS[name].tolist()
        else:
            assert ids == [str(i) for i in range(N)] and "row numbers stand in" in done.stderr
    assert ("stored as float32" in done.stderr) == (uri in ("double.npy", "x.csv", "x.tsv")), done


def test_several_collections_in_one_file(empty: Workdir, made: Path) -> None:
    with h5py.File(empty / "both.h5", "w") as both:
        for name in ("a", "b"):
            with h5py.File(made / f"{name}.h5") as file:
                group = both.create_group(f"layer/{name}")
                for key in file:
                    file.copy(key, group)
                group.attrs.update({k: v for k, v in file.attrs.items() if k != "digest"})
                group.attrs["digest"] = file.attrs["digest"]
    rows = empty.here("relrep info both.h5").rows
    assert {r["file"] for r in rows} == {"both.h5::layer/a", "both.h5::layer/b"}
    value = empty.here("relrep compare both.h5::/layer/a both.h5::layer/b -m cka -q").rows[0]["value"]
    assert value == empty.here(f"relrep compare {made}/a.h5 {made}/b.h5 -m cka -q").rows[0]["value"]
    assert "/layer/a" in only_line(
        empty.here("relrep compare both.h5 both.h5::layer/b -m cka", 3), "both.h5", "Write both.h5::"
    )


# --- for ever ---


def test_files_of_version_1_stay_readable(empty: Workdir) -> None:
    """tests/data/v1.h5 was written by relrep 0.1.0 (make_v1.py beside it says how) and is never written again."""
    (empty / "v1.h5").write_bytes(ARCHIVE.read_bytes())
    facts = {r["name"]: r["value"] for r in empty.here("relrep info v1.h5 --verify").rows}
    expected = {"items": "12", "dims": "4", "dtype": "float32", "kind": "relative", "anchors": "4", "digest verified": "yes"}
    assert expected.items() <= facts.items()
    assert facts["ids"] == "plain … 長い-11" and facts["labels"] == "3" and facts["splits"] == "none 1, test 4, train 7"
    assert facts["step 2"].startswith("project v1.abs.h5") and facts["statistics"].startswith("center ")
    read_back = store.read(str(ARCHIVE))
    assert read_back.var["anchor"].tolist()[0] == b"plain"
    assert np.allclose(read_back.x[0], [1, *read_back.x[0, 1:]]) and read_back.obs["score"].dtype.kind == "f"
    assert empty.here("relrep compare v1.h5 v1.h5 -m cosine -q").rows[0]["value"] == "1.0"


# --- what is read is what was written ---

KNOBS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "n": st.integers(1, 60),
        "d": st.integers(1, 20),
        "dtype": st.sampled_from(["float16", "float32", "float64"]),
        "scale": st.sampled_from([1e-7, 1.0, 1e4]),
        "special": st.booleans(),  # signed zeros, subnormals, the largest numbers
        "width": st.sampled_from([1, 3, 40, 700]),
        "labels": st.sampled_from([0, 1, 2, 130, 300]),
        "missing": st.booleans(),
        "swapped": st.booleans(),
    }
)


def drawn(knobs: dict[str, Any]) -> Embedding:
    """An embedding of the kind that the knobs describe."""
    rng, n, d = np.random.default_rng(knobs["seed"]), knobs["n"], knobs["d"]
    x = (knobs["scale"] * rng.standard_normal((n, d))).astype(knobs["dtype"])
    if knobs["special"]:
        info = np.finfo(x.dtype)
        x.reshape(-1)[rng.integers(0, x.size, 5)] = [0.0, -0.0, info.smallest_subnormal, info.max, -info.max]
    letters = [*"abc é日🙂\t\n\\\"'/::", "\u2028", "\x7f"]
    ids = [f"{i}{''.join(rng.choice(letters, rng.integers(0, knobs['width'])))}" for i in range(n)]
    obs: dict[str, np.ndarray] = {"score": rng.standard_normal(n), "count": rng.integers(0, 9, n)}
    if knobs["labels"]:
        names = [b"" if knobs["missing"] and not c else f"ä{c}".encode() for c in range(knobs["labels"])]
        obs["label"] = np.array([names[c] for c in rng.integers(0, len(names), n)])
    stored = x.astype(x.dtype.newbyteorder()) if knobs["swapped"] else x
    return Embedding(stored, np.array([i.encode() for i in ids]), obs=obs)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(knobs=KNOBS)
def test_round_trip(tmp_path: Path, knobs: dict[str, Any]) -> None:
    """read(write(x)) is x, bit for bit, with ids and columns; its digest is the documented one."""
    e = drawn(knobs)
    path = tmp_path / "x.h5"
    digest = store.write(
        str(path), [e.x[:7], e.x[7:]], shape=e.x.shape, dtype=knobs["dtype"], ids=e.ids, obs=e.obs,
        var={"id": np.arange(e.d).astype("S4")}, kind="absolute", space="s", steps=[], force=True,
    )  # fmt: skip
    read_back = store.read(str(path))
    native = e.x.astype(knobs["dtype"])
    assert read_back.x.dtype == np.dtype(knobs["dtype"]) and read_back.x.tobytes() == native.tobytes()
    assert read_back.ids.tolist() == e.ids.tolist()
    assert read_back.digest == digest == documented_digest(native, [i.decode() for i in e.ids])
    assert set(read_back.obs) == set(e.obs)
    for name, values in e.obs.items():
        assert np.array_equal(read_back.obs[name], values), name


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    knobs=KNOBS,
    libver=st.sampled_from(["earliest", "v110"]),
    userblock=st.sampled_from([0, 512]),
    chunk=st.integers(0, 20),
    filters=st.integers(0, 7),
    variable=st.booleans(),
)
@pytest.mark.slow
def test_plain_hdf5_is_read_as_it_was_written(
    tmp_path: Path, knobs: dict[str, Any], libver: str, userblock: int, chunk: int, filters: int, variable: bool
) -> None:
    """What h5py writes, in any layout; cut anywhere, it is refused or read the same."""
    e, path = drawn(knobs), tmp_path / "x.h5"
    packing = {"compression": "gzip" if filters & 1 else None, "shuffle": bool(filters & 2), "fletcher32": bool(filters & 4)}
    ids = np.array([i.decode() for i in e.ids.tolist()], object) if variable else e.ids
    with h5py.File(path, "w", libver=(libver, "v110"), userblock_size=userblock) as file:
        layout = {"chunks": (min(chunk, e.n), min(1 + chunk // 2, e.d)), **packing} if chunk else {}
        file.create_dataset("embeddings", data=e.x, **layout)
        file["ids"] = ids
    content = path.read_bytes()
    for length in (len(content), int(np.random.default_rng(knobs["seed"]).integers(len(content)))):
        path.write_bytes(content[:length])
        try:
            read_back = store.read(str(path))
        except DataError:
            assert length < len(content)
            continue
        assert read_back.x.dtype == e.x.dtype and read_back.x.tobytes() == e.x.tobytes()
        assert read_back.ids.tolist() == e.ids.tolist()


def test_the_archive_is_in_the_repository() -> None:
    assert ARCHIVE.is_relative_to(CHECKOUT) and ARCHIVE.stat().st_size < 40_000
