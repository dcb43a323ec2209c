"""docs/reference.md, the table in docs/reading.md and the list in docs/api.md, from what the program itself knows.

`python -m relrep_cli.cli.reference [--check] FILE`
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from relrep_cli.base.registry import Registry
from relrep_cli.cli import COMMANDS, app, load
from relrep_cli.cli.completion_words import WORDS, words_of
from relrep_cli.cli.help_pages import trait_text
from relrep_cli.metrics.catalogue import CONVENTIONS, conventions

WIDTH = 100


def registries() -> dict[str, Registry]:
    """Every registry by the heading it has in the reference."""
    from relrep_cli.anchors.strategies import STRATEGIES
    from relrep_cli.encoders import ENCODERS
    from relrep_cli.evaluations import EVALUATIONS
    from relrep_cli.heads.heads import HEADS
    from relrep_cli.metrics import METRICS
    from relrep_cli.plots.reductions import METHODS
    from relrep_cli.relative.aggregators import AGGREGATORS
    from relrep_cli.relative.similarities import SIMILARITIES
    from relrep_cli.relative.transformations import TRANSFORMATIONS
    from relrep_cli.sources import SOURCES
    from relrep_cli.stitching.translators import TRANSLATORS
    from relrep_cli.stitching.universe import UNIVERSES

    return {
        "Sources": SOURCES,
        "Encoders": ENCODERS,
        "Strategies": STRATEGIES,
        "Similarity functions": SIMILARITIES,
        "Transformations": TRANSFORMATIONS,
        "Aggregators": AGGREGATORS,
        "Metrics": METRICS,
        "Heads": HEADS,
        "Tasks of evaluate": EVALUATIONS,
        "Methods of plot": METHODS,
        "Translators": TRANSLATORS,
        "Universes": UNIVERSES,
    }


def parts() -> Iterator[tuple[str, Registry]]:
    """The registries with their headings. Metrics have three tables: by name, other forms, and those of each space alone."""
    from relrep_cli.metrics import METRICS
    from relrep_cli.metrics.score import ALONE

    for heading, registry in registries().items():
        if registry is not METRICS:
            yield heading, registry
            continue
        yield heading, METRICS.those(lambda entry: entry.shown)
        yield "Other forms of metrics", METRICS.those(lambda entry: not entry.plain)
        yield "Metrics of each space alone", METRICS.those(lambda entry: entry.family in ALONE)


def reference() -> str:
    """The whole page."""
    return (
        "\n".join([*_opening(), *_commands(), *(line for part in parts() for line in _registry(*part)), *_invariance()]) + "\n"
    )


def _opening() -> Iterator[str]:
    yield "# Reference"
    yield ""
    yield "Made from the program by `make docs`; do not edit."
    yield ""


def _commands() -> Iterator[str]:
    root: Any = typer.main.get_command(app)
    for name, command in [("relrep", root), *((f"relrep {n}", load(n)) for n in COMMANDS)]:
        context = command.make_context(name, ["--help"], resilient_parsing=True, terminal_width=WIDTH, max_content_width=WIDTH)
        yield from (f"## {name}", "", "```", *(line.rstrip() for line in command.get_help(context).splitlines()), "```", "")


def _registry(heading: str, registry: Registry) -> Iterator[str]:
    shown = [t for t in registry.traits if not any(callable(getattr(entry, t)) for entry in registry.values())]
    columns = ["name", "what it is", "options", *(t.replace("_", " ") for t in shown)]
    yield from (f"## {heading}", "", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns))
    for entry in registry.values():
        options = ", ".join(f"`{k.option} {k.default}`" for k in entry.keywords.values())
        cells = [f"`{entry.name}`", entry.summary, options, *(trait_text(getattr(entry, t)) for t in shown)]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _invariance() -> Iterator[str]:
    """What each similarity function declares, as `relrep project --list` prints it."""
    from relrep_cli.base.output import render
    from relrep_cli.relative.invariance_audit import table

    records = list(table())
    opening = "Whether a relative representation stays as it is when the whole space, anchors included, is moved."
    yield from ("## Invariance", "", opening)
    yield "Each cell is tested, both ways, for float64, float32 and float16. Paths of geodesic are those of a graph, so it"
    yield from (
        "follows an isometry of the manifold within a few per cent.",
        "",
        *render(records, list(records[0]), "markdown").splitlines(),
    )


FORMATS = re.compile(r"(<!-- formats -->\n).*?(<!-- end of formats -->)", re.DOTALL)


def formats() -> str:
    """The table of the formats that are read, from their registry."""
    from relrep_cli.store.foreign import FORMATS as known

    hdf5 = (".h5", ".hdf5", ".h5ad"), "relrep, anndata, h5py, pandas, UniProt, bio_embeddings, Julia, R"
    content = "relrep's collections; AnnData's dense X and obsm; a dataset (n, d); one dataset for each item"
    rows: list[tuple[Any, ...]] = [
        (*hdf5, content, "obs; a dataset of n values by its name; names of the datasets", "h5py, guarded")
    ]
    rows += [(one.endings, one.written_by, one.content, one.ids, one.library) for one in known]
    lines = ["| files | who writes them | what is read | where ids are found | library |", "|" + " --- |" * 5]
    return (
        "\n".join([*lines, *("| " + " | ".join([", ".join(f"`{e}`" for e in row[0]), *row[1:]]) + " |" for row in rows)]) + "\n"
    )


CALLS = re.compile(r"(<!-- functions -->\n).*?(<!-- end of functions -->)", re.DOTALL)


def calls() -> str:
    """Every name that the library offers: its signature and its docstring."""
    import relrep_cli

    lines = []
    for name in relrep_cli.__all__:
        value = getattr(relrep_cli, name)
        if name.startswith("__") or (isinstance(value, type) and issubclass(value, Exception)):
            continue
        described = (inspect.getdoc(value) or "").partition(">>>")[0].rstrip()  # examples are run where they stand
        lines += [f"### {name}", "", "```python", _signature(name, value), "```", "", "```text", described, "```", ""]
    return "\n".join(lines)


def _signature(name: str, value: Any) -> str:
    """The call as one writes it, without the module names of types."""
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", f"{name}{inspect.signature(value)}")  # annotations, but no defaults
    if len(text) <= WIDTH:
        return text
    before, _, rest = text.partition("(")
    inside, _, after = rest.rpartition(")")
    parts = re.split(r", (?=[a-z_*]+(?::|,|$))", inside)
    return "\n".join([f"{before}(", *(f"    {part}," for part in parts), f"){after}"])


def page_for(path: Path) -> str:
    """What a page should say: the reference as a whole, or a page of which a part is made from the program."""
    if path.name == CONVENTIONS.name:
        return conventions()
    if path.name == WORDS.name:
        return json.dumps({name: words_of(load(name)) for name in COMMANDS}, indent=0, ensure_ascii=False) + "\n"
    if path.name not in ("reading.md", "api.md"):
        return reference()
    marks, part = (FORMATS, formats) if path.name == "reading.md" else (CALLS, calls)
    return marks.sub(lambda match: match[1] + part() + match[2], path.read_text(encoding="utf-8"))


def main(arguments: list[str]) -> int:
    """Write the page to the file named, or with --check say whether it is up to date."""
    path = Path(next((a for a in arguments if not a.startswith("-")), "docs/reference.md"))
    page = page_for(path)
    if "--check" not in arguments:
        path.write_text(page, encoding="utf-8")
        return 0
    if path.read_text(encoding="utf-8") == page:
        return 0
    sys.stderr.write(f"{path}: is out of date; run make docs.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
