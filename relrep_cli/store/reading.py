"""A user's own words on how to read a file, which win over the reading rule: options, or the query of a URI."""

from __future__ import annotations

from dataclasses import replace

from relrep_cli.base.errors import UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass, fields
from relrep_cli.base.uris import query_of


@dataclass(frozen=True)
class Reading:
    """How the user wants a file to be read; None and False leave it to the rule.

    id_column, label_column, split_column: names of columns. vector_columns: names or patterns with * and ?, separated by
    commas. by_position: leave ids out; rows are their numbers. transpose: the file stores dimensions by items. packed_bits:
    each byte holds eight dimensions. pool: what one vector is made of where an item has several rows: mean, first or last.
    layer: which of the layers of an item. normalize_ids: see `store.normalizing`.
    trust_digest: believe the digest that the file states.
    """

    id_column: str | None = None
    vector_columns: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    by_position: bool = False
    transpose: bool = False
    packed_bits: bool = False
    pool: str | None = None
    layer: int | None = None
    normalize_ids: str | None = None
    trust_digest: bool = False

    @property
    def named(self) -> dict[str, str]:
        """The columns that the user names, by role."""
        given = {"id": self.id_column, "label": self.label_column, "split": self.split_column}
        return {role: name for role, name in given.items() if name is not None}

    def target(self, name: str) -> str:
        """The column that a user means by `name`: the labels, where it is the column that they are read from.

        >>> Reading(label_column="species").target("species"), Reading().target("species")
        ('label', 'species')
        """
        return "label" if name == self.label_column else name

    @property
    def beside(self) -> Reading:
        """The part that also holds for files beside those that a command compares, such as a file of anchors."""
        return Reading(normalize_ids=self.normalize_ids, trust_digest=self.trust_digest)

    @property
    def given(self) -> str:
        """The first option that a user gave, as written on the command line; "" for none."""
        names = (field.name for field in fields(self) if field.name != "trust_digest")
        return next((f"--{name.replace('_', '-')}" for name in names if getattr(self, name) != getattr(PLAIN, name)), "")


PLAIN = Reading()  # the rule alone
KEYS = {"id": "id_column", "vectors": "vector_columns", "label": "label_column", "split": "split_column"}  # in a URI
KEYS |= {field.name.replace("_", "-"): field.name for field in fields(Reading) if field.name not in KEYS.values()}
POOLS = ("mean", "first", "last")


def reading_of(uri: str, reading: Reading) -> Reading:
    """`reading` with what the query of a URI says instead: `a.parquet::embedding?id=doc_id&by-position`.

    Raises UsageError for an unknown key or value.
    """
    given: dict[str, str | bool | int] = {}
    for key, value in query_of(uri).items():
        name = KEYS.get(key)
        if name is None:
            raise UsageError(f"{key!r} is not a key of a query", f"Write one of {', '.join(KEYS)}.", place=printable(uri))
        given[name] = _value(uri, name, key, value)
    return replace(reading, **given)  # type: ignore[arg-type]


def _value(uri: str, name: str, key: str, value: str) -> str | bool | int:
    if isinstance(getattr(PLAIN, name), bool):
        if value not in ("", "yes", "no"):
            raise UsageError(f"{key}={value} is neither yes nor no", f"Write {key}, or leave it out.", place=printable(uri))
        return value != "no"
    if name == "layer":
        if not value.isdecimal() or len(value) > 6:
            raise UsageError(f"{key}={value} is not a number", "Count the layers from 0.", place=printable(uri))
        return int(value)
    if name == "pool" and value not in POOLS:
        raise UsageError(f"{key}={value} is unknown", f"Write one of {', '.join(POOLS)}.", place=printable(uri))
    return value
