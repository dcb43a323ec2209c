"""Shortest paths to anchors: equal to a dense search, apart or joined, with duplicates, for items on and off the graph."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.sparse.csgraph import shortest_path
from scipy.spatial.distance import cdist

from relrep_cli.base.errors import DataError
from relrep_cli.neighbors.knn_graphs import anchor_paths, hang


def swiss_roll(n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """A sheet rolled up in space, and where each point lies on the flat sheet."""
    rng = np.random.default_rng(0)
    turn, height = np.sqrt(rng.uniform(4, 36, n)) * 1.5, rng.uniform(0, 8, n)
    flat = np.stack([turn * turn / 2, height], 1)  # arc length of a spiral, near enough
    return np.stack([turn * np.cos(turn), height, turn * np.sin(turn)], 1), flat


def naive(nodes: np.ndarray, k: int) -> np.ndarray:
    """All shortest paths through the k-nearest-neighbour graph, by a dense matrix."""
    apart = cdist(nodes, nodes)
    near = np.argsort(apart + np.diag(np.full(len(nodes), np.inf)), axis=1)[:, :k]
    weights = np.full_like(apart, np.inf)
    np.put_along_axis(weights, near, np.take_along_axis(apart, near, 1), 1)
    return shortest_path(np.minimum(weights, weights.T))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("k", [4, 10])
def test_equal_to_a_dense_search(k: int, dtype: type) -> None:
    x = swiss_roll()[0].astype(dtype)
    known = anchor_paths([x[:250], x[250:]], 600, x[::60], k)
    assert len(known["nodes"]) == 600, "anchors that are items stand in the graph once"
    wanted = naive(x.astype(np.float64), k)[:, ::60]
    assert np.isfinite(wanted).all() and known["parts"][0] == 1
    assert known["paths"] == pytest.approx(wanted, rel=1e-5)
    assert hang(x, known["nodes"], known["paths"], k) == pytest.approx(wanted, rel=1e-5), "an item on the graph is its node"


def test_paths_follow_the_sheet() -> None:
    """What straight lines through space cannot tell: how far apart two points of the rolled sheet are on it."""
    x, flat = swiss_roll(1500)
    known = anchor_paths([x], 1500, x[::150], 10)
    wanted = cdist(flat, flat[::150])
    follow, cut = (np.corrcoef(actual.ravel(), wanted.ravel())[0, 1] for actual in (known["paths"], cdist(x, x[::150])))
    assert follow > 0.99 and cut < 0.8


@pytest.mark.slow
def test_items_off_the_graph_hang_on_it() -> None:
    x = swiss_roll(900)[0]
    known = anchor_paths([x[:800]], 800, x[:8], 10)
    actual, wanted = hang(x[800:], known["nodes"], known["paths"], 10), naive(x, 10)[800:, :8]
    assert np.median(np.abs(actual - wanted) / wanted) < 0.02
    alone = np.concatenate([hang(row[None], known["nodes"], known["paths"], 10) for row in x[800:]])
    assert actual == pytest.approx(alone, rel=1e-12), "no item feels another one"


def test_parts_are_joined_by_their_shortest_lines() -> None:
    """Three clouds far apart on a line: the way leads through the middle one."""
    rng = np.random.default_rng(1)
    clouds = [rng.normal(size=(40, 2)) + np.array([at, 0]) for at in (0, 100, 300)]
    x = np.concatenate(clouds)
    known = anchor_paths([x], len(x), x[:1], 5)
    assert known["parts"][0] == 3 and np.isfinite(known["paths"]).all()
    gaps = [cdist(a, b).min() for a, b in pairwise(clouds)]
    far = known["paths"][80:, 0].min()
    assert sum(gaps) <= far < sum(gaps) + 30


def test_many_copies_of_a_row_do_not_cut_the_graph() -> None:
    x = np.repeat(swiss_roll(60)[0], 20, axis=0)
    known = anchor_paths([x], len(x), x[:1], 6)
    assert len(known["nodes"]) == 60 and known["parts"][0] == 1
    actual = hang(x, known["nodes"], known["paths"], 6).reshape(60, 20)
    assert (actual == actual[:, :1]).all() and actual[0, 0] == 0


def test_one_point_has_no_graph() -> None:
    with pytest.raises(DataError, match="geodesic: all training rows and anchors are one point"):
        anchor_paths([np.ones((9, 3))], 9, np.ones((2, 3)), 5)
