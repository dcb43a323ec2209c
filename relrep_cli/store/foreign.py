"""Formats that relrep reads and does not write, by the ending of the file's name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from relrep_cli.base.errors import printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.store.assignment import assign
from relrep_cli.store.files import HDF5_ENDINGS, HEAD, SUFFIXES, bad, mistaken, opened, sniff
from relrep_cli.store.found import Found
from relrep_cli.store.parts import is_several, read_parts
from relrep_cli.store.quantised import unpacked
from relrep_cli.store.reading import PLAIN, Reading
from relrep_cli.store.scaling import scaled

__all__ = ["FORMATS", "READERS", "Format", "found_in", "mistaken", "reader", "sniff"]

Reader = Callable[[Path, str | None, Reading], Found]  # (file, what follows `::` in its URI, what the user says of it)
AnyReader = TypeVar("AnyReader", bound=Reader)


@dataclass(frozen=True)
class Format:
    """A file format: the endings of its files, its reader, and what docs/reading.md says of it."""

    endings: tuple[str, ...]
    read: Reader
    written_by: str = ""
    content: str = ""
    ids: str = ""
    library: str = "relrep"


def _later(module: str, name: str) -> Reader:
    """A reader that is imported when it is used, because a run reads few formats."""

    def read(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
        function: Reader = getattr(import_module(f"relrep_cli.store.{module}"), name)
        return function(path, member, reading)

    return read


BY_NAME = "a column by its name"
BESIDE = "an array of n values by its name"
FORMATS: list[Format] = [
    Format(
        (".npy",),
        _later("npy", "read_npy"),
        "numpy.save; thingsvision",
        "an array (n, d) or (n, 1, d)",
        "`a.ids.txt` beside a.npy; `file_names.txt` beside features.npy",
    ),
    Format(
        (".npz",),
        _later("npz", "read_npz"),
        "numpy.savez; SeqVec",
        "an array (n, d), or one array for each item",
        f"{BESIDE}; names of the arrays",
    ),
    Format(
        (".csv", ".tsv"),
        _later("text", "read_text"),
        "pandas, R, spreadsheets, the TensorFlow projector",
        "columns of numbers named alike, or one of vectors as `[0.1, 0.2]`",
        f"{BY_NAME}; `metadata.tsv` beside vectors.tsv",
        "pyarrow, guarded",
    ),
    Format(
        (".parquet",),
        _later("parquet", "read_parquet"),
        "pandas, polars, datasets, Spark",
        "a column of lists, or columns of numbers named alike",
        f"pandas' index; {BY_NAME}",
        "pyarrow, guarded",
    ),
    Format(
        (".arrow", ".feather", ".ipc"),
        _later("arrow", "read_arrow"),
        "pyarrow, polars, datasets",
        "a column of lists, or columns of numbers named alike; files and streams",
        f"pandas' index; {BY_NAME}",
        "pyarrow, guarded",
    ),
    Format(
        (".jsonl", ".ndjson", ".json"),
        _later("json_tables", "read_json"),
        "OpenAI's batches, pandas, scripts",
        "a list of numbers in each record, or rows of numbers",
        "a key by its name; custom_id",
        "json, guarded",
    ),
    Format(
        (".gz",),
        _later("gzipped", "read_gzipped"),
        "gzip",
        "any text format below .gz, such as .csv.gz",
        "as in that format",
        "zlib",
    ),
    Format(
        (".safetensors",),
        _later("safetensors", "read_safetensors"),
        "safetensors",
        "a tensor (n, d)",
        "a tensor of n whole numbers by its name",
    ),
    Format(
        (".txt", ".vec", ".glove", ".bin"),
        _later("words", "read_words"),
        "word2vec, fastText, GloVe, gensim, numpy.savetxt",
        "a word and its numbers on each line; word2vec's binary form",
        "the words",
    ),
    Format(
        (".pt", ".pth"),
        _later("torch_files", "read_torch"),
        "torch.save",
        "a tensor, a dict of them, or one vector for each key",
        "a list by its name; the keys",
    ),
    Format(
        (".mat",),
        _later("matlab_files", "read_matlab"),
        "MATLAB, scipy.io.savemat",
        "a matrix; of version 7.3, which is HDF5, transposed",
        "a cell or character array by its name",
        "SciPy and h5py, guarded",
    ),
    Format(
        (".faiss", ".index"),
        _later("faiss_files", "read_faiss"),
        "faiss.write_index",
        "the vectors of IndexFlat and IndexIDMap",
        "those of the IndexIDMap",
        "faiss, guarded",
    ),
    Format(
        (".db", ".sqlite", ".sqlite3"),
        _later("sqlite_tables", "read_sqlite"),
        "sqlite-vec and others",
        "a table with blobs of float32 or float64, or JSON lists",
        BY_NAME,
        "sqlite3, guarded",
    ),
]
SHEET = ("a spreadsheet", "Save the sheet as CSV.")
PICKLED = ("a Python pickle", "Pickles can run code and are never opened; in pandas, write DataFrame.to_parquet.")
GENSIM = (
    "a model of gensim, which is a pickle",
    "In gensim, write KeyedVectors.load(FILE).save_word2vec_format('vectors.txt').",
)
UNREAD = {  # what other endings mean, and what to do with such files
    **dict.fromkeys((".xlsx", ".xls", ".ods"), SHEET),
    **dict.fromkeys((".pkl", ".pickle"), PICKLED),
    ".kv": GENSIM,
    ".rds": ("an object of R", "In R, write write.csv(x, FILE)."),
}
READERS: dict[str, Reader] = {ending: one.read for one in FORMATS for ending in one.endings}


def found_in(path: Path, member: str | None = None, reading: Reading = PLAIN, *, hdf5: bool = False) -> Found:
    """Read a file of any format, or a folder or pattern of parts, with its ids and columns by the reading rule.

    hdf5: whatever its name says. Raises DataError.
    """
    if hdf5:
        content = _read_hdf5(path, member, reading)
    elif (read_folder := _folder_reader(path)) is not None:
        content = read_folder(path, member, reading)
    elif is_several(path):
        content = read_parts(path, member, reading, READERS)
    else:
        read, notes = _reader_of(path)
        content = read(path, member, reading)
        content = replace(content, notes=(*notes, *content.notes))
    _refuse_idle(path, content, reading)
    content = content if reading.packed_bits else scaled(path, content)
    return unpacked(path, assign(path, content, reading), reading)


def _refuse_idle(path: Path, content: Found, reading: Reading) -> None:
    """Raise DataError for what the user says of the vectors of a file that has none of that kind."""
    remedy = "Leave it out, or give it for one file: 'FILE?{}'."
    if reading.transpose and content.layout != "array":
        finding = "--transpose swaps the axes of an array, and the rows of this file are items"
        raise bad(path, finding, remedy.format("transpose"))
    if reading.vector_columns is not None and content.layout != "table":
        finding = "--vector-columns names columns of a table, and this file holds none"
        raise bad(path, finding, remedy.format("vectors=NAMES"))


def _folder_reader(path: Path) -> Reader | None:
    """The reader of a folder that is one embedding; None for anything else."""
    if not os.path.isdir(path):
        return None
    from relrep_cli.store.lance_folders import is_lance, read_lance
    from relrep_cli.store.mteb_cache import is_mteb_cache, read_mteb_cache
    from relrep_cli.store.zarr_folders import is_zarr, read_zarr

    readers = ((is_mteb_cache, read_mteb_cache), (is_zarr, read_zarr), (is_lance, read_lance))
    return next((read for is_it, read in readers if is_it(path)), None)


def _read_hdf5(path: Path, member: str | None, reading: Reading) -> Found:
    from relrep_cli.store.hdf5 import read_hdf5

    return read_hdf5(path, member, reading)


def _reader_of(path: Path) -> tuple[Reader, tuple[str, ...]]:
    """The reader for the ending of a file's name, or else for its content, and what to tell the user of that.

    Raises DataError for text under another ending, which may be anything.
    """
    ending = path.suffix.lower()
    if ending in READERS or ending in HDF5_ENDINGS:
        return READERS.get(ending, _read_hdf5), ()
    if ending in UNREAD:
        opened(path).close()  # which says what is wrong with a missing file
        what, advice = UNREAD[ending]
        raise bad(path, f"this is {what}, by its ending", advice)
    with opened(path) as file:
        kind = sniff(os.pread(file.fileno(), HEAD, 0))
    if kind == "text":
        known = "Word vectors are read from .txt, .vec and .glove, tables from .csv and .tsv, JSON from .json and .jsonl."
        raise bad(
            path, f"this is text, and the ending {printable(ending) or 'that it lacks'} does not say of which kind", known
        )
    known_reader = READERS.get(SUFFIXES.get(kind or "", ""))
    return (known_reader, (f"read as {kind}, by its content.",)) if known_reader else (_read_hdf5, ())


def reader(*endings: str) -> Callable[[AnyReader], AnyReader]:
    """Register the decorated function for files with these endings, as `@reader(".rows")`, for packages that add a format.

    Raises TypeError for an ending that another reader has, or that has no dot or capital letters.
    """

    def register(function: AnyReader) -> AnyReader:
        for ending in endings:
            if not ending.startswith(".") or ending != ending.lower():
                raise TypeError(f"ending {ending}: write a dot and lower-case letters")
            if ending in READERS:
                raise TypeError(f"ending {ending} is registered twice")
            READERS[ending] = function
        FORMATS.append(Format(endings, function, content=(function.__doc__ or "").strip().partition("\n")[0]))
        return function

    return register
