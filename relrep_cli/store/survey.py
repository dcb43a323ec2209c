"""Which embedding a member of an HDF5 file names, and what belongs to it. Runs in the child process only (see `child`).

Nothing is walked but what the answer needs; a list of what a file holds is bounded. The answer is a plan of `hdf5_plans`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from typing import Any

from relrep_cli.base.errors import printable
from relrep_cli.store.arrays import matrix_shape, without_single_axes
from relrep_cli.store.child import confine
from relrep_cli.store.column_names import is_id_name
from relrep_cli.store.dataframes import frame
from relrep_cli.store.files import AGAIN
from relrep_cli.store.guards import Refused, Unsupported, below, dataset, described, has, members, step
from relrep_cli.store.hdf5_attributes import attribute
from relrep_cli.store.hdf5_plans import Columns, DatasetPlan, EmbeddingPlan, Plan, to_answer
from relrep_cli.store.hdf5_siblings import orientation, pandas_index, scaling_of, siblings, with_outer_columns
from relrep_cli.store.libhdf5 import h5d, h5f, h5g, h5i, h5l, h5p, h5py
from relrep_cli.store.limits import DEPTH, MEMBERS, STATISTIC
from relrep_cli.store.proteins import plan_of
from relrep_cli.store.reading import Reading

FORMAT, VERSION = "HDF5::RelRep", 1
KNOWN = (
    "format",
    "format-version",
    "generated-by",
    "kind",
    "space",
    "source-space",
    "row-ids",
    "digest",
    "checksum",
    "steps",
)  # attributes of our own files
MATRICES = (b"X", b"x", b"embeddings", b"embedding", b"features", b"vectors", b"representations", b"latents", b"emb")
ANNOTATIONS = {b"obs", b"var", b"uns", b"obsp", b"varp", b"varm"}  # where AnnData keeps what is no embedding
UNS = (b"center", b"scale", b"whiten", b"rbf-width", b"mahalanobis-root", b"column-mean", b"column-scale", b"shard")
MIXTURES = (b"mixture-items", b"mixture-weights", b"mixture-starts")  # the first of them is text
MEMORY = 32 << 20  # bytes for libhdf5 and us, beside a part of the file's size for the tables of its chunks


class Elsewhere(Refused):
    """There is no embedding at a place; `members` are the names of those elsewhere in the file."""

    def __init__(self, item: Any, where: str, finding: str = "no embedding here") -> None:
        refused: list[str] = []
        self.members = list(embeddings(h5g.open(h5i.get_file_id(item), b"/"), refused))
        super().__init__(where, finding if self.members or not refused else f"{finding} ({refused[0]})", "")


def survey(path: str, member: str | None, reading: dict[str, Any], identity: list[int], seconds: float) -> dict[str, Any]:
    """{"plan": the embedding at `member`} or {"error": [where, finding, remedy]}, with "found": names of embeddings elsewhere.

    identity: device, inode and size of the file.
    """
    return guarded(path, identity, seconds, lambda root: to_answer(embedding(root, member, Reading(**reading))))


def contents(path: str, identity: list[int], seconds: float) -> dict[str, Any]:
    """{"plan": names of the embeddings in the file}, or {"error": [where, finding, remedy]}."""
    return guarded(path, identity, seconds, lambda root: list(embeddings(root, [])))


def guarded(path: str, identity: list[int], seconds: float, look: Callable[[Any], Any]) -> dict[str, Any]:
    """Run `look` on the root group, while libhdf5 can open nothing but this file."""
    confine(seconds, files=1, memory=MEMORY + identity[2] // 4)
    try:
        root, shift = opened(path, identity)
        return {"plan": look(root), "shift": shift}
    except Elsewhere as refusal:
        return {"error": refusal.fields, "found": refusal.members}
    except Refused as refusal:
        return {"error": refusal.fields}
    except MemoryError:
        return {"error": ["", "its structure asks for more memory than an honest file needs; it is damaged or hostile", AGAIN]}
    except Exception as error:  # h5py raises OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, …
        return {"error": ["", f"libhdf5 cannot read its structure ({printable(str(error))}); the file is damaged", AGAIN]}


def opened(path: str, identity: list[int]) -> tuple[Any, int]:
    """The root group, and what to add to chunk addresses. Inputs are not locked: NFS and Lustre refuse locks (h5py#1101)."""
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fapl_sec2()
    access.set_file_locking(False, True)
    file = h5f.open(os.fsencode(path), h5f.ACC_RDONLY, access)
    status = os.fstat(file.get_vfd_handle())
    if [status.st_dev, status.st_ino, status.st_size] != identity:
        raise Refused("/", "the file changed while it was opened", "Try again when nothing writes to it.")
    # Before 1.14.4 chunk addresses left out the user block (hdf5#3003); offsets of contiguous data never did.
    shift = file.get_create_plist().get_userblock() if h5py.version.hdf5_version_tuple < (1, 14, 4) else 0
    return h5g.open(file, b"/"), shift


# --- one embedding ---


def embedding(root: Any, member: str | None, reading: Reading) -> Plan:
    """The plan of what `member` names: a collection, a dataset, or a group with one matrix."""
    parts = [part.encode(errors="surrogatepass") for part in (member or "").split("/") if part not in ("", ".")]
    if len(parts) == 1 and not has(root, parts[0]) and has(root, b"obsm") and has(step(root, b"obsm", "/"), parts[0]):
        parts = [b"obsm", *parts]  # scanpy's name of it
    trail, where = [root], "/"
    for part in parts:
        if not has(trail[-1], part):
            raise Elsewhere(root, below(where, part))
        trail.append(step(trail[-1], part, where))
        where = below(where, part)
    if isinstance(trail[-1], h5d.DatasetID):
        return dataset_embedding(trail, parts, reading)
    if is_collection(trail[-1]):
        return collection(trail[-1], where)
    if not parts and not any(has(root, name) for name in MATRICES if name != b"embedding") and (plan := plan_of(root, reading)):
        return plan
    return group_embedding(trail, parts, where, reading)


def is_collection(group: Any) -> bool:
    return has(group, b"X") and has(group, b"obs")


def collection(group: Any, where: str) -> EmbeddingPlan:
    """A relrep collection or an AnnData element: X with the frames obs and var."""
    strict = attribute(group, "format", where) == FORMAT
    attrs = {name: value for name in KNOWN if strict and (value := attribute(group, name, where)) is not None}
    version = attrs.get("format-version", VERSION)
    if strict and version != VERSION:
        raise Refused(where, f"made by a newer relrep (format {version}); this one reads {VERSION}", "Update relrep.")
    x = matrix(step(group, b"X", where), below(where, b"X"))
    n, d = x.shape
    rows = frame(step(group, b"obs", where), n, below(where, b"obs"))
    if strict and rows.ids is None:
        raise Refused(
            below(where, b"obs"), "it has no index of ids, which the format requires", "Write it again with relrep embed."
        )
    var, uns = columns_of_x(group, d, where, strict), extras(group, where) if strict else ()
    return EmbeddingPlan(x, ids=rows.ids, obs=rows.obs, var=var, uns=uns, attrs=tuple(attrs.items()))


def matrix(item: Any, where: str) -> DatasetPlan:
    """The plan of an (n, d) dataset of numbers."""
    if isinstance(item, h5g.GroupID):
        kind = attribute(item, "encoding-type", where)
        what = f"a {kind}, and relrep reads dense arrays" if kind else "a group, not a dataset"
        raise Elsewhere(item, where, f"it is {what}")
    check_matrix(described(item, where), where)
    return dataset(item, where)


def check_matrix(plan: DatasetPlan, where: str) -> None:
    """Raise Refused unless a described dataset has two axes of numbers."""
    shape = plan.shape
    if plan.kind[1] not in "fiu":
        raise Refused(where, f"it holds {'truth values' if plan.kind == '|b1' else 'text'}, not numbers", "Write float32.")
    if len(matrix_shape(shape)) != 2:
        raise Refused(where, f"its axes are {len(shape)}; an embedding has two, items and dimensions", "Reshape it.")
    if not all(shape):
        raise Refused(where, f"it holds no numbers, its shape is {shape}", "Name an array that holds some.")


def columns_of_x(group: Any, d: int, where: str, strict: bool) -> Columns:
    """The frame `var`, its index as a column "id"; in foreign files empty when it is missing or of an unknown kind."""
    if not has(group, b"var"):
        return ()
    try:
        var = frame(step(group, b"var", where), d, below(where, b"var"))
    except Unsupported:
        if strict:
            raise
        return ()
    return (*([("id", var.ids)] if var.ids else []), *var.obs)


def extras(group: Any, where: str) -> tuple[tuple[str, DatasetPlan], ...]:
    """Known arrays in `uns`."""
    if not has(group, b"uns"):
        return ()
    uns, inside = step(group, b"uns", where), below(where, b"uns")
    known = [name for name in (*UNS, *MIXTURES) if has(uns, name)]
    plans = {name.decode(): dataset(step(uns, name, inside), below(inside, name)) for name in known}
    for name, plan in plans.items():
        kind = "S" if name == MIXTURES[0].decode() else "f"
        if plan.kind[1] != kind or prod(plan.shape) > STATISTIC:
            what = "text" if kind == "S" else "floats"
            raise Refused(
                plan.name, f"it is not a plain array of {what}, at most {STATISTIC} of them; the file is damaged", AGAIN
            )
    return tuple(plans.items())


def dataset_embedding(trail: list[Any], parts: list[bytes], reading: Reading) -> EmbeddingPlan:
    """A dataset of any HDF5 file, with the datasets beside it, or the rows of the nearest `obs` around it."""
    where = "/" + "/".join(part.decode(errors="backslashreplace") for part in parts)
    group, holder = trail[-2], where.rsplit("/", 1)[0] or "/"
    if parts[-1] == b"X" and is_collection(group):
        return collection(group, holder)
    x = matrix(trail[-1], where)
    transposed, notes = orientation(trail[-1], where, reading)
    shape = matrix_shape(x.shape)
    n = shape[1 if transposed else 0]
    beside = siblings(group, parts[-1], trail[-1], n, holder, reading)
    ids: DatasetPlan | None = None
    obs: Columns = ()
    if has(group, b"axis1") and attribute(group, "pandas_type", holder) == "frame":
        ids = pandas_index(group, n, holder)
    around = [i for i in range(len(trail) - 1) if has(trail[i], b"obs")]
    named = any(is_id_name(name) for name, _ in (*beside.columns, *beside.letters, *beside.attributes))
    if ids is None and not named and around and not ANNOTATIONS & set(parts[around[-1] :]):
        outer = "/" + "/".join(part.decode(errors="backslashreplace") for part in parts[: around[-1]])
        rows = frame(step(trail[around[-1]], b"obs", outer), n, below(outer, b"obs"))
        ids, obs = rows.ids, rows.obs
    notes = (*without_single_axes(x.shape), *notes)
    scaling, attributes = scaling_of(group, trail[-1], shape, holder, transposed) if x.kind[1] in "iu" else ((), ())
    beside = replace(beside, columns=tuple((name, part) for name, part in beside.columns if name not in dict(scaling)))
    if ids is None and not named:
        names = ["/" + "/".join(part.decode(errors="backslashreplace") for part in parts[:i]) for i in range(len(trail) - 2)]
        beside = with_outer_columns(beside, list(zip(trail, names, strict=False)), n, reading)
    return EmbeddingPlan(x, transposed, True, ids, obs, beside, notes=notes, scaling=scaling, scaling_attributes=attributes)


def group_embedding(trail: list[Any], parts: list[bytes], where: str, reading: Reading) -> EmbeddingPlan:
    """A group that holds one matrix under a usual name."""
    group = trail[-1]
    usual = [name for name in MATRICES if has(group, name)]
    if has(group, b"block0_values") and attribute(group, "pandas_type", where) == "frame":
        usual = [b"block0_values"]
    if len(usual) > 1:
        usual = [name for name in usual if is_matrix(group, name)]
    if len(usual) != 1:
        raise Elsewhere(group, where)
    return dataset_embedding([*trail, step(group, usual[0], where)], [*parts, usual[0]], reading)


def is_matrix(group: Any, name: bytes) -> bool:
    """Whether `name` is a dataset of numbers with two axes; False for what would be refused."""
    return not matrix_fault(group, name)


def matrix_fault(group: Any, name: bytes) -> str:
    """Why `name` is no dataset of numbers with two axes; "" for one."""
    try:
        check_matrix(described(step(group, name, ""), ""), "")
    except Refused as refusal:
        return refusal.fields[1]
    return ""


# --- all embeddings ---


def embeddings(root: Any, refused: list[str]) -> Iterator[str]:
    """Names of the embeddings below a group: collections, and matrices of real numbers outside of them.

    refused: gets a line for each dataset that is none. Hard links only, each object once, at most DEPTH groups deep and
    MEMBERS objects.
    """
    queue, seen, budget = deque([(root, "/", 0)]), set(), MEMBERS
    while queue:
        group, where, depth = queue.popleft()
        if is_collection(group) and is_matrix(group, b"X"):
            yield where
        for name in members(group)[: max(0, budget)]:
            budget -= 1
            link = group.links.get_info(name)  # not h5o.get_info, which walks the chunks to add up their sizes
            if name in ANNOTATIONS or link.type != h5l.TYPE_HARD or link.u in seen or (name == b"X" and is_collection(group)):
                continue
            seen.add(link.u)
            item = step(group, name, where)
            if isinstance(item, h5g.GroupID) and depth < DEPTH:
                queue.append((item, below(where, name), depth + 1))
            elif isinstance(item, h5d.DatasetID):
                if fault := matrix_fault(group, name):
                    refused += [] if "holds text" in fault else [f"{below(where, name)}: {fault}"]
                else:
                    yield below(where, name)
