"""The views of a file that a comparison measures: absolute, and relative by one or more recipes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from relrep_cli import store
from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import say
from relrep_cli.comparison.pairs_of_files import View
from relrep_cli.embedding import Embedding, in_id_order, of_split
from relrep_cli.numerics.devices import NUMPY
from relrep_cli.relative.projection import basis, projection_notes, relative
from relrep_cli.relative.recipes import Recipe
from relrep_cli.store.reading import PLAIN, Reading


def file_views(
    uri: str,
    split: str | None,
    recipes: Sequence[Recipe],
    with_content: bool,
    reading: Reading = PLAIN,
    device: str = NUMPY,
) -> list[View]:
    """Read a file and return its absolute view and one relative view for each recipe.

    split: keep only these rows, after statistics are fitted; None for all. with_content: give every view a content key, which
    the task cache needs. The key names the file, the rows in use and their labels. device: where relative views are computed,
    and what is found of the views, which the key names, too; see devices.chosen.

    Raises DataError when the file cannot be read or projected, or has no rows of the split.
    """
    embedding = store.read(uri, reading)
    return views_of_space(store.digested(embedding) if with_content else embedding, split, recipes, with_content, device)


def views_of_space(
    embedding: Embedding, split: str | None, recipes: Sequence[Recipe], with_content: bool = False, device: str = NUMPY
) -> list[View]:
    """The same of an embedding that was read before. with_content: only for one whose digest is known."""
    embedding = in_id_order(embedding) if recipes else embedding  # statistics of a recipe are sums over all training rows
    rows = in_id_order(of_split(embedding, split))
    name = f"{embedding.digest}:{_rows_digest(rows)}{'' if device == NUMPY else '@' + device}" if with_content else ""
    views = [View("absolute", rows, name)]
    for recipe in recipes:
        fitted = basis(embedding, recipe)
        if recipe is recipes[-1]:
            for note in projection_notes(embedding, fitted):
                say(note)
        content = f"{name}:{recipe.space()}:{fitted.digest()}" if with_content else ""
        views.append(View(recipe.label, relative(rows, fitted, device), content))
    return views


def views_of_files(
    uris: Sequence[str],
    split: str | None,
    recipes: Sequence[Recipe],
    with_content: bool,
    reading: Reading = PLAIN,
    device: str = NUMPY,
) -> dict[str, list[View] | DataError]:
    """Return the views of every file. Of more than two files, an unusable one gets its error in place of views.

    Raises DataError when one of two files is unusable; see file_views.
    """
    return dict(FileViews(uris, split, recipes, with_content, reading, device))


@dataclass(frozen=True, eq=False)
class FileViews(Mapping[str, list[View] | DataError]):
    """The same, of files that are read when they are first asked for."""

    uris: Sequence[str]
    split: str | None
    recipes: Sequence[Recipe]
    with_content: bool
    reading: Reading
    device: str = NUMPY
    _known: dict[str, list[View] | DataError] = field(default_factory=dict)

    def __getitem__(self, uri: str) -> list[View] | DataError:
        if uri not in self._known:
            self._known[uri] = self._read(uri)
        return self._known[uri]

    def _read(self, uri: str) -> list[View] | DataError:
        try:
            return file_views(uri, self.split, self.recipes, self.with_content, self.reading, self.device)
        except DataError as error:
            if len(self.uris) <= 2:
                raise
            return error

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(self.uris))

    def __len__(self) -> int:
        return len(set(self.uris))


def _rows_digest(rows: Embedding) -> str:
    """A digest of the ids and labels of the rows that are compared."""
    columns = [rows.ids, *([rows.obs["label"]] if "label" in rows.obs else [])]
    return hashlib.sha256(b"".join(f"{c.dtype} {len(c)}\n".encode() + c.tobytes() for c in columns)).hexdigest()
