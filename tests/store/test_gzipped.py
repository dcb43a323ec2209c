"""Packed text reads as the text does, whoever packed it. Hostile files, and what is said of them, are in test_foreign.py."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.sources import chosen
from relrep_cli.store.foreign import found_in

N, D = 30, 4
X = np.random.default_rng(0).standard_normal((N, D))
IDS = [f"w{i}" for i in range(N)]
ROWS = list(zip(IDS, X.tolist(), strict=True))
TEXTS = {
    "x.csv": "id,e0,e1,e2,e3\n" + "".join(f"{i},{','.join(map(repr, row))}\n" for i, row in ROWS),
    "x.tsv": "id\te0\te1\te2\te3\n" + "".join(i + "\t" + "\t".join(map(repr, row)) + "\n" for i, row in ROWS),
    "x.jsonl": "".join(json.dumps({"id": i, "v": row}) + "\n" for i, row in ROWS),
    "x.json": json.dumps({"id": IDS, "v": X.tolist()}),
    "x.txt": "".join(f"{i} {' '.join(map(repr, row))}\n" for i, row in ROWS),
    "x.vec": f"{N} {D}\n" + "".join(f"{i} {' '.join(map(repr, row))}\n" for i, row in ROWS),
}


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("name", TEXTS)
def test_packed_text_reads_as_the_text(tmp_path: Path, name: str, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gzip file may be several streams one after another, as bgzip writes them."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    content = TEXTS[name].encode()
    (tmp_path / name).write_bytes(content)
    step = -(-len(content) // parts)
    packed = b"".join(gzip.compress(content[at : at + step]) for at in range(0, len(content), step))
    (tmp_path / f"{name}.GZ").write_bytes(packed)
    plain, read_content = found_in(tmp_path / name), found_in(tmp_path / f"{name}.GZ")
    assert np.array_equal(read_content.x, plain.x) and np.allclose(read_content.x, X)
    assert read_content.ids is not None and [i.decode() for i in read_content.ids] == IDS
    assert not os.listdir(tmp_path / "temporary")


def test_names_beside_packed_vectors_are_found(tmp_path: Path) -> None:
    (tmp_path / "vectors.tsv.gz").write_bytes(gzip.compress("\n".join("\t".join(map(repr, row)) for _, row in ROWS).encode()))
    (tmp_path / "metadata.tsv").write_text("\n".join(IDS) + "\n")
    ids = found_in(tmp_path / "vectors.tsv.gz").ids
    assert ids is not None and [i.decode() for i in ids] == IDS


def test_embed_takes_packed_text_for_what_it_is(tmp_path: Path) -> None:
    for name, source in (("a.vec.gz", "vectors"), ("a.txt.gz", "lines"), ("a.jsonl.gz", "table"), ("train-images.gz", "idx")):
        (tmp_path / name).touch()
        assert chosen(str(tmp_path / name)) == source


def test_commands_read_packed_text(work: Workdir) -> None:
    for name in ("x.csv", "x.vec"):
        (work / f"{name}.gz").write_bytes(gzip.compress(TEXTS[name].encode()))
    done = work.here("relrep compare x.csv.gz x.vec.gz --metric cka")
    assert float(done.rows[0]["value"]) == pytest.approx(1, abs=1e-5)
