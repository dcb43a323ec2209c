"""Metrics of neighbourhoods that compare the similarities of items to their neighbours."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from relrep_cli.base.registry import Param
from relrep_cli.metrics.families import neighbourhood_metric
from relrep_cli.metrics.neighbor_orders import apart
from relrep_cli.metrics.neighborhoods import within
from relrep_cli.metrics.sampling import describe_searches
from relrep_cli.metrics.score import Index, K, NotApplicable, Score
from relrep_cli.numerics.blocks import block_rows, slices, take
from relrep_cli.numerics.chance_levels import UNKNOWN, drawn
from relrep_cli.numerics.intervals import halves
from relrep_cli.numerics.workspace import UNSHARED, Workspace

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LEAST = 100  # items for an interval of cknna

Profile = Annotated[
    Literal["similarity", "distance"],
    Param(
        "What describes an item: its cosine similarities or cosine distances to neighbours.", choices=("similarity", "distance")
    ),
]
Epsilon = Annotated[
    float, Param("Added to CKNNA's denominator: 1e-6 as its authors do; 0 gives a space 1 with itself.", minimum=0)
]
DENSE_ROWS = 128
DRAWN_ROWS = 2000  # rows that a random pairing measures for the chance level


@neighbourhood_metric(bounds=(-1, 1), source="Hamilton et al. 2016, sec. 4; on distances: Klabunde et al. 2023")
def second_order_cosine(
    x: np.ndarray,
    y: np.ndarray,
    *,
    k: K = 10,
    profile: Profile = "similarity",
    index: Index = "exact",
    seed: int = 0,
    workspace: Workspace = UNSHARED,
) -> Score:
    """Mean cosine of each item's similarities to its neighbours in either space.

    x: (n, dx) and y: (n, dy) floats. Item i is described by its cosines to N_x(i) | N_y(i), once in x and once in y; the
    value is the mean cosine of these two descriptions.
    """
    a, b = within(x, k, "cosine", index, workspace=workspace), within(y, k, "cosine", index, workspace=workspace)
    rows = _second_order(x, y, a.rows, b.rows, profile)
    some = np.arange(0, len(x), -(-len(x) // DRAWN_ROWS))

    def draw(rng: np.random.Generator) -> float:
        order = rng.permutation(len(x))
        back = np.argsort(order)
        return float(_second_order(x, y, a.rows[some], back[b.rows[order[some]]], profile, some, order).mean())

    level = drawn(draw, 1.0, seed) if workspace.intervals else UNKNOWN
    extra, index_note = describe_searches((a, b), index)
    convention = (
        f"cosine of cosine {'similarities' if profile == 'similarity' else 'distances'}, k = {k}, self excluded{index_note}"
    )
    value = float(rows.mean())
    return Score(value, level.mean, convention, rows, draws=level.draws, extra=extra, chance_error=level.error)


def _second_order(
    x: np.ndarray,
    y: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    profile: str,
    rows: np.ndarray | None = None,
    order: np.ndarray | None = None,
) -> np.ndarray:
    """(m,) second-order cosines of `rows`, whose neighbours are a and b (m, k). order: pairs row i of x with order[i] of y."""
    rows, order = np.arange(len(a)) if rows is None else rows, np.arange(len(y)) if order is None else order
    out = np.empty(len(a))
    for block in slices(len(a), max(1, block_rows(2 * a.shape[1] * max(x.shape[1], y.shape[1])))):
        both = np.concatenate([a[block], b[block]], 1)
        once = np.ones(both.shape, bool)
        once[:, a.shape[1] :] = ~(b[block][:, :, None] == a[block][:, None, :]).any(2)
        profiles = []
        for side, own, near in ((x, rows[block], both), (y, order[rows[block]], order[both])):
            distance = apart(side, own, near, "cosine") / 2
            profiles.append(np.where(once, distance if profile == "distance" else 1 - distance, 0))
        u, v = profiles
        sizes = np.sqrt(np.square(u).sum(1)) * np.sqrt(np.square(v).sum(1))
        same = (u == v).all(1)  # two items whose neighbours are all copies of them have equal descriptions, zeros
        out[block] = np.where(same, 1, (u * v).sum(1) / np.where(sizes > 0, sizes, 1)).clip(-1, 1)
    return out


@neighbourhood_metric(
    bounds=(None, None),
    identity=None,
    symmetric=False,
    source="Huh et al. 2024, CKNNA; Song et al. 2012 in the trace form",
)
def cknna(
    x: np.ndarray,
    y: np.ndarray,
    *,
    k: K = 10,
    epsilon: Epsilon = 1e-6,
    index: Index = "exact",
    seed: int = 0,
    workspace: Workspace = UNSHARED,
) -> Score:
    """Centred kernel alignment of cosines to neighbours that both spaces agree on.

    x: (n, dx) and y: (n, dy) floats. The Gram matrices of unit rows keep only j in N_x(i) & N_y(i) (sparse, n k entries). They
    are not symmetric, so the value is slightly asymmetric, too. HSIC falls as 1 / n, so the authors' epsilon lowers the value
    more when there are more items. The interval is that of random halves of the items, whose neighbours are found anew.

    Raises NotApplicable for fewer than 4 items, or when a self term is not positive.
    """
    if len(x) < 4:
        raise NotApplicable(f"{len(x)} items are too few")
    a, b = within(x, k, "cosine", index, workspace=workspace), within(y, k, "cosine", index, workspace=workspace)
    gx, gy = _cosines(x, a.rows), _cosines(y, b.rows)
    few = f", no interval for fewer than {LEAST} items" if len(x) < LEAST else ""

    def draw(rng: np.random.Generator) -> float:
        return cross(rng.permutation(len(x))) / size  # no order of the rows changes the self terms

    aligned, size, cross = _aligned(gx, gy, epsilon), _size(gx, gy, epsilon), _cross_of_orders(gx, gy)
    jackknife = _values_of_halves(aligned, x, y, k, epsilon) if len(x) >= LEAST and workspace.intervals else None
    level = drawn(draw, 1.0, seed) if workspace.intervals else UNKNOWN
    extra, index_note = describe_searches((a, b), index)
    convention = (
        f"cosines to shared neighbours, k = {k}, self excluded, unbiased HSIC in trace form (slightly asymmetric), "
        f"denominator + {epsilon}{index_note}{few}"
    )
    return Score(aligned, level.mean, convention, None, jackknife, draws=level.draws, extra=extra, chance_error=level.error)


def _values_of_halves(value: float, x: np.ndarray, y: np.ndarray, k: int, epsilon: float) -> np.ndarray | None:
    """What `jackknife` needs; None when a half has no value. With fixed neighbours it would be a third too wide."""

    def of(rows: np.ndarray) -> float:
        both = [take(side, rows) for side in (x, y)]
        gx, gy = (_cosines(side, within(side, min(k, len(rows) - 1), "cosine").rows) for side in both)
        return _aligned(gx, gy, epsilon)

    with suppress(NotApplicable):
        return halves(value, len(x), of)
    return None


def _cosines(x: np.ndarray, neighbours: np.ndarray) -> csr_array:
    """(n, n) sparse cosines of each row to its neighbours."""
    from scipy.sparse import csr_array

    n, k = neighbours.shape
    values = np.empty((n, k))
    for block in slices(n, max(1, block_rows(k * x.shape[1]))):
        values[block] = 1 - apart(x, np.arange(n)[block], neighbours[block], "cosine") / 2
    return csr_array((values.ravel(), neighbours.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))


def _aligned(gx: csr_array, gy: csr_array, epsilon: float) -> float:
    return _cross(gx, gy) / _size(gx, gy, epsilon)


def _cross(gx: csr_array, gy: csr_array) -> float:
    return _hsic(gx.multiply(_mask(gy)), gy.multiply(_mask(gx)))


def _cross_of_orders(gx: csr_array, gy: csr_array) -> Callable[[np.ndarray], float]:
    """A function of the order of the rows of y. Of few rows, dense matrices are ten times faster."""
    if gx.shape[0] > DENSE_ROWS:
        return lambda order: _cross(gx, gy[order][:, order])
    a, b = gx.toarray(), gy.toarray()
    near, far = (_mask(g).toarray() for g in (gx, gy))

    def cross(order: np.ndarray) -> float:
        both = np.ix_(order, order)
        u, v, n = a * far[both], b[both] * near, len(a)
        ones = u.sum() * v.sum() / ((n - 1) * (n - 2))
        return float((u * v.T).sum() + ones - 2 * (u.sum(0) @ v.sum(1)) / (n - 2)) / (n * (n - 3))

    return cross


def _size(gx: csr_array, gy: csr_array, epsilon: float) -> float:
    xx, yy = _hsic(gx, gx), _hsic(gy, gy)
    for name, own in (("first", xx), ("second", yy)):
        if not own > 0:
            raise NotApplicable(f"the self term of the {name} space is not positive; take a larger --k")
    return float(np.sqrt(xx) * np.sqrt(yy) + epsilon)


def _mask(g: csr_array) -> Any:
    mask = g.copy()
    mask.data = np.ones_like(mask.data)
    return mask


def _hsic(a: Any, b: Any) -> float:
    """Song's unbiased estimator for sparse matrices with an empty diagonal."""
    n = a.shape[0]
    trace = a.multiply(b.T).sum()
    ones = a.sum() * b.sum() / ((n - 1) * (n - 2))
    mixed = np.asarray(a.sum(0)).ravel() @ np.asarray(b.sum(1)).ravel()
    return float(trace + ones - 2 * mixed / (n - 2)) / (n * (n - 3))
