"""Messages in the words of Python. The core names options; a caller of the library knows keywords."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from relrep_cli.base.errors import RelrepError
from relrep_cli.base.lazy_dataclasses import fields
from relrep_cli.store.reading import Reading

P = ParamSpec("P")
R = TypeVar("R")

COLUMNS_ON_IMPORT = re.compile(r"relrep embed --(ids|labels|splits|space)(?: NAME| FILE)?")
SHELL = re.compile(r"\brelrep (?:(?:info|merge|cache|neighbors)\b(?: --?[a-z-]+)*|[a-z]+(?: --?[a-z-]+)+)")  # stays a command
FUNCTION = re.compile(r"(?<!`)\brelrep (anchor|compare|embed|evaluate|plot|project|stitch|translate)\b")
SWITCH = re.compile(r"\b([Ww]rite|[Uu]se|[Aa]dd|allow|or|with) --([a-z][a-z-]*)(?= to | says|[.,;:)]|$)")
OPTION = re.compile(r"(?<![\w-])(?:--([a-z][a-z-]*)|-([nko]))(?:[ =]('[^']*'|\d[\w.]*\b|[A-Z]{2,}\b(?:\.[a-z]+)?|[\w*-]+))?")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FLAGS = _words(
    "by-position transpose packed-bits require-all allow-test-anchors all-as-anchors center scale whiten normalize "
    "standardize-columns negate transductive exact numbers force per-class farthest"
)
NAMING = _words(  # options whose value is a word
    "aggregate as dtype estimator head id-column label-column index method metric normalize-ids pool split strategy target "
    "task by kernel neighbors device bottleneck"
)
PROSE = _words(
    "a allows alone and are asks before can cannot compares counts do does draws for gives goes has if in instead is it joins "
    "keeps leave names needs no of or out says swaps takes that to unpacks when where which with without works"
)
READING = frozenset(field.name.replace("_", "-") for field in fields(Reading))
OTHERWISE = {"as": "as_", "force": "overwrite", "fit-rows": "rows", "o": "path"}
OTHERWISE |= {"aggregator": "aggregate"}


def in_python(text: str) -> str:
    """The text with the keywords of the library in place of the options of the command line.

    >>> in_python("k = 60 needs more than 60 items; write --k 59 or less")
    'k = 60 needs more than 60 items; write k=59 or less'
    >>> in_python("--anchors FILE is missing. Make one with relrep anchor.")
    'anchors are missing. Make some with relrep.anchor.'
    >>> in_python("Choose another with --split, or all.")
    'Choose another with split, or all.'
    >>> in_python("Write --id-column doc to join by it, or --by-position.")
    'Write relrep.read(path, id_column="doc") to join by it, or relrep.read(path, by_position=True).'
    """
    text = text.replace("--anchors FILE is missing", "anchors are missing").replace(
        "one with relrep anchor", "some with relrep anchor"
    )
    text = text.replace("Give it to relrep translate with --map or --into", "Read it with relrep.read_map")
    text = COLUMNS_ON_IMPORT.sub(lambda match: f"relrep.as_embedding(x, {match[1].replace('splits', 'split')}=...)", text)
    kept = SHELL.findall(text)
    pieces = [FUNCTION.sub(r"relrep.\1", piece) for piece in SHELL.split(text)]
    pieces = [OPTION.sub(_keyword, SWITCH.sub(_switched, piece)) for piece in pieces]
    return "".join(piece + command for piece, command in zip(pieces, [*kept, ""], strict=True))


def _switched(match: re.Match[str]) -> str:
    return f"{match[1]} {_call(match[2], 'True')}" if match[2] in FLAGS else match[0]


def _keyword(match: re.Match[str]) -> str:
    option, value = match[1] or match[2], match[3]
    if value is None:
        return _name(option)
    if value[0] == "'" or value[0].isdigit():
        return _call(option, value)
    if value.partition(".")[0].isupper() and len(value) > 1:
        return _name(option)  # FILE, NAME and the like stand for a value
    if option in NAMING and value not in PROSE:
        return _call(option, f'"{value}"')
    return f"{_name(option)} {value}"


def _name(option: str) -> str:
    return OTHERWISE.get(option, option.replace("-", "_"))


def _call(option: str, value: str) -> str:
    """A keyword with its value; one about files says which function takes it."""
    return f"relrep.read(path, {_name(option)}={value})" if option in READING else f"{_name(option)}={value}"


def speaks_python(function: Callable[P, R]) -> Callable[P, R]:
    """Let errors of a function of the library name keywords instead of options."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except RelrepError as error:
            raise type(error)(
                in_python(error.finding), in_python(error.remedy), file=error.file, place=in_python(error.place)
            ) from error

    return called
