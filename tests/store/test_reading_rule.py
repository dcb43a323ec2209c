"""The reading rule: which rows pair, which column is the id, which columns are coordinates. Each once gave a wrong number."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Workdir

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.comparison.joins import join
from relrep_cli.comparison.layers import expand
from relrep_cli.embedding import text
from relrep_cli.store.assignment import counts_rows, tells_rows_apart
from relrep_cli.store.column_names import is_id_name
from relrep_cli.store.normalizing import difference, normalized
from relrep_cli.store.reading import Reading, reading_of
from relrep_cli.store.table_columns import choose_columns

N, D = 12, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)).round(4)
NAMES = [f"item{i}" for i in range(N)]
ORDER = RNG.permutation(N)


def read(path: Path | str, **reading: Any) -> Any:
    return store.read(str(path), Reading(**reading))


def refusal(path: Path | str, **reading: Any) -> str:
    with pytest.raises(DataError) as error:
        read(path, **reading)
    return str(error.value)


def table(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def wide(**more: Any) -> dict[str, Any]:
    return {f"emb_{i}": X[:, i] for i in range(D)} | more


def csv(path: Path, columns: dict[str, Any], sep: str = ",") -> Path:
    rows = [sep.join(columns), *(sep.join(str(v) for v in row) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(rows) + "\n")
    return path


# --- names ---


def test_id_names_in_any_case_and_nothing_that_only_ends_alike() -> None:
    names = "id IDS doc_id doc-id UUID key name Names word token filename file_names path image_path accession barcode imageId"
    assert all(map(is_id_name, names.split())) and is_id_name("") and is_id_name("__index_level_0__")
    assert not any(map(is_id_name, ["void", "valid", "grid", "title", "text", "score", "label", "split", "n_tokens", "idea"]))


@pytest.mark.parametrize("name", ["uuid", "doc_id", "image_path", "Word", "accessions", "imageId"])
@pytest.mark.parametrize("make", [table, lambda path, **c: csv(path, wide() | {k: v for k, v in c.items() if k != "emb"})])
def test_ids_are_found_by_name_in_tables(tmp_path: Path, name: str, make: Callable[..., Path]) -> None:
    path = make(tmp_path / ("a.parquet" if make is table else "a.csv"), **{name: NAMES, "emb": X.tolist()})
    assert read(path).ids.tolist() == text(NAMES).tolist()


@pytest.mark.parametrize("name", ["ids", "filenames", "key"])
def test_ids_are_found_by_name_in_arrays_and_groups(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "a.npz", emb=X, **{name: np.array(NAMES)})
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["emb"], file[name] = X, [n.encode() for n in NAMES]
    for path in (tmp_path / "a.npz", tmp_path / "a.h5"):
        assert read(path).ids.tolist() == text(NAMES).tolist()


def test_a_column_named_like_ids_whose_values_repeat_is_none(tmp_path: Path) -> None:
    e = read(table(tmp_path / "a.parquet", name=["x"] * N, emb=X.tolist()))
    assert e.row_ids and e.id_candidates == ()
    assert "ids occur more than once" in refusal(table(tmp_path / "b.parquet", id=["x"] * N, emb=X.tolist()))


def test_two_columns_that_could_be_the_ids_are_refused_unless_one_is_named(tmp_path: Path) -> None:
    other = [f"u{i}" for i in range(N)]
    path = table(tmp_path / "a.parquet", name=NAMES, uuid=other, emb=X.tolist())
    assert "name, uuid could each be the ids: all of their values are different. Write --id-column name or" in refusal(path)
    assert read(path, id_column="uuid").ids.tolist() == text(other).tolist()
    assert store.read(f"{path}?id=name").ids.tolist() == text(NAMES).tolist()
    same = table(tmp_path / "b.parquet", name=NAMES, uuid=NAMES, emb=X.tolist())
    assert read(same).ids.tolist() == text(NAMES).tolist()  # it makes no difference


def test_a_counter_beside_ids_is_no_second_candidate(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", {"": range(N), "doc_id": NAMES} | wide())  # pandas' to_csv
    assert read(path).ids.tolist() == text(NAMES).tolist()
    assert counts_rows(np.arange(N)) and counts_rows(np.arange(1, N)) and not counts_rows(np.arange(3, N))
    assert (
        tells_rows_apart(np.array([5, 3]))
        and not tells_rows_apart(np.array([5, 5]))
        and not tells_rows_apart(np.arange(N))
        and not tells_rows_apart(np.array([b"a", b""]))
    )


@pytest.mark.parametrize("named", [None, "doc"])
def test_the_index_of_pandas_in_parquet(tmp_path: Path, named: str | None) -> None:
    column = named or "__index_level_0__"
    arrow = pa.table({"emb": X.tolist(), column: NAMES})
    stated = json.dumps({"index_columns": [column], "columns": []}).encode()
    pq.write_table(arrow.replace_schema_metadata({b"pandas": stated}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").ids.tolist() == text(NAMES).tolist()
    stated = json.dumps({"index_columns": [{"kind": "range", "name": None, "start": 0, "stop": N, "step": 1}]}).encode()
    bare = pa.table({"emb": X.tolist()}).replace_schema_metadata({b"pandas": stated})
    pq.write_table(bare, tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet").row_ids


# --- coordinates ---


def test_numbers_that_are_not_named_like_the_coordinates_are_refused(tmp_path: Path) -> None:
    score, count = RNG.normal(size=N), RNG.integers(0, 9, N)
    for path in (table(tmp_path / "a.parquet", **wide(score=score)), csv(tmp_path / "a.csv", wide(n_tokens=count))):
        odd = "score" if path.suffix == ".parquet" else "n_tokens"
        assert f"{odd} holds numbers, but is not named like the others (emb_0, emb_1" in refusal(path)
        assert "Write --vector-columns 'emb_*' to leave it out, or --vector-columns '*' to take all." in refusal(path)
        assert np.allclose(read(path, vector_columns="emb_*").x, X)
        assert read(path, vector_columns="*").x.shape == (N, D + 1)
        assert np.allclose(store.read(f"{path}?vectors=emb_1,emb_0").x, X[:, [0, 1]])  # in the order of the file
    assert "no column matches 'q*'" in refusal(tmp_path / "a.csv", vector_columns="q*")


def test_columns_without_numbers_in_their_names_are_coordinates_when_all_are_alike(tmp_path: Path) -> None:
    assert read(csv(tmp_path / "a.csv", {"length": X[:, 0], "width": X[:, 1]})).x.shape == (N, 2)
    path = csv(tmp_path / "b.csv", {"length": X[:, 0], "count": range(5, 5 + N)})
    assert "Found length (numbers), count (whole numbers). Name the columns with --vector-columns." in refusal(path)


def test_vectors_in_cells_of_a_csv(tmp_path: Path) -> None:
    cells = [json.dumps(row) for row in X.tolist()]
    cells[1] = str(X[1]).replace(" ", "  ")  # as NumPy prints it
    lines = ["n,text,embedding", *(f'{i},"some, {i}","{cell}"' for i, cell in enumerate(cells))]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    e = read(tmp_path / "a.csv")
    assert np.allclose(e.x, X) and e.id_candidates == ("text",)
    (tmp_path / "a.csv").write_text("\n".join(lines).replace(cells[2], "[0.1 ... 0.2]"))
    assert "row 4: its vector is cut by '...', as print does" in refusal(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("\n".join(lines).replace(cells[2], "[0.1, 0.2]"))
    assert "row 4 holds 2 numbers, those before 4" in refusal(tmp_path / "a.csv")


@pytest.mark.parametrize("suffix", [".csv", ".txt"])
def test_a_first_column_of_whole_numbers_is_never_taken_for_ids_unsaid(tmp_path: Path, suffix: str) -> None:
    sep = "," if suffix == ".csv" else " "
    path = tmp_path / f"a{suffix}"
    path.write_text("".join(sep.join([str(100 + 3 * i), *map(str, row)]) + "\n" for i, row in enumerate(X.tolist())))
    assert "its first column holds whole numbers, such as 100: ids or a coordinate?" in refusal(path)
    assert read(path, id_column="1").ids.tolist() == [b"%d" % (100 + 3 * i) for i in range(N)]
    assert read(path, vector_columns="*").x.shape == (N, D + 1)
    path.write_text("".join(sep.join(map(str, row)) + "\n" for row in RNG.integers(0, 99, (N, 3)).tolist()))
    assert read(path).x.shape == (N, 3) and read(path).row_ids  # all alike: savetxt of integers


# --- words ---


@pytest.mark.parametrize("word", ["new thing{}", "model 10{}", "{}", "1{}"])
@pytest.mark.parametrize("some", [1, 2])
def test_words_with_spaces_and_words_that_are_numbers(tmp_path: Path, word: str, some: int) -> None:
    """The width of the file decides: each second word, or all of them, are of that kind."""
    words = [word.format(i) if i % some == 0 else f"w{i}" for i in range(N)]
    body = "".join(f"{w} {' '.join(map(str, row))}\n" for w, row in zip(words, X.tolist(), strict=True))
    (tmp_path / "a.vec").write_text(f"{N} {D}\n{body}")
    e = read(tmp_path / "a.vec")
    assert np.allclose(e.x, X, atol=1e-6) and e.ids.tolist() == text(words).tolist()
    (tmp_path / "a.txt").write_text(body)
    if " " in words[0] or some == 2:
        assert np.allclose(read(tmp_path / "a.txt").x, X, atol=1e-6)
    else:
        assert "ids or a coordinate?" in refusal(tmp_path / "a.txt")


def test_counts_that_lie_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.vec").write_text("100 2\na 1.5 2\nb 3 4\n")
    assert "its first line declares 100 vectors, and 2 follow" in refusal(tmp_path / "a.vec")


def test_words_that_are_blank_or_missing_or_no_utf8_are_refused_by_line(tmp_path: Path) -> None:
    for line, finding in (
        (b"\t 5 6", "line 3: its word is blank ('\\t')"),
        (b" 5 6", "line 3: it has no word"),
        (b"\xe9 5 6", "line 3: its word is not UTF-8"),
    ):
        (tmp_path / "a.vec").write_bytes(b"3 2\na 1.5 2\n" + line + b"\nb 3 4\n")
        assert finding in refusal(tmp_path / "a.vec")


# --- position ---


def joined(a: Path, b: Path, **reading: Any) -> int:
    return len(join(read(a, **reading), read(b, **reading))[0])


def test_bare_arrays_pair_by_position_and_nothing_else_does(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    np.save(tmp_path / "b.npy", X[ORDER])
    assert joined(tmp_path / "a.npy", tmp_path / "b.npy") == N
    with pytest.raises(DataError, match="--require-all joins by id only"):
        join(read(tmp_path / "a.npy"), read(tmp_path / "b.npy"), require_all=True)
    named = table(tmp_path / "c.parquet", id=[str(i) for i in range(N)], emb=X.tolist())
    with pytest.raises(
        DataError, match=r"a\.npy: has no ids, and .*c\.parquet has\. Name its column with --id-column, give it ids with"
    ):
        joined(tmp_path / "a.npy", named)
    assert joined(tmp_path / "a.npy", named, by_position=True) == N


def test_a_column_that_could_be_ids_forbids_to_pair_by_position(tmp_path: Path) -> None:
    a = table(tmp_path / "a.parquet", title=NAMES, emb=X.tolist())
    b = table(tmp_path / "b.parquet", title=[NAMES[i] for i in ORDER], emb=X[ORDER].tolist())
    with pytest.raises(
        DataError, match=r"these identify its rows: title\. Write --id-column title to join by it, or --by-position"
    ):
        joined(a, b)
    rows = join(read(a, id_column="title"), read(b, id_column="title"))
    assert np.array_equal(np.argsort(ORDER)[rows[0]], rows[1])
    assert joined(a, b, by_position=True) == N
    c = table(tmp_path / "c.parquet", kind=["x", "y"] * (N // 2), emb=X.tolist())
    assert read(c).id_candidates == () and joined(c, c) == N


def test_an_index_that_only_counts_rows_joins_no_files_that_hold_names(tmp_path: Path) -> None:
    """pandas' to_csv with its own index, beside titles in another order; a file with such ids in another order still joins."""
    a = csv(tmp_path / "a.csv", {"": range(N), "title": NAMES} | wide())
    turned = {name: values[ORDER] for name, values in wide().items()}
    b = csv(tmp_path / "b.csv", {"": range(N), "title": [NAMES[i] for i in ORDER]} | turned)
    with pytest.raises(DataError, match=r"its index only numbers the rows, but these columns .*: title\. Write"):
        joined(a, b)
    rows = join(read(a, id_column="title"), read(b, id_column="title"))
    assert np.array_equal(np.argsort(ORDER)[rows[0]], rows[1]) and joined(a, b, by_position=True) == N
    c = csv(tmp_path / "c.csv", {"": ORDER, "title": NAMES} | wide())
    assert joined(a, c) == N and read(c).id_candidates == ()
    d = csv(tmp_path / "d.csv", {"": range(N)} | wide())
    assert joined(d, d) == N


@pytest.mark.parametrize("ending", [".csv", ".json", ".npz"])
def test_counters_pair_rows_whose_other_columns_agree(tmp_path: Path, ending: str) -> None:
    """Texts of any length are compared by their digests, and not kept."""
    texts = [f"{name}, " + "long " * 2000 if ending == ".csv" else name for name in NAMES]
    paths = []
    for k, order in enumerate((range(N), range(N), ORDER)):
        path = tmp_path / f"{k}{ending}"
        if ending == ".npz":
            np.savez(path, emb=X[list(order)] + k, index=np.arange(N), title=[texts[i] for i in order])
        elif ending == ".csv":
            numbers = {name: values[list(order)] + k for name, values in wide().items()}
            csv(path, {"": range(N), "text": [f'"{texts[i]}"' for i in order], **numbers})
        else:
            rows = [{"index": j, "text": texts[i], "embedding": (X[i] + k).tolist()} for j, i in enumerate(order)]
            path.write_text(json.dumps(rows), encoding="utf-8")
        paths.append(path)
    assert joined(*paths[:2]) == N
    with pytest.raises(DataError, match="its index only numbers the rows"):
        joined(paths[0], paths[2])


def test_every_record_says_how_rows_were_paired(work: Any) -> None:
    np.save(work / "a.npy", X)
    np.savez(work / "a.npz", x=X, id=np.array(NAMES))
    for name, how in (("a.npy", "position"), ("a.npz", "id")):
        done = work.here(f"relrep compare {name} {name} -m cka --format json -q")
        assert [r["joined"] for r in json.loads(done.stdout)] == [how]


@pytest.mark.slow
def test_what_is_made_from_bare_arrays_stays_paired_by_position(work: Any) -> None:
    np.save(work / "bare.npy", X)
    work.here("relrep embed bare.npy -o bare.h5")
    work.here("relrep anchor bare.h5 -n 5 -o some.h5")
    work.here("relrep project bare.h5 -a some.h5 -o bare.rel.h5")
    for name in ("bare.h5", "bare.rel.h5"):
        assert [r["joined"] for r in json.loads(work.here(f"relrep compare {name} {name} -m cka --json -q").stdout)] == [
            "position"
        ]
    np.save(work / "short.npy", X[:9])
    work.here("relrep embed short.npy -o short.h5")
    assert "neither has ids, and 12 rows cannot pair with 9" in work.error("relrep compare bare.h5 short.h5 -m cka -q", 3)
    (work / "ids.txt").write_text("\n".join(NAMES))
    work.here("relrep embed bare.h5 --ids ids.txt -o named.h5")
    assert not read(work / "named.h5").row_ids and read(work / "bare.h5").row_ids


def test_one_list_of_ids_serves_all_layers_of_a_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "layers.h5", "w") as file:
        file["ids"], file["labels"], file["other/ids"] = NAMES, ["u", "v"] * (N // 2), ["x"] * (N + 1)
        for layer in range(2):
            file[f"model/layer/{layer}"] = X
        file["model/short"] = X[:5]
        file["own/id"], file["own/x"] = [f"o{i}" for i in range(N)], X
    e = read(f"{tmp_path}/layers.h5::model/layer/1")
    assert e.ids.tolist() == [name.encode() for name in NAMES] and set(e.obs["label"].tolist()) == {b"u", b"v"}
    assert not e.row_ids and read(f"{tmp_path}/layers.h5::own/x").ids[0] == b"o0"
    assert read(f"{tmp_path}/layers.h5::model/short").row_ids


@pytest.mark.parametrize("kind", ["npz", "safetensors", "pt"])
def test_a_pattern_names_the_arrays_of_a_file(work: Any, kind: str) -> None:
    arrays = {f"layer{i}": (X + i).astype(np.float32) for i in (2, 10)}
    if kind == "npz":
        np.savez(work / "a.npz", **arrays, ids=NAMES)
    elif kind == "safetensors":
        pytest.importorskip("safetensors.numpy").save_file(arrays, work / "a.safetensors")
    else:
        torch = pytest.importorskip("torch")
        torch.save({name: torch.tensor(x) for name, x in arrays.items()}, work / "a.pt")
    rows = work.here(f"relrep compare 'a.{kind}::layer*' -m cka -q").rows
    assert [(r["a"], r["b"]) for r in rows] == [(f"a.{kind}::layer2", f"a.{kind}::layer10")]
    assert {r["file"] for r in work.here(f"relrep info a.{kind} -q").rows} == {f"a.{kind}::layer2", f"a.{kind}::layer10"}
    assert f"'a.{kind}::*'" in work.error(f"relrep compare a.{kind} a.h5 -m cka -q", 3)


# --- ids that differ in form ---


@pytest.mark.parametrize(
    ("change", "a", "b"),
    [
        ("nfc", "cafe\u0301{}", "caf\u00e9{}"), ("strip", " x{}", "x{}"), ("case", "The{}", "the{}"),
        ("number", "00{}", "{}.0"), ("barcode", "s{}_ACGTACGTAC-1", "s{}_ACGTACGTAC-1-0"),
        ("basename", "/data/x{}.png", "x{}.png"), ("stem", "a/x{}.png", "b/x{}.jpg"),
    ],
)  # fmt: skip
def test_ids_that_differ_in_form_are_explained_and_joined(tmp_path: Path, change: str, a: str, b: str) -> None:
    left = table(tmp_path / "a.parquet", id=[a.format(i + 1) for i in range(N)], emb=X.tolist())
    right = table(tmp_path / "b.parquet", id=[b.format(i + 1) for i in range(N)], emb=X.tolist())
    with pytest.raises(
        DataError, match=f"no common ids; .*; {N} of them differ only by .*Write --normalize-ids {change} to join them."
    ):
        joined(left, right)
    assert joined(left, right, normalize_ids=change) == N


def test_no_change_is_advised_that_does_not_help() -> None:
    assert difference(text(["a", "b"]), text(["c", "d"])) is None
    assert normalized(text(["10.0", "10.5", "x0"]), "number").tolist() == [b"10", b"10.5", b"x0"]
    cells = ["ACGTACGTACGT-1-0", "ACGTACGTACGT_1", "s1_ACGTACGT-1", "item-003", "ACGT-1", "xACGTACGT-1"]
    kept = [b"ACGTACGTACGT", b"ACGTACGTACGT", b"s1_ACGTACGT", b"item-003", b"ACGT-1", b"xACGTACGT-1"]
    assert normalized(text(cells), "barcode").tolist() == kept
    with pytest.raises(UsageError, match="'nfx' is not a way to change ids"):
        normalized(text(["a"]), "nfx")


@pytest.mark.parametrize("kind", ["h5", "txt", "tsv", "mixture.h5"])
def test_normalize_ids_reaches_anchors(work: Workdir, kind: str) -> None:
    """A projection of items with other ids on anchors of any form equals that of the items under the anchors' own ids."""
    z = np.load(work / "a.npz")
    np.savez(work / "upper.npz", x=z["x"], ids=[f"folder/{i}" for i in z["ids"]], split=z["split"])
    ids = z["ids"][z["split"] == "train"][:9].tolist()
    (work / "anchors.txt").write_text("".join(f"{i}\n" for i in ids))
    (work / "anchors.tsv").write_text("a\tb\n" + "".join(f"{i}\t{i}\n" for i in ids))
    work.here("relrep anchor a.h5 -n 4 --strategy mixture -o anchors.mixture.h5 -q")
    anchors = f"--anchors anchors.{kind}"
    work.error(f"relrep project upper.npz {anchors} -o no.h5 -q", 3)
    work.here(f"relrep project upper.npz {anchors} --normalize-ids basename -o moved.h5 -q")
    work.here(f"relrep project a.h5 {anchors} -o plain.h5 -q")
    moved, plain = (store.read(str(work / name)) for name in ("moved.h5", "plain.h5"))
    assert np.array_equal(moved.x, plain.x) and np.array_equal(moved.ids, plain.ids)


def test_changes_that_make_ids_equal_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", id=["A", "a"], emb=X[:2].tolist())
    assert "ids occur more than once: a" in refusal(path, normalize_ids="case")


# --- arrays ---


def test_transposed_matrices(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "matlab.mat", "w", userblock_size=512) as file:
        file["emb"] = X.T
        file["emb"].attrs["MATLAB_class"] = np.bytes_(b"double")
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["emb"], file["ids"] = X.T, [n.encode() for n in NAMES]
    assert np.array_equal(read(tmp_path / "matlab.mat").x, X)
    assert "(4, 12) looks transposed. Write --transpose to read it so, or --by-position." in refusal(tmp_path / "r.h5")
    e = read(tmp_path / "r.h5", transpose=True)
    assert np.array_equal(e.x, X) and e.ids.tolist() == text(NAMES).tolist()
    np.save(tmp_path / "a.npy", X.T)
    assert np.array_equal(store.read(f"{tmp_path / 'a.npy'}?transpose").x, X)


def test_what_a_user_says_of_vectors_is_never_ignored(tmp_path: Path) -> None:
    csv(tmp_path / "a.csv", wide(id=NAMES))
    (tmp_path / "a.vec").write_text("".join(f"w{i} {i}.5 1.5\n" for i in range(3)))
    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        file["X"], file["obs/_index"] = X, NAMES
    for name in ("a.csv", "a.vec", "a.h5ad"):
        assert "--transpose swaps the axes of an array, and the rows of this file are items" in refusal(
            tmp_path / name, transpose=True
        )
    np.savez(tmp_path / "a.npz", x=X)
    for name in ("a.npz", "a.h5ad"):
        assert "--vector-columns names columns of a table" in refusal(tmp_path / name, vector_columns="e*")


def test_packed_bits(tmp_path: Path) -> None:
    bits = RNG.integers(0, 2, (N, 64)).astype(np.uint8)
    packed = np.packbits(bits, axis=1)
    np.save(tmp_path / "u.npy", packed)
    np.save(tmp_path / "s.npy", (packed.astype(np.int16) - 128).astype(np.int8))
    assert np.array_equal(read(tmp_path / "u.npy", packed_bits=True).x, bits)
    assert np.array_equal(read(tmp_path / "s.npy", packed_bits=True).x, bits)
    assert np.array_equal(read(tmp_path / "u.npy").x, packed)
    np.save(tmp_path / "f.npy", X)
    assert "--packed-bits unpacks bytes, and it holds float64" in refusal(tmp_path / "f.npy", packed_bits=True)


@pytest.mark.slow
def test_bytes_that_may_be_packed_bits_get_a_line_that_asks(work: Any) -> None:
    for width, asked in ((8, True), (12, False), (512, False)):
        np.save(work / "a.npy", RNG.integers(0, 255, (N, width)).astype(np.uint8))
        stderr = work.here("relrep compare a.npy a.npy -m cka").stderr
        assert (
            f"holds {width} bytes an item, read as numbers. If they are {8 * width} packed bits, write --packed-bits." in stderr
        ) == asked


def test_axes_of_length_one_are_left_out_and_said(work: Any) -> None:
    np.save(work / "a.npy", X[:, None])
    assert np.array_equal(read(work / "a.npy").x, X)
    assert "(12, 1, 4) is read as (12, 4)" in work.here("relrep compare a.npy a.npy -m cka").stderr
    np.save(work / "b.npy", X.reshape(2, 6, 4))
    assert "shape (2, 6, 4); an embedding is (items, dimensions)" in refusal(work / "b.npy")


# --- an array for each item ---


def per_item(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values
    return path


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_an_array_for_each_item_is_pooled_only_when_asked(tmp_path: Path, suffix: str) -> None:
    rows = {f"P{i}": RNG.normal(size=(2 + i % 3, D)).astype("f4") for i in range(6)}
    path = per_item(tmp_path / f"a{suffix}", rows)
    assert "each item has rows of its own, such as residues: shape (2, 4). Write --pool mean" in refusal(path)
    e = read(path, pool="mean")
    assert e.ids.tolist() == text(rows).tolist() and np.allclose(e.x, [r.mean(0) for r in rows.values()])
    assert np.array_equal(read(path, pool="last").x, np.array([r[-1] for r in rows.values()]))
    layers = {name: np.stack([r, 2 * r, 3 * r]) for name, r in rows.items()}
    path = per_item(tmp_path / f"b{suffix}", layers)
    assert "each item has 3 layers of rows: shape (3, 2, 4). Write 'FILE?layer=0&pool=mean'" in refusal(path)
    assert np.allclose(store.read(f"{path}?layer=2&pool=mean").x, [3 * r.mean(0) for r in rows.values()], atol=1e-6)
    assert "each item has 3 layers" in refusal(f"{path}?layer=3&pool=mean")
    same = per_item(tmp_path / f"c{suffix}", {name: RNG.normal(size=(5, D)) for name in ("layer0", "layer1")})
    assert "layer0" in refusal(same)  # two spaces, of which one is to be named


@pytest.mark.parametrize("attribute", ["original_id", "accession"])
def test_original_ids_and_ids_with_slashes(tmp_path: Path, attribute: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i in range(N):
            file[str(i)] = X[i]
            file[str(i)].attrs[attribute] = NAMES[i]
        order = list(file)
    e = read(tmp_path / "a.h5")
    assert e.ids.tolist() == [NAMES[int(i)].encode() for i in order] and np.array_equal(e.x, X[[int(i) for i in order]])
    with h5py.File(tmp_path / "b.h5", "w") as file:
        for name, row in zip([f"P{i}/2" if i == 3 else f"P{i}" for i in range(N)], X, strict=True):
            file[name] = row
    e = read(tmp_path / "b.h5")
    assert b"P3/2" in e.ids.tolist() and np.array_equal(e.x[e.ids.tolist().index(b"P3/2")], X[3])


@pytest.mark.slow
def test_many_vectors_of_one_file(tmp_path: Path) -> None:
    x = RNG.normal(size=(5_000, 2)).astype("f4")
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        for i, row in enumerate(x):
            file[f"P{i:05d}"] = row
    assert np.array_equal(read(tmp_path / "a.h5").x, x)


# --- groups of HDF5 ---


def test_the_index_of_a_frame_that_pandas_wrote(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("emb")
        group.attrs["pandas_type"] = np.bytes_(b"frame")
        group["axis0"], group["axis1"] = np.arange(D), [n.encode() for n in NAMES]
        group["block0_items"], group["block0_values"] = np.arange(D), X
    for uri in ("a.h5::/emb/block0_values", "a.h5::emb"):
        assert store.read(f"{tmp_path}/{uri}").ids.tolist() == text(NAMES).tolist()


def test_obs_without_anndata_attributes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["X"], file["obs/id"] = X, [n.encode() for n in NAMES]
        file["obs/label"], file["obs/split"] = [b"u", b"v"] * (N // 2), [b"train"] * N
    e = read(tmp_path / "a.h5")
    assert e.ids.tolist() == text(NAMES).tolist() and e.obs["label"].tolist() == [b"u", b"v"] * (N // 2)
    assert set(e.obs["split"].tolist()) == {b"train"}


def test_columns_can_be_named_in_every_format(tmp_path: Path) -> None:
    kinds, parts = ["u", "v"] * (N // 2), ["train", "test"] * (N // 2)
    table(tmp_path / "a.parquet", a=NAMES, b=kinds, c=parts, emb=X.tolist())
    csv(tmp_path / "a.csv", {"a": NAMES, "b": kinds, "c": parts} | wide())
    np.savez(tmp_path / "a.npz", a=np.array(NAMES), b=np.array(kinds), c=np.array(parts), emb=X)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in (("a", NAMES), ("b", kinds), ("c", parts)):
            file[name] = [v.encode() for v in values]
        file["emb"] = X
    with sqlite3.connect(tmp_path / "a.db") as base:
        base.execute("create table t (a text, b text, c text, emb blob)")
        base.executemany(
            "insert into t values (?, ?, ?, ?)",
            [(*r, x.astype("f4").tobytes()) for *r, x in zip(NAMES, kinds, parts, X, strict=True)],
        )
    for path in sorted(tmp_path.glob("a.*")):
        e = read(path, id_column="a", label_column="b", split_column="c")
        assert np.allclose(e.x, X, atol=1e-6) and e.ids.tolist() == text(NAMES).tolist(), path
        assert e.obs["label"].tolist() == text(kinds).tolist() and e.obs["split"].tolist() == text(parts).tolist(), path
        assert "'q'" in refusal(path, id_column="q"), path


# --- queries ---


def test_queries(tmp_path: Path) -> None:
    assert reading_of("a.csv?id=x&by-position&layer=2", Reading(pool="mean")) == Reading(
        "x", by_position=True, layer=2, pool="mean"
    )
    assert reading_of("a.csv?transpose=no", Reading(transpose=True)) == Reading()
    for query, finding in (
        ("ids=x", "'ids' is not a key of a query"),
        ("layer=x", "is not a number"),
        ("pool=max", "is unknown"),
        ("transpose=2", "neither yes nor no"),
    ):
        with pytest.raises(UsageError, match=finding):
            reading_of(f"a.csv?{query}", Reading())
    np.save(tmp_path / "a?id=b.npy", X)
    assert store.read(f"{tmp_path}/a?id=b.npy").n == N  # a file of this name exists


def test_a_query_follows_a_member_of_a_file_that_exists(tmp_path: Path) -> None:
    """It is no pattern, and every embedding that a pattern names keeps it."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for layer in range(2):
            file[f"layer/{layer}/X"], file[f"layer/{layer}/name"] = X, NAMES
            file[f"layer/{layer}/id"] = [f"{i}-1" for i in range(N)]
    for member in ("layer/0", "layer/0/X"):
        assert store.read(f"{path}::{member}?id=name").ids.tolist() == text(NAMES).tolist()
        assert store.read(f"{path}::{member}?id=id").ids[0] == b"0-1"
    expected = [f"{path}::layer/{layer}/X?id=name" for layer in range(2)]
    assert expand([f"{path}::layer/*?id=name", f"{path}::layer/1?id=name"]) == [expected, [f"{path}::layer/1?id=name"]]
    np.savez(tmp_path / "a?b=c.npz", m=X, id=NAMES)
    assert store.read(f"{tmp_path}/a?b=c.npz::m").n == N


def test_the_choice_of_columns_names_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    chosen = choose_columns(
        path, {"id": "text", "e0": "real", "e1": "whole", "note": "text", "Label": "whole"}, Reading(), None
    )
    assert (chosen.vectors, chosen.named, chosen.others) == (["e0", "e1"], ["id", "Label"], ["note"])
    with pytest.raises(DataError, match="which column of vectors"):
        choose_columns(path, {"u": "vector", "v": "vector"}, Reading(), None)
    assert choose_columns(path, {"u": "vector", "embedding": "vector"}, Reading(), None).vectors == ["embedding"]


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_an_array_of_one_row_for_each_item_is_its_vector(tmp_path: Path, suffix: str) -> None:
    e = read(per_item(tmp_path / f"a{suffix}", {name: row[None] for name, row in zip(NAMES, X, strict=True)}))
    assert np.array_equal(e.x[np.argsort(e.ids)], X[np.argsort([name.encode() for name in NAMES])])
