"""How files come into being: whole or not at all, never over something that is in use.

A temporary beside the target is written, synced and published in one step, so a kill at any moment leaves the old file or
the new one. Direct writers left 84-100 % of killed runs unreadable or silently short.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from relrep_cli.base import signals
from relrep_cli.base.errors import NO_DESCRIPTORS, UsageError, WriteError, printable
from relrep_cli.base.output import say
from relrep_cli.base.streams import silence_stdout
from relrep_cli.base.uris import split_uri
from relrep_cli.store.files import HDF5_ENDINGS, MORE_ROOM

HDF5 = (".h5", ".hdf5", ".h5ad")
OTHERS = ".npy .npz .csv .tsv .txt .parquet .safetensors .json .jsonl .md .xlsx .pkl .pt .zarr"
KNOWN_ENDINGS = {*HDF5, *OTHERS.split()}  # a name of a table with one of these promises a format
PROMISES = re.compile(r"\.[a-z][a-z0-9]*")  # an ending that promises a format; `.5` and `.in-b` are parts of names
PASSING = (".part", ".tmp")  # what scripts append to names of files that they rename later
LONGEST_STEM = 48  # bytes of the target's name in the temporary's: with all the rest, a temporary fits where its target does
CANNOT_LINK = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


def refuse(target: str, force: bool, inputs: Sequence[str] = (), endings: Sequence[str] = ()) -> None:
    """Raise before any work when `target` cannot or must not be written.

    endings: those a name may have, if it promises a format. UsageError: it exists (without `force`), is an input, has another
    ending, or is no place for a file. WriteError: no such folder, no right.
    """
    if target == "-":
        if sys.stdout.isatty():
            raise UsageError("binary output to a terminal", "Send it to a pipe or a file.", place="-o -")
        return
    path = Path(target)
    _refuse_name(path)
    for uri in inputs:
        source = split_uri(uri)[0]
        with suppress(OSError):
            if source != "-" and path.exists() and os.path.samefile(source, path):
                raise UsageError("is also an input, and inputs are never written", "Choose another name.", file=target)
    ending = Path(target).suffix.lower()
    if endings and _promises(ending, ".h5" in endings) and ending not in endings:
        raise UsageError(
            f"this command does not write {ending}", f"Name a file that ends in {', '.join(endings)}.", file=target
        )
    if path.is_dir():
        raise UsageError("is a folder", "Name a file in it.", file=target)
    if path.exists() and not path.is_file():
        raise UsageError("exists and is not a regular file", "Choose another name.", file=target)
    if path.exists() and not force:
        raise UsageError("exists", "Choose another name, or write --force to replace it.", file=target)
    path = _through_links(path)
    if not path.parent.is_dir():
        raise WriteError(f"there is no folder {path.parent}", "Make it first.", file=target)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise WriteError(
            f"the folder {path.parent} cannot be written", "Choose another or change its permissions.", file=target
        )


def _promises(ending: str, binary: bool) -> bool:
    """Whether a name with this ending promises a format. binary: of a file that holds HDF5 unless its ending names another
    format; the names of tables are judged by `agree`, too."""
    if binary:
        return bool(PROMISES.fullmatch(ending)) and ending not in (*HDF5_ENDINGS, *PASSING)
    return ending in KNOWN_ENDINGS


def refuse_same(names: Mapping[str, str]) -> None:
    """Raise UsageError when two outputs name one file. names: files by option."""
    seen: dict[str, str] = {}
    for option, file in names.items():
        if file and file in seen:
            raise UsageError(f"{seen[file]} and {option} name the same file", "Give them different names.", file=file)
        seen[file] = option


def _refuse_name(path: Path) -> None:
    """Raise UsageError for a name that is too long for its folder, and for a link that leads nowhere."""
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError("the name is too long", "Choose a shorter one.", file=printable(str(path))) from None
        if path.is_symlink():
            leads = printable(os.readlink(path), 1000)
            what = "a link in a circle" if error.errno == errno.ELOOP else f"a link to {leads}, which does not exist"
            raise UsageError(f"is {what}", "Remove the link, or name the file itself.", file=str(path)) from None


def _through_links(path: Path) -> Path:
    """The file that a symbolic link leads to, so that writing replaces that file and keeps the link."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextmanager
def published(target: str, force: bool, size: int) -> Iterator[Path]:
    """A temporary path to fill with about `size` bytes, which becomes `target` when the block ends without an exception.

    `-` is stdout, which gets the whole file or nothing. Of a symbolic link, the file that it leads to is replaced. Any OSError
    becomes a WriteError.
    """
    path = _through_links(Path(target))
    folder = Path(tempfile.gettempdir()) if target == "-" else path.parent
    if target != "-":
        _sweep(path)
    name = f".{_stem(path.name)}.relrep.{os.uname().nodename}.{os.getpid()}.{os.urandom(4).hex()}"
    temporary = folder / name
    with signals.temporary(temporary), _write_errors(target):
        reserve(temporary, size)
        yield temporary
        _sync(temporary)
        _copy_to_stdout(temporary) if target == "-" else _publish(temporary, path, force)


@contextmanager
def published_from(temporary: Path, target: str, force: bool) -> Iterator[None]:
    """Let a file of the caller become `target` when the block ends without an exception. The file outlives other ends."""
    with _write_errors(target):
        yield
        _sync(temporary)
        _publish(temporary, _through_links(Path(target)), force)


@contextmanager
def _write_errors(target: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno in NO_DESCRIPTORS:
            raise
        raise WriteError(
            f"could not write: {error.strerror or error}", "Make room or choose another folder, then try again.", file=target
        ) from error


def write_bytes(target: str, content: bytes, force: bool, note: str = "") -> None:
    """Write a small file through the same protocol, and say so. One that holds these bytes already is up to date."""
    if target != "-" and not force and _holds(Path(target), content):
        return say(f"{target}: up to date.")
    refuse(target, force)  # what is there holds something else
    with published(target, force, len(content)) as path:
        path.write_bytes(content)
    if note:
        say(f"{target}: {note}")


def _holds(path: Path, content: bytes) -> bool:
    with suppress(OSError):
        return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content
    return False


def reserve(path: Path, size: int) -> None:
    """Create the temporary and find out about a full disk before the first byte."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    try:
        free = os.fstatvfs(handle)
        if size * 1.05 > free.f_bavail * free.f_frsize:
            raise OSError(errno.ENOSPC, f"needs {size / 1e6:.1f} MB, {free.f_bavail * free.f_frsize / 1e6:.1f} MB are free")
    finally:
        os.close(handle)
    allocate(path, size)


def allocate(path: Path, size: int) -> None:
    """Have the disk keep `size` bytes for a file, so that writing them cannot fail half-way."""
    if not size or not hasattr(os, "posix_fallocate"):  # macOS has none
        return
    handle = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(handle, 0, size)
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _publish(temporary: Path, target: Path, force: bool) -> None:
    """Give the finished file its name; without `force` by a link, which fails if the name was taken meanwhile."""
    signals.check()
    if force:
        os.replace(temporary, target)
    else:
        try:
            os.link(temporary, target)
        except FileExistsError:
            raise UsageError(
                "was written by another job meanwhile; its file is kept", "Write --force to replace.", file=str(target)
            ) from None
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
            _claim(temporary, target)
    with suppress(OSError):  # some network file systems cannot sync a folder
        _sync(target.parent)


def _claim(temporary: Path, target: Path) -> None:
    """Publish where hard links do not exist: take the name exclusively, then rename over it."""
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        raise UsageError(
            "was written by another job meanwhile; its file is kept", "Write --force to replace.", file=str(target)
        ) from None
    os.replace(temporary, target)


def _copy_to_stdout(path: Path) -> None:
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                signals.check()
                sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError:
        silence_stdout()
        raise


def _stem(name: str) -> str:
    """The part of a temporary's name that stands for its target: a digest for a long one, as names have at most 255 bytes."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= LONGEST_STEM else hashlib.sha256(encoded).hexdigest()[:LONGEST_STEM]


def _sweep(target: Path) -> None:
    """Remove what killed runs on this machine left beside the target; never what may belong to a living one."""
    host, stem = os.uname().nodename, _stem(target.name)
    for stray in target.parent.glob(f".{_escaped(stem)}.relrep.*"):
        owner, _, rest = stray.name.removeprefix(f".{stem}.relrep.").rpartition(".")[0].rpartition(".")
        if owner == host and rest.isdigit() and not _alive(int(rest)):
            with suppress(OSError):
                stray.unlink()


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def spooled_stdin() -> Iterator[Path]:
    """Stdin as a temporary file, since HDF5 cannot be read from a pipe. It is gone after the block; its maps stay."""
    if sys.stdin.closed:
        raise UsageError("standard input can be read once", "Name a file in its other place.", place="-")
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal", "Send a file into it, or name one.", place="-")
    handle, name = tempfile.mkstemp(prefix="relrep-stdin-")
    with signals.temporary(Path(name)):
        try:
            with os.fdopen(handle, "wb") as file:
                while block := sys.stdin.buffer.read(1 << 20):
                    signals.check()
                    file.write(block)
            sys.stdin.close()
        except OSError as error:
            if error.errno in NO_DESCRIPTORS:
                raise
            raise WriteError(str(error.strerror), MORE_ROOM, file=name) from None
        yield Path(name)
