"""Local maps: found where a space is turned piece by piece, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from relrep_cli.base.errors import DataError
from relrep_cli.embedding import make_step
from relrep_cli.stitching.local_maps import LocalMaps, local, memberships, regions
from relrep_cli.stitching.space_maps import SpaceMaps, maps_in, read_maps, save_maps
from relrep_cli.stitching.translators import fit
from relrep_cli.store import read


def pieces(count: int, n: int, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of rows, each turned by a rotation of its own and put elsewhere."""
    rng = np.random.default_rng(count)
    places, elsewhere = 4 * rng.normal(size=(2, count, d))
    turns = np.array([np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in range(count)])
    cluster, inside = rng.integers(0, count, n), rng.normal(size=(n, d))
    y = elsewhere[cluster] + np.einsum("ni,nij->nj", inside, turns[cluster]) + 0.05 * rng.normal(size=(n, d))
    return places[cluster] + inside, y


def recall(actual: np.ndarray, y: np.ndarray) -> float:
    apart = np.square(actual).sum(1)[:, None] - 2 * actual @ y.T + np.square(y).sum(1)
    return float((apart.argmin(1) == np.arange(len(y))).mean())


def test_pieces_that_are_turned_apart_are_joined_by_local_maps() -> None:
    x, y = pieces(3, 500)
    carry = local(x[:200], y[:200])
    assert isinstance(carry, LocalMaps) and len(carry.parts) >= 2
    assert recall(carry(x[200:]), y[200:]) > 2 * recall(fit("orthogonal", x[:200], y[:200], {})(x[200:]), y[200:])


def test_one_rotation_stays_one_and_few_anchors_are_not_cut() -> None:
    x, y = pieces(1, 160)
    np.testing.assert_array_equal(local(x, y).matrix, fit("orthogonal", x, y, {}).matrix)
    assert not isinstance(local(x, y), LocalMaps) and not isinstance(local(*(z[:30] for z in pieces(3, 30))), LocalMaps)


def test_regions_are_not_taken_by_chance() -> None:
    """Of noisy rotations, whose left-out anchors often do a little better by regions, none is cut."""
    rng = np.random.default_rng(0)
    for _ in range(8):
        x = rng.normal(size=(100, 6))
        y = x @ np.linalg.qr(rng.normal(size=(6, 6)))[0] + 0.7 * rng.normal(size=(100, 6))
        assert not isinstance(local(x, y), LocalMaps)


@pytest.mark.parametrize("scaling", ["whole", "axes"])
def test_scale_and_place_of_a_space_do_not_matter(scaling: str) -> None:
    x, y = pieces(3, 260)
    carry, other = local(x[:200], y[:200], scaling=scaling), local(1e3 * x[:200] - 7, y[:200], scaling=scaling)  # type: ignore[arg-type]
    assert isinstance(carry, LocalMaps)
    np.testing.assert_allclose(other(1e3 * x[200:] - 7), carry(x[200:]), atol=1e-6)


def test_shares_add_up_and_go_to_the_nearest_region() -> None:
    z = np.array([[0.0, 0], [0, 1], [9, 9], [9, 8]])
    centres, width = regions(z, 2)
    assert sorted(centres.tolist()) == [[0, 0.5], [9, 8.5]] and width > 0
    shares = memberships(z, centres, 1.0)
    assert shares.sum(1) == pytest.approx(1) and shares.argmax(1).tolist() in ([0, 0, 1, 1], [1, 1, 0, 0])
    assert memberships(np.array([[4.5, 4.5]]), centres, width)[0] == pytest.approx([0.5, 0.5])


def test_a_file_keeps_local_maps(tmp_path: Path) -> None:
    x, y = pieces(3, 260)
    carry = local(x[:200], y[:200])
    file = str(tmp_path / "map.h5")
    save_maps(file, SpaceMaps("there", "absolute", {"here": carry}, "local"), [make_step("translate", {}, None, [])], False)
    maps = read_maps(file)
    assert maps is not None and isinstance(maps.maps["here"], LocalMaps)
    np.testing.assert_array_equal(maps.maps["here"](x), carry(x))
    damaged = read(file, judge=False)
    damaged.obs["centre"] = np.full(damaged.n, np.nan)
    with pytest.raises(DataError, match="is a damaged map"):
        maps_in(damaged)
