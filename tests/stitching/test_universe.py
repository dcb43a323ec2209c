"""Universes: spaces that see the same items meet in one, whatever their rotations, and joining changes no other map."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.stitching.translators import Affine
from relrep_cli.stitching.universe import UNIVERSES, Universe, _spatial_median, build, for_heads, join
from relrep_cli.store import read

M, D = 60, 8
every_universe = pytest.mark.parametrize("name", list(UNIVERSES))


def views(noise: float = 0.0, n: int = 200, dims: tuple[int, ...] = (8, 10, 13)) -> list[np.ndarray]:
    """Spaces of the same items: turned, scaled, and each with axes of noise of its own."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(n, D))
    actual = []
    for d in dims:
        turn = np.linalg.qr(rng.normal(size=(d, d)))[0][:D]
        actual.append(3 * hidden @ turn + noise * rng.normal(size=(n, d)))
    return actual


def recalls(built: Universe, spaces: list[np.ndarray]) -> list[float]:
    moved = [carry(x) for carry, x in zip(built.maps, spaces, strict=True)]
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in moved]
    pairs = permutations(range(len(unit)), 2)
    return [float(((unit[a] @ unit[b].T).argmax(1) == np.arange(len(unit[a]))).mean()) for a, b in pairs]


@every_universe
def test_turned_spaces_of_unequal_dims_meet(name: str) -> None:
    spaces = views()
    built = build(name, [x[:M] for x in spaces], {})
    assert min(recalls(built, [x[M:] for x in spaces])) > 0.95
    for carry, x in zip(built.maps, spaces, strict=True):
        close = np.sum(carry(x[:M]) * built.anchors, 1) / np.linalg.norm(carry(x[:M]), axis=1)
        assert (close / np.linalg.norm(built.anchors, axis=1) > 0.95).all()


def test_the_penalty_that_anchors_choose_is_nearly_the_best_for_other_items() -> None:
    spaces = views(noise=1.5, dims=(24, 30, 40))
    anchors, rest = [x[:M] for x in spaces], [x[M:] for x in spaces]
    chosen = build("universe", anchors, {})
    actual = {p: np.mean(recalls(build("universe", anchors, {"universe_penalty": p}), rest)) for p in (1e-3, 1.0, 1e3)}
    mean = np.mean(recalls(chosen, rest))
    assert mean > max(actual.values()) - 0.05 and mean > actual[1e-3] + 0.05


def test_noise_of_one_space_gets_no_axis() -> None:
    """Carroll's criterion: an eigenvalue above 1/M needs agreement."""
    rng = np.random.default_rng(1)
    shared = rng.normal(size=(400, 3))
    spaces = [np.concatenate([shared, rng.normal(size=(400, 5))], 1) for _ in range(3)]
    built = build("universe", spaces, {"universe_penalty": 1.0})
    strength = np.sort(np.linalg.eigvalsh(built.anchors.T @ built.anchors))[::-1]
    assert strength[3:].sum() < 0.05 * strength[:3].sum()


def test_directions_from_the_spatial_median_add_up_to_nothing() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4)) ** 3
    around = rows - _spatial_median(rows)
    np.testing.assert_allclose((around / np.linalg.norm(around, axis=1, keepdims=True)).sum(0), 0, atol=1e-6)
    far = np.array([[0.0], [1.0], [2.0], [1000.0], [1.0]])
    assert _spatial_median(far) == pytest.approx(1.0, abs=1e-3), "that of one axis is the median"


@pytest.mark.parametrize("name", ["universe", "consensus"])
def test_common_axes_are_equally_strong(name: str) -> None:
    """Heads standardise axes: one of a weak coordinate alone would count as much as one of the strongest."""
    rng = np.random.default_rng(0)
    items = rng.normal(size=(300, 6)) * np.geomspace(10, 0.1, 6)
    built = build(name, [items @ np.linalg.qr(rng.normal(size=(6, 6)))[0] for _ in range(3)], {})
    spread = np.square(built.anchors).sum(0)
    assert spread.max() < 4 * spread.min() < np.inf


def test_heads_get_a_weight_of_their_own_unless_one_is_named() -> None:
    assert for_heads({"universe_weight": 0.0, "universe_penalty": 2.0}) == {"universe_weight": 6.0, "universe_penalty": 2.0}
    assert for_heads({"universe_weight": 1.0}) == {"universe_weight": 1.0} and for_heads({}) == {}, "consensus has no weight"
    spaces = [x[:M] for x in views(noise=0.5)]
    lookup, heads = (build("universe", spaces, {"universe_penalty": 1.0, "universe_weight": w}) for w in (0.0, 3.0))
    shares = [np.linalg.eigvalsh(u.anchors.T @ u.anchors)[-1] / np.square(u.anchors).sum() for u in (lookup, heads)]
    assert shares[1] > shares[0], "what all spaces agree on counts more"


@every_universe
def test_the_order_of_spaces_and_a_rotation_change_no_angle(name: str) -> None:
    spaces = [x[:M] for x in views(noise=0.5)]
    params = {"universe_penalty": 1.0} if name == "universe" else {}
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(10, 10)))[0]
    built = build(name, spaces, params)
    other = build(name, [spaces[0], 2 * spaces[1] @ turn, spaces[2]], params)
    np.testing.assert_allclose(other.anchors @ other.anchors.T, built.anchors @ built.anchors.T, atol=1e-3)
    if name == "universe":
        swapped = build(name, spaces[::-1], params)
        np.testing.assert_allclose(swapped.anchors @ swapped.anchors.T, built.anchors @ built.anchors.T, atol=1e-6)


@every_universe
def test_a_space_of_the_universe_that_joins_again_gets_its_own_map(name: str) -> None:
    spaces = [x[:M] for x in views(noise=0.5)]
    built = build(name, spaces, {})
    for carry, x in zip(built.maps, spaces, strict=True):
        again: Affine = join(x, built.anchors, built.penalty)
        np.testing.assert_allclose(again.matrix, carry.matrix, atol=1e-9)


def test_a_space_that_joins_later_meets_the_others() -> None:
    spaces = views(noise=0.3, dims=(8, 10, 13, 9))
    built = build("universe", [x[:M] for x in spaces[:3]], {"universe_penalty": 1.0})
    joined = join(spaces[3][:M], built.anchors, built.penalty)
    assert min(recalls(Universe([*built.maps, joined], built.anchors), [x[M:] for x in spaces])) > 0.9


@every_universe
def test_few_anchors_one_axis_and_unrelated_spaces_give_finite_maps(name: str) -> None:
    rng = np.random.default_rng(0)
    cases = [[rng.normal(size=(3, 5)) for _ in range(3)], [rng.normal(size=(30, 1)) for _ in range(3)]]
    cases += [[rng.normal(size=(30, 4)) for _ in range(4)], [np.ones((20, 3)), rng.normal(size=(20, 3))]]
    cases += [[np.ones((1, 4))] * 2, [np.ones((5, 3))] * 3]
    for spaces in cases:
        built = build(name, spaces, {})
        assert all(np.isfinite(carry(x)).all() for carry, x in zip(built.maps, spaces, strict=True))


def test_a_head_of_the_common_space_takes_files_that_it_never_saw(empty: Workdir) -> None:
    spaces = views(noise=0.3, n=240, dims=(8, 10, 13, 9))
    label = np.where(spaces[0][:, 0] > 0, "up", "down")
    split = np.array(["train", "train", "test"] * 80)
    ids = np.array([f"i{n}" for n in range(240)])
    for name, x in zip("abcd", spaces, strict=True):
        np.savez(empty / f"{name}.npz", x=x, ids=ids, split=split, label=label)
    (empty / "ids.txt").write_text("\n".join(ids[split == "train"][:80]))
    words = "a.npz b.npz c.npz -a ids.txt -m universe --universe-penalty 1 -q"
    rows = empty.here(f"relrep stitch {words} --save-head head.safetensors").rows
    indexes = [float(r["stitching_index"]) for r in rows if r["encoder"] != r["head"]]
    assert len(indexes) == 6 and min(indexes) > 0.85
    own = next(float(r["accuracy"]) for r in rows if r["encoder"] == "b.npz" and r["head"] == "a.npz")
    later = empty.here("relrep stitch b.npz d.npz --head head.safetensors -a ids.txt -q").rows
    assert float(later[0]["accuracy"]) == pytest.approx(own), "the map of b is found again"
    assert float(later[1]["stitching_index"]) > 0.85
    actual = empty.here(f"relrep stitch {words} --target retrieval").rows
    assert min(float(r["recall_1"]) for r in actual) > 0.9
    empty.here("relrep stitch a.npz b.npz -a ids.txt -m consensus -q -o b.common.h5")


def test_project_writes_a_file_of_a_known_space_in_the_common_one(empty: Workdir) -> None:
    for name, x in zip("abc", views(noise=0.3, n=80), strict=True):
        np.savez(empty / f"{name}.npz", x=x)
    empty.here("relrep translate a.npz b.npz --save-map u.h5 --universe-penalty 1 -q")
    empty.here("relrep project b.npz --universe u.h5 -o b.common.h5")
    empty.here("relrep translate b.npz --map u.h5 -o b.too.h5")
    one, other = (read(str(empty / name)) for name in ("b.common.h5", "b.too.h5"))
    assert one.space == other.space and one.space.startswith("universe:") and np.array_equal(one.x, other.x)
    empty.error("relrep project c.npz --universe u.h5 -o c.h5 -q", 3, "has 13 dims and names no space")
    empty.error("relrep project b.npz --universe u.h5 --center -o c.h5 -q", 2, "--center does not go with --universe")
    empty.error("relrep project b.npz --universe a.npz -o c.h5 -q", 2, "holds no map")
    empty.here("relrep translate a.npz --into b.npz --save-map map.h5 -q")
    empty.error("relrep project a.npz --universe map.h5 -o c.h5 -q", 2, "is a map between two spaces")
