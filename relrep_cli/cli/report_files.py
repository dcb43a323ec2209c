"""`-o report.html`: what was found as a page, for every command that has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Style
from relrep_cli.cli import versions
from relrep_cli.embedding import Embedding
from relrep_cli.reports.clouds import spaces_of
from relrep_cli.reports.endings import is_report
from relrep_cli.reports.file_facts import file_facts
from relrep_cli.reports.grids import Grid
from relrep_cli.reports.page import Report, page
from relrep_cli.store.reading import Reading

Found = Mapping[str, Embedding | DataError]


def refuse_report(target: str, style: Style, **asked: object) -> None:
    """Raise UsageError where `target` is a report, and an option with a value asks for something else."""
    if not is_report(target):
        return
    format = f"format {style.format}" if style.format else ""
    name = format or next((name.replace("_", "-") for name, value in asked.items() if value), "")
    if name:
        finding, remedy = f"--{name} makes no report", f"Name a table such as results.tsv, or remove --{name}."
        raise UsageError(finding, remedy, file=target)


def read_again(files: Sequence[str], reading: Reading) -> dict[str, Embedding | DataError]:
    """The files of a run whose spaces are not kept, for their points."""
    embeddings: dict[str, Embedding | DataError] = {}
    for uri in files:
        try:
            embeddings[uri] = store.read(uri, reading, judge=False)
        except DataError as error:
            embeddings[uri] = error
    return embeddings


@dataclass(frozen=True)
class Origin:
    """What a page says of its run, and how it is written. command: the line that makes the page again."""

    command: str
    seed: int
    force: bool


def publish(
    target: str,
    title: str,
    grids: Sequence[Grid],
    embeddings: Found,
    spaces: Sequence[tuple[str, Embedding | DataError]],
    origin: Origin,
    errors: Sequence[str] = (),
) -> None:
    """Write a page.

    embeddings: the files. spaces: names of panels with what they show. errors: of files that could not be used.
    """
    report = Report(
        title=title,
        command=origin.command,
        grids=grids,
        spaces=spaces_of(spaces, origin.seed),
        files=[file_facts(uri, one) for uri, one in embeddings.items()],
        versions=versions(),
        notes=list(dict.fromkeys(errors)),
    )
    content = page(report)
    count = sum(len(grid.cells) for grid in grids)
    size = f"{len(content) / 1e6:.1f} MB" if len(content) >= 1e5 else f"{len(content) / 1e3:.0f} kB"
    store.write_bytes(target, content, origin.force, f"a report of {'one value' if count == 1 else f'{count} values'}, {size}.")
