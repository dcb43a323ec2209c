"""Embeddings: rows joined by id, digests that name content, steps that name what was computed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relrep_cli import __version__
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.embedding import (
    Embedding,
    bare_name,
    chain,
    duplicates,
    find_ids,
    make_step,
    match_ids,
    of_split,
    row_numbers,
    select,
    text,
    timestamp,
)
from relrep_cli.numerics.digests import digest

WORDS = ["a", "b", "ab", "é", "日本", "Ä", "z" * 40, "😀", "0", "00", "a b"]  # of unequal width as text and as bytes


def embedding(n: int = 6, **more: Any) -> Embedding:
    x = np.arange(n * 2, dtype=np.float32).reshape(n, 2)
    known = {"ids": text(f"i{i}" for i in range(n)), "digest": "sha256:aa", "uri": "a.h5"}
    return Embedding(x, **{**known, **more})


# Ids


def test_text_is_utf8_of_the_needed_width() -> None:
    actual = text(WORDS)
    assert actual.dtype == "S40"
    assert [i.decode() for i in actual.tolist()] == WORDS
    assert text([]).dtype == "S1" and len(text([])) == 0
    assert text([b"\xff", "a"]).tolist() == [b"\xff", b"a"]


@pytest.mark.parametrize("n", [0, 1, 10, 11, 101])
def test_row_numbers_count_from_zero(n: int) -> None:
    assert [int(i) for i in row_numbers(n)] == list(range(n))
    assert row_numbers(n).dtype.itemsize == len(str(max(n - 1, 0)))


def test_duplicates_are_named_once_in_order() -> None:
    assert duplicates(text(["b", "é", "a", "é", "b", "b"])) == [b"b", "é".encode()]
    assert duplicates(text(WORDS)) == []
    assert duplicates(text([])) == []


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4), pool=st.integers(40, 60))
def test_matched_rows_hold_the_shared_ids_in_the_first_order(seed: int, sizes: list[int], pool: int) -> None:
    """Against sets and loops, on ids whose bytes sort unlike their numbers; each file has its own width of text."""
    rng = np.random.default_rng(seed)
    lists = [[f"{WORDS[i % 11]}{i}" for i in rng.permutation(pool)[:size]] for size in sizes]
    actual = match_ids(*map(text, lists))
    shared = [i for i in lists[0] if all(i in other for other in lists)]
    assert len(actual) == len(lists)
    for rows, ids in zip(actual, lists, strict=True):
        assert [ids[r] for r in rows] == shared


def test_equal_ids_match_without_a_search() -> None:
    ids = text(WORDS)
    assert [rows.tolist() for rows in match_ids(ids, ids.copy())] == [list(range(11))] * 2
    assert [rows.tolist() for rows in match_ids(ids, ids[::-1])] == [list(range(11)), list(range(11))[::-1]]
    assert [len(rows) for rows in match_ids(ids, text(["none", "of", "them"]))] == [0, 0]


def test_ids_are_found_or_minus_one() -> None:
    ids, wanted = text(WORDS), ["日本", "missing", "a", "zz", "", "é", "é"]
    assert find_ids(ids, text(wanted)).tolist() == [WORDS.index(w) if w in WORDS else -1 for w in wanted]
    assert find_ids(text([]), ids).tolist() == [-1] * 11
    assert find_ids(ids, text([])).tolist() == []


# Rows and splits


def test_select_takes_rows_of_everything() -> None:
    e = embedding(obs={"label": text("abcdef"), "weight": np.arange(6.0)})
    some = select(e, np.array([4, 1]))
    assert some.x.tolist() == [[8, 9], [2, 3]]
    assert some.ids.tolist() == [b"i4", b"i1"]
    assert some.obs["label"].tolist() == [b"e", b"b"] and some.obs["weight"].tolist() == [4, 1]
    assert some.digest == "" and some.uri == "a.h5", "rows left out make another content"
    assert select(e, np.arange(6)) is e
    assert select(e, np.arange(6)[::-1]).ids.tolist() == e.ids[::-1].tolist()


def test_splits() -> None:
    e = embedding(obs={"split": text(["train", "test", "train", "valid", "test", "test"])})
    assert of_split(e, "test").ids.tolist() == [b"i1", b"i4", b"i5"]
    assert of_split(e, None) is e
    assert e.rows_of_split("train", "valid").tolist() == [0, 2, 3]
    assert e.training_rows().tolist() == [0, 2]
    plain = embedding()
    assert plain.rows_of_split("train") is None and plain.training_rows().tolist() == list(range(6))


@pytest.mark.parametrize(
    ("splits", "asked", "message"),
    [
        (["train", "test"] * 3, "trian", r"a\.h5: no rows of split 'trian'; found: test, train\."),
        (None, "test", r"a\.h5: no rows of split 'test'; found: no split column\."),
        (["\x1b[2J"] * 6, "test", r"found: \\x1b\[2J\."),
    ],
)
def test_a_split_that_is_not_there_is_refused(splits: list[str] | None, asked: str, message: str) -> None:
    e = embedding(obs={} if splits is None else {"split": text(splits)})
    with pytest.raises(DataError, match=message):
        of_split(e, asked)


def test_a_split_column_without_training_rows_is_refused() -> None:
    with pytest.raises(DataError, match=r"a\.h5: its split column has no row 'train'"):
        embedding(obs={"split": text(["test"] * 6)}).training_rows()


def test_a_missing_column_is_refused_with_those_there_are() -> None:
    e = embedding(obs={"label": text("abcdef"), "\x1b": text("abcdef")})
    assert e.column("label").tolist() == list(b"a b c d e f".split())
    with pytest.raises(DataError, match=r"a\.h5: no column 'lable'; columns found: label, \\x1b\."):
        e.column("lable")
    with pytest.raises(DataError, match="columns found: none"):
        embedding().column("label")


# Digests


def test_the_digest_is_what_the_format_says() -> None:
    x = np.array([[1.5, -2.0]], "<f4")
    written = b"relrep-1\n1 2 float32\n" + "é\0".encode() + bytes.fromhex("0000c03f000000c0")
    assert digest(x, text(["é"])) == "sha256:" + hashlib.sha256(written).hexdigest()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_the_digest_names_values_not_layout(dtype: str, tmp_path: Path) -> None:
    x, ids = np.random.default_rng(0).normal(size=(5000, 3)).astype("<" + dtype), row_numbers(5000)
    name = digest(x, ids)
    np.save(tmp_path / "x.npy", x)
    for same in (
        x.astype(">" + dtype),
        np.asfortranarray(x),
        np.repeat(x, 2, 0)[::2],
        np.load(tmp_path / "x.npy", mmap_mode="r"),
    ):
        assert digest(same, ids) == name
    assert digest(x, ids.astype("S30")) == name


def test_one_bit_of_x_or_one_letter_of_an_id_changes_the_digest() -> None:
    x, ids = np.random.default_rng(0).normal(size=(20, 3)), text(f"i{i}" for i in range(20))
    names = {
        digest(x, ids),
        digest(x.T.copy(), ids[:3]),
        digest(x.astype("f4"), ids),
        digest(x[::-1], ids),
        digest(x[:0], ids[:0]),
    }
    bits = x.copy()
    bits.view(np.uint64)[13, 1] ^= 1
    other = ids.copy()
    other[13] = b"j13"
    names |= {digest(bits, ids), digest(x, other), digest(x, text([b"i0i1", b"", *ids[2:].tolist()]))}
    assert len(names) == 8


# Steps


def step(**given: Any) -> dict[str, Any]:
    known = {"command": "project", "params": {"similarity": "cosine", "center": False}, "seed": 0, "inputs": [embedding()]}
    return make_step(**{**known, **given})


def test_a_step_says_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    actual = step(inputs=[embedding(uri="/home/somebody/data/a.h5::layer/6", steps=[{"id": "before"}])])
    assert actual.pop("id")
    assert actual == {
        "program": "relrep",
        "version": __version__,
        "command": "project",
        "params": {"similarity": "cosine", "center": False},
        "seed": 0,
        "inputs": [{"uri": "a.h5::layer/6", "digest": "sha256:aa"}],
        "prev": ["before"],
        "time": "1970-01-02T00:00:00Z",
    }


SAME: dict[str, Any] = {
    "another time": {},
    "another order of parameters": {"params": {"center": False, "similarity": "cosine"}},
    "another folder and name": {"inputs": [embedding(uri="/elsewhere/b.h5")]},
}
OTHER: dict[str, Any] = {
    "command": {"command": "embed"},
    "seed": {"seed": 1},
    "a parameter": {"params": {"similarity": "cosine", "center": True}},
    "one more parameter": {"params": {"similarity": "cosine", "center": False, "power": 1}},
    "content": {"inputs": [embedding(digest="sha256:bb")]},
    "labels": {"inputs": [embedding(obs={"label": text("abcdef")})]},
    "another label": {"inputs": [embedding(obs={"label": text("abcdeg")})]},
    "another split": {"inputs": [embedding(obs={"split": text("abcdef")})]},
    "one more input": {"inputs": [embedding(), embedding()]},
    "what came before": {"inputs": [embedding(steps=[{"id": "before"}])]},
}


@pytest.mark.parametrize("change", SAME)
def test_equal_runs_have_equal_ids(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    first = step()["id"]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "2")
    assert step(**SAME[change])["id"] == first


def test_runs_that_differ_have_other_ids() -> None:
    assert len({step(**change)["id"] for change in OTHER.values()} | {step()["id"]}) == len(OTHER) + 1


def test_another_version_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    first = step()["id"]
    monkeypatch.setattr("relrep_cli.embedding.__version__", "0.0.9")
    assert step()["id"] != first


def test_steps_chain_once_and_in_order() -> None:
    a = embedding(steps=[{"id": "1"}, {"id": "2"}])
    b = replace(a, steps=[{"id": "1"}, {"id": "3"}, {"no": "id"}])
    assert [s["id"] for s in chain([a, b], {"id": "4"})] == ["1", "2", "3", "4"]
    assert [s["id"] for s in chain([a], {"id": "2"})] == ["1", "2"]
    assert chain([], {"id": "9"}) == [{"id": "9"}]


@pytest.mark.parametrize(
    ("uri", "bare"), [("/home/ann/a.h5::x/y", "a.h5::x/y"), ("a.h5", "a.h5"), ("-", "-"), ("../b/c.npz::/k", "c.npz::/k")]
)
def test_a_bare_name_has_no_folders(uri: str, bare: str) -> None:
    assert bare_name(uri) == bare


def test_the_time_obeys_source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert timestamp() == "2023-11-14T22:13:20Z"
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert timestamp() > "2025"


@pytest.mark.parametrize("value", ["", "noon", "1.5", "9" * 30])
def test_a_source_date_epoch_that_is_no_time_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH is not a whole number of seconds"):
        timestamp()
