"""Plans of HDF5 files: which bytes are the embedding and its columns. The child that surveys a file sends one to its parent.

The parent does not trust the child, which a hostile file may control: `from_answer` checks types, `chunks` places and sizes.
"""

from __future__ import annotations

from typing import Any, TypeVar

from relrep_cli.base.lazy_dataclasses import dataclass

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class DatasetPlan:
    """One dataset: its name, shape and kind, and where and how its data lie.

    kind: NumPy's name of the stored type, or "text" for text of variable length. padding: of fixed-length text. The data are
    in one piece at `offset`, or are `raw`, or come in chunks: their shape, their filters, and a table with one row for each
    chunk (coordinates, filter mask, address, stored size). A dataset that was only described has none of the three.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    padding: str = ""
    offset: int | None = None
    raw: bytes | None = None
    chunk: tuple[int, ...] = ()
    filters: tuple[str, ...] = ()
    table: bytes | None = None


@dataclass(frozen=True)
class CategoricalPlan:
    """A column that holds the place of each value in a list of categories."""

    codes: DatasetPlan
    categories: DatasetPlan


ColumnPlan = DatasetPlan | CategoricalPlan
Columns = tuple[tuple[str, ColumnPlan], ...]


@dataclass(frozen=True)
class FramePlan:
    """A data frame of n rows: its index, and its columns by name."""

    ids: DatasetPlan | None = None
    obs: Columns = ()


@dataclass(frozen=True)
class SiblingsPlan:
    """The datasets and attributes beside a matrix that have a value for each of its rows.

    columns: datasets by name; `wanted` names those that must be usable. letters: texts as MATLAB keeps
    them, see `matlab_texts`. attributes: values of attributes of the matrix. unread: names of what may hold ids
    and is of a kind that is not read.
    """

    columns: tuple[tuple[str, DatasetPlan], ...] = ()
    wanted: tuple[str, ...] = ()
    letters: tuple[tuple[str, tuple[DatasetPlan, ...]], ...] = ()
    attributes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class EmbeddingPlan:
    """A matrix and what belongs to its rows and columns.

    transposed: the file stores dimensions by items. is_array: it is no collection, whose format says what
    rows are. var: columns that describe the columns of x. uns: other arrays.
    scaling, scaling_attributes: what integers of x may stand for; see `store.scaling`.
    """

    x: DatasetPlan
    transposed: bool = False
    is_array: bool = False
    ids: DatasetPlan | None = None
    obs: Columns = ()
    siblings: SiblingsPlan = SiblingsPlan()
    var: Columns = ()
    uns: tuple[tuple[str, DatasetPlan], ...] = ()
    attrs: tuple[tuple[str, str | int], ...] = ()
    notes: tuple[str, ...] = ()
    scaling: tuple[tuple[str, DatasetPlan], ...] = ()
    scaling_attributes: tuple[tuple[str, tuple[float, ...]], ...] = ()


@dataclass(frozen=True)
class ItemsPlan:
    """A file with a dataset for each item, and its id as name or attribute.

    first: the first dataset; others of its shape that lie in one piece are told by their place alone, since there may be a
    million. places: an offset for each item as "<i8", -1 for those that have a plan of their own in `plans`.
    """

    first: DatasetPlan
    names: tuple[str, ...]
    places: bytes
    plans: tuple[DatasetPlan, ...]
    from_attribute: bool


@dataclass(frozen=True)
class PointersPlan:
    """scikit-bio's proteins: rows, letters, and where those of each protein end."""

    embedding: DatasetPlan
    id: DatasetPlan
    idptr: DatasetPlan
    embedding_ptr: DatasetPlan | None


Plan = EmbeddingPlan | ItemsPlan | PointersPlan
KINDS: dict[str, type[Plan]] = {"embedding": EmbeddingPlan, "items": ItemsPlan, "pointers": PointersPlan}


def to_answer(plan: Plan) -> dict[str, Any]:
    """A plan as JSON values and bytes, for `child.run`."""
    kind = next(name for name, known in KINDS.items() if isinstance(plan, known))
    return {"kind": kind, **_plain(plan)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return {name: _plain(part) for name, part in vars(value).items()} if hasattr(value, "__dataclass_fields__") else value


def from_answer(answer: dict[str, Any]) -> Plan:
    """The plan that `to_answer` wrote. Raises ValueError, TypeError or KeyError for anything else."""
    if answer["kind"] == "items":
        return ItemsPlan(
            _dataset(answer["first"]),
            tuple(map(_text, answer["names"])),
            _of(bytes, answer["places"]),
            tuple(map(_dataset, answer["plans"])),
            _of(bool, answer["from_attribute"]),
        )
    if answer["kind"] == "pointers":
        embedding, letters, ends = (_dataset(answer[name]) for name in ("embedding", "id", "idptr"))
        rows = answer["embedding_ptr"]
        return PointersPlan(embedding, letters, ends, None if rows is None else _dataset(rows))
    return EmbeddingPlan(
        x=_dataset(answer["x"]),
        transposed=_of(bool, answer["transposed"]),
        is_array=_of(bool, answer["is_array"]),
        ids=None if answer["ids"] is None else _dataset(answer["ids"]),
        obs=_columns(answer["obs"]),
        siblings=_siblings(answer["siblings"]),
        var=_columns(answer["var"]),
        uns=tuple((_text(name), _dataset(part)) for name, part in answer["uns"]),
        attrs=tuple((_text(name), value if isinstance(value, str) else _of(int, value)) for name, value in answer["attrs"]),
        notes=tuple(map(_text, answer["notes"])),
        scaling=tuple((_text(name), _dataset(part)) for name, part in answer["scaling"]),
        scaling_attributes=tuple((_text(name), tuple(map(float, values))) for name, values in answer["scaling_attributes"]),
    )


def _siblings(part: dict[str, Any]) -> SiblingsPlan:
    return SiblingsPlan(
        columns=tuple((_text(name), _dataset(one)) for name, one in part["columns"]),
        wanted=tuple(map(_text, part["wanted"])),
        letters=tuple((_text(name), tuple(map(_dataset, plans))) for name, plans in part["letters"]),
        attributes=tuple((_text(name), tuple(map(_text, values))) for name, values in part["attributes"]),
        unread=tuple(map(_text, part["unread"])),
    )


def _dataset(part: dict[str, Any]) -> DatasetPlan:
    return DatasetPlan(
        name=_text(part["name"]),
        shape=tuple(map(_size, part["shape"])),
        kind=_text(part["kind"]),
        padding=_text(part["padding"]),
        offset=None if part["offset"] is None else _of(int, part["offset"]),
        raw=None if part["raw"] is None else _of(bytes, part["raw"]),
        chunk=tuple(map(_size, part["chunk"])),
        filters=tuple(map(_text, part["filters"])),
        table=None if part["table"] is None else _of(bytes, part["table"]),
    )


def _columns(parts: list[Any]) -> Columns:
    return tuple((_text(name), _column(part)) for name, part in parts)


def _column(part: dict[str, Any]) -> ColumnPlan:
    return CategoricalPlan(_dataset(part["codes"]), _dataset(part["categories"])) if "codes" in part else _dataset(part)


def _size(value: Any) -> int:
    if _of(int, value) < 0:
        raise ValueError(f"{value} is not a size")
    return int(value)


def _text(value: Any) -> str:
    return _of(str, value)


def _of(kind: type[Kind], value: Any) -> Kind:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    return value
