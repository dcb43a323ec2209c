"""Shared by all readers: open a file safely, recognise its format, and word errors about it."""

from __future__ import annotations

import codecs
import errno
import os
import re
import stat
from contextlib import suppress
from io import FileIO
from pathlib import Path

from relrep_cli.base.errors import NO_DESCRIPTORS, DataError, printable
from relrep_cli.store.mistyped import remedy

CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f]")
HDF5_ENDINGS = (".h5", ".hdf5", ".he5", ".h5ad", ".hdf")
HEAD = 1024  # bytes that tell what a file is
UNUSUAL = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
PREFIXES = (
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"PAR1", "Parquet"),
    (b"\xba\x16\x4f\x2f", "a fastText model"),
    (b"PARE", "encrypted Parquet"),
    (b"PK\x03\x04", "a zip archive (.npz or other)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"BZh", "bzip2-compressed data"),
    (b"\xfd7zXZ\x00", "xz-compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (b"ARROW1", "Arrow IPC (Feather)"),
    (b"\xff\xff\xff\xff", "an Arrow IPC stream"),
    (b"FEA1", "Feather version 1"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"version https://git-lfs.github.com/", "a Git LFS pointer"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
)
ADVICE = {
    "a Git LFS pointer": "Run git lfs pull.",
    "an HTML page": "Download the file itself, not its page.",
    "gzip-compressed data": "Unpack it with gunzip.",
    "a Python pickle": "Pickles can run code and are never opened; save the array with numpy.save.",
    "encrypted Parquet": "Write it without encryption.",
    "a fastText model": "Use the .vec file that fastText writes beside it.",
    "UTF-16 text": "Save it as UTF-8.",
    "an empty file": "Write it again.",
}
SUFFIXES = {
    "HDF5": ".h5",
    "Parquet": ".parquet",
    "a NumPy array (.npy)": ".npy",
    "a safetensors file": ".safetensors",
    "Arrow IPC (Feather)": ".arrow",
    "an Arrow IPC stream": ".arrow",
}

AGAIN = "Fetch or write it again."
MORE_ROOM = "Set TMPDIR to a folder with more room."


def bad(path: Path, finding: str, remedy: str = AGAIN, member: str | None = None) -> DataError:
    """The error of a file, or of the part of it that `path::member` names; names are made safe to print."""
    uri = printable(str(path), 1000) + ("" if member is None else f"::{printable(member)}")
    return DataError(finding, remedy, file=uri)


def opened(path: Path, noun: str = "a file that holds embeddings") -> FileIO:
    """`path` open for reading. noun: what it should be. Raises DataError unless it is a regular file with something in it."""
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)  # before open(), which blocks on a pipe and disturbs its writer
        if kind != stat.S_IFREG:
            raise bad(path, f"this is {UNUSUAL.get(kind, 'not a file')}", f"Name {noun}.")
        file = FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except FileNotFoundError:
        if path.is_symlink():
            finding = f"this is a link to {printable(os.readlink(path), 1000)}, which does not exist"
            raise bad(path, finding, "Correct or remove the link.") from None
        raise bad(path, "no such file", remedy(path)) from None
    except OSError as error:
        if error.errno in NO_DESCRIPTORS:
            raise
        advice = {errno.ELOOP: "Correct or remove the link.", errno.ENOTDIR: "Check the path."}.get(
            error.errno or 0, "Check its permissions."
        )
        raise bad(path, f"cannot be opened: {error.strerror}", advice) from None
    except ValueError:
        raise bad(path, "no such file: its name holds a NUL byte", "Check the path.") from None
    if not size_of(file):
        file.close()
        raise bad(path, "this is an empty file", "Write it again.")
    return file


def refuse_pipe(path: str) -> None:
    """Raise DataError for a named pipe: its reader may wait for ever. `<(command)` has a writer, and a name under /dev/fd."""
    with suppress(OSError, ValueError):
        if stat.S_ISFIFO(os.stat(path).st_mode) and not path.startswith(("/dev/fd/", "/proc/self/fd/")):
            raise bad(Path(path), "this is a pipe", "Name a file, or send it into standard input and write -.")


def size_of(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def sniff(head: bytes) -> str | None:
    """The format of a file that begins with `head` (1 kB is plenty), in words for a message; None for an unknown one."""
    if not head:
        return "an empty file"
    start = head.lstrip()[:64].lower()
    for prefix, kind in PREFIXES:
        if head.startswith(prefix) or (prefix.startswith(b"<") and start.startswith(prefix)):
            return kind
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return "a safetensors file"
    return "text" if first_fault(head) is None else None


def first_fault(head: bytes) -> int | None:
    """The position of the first byte that cannot be in UTF-8 text or is a control character; None if there is none."""
    control = CONTROL.search(head)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # incremental: a last character may be cut
    except UnicodeDecodeError as error:
        return min(error.start, control.start() if control else error.start)
    return control.start() if control else None


def mistaken(path: Path, head: bytes, wanted: str) -> DataError:
    """The error for a file whose first bytes `head` are not those of `wanted`."""
    kind = sniff(head)
    if kind is None:
        return bad(path, f"this is not {wanted}; its first bytes are {printable(repr(head[:8])[2:-1])}", "Write it again.")
    suffix = SUFFIXES.get(kind)
    advice = ADVICE.get(kind) or (f"Give it a name that ends in {suffix}." if suffix else "Give the file its right name.")
    return bad(path, f"this is {kind}, not {wanted}", advice)


def inner_ending(name: str) -> str:
    """The ending of a file's name before `.gz`, or without it.

    >>> inner_ending("a.csv.gz"), inner_ending("a.VEC"), inner_ending("a.gz")
    ('.csv', '.vec', '')
    """
    return Path(name.lower().removesuffix(".gz")).suffix
