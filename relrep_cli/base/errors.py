"""What can go wrong, and the exit code that says so. Only `cli.main` turns one into the other."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Collection, Iterable
from typing import Any

DONE, NO, USAGE, DATA, BUG, WRITE, INTERRUPTED, TERMINATED, HUNG_UP, CLOSED_PIPE = 0, 1, 2, 3, 70, 74, 130, 143, 129, 141
NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}  # numbers of an OSError that says nothing of its file: readers let it pass


def is_out_of_descriptors(error: BaseException) -> bool:
    """Whether a library failed for want of file descriptors; some say so in their text alone."""
    return getattr(error, "errno", None) in NO_DESCRIPTORS or os.strerror(errno.EMFILE) in str(error)


class RelrepError(Exception):
    """An error that the user can correct; its text is one line.

    finding: what is wrong, without a full stop. remedy: what to do, in whole sentences. file: the file or URI at fault.
    place: where in the file, or which option.

    >>> print(DataError("has no ids", "Make an anchor file with relrep anchor.", file="a.npy"))
    a.npy: has no ids. Make an anchor file with relrep anchor.
    """

    code = BUG

    def __init__(self, finding: str, remedy: str = "", *, file: str = "", place: str = "") -> None:
        super().__init__(finding, remedy, file, place)
        self.finding, self.remedy, self.file, self.place = finding, remedy, file, place

    def __str__(self) -> str:
        sentence = self.finding if self.finding.endswith((".", "?")) else f"{self.finding}."
        return " ".join(filter(None, [": ".join(filter(None, [self.file, self.place, sentence])), self.remedy]))

    def __reduce__(self) -> tuple[Any, ...]:  # pickle calls the class with positional arguments alone
        return _restored, (type(self), *self.args)


def _restored(kind: type[RelrepError], finding: str, remedy: str, file: str, place: str) -> RelrepError:
    return kind(finding, remedy, file=file, place=place)


class NotApplicable(Exception):
    """A metric has no value on this pair, for the reason given."""


class UsageError(RelrepError):
    """The command line is wrong; no file is at fault."""

    code = USAGE


class DataError(RelrepError):
    """A file holds what relrep cannot use; running again will not help."""

    code = DATA


class WriteError(RelrepError):
    """The output could not be written (disk, quota, permission); running again may help."""

    code = WRITE


MANY = 25  # names that a line lists beside a guess


def unknown(noun: str, name: str, known: Iterable[str], more: Iterable[str] = ()) -> UsageError:
    """The error for a name that is not registered, with the nearest one that is. more: known names that it does not list.

    >>> print(unknown("metric", "jacard", ["jaccard", "cka"]))
    unknown metric 'jacard'. Did you mean jaccard? Known: jaccard, cka.
    >>> print(unknown("metric", "kNN", ["cknna", "mutual-knn", "knn-jaccard"]))
    unknown metric 'kNN'. Did you mean knn-jaccard or mutual-knn? Known: cknna, mutual-knn, knn-jaccard.
    """
    names = list(dict.fromkeys(known))
    lower = {one.lower(): one for one in [*names, *more]}
    near = _with_part(name.lower(), lower) or difflib.get_close_matches(name.lower(), lower, n=1)
    near = near or [one for one in lower if name and name.lower() in one][:3]
    if not near and os.path.isfile(name):
        return UsageError(f"{printable(name)} is a file, and no {noun}", f"Write the {noun} before it, such as {names[0]}.")
    guess = (
        f"Did you mean {', '.join(lower[one] for one in near[:-1])}{' or ' * bool(near[1:])}{lower[near[-1]]}?" if near else ""
    )
    listed = f"Known: {', '.join(names)}." if not near or len(names) <= MANY else ""
    return UsageError(f"unknown {noun} {printable(name)!r}", " ".join(filter(None, [guess, listed])))


def _with_part(name: str, known: Collection[str]) -> list[str]:
    """The name itself, or else at most three names of which it is a part between hyphens, those that begin with it first."""
    if name in known:
        return [name]
    parted = [(one, one.split("-")) for one in known]
    return sorted((one for one, parts in parted if name in parts), key=lambda one: not one.startswith(name))[:3]


def printable(text: str | bytes, limit: int = 120) -> str:
    """`text` from a file or an argument, safe to print: control characters escaped, cut at `limit` characters.

    >>> printable(b"a\\x1b[31m\\n")
    'a\\\\x1b[31m\\\\n'
    """
    if isinstance(text, bytes):
        text = text[: 4 * limit].decode("utf-8", "backslashreplace")
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: limit + 1])
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


INSTALLED_AS = {"torch": "torch", "pyarrow": "pyarrow", "sklearn": "scikit-learn", "PIL": "pillow", "scipy": "scipy",
                "faiss": "faiss-cpu", "safetensors": "safetensors", "rich": "rich"}  # fmt: skip


def not_installed(error: ModuleNotFoundError) -> UsageError | None:
    """The error for a library that a light install lacks; None where one of our own modules is missing.

    >>> print(not_installed(ModuleNotFoundError(name="torch.nn")))
    this needs torch, which is not installed. Run pip install torch.
    """
    package = INSTALLED_AS.get((error.name or "").partition(".")[0])
    if package is None:
        return None
    return UsageError(f"this needs {package}, which is not installed", f"Run pip install {package}.")
