"""An option whose help text says all of it: typer adds no default."""

from __future__ import annotations

from typing import Any

import typer


def plain_option(name: str, help: str, metavar: str) -> Any:
    """What typer reads for the option `name`, such as `--log`, with a value called `metavar`."""
    return typer.Option(name, help=help, metavar=metavar, show_default=False)
