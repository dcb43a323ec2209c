"""Translators recover what they declare, exactly, and nothing else; they leave alone what anchors did not show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg

from relrep_cli.relative.transformations import TRANSFORMATIONS
from relrep_cli.stitching.translators import TRANSLATORS, Affine, fit

D, ANCHORS = 8, 60
MAPS = [name for name in TRANSFORMATIONS if name not in ("zero-axes", "isometry")]
every_translator = pytest.mark.parametrize("name", TRANSLATORS)


def space(n: int, d: int = D, seed: int = 0) -> np.ndarray:
    """Rows off the origin, not of one width on all axes."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * np.linspace(0.8, 1.6, d) + 0.7


def translate(name: str, x: np.ndarray, y: np.ndarray, **given: object) -> Affine:
    return fit(name, x, y, TRANSLATORS[name].resolve(given))


def error(actual: np.ndarray, wanted: np.ndarray) -> float:
    """Squared error over variance."""
    return float(np.square(actual - wanted).sum() / np.square(wanted - wanted.mean(0)).sum())


@pytest.mark.parametrize("moved", MAPS)
@every_translator
def test_it_recovers_what_it_declares_and_nothing_else(name: str, moved: str) -> None:
    anchors, items = space(ANCHORS), space(500, seed=1)
    change = TRANSFORMATIONS[moved].function(np.random.default_rng(2), anchors)
    given = {"rank": 5} if name == "low-rank" else {}
    off = error(translate(name, anchors, change(anchors), **given)(items), change(items))
    assert off < 1e-12 if moved in TRANSLATORS[name].recovers else off > 1e-4


def test_what_is_linear_needs_no_shift() -> None:
    anchors, items = space(ANCHORS), space(500, seed=1)
    moved = TRANSFORMATIONS["translation"].function(np.random.default_rng(2), anchors)
    assert error(translate("linear", anchors, moved(anchors))(items), moved(items)) > 1e-3
    assert error(translate("affine", anchors, moved(anchors))(items), moved(items)) < 1e-12


def test_orthogonal_is_procrustes() -> None:
    x, y = space(ANCHORS), space(ANCHORS, seed=3)
    mapped = translate("orthogonal", x, y)
    turn, _ = scipy.linalg.orthogonal_procrustes(x - x.mean(0), y - y.mean(0))
    assert np.allclose(mapped.matrix / np.linalg.norm(mapped.matrix, 2), turn)
    cross, turned = np.array([[1.0, 0], [-1, 0], [0, 2], [0, -2]]), np.array([[0.0, 1], [0, -1], [-2, 0], [2, 0]])
    by_hand = translate("orthogonal", cross, turned)
    assert np.allclose(by_hand(np.array([[1.0, 1.0]])), [[-1.0, 1.0]]), "a quarter turn"


def test_scaling_by_axes_feels_a_turn_and_not_their_widths() -> None:
    """As published, each axis at deviation 1: exact for factors on axes, not for turns."""
    anchors, items = space(ANCHORS), space(500, seed=1)
    for moved, exact in (("axis-scale", True), ("orthogonal", False)):
        change = TRANSFORMATIONS[moved].function(np.random.default_rng(2), anchors)
        off = error(translate("orthogonal", anchors, change(anchors), scaling="axes")(items), change(items))
        assert (off < 1e-12) == exact


def test_cca_unmixed_recovers_affine_maps() -> None:
    anchors, items = space(ANCHORS), space(500, seed=1)
    change = TRANSFORMATIONS["affine"].function(np.random.default_rng(2), anchors)
    assert error(translate("cca", anchors, change(anchors), mixed=0.0)(items), change(items)) < 1e-10


@pytest.mark.parametrize("mixed", [0.2, 0.7, 1.0])
def test_cca_is_its_formula_with_the_mean_variance_mixed_in(mixed: float) -> None:
    """Against matrix roots by scipy, and between unequal dims, where the share of each space is its own."""
    x = space(ANCHORS)
    y = x @ np.random.default_rng(2).normal(size=(D, 5)) + 0.3 * space(ANCHORS, 5, seed=3)
    u, v = (z - z.mean(0) for z in (x, y))
    u, v = (z / np.sqrt(z.var(0).sum()) for z in (u, v))
    roots = []
    for z in (u, v):
        spread = z.T @ z / len(z)
        roots.append(scipy.linalg.sqrtm((1 - mixed) * spread + mixed * np.diag(spread).mean() * np.eye(len(spread))))
    left, _, right = np.linalg.svd(np.linalg.inv(roots[0]) @ u.T @ v @ np.linalg.inv(roots[1]), full_matrices=False)
    wanted = np.linalg.inv(roots[0]) @ left @ right @ roots[1] * np.sqrt(y.var(0).sum() / x.var(0).sum())
    assert translate("cca", x, y, mixed=mixed).matrix == pytest.approx(wanted, rel=1e-8, abs=1e-10)


def test_low_rank_is_of_that_rank_and_recovers_what_is() -> None:
    rng = np.random.default_rng(0)
    narrow = rng.normal(size=(3, D))
    anchors, items = rng.normal(size=(ANCHORS, 3)) @ narrow, rng.normal(size=(500, 3)) @ narrow
    matrix = rng.normal(size=(D, D))
    assert error(translate("low-rank", anchors, anchors @ matrix, rank=3)(items), items @ matrix) < 1e-12
    mapped = translate("low-rank", space(ANCHORS), space(ANCHORS, seed=3), rank=2)
    assert np.linalg.matrix_rank(mapped.matrix, tol=1e-8) == 2


@pytest.mark.parametrize(("n", "d", "seed"), [(30, 20, 0), *((6, 3, seed) for seed in (4, 5, 9))])
def test_ridge_takes_the_penalty_that_leaving_out_would(n: int, d: int, seed: int) -> None:
    """Against refitting without each anchor, for every penalty; of few anchors, where the mean without one counts."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    y = x @ rng.normal(size=(d, 4)) + 3 * rng.normal(size=(n, 4))
    z = (x - x.mean(0)) / np.sqrt(x.var(0).mean())
    penalties = np.geomspace(1e-10, 1e2, 25) * np.square(np.linalg.svd(z, compute_uv=False)).mean()
    left = []
    for p in penalties:
        errors = []
        for i in range(n):
            rest = np.delete(np.arange(n), i)
            zx, zy = z[rest] - z[rest].mean(0), y[rest] - y[rest].mean(0)
            weights = np.linalg.solve(zx.T @ zx + p * np.eye(d), zx.T @ zy)
            errors.append(np.square(y[i] - y[rest].mean(0) - (z[i] - z[rest].mean(0)) @ weights).mean())
        left.append(np.mean(errors))
    best = penalties[int(np.argmin(left))]
    weights = np.linalg.solve(z.T @ z + best * np.eye(d), z.T @ (y - y.mean(0)))
    assert np.allclose(translate("ridge", x, y)(x), z @ weights + y.mean(0), atol=1e-8)
    assert best not in (penalties[0], penalties[-1])


def test_the_inverse_is_the_way_through_relative_coordinates() -> None:
    """With all directions kept: cosines of x with its anchors are those of the translated vector with its own."""
    x, y, items = space(ANCHORS), space(ANCHORS, seed=3), space(20, seed=1)
    y = x @ np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))[0] * 2 + 5
    mapped = translate("inverse", x, y, least=0.0)(items)

    def cosines(rows: np.ndarray, anchors: np.ndarray) -> np.ndarray:
        a, r = anchors - anchors.mean(0), rows - anchors.mean(0)
        return (r / np.linalg.norm(r, axis=1)[:, None]) @ (a / np.linalg.norm(a, axis=1)[:, None]).T

    assert np.allclose(cosines(mapped, y), cosines(items, x))
    assert np.allclose(np.linalg.norm(mapped - y.mean(0), axis=1), 2 * np.linalg.norm(items - x.mean(0), axis=1)), "lengths too"


def test_anchors_far_out_or_at_the_mean_do_not_set_the_lengths_of_inverse() -> None:
    """Axes and their opposites, of mean 0: four anchors twice as long in y, two a hundred times, two at 0."""
    axes = np.diag([1.0, 2.0, 3.0])
    x = np.concatenate([axes, -axes, np.zeros((2, 3))])
    y = x * np.array([2.0, 2, 100, 2, 2, 100, 0, 0])[:, None]
    assert translate("inverse", x, y).along == pytest.approx(2)
    x[6:], y[6:] = 0, [[5.0, 0, 0], [-5, 0, 0]]
    mapped = translate("inverse", x, y)
    assert mapped.along == pytest.approx(2) and np.isfinite(mapped(x)).all()


@every_translator
def test_zeros_added_to_the_narrower_space_change_nothing(name: str) -> None:
    x, y, items = space(ANCHORS, d=5), space(ANCHORS, d=9, seed=3), space(50, d=5, seed=1)
    wide = [np.pad(rows, ((0, 0), (0, 4))) for rows in (x, items)]
    given = {"mixed": 0.0} if name == "cca" else {}  # shares of the mean variance count axes
    mapped = translate(name, x, y, **given)(items)
    assert mapped.shape == (50, 9)
    assert np.allclose(mapped, translate(name, wide[0], y, **given)(wide[1]))
    assert translate(name, y, x)(space(50, d=9, seed=1)).shape == (50, 5)


@every_translator
def test_directions_that_no_anchor_shows_are_left_alone(name: str) -> None:
    """Fewer anchors than dims: what is orthogonal to all of them is not turned into something else."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 40)), rng.normal(size=(10, 40))
    mapped = translate(name, x, y)
    assert np.isfinite(mapped.matrix).all()
    hidden = scipy.linalg.null_space(np.concatenate([x, x.mean(0)[None]])).T
    at_mean = mapped(x.mean(0)[None])
    if mapped.along is None:
        assert np.allclose(mapped(x.mean(0) + 5 * hidden), at_mean, atol=1e-6)
    else:
        assert np.allclose(mapped.matrix.T @ hidden.T, 0, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f4", "float64"])
@every_translator
def test_any_precision_and_any_odd_anchors(name: str, dtype: str) -> None:
    x, y = space(ANCHORS).astype(dtype), space(ANCHORS, seed=3).astype(dtype)
    assert translate(name, x, y)(x).dtype == np.float64
    x[:, 2] = 1.5  # an axis that does not vary
    assert np.isfinite(translate(name, x, y)(x)).all()
    assert np.isfinite(translate(name, np.ones_like(x), y)(x)).all()
    assert np.isfinite(translate(name, x[:1], y[:1])(x)).all()


@every_translator
def test_the_order_of_anchors_is_nothing(name: str) -> None:
    x, y, items = space(ANCHORS), space(ANCHORS, seed=3), space(9000, seed=1)
    order = np.random.default_rng(0).permutation(ANCHORS)
    assert np.allclose(translate(name, x, y)(items), translate(name, x[order], y[order])(items))


def test_a_weak_direction_is_turned_with_the_others() -> None:
    """Columns in another order, half of them 30,000 times narrower: heads scale columns, so the narrow ones count, too."""
    x = np.random.default_rng(0).normal(size=(300, 8)) * np.repeat([1.0, 3e-5], 4)
    order = np.random.default_rng(1).permutation(8)
    mapped = translate("orthogonal", x, x[:, order])(x)
    np.testing.assert_allclose((mapped - x[:, order]) / x[:, order].std(0), 0, atol=1e-3)


def test_rows_of_float16_that_stay_so_are_the_same_as_in_float64() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 60, 6))
    x16 = (100 * rng.normal(size=(50, 6))).astype(np.float16)
    for carry in (fit("ridge", x, y, {}), replace(fit("orthogonal", x, y, {}), unit_rows=True)):
        actual = carry.stored_rows(x16, np.dtype(np.float16))
        assert actual.dtype == np.float16
        np.testing.assert_allclose(actual, carry.rows(x16), rtol=2**-11 + 1e-4, atol=1e-4)  # float16 rounds by 2**-11
        assert carry.stored_rows(x16, np.dtype(np.float32)).dtype == np.float64
    huge = replace(carry, matrix=1e30 * carry.matrix)
    assert huge.stored_rows(x16, np.dtype(np.float16)).dtype == np.float64, "sums would overflow"
