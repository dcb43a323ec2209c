"""What an evaluation will cost, for --dry-run: constants fitted to runs of the command, see docs/cluster.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from relrep_cli import store
from relrep_cli.base.errors import DataError
from relrep_cli.engine.estimates import Cost, of_file, takes
from relrep_cli.evaluations import EVALUATIONS, clusters, compression, foreign_rows, retrieval, separation
from relrep_cli.evaluations.findings import Space
from relrep_cli.evaluations.several_files import EvaluationPlan, prepared_space, queries_of
from relrep_cli.heads.training_costs import SKLEARN, cost_of_training, cost_of_use, library_of

SEARCH = Cost(fixed=0.15, memory=4e6)  # a first search, and an interval
HALVES = {"retrieval": 1.6, "separation": 2.5, "cluster": 0.7}  # seconds of intervals from random halves, and what is fixed
RANKED = 9e-8  # seconds to rank one item for one query
SHADED = 2e-8  # seconds of a silhouette for each pair of items
PAIRS = 2e7  # of items, in the halves for the intervals of silhouettes
LLOYD = 160  # products of k-means for each row and centre, in all iterations of a start


def lines_of(plan: EvaluationPlan, processes: int) -> list[str]:
    """What --dry-run prints: a line for each file, and what all of them will cost."""
    work, unknown = Cost(), dict[str, None]()
    for number, file in enumerate(plan.files):
        try:
            e, odd, asked = store.read(file, plan.reading), plan.anomalies[number], queries_of(plan, number)
            strange = store.read(odd[0]) if odd else None
            space = prepared_space(e, plan.targets[0], strange, asked[0] if asked else None, plan)
        except DataError:
            if len(plan.files) == 1:
                raise
            continue  # its records will say so
        space = replace(space, reference=e)
        fit = {name: params for name, params in plan.tasks.items() if not plan.skips or _runs(name, space)}
        cost, without = cost_of(space, fit)
        work += cost
        unknown.update(dict.fromkeys(without))
    lines = [f"evaluate {file} by {', '.join(plan.tasks)}" for file in plan.files]
    return [*lines, takes(work, processes=processes, without=unknown)]


def cost_of(s: Space, tasks: Mapping[str, Mapping[str, Any]]) -> tuple[Cost, list[str]]:
    """The cost of evaluating a space, and the tasks that are not in it because nothing is known of them."""
    reading, work, unknown = of_file(s.e.x, s.e.ids), Cost(scanned=s.e.x.size), []
    for name, params in tasks.items():
        cost = _of_task(name, s, params)
        if cost is None:
            unknown.append(name)
        else:
            work += cost
    return reading.beside(work), unknown


def _runs(name: str, s: Space) -> bool:
    needs = EVALUATIONS[name].needs
    return s.suits(needs) and not s.lacks(needs)


def _searched(queries: int, base: int, d: int) -> Cost:
    return Cost(searched=float(queries) * base * (1 + d / 256), memory=4.0 * (queries + base) * d)


def _of_task(name: str, s: Space, params: Mapping[str, Any]) -> Cost | None:
    learnt, judged, d, count = len(s.train), len(s.test), s.e.d, len(s.classes)
    if name == "linear-probe":
        head = str(params.get("probe", "logistic"))
        training = cost_of_training(head, learnt, d, count, {"hidden": 128, "head_epochs": 0})
        return training and library_of(head).beside(training + cost_of_use(head, learnt, judged, d, count))
    if name == "knn":
        return SEARCH + _searched(judged, learnt, d)
    if name == "regression":
        training = cost_of_training("linear", learnt, d, 0, {})
        return training and SEARCH + training + _searched(judged, learnt, d)
    if name == "anomaly":
        odd = 0 if s.anomalies is None else s.anomalies.n
        return SEARCH + _searched(judged + odd, learnt, d)
    if name == "retrieval":
        queries = min(judged, max(retrieval.FEWEST, retrieval.PAIRS // max(judged, 1)))
        ranked = Cost(fixed=HALVES[name] + RANKED * queries * judged, memory=24.0 * min(queries * judged, retrieval.TILE))
        return SEARCH + ranked + _searched(judged, judged, d)
    if name == "separation":
        n = min(judged, separation.MOST)
        return SEARCH + Cost(fixed=HALVES[name], double=2.0 * n * n * d, memory=48.0 * n * d) + _searched(n, n, d)
    if name == "cluster":
        shaded, fitted = min(judged, clusters.SHADED), min(learnt, clusters.FITTED)
        fits = Cost(double=float(clusters.STARTS * LLOYD) * fitted * count * d)
        shades = Cost(fixed=HALVES[name] + SHADED * (2.0 * shaded * shaded + PAIRS), memory=80e6)
        return SKLEARN.beside(fits + shades)
    if name == "compression":
        forms = compression.forms(d, s.e.x.dtype.name, params["dims"], params["dtype"])
        queries = len(compression.asked_rows(s.e.n, d, 0))
        return SEARCH + Cost(
            scanned=3.0 * s.e.x.size * len(forms),
            memory=4.0 * s.e.x.size,
            searched=queries * s.e.n * (1 + len(forms)) * (1 + d / 256),
        )
    if name == "search":
        return SEARCH + _searched(2 * (s.queries.e.n if s.queries else 0), len(s.test), d)  # again for ranks beyond --k
    if name == "foreign":
        base = min(s.e.n, foreign_rows.COMPARED)
        return Cost(double=float(s.e.n) * base * d, fixed=2e-8 * s.e.n * base, memory=16.0 * 4096 * base)
    return None
