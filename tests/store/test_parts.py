"""Tables in parts: the same as one file with all rows, in natural order; a part that differs is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.base.errors import DataError
from relrep_cli.store import read
from relrep_cli.store.foreign import found_in
from relrep_cli.store.reading import Reading

pa = pytest.importorskip("pyarrow")
ipc = pytest.importorskip("pyarrow.ipc")
pq = pytest.importorskip("pyarrow.parquet")

N, D, PARTS = 60, 5, 4
FIRST = 8  # the number of the first part: 8, 9, 10, 11 are not in the order of their letters
X = np.random.default_rng(0).standard_normal((N, D)).astype("f4")
IDS = [f"é{i * i}" for i in range(N)]
SLICES = [slice(at, at + N // PARTS) for at in range(0, N, N // PARTS)]


def table(rows: slice = slice(None), **columns: Any) -> Any:
    return pa.table({"doc_id": IDS[rows], "emb": pa.array(list(X[rows])), **columns})


def folder(path: Path, suffix: str = ".parquet", name: str = "part-") -> Path:
    path.mkdir(parents=True)
    for i, rows in enumerate(SLICES, FIRST):
        place = str(path / f"{name}{i}{suffix}")
        if suffix == ".parquet":
            pq.write_table(table(rows), place)
        else:
            with ipc.new_stream(place, table().schema) as writer:
                writer.write_table(table(rows))
    return path


def clip(path: Path, *sides: str, width: int = 0) -> Path:
    for side in sides:
        (path / side).mkdir(parents=True)
        for i, rows in enumerate(SLICES, FIRST):
            np.save(path / side / f"{side}_{i:0{width}}.npy", (X if side == "img_emb" else -X)[rows].astype("f2"))
    (path / "metadata").mkdir()
    for i, rows in enumerate(SLICES, FIRST):
        columns = {"image_path": IDS[rows], "caption": ["c"] * len(IDS[rows]), "label": [f"l{i}"] * len(IDS[rows])}
        pq.write_table(pa.table(columns), path / "metadata" / f"metadata_{i:0{width}}.parquet")
    return path


def dataset(path: Path) -> Path:
    """What datasets.Dataset.save_to_disk writes."""
    folder(path, ".arrow", "data-")
    (path / "dataset_info.json").write_text("{}")
    files = [{"filename": f"data-{i}.arrow"} for i in range(FIRST, FIRST + PARTS)]
    (path / "state.json").write_text(json.dumps({"_data_files": files, "_split": "train"}))
    return path


def check(uri: Path | str, x: np.ndarray = X) -> Any:
    e = read(str(uri))
    assert np.array_equal(e.x, x)
    assert [i.decode() for i in e.ids] == IDS
    return e


def refusal(path: Path | str, member: str | None = None, **reading: Any) -> str:
    with pytest.raises(DataError) as caught:
        found_in(Path(path), member, Reading(**reading))
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_folder_of_parts(tmp_path: Path, suffix: str) -> None:
    folder(tmp_path / "a", suffix)
    for name in ("_SUCCESS", "_metadata", "_common_metadata", ".part-0.crc"):
        (tmp_path / "a" / name).touch()
    e = check(tmp_path / "a")
    assert e.x.dtype == np.float32
    check(f"{tmp_path / 'a'}::emb")
    check(f"{tmp_path / 'a'}/")
    pq.write_table(table(), tmp_path / "one.parquet")
    assert read(str(tmp_path / "one.parquet")).ids.dtype == e.ids.dtype


@pytest.mark.parametrize("pattern", ["part-*.parquet", "p?rt-*", "part-*.parq*[t]"])
def test_a_pattern(tmp_path: Path, pattern: str) -> None:
    folder(tmp_path / "a")
    (tmp_path / "a" / "notes.txt").touch()
    check(tmp_path / "a" / pattern)
    check(f"{tmp_path / 'a' / pattern}::emb")
    assert "no such file, and no file matches this as a pattern. Check the path." in refusal(tmp_path / "a" / "q-*")


def test_a_pattern_of_text(tmp_path: Path) -> None:
    for i, rows in enumerate(SLICES, FIRST):
        lines = [json.dumps({"id": i, "v": row}) for i, row in zip(IDS[rows], X[rows].tolist(), strict=True)]
        (tmp_path / f"x-{i}.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    check(tmp_path / "x-*.jsonl.gz")


def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "a[1].parquet")
    check(tmp_path / "a[1].parquet")


def test_a_pattern_of_arrays_is_refused(tmp_path: Path) -> None:
    """Bare arrays without ids are more often files to compare than parts of one."""
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", X)
    assert "a pattern stands for parts of one table, in .parquet, " in refusal(tmp_path / "*.npy")


def test_a_saved_dataset(tmp_path: Path) -> None:
    check(dataset(tmp_path / "a"))
    (tmp_path / "a" / "data-9.arrow").unlink()
    assert "data-9.arrow: no such file." in refusal(tmp_path / "a")


def test_a_saved_dictionary_of_datasets_tells_the_split(tmp_path: Path) -> None:
    for split, rows in (("train", slice(0, 40)), ("test", slice(40, N))):
        (tmp_path / split).mkdir()
        with ipc.new_stream(str(tmp_path / split / "data-0.arrow"), table().schema) as writer:
            writer.write_table(table(rows))
        (tmp_path / split / "state.json").write_text('{"_data_files": [{"filename": "data-0.arrow"}]}')
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert check(tmp_path).obs["split"].tolist() == [b"train"] * 40 + [b"test"] * 20


@pytest.mark.parametrize("name", ["../secret.arrow", "/etc/passwd", "", "..", 3, None])
def test_a_saved_dataset_cannot_lead_elsewhere(tmp_path: Path, name: Any) -> None:
    dataset(tmp_path / "a")
    (tmp_path / "a" / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    assert "its list of parts holds " in refusal(tmp_path / "a")


@pytest.mark.parametrize("content", ["", "[", "[" * 100_000, "3", '{"_data_files": 3}', '{"_data_files": []}'])
def test_a_damaged_list_of_parts(tmp_path: Path, content: str) -> None:
    dataset(tmp_path / "a")
    (tmp_path / "a" / "state.json").write_text(content)
    assert refusal(tmp_path / "a").endswith("Save the dataset again.")


@pytest.mark.parametrize("width", [0, 3])
def test_clip_retrieval(tmp_path: Path, width: int) -> None:
    e = check(clip(tmp_path / "a", "img_emb", width=width), X.astype("f2"))
    assert e.obs["label"].tolist() == [b"l%d" % (FIRST + i // (N // PARTS)) for i in range(N)]
    clip(tmp_path / "b", "img_emb", "text_emb")
    check(f"{tmp_path / 'b'}::text_emb", -X.astype("f2"))
    assert f"which vectors? Found img_emb, text_emb. Write {tmp_path / 'b'}::img_emb." in refusal(tmp_path / "b")
    assert "no vectors of this name. Found img_emb." in refusal(tmp_path / "a", "text_emb")


def test_clip_retrieval_with_what_does_not_fit(tmp_path: Path) -> None:
    path = clip(tmp_path / "a", "img_emb")
    (path / "metadata" / "metadata_9.parquet").unlink()
    assert "4 arrays and 3 tables: metadata holds no table 9. Fetch the missing part." in refusal(path)
    pq.write_table(pa.table({"image_path": ["x"]}), path / "metadata" / "metadata_9.parquet")
    assert "metadata_9.parquet: 1 rows, but 15 in img_emb_9.npy. Fetch both again." in refusal(path)


def test_metadata_without_ids_leaves_row_numbers_and_names_candidates(tmp_path: Path) -> None:
    path = clip(tmp_path / "a", "img_emb")
    for i, rows in enumerate(SLICES, FIRST):
        columns = pa.table({"caption": IDS[rows], "width": [i] * len(IDS[rows])})
        pq.write_table(columns, path / "metadata" / f"metadata_{i}.parquet")
    content = found_in(path)
    assert content.ids is None and content.unread == ("caption",)
    assert found_in(path, None, Reading(id_column="caption")).ids.tolist() == [i.encode() for i in IDS]


@pytest.mark.slow
def test_a_part_that_differs_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path / "a")
    pq.write_table(pa.table({"doc_id": ["x"], "emb": [[1.0, 2.0]]}), path / "part-10.parquet")
    assert "part-10.parquet: its vectors have 2 dimensions, those of part-8.parquet 5." in refusal(path)
    pq.write_table(pa.table({"doc_id": ["x"], "emb": [[1.0] * D], "label": ["l"]}), path / "part-10.parquet")
    wanted = "part-10.parquet: its columns are doc_id (text), label (text), those of part-8.parquet doc_id (text)."
    assert wanted in refusal(path)
    (path / "part-10.parquet").write_bytes(b"PAR1")
    assert "part-10.parquet: cut short" in refusal(path)


@pytest.mark.slow
def test_an_id_in_two_parts_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "a")
    pq.write_table(table(SLICES[0]), path / "part-9.parquet")
    assert refusal(path).endswith(
        "a: 15 values of doc_id occur in more than one part, such as é0. Remove the copies, or write --by-position."
    )
    assert found_in(path, None, Reading(by_position=True)).ids is None
    for part in path.iterdir():
        pq.write_table(pq.read_table(part).rename_columns(["id", "emb"]), part)
    with pytest.raises(DataError, match=r"occur in more than one part"):
        read(str(path))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], ": this is a folder. Name a file that holds embeddings."),
        (["a.txt", "b.parquet"], "it holds a.txt. Write '{path}/*.parquet' for its parts, or name one file."),
        (["a.txt"], "it holds a.txt. Name a file that holds embeddings."),
        (["a.npy", "b.npy"], "it holds a.npy, b.npy. Name a file that holds embeddings."),
        (["a.csv"], "it holds a.csv. Write '{path}/*.csv' for its parts, or name one file."),
    ],
)
def test_other_folders(tmp_path: Path, names: list[str], words: str) -> None:
    path = tmp_path / "a"
    path.mkdir()
    for name in names:
        (path / name).touch()
    assert refusal(path).endswith(words.format(path=path))


@pytest.mark.slow
def test_the_commands_take_folders_and_patterns(work: Workdir) -> None:
    folder(work / "a")
    clip(work / "b", "img_emb")
    dataset(work / "c")
    records = {row["name"]: row["value"] for row in work.here("relrep info b").rows}
    assert (records["items"], records["dims"], records["dtype"]) == (str(N), str(D), "float16")
    done = work.here("relrep compare a/ b c 'a/part-*.parquet' --metric cka")
    assert [row["joined"] for row in done.rows] == ["id"] * len(done.rows)
    assert all(abs(float(row["value"]) - 1) < 1e-3 for row in done.rows)
    assert "4 parts as one table, part-8.parquet to part-11.parquet." in done.stderr
    work.here("relrep embed c --encoder none -o out.h5")
    assert np.array_equal(read(str(work / "out.h5")).x, X)
