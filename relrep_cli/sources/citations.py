"""Graphs whose nodes are the items: citation networks in the form of Cora."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.errors import printable
from relrep_cli.base.registry import Param
from relrep_cli.base.signals import check
from relrep_cli.numerics.spool import spool
from relrep_cli.sources.items import Items, SkipBad, Skipped, bad, digest_of, source, text_column
from relrep_cli.sources.tables import stream

VALID, TEST = 500, 1000  # nodes, as in the split of Yang, Cohen and Salakhutdinov 2016 ("planetoid")
PerClass = Annotated[int, Param("Training nodes of each class; 500 others validate, 1000 test.", minimum=1)]
SplitSeed = Annotated[
    int, Param("Seed of that split; it is not --seed, so that encoders of several seeds share the split.", minimum=0)
]


def _pair(path: Path) -> tuple[Path, Path] | None:
    """The content and the citations that a folder holds, plain or gzipped."""
    if not path.is_dir():
        return None
    names = sorted(os.listdir(path))
    for name in names:
        stem, _, rest = name.partition(".content")
        cites = next((n for n in (f"{stem}.cites", f"{stem}.cites.gz") if n in names), None)
        if rest in ("", ".gz") and ".content" in name and cites:
            return path / name, path / cites
    return None


@source(
    kind="graph",
    fits=lambda path: _pair(path) is not None,
    has_columns=False,
    source="Sen et al. 2008; Yang, Cohen and Salakhutdinov 2016",
)
def citations(path: Path, *, per_class: PerClass = 20, split_seed: SplitSeed = 0, skip_bad: SkipBad = False) -> Items:
    """A citation network as Cora is distributed: a folder with `.content` and `.cites`, plain or .gz.

    Nodes are lines `id words… label`, citations lines `cited citing`; they go both ways, and each counts once. The split is
    drawn by `split_seed`: `per_class` training nodes a class, then 500 to validate and 1000 to test; the rest is `rest`
    (after Yang, Cohen and Salakhutdinov 2016). Raises DataError for a malformed line and for a node that is not there.
    """
    pair = _pair(path)
    if pair is None:
        raise bad(path, "no graph here", "It takes a folder with cora.content and cora.cites, or their .gz.")
    skipped = Skipped(path, skip_bad)
    ids, x, labels = _nodes(pair[0], skipped)
    edges = _edges(pair[1], {name: i for i, name in enumerate(ids)}, skipped)
    skipped.tell(len(ids))
    label = text_column(labels)
    obs = {"label": label, "split": _split(pair[0], label, per_class, split_seed)}
    return Items(x, text_column(ids), digest_of(x, edges), obs, edges)


def _nodes(path: Path, skipped: Skipped) -> tuple[list[bytes], NDArray[np.float32], list[bytes]]:
    """Ids, features (n, d) and labels; counted in a first pass, read in a second."""
    n, d = 0, 0
    for _, line in stream(path):
        n, d = n + 1, d or len(line.split()) - 2
    if d < 1:
        raise bad(path, "its first line is no `id words… label`", "Fetch it again.")
    x = spool((n, d), np.float32)
    ids: list[bytes] = []
    labels: list[bytes] = []
    for number, line in stream(path):
        check()
        cells = line.split()
        try:
            if len(cells) != d + 2:
                raise ValueError(f"it has {len(cells)} cells, the first line {d + 2}")
            x[len(ids)] = np.array(cells[1:-1], "S32").astype(np.float32)
            if not np.isfinite(x[len(ids)]).all():
                raise ValueError("a feature is not finite")
        except ValueError as error:
            skipped.note(f"{path}: line {number}", str(error))
            continue
        ids.append(cells[0])
        labels.append(cells[-1])
    return ids, x[: len(ids)], labels


def _edges(path: Path, row: dict[bytes, int], skipped: Skipped) -> NDArray[np.int64]:
    """(e, 2) row numbers, the smaller first, each pair once, no node with itself."""
    edges: list[tuple[int, int]] = []
    for number, line in stream(path):
        cells = line.split()
        missing = [cell for cell in cells if cell not in row]
        if len(cells) != 2 or missing:
            why = f"there is no node {printable(missing[0])}" if missing else f"it has {len(cells)} cells instead of 2"
            skipped.note(f"{path}: line {number}", why)
        elif cells[0] != cells[1]:
            a, b = sorted((row[cells[0]], row[cells[1]]))
            edges.append((a, b))
    pairs: Any = np.array(edges, np.int64).reshape(-1, 2)
    return np.unique(pairs, axis=0)


def _split(path: Path, label: NDArray[np.bytes_], per_class: int, seed: int) -> NDArray[np.bytes_]:
    """(n,) train, valid, test or rest."""
    order = np.random.default_rng(seed).permutation(len(label))
    classes = np.unique(label)
    train = np.concatenate([order[label[order] == c][:per_class] for c in classes])
    others = order[~np.isin(order, train)]
    if len(others) < 2:
        raise bad(
            path, f"{len(label)} nodes leave none to test with {per_class} a class in training", "Give a smaller --per-class."
        )
    valid, test = min(VALID, len(others) // 3), min(TEST, len(others) - len(others) // 3)
    split = np.full(len(label), b"rest", "S5")
    split[train], split[others[:valid]] = b"train", b"valid"
    split[others[len(others) - test :]] = b"test"
    return split
