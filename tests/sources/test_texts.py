"""Texts and graphs: lines, TREC's questions, tables, citations; broken lines are named or counted."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.sources import SOURCES, Items, chosen, read
from relrep_cli.store.reading import Reading


def items(path: Path | str, **given: Any) -> Items:
    name = chosen(str(path), "", list(given))
    return read(str(path), name, SOURCES[name].resolve(given))


def test_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufefffirst\r\nsecond é\nthird".encode())
    out = items(tmp_path / "a.txt")
    assert out.kind == "texts" and out.x.shape == (3,) == (len(out.x),)
    assert out.x[:] == ["first", "second é", "third"] == out.x[np.arange(3)] and out.x[[2, 0]] == ["third", "first"]
    assert list(out.ids) == [b"a-000000", b"a-000001", b"a-000002"] and not out.obs
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress((tmp_path / "a.txt").read_bytes()))
    assert items(tmp_path / "b.txt.gz").digest == out.digest


def test_broken_lines_are_named_or_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "relrep")
    (tmp_path / "a.txt").write_bytes(b"good\n \nb\xffd\nalso good\n")
    with pytest.raises(DataError, match=r"a.txt: line 2: it is empty. .*--skip-bad"):
        items(tmp_path / "a.txt")
    out = items(tmp_path / "a.txt", skip_bad=True)
    assert out.x[:] == ["good", "also good"] and list(out.ids) == [b"a-000000", b"a-000003"], "ids keep their places"
    assert "2 items left out" in caplog.text
    (tmp_path / "a.txt").write_bytes(b"good\nb\xffd\n")
    with pytest.raises(DataError, match=r"line 2: byte 2 does not occur in UTF-8 text"):
        items(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_bytes(b"x" * (1 << 20) + b"yz\nshort")
    with pytest.raises(DataError, match=r"line 1: it is 1048578 bytes long; at most"):
        items(tmp_path / "a.txt")


def test_trec(tmp_path: Path) -> None:
    (tmp_path / "train_5500.label").write_bytes(b"DESC:manner How ?\nENTY:cremat What caf\xe9 ?\n")
    (tmp_path / "TREC_10.label").write_bytes(b"NUM:dist How far ?\n")
    out = items(tmp_path)
    assert out.x[:] == ["How ?", "What café ?", "How far ?"]
    assert list(out.label) == [b"DESC", b"ENTY", b"NUM"] and list(out.split) == [b"train", b"train", b"test"]
    assert out.obs["fine_label"][2] == b"NUM:dist" and out.ids[2] == b"test-000000"


def test_damaged_gzip(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(gzip.compress(b"hello\n" * 1000)[:-9])
    with pytest.raises(DataError, match="gzip stream is damaged"):
        items(tmp_path / "a.txt")


ROWS = [("a", "x, y", "one", "train"), ("b", "second", "two", "test"), ("c", 'say "no"', "one", "test")]


def tables(folder: Path) -> None:
    import csv

    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("id", "body", "topic", "split")
    with (folder / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([names, *ROWS])
    (folder / "t.tsv").write_text("\n".join("\t".join(row) for row in [names, *ROWS]))
    objects = [dict(zip(names, row, strict=True)) | {"extra": [1]} for row in ROWS]
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, objects)))
    pq.write_table(pa.Table.from_pylist(objects), folder / "t.parquet")


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_tables(tmp_path: Path, ending: str) -> None:
    tables(tmp_path)
    out = items(tmp_path / f"t.{ending}", text_column="body", label_column="topic")
    assert out.x[:] == [row[1] for row in ROWS] and list(out.ids) == [b"a", b"b", b"c"]
    assert list(out.label) == [b"one", b"two", b"one"] and list(out.split) == [b"train", b"test", b"test"]
    with pytest.raises(DataError, match=r"no (column|text in column) ?.*(nothing|gone)|no column of this name"):
        items(tmp_path / f"t.{ending}", text_column="gone")


def test_tables_without_header(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text('"1","first ""quoted"" text"\n"2","over\ntwo lines"\n')
    (tmp_path / "test.csv").write_text('"1","third"\n')
    out = items(tmp_path, text_column="2", label_column="1")
    assert out.x[:] == ['first "quoted" text', "over\ntwo lines", "third"] and list(out.label) == [b"1", b"2", b"1"]
    assert list(out.split) == [b"train", b"train", b"test"]


def test_broken_rows(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n{"text": 3}\nnonsense\n' + "[" * 100_000 + "\n")
    with pytest.raises(DataError, match=r"t.jsonl: line 2: no text in column 'text'; found text"):
        items(tmp_path / "t.jsonl")
    assert len(items(tmp_path / "t.jsonl", skip_bad=True).x) == 1
    (tmp_path / "t.csv").write_text("text,label\na,1\nb\n")
    with pytest.raises(DataError, match=r"t.csv: line 3: it has 1 cells of 2"):
        items(tmp_path / "t.csv", text_column="text")
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + bytes(50) + b"PAR1")
    with pytest.raises(DataError, match=r"t.parquet: damaged"):
        items(tmp_path / "t.parquet", text_column="text")


def test_ids_stand_once(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n')
    with pytest.raises(DataError, match="1 ids occur more than once, such as a"):
        items(tmp_path / "t.jsonl")


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"one\ntwo\n"))))
    out = items("-")
    assert out.x[:] == ["one", "two"] and list(out.ids) == [b"text-000000", b"text-000001"]


def test_memory_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    import tracemalloc

    with (tmp_path / "a.txt").open("wb") as file:
        for i in range(3000):
            file.write(b"%d " % i + b"x" * 10_000 + b"\n")
    tracemalloc.start()
    assert items(tmp_path / "a.txt").x[[2999]][0].startswith("2999 x")
    assert tracemalloc.get_traced_memory()[1] < 5_000_000 < 30_000_000 < (tmp_path / "a.txt").stat().st_size
    tracemalloc.stop()


# Graphs


@pytest.fixture
def cora(tmp_path: Path) -> Path:
    lines = [f"p{i}\t{i % 2}\t1\t0.5\t{'AB'[i % 2]}" for i in range(60)]
    (tmp_path / "cora.content.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    cites = ["p0\tp1", "p1\tp0", "p2\tp2", "p3\tp1"]
    (tmp_path / "cora.cites").write_text("\n".join(cites) + "\n")
    return tmp_path


def test_citations(cora: Path) -> None:
    out = items(cora, per_class=5)
    assert out.kind == "graph" and out.x.shape == (60, 3) and list(out.x[1]) == [1, 1, 0.5]
    assert out.edges is not None and out.edges.tolist() == [[0, 1], [1, 3]], "each pair once, no loops"
    assert [(out.split == part).sum() for part in (b"train", b"valid", b"test", b"rest")] == [10, 16, 34, 0]
    assert all((out.label[out.split == b"train"] == c).sum() == 5 for c in (b"A", b"B"))
    again, other = items(cora, per_class=5), items(cora, per_class=5, split_seed=1)
    assert np.array_equal(out.split, again.split) and not np.array_equal(out.split, other.split)
    assert out.digest == other.digest


def test_citations_that_are_broken(cora: Path) -> None:
    (cora / "cora.cites").write_text("p0 p1\np0 gone\np3\n")
    with pytest.raises(DataError, match=r"cora.cites: line 2: there is no node gone"):
        items(cora)
    out = items(cora, skip_bad=True)
    assert out.edges is not None and out.edges.tolist() == [[0, 1]]
    (cora / "cora.content.gz").write_bytes(gzip.compress(b"a 1 2 X\nb 1 Y\nc 1 z Y\n" + b"d 1 2 X\n" * 1))
    (cora / "cora.cites").write_text("a d\n")
    with pytest.raises(DataError, match=r"content.gz: line 2: it has 3 cells, the first line 4"):
        items(cora, per_class=1)


def test_a_table_is_texts_for_encoders_of_texts_and_vectors_for_others(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\na b,x\n")
    assert chosen(str(tmp_path / "t.csv"), takes={"texts"}) == "table"
    assert chosen(str(tmp_path / "t.csv"), takes={"images", "vectors"}) == "vectors"


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_the_ids_of_texts_follow_the_reading_rule(tmp_path: Path, ending: str) -> None:
    """The column is found by its name whatever its case; of two that could be the ids, the user says which."""
    rows = [{"Doc_ID": f"d{i}", "name": f"n{i % 2}", "Labels": "ab"[i % 2], "text": f"text {i}"} for i in range(4)]
    path = tmp_path / f"t{ending}"

    def written() -> Path:
        lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)] if ending == ".csv" else map(json.dumps, rows)
        path.write_text("\n".join(lines) + "\n")
        return path

    read_back = read(str(written()), "table", SOURCES["table"].resolve({}))
    assert list(read_back.ids) == [b"d0", b"d1", b"d2", b"d3"] and list(read_back.obs["label"]) == [b"a", b"b", b"a", b"b"]
    for i, row in enumerate(rows):
        row["name"] = f"n{i}"
    with pytest.raises(DataError, match="Doc_ID, name could each be the ids"):
        read(str(written()), "table", SOURCES["table"].resolve({}))
    read_back = read(str(path), "table", SOURCES["table"].resolve({}), Reading(id_column="name"))
    assert list(read_back.ids) == [b"n0", b"n1", b"n2", b"n3"]


def test_a_source_without_columns_refuses_what_names_one(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("one\ntwo\n")
    with pytest.raises(UsageError, match="--id-column does not go with --source lines"):
        read(str(tmp_path / "t.txt"), "lines", {}, Reading(id_column="name"))
