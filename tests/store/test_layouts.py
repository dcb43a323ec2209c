"""Layouts that tools write, each once read wrong or refused with a misleading line: right values, or a line that helps."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from relrep_cli import store
from relrep_cli.base.errors import DataError
from relrep_cli.embedding import text
from relrep_cli.store.json_records import names_of_columns
from relrep_cli.store.reading import Reading

N, D = 7, 3
X = np.random.default_rng(0).normal(size=(N, D)).astype("f4")
NAMES = [f"item{i}é" for i in (3, 1, 0, 2, 6, 5, 4)]
ROWS = [[repr(float(v)) for v in row] for row in X]


def check(path: Path, names: list[str] | None = NAMES, **reading: Any) -> None:
    e = store.read(str(path), Reading(**reading))
    assert np.allclose(e.x, X, atol=1e-6) and e.row_ids == (names is None)
    assert names is None or e.ids.tolist() == text(names).tolist()


def refusal(path: Path, **reading: Any) -> str:
    with pytest.raises(DataError) as error:
        store.read(str(path), Reading(**reading))
    return str(error.value)


def written(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


# --- HDF5 ---


@pytest.mark.parametrize("kind", ["text", "S", "int"])
def test_ids_in_an_attribute_of_the_matrix(tmp_path: Path, kind: str) -> None:
    values: Any = {"text": NAMES, "S": np.array([n.encode() for n in NAMES]), "int": np.arange(N) * 3 + 5}[kind]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["embeddings"] = X
        file["embeddings"].attrs["ids"] = values
        file["embeddings"].attrs["names_of_columns"] = list("abc")
    check(tmp_path / "a.h5", [str(v) for v in values] if kind == "int" else NAMES)


def test_ids_in_attributes_of_the_group_and_in_groups_beside(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["embeddings"], file.attrs["filenames"], file.attrs["name"] = X, NAMES, "resnet"
    check(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["embeddings"], file.attrs["ids"] = X, json.dumps(NAMES)
    check(tmp_path / "b.h5")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["embeddings"], file["meta/image_names"] = X, NAMES
    assert store.read(str(tmp_path / "c.h5")).id_candidates == ("meta/image_names",)
    check(tmp_path / "c.h5", id_column="meta/image_names")


def test_an_item_in_each_group(tmp_path: Path) -> None:
    """ESM's layout, converted: what all paths share at their end is no part of an id."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, row in zip(NAMES, X, strict=True):
            file[f"{name}/mean_representations/33"] = row
    e = store.read(str(tmp_path / "a.h5"))
    assert e.ids.tolist() == text(sorted(NAMES)).tolist()


def test_ids_in_the_metadata_of_safetensors_and_a_tensor_for_each_item(tmp_path: Path) -> None:
    save_file({"embeddings": X}, tmp_path / "a.safetensors", {"ids": json.dumps(NAMES), "format": "pt"})
    check(tmp_path / "a.safetensors")
    save_file({name: row.copy() for name, row in zip(NAMES, X, strict=True)}, tmp_path / "b.safetensors")
    e = store.read(str(tmp_path / "b.safetensors"))
    order = np.argsort(NAMES)
    assert dict(zip(e.ids.tolist(), e.x.tolist(), strict=True)) == {text([NAMES[i]])[0]: X[i].tolist() for i in order}


def test_texts_of_matlab(tmp_path: Path) -> None:
    """A cell of texts, and an array of characters, which pads them with blanks."""
    letters = [np.frombuffer(name.encode("utf-16-le"), "<u2") for name in NAMES]
    for kind in ("cell", "char"):
        path = tmp_path / f"{kind}.mat"
        with h5py.File(path, "w", userblock_size=512) as file:
            file["x"], file["x"].attrs["MATLAB_class"] = X.T, np.bytes_("single")
            if kind == "cell":
                for i, part in enumerate(letters):
                    file[f"#refs#/{i}"] = part[:, None]
                references = [file[f"#refs#/{i}"].ref for i in range(N)]
                file.create_dataset("names", data=np.array([references], h5py.ref_dtype), dtype=h5py.ref_dtype)
            else:
                file["names"] = np.array([np.append(part, [32]) for part in letters], "<u2").T
            file["names"].attrs["MATLAB_class"] = np.bytes_(kind)
        check(path)
    with h5py.File(tmp_path / "cell.mat", "r+") as file:
        file["#refs#/0"].attrs["MATLAB_class"] = np.bytes_("double")
        del file["#refs#/1"]
        file["#refs#/1"] = np.arange(3.0)
        file["names"][0, 1] = file["#refs#/1"].ref
    a, b = (store.read(str(tmp_path / "cell.mat")) for _ in range(2))
    assert a.row_ids and a.id_candidates == ("names",) == b.id_candidates, "what is no text is not passed over in silence"


def test_names_along_the_other_axis_say_that_a_matrix_looks_transposed(tmp_path: Path) -> None:
    """As Julia writes it; where other names fit the rows, those along the other axis are of columns."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["X"], file["names"] = X.T, NAMES
    np.savez(tmp_path / "a.npz", x=X.T, names=NAMES)
    for path in (tmp_path / "a.h5", tmp_path / "a.npz"):
        assert "looks transposed. Write --transpose to read it so, or --by-position." in refusal(path)
        check(path, transpose=True)
        assert store.read(str(path), Reading(by_position=True)).x.shape == (D, N)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["X"], file["doc_id"], file["names"] = X, NAMES, ["p", "q", "r"]
    np.savez(tmp_path / "b.npz", x=X, doc_id=NAMES, names=["p", "q", "r"])
    check(tmp_path / "b.h5")
    check(tmp_path / "b.npz")


def test_what_a_file_holds_instead_of_a_matrix_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["df/table"] = np.zeros(3, [("index", "i8"), ("values", "f4", (2,))])
    assert (
        "no embedding here (/df/table: it holds compound values of 16 bytes); this file holds none. Save the vectors"
        in refusal(tmp_path / "a.h5")
    )


# --- JSON ---


def test_columns_and_rows_of_named_numbers(tmp_path: Path) -> None:
    """pandas' to_json, orient="columns" and "index": the names of coordinates count."""
    by_row = {name: {f"dim_{j}": float(v) for j, v in enumerate(row)} for name, row in zip(NAMES, X, strict=True)}
    by_column = {f"dim_{j}": {name: float(v) for name, v in zip(NAMES, X[:, j], strict=True)} for j in range(D)}
    for content in (by_row, by_column):
        check(written(tmp_path / "a.json", json.dumps(content)))
    by_row = {name: {**row, "label": "l"} for name, row in by_row.items()}
    check(written(tmp_path / "a.json", json.dumps(by_row)))
    either = {"a": {"p": 1.5, "q": 2.5}, "b": {"p": 1.5, "q": 2.5}}
    assert (
        '2 names with 2 named numbers each: which are the columns? Write it with DataFrame.to_json(orient="split")'
        in refusal(written(tmp_path / "a.json", json.dumps(either)))
    )
    assert names_of_columns(["e1", "e2"]) and not names_of_columns(["e2", "e1"]) and not names_of_columns(["e1", "e3"])


def test_columns_that_pandas_numbered(tmp_path: Path) -> None:
    """orient="split" writes the names of columns as numbers, where they are numbers."""
    check(written(tmp_path / "a.json", json.dumps({"columns": [0, 1, 2], "index": NAMES, "data": X.tolist()})))


def test_vectors_of_a_collection_beside_its_metadata(tmp_path: Path) -> None:
    """Chroma's get: lists of other lengths say something of the whole."""
    content = {"ids": NAMES, "embeddings": X.tolist(), "metadatas": [{"p": 1}] * N, "documents": None, "included": ["p", "q"]}
    check(written(tmp_path / "a.json", json.dumps(content)))


# --- text ---


def test_a_first_row_that_lacks_the_name_of_the_ids(tmp_path: Path) -> None:
    """R's write.table, with tabs, and with blanks and quotes."""
    body = [[name, *row] for name, row in zip(NAMES, ROWS, strict=True)]
    check(written(tmp_path / "a.tsv", "V1\tV2\tV3\n" + "".join("\t".join(row) + "\n" for row in body)))
    quoted = "".join(f'"{row[0]}" ' + " ".join(row[1:]) + "\n" for row in body)
    check(written(tmp_path / "a.txt", '"V1" "V2" "V3"\n' + quoted))
    check(written(tmp_path / "a.txt", '"id" "V1" "V2" "V3"\n' + quoted))
    trailing = "id\tV1\tV2\tV3\n" + "".join("\t".join(row) + "\t\n" for row in body)
    assert "row 2 has 5 cells, the first row 4" in refusal(written(tmp_path / "b.tsv", trailing))


def test_comments_of_savetxt(tmp_path: Path) -> None:
    for ending, separator in ((".txt", " "), (".csv", ",")):
        path, header = tmp_path / f"a{ending}", "f0,f1,f2" if ending == ".csv" else "made by me\nin two lines"
        np.savetxt(path, X, delimiter=separator, header=header)
        check(path, None)
    word = "# " + " ".join(ROWS[0]) + "\n" + "".join(f"w{i} " + " ".join(row) + "\n" for i, row in enumerate(ROWS[1:]))
    check(written(tmp_path / "b.txt", word), ["#", *(f"w{i}" for i in range(N - 1))])


def test_byte_order_marks(tmp_path: Path) -> None:
    body = "".join(f"{name} " + " ".join(row) + "\n" for name, row in zip(NAMES, ROWS, strict=True))
    for content in (body, f"{N} {D}\n{body}"):
        check(written(tmp_path / "a.vec", "\ufeff" + content))


def test_text_in_one_of_the_coordinates_is_no_reason_to_leave_it_out(tmp_path: Path) -> None:
    rows = "".join(f'{name},"1,234",{row[1]},{row[2]}\n' for name, row in zip(NAMES, ROWS, strict=True))
    path = written(tmp_path / "a.csv", "id,f0,f1,f2\n" + rows)
    assert "f0 is named like the coordinates (f1, f2), and holds text" in refusal(path)
    assert np.allclose(store.read(str(path), Reading(vector_columns="f1,f2")).x, X[:, 1:])


def test_semicolons_are_named(tmp_path: Path) -> None:
    for line in ('"";"V1";"V2"', "1,5;2,5"):
        assert "its cells are separated by ';', which goes with decimal commas" in refusal(
            written(tmp_path / "a.csv", line + "\n")
        )


def test_packed_binary_word_vectors(tmp_path: Path) -> None:
    content = f"{N} {D}\n".encode() + b"".join(n.encode() + b" " + row.tobytes() for n, row in zip(NAMES, X, strict=True))
    (tmp_path / "a.bin.gz").write_bytes(gzip.compress(content))
    check(tmp_path / "a.bin.gz")
