"""Shortest paths from items to anchors through a nearest-neighbour graph.

The nodes of the graph are the training rows and the anchors. Any other item is connected to its nearest nodes. So the
distances of an item do not depend on other test items.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.signals import check
from relrep_cli.neighbors import nearest
from relrep_cli.numerics.blocks import row_blocks, slices
from relrep_cli.numerics.distances import euclidean
from relrep_cli.numerics.spool import spool

AT_ONCE = 4 << 20  # size of the arrays processed at a time
SEARCHED = 1 << 19  # nodes visited in one call of dijkstra, about a second; a call cannot be interrupted


def anchor_paths(train: Iterable[np.ndarray], count: int, anchors: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """Compute the lengths of shortest paths from training rows to anchors. Edges join a node with its k nearest nodes.

    train: blocks of `count` rows in all. anchors: (m, d).

    Returns nodes (u, d), the distinct rows of both; paths (u, m); and parts, the number of connected components before the
    shortest edges between them were added.

    Raises DataError when all rows are the same point.
    """
    from scipy.sparse.csgraph import dijkstra

    nodes, ends = _distinct([train, [anchors]], count + len(anchors), anchors)
    if len(nodes) < 2:
        raise DataError(
            "geodesic: all training rows and anchors are one point, so there is no graph", "Use another similarity."
        )
    graph, parts = joined(_graph(nodes, min(k, len(nodes) - 1)), nodes)
    paths = spool((len(nodes), len(anchors)), anchors.dtype)
    for some in slices(len(ends), max(1, SEARCHED // len(nodes))):
        paths[:, some] = dijkstra(graph, directed=False, indices=ends[some]).T
    return {"nodes": nodes, "paths": paths, "parts": np.array([float(parts)])}


def hang(x: np.ndarray, nodes: np.ndarray, paths: np.ndarray, k: int) -> np.ndarray:
    """Compute path lengths (n, m) from items x (n, d) to the anchors, through the best of the k nearest nodes of each item."""
    k = min(k, len(nodes))
    near = nearest(x, nodes, k, by="euclidean").rows
    out = np.empty((len(x), paths.shape[1]), x.dtype)
    for rows in slices(len(x), max(1, AT_ONCE // (k * max(x.shape[1], paths.shape[1])))):
        first = _lengths(x[rows], nodes[near[rows]])
        out[rows] = (first[:, :, None] + paths[near[rows]]).min(1)
    return out


def _lengths(q: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(b, k) float64 Euclidean distances of q (b, d) and others (b, k, d), scaled so that no square over- or underflows."""
    apart = others.astype(np.float64) - q[:, None, :]
    peak = np.abs(apart).max(2)
    scaled = apart / np.where(peak == 0, 1, peak)[:, :, None]
    return np.sqrt(np.einsum("bkd,bkd->bk", scaled, scaled)) * peak


def _distinct(sources: Iterable[Iterable[np.ndarray]], room: int, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows in order of appearance, and (m,) the places of the anchors, which are the last rows.

    More than k copies of a row would have only each other as neighbours, and be disconnected from the rest.
    """
    seen: dict[bytes, int] = {}
    nodes, places = spool((room, anchors.shape[1]), anchors.dtype), []
    for block in chain.from_iterable(sources):
        check()
        for row in np.ascontiguousarray(block) + 0:  # -0 is 0
            key = hashlib.blake2b(row.data, digest_size=16).digest()
            if key not in seen:
                nodes[len(seen)] = row
                seen[key] = len(seen)
            places.append(seen[key])
    return nodes[: len(seen)], np.array(places[-len(anchors) :])


def _graph(nodes: np.ndarray, k: int) -> Any:
    """(u, u) sparse matrix with the lengths of the edges from each node to its k nearest nodes."""
    from scipy.sparse import csr_matrix

    near = nearest(nodes, nodes, k, by="euclidean", exclude_self=True).rows
    lengths = np.empty(near.shape)
    for rows in slices(len(nodes), max(1, AT_ONCE // (k * nodes.shape[1]))):
        lengths[rows] = _lengths(nodes[rows], nodes[near[rows]])
    starts = np.arange(0, near.size + 1, k)
    return csr_matrix((lengths.ravel(), near.ravel(), starts), shape=(len(nodes), len(nodes)))


def joined(
    graph: Any, nodes: np.ndarray, weigh: Callable[[np.ndarray], np.ndarray] = lambda lengths: lengths
) -> tuple[Any, int]:
    """Connect a graph: add the shortest edge out of every component but the largest, until there is one component.

    graph: (u, u) sparse. nodes: (u, d). weigh: maps the lengths of the new edges to their values in the graph.

    Returns the connected graph and the original number of components.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count, part = connected_components(graph, directed=False)
    parts = count
    while count > 1:
        start, end = _ways_out(nodes, part)
        lengths = _lengths(nodes[start], nodes[end][:, None, :])[:, 0]
        graph = graph + coo_matrix((weigh(lengths), (start, end)), shape=graph.shape).tocsr()
        count, part = connected_components(graph, directed=False)
    return graph, parts


def _ways_out(nodes: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each component but the largest, the ends of the shortest edge to another component. Repeated edges come once."""
    outer = np.flatnonzero(part != np.bincount(part).argmax())
    best, end = np.full(len(outer), np.inf), np.zeros(len(outer), int)
    for some in slices(len(outer), 1024):
        own = part[outer[some]]
        for block in row_blocks(*nodes.shape):
            far = np.where(own[:, None] == part[block], np.inf, _apart(nodes[outer[some]], nodes[block]))
            at, shortest = far.argmin(1), far.min(1)
            nearer = shortest < best[some]
            best[some], end[some] = np.where(nearer, shortest, best[some]), np.where(nearer, at + block.start, end[some])
    first = [rows[best[rows].argmin()] for rows in (np.flatnonzero(part[outer] == p) for p in np.unique(part[outer]))]
    lines = np.unique(np.sort(np.stack([outer[first], end[first]], 1), axis=1), axis=0)
    return lines[:, 0], lines[:, 1]


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(p, q) Euclidean distances of rows a (p, d) and b (q, d)."""
    return euclidean(a, b, np.empty((len(a), len(b)), a.dtype))
