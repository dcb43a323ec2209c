"""Values of cka under all permutations at once, and of later pairs that share the first file, such as layers of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.comparison.pairs_of_files import View
from relrep_cli.comparison.plans import Plan
from relrep_cli.metrics import METRICS, kernels
from relrep_cli.numerics import permuted_grams
from relrep_cli.numerics.permuted_products import Batch
from relrep_cli.numerics.workspace import Workspace

AHEAD = 1000  # permutations that are computed at once, before the first of them is kept


def values_at_once(
    name: str,
    params: Mapping[str, Any],
    spaces: tuple[np.ndarray, np.ndarray],
    numbers: range,
    batch: Batch,
    workspace: Workspace,
    later: Sequence[np.ndarray] = (),
) -> np.ndarray | None:
    """The values of the metric for the permutations of these numbers; None where each is computed by itself.

    batch: all permutations of the run, some of which are computed now and kept. later: second spaces of later pairs; theirs
    are computed with them, and kept for these pairs.
    """
    if name != "cka":
        return None
    params = METRICS[name].resolve(params)
    if not kernels.permutes_by_grams(params, *spaces):
        return None
    first, parts = batch.numbers.start, []
    for start in range(first + (numbers.start - first) // AHEAD * AHEAD, numbers.stop, AHEAD):
        block = range(start, min(start + AHEAD, batch.numbers.stop))
        wanted = range(max(start, numbers.start), min(block.stop, numbers.stop))
        sums = workspace.once(_key(block, params), spaces, partial(_sums, spaces, params, block, batch, workspace, later))
        mine = sums[:, wanted.start - start : wanted.stop - start]
        parts.append(kernels.cka_of_permutations(*spaces, mine, params, workspace))
    return np.concatenate(parts)


def _sums(
    spaces: tuple[np.ndarray, np.ndarray],
    params: Mapping[str, Any],
    block: range,
    batch: Batch,
    workspace: Workspace,
    later: Sequence[np.ndarray],
) -> np.ndarray:
    """The sums of the permutations of a block, those that an earlier pair has left, or else with those of later pairs."""
    (x, y), known = spaces, workspace.spaces
    if known is not None and (left := known.pop_pair(x, y, _key(block, params))) is not None:
        return left
    others = [y, *([] if known is None else later[: permuted_grams.most_spaces(len(x)) - 1])]
    orders = [batch.order_of(number) for number in block]
    sums = permuted_grams.sums_of_grams(x, others, orders, kernels.gram_of(params, workspace))
    for other, own in zip(others[1:], sums[1:], strict=True):
        if known is not None:
            known.put_pair(x, other, own, _key(block, params))
    own_sums: np.ndarray = sums[0]
    return own_sums


def _key(block: range, params: Mapping[str, Any]) -> str:
    return f"sums of permuted Gram matrices, {block}, {params['kernel']} {params['estimator']}"


def later_spaces(
    pair: tuple[str, str], place: int, plan: Plan, views: Mapping[str, list[View] | DataError], workspace: Workspace
) -> list[np.ndarray]:
    """The second spaces of the pairs after this one in the plan that have its first space and the same rows in the same order.

    place: of the view. Another process knows no plan, and no later pairs.
    """
    spaces: list[np.ndarray] = []
    for a, b in plan.pairs[plan.pairs.index(pair) + 1 :] if pair in plan.pairs else ():
        own, other = views[a], views[b]
        if a != pair[0] or isinstance(own, DataError) or isinstance(other, DataError):
            continue
        x, view = own[place].embedding, other[place]
        if x.n == view.embedding.n and (x.ids is view.embedding.ids or np.array_equal(x.ids, view.embedding.ids)):
            workspace.register(view.embedding.x, view.content)
            spaces.append(view.embedding.x)
    return spaces
