"""Reading with pyarrow, or JSON: in a child process with limits, which leaves rows and texts in temporary files for us to map.

pyarrow is 50 MB to import and has crashed on damaged Parquet; the parent never imports it.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from io import FileIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, WriteError, is_out_of_descriptors, printable
from relrep_cli.base.signals import temporary
from relrep_cli.numerics.spool import spool
from relrep_cli.store.arrays import Several
from relrep_cli.store.child import Died, held, run
from relrep_cli.store.columns import shortened
from relrep_cli.store.files import MORE_ROOM, bad
from relrep_cli.store.found import Found
from relrep_cli.store.limits import PADDED, TEXT_WIDTH, UNPACKED, packing_fault

Batch = tuple[np.ndarray, dict[str, list[np.ndarray]]]  # rows of x; by role, texts ("S") or numbers in pieces
Answer = dict[str, Any]
Files = tuple[str, str]  # where the child leaves rows and texts
PIECE = 1024  # texts
TEXTUAL = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view", "integer", "boolean", "null")
NOISE = (ValueError, OSError, MemoryError, NotImplementedError, LookupError, TypeError)  # pyarrow's, for damaged files


def read_apart(path: Path, size: int, reader: Callable[..., Answer], *arguments: Any) -> Found:
    """Run `reader(path, files, *arguments)` in a child, which answers by `answered` and `spill`, and return what it finds.

    Raises DataError with the reader's words, or when it dies; WriteError when the temporary folder is full; RuntimeError
    for a mistake of the reader.
    """
    with temporary(_fresh()) as rows, temporary(_fresh()) as texts:
        try:
            answer = run(reader, str(path), [str(rows), str(texts)], *arguments, patience=60 + size / 1e6)
        except Died as error:
            finding = error.finding.replace("libhdf5", "the parser")
            raise bad(path, f"damaged: {printable(finding)}", "Write it again.") from None
        raise_if_failed(answer, rows.parent)
        with FileIO(rows) as file:
            x = _mapped(file, answer["dtype"], tuple(answer["shape"]), 0)
        with FileIO(texts) as file:
            columns = {name: _joined(path, name, file, parts) for name, parts in answer["columns"].items()}
    return Found(
        x,
        columns=columns,
        index=answer.get("index"),
        unread=tuple(answer.get("unread", ())),
        digests={str(name): str(digest) for name, digest in answer.get("digests", {}).items()},
        stored=answer.get("stored", ""),
        notes=tuple(answer.get("notes", ())),
        layout="array" if answer.get("is_array") else "table",
    )


def raise_if_failed(answer: Answer, folder: Path) -> None:
    """Raise what went wrong in the child, with the fields of its error. folder: where its temporary files are."""
    if "bug" in answer:
        raise RuntimeError(answer["bug"])
    if "missing" in answer:
        raise ModuleNotFoundError(answer["missing"], name=answer["missing"])
    if "full" in answer:
        raise WriteError(answer["full"], MORE_ROOM, file=str(folder))
    if "error" in answer:
        finding, remedy, file, place = (printable(str(field), 2000) for field in answer["error"])
        if names := [str(name) for name in answer.get("names", ())]:
            raise Several(finding, remedy, file=file, place=place, names=names)
        raise DataError(finding, remedy, file=file, place=place)


def _fresh() -> Path:
    handle, name = tempfile.mkstemp(prefix="relrep-")
    os.close(handle)
    return Path(name)


def _mapped(file: FileIO, kind: str, shape: tuple[int, ...], offset: int) -> np.ndarray:
    dtype = np.dtype(kind)
    if dtype.kind not in "fS":
        raise DataError(
            f"a child process wrote {dtype}, which no reader writes", "Run it again."
        )  # an object array would hold pointers
    return np.memmap(file, dtype, "r", offset, shape)


def _joined(path: Path, name: str, file: FileIO, parts: list[list[Any]]) -> np.ndarray:
    """A column from its parts [dtype, rows, offset], as wide as the widest of them."""
    dtype = np.result_type(*(np.dtype(kind) for kind, _, _ in parts))
    n = sum(rows for _, rows, _ in parts)
    if n * dtype.itemsize > max(UNPACKED, PADDED * os.fstat(file.fileno()).st_size):
        raise bad(path, f"the {name} column has one text of {dtype.itemsize} bytes among short ones", "Shorten it.")
    out, at = spool((n,), dtype), 0
    for kind, rows, offset in parts:
        out[at : at + rows] = _mapped(file, kind, (rows,), offset) if rows else []
        at += rows
    return out


def import_alone() -> None:
    """In the child: keep pyarrow from importing pandas on first use; that is 40 MB and 0.2 s for nothing needed here.

    Its own memory pool keeps 10 MB more than the system's, which gives back what a batch has used.
    """

    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, SimpleNamespace(find_spec=find_spec))
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"


def limit(seconds: float, memory: int) -> None:
    """In the child: end after `seconds` more of CPU time; refuse to allocate more than `memory` bytes beyond what is held."""
    import resource

    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (held() + memory, hard))


def answered(path: Path, work: Callable[[], Answer]) -> Answer:
    """In the child: what `work` returns, or the fields of its error as an answer."""
    try:
        return work()
    except DataError as error:
        return {"error": [error.finding, error.remedy, error.file, error.place], "names": list(getattr(error, "names", ()))}
    except NOISE as error:
        if is_out_of_descriptors(error):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from None
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {"full": error.strerror}
        reason = "it asks for too much memory" if isinstance(error, MemoryError) else printable(str(error), 160).rstrip(".")
        damage = bad(path, f"damaged: {reason}")
        return {"error": [damage.finding, damage.remedy, damage.file, damage.place]}
    except ImportError as error:
        if is_out_of_descriptors(error):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from None
        return {"missing": error.name} if isinstance(error, ModuleNotFoundError) else {"bug": f"ImportError: {error}"}
    except Exception as error:  # not the file's fault
        return {"bug": f"{type(error).__name__}: {error}"}


def spill(path: Path, files: Files, batches: Iterable[Batch], size: int | None = None) -> Answer:
    """In the child: write batches into the two files, and say what lies where. size: the bytes of a folder."""
    size = os.stat(path).st_size if size is None else size
    columns: dict[str, list[list[Any]]] = {}
    n, d, dtype = 0, 0, np.dtype(np.float64)
    with FileIO(files[0], "w") as rows, FileIO(files[1], "w") as texts:
        for x, named in batches:
            _write(rows, x)
            n, d, dtype = n + len(x), x.shape[1], x.dtype
            for name, piece in ((name, piece) for name, pieces in named.items() for piece in pieces):
                columns.setdefault(name, []).append([piece.dtype.str, len(piece), texts.tell()])
                _write(texts, piece)
            if fault := packing_fault(rows.tell() + texts.tell(), size):
                raise bad(path, fault, "Write it uncompressed.")
    if not n * d:
        raise bad(path, f"holds no {'numbers' if n else 'rows'}", "An embedding needs an item and a dimension.")
    return {"dtype": dtype.str, "shape": [n, d], "columns": columns}


def _write(file: FileIO, values: np.ndarray) -> None:
    view = memoryview(values.tobytes())
    while len(view):
        view = view[file.write(view) :]


def texts(path: Path, name: str, values: Any) -> list[np.ndarray]:
    """In the child: an Arrow array (n,) as pieces of "S", or float64 where it holds real numbers; missing text is empty.

    Each piece is as wide as its longest text, so that one long text does not widen them all before their sum is judged.
    Raises DataError for a type that has no text.
    """
    from pyarrow import types

    if types.is_floating(values.type):
        return [np.asarray(values.to_numpy(zero_copy_only=False), np.float64)]
    kind = values.type.value_type if types.is_dictionary(values.type) else values.type
    if not any(getattr(types, f"is_{one}")(kind) for one in TEXTUAL):
        raise bad(path, f"the {name} column holds {printable(str(kind), 60)}", "Save it as text.")
    if types.is_dictionary(values.type):
        return _of_dictionary(path, name, values)
    out = []
    for at in range(0, len(values), PIECE):
        piece = values.slice(at, PIECE)
        known = _contiguous(piece)
        out.append(_slowly(piece) if known is None else _padded(known[0][:-1], np.diff(known[0]), known[1]))
    return out


def _of_dictionary(path: Path, name: str, values: Any) -> list[np.ndarray]:
    """Pieces of "S" of a dictionary array, which holds places in a list of different texts."""
    known = None if values.null_count else _contiguous(values.dictionary)
    if known is None:
        words = {place: shortened(_bytes(item)) for place, item in enumerate(values.dictionary.to_pylist())}
        items = [words.get(place, b"") for place in values.indices.to_pylist()]
        return [_as_array(items[at : at + PIECE]) for at in range(0, len(items), PIECE)]
    ends, data = known
    places = values.indices.to_numpy(zero_copy_only=False)
    if len(places) and not (places.min() >= 0 and places.max() < len(ends) - 1):
        raise bad(path, f"damaged: the {name} column points outside its list of texts", "Write it again.")
    pieces = (places[at : at + PIECE] for at in range(0, len(places), PIECE))
    return [_padded(ends[p], ends[p + 1] - ends[p], data) for p in pieces]


def _padded(starts: np.ndarray, lengths: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Texts (n,) of `data` (bytes) as "S"."""
    width = max(1, int(lengths.max()))
    out = np.zeros((len(lengths), width), np.uint8)
    before = np.cumsum(lengths) - lengths
    out[np.arange(width) < lengths[:, None]] = data[np.repeat(starts - before, lengths) + np.arange(lengths.sum())]
    return out.view(f"S{width}")[:, 0]


def _slowly(values: Any) -> np.ndarray:
    """The texts of an Arrow array, one by one."""
    return _as_array([shortened(_bytes(item)) for item in values.to_pylist()])


def _as_array(items: list[bytes]) -> np.ndarray:
    return np.array(items, f"S{max(1, *map(len, items))}")


def _contiguous(values: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Where each of n texts starts, and the last ends (n + 1,), in their bytes, which follow.

    None for other types, for bad UTF-8, and where a text is too long as it is.
    """
    from pyarrow import types

    large = types.is_large_string(values.type) or types.is_large_binary(values.type)
    if values.null_count or not (large or types.is_string(values.type) or types.is_binary(values.type)) or not len(values):
        return None
    offset = np.dtype(np.int64 if large else np.int32)
    ends = np.frombuffer(values.buffers()[1], offset, len(values) + 1, values.offset * offset.itemsize)
    data = np.frombuffer(values.buffers()[2] or b"", np.uint8)[ends[0] : ends[-1]]
    ends = ends - ends[0]
    if np.diff(ends).max() > TEXT_WIDTH:
        return None
    if not len(data) or data.max() < 0x80:
        return ends, data
    starts = ends[:-1][np.diff(ends) > 0]
    if ((data[starts] & 0xC0) == 0x80).any():
        return None  # a text begins in the middle of a character
    try:
        data.tobytes().decode()
    except UnicodeDecodeError:
        return None
    return ends, data


def _bytes(item: Any) -> bytes:
    if item is None:
        return b""
    return item if isinstance(item, bytes) else str(item).encode()
