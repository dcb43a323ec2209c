"""Help in two levels: -h is a screen with the options that people need, --help is everything, in panels.

The options of single metrics, encoders and the like stand under their owners: `relrep compare --help cka`.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from typer.core import TyperCommand

from relrep_cli.base.errors import unknown
from relrep_cli.base.output import emit
from relrep_cli.base.registry import Entry, Keyword, Registry

INPUT, PROJECTION, OUTPUT, PICTURE, RUNNING = "Input", "Projection", "Output", "Picture", "Running"
PANELS = (INPUT, PROJECTION, OUTPUT, PICTURE, RUNNING)  # behind the command's own panel
PANEL_OF = {
    "output": OUTPUT, "force": OUTPUT, "plot": OUTPUT, "per_row": OUTPUT, "format": OUTPUT, "json": OUTPUT,
    "safe_csv": OUTPUT, "matrix": OUTPUT, "curve": OUTPUT, "rows": OUTPUT, "predictions": OUTPUT, "save_head": OUTPUT,
    "save_aggregator": OUTPUT, "save_encoder": OUTPUT, "ids_only": OUTPUT, "dry_run": RUNNING, "seed": RUNNING,
    "cache": RUNNING, "device": RUNNING, "dtype": OUTPUT, "trust_digest": RUNNING, "threads": RUNNING, "quiet": RUNNING,
    "verbose": RUNNING, "debug": RUNNING, "split": INPUT, "require_all": INPUT,
}  # fmt: skip
NARROW = 80  # columns of a screen
COLUMN = 30  # columns of the names of options


class Pages(TyperCommand):
    """A command with both pages. commands.load sets what they need.

    common: the parameters on the screen of -h, with a line for each. panels: the panel of each parameter of a group.
    registries: those whose keywords are options here.
    """

    common: Mapping[str, str] = {}
    title = "Options"
    panels: Mapping[str, str] = {}
    registries: Sequence[Registry[Any]] = ()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Show a page where one is asked for."""
        asked = args[: args.index("--")] if "--" in args else args
        if "-h" in asked:
            emit(self.screen(ctx))
            ctx.exit()
        if "--help" in asked[:-1] and not asked[asked.index("--help") + 1].startswith("-"):
            emit(self.page_of(asked[asked.index("--help") + 1], ctx.terminal_width or 100))
            ctx.exit()
        return super().parse_args(ctx, args)

    def screen(self, ctx: Any) -> str:
        """At most 25 lines: usage, the common options, and where the rest is."""
        lines = [self.collect_usage(ctx), "", *_wrapped(_first_sentence(self.help or ""), 0), ""]
        by_name = {parameter.name: parameter for parameter in self.params}
        lines += [f"  {_short_names(by_name[name], ctx):{COLUMN - 2}}{text}" for name, text in self.common.items()]
        more = [f"All options, with examples: {ctx.command_path} --help"]
        if owners := [entry for registry in self.registries for entry in registry.values() if entry.keywords]:
            example = max(owners, key=lambda entry: len(entry.keywords))
            more.append(f"One {self._nouns()}: {ctx.command_path} --help {example.name}")
        return "\n".join([*lines, "", *more]) + "\n"

    def _nouns(self) -> str:
        *others, last = [registry.noun for registry in self.registries] or ["name"]
        return f"{', '.join(others)} or {last}" if others else last

    def collect_usage(self, ctx: Any) -> str:
        """Usage in one line, as in a manual."""
        files = [p.metavar or "" for p in self.params if p.param_type_name == "argument"]
        return " ".join(["Usage:", ctx.command_path, "[OPTIONS]", *files])

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        formatter.write(self.collect_usage(ctx) + "\n")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the panels, then which entries have options of their own."""
        of_entries = {name for registry in self.registries for name in _options_of(registry, self.params)}
        groups: dict[str, list[tuple[str, str]]] = {self.title: [], **{panel: [] for panel in PANELS}}
        for parameter in self.get_params(ctx):
            if parameter.name in of_entries or getattr(parameter, "hidden", False):
                continue
            record = _record(parameter, ctx)
            panel = self.panels.get(parameter.name or "") or PANEL_OF.get(parameter.name or "", self.title)
            panel = INPUT if parameter.param_type_name == "argument" else RUNNING if parameter.name == "help" else panel
            groups[panel].append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
        for registry in self.registries:
            if owned := dict(_owners(registry, self.params)):
                with formatter.section(f"Options of one {registry.noun} (NAME: {ctx.command_path} --help NAME)"):
                    formatter.write_dl(list(owned.items()))

    def page_of(self, name: str, width: int) -> str:
        """What one metric, encoder or other entry is, with its options."""
        for registry in self.registries:
            if name in registry:
                return "\n".join(_entry_lines(registry[name], registry, self.params, width)) + "\n"
        raise unknown(self._nouns(), name, [known for registry in self.registries for known in registry])


METAVARS = {"<int range>": "N", "<int>": "N", "<float range>": "X", "<float>": "X", "<str>": "NAME"}


def _record(parameter: Any, ctx: Any) -> tuple[str, str]:
    """The names of a parameter, and its help."""
    if parameter.param_type_name == "argument":
        return parameter.metavar or parameter.name, getattr(parameter, "help", "") or ""
    names, help = parameter.get_help_record(ctx)
    return next((names.replace(long, short) for long, short in METAVARS.items() if long in names), names), help


def _short_names(parameter: Any, ctx: Any) -> str:
    """The names of a parameter on a narrow screen: --no-x and long lists of values are left to --help."""
    names = _record(parameter, ctx)[0].partition(" / ")[0].replace("FILE.safetensors", "FILE")
    return re.sub(r" [<\[].*[>\]]", "", names)


PHRASES = {  # of typer, whose versions differ -> ours
    r"Input should be less than or equal to (\S+)": r"it must be \1 or less",
    r"Input should be greater than or equal to (\S+)": r"it must be \1 or more",
    r"Input should be a valid integer.*|'[^']*' is not a valid int[^.]*": "it must be an integer, such as 10",
    r"Input should be a valid number.*|'[^']*' is not a valid float[^.]*": "it must be a number, such as 0.2",
    r"\S+ is not in the range x>=([^ .]+(?:\.\d+)?)": r"it must be \1 or more",
    r"\S+ is not in the range x<=([^ .]+(?:\.\d+)?)": r"it must be \1 or less",
    r"\S+ is not in the range ([^ <]+)<=x<=([^ ]+\d)": r"it must be from \1 to \2",
    r"Value error, ": "",
    r"is not one of": "is none of",
}


def in_plain_words(message: str) -> str:
    """A library's message about a wrong option, in plainer words.

    >>> in_plain_words("Invalid value for '--seed': Input should be greater than or equal to 0")
    "Invalid value for '--seed': it must be 0 or more"
    >>> in_plain_words("Invalid value for '--holdout': 20.0 is not in the range 0<=x<=0.9.")
    "Invalid value for '--holdout': it must be from 0 to 0.9."
    """
    for pattern, words in PHRASES.items():
        message = re.sub(pattern, words, message)
    before, none_of, values = message.partition("is none of")
    return before + none_of + values.replace("'", "")


def _first_sentence(text: str) -> str:
    flat = " ".join(text.split("\n\n")[0].split())
    return flat.partition(". ")[0].rstrip(".") + "."


def _wrapped(text: str, indent: int, width: int = NARROW) -> list[str]:
    return textwrap.wrap(text, width - indent, initial_indent=" " * indent, subsequent_indent=" " * indent)


def _options_of(registry: Registry[Any], params: Sequence[Any]) -> dict[str, Any]:
    """The parameters of the command that are keywords of the registry, by name. Two registries may share a name."""
    named = {p.name: p for p in params}
    options = {}
    for name in registry.keywords():
        own = f"{registry.noun}_{name}"
        key = own if own in named else name
        if key in named:
            options[key] = named[key]
    return options


def _option_names(entry: Entry[Any], registry: Registry[Any], params: Sequence[Any]) -> dict[str, str]:
    """How the command calls each keyword of an entry."""
    options = _options_of(registry, params)
    shown = {name: options.get(f"{registry.noun}_{name}") or options.get(name) for name in entry.keywords}
    return {name: p.opts[0] if p is not None else entry.keywords[name].option for name, p in shown.items()}


def _owners(registry: Registry[Any], params: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Entries with options, and the names of these, entries with the same options together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, entry in registry.items():
        base = registry[plain].keywords if (plain := name.partition(":")[0]) in registry and plain != name else {}
        if entry.keywords.keys() - base.keys():  # a form of a metric is listed where it has more options than the metric
            groups.setdefault(tuple(_option_names(entry, registry, params).values()), []).append(name)
    for options, names in groups.items():
        yield ", ".join(names), ", ".join(options)


def _entry_lines(entry: Entry[Any], registry: Registry[Any], params: Sequence[Any], width: int) -> Iterator[str]:
    yield f"{registry.noun} {entry.name}"
    yield ""
    for paragraph in inspect.cleandoc(entry.function.__doc__ or entry.summary).split("\n\n"):
        if not paragraph.startswith(">>>"):
            yield from _wrapped(" ".join(paragraph.split()), 2, width)
            yield ""
    if entry.keywords:
        yield "Options:"
    for name, option in _option_names(entry, registry, params).items():
        keyword = entry.keywords[name]
        yield f"  {option}  {_values(keyword)}"
        yield from _wrapped(f"{keyword.param.help} [default: {keyword.default}]", 6, width)
    if forms := [form for name, form in registry.items() if name.startswith(f"{entry.name}:")]:
        yield "Other forms:"
        for form in forms:
            yield from _wrapped(f"{form.name}: {form.summary}", 2, width)
    yield "Traits:" if registry.traits else ""
    for trait in registry.traits:
        if not callable(value := getattr(entry, trait)):
            yield from _wrapped(f"{trait.replace('_', ' ')}: {trait_text(value)}", 2, width)


def _values(keyword: Keyword) -> str:
    return "|".join(keyword.param.choices) if keyword.param.choices else getattr(keyword.type, "__name__", "value").upper()


def trait_text(value: Any) -> str:
    """Return the value of a trait in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, set | frozenset):
        return ", ".join(sorted(value)) or "nothing"
    if isinstance(value, tuple):
        return " to ".join("none" if v is None else str(v) for v in value)
    return str(value)
