"""Texts that are too long for an id stand for themselves by their SHA-256, the same in every format."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather
from pyarrow import parquet as pq

from relrep_cli import store
from relrep_cli.base.errors import DataError
from relrep_cli.store.columns import shortened
from relrep_cli.store.positions import check_positions
from relrep_cli.store.reading import Reading

X = np.arange(8.0).reshape(4, 2)
TEXTS = ["short", *(f"{'é' * 3000}{i}" for i in range(3))]  # which differ at their end alone


def files(folder: Path) -> list[Path]:
    rows = [{"text": text, "v": x.tolist()} for text, x in zip(TEXTS, X, strict=True)]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "a.csv").write_text("text,e0,e1\n" + "".join(f"{t},{a},{b}\n" for t, (a, b) in zip(TEXTS, X, strict=True)))
    table = pa.table({"text": pa.array(TEXTS).dictionary_encode(), "v": X.tolist()})
    pq.write_table(table, folder / "a.parquet")
    feather.write_feather(pa.table({"text": TEXTS, "v": X.tolist()}), str(folder / "a.feather"))
    with sqlite3.connect(folder / "a.db") as base:
        base.execute("create table t (text text, v blob)")
        base.executemany("insert into t values (?, ?)", [(t, x.astype("<f4").tobytes()) for t, x in zip(TEXTS, X, strict=True)])
    base.close()
    return sorted(folder.iterdir())


def test_long_texts_are_ids_by_their_digest(tmp_path: Path) -> None:
    digest = hashlib.sha256(TEXTS[1].encode()).hexdigest()
    for path in files(tmp_path):
        ids = store.read(str(path), Reading(id_column="text")).ids.tolist()
        assert ids == [shortened(text.encode()) for text in TEXTS] and len(set(ids)) == 4 and ids[0] == b"short"
        assert ids[1].decode() == f"{'é' * 64}… sha256:{digest}"


def test_long_texts_that_nobody_named_forbid_pairing_by_position(tmp_path: Path) -> None:
    for path in files(tmp_path):
        e = store.read(str(path))
        assert e.id_candidates == ("text",), path
        with pytest.raises(DataError, match="--id-column text"):
            check_positions([e, e])
