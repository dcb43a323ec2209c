"""The command line of a run, for a reader who wants to run it again."""

from __future__ import annotations

import shlex
from typing import Any

OF_THE_RUN = {
    "cluster",
    "output",
    "force",
    "dry_run",
    "quiet",
    "verbose",
    "debug",
    "threads",
    "cache",
    "format",
    "json",
    "log",
    "help",
}


def command_line(context: Any) -> str:
    """The command with its arguments and the options that were set, without those that change no result (OF_THE_RUN)."""
    words = ["relrep", str(context.info_name)]
    after: list[str] = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name)
        if parameter.name in OF_THE_RUN or source is None or source.name not in ("COMMANDLINE", "ENVIRONMENT"):
            continue
        value = context.params[parameter.name]
        if parameter.param_type_name == "argument":
            words += _texts(value)
        elif isinstance(value, bool):
            after.append((parameter.opts if value else parameter.secondary_opts or parameter.opts)[0])
        else:
            after += [word for text in _texts(value) for word in (parameter.opts[0], text)]
    return shlex.join([*words, *after])


def _texts(value: Any) -> list[str]:
    return list(map(str, value)) if isinstance(value, list | tuple) else [str(value)]


def explicit_options(context: Any) -> dict[str, str]:
    """The options that stand in the command line, by the name of their parameter."""
    sources = {p.name: context.get_parameter_source(p.name) for p in context.command.params if p.name}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    return {str(p.name): p.opts[0] for p in context.command.params if p.name in given and p.param_type_name == "option"}
