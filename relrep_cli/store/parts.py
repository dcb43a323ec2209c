"""One table in several files: a pattern of names, a folder of parts, a saved Hugging Face dataset, clip-retrieval's folders."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.signals import check
from relrep_cli.base.uris import natural
from relrep_cli.embedding import duplicates
from relrep_cli.numerics.spool import spool
from relrep_cli.store.assignment import tells_rows_apart
from relrep_cli.store.column_names import is_id_name
from relrep_cli.store.files import bad, inner_ending
from relrep_cli.store.found import Found
from relrep_cli.store.reading import Reading
from relrep_cli.store.table_columns import listed

TABLES = (".parquet", ".arrow", ".feather", ".ipc", ".jsonl", ".ndjson", ".csv", ".tsv")  # formats that bring their ids
LISTED = (".parquet", ".arrow", ".feather", ".ipc")  # those that a whole folder may consist of
SIDES = ("img_emb", "text_emb")  # clip-retrieval's folders of vectors
STATE, SPLITS = "state.json", "dataset_dict.json"  # where Hugging Face's save_to_disk lists its parts
JSON = 1 << 20  # bytes of such a list
MOST = 10_000  # parts
NAME_A_FILE = "Name a file that holds embeddings."

Read = Callable[[Path, str | None, Reading], Found]


@dataclass(frozen=True)
class Part:
    """A file of rows. split: what the folder says of all of them. metadata: the file that holds their ids."""

    path: Path
    split: str = ""
    metadata: Path | None = None


def is_several(path: Path) -> bool:
    """Whether a name stands for a folder, or is a pattern and no file."""
    return os.path.isdir(path) or (has_magic(str(path)) and not os.path.lexists(path))


def is_table(path: Path) -> bool:
    """Whether a folder holds a table in parts."""
    try:
        return os.path.isdir(path) and bool(_parts_of(path, SIDES[0])[0])
    except (DataError, OSError):
        return False


def read_parts(path: Path, member: str | None, reading: Reading, readers: Mapping[str, Read]) -> Found:
    """The rows of all parts, one after another. Raises DataError that names the part, when it differs from the first."""
    parts, member = _parts_of(path, member) if os.path.isdir(path) else (_matching(path), member)
    if len(parts) > MOST:
        raise bad(path, f"{len(parts)} parts; at most {MOST} are read", "Join some.")
    contents = []
    for part in parts:
        check()
        contents.append(_read(part, member, reading, readers))
        _compare(part, contents[-1], parts[0], contents[0])
    joined = _joined(contents)
    if reading.id_column is None and not reading.by_position:
        _refuse_copies(path, contents, joined)
    return replace(joined, notes=(*contents[0].notes, _note(parts)))


def _note(parts: list[Part]) -> str:
    if len(parts) == 1:
        return f"read from {printable(parts[0].path.name, 60)}."
    return f"{len(parts)} parts as one table, {printable(parts[0].path.name, 60)} to {printable(parts[-1].path.name, 60)}."


def _matching(path: Path) -> list[Part]:
    """The files that a pattern matches."""
    try:
        names = [name for name in glob(str(path)) if not os.path.isdir(name)]
    except ValueError:  # a NUL byte
        names = []
    if not names:
        raise bad(path, "no such file, and no file matches this as a pattern", "Check the path.")
    endings = sorted({inner_ending(name) for name in names})
    if len(endings) > 1 or endings[0] not in TABLES:
        finding = f"a pattern stands for parts of one table, in {', '.join(TABLES)}; it matches {listed(names, 3)}"
        raise bad(path, finding, "Name each file.")
    return [Part(path_of_part) for path_of_part in sorted(map(Path, names), key=lambda part: natural(str(part)))]


def _parts_of(path: Path, member: str | None) -> tuple[list[Part], str | None]:
    """The parts that a folder holds, and the member that is to be read of each."""
    names = sorted(name for name in _listed(path) if not name.startswith((".", "_")))
    sides = [name for name in SIDES if name in names and (path / name).is_dir()]
    if sides:
        return _of_clip(path, sides, member), None
    if STATE in names:
        return [Part(path / name) for name in _data_files(path)], member
    if SPLITS in names:
        splits = [name for name in _texts(path, _stated(path / SPLITS).get("splits")) if name in names]
        return [Part(path / split / name, split) for split in splits for name in _data_files(path / split)], member
    endings = {Path(name).suffix.lower() for name in names if name != "dataset_info.json"}
    if len(endings) == 1 and endings <= set(LISTED):
        return [
            Part(file)
            for file in sorted((path / n for n in names if n != "dataset_info.json"), key=lambda part: natural(str(part)))
        ], member
    if not names:
        raise bad(path, "this is a folder", NAME_A_FILE)
    others = [name for name in names if Path(name).suffix.lower() not in LISTED] or names
    finding = f"this is a folder, and not of one kind of parts ({', '.join(LISTED)}) alone: it holds {listed(others, 3)}"
    if all("=" in name for name in names):  # as Spark and Hive divide a table
        raise bad(path, finding, f"Write '{printable(str(path), 1000)}/*/*.parquet' for the parts in its folders.")
    if lance := next((name for name in names if name.lower().endswith(".lance")), None):
        raise bad(path, finding, f"Write {printable(str(path), 1000)}/{printable(lance)}, a Lance table.")
    tables = sorted(ending for ending in endings if ending in TABLES)
    pattern = f"{printable(str(path), 1000)}/*{tables[0]}" if tables else ""
    raise bad(path, finding, f"Write '{pattern}' for its parts, or name one file." if tables else NAME_A_FILE)


def _listed(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except OSError as error:
        raise bad(path, f"this folder cannot be listed: {error.strerror}", "Check its permissions.") from None


def _data_files(path: Path) -> list[str]:
    """The parts that a saved dataset lists. Raises DataError for names that lead elsewhere."""
    files = _stated(path / STATE).get("_data_files")
    listing = files if isinstance(files, list) else []
    names = _texts(path, [file.get("filename") if isinstance(file, dict) else None for file in listing])
    if not names:
        raise bad(path / STATE, "it lists no data files", "Save the dataset again.")
    return names


def _texts(path: Path, names: Any) -> list[str]:
    for name in names if isinstance(names, list) else [None]:
        if not isinstance(name, str) or os.path.basename(name) != name or name in ("", ".", ".."):
            raise bad(path, f"its list of parts holds {printable(repr(name), 60)}, no name", "Save the dataset again.")
    return names


def _stated(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            stated = json.loads(file.read(JSON))
    except OSError as error:
        raise bad(path, f"cannot be opened: {error.strerror}", "Save the dataset again.") from None
    except (ValueError, RecursionError):
        stated = None
    if not isinstance(stated, dict):
        raise bad(path, "this is not a list of the parts of a dataset", "Save the dataset again.")
    return stated


def _of_clip(path: Path, sides: list[str], member: str | None) -> list[Part]:
    """clip-retrieval's arrays with the tables of the same numbers."""
    place = printable(str(path), 1000)
    if member is None and len(sides) > 1:
        raise bad(path, f"which vectors? Found {listed(sides)}", f"Write {place}::{sides[0]}.")
    side = sides[0] if member is None else member.strip("/")
    if side not in sides:
        raise bad(path, f"no vectors of this name. Found {listed(sides)}", f"Write {place}::{sides[0]}.", member)
    arrays = _numbered(path / side, ".npy")
    tables = _numbered(path / "metadata", ".parquet") if (path / "metadata").is_dir() else {}
    if not arrays:
        raise bad(path / side, "this folder holds no .npy files", NAME_A_FILE)
    if tables and arrays.keys() != tables.keys():
        odd = min(arrays.keys() ^ tables.keys())
        lacking = f"metadata holds no table {odd}" if odd in arrays else f"{side} holds no array {odd}"
        raise bad(path, f"{len(arrays)} arrays and {len(tables)} tables: {lacking}", "Fetch the missing part.")
    return [Part(array, metadata=tables.get(number)) for number, array in arrays.items()]


def _numbered(path: Path, ending: str) -> dict[int, Path]:
    """The files of a folder by the number at the end of their names, in its order."""
    by_number: dict[int, Path] = {}
    for name in _listed(path):
        match = re.fullmatch(r".*?(\d{1,18})" + re.escape(ending), name)
        if match and not name.startswith("."):
            number = int(match[1])
            if number in by_number:
                raise bad(path, f"{printable(by_number[number].name)} and {printable(name)} have one number", "Remove one.")
            by_number[number] = path / name
    return dict(sorted(by_number.items()))


def _read(part: Part, member: str | None, reading: Reading, readers: Mapping[str, Read]) -> Found:
    if part.path.suffix.lower() == ".npy":
        content = readers[".npy"](part.path, None, reading)
        if part.metadata is None:
            return content
        from relrep_cli.store.parquet import read_metadata  # with its half a dozen modules, which few runs need

        beside = read_metadata(part.metadata, reading)
        if len(beside.x) != len(content.x):
            raise bad(
                part.metadata, f"{len(beside.x)} rows, but {len(content.x)} in {printable(part.path.name)}", "Fetch both again."
            )
        return replace(content, columns=beside.columns, index=beside.index, unread=beside.unread)
    if part.path.suffix.lower() not in readers:
        raise bad(part.path, "this is not a part of a table", "Save the dataset again.")
    content = readers[part.path.suffix.lower()](part.path, member, reading)
    if part.split and "split" not in content.columns and reading.split_column is None:
        return replace(content, columns={**content.columns, "split": np.full(len(content.x), part.split.encode())})
    return content


def _compare(part: Part, content: Found, first: Part, wanted: Found) -> None:
    """Raise DataError when a part has other columns than the first."""
    if content.x.shape[1] != wanted.x.shape[1]:
        finding = f"its vectors have {content.x.shape[1]} dimensions, those of {printable(first.path.name)} {wanted.x.shape[1]}"
        raise bad(part.path, finding, "Remove the part that is from elsewhere.")
    columns, others = _kinds(content), _kinds(wanted)
    if columns != others or content.index != wanted.index:
        finding = f"its columns are {_shown(columns)}, those of {printable(first.path.name)} {_shown(others)}"
        raise bad(part.path, finding, "All parts need the same columns, of the same types.")


def _kinds(content: Found) -> dict[str, str]:
    return {name: "text" if values.dtype.kind == "S" else "numbers" for name, values in sorted(content.columns.items())}


def _shown(columns: dict[str, str]) -> str:
    return listed([f"{name} ({kind})" for name, kind in columns.items()]) if columns else "none"


def _refuse_copies(path: Path, parts: list[Found], joined: Found) -> None:
    """Raise DataError where a column with the name of ids tells rows apart in each part, but not in all."""
    for name, values in joined.columns.items():
        if not is_id_name(name) or values.dtype.kind != "S" or not all(tells_rows_apart(part.columns[name]) for part in parts):
            continue
        if twice := duplicates(values):
            some = f"{printable(name, 40)} occur in more than one part, such as {printable(twice[0], 60)}"
            raise bad(path, f"{len(twice)} values of {some}", "Remove the copies, or write --by-position.")


def _joined(parts: list[Found]) -> Found:
    """All rows in one; a column may be the ids where it may be in each part."""
    if len(parts) == 1:
        return parts[0]
    unread = tuple(name for name in parts[0].unread if all(name in part.unread for part in parts))
    columns = {name: _one_after_another([part.columns[name] for part in parts]) for name in parts[0].columns}
    x = _one_after_another([part.x for part in parts])
    return Found(
        x,
        columns=columns,
        index=parts[0].index,
        unread=unread,
        stored=parts[0].stored,
        layout="table" if parts[0].layout == "table" else "collection",
    )


def _one_after_another(pieces: list[np.ndarray]) -> np.ndarray:
    n = sum(map(len, pieces))
    out, at = spool((n, *pieces[0].shape[1:]), np.result_type(*(piece.dtype for piece in pieces))), 0
    for piece in pieces:
        check()
        out[at : at + len(piece)] = piece
        at += len(piece)
    return out
