"""Completion in a shell: embeddings inside a file behind `::`, splits of the file that is named, scripts for each shell."""

from __future__ import annotations

import inspect
import os
import typing
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from copy import copy
from typing import Annotated, Any

import typer

from relrep_cli.base.errors import RelrepError, UsageError, WriteError, unknown

VARIABLE = "_RELREP_COMPLETE"
SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
INSTALL, SHOW = "--install-completion", "--show-completion"
INSIDE = "::"
FULL = ("train", "valid", "test")


def completed(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter of a command with completion: of members where it takes files, of splits where it takes one."""
    kind = parameter.annotation
    infos = [m for m in getattr(kind, "__metadata__", ()) if isinstance(m, typer.models.ParameterInfo)]
    complete = _completer(parameter.name, infos[0]) if infos else None
    if complete is None:
        return parameter
    info = copy(infos[0])  # commands share it
    info.autocompletion = complete
    return parameter.replace(annotation=Annotated[typing.get_args(kind)[0], info])


def _completer(name: str, info: Any) -> Callable[..., list[str]] | None:
    if isinstance(info, typer.models.ArgumentInfo) and "FILE" in (info.metavar or ""):
        return members_of
    return splits_of if name == "split" else None


def members_of(incomplete: str) -> list[str]:
    """The embeddings in the file before `::`. Names of files are left to the shell."""
    path, mark, _ = incomplete.partition(INSIDE)
    if not mark or not os.path.isfile(path):
        return []
    from relrep_cli import store

    with suppress(RelrepError):
        return [f"{path}{INSIDE}{name.lstrip('/')}" for name in store.members(path) if name != "/"]
    return []


def splits_of(ctx: typer.Context) -> list[str]:
    """The splits of the first file that is named before; the usual names without one."""
    import numpy as np

    from relrep_cli import store

    given = next((value for name, value in ctx.params.items() if name in ("files", "file") and value), None)
    first = given if isinstance(given, str) else next(iter(given or ()), "")
    with suppress(RelrepError):
        splits = store.read(first, judge=False).obs.get("split") if os.path.exists(first.partition(INSIDE)[0]) else None
        if splits is not None:
            return [name.decode(errors="replace") for name in np.unique(splits).tolist()]
    return list(FULL)


def script_asked(arguments: Sequence[str]) -> str | None:
    """What `--install-completion SHELL` or `--show-completion SHELL` prints; None for anything else, such as no shell."""
    if len(arguments) != 2 or arguments[0] not in (INSTALL, SHOW):
        return None
    shell = arguments[1].lower()
    if shell not in SHELLS:
        raise unknown("shell", arguments[1], SHELLS)
    from typer import _completion_shared as scripts

    named = {"prog_name": "relrep", "complete_var": VARIABLE, "shell": shell}
    if arguments[0] == SHOW:
        return scripts.get_completion_script(**named) + "\n"
    try:
        _, path = scripts.install(**named)
    except FileNotFoundError as error:
        raise UsageError(f"{error.filename or shell} is not installed here", f"Write relrep {SHOW} {shell}.") from None
    except OSError as error:
        raise WriteError(error.strerror or str(error), f"Write relrep {SHOW} {shell}.", file=str(error.filename)) from None
    return f"Completion for {shell} is in {path}. It works in the next shell that you start.\n"


def joined_words(environment: MutableMapping[str, str]) -> str:
    """Join what bash splits at `::`, so that `a.h5::layer` is one word again, and return what bash takes as written already.

    >>> words = {"COMP_WORDS": "relrep info a.h5 :: la", "COMP_CWORD": "4", "_RELREP_COMPLETE": "complete_bash"}
    >>> joined_words(words), words["COMP_WORDS"], words["COMP_CWORD"]
    ('a.h5::', 'relrep info a.h5::la', '2')
    """
    between = "\n" if "\n" in environment.get("COMP_WORDS", "") else " "  # the script joins words by the first of IFS
    words, current = environment.get("COMP_WORDS", "").split(between), int(environment.get("COMP_CWORD") or 0)
    if environment.get(VARIABLE) != "complete_bash" or INSIDE not in words:
        return ""
    out: list[str] = []
    place = 0
    for number, word in enumerate(words):
        glued = bool(out) and (word == INSIDE or (number > 1 and words[number - 1] == INSIDE))
        out = [*out[:-1], out[-1] + word] if glued else [*out, word]
        if number == current:
            place = len(out) - 1
    environment["COMP_WORDS"], environment["COMP_CWORD"] = between.join(out), str(place)
    path, mark, _ = out[place].partition(INSIDE) if place < len(out) else ("", "", "")
    return path + mark if mark else ""


def without_help(environment: MutableMapping[str, str]) -> None:
    """Let `relrep help NAME` complete as `relrep NAME` does.

    >>> words = {"COMP_WORDS": "relrep help comp", "COMP_CWORD": "2", "_RELREP_COMPLETE": "complete_bash"}
    >>> without_help(words)
    >>> words["COMP_WORDS"], words["COMP_CWORD"]
    ('relrep comp', '1')
    """
    for name in ("COMP_WORDS", "_TYPER_COMPLETE_ARGS"):  # bash, other shells
        text = environment.get(name, "")
        between = "\n" if "\n" in text else " "
        first, *rest = text.split(between)
        if VARIABLE in environment and len(rest) > 1 and rest[0] == "help":
            environment[name] = between.join([first, *rest[1:]])
            environment["COMP_CWORD"] = str(int(environment.get("COMP_CWORD") or 1) - 1)


def without_prefix(lines: str, prefix: str) -> str:
    """The completions without what bash keeps of the word."""
    return "".join(line.removeprefix(prefix) + "\n" for line in lines.splitlines())


def help_asked(arguments: Sequence[str], commands: Mapping[str, str], load: Callable[[str], Any]) -> list[str]:
    """`relrep help …` in the words of --help: of all commands, of one, or of a metric, encoder or other name.

    Raises UsageError for an unknown name.
    """
    if not arguments:
        return ["--help"]
    first, *rest = arguments
    if first in commands:
        return [first, "--help", *rest]
    known: dict[str, str] = {}
    for command in ("compare", "project", "anchor", "stitch", "evaluate", "embed", "plot"):
        for registry in load(command).registries:
            known |= {name: command for name in registry if name not in known}
        match = next((name for name in known if name.lower() == first.lower()), None)
        if match is not None:
            return [known[match], "--help", match]
    raise unknown("command, metric or other name", first, commands, known)
