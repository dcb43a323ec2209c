"""JSON lines and JSON: what people and services write, read with its ids; hostile files are in test_foreign.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Workdir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relrep_cli.base.errors import DataError
from relrep_cli.store import Reading, read
from relrep_cli.store.foreign import found_in
from relrep_cli.store.found import Found

N, D = 40, 6
X = np.random.default_rng(0).standard_normal((N, D))
IDS = [f"é{i}" for i in range(N)]
LABELS = [f"l{i % 3}" for i in range(N)]
OBJECTS = [{"text": "some", "id": i, "embedding": row, "label": k} for i, row, k in zip(IDS, X.tolist(), LABELS, strict=True)]
COLUMNS = {"id": IDS, "embedding": X.tolist(), "label": LABELS}
BY_ROW = {name: {str(i): value for i, value in enumerate(column)} for name, column in COLUMNS.items()}
WIDE = [{"doc_id": i, **{f"emb_{j}": v for j, v in enumerate(row)}} for i, row in zip(IDS, X.tolist(), strict=True)]


def lines(items: Any, end: str = "\n") -> str:
    return "".join(json.dumps(item) + end for item in items)


def made(tmp_path: Path, name: str, content: Any, member: str | None = None, **reading: Any) -> Found:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8", newline="")
    return found_in(path, member, Reading(**reading))


def refusal(tmp_path: Path, name: str, content: Any, **reading: Any) -> str:
    with pytest.raises(DataError) as caught:
        made(tmp_path, name, content, **reading)
    assert str(caught.value).isprintable()
    return str(caught.value).removeprefix(f"{tmp_path / name}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", lines(OBJECTS)),
        ("x.ndjson", lines(OBJECTS, "\r\n")),
        ("x.jsonl", "\ufeff" + lines(OBJECTS).replace("\n", "\n\n")),
        ("x.json", lines(OBJECTS)),
        ("x.json", OBJECTS),
        ("x.json", json.dumps(OBJECTS, indent=2, ensure_ascii=False)),
        ("x.json", COLUMNS),
        ("x.json", json.dumps(COLUMNS, indent=1)),
        ("x.json", BY_ROW),
        ("x.json", {"columns": list(COLUMNS), "index": list(range(N)), "data": list(zip(*COLUMNS.values(), strict=True))}),
        ("x.json", {"object": "list", "model": "m", "data": OBJECTS}),
        ("x.json", {"result": {"points": OBJECTS, "next": None}}),
    ],
)  # fmt: skip
def test_every_form_has_its_ids(tmp_path: Path, name: str, content: Any) -> None:
    got = made(tmp_path, name, content)
    assert np.array_equal(got.x, X) and got.x.dtype == np.float64
    assert got.ids is not None and [i.decode() for i in got.ids] == IDS
    assert [i.decode() for i in got.obs["label"]] == LABELS


def test_columns_of_numbers(tmp_path: Path) -> None:
    got = made(tmp_path, "x.jsonl", lines(WIDE))
    assert np.array_equal(got.x, X)
    assert got.ids is not None and got.ids[1].decode() == IDS[1]
    scored = [{**item, "score": 0.5} for item in WIDE]
    assert "score holds numbers, but is not named like the others" in refusal(tmp_path, "x.jsonl", lines(scored))
    assert np.array_equal(made(tmp_path, "x.jsonl", lines(scored), vector_columns="emb_*").x, X)


@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_rows_of_numbers_have_no_ids(tmp_path: Path, name: str) -> None:
    got = made(tmp_path, name, lines(X.tolist()) if name == "x.jsonl" else X.tolist())
    assert np.array_equal(got.x, X) and got.ids is None


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), block=st.integers(1, 300), indent=st.sampled_from([None, 0, 3]))
def test_a_list_is_read_whatever_its_blocks_cut(tmp_path: Path, seed: int, block: int, indent: int | None) -> None:
    """The reader decodes an item when all of it is there, so the places where blocks end must not matter."""
    from relrep_cli.store import json_records

    rng = np.random.default_rng(seed)
    items = [{"id": f'a"]}},{i}', "v": (rng.standard_normal(3) * 10.0 ** rng.integers(-9, 9)).tolist()} for i in range(9)]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(items, indent=indent))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_records, "BLOCK", block)
        assert [record for _, record in json_records.records(path, False)] == items


def test_openai_batch_output(tmp_path: Path) -> None:
    def line(i: int, row: list[float], **change: Any) -> dict[str, Any]:
        body = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": row}], "model": "m"}
        answer = {"status_code": 200, "request_id": f"r{i}", "body": body}
        return {"id": f"batch_req_{i}", "custom_id": IDS[i], "response": answer, "error": None, **change}

    content = [line(i, row) for i, row in enumerate(X.tolist())]
    got = made(tmp_path, "x.jsonl", lines(content))
    assert np.array_equal(got.x, X)
    assert got.ids is not None and [i.decode() for i in got.ids] == IDS
    content[3] = line(3, [], response=None, error={"code": "expired"})
    assert "line 4: request é3 has no embedding; its answer is an error." in refusal(tmp_path, "x.jsonl", lines(content))


def test_candidates_are_told_and_two_are_refused(tmp_path: Path) -> None:
    titled = [{"title": f"t{i}", "year": 1999, "v": row} for i, row in enumerate(X.tolist())]
    assert made(tmp_path, "x.jsonl", lines(titled)).unread == ("title",)
    assert made(tmp_path, "x.jsonl", lines(titled), id_column="title").ids is not None
    twice = [{"uuid": f"u{i}", "name": f"n{i}", "v": row} for i, row in enumerate(X.tolist())]
    assert "uuid, name could each be the ids" in refusal(tmp_path, "x.jsonl", lines(twice))


def test_labels_of_numbers_and_missing_ones(tmp_path: Path) -> None:
    items = [{"v": [1.0, i], "label": [0.5, None][i]} for i in (0, 1)]
    label = made(tmp_path, "x.jsonl", lines(items)).obs["label"]
    assert label[0] == 0.5 and np.isnan(label[1])
    items = [{"v": [1, i], "label": ["a", None][i]} for i in (0, 1)]
    assert made(tmp_path, "x.jsonl", lines(items)).obs["label"].tolist() == [b"a", b""]


def test_members(tmp_path: Path) -> None:
    two = [{"a": [1.0, 2.0], "b": [3.0, 4.0, 5.0], "t": "x"}] * 2
    assert made(tmp_path, "x.jsonl", lines(two), "b").x.tolist() == [[3, 4, 5]] * 2
    assert ": which column of vectors? Found a, b." in refusal(tmp_path, "x.jsonl", lines(two))
    with pytest.raises(DataError, match="::t: holds no lists of numbers"):
        found_in(tmp_path / "x.jsonl", "t")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"doc_1": [1.0, 2.0], "doc_2": [3.0, 4.0]}, "2 names with 2 numbers each: are they columns, or items"),
        ({"id": ["a", "b"], "v": [[1.0]]}, "no columns of one length: its lists have 1, 2 values"),
        ({"a": 1}, "no columns of one length: no lists; found a"),
        ("17", "this is not JSON; it begins with '1'"),
        ([1.0, 2.0], "item 1 is neither an object nor a list"),
        ([{"v": [1.0]}, {"w": "a"}], "item 2 has no vector 'v'; found w"),
        ([[1.0], [1.0, 2.0]], "item 2 holds 2 numbers, those before 1"),
        ([[1.0], [None]], "item 2 holds a null among its numbers"),
        ([[1.0], ["2"]], "item 2: '2' is not a number"),
        ([[1.0], [True]], "item 2: True is not a number"),
        ('[[1.0],[2.0]', "item 3: this is not JSON (Expecting value), or cut short"),
        ('[[1.0] [2.0]]', "item 2: no comma before it"),
        ('[[1.0]][[2.0]]', "more follows after its list of 1 items"),
        ('[{"v": [1.0], "v": [2.0]}]', "a name occurs twice in one object"),
        ("[]", "found nothing"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, content: Any, words: str) -> None:
    assert words.lower() in refusal(tmp_path, "x.json", content).lower()


def test_compare_joins_by_id(work: Workdir) -> None:
    y = X + np.random.default_rng(2).standard_normal((N, D))
    (work / "a.jsonl").write_text(lines(OBJECTS))
    turned = [{"id": i, "vector": row} for i, row in zip(IDS[::-1], y[::-1].tolist(), strict=True)]
    (work / "b.json").write_text(json.dumps(turned))
    done = work.here("relrep compare a.jsonl b.json --metric cka --estimator biased")
    xc, yc = X - X.mean(0), y - y.mean(0)
    wanted = np.sum((xc.T @ yc) ** 2) / np.sqrt(np.sum((xc.T @ xc) ** 2) * np.sum((yc.T @ yc) ** 2))
    assert abs(float(done.rows[0]["value"]) - wanted) < 1e-4
    assert read(str(work / "a.jsonl")).ids[0] == IDS[0].encode()
