"""How a picture looks, apart from what draws it: a run without a picture reads this file alone."""

from __future__ import annotations

from collections.abc import Sequence

from relrep_cli.base.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """How a picture looks. low, high: the ends of the colours, None for the bounds of the metric. size: width and height in
    inches. title: instead of the usual one. names: of the files, in the order of the command line."""

    low: float | None = None
    high: float | None = None
    size: tuple[float, float] | None = None
    title: str | None = None
    names: tuple[str, ...] = ()

    def file_named(self, name: str, files: Sequence[str]) -> str:
        """The file of this name; the name itself where the user gave none such."""
        return dict(zip(self.names, files, strict=False)).get(name, name)


PLAIN_LOOK = Look()
