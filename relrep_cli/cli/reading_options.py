"""The options that say how files are read, for every command that reads embeddings."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import typer

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.store.reading import Reading


def _option(name: str, help: str, metavar: str | None = None) -> Any:
    return typer.Option(name, help=help, metavar=metavar, show_default=False)


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """What a user says of the files of a command, apart from the column of labels."""

    PANEL: ClassVar[str] = "Input"

    id_column: Annotated[str | None, _option("--id-column", "Column of the ids.", "NAME")] = None
    vector_columns: Annotated[
        str | None,
        _option("--vector-columns", "Columns of the coordinates: names or patterns such as 'emb_*', with commas.", "NAMES"),
    ] = None
    split_column: Annotated[str | None, _option("--split-column", "Column of the splits.", "NAME")] = None
    by_position: Annotated[bool, _option("--by-position", "Pair rows by their position, and ignore the ids in the files.")] = (
        False
    )
    transpose: Annotated[bool, _option("--transpose", "The file stores a row for each dimension.")] = False
    packed_bits: Annotated[bool, _option("--packed-bits", "Each byte holds eight dimensions, as numpy.packbits writes.")] = (
        False
    )
    pool: Annotated[
        Literal["mean", "first", "last"] | None,
        _option("--pool", "How to pool the rows of an item, such as residues, into one vector."),
    ] = None
    normalize_ids: Annotated[
        str | None,
        _option(
            "--normalize-ids",
            "Change ids before they are compared: nfc, strip, case, number, barcode, basename, stem, joined by +.",
            "NAMES",
        ),
    ] = None

    @property
    def reading(self) -> Reading:
        """The same for the store. Raises UsageError for an unknown way to change ids."""
        return Reading(
            id_column=self.id_column,
            vector_columns=self.vector_columns,
            split_column=self.split_column,
            by_position=self.by_position,
            transpose=self.transpose,
            packed_bits=self.packed_bits,
            pool=self.pool,
            normalize_ids=self.normalize_ids,
        )


@dataclass(frozen=True, kw_only=True)
class ReadingOptions(FileOptions):
    """What a user says of the files of a command."""

    label_column: Annotated[str | None, _option("--label-column", "Column of the labels.", "NAME")] = None

    @property
    def reading(self) -> Reading:
        return replace(super().reading, label_column=self.label_column)


@dataclass(frozen=True, kw_only=True)
class TrustingFileOptions(FileOptions):
    """The same for a command that looks at the digests of its files."""

    trust_digest: Annotated[
        bool, typer.Option("--trust-digest", help="Trust the digests stored in files, for archives that nobody can change.")
    ] = False

    @property
    def reading(self) -> Reading:
        return replace(super().reading, trust_digest=self.trust_digest)


@dataclass(frozen=True, kw_only=True)
class TrustingOptions(TrustingFileOptions, ReadingOptions):
    """What a user says of the files of a command that looks at their digests."""
