"""AnnData dataframes in HDF5 files: ids and columns of n rows. Runs in the child process only (see `child`)."""

from __future__ import annotations

from typing import Any

from relrep_cli.store.column_names import STRONG, role
from relrep_cli.store.files import AGAIN
from relrep_cli.store.guards import Refused, Unsupported, below, dataset, has, members, step
from relrep_cli.store.hdf5_attributes import attribute, names_attribute
from relrep_cli.store.hdf5_plans import CategoricalPlan, ColumnPlan, FramePlan
from relrep_cli.store.libhdf5 import h5g
from relrep_cli.store.limits import MEMBERS


def frame(group: Any, n: int, where: str) -> FramePlan:
    """An AnnData dataframe of n rows."""
    if not isinstance(group, h5g.GroupID):
        raise Unsupported(where, "it is not a group, so it was written by anndata before 0.7", "Rewrite it with a newer one.")
    index = index_name(group, where)
    ids = None
    if has(group, index):
        ids = dataset(step(group, index, where), below(where, index))
        if ids.shape != (n,):
            raise Refused(ids.name, f"its shape is {ids.shape}, but there are {n}; the file is damaged", AGAIN)
    order = {name: i for i, name in enumerate(names_attribute(group, "column-order"))}
    names = sorted((m for m in members(group) if m not in (index, b"__categories", b"id")), key=lambda m: order.get(m, MEMBERS))
    columns = ((name.decode(errors="replace"), column(group, name, n, where)) for name in names)
    return FramePlan(ids, tuple((name, plan) for name, plan in columns if plan is not None))


def index_name(group: Any, where: str) -> bytes:
    """The member that holds the ids: the one that the attribute _index names; without it _index, or one named id."""
    stated = attribute(group, "_index", where)
    if stated is not None or has(group, b"_index"):
        return str(stated or "_index").encode()
    return next((name for name in members(group) if name.decode(errors="replace").lower() in STRONG), b"_index")


def column(group: Any, name: bytes, n: int, where: str) -> ColumnPlan | None:
    """One column of n rows; None when it is of an encoding that relrep does not read."""
    here = below(where, name)
    item = step(group, name, where)
    try:
        if isinstance(item, h5g.GroupID):
            return categorical(item, n, here)
        plan = dataset(item, here)
        if has(group, b"__categories"):  # anndata 0.7
            old = step(group, b"__categories", where)
            if has(old, name):
                return CategoricalPlan(plan, dataset(step(old, name, here), below(here, b"categories")))
    except Unsupported:
        if role(name.decode(errors="replace")):
            raise
        return None
    if plan.shape != (n,):
        raise Refused(here, f"its shape is {plan.shape}, but there are {n} rows; the file is damaged", AGAIN)
    return plan


def categorical(group: Any, n: int, where: str) -> CategoricalPlan | None:
    if not (has(group, b"codes") and has(group, b"categories")):
        return None
    codes, categories = (dataset(step(group, part.encode(), where), f"{where}/{part}") for part in ("codes", "categories"))
    if codes.shape != (n,) or len(categories.shape) != 1:
        what = f"its codes have shape {codes.shape}, but there are {n} rows"
        raise Refused(where, f"{what}; the file is damaged", AGAIN)
    return CategoricalPlan(codes, categories)
