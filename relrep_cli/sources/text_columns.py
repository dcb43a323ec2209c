"""Ids, labels and splits of texts from the columns of their tables, by the reading rule of the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.sources.items import text_column
from relrep_cli.store.assignment import assign
from relrep_cli.store.column_names import is_id_name, role
from relrep_cli.store.found import Found
from relrep_cli.store.limits import TEXT_WIDTH, padding_fault
from relrep_cli.store.reading import PLAIN, Reading

LABEL = "label"  # the column of labels where the user names none


@dataclass(frozen=True)
class TextTable:
    """What is read of a table of texts: the column of the texts, and what the user says of others."""

    text: str
    reading: Reading = PLAIN

    def takes(self, name: str) -> bool:
        """Whether a column may hold ids, labels or splits."""
        return name != self.text and (name in self.reading.named.values() or role(name) is not None or is_id_name(name))


def text_table(text: str, label: str, reading: Reading) -> TextTable:
    """label: the column that --label-column names."""
    return TextTable(text, replace(reading, label_column=None if label == LABEL else label))


@dataclass
class Collected:
    """Columns in the order of the texts, as they are in the table; b"" where a row has no value."""

    count: int = 0
    values: dict[str, list[bytes]] = field(default_factory=dict)
    default_ids: list[bytes] = field(default_factory=list)
    default_splits: list[bytes] = field(default_factory=list)

    def add(self, row: Mapping[str, Any], default_id: str, split: str) -> None:
        """The columns of one text; its id and split where no column says them."""
        for name in dict.fromkeys([*self.values, *row]):
            self.values.setdefault(name, [b""] * self.count).append(_bytes(row.get(name)))
        self.default_ids.append(default_id.encode())
        self.default_splits.append(split.encode())
        self.count += 1

    def as_they_are(self) -> tuple[NDArray[np.bytes_], dict[str, NDArray[Any]]]:
        """The default ids, and all columns."""
        columns = {name: text_column(values) for name, values in self.values.items()}
        return text_column(self.default_ids), {**self._split(None), **columns}

    def by_rule(self, path: Path, table: TextTable) -> tuple[NDArray[np.bytes_], dict[str, NDArray[Any]]]:
        """Ids, labels and splits as in a table of vectors. Raises DataError where two columns could be the ids."""
        columns = {name: text_column(values) for name, values in self.values.items() if self._fits(name, table)}
        assigned = assign(path, Found(np.empty((self.count, 0)), columns=columns), table.reading)
        ids = text_column(self.default_ids) if assigned.ids is None else assigned.ids
        return ids, {**assigned.obs, **self._split(assigned.obs.get("split"))}

    def _fits(self, name: str, table: TextTable) -> bool:
        """Whether a column is needed, or takes little room as texts of equal width."""
        lengths = [len(value) for value in self.values[name]]
        narrow = not padding_fault(max(lengths) * self.count, sum(lengths))
        return name in table.reading.named.values() or role(name) is not None or narrow

    def _split(self, stated: NDArray[Any] | None) -> dict[str, NDArray[Any]]:
        """The splits that a column states, and where it states none those that the files are named after."""
        named = text_column(self.default_splits)
        if stated is None:
            return {"split": named} if any(self.default_splits) else {}
        return {"split": np.where(stated == b"", named, stated)}


def _bytes(value: Any) -> bytes:
    if value is None or isinstance(value, dict | list):
        return b""
    return (value if isinstance(value, bytes) else str(value).encode("utf-8", "replace"))[:TEXT_WIDTH]
