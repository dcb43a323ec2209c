"""The columns beside a matrix in an HDF5 file, and its orientation. Runs in the child process only (see `child`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from relrep_cli.store.arrays import matrix_shape
from relrep_cli.store.column_names import is_id_name, role
from relrep_cli.store.guards import Refused, Unsupported, below, dataset, described, has, members, step
from relrep_cli.store.hdf5_attributes import numbers_attribute, texts_attribute
from relrep_cli.store.hdf5_plans import DatasetPlan, SiblingsPlan
from relrep_cli.store.libhdf5 import h5a, h5d, h5g, h5l
from relrep_cli.store.matlab_texts import letters_of
from relrep_cli.store.reading import Reading
from relrep_cli.store.scaling import NAMES, is_complete, is_scaling, is_scaling_shape

ATTRIBUTES = 64  # of an object whose attributes are looked at
MOST_TEXTS = 4096  # of an attribute
SIBLINGS = 16  # datasets beside a matrix that are looked at though no name or option asks for them


def orientation(item: Any, where: str, reading: Reading) -> tuple[bool, tuple[str, ...]]:
    """Whether the axes of a matrix are swapped, since MATLAB and R write columns first, and what to tell the user of it."""
    known = {"MATLAB_class": "MATLAB", "rhdf5-NA.OK": "R"}
    writer = next((program for name, program in known.items() if h5a.exists(item, name.encode())), None)
    if writer is None:
        return reading.transpose, ()
    return True, (f"{where} was written by {writer}, columns first; it is transposed.",)


def pandas_index(group: Any, n: int, where: str) -> DatasetPlan | None:
    """The index of a data frame that pandas' to_hdf wrote in its fixed form."""
    plan = dataset(step(group, b"axis1", where), below(where, b"axis1"))
    return plan if plan.shape == (n,) else None


def siblings(group: Any, own: bytes, item: Any, n: int, where: str, reading: Reading) -> SiblingsPlan:
    """The columns beside the matrix `own` with a value for each of its n rows: those that are named, and a few others."""
    columns: list[tuple[str, DatasetPlan]] = []
    letters: list[tuple[str, tuple[DatasetPlan, ...]]] = []
    unread, misfits = [], []
    others = 0
    for name in members(group):
        text, here = name.decode(errors="replace"), below(where, name)
        needed = text in reading.named.values() or role(text) is not None
        asked = needed or is_id_name(text)
        part = None if name == own else (step if needed else step_or_none)(group, name, where)
        if part is not None and role(text) == "id":
            described(part, here)  # a group of this name is refused
        if not isinstance(part, h5d.DatasetID) or (not asked and others >= SIBLINGS):
            continue
        others += not asked
        if texts := letters_of(part, here, n):
            letters.append((text, texts))
            continue
        try:
            plan = described(part, here)
            if plan.shape in ((n,), (n, 1)):
                if asked or plan.kind == "text" or plan.kind[1] in "iuS":
                    columns.append((text, dataset(part, here)))
            elif role(text) == "id" or (is_id_name(text) and plan.kind[0] in "t|" and plan.shape in _other_axes(item, n)):
                misfits.append((text, here, plan.shape))
        except Unsupported:
            if needed:
                raise
            unread += [text] if asked and n in part.shape else []
        except Refused:
            if asked:
                raise
    _refuse_misfit(misfits, columns, item, n, reading)
    if not any(is_id_name(name) for name, _ in columns) and not has(group, b"obs"):
        columns += _in_groups(group, n, where)
    known = tuple(name for name, _ in columns if name in reading.named.values() or role(name))
    return SiblingsPlan(tuple(columns), known, tuple(letters), _id_attributes([item, group], n), tuple(unread))


def with_outer_columns(beside: SiblingsPlan, outer: Sequence[tuple[Any, str]], n: int, reading: Reading) -> SiblingsPlan:
    """Ids, labels and splits of n rows in the groups around that of a matrix: a file of layers has one list for all of them.

    outer: the groups with their names, the root first. The nearest group with ids decides. Columns of another length are those
    of something else.
    """
    for group, where in reversed(outer):
        columns: list[tuple[str, DatasetPlan]] = []
        for name in members(group)[: 4 * SIBLINGS]:
            text = name.decode(errors="replace")
            here, wanted = below(where, name), text in reading.named.values() or role(text) or is_id_name(text)
            part = step_or_none(group, name, where) if wanted else None
            if isinstance(part, h5d.DatasetID) and (plan := described_or_none(part, here)) and plan.shape in ((n,), (n, 1)):
                columns.append((text, dataset(part, here)))
        if any(is_id_name(text) or text == reading.id_column for text, _ in columns):
            known = {text for text, _ in beside.columns}
            more = [(text, plan) for text, plan in columns if text not in known]
            return replace(beside, columns=(*beside.columns, *more), wanted=(*beside.wanted, *(text for text, _ in more)))
    return beside


def described_or_none(part: Any, where: str) -> DatasetPlan | None:
    """The plan of a dataset, None for one of a kind that is not read."""
    try:
        return described(part, where)
    except Refused:
        return None


def _other_axes(item: Any, n: int) -> list[tuple[int, ...]]:
    """The shapes of ids along an axis of a matrix whose length is not n."""
    lengths = [length for length in item.shape if length not in (1, n)]
    return [shape for length in lengths for shape in ((length,), (length, 1))]


def _refuse_misfit(
    misfits: list[tuple[str, str, tuple[int, ...]]], columns: list[tuple[str, DatasetPlan]], item: Any, n: int, reading: Reading
) -> None:
    """Raise Refused where ids have another number than the rows; by another name than `id` only where nothing else fits."""
    others = [] if any(is_id_name(name) for name, _ in columns) else misfits
    for _, where, shape in [misfit for misfit in misfits if role(misfit[0])] or others:
        if not reading.by_position:
            raise Refused(*misfit_of(where, shape, n, matrix_shape(item.shape)))


def _id_attributes(items: Sequence[Any], n: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Attributes of a matrix, or of its group, that are named like ids, with a value for each of its n rows."""
    attributes: dict[str, tuple[str, ...]] = {}
    for item in items if n <= MOST_TEXTS else ():
        count = h5a.get_num_attrs(item)  # opening one by its number takes as long as there are many
        names = [h5a.open(item, index=i).name for i in range(count)] if count <= ATTRIBUTES else []
        for name in names:
            text = name.decode(errors="replace")
            if text not in attributes and is_id_name(text) and (values := texts_attribute(item, name, n)):
                attributes[text] = values
    return tuple(attributes.items())


def _in_groups(group: Any, n: int, where: str) -> list[tuple[str, DatasetPlan]]:
    """Texts (n,) in groups beside a matrix, such as meta/image_names."""
    columns: list[tuple[str, DatasetPlan]] = []
    for name in members(group)[: 4 * SIBLINGS]:
        inner = step_or_none(group, name, where)
        if not isinstance(inner, h5g.GroupID) or name.startswith(b"#"):
            continue
        for part in members(inner)[:SIBLINGS]:
            item, here = step_or_none(inner, part, where), below(below(where, name), part)
            try:
                plan = described(item, here)
                if plan.shape in ((n,), (n, 1)) and plan.kind[0] in "t|" and plan.kind != "|b1" and len(columns) < SIBLINGS:
                    columns.append(((name + b"/" + part).decode(errors="replace"), dataset(item, here)))
            except Refused:
                continue
    return columns


def scaling_of(
    group: Any, item: Any, shape: Sequence[int], where: str, transposed: bool
) -> tuple[tuple[tuple[str, DatasetPlan], ...], tuple[tuple[str, tuple[float, ...]], ...]]:
    """Datasets beside a matrix of integers, and attributes of it, that say what these stand for."""
    n, d = shape[:: -1 if transposed else 1]
    scalings = []
    for name in members(group) if isinstance(group, h5g.GroupID) else []:
        text = name.decode(errors="replace")
        part = step_or_none(group, name, where) if is_scaling(text) else None
        if isinstance(part, h5d.DatasetID):
            plan = described(part, below(where, name), single=True)
            if plan.kind[1] in "fiu" and is_scaling_shape(plan.shape, n, d):
                scalings.append((text, dataset(part, below(where, name), single=True)))
    numbers = [(name, values) for name in sorted(NAMES) if (values := numbers_attribute(item, name))]
    known = is_complete(name for name, _ in (*scalings, *numbers))
    return (tuple(scalings), tuple(numbers)) if known else ((), ())


def step_or_none(group: Any, name: bytes, where: str) -> Any:
    """The object behind a link; None where the link leads elsewhere."""
    return step(group, name, where) if group.links.get_info(name).type == h5l.TYPE_HARD else None


def misfit_of(where: str, ids: Sequence[int], n: int, shape: Sequence[int]) -> tuple[str, str, str]:
    """The fields of the error for ids of the shape `ids` beside n rows of a matrix."""
    finding = f"its shape is {tuple(ids)}, but there are {n} rows"
    if prod(ids) in shape[1:]:
        finding += f": the matrix of shape {tuple(shape)} looks transposed"
        return where, finding, "Write --transpose to read it so, or --by-position."
    return where, finding, "Give every item one id."
