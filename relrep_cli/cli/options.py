"""Options that commands share, and options that come from registries."""

from __future__ import annotations

import inspect
import os
import typing
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import MISSING, Field, field, replace
from functools import cache
from typing import Annotated, Any, Literal

import typer

from relrep_cli.base.errors import UsageError
from relrep_cli.base.lazy_dataclasses import dataclass, fields, is_dataclass
from relrep_cli.base.output import FORMATS, Style, say, set_verbosity
from relrep_cli.base.registry import Keyword, Registry
from relrep_cli.cli.command_lines import command_line, explicit_options
from relrep_cli.cli.completion_words import completing
from relrep_cli.cli.completions import completed

Format = Literal["table", "tsv", "csv", "json", "jsonl", "markdown", "latex", "md"]
assert typing.get_args(Format) == (*FORMATS, "md")

Output = Annotated[str, typer.Option("--output", "-o", help="File to write; - is stdout.", metavar="FILE", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")]
AsFormat = Annotated[
    Format | None,
    typer.Option("--format", help="How to print the result; a table on a terminal, TSV in a pipe.", show_default=False),
]
SafeCsv = Annotated[
    bool, typer.Option("--safe-csv", help="In CSV and TSV, put ' before text that a spreadsheet would run: =, +, - or @.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Short for --format json.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.", min=0)]
Dtype = Annotated[
    Literal["float16", "float32", "float64"] | None,
    typer.Option("--dtype", help="Precision of the stored numbers [default: float32].", show_default=False),
]
Device = Annotated[str, typer.Option("--device", help="Where torch computes: auto, cpu, cuda or mps.", metavar="DEVICE")]
Split = Annotated[
    str | None,
    typer.Option("--split", help="Use only the rows of this split, such as test.", metavar="NAME", show_default=False),
]


SHORT = {"threads", "quiet", "verbose", "debug", "seed", "format", "json", "force", "dry_run", "device", "dtype"}
CONTEXT = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
SHARED: dict[str, tuple[Any, Any]] = {
    "threads": (
        Annotated[
            int | None,
            typer.Option(
                "--threads",
                "-@",
                help="Number of threads [default: SLURM_CPUS_PER_TASK, else all CPUs that a cgroup allows].",
                min=1,
                show_default=False,
            ),
        ],
        None,
    ),
    "quiet": (
        Annotated[
            int, typer.Option("-q", "--quiet", count=True, help="Print errors only; -qq prints nothing.", show_default=False)
        ],
        0,
    ),
    "verbose": (Annotated[int, typer.Option("-v", "--verbose", count=True, help="Print details, too.", show_default=False)], 0),
    "debug": (Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")], False),
}


@dataclass(frozen=True)
class Given:
    """The registry options of one run, by registry and name: what the user gave, None where nothing."""

    values: dict[tuple[str, str], Any]
    environment: frozenset[tuple[str, str]] = frozenset()  # those that an environment variable sets: defaults, not demands

    def choose(self, registry: Registry, names: list[str]) -> dict[str, dict[str, Any]]:
        """Parameters for each named entry; see Registry.choose. Options of other registries are not checked.

        An option from the environment that none of the entries takes is left out; one from the command line is an error.
        """
        keys = {name: (registry.noun, name) for name in registry.keywords()}
        given = {name: self.values.get(key) for name, key in keys.items()}
        taken = registry.taken(names, given)
        return registry.choose(
            names, {name: v for name, v in given.items() if name in taken or keys[name] not in self.environment}
        )

    def names(self, registry: Registry) -> list[str]:
        """The options of the registry that stand in the command line."""
        keys = {name: (registry.noun, name) for name in registry.keywords()}
        return [name for name, key in keys.items() if self.values.get(key) is not None and key not in self.environment]

    def refuse(self, registry: Registry, where: str) -> None:
        """Raise UsageError when an option of the registry stands in the command line where none applies."""
        for name in self.names(registry):
            raise UsageError(f"{registry.keywords()[name].option} does not go with {where}", "Leave it out.")


@dataclass(frozen=True)
class Explicit:
    """The options that stand in the command line, whatever their value: name of the field -> the option as written.

    command: the command line that gives the same results, as a shell reads it.
    """

    options: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


@dataclass(frozen=True)
class Printing:
    """How to print records."""

    format: AsFormat = None
    json: AsJson = False
    safe_csv: SafeCsv = False

    @property
    def style(self) -> Style:
        """How records are written. Raises UsageError for two formats."""
        if self.json and self.format not in (None, "json"):
            raise UsageError(f"--json and --format {self.format} contradict each other", "Leave one out.")
        return Style("json" if self.json else "markdown" if self.format == "md" else self.format, self.safe_csv)


def command(shape: type, *registries: Registry) -> Callable[[Callable[[Any], int | None]], Callable[..., Any]]:
    """Turn `f(options: shape)` into what typer reads: a parameter for each field of the dataclass `shape`.

    A field that is a dataclass itself stands for its own fields, in its place. Given and Explicit are filled in; Given takes
    the options of the registries. The options that all commands share come last.
    A keyword whose name another registry took before is an option with the noun in front: `--similarity-k` beside `--k`.
    """
    keywords: dict[str, tuple[tuple[str, str], Keyword]] = {}
    for registry in registries:
        for name, keyword in registry.keywords().items():
            option = f"{registry.noun}_{name}" if name in keywords else name
            keywords[option] = (registry.noun, name), replace(keyword, name=option)
    wanted = [*_parameters(shape), *(_parameter(name, _annotation(k), None) for name, (_, k) in keywords.items())]
    wanted += [_parameter(name, kind, default) for name, (kind, default) in SHARED.items()]

    def decorate(function: Callable[[Any], int | None]) -> Callable[..., Any]:
        parameters = [CONTEXT, *(_with_variables(completed(p), function.__name__) for p in wanted)]

        def called(**values: Any) -> Any:
            set_verbosity(values.pop("quiet"), values.pop("verbose"))
            values.pop("debug"), values.pop("threads")
            context = values.pop("context")
            _report_old_variables(wanted, function.__name__)
            given = _given(context, {name: (key, values.pop(name)) for name, (key, _) in keywords.items()})
            return function(
                _filled(shape, values, {Given: given, Explicit: Explicit(explicit_options(context), command_line(context))})
            )

        called.registries, called.panels = registries, _panels(shape)  # type: ignore[attr-defined]
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {p.name: p.annotation for p in parameters}
        called.__doc__, called.__name__, called.__module__ = function.__doc__, function.__name__, function.__module__
        return called

    return decorate


@cache
def _kinds(shape: type) -> dict[str, Any]:
    """The type of each field of a dataclass, with its typer option."""
    return typing.get_type_hints(shape, include_extras=True)


def _parameters(shape: type) -> list[inspect.Parameter]:
    """What typer reads for the fields of a dataclass, those of dataclasses within it included."""
    kinds, parameters = _kinds(shape), []
    for one in fields(shape):
        kind = kinds[one.name]
        if kind in (Given, Explicit):
            continue
        parameters += _parameters(kind) if is_dataclass(kind) else [_parameter(one.name, kind, _default(one))]  # type: ignore[arg-type]
    return parameters


def _panels(shape: type) -> dict[str, str]:
    """The panel of the help page for each option of the dataclasses within a dataclass that name one."""
    panels: dict[str, str] = {}
    for kind in _kinds(shape).values():
        if is_dataclass(kind) and (panel := getattr(kind, "PANEL", "")):
            panels |= {one.name: panel for one in fields(kind)}
    return panels


def _default(one: Field[Any]) -> Any:
    if one.default_factory is not MISSING:
        return one.default_factory()
    return inspect.Parameter.empty if one.default is MISSING else one.default


def _filled(shape: type, values: Mapping[str, Any], made: Mapping[type, Any]) -> Any:
    """The dataclass with the values that typer read, by field name."""
    kinds = _kinds(shape)
    return shape(
        **{
            one.name: made[kinds[one.name]]
            if kinds[one.name] in made
            else _filled(kinds[one.name], values, made)
            if is_dataclass(kinds[one.name])
            else values[one.name]
            for one in fields(shape)
        }
    )


def _given(context: typer.Context, values: Mapping[str, tuple[tuple[str, str], Any]]) -> Given:
    """The registry options, values by parameter: what they set, and where it comes from."""
    sources = {name: context.get_parameter_source(name) for name in values}
    environment = {name for name, source in sources.items() if source is not None and source.name == "ENVIRONMENT"}
    return Given(dict(values.values()), frozenset(key for name, (key, _) in values.items() if name in environment))


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _annotation(keyword: Keyword) -> Any:
    """The option of a registry keyword: absent means the function's own default, which the help states."""
    option = typer.Option(
        keyword.option, help=f"{keyword.param.help} [default: {keyword.default}]", show_default=False, metavar=_metavar(keyword)
    )
    return Annotated[(str if keyword.param.choices or keyword.param.several else keyword.type) | None, option]


def _metavar(keyword: Keyword) -> str | None:
    if keyword.param.several:
        return f"<{keyword.type.__name__}>,..."
    return "[" + "|".join(keyword.param.choices) + "]" if keyword.param.choices else None


def _with_variables(parameter: inspect.Parameter, command: str) -> inspect.Parameter:
    """Let an option be set by environment variables: RELREP_<COMMAND>_<OPTION>, and RELREP_<OPTION> for those in SHORT."""
    kind, option = parameter.annotation, _option_info(parameter)
    if option is not None:
        option = copy(option)  # commands share it
        option.envvar, option.show_envvar = _variables(parameter, command), False
        kind = Annotated[typing.get_args(kind)[0], option]
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kind)


def _option_info(parameter: inspect.Parameter) -> Any:
    metadata = getattr(parameter.annotation, "__metadata__", ())
    return next((info for info in metadata if isinstance(info, typer.models.OptionInfo)), None)


def _variables(parameter: inspect.Parameter, command: str) -> list[str]:
    """The environment variables of an option, highest precedence first."""
    option = _option_info(parameter)
    written = [option.default, *(option.param_decls or ())]  # before typer parses it, `default` holds the first name
    flags = [flag for flag in written if isinstance(flag, str) and flag.startswith("--")]
    name = (flags[0] if flags else parameter.name).strip("-").partition("/")[0].replace("-", "_").lower()
    return [f"RELREP_{command}_{name}".upper(), *([f"RELREP_{name}".upper()] if name in SHORT else [])]


def _report_old_variables(parameters: list[inspect.Parameter], command: str) -> None:
    """Say which variables of earlier versions are set: RELREP_<OPTION> once set the option of every command that had it."""
    for parameter in parameters:
        now = f"RELREP_{parameter.name.upper()}"
        for old in dict.fromkeys((now, now.replace("NEIGHBORS", "NEIGHBOURS"))):  # parameters were British in 0.1.0
            if old in os.environ and _option_info(parameter) is not None:
                names = _variables(parameter, command)
                if old not in names:
                    say(f"{old} is no longer read; write {names[0]}.")


def names_of(registry: Registry, help: str, *flags: str, default: bool = True) -> Any:
    """A list option whose values are names of the registry, repeated or separated by commas, with completion."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        return completing([(name, entry.summary) for name, entry in registry.items()])(incomplete)

    text = f"{help} One of: {', '.join(registry)}."
    return typer.Option(*flags, help=text, autocompletion=complete, metavar="NAME", show_default=default)


def split_names(values: list[str]) -> list[str]:
    """Names given by repetition or commas, each once.

    >>> split_names(["a,b", "a"])
    ['a', 'b']
    """
    return list(dict.fromkeys(name.strip() for value in values for name in value.split(",") if name.strip()))


def plan(lines: list[str]) -> None:
    """What --dry-run prints."""
    for line in lines:
        say(f"would: {line}")
