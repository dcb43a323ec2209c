"""What a comparison will cost, for --dry-run: constants fitted to runs of the command, see docs/cluster.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from relrep_cli.comparison.pairs_of_files import View, largest_k
from relrep_cli.comparison.permuted_layers import AHEAD
from relrep_cli.comparison.plans import Plan
from relrep_cli.engine.estimates import Cost, total
from relrep_cli.metrics.sampling import PILOT, WORTH
from relrep_cli.numerics import permuted_grams
from relrep_cli.numerics.chance_levels import LEAST, PAIRED, WORK
from relrep_cli.numerics.hsic import ROWS as ROWS_LEFT_OUT
from relrep_cli.numerics.moment_sums import LANES
from relrep_cli.numerics.moments import FEW, WIDE
from relrep_cli.numerics.permuted_products import SMALL
from relrep_cli.numerics.row_pairs import MOST, WIDTH_ROWS

MOMENTS = {"cka", "cca", "svcca", "pwcca", "procrustes", "aligned-cosine", "eigenspace-overlap", "linear-regression", "gulp"}
SEARCHES = {"jaccard", "knn-jaccard", "mutual-knn", "cycle-knn", "ordered-knn"}
DRAWN = {"procrustes"}  # metrics of moments whose chance level is drawn
ROWS = {"cosine", "mse", "pearson"}
LOADED = 15e6  # bytes of the libraries of searches
OF_ROW = 29  # bytes of ids and places for each row of a file
OF_NEIGHBOUR = 60  # bytes for each neighbour of a row, in both files
BLOCK = 16 * 4096  # bytes of the blocks of a pass, for each dim
PERMUTED = 35e6  # bytes of the blocks of permutations
SAMPLING = 10e6  # bytes of the blocks of a search for some rows
VARIANCE = 0.01  # of the values of rows, where --ci asks for a sample
GROUP, JACKKNIFE = 6e-4, 1e-9  # seconds of the decompositions without one group: for each, and for each dim to the third power
PERMUTATION = 3.5e-4  # seconds of a permutation beside its product
DRAWN_ROW = 1.5e-7  # seconds to draw the place of a row in a permutation, and to keep it
PERMUTED_ROW, PERMUTED_LIST = 6e-7, 1e-6  # seconds of a row's value, or of its list of neighbours, in a permutation
PAIR = 1.5e-3  # seconds of a pair and metric, beside what is counted
WIDENED, WIDENED_ROW = 0.009, 5e-4  # seconds of the interval of a search: for each, and for the root of its rows
HALVED_ROW = 1e-3  # seconds of the neighbours in halves of a file, which serve all its pairs: for the root of its rows
PLACE = 12  # bytes of the place of a row in a permutation, and of the row in that place
MULTIPLIED = 6  # multiply-adds of a large product in the time of one of two Gram matrices
KERNEL_PAIR = 2.4e-8  # seconds of the RBF kernel of two rows in both spaces, and of its sums, beside the products of rows
KERNELS_MADE = 3  # for the value, for what permutations leave as it is, and to gather from
LEFT_OUT = 3  # products of the interval of cka, for each row that it leaves out


def cost_of(plan: Plan, views: Mapping[str, Sequence[View]]) -> tuple[Cost, list[str]]:
    """The cost of a plan, and the metrics that are not in it because nothing is known of them.

    views: every usable file in every view.
    """
    unknown = [name for name in plan.metrics if _plain(name) not in MOMENTS | SEARCHES | ROWS]
    costs = [_of_file(view, plan) for of_file in views.values() for view in of_file]
    firsts = Counter(a for a, _ in plan.pairs)
    for a, b in plan.pairs:
        for left, right in zip(views.get(a, ()), views.get(b, ()), strict=False):
            n, sides = min(left.embedding.n, right.embedding.n), (left.embedding.d, right.embedding.d)
            costs += [_of_metric(name, params, n, sides, plan, firsts[a]) for name, params in plan.tasks if name not in unknown]
    return total(costs), unknown


def _plain(name: str) -> str:
    return name.partition(":")[0]


def _of_file(view: View, plan: Plan) -> Cost:
    """Reading a file, and its neighbours within itself, which serve every pair."""
    e = view.embedding
    searched = [params for name, params in plan.tasks if _plain(name) in SEARCHES]
    moments = any(_plain(name) in MOMENTS and not _is_of_pairs(name, params) for name, params in plan.tasks)
    own_sums = float(e.n) * e.d * e.d if moments else 0.0
    wanted = max((_searched_rows(e.n, float(params.get("ci") or 0)) for params in searched), default=0)
    pairs = wanted * e.n * (1 + e.d / 256)
    k = 1 + largest_k(plan.tasks, e.n)
    return Cost(
        read=e.x.nbytes,
        double=own_sums,
        scanned=e.x.size,
        searched=pairs,
        fixed=(WIDENED + HALVED_ROW * e.n**0.5) * bool(searched) * plan.outputs.intervals,
        memory=2 * OF_ROW * e.n + (LOADED + OF_NEIGHBOUR * k * wanted if searched else 0) + SAMPLING * (0 < wanted < e.n),
    )


def _searched_rows(n: int, ci: float) -> int:
    sample = max(PILOT, int((1.96 / ci) ** 2 * VARIANCE)) if ci else n
    return n if sample > WORTH * n else sample


def _of_metric(name: str, params: Mapping[str, Any], n: int, sides: tuple[int, int], plan: Plan, alike: int) -> Cost:
    """alike: how many pairs have the first file of this one."""
    d, intervals, times = sum(sides), plan.outputs.intervals, plan.outputs.permutations
    if _plain(name) in ROWS:
        permuted = times * (PERMUTATION + PERMUTED_ROW * n)
        return Cost(scanned=n * d / 2, fixed=PAIR + WIDENED * intervals + permuted, memory=2 * OF_ROW * n)
    if _plain(name) in SEARCHES:
        permuted = times * (PERMUTATION + PERMUTED_LIST * n)
        return Cost(fixed=PAIR + (WIDENED + WIDENED_ROW * n**0.5) * intervals + permuted)
    if _is_of_pairs(name, params):
        if not times or params["estimator"] == "minibatch" or not permuted_grams.serves_kernels(n):
            return _of_pairs(n, d, params, 1 + times)
        alike = min(alike, permuted_grams.most_spaces(n))
        return _of_pairs(n, d, params, KERNELS_MADE) + _of_gathered(n, sides, alike, times)
    gathered = bool(times) and name == "cka" and permuted_grams.serves(n, *sides)
    cost = _of_moments(name, n, sides, intervals, bool(times) and not gathered)
    if gathered:
        return cost + _of_gathered(n, sides, min(alike, permuted_grams.most_spaces(n)), times)
    return cost + _of_permutations(n, sides, name != "cka", times)


def _is_of_pairs(name: str, params: Mapping[str, Any]) -> bool:
    return name == "cka" and (params["kernel"] == "rbf" or params["estimator"] == "minibatch")


def _of_pairs(n: int, d: int, params: Mapping[str, Any], times: float) -> Cost:
    """CKA by kernel values of pairs of rows, all of them or those within a batch. d: of both spaces. times: how often.

    The width of the RBF kernel needs pairs of some rows, which serve again where these are all rows.
    """
    rows = min(n, MOST)
    pairs, memory = (n * min(n, params["batch"]) if params["estimator"] == "minibatch" else rows**2) / 2, 2.0 * OF_ROW * n
    if params["kernel"] == "linear":
        memory += BLOCK * d / 4
    else:
        some = rows / -(-rows // WIDTH_ROWS)
        pairs = pairs + some**2 / 2 if some < rows else max(pairs, some**2 / 2)
        memory += 8.0 * rows * d + 8 * some**2 * (1 + (some == rows))
    kernel = KERNEL_PAIR * pairs * (params["kernel"] == "rbf")
    return Cost(double=times * pairs * d, fixed=times * (PAIR + kernel), memory=memory)


def _of_moments(name: str, n: int, sides: tuple[int, int], intervals: bool, permutations: bool) -> Cost:
    """A metric of sums over rows: one product of both spaces; those of each space alone are counted with the file."""
    d, area = sum(sides), float(sides[0] * sides[1])
    decomposes = name != "cka"
    lanes = LANES if not decomposes else 50 if d <= WIDE else FEW
    jackknife = lanes * (GROUP + JACKKNIFE * min(sides) ** 3) if decomposes else 0.0
    memory = 8.0 * (lanes + 4 * decomposes) * d * d + BLOCK * d + 2 * OF_ROW * n + (PERMUTED if permutations else 0)
    left_out = LEFT_OUT * min(n, ROWS_LEFT_OUT) * area * intervals * (not decomposes)
    whole = Cost(double=n * area + left_out, scanned=n * d / 2, fixed=PAIR + jackknife, memory=memory)
    if _plain(name) in DRAWN and n * area <= PAIRED:  # rows are paired at random, for the chance level
        draws = min(max(WORK // int(area), 4), LEAST)
        whole += Cost(double=draws * n * area, scanned=draws * n * d)
    return whole


def _of_gathered(n: int, sides: tuple[int, int], alike: int, times: int) -> Cost:
    """Permuted Gram matrices: half of the first is gathered once for all its pairs, and multiplied with that of each other."""
    half, own = n * n / 2, n * n * (1 / alike + 1) * sum(sides) / 2
    memory = 8.0 * half * (alike + 6) + PLACE * n * min(times, AHEAD)
    products = times * half * (permuted_grams.GATHERED / alike + MULTIPLIED)
    return Cost(double=own + products, fixed=times * n * DRAWN_ROW / alike, memory=memory)


def _of_permutations(n: int, sides: tuple[int, int], decomposes: bool, times: int) -> Cost:
    """One product for each permutation of rows, which are gathered from memory where the spaces are small."""
    d, least = sum(sides), min(sides)
    gathered = n * d * (0.05 if n * d <= SMALL else 1.0)
    fixed = PERMUTATION + (JACKKNIFE * least**3 if decomposes else 0.0)
    return Cost(double=float(times) * n * sides[0] * sides[1], scanned=times * gathered, fixed=times * fixed)
