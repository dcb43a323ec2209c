"""What lies beside a matrix in an HDF5 file, and which way round it is. Runs in the child process only (see `child`)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from relrep_cli.store.column_names import STRONG, is_id_name, role
from relrep_cli.store.guards import (
    Refused,
    Unsupported,
    below,
    dataset,
    described,
    members,
    numbers_attribute,
    step,
)
from relrep_cli.store.hdf5_plans import DatasetPlan
from relrep_cli.store.libhdf5 import h5a, h5d, h5g, h5l
from relrep_cli.store.reading import Reading
from relrep_cli.store.scaling import NAMES, is_scaling, is_scaling_shape

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


def siblings(
    group: Any, own: bytes, shape: Sequence[int], n: int, where: str, reading: Reading
) -> tuple[tuple[str, DatasetPlan], ...]:
    """Datasets beside the matrix `own` that have a value for each of its n rows: those that are named, and a few others."""
    found: list[tuple[str, DatasetPlan]] = []
    wanted = list(reading.named.values())
    others = 0
    for name in members(group):
        text = name.decode(errors="replace")
        asked = text in wanted or role(text) is not None or is_id_name(text)
        if name == own or (not asked and others >= SIBLINGS):
            continue
        needed = text in wanted or role(text) is not None
        item, here = (step if needed else step_or_none)(group, name, where), below(where, name)
        if not isinstance(item, h5d.DatasetID) and not (needed and role(text) == "id"):
            continue
        others += not asked
        try:
            plan = described(item, here)
            fits = plan.shape in ((n,), (n, 1))
            if not fits and text.strip().lower() in STRONG:
                raise Refused(*misfit_of(here, plan.shape, n, shape))
            if fits and (asked or plan.kind == "text" or plan.kind[1] in "iuS"):
                found.append((text, dataset(item, here)))
        except Unsupported:
            if needed:
                raise
        except Refused:
            if asked:
                raise
    return tuple(found)


def scaling_of(
    group: Any, item: Any, shape: Sequence[int], where: str, transposed: bool
) -> tuple[tuple[tuple[str, DatasetPlan], ...], tuple[tuple[str, tuple[float, ...]], ...]]:
    """Datasets beside a matrix of integers, and attributes of it, that say what these stand for."""
    n, d = shape[:: -1 if transposed else 1]
    found = []
    for name in members(group) if isinstance(group, h5g.GroupID) else []:
        text = name.decode(errors="replace")
        part = step_or_none(group, name, where) if is_scaling(text) else None
        if isinstance(part, h5d.DatasetID):
            plan = described(part, below(where, name), single=True)
            if plan.kind[1] in "fiu" and is_scaling_shape(plan.shape, n, d):
                found.append((text, dataset(part, below(where, name), single=True)))
    numbers = [(name, numbers_attribute(item, name)) for name in sorted(NAMES)]
    return tuple(found), tuple((name, values) for name, values in numbers if values)


def step_or_none(group: Any, name: bytes, where: str) -> Any:
    """The object behind a link; None where the link leads elsewhere."""
    return step(group, name, where) if group.links.get_info(name).type == h5l.TYPE_HARD else None


def misfit_of(where: str, ids: Sequence[int], n: int, shape: Sequence[int]) -> tuple[str, str, str]:
    """The fields of the error for ids of the shape `ids` beside n rows of a matrix."""
    finding = f"its shape is {tuple(ids)}, but there are {n} rows"
    if prod(ids) in shape[1:]:
        return where, f"{finding}: the matrix of shape {tuple(shape)} looks transposed", "Write --transpose to read it so."
    return where, finding, "Give every item one id."
