"""Commands as completion needs them: their options and the words these take, from a file instead of the command's modules.

A key press should not wait for NumPy. `make docs` writes the file from the commands. Where another package adds names, the
commands themselves complete.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from relrep_cli.base.registry import plugins_declared
from relrep_cli.cli.completions import members_of, splits_of

WORDS = Path(__file__).with_name("words.json")
KINDS: dict[str, Any] = {"flag": bool, "count": int, "several": list[str], "one": str, "arguments": list[str]}


def words_of(command: Any) -> list[dict[str, Any]]:
    """The parameters of a command: the kind of each, how it is written, its help, and the words that it takes."""
    context = typer.Context(command)
    words: list[dict[str, Any]] = []
    for p in command.params:
        values = [[item.value, item.help or ""] for item in p.shell_complete(context, "")]
        if p.param_type_name == "argument":
            words.append({"kind": "arguments", "by": "files" if "FILE" in (p.metavar or p.name.upper()) else ""})
            continue
        kind = "count" if p.count else "flag" if p.is_flag else "several" if p.multiple else "one"
        flags = "/".join([p.opts[0], *p.secondary_opts[:1]])
        by = "split" if p.name == "split" else ""
        words.append({"kind": kind, "by": by, "flags": [flags, *p.opts[1:]], "help": p.help or "", "values": values})
    return words


def command(name: str) -> Any:
    """The command `name` for completion alone; None where the command itself is needed."""
    if plugins_declared():
        return None
    words = json.loads(WORDS.read_text("utf-8"))[name]
    names = [{"files": "files", "split": "split"}.get(p["by"], f"p{place}") for place, p in enumerate(words)]
    names = [one if one not in names[:place] else f"p{place}" for place, one in enumerate(names)]
    parameters = [_parameter(one, **own) for one, own in zip(names, words, strict=True)]

    def called(**values: Any) -> None:
        """Never called."""

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in parameters}
    single = typer.Typer(rich_markup_mode=None, add_completion=False)
    single.command(name, context_settings={"help_option_names": ["--help"]})(called)
    return typer.main.get_command(single)


def _parameter(
    name: str, kind: str, by: str, flags: list[str] | None = None, help: str = "", values: Any = ()
) -> inspect.Parameter:
    """by: what completes the value, beside words: `files` members of files, `split` the splits of the file."""
    if kind == "arguments":
        argument = typer.Argument(autocompletion=members_of if by == "files" else None)
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[list[str], argument])
    more: dict[str, Any] = {"help": help, "count": kind == "count"}
    if by == "split":
        more["autocompletion"] = splits_of
    elif values:
        more["autocompletion"] = completing([(word, help_text) for word, help_text in values])
    make: Any = typer.Option
    option = make(*flags or (), **more)
    default = {"flag": False, "count": 0, "several": []}.get(kind)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[KINDS[kind], option])


def completing(words: list[tuple[str, str]]) -> Callable[[str], list[tuple[str, str]]]:
    """A function that completes the last of several words with commas between them. words: with what each means.

    >>> completing([("cka", "kernels"), ("cca", "axes")])("cka,cc")
    [('cka,cca', 'axes')]
    """

    def complete(incomplete: str) -> list[tuple[str, str]]:
        before, comma, last = incomplete.rpartition(",")
        return [(before + comma + word, help_text) for word, help_text in words if word.startswith(last)]

    return complete
