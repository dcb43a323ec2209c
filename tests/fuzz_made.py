"""Kinds of files that relrep itself writes for other commands, and formats whose library may be missing."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree

import lance_tables
import numpy as np
from fuzz_formats import in_json, in_tar, read_folder, tarred
from fuzz_kinds import IDS, Kind, N, X, in_zip, read_source, written

from relrep_cli import cli
from relrep_cli.base.errors import BUG, DONE, DataError
from relrep_cli.stitching.space_maps import read_maps


def run(*words: object) -> str:
    """Run a command in this process. Returns what it prints on stderr. Raises DataError where it refuses."""
    notes = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(notes):
        code = cli.run([str(word) for word in words])
    if code != DONE:
        message = notes.getvalue().rstrip("\n")
        assert code != BUG, message
        raise DataError(message.splitlines()[-1] if message else f"exit code {code} without a word", "")
    return notes.getvalue()


@cache
def written_by(*words: str, output: str) -> bytes:
    """The file that a command writes from two embeddings a.npz and b.npz, and anchors.txt."""

    def work(path: Path) -> None:
        folder = path.parent
        for name, x in (("a", X), ("b", X[:, :4] ** 2)):
            np.savez(folder / f"{name}.npz", x=x, id=IDS, label=np.arange(N) % 3)
        (folder / "anchors.txt").write_bytes(b"".join(one + b"\n" for one in IDS[:8].tolist()))
        run(*(folder / word[1:] if word.startswith("@") else word for word in words))

    return written(work, output)


def part(command: Sequence[str], whole: str, output: str) -> list[bytes]:
    return [written_by(*command, "--shard", "1/1", "-o", f"@{whole}", output=output)]


def read_part(path: Path) -> None:
    target = [] if path.suffix == ".part" else ["-o", path.with_name("whole.h5")]
    run("merge", path, *target)


def maps() -> list[bytes]:
    translate = ("translate", "@a.npz", "--save-map", "@map.h5")
    more = [("--into", "@b.npz", "--method", "ridge"), ("--into", "@b.npz", "--method", "local"), ("@b.npz",)]
    return [written_by(*translate, *one, output="map.h5") for one in more]


def read_map(path: Path) -> None:
    maps = read_maps(str(path))
    assert maps is None or maps.maps


def graphs(folder: Path) -> None:
    nodes = [f"n{i} {i % 2} {i % 3} 1 c{i % 2}" for i in range(8)]
    (folder / "g.content").write_text("\n".join(nodes) + "\n")
    (folder / "g.cites").write_text("".join(f"n{i}\tn{(i * 3 + 1) % 8}\n" for i in range(8)))


def read_graph(path: Path) -> None:
    read_folder(path, partial(read_source, "citations", per_class=1))


def texts() -> list[bytes]:
    import pyarrow as pa
    from pyarrow import parquet as pq

    columns = {"doc_id": [f"d{i}" for i in range(8)], "text": [f"text {i}" for i in range(8)], "label": ["u", "v"] * 4}
    return [written(lambda path: pq.write_table(pa.table(columns), path), "x.parquet")]


def images() -> list[bytes]:
    pixels = (np.arange(6 * 5 * 5 * 3) % 251).astype(np.uint8).reshape(6, 5, 5, 3)
    return [written(partial(np.savez, images=pixels, labels=np.arange(6) % 2), "x.npz")]


def lance_folders() -> list[bytes]:
    """In another process, since a sandbox is forked, and lance survives no fork."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, lance_tables.__file__, folder], check=True, capture_output=True)
        return [tarred(partial(copytree, Path(folder, name), dirs_exist_ok=True)) for name in ("whole.lance", "deleted.lance")]


def made_kinds() -> dict[str, Kind]:
    """The kinds of this file."""
    folder = partial(Kind, "x.tar", inner=in_tar)
    compare = ("compare", "@a.npz", "@b.npz", "--metric", "cka", "--metric", "jaccard", "--permutations", "9")
    stitch = ("stitch", "@a.npz", "@b.npz", "-a", "@anchors.txt", "--method", "absolute", "--method", "relative")
    project = ("project", "@a.npz", "-a", "@anchors.txt")
    kinds = {
        "map": Kind("x.h5", maps, read_map),
        "part of compare": Kind("x.part", partial(part, compare, "c.tsv", "c.tsv.1-of-1.part"), read_part, in_json),
        "part of stitch": Kind("x.part", partial(part, stitch, "s.tsv", "s.tsv.1-of-1.part"), read_part, in_json),
        "part of project": Kind("x.h5", partial(part, project, "p.h5", "p.1-of-1.h5"), read_part),
        "graph": folder(good=lambda: [tarred(graphs)], use=read_graph),
        "texts in parquet": Kind("x.parquet", texts, partial(read_source, "table")),
        "images in npz": Kind("x.npz", images, partial(read_source, "arrays"), in_zip),
    }
    if find_spec("lance"):
        kinds["lance"] = folder(good=lance_folders, use=read_folder, slow_import="lance")
    return kinds
