"""What a grid of encoders and heads will cost, for --dry-run: constants fitted to runs, see docs/cluster.md."""

from __future__ import annotations

from collections.abc import Sequence

from relrep_cli.engine.estimates import Cost, of_file, takes, total
from relrep_cli.engine.shards import Shard
from relrep_cli.heads.training_costs import cost_of_training, cost_of_use, library_of
from relrep_cli.numerics.spool import IN_MEMORY
from relrep_cli.relative import projection_costs
from relrep_cli.relative.shared_views import KEPT
from relrep_cli.stitching.grid_run import GridPlan, frame_of, groups, tasks_of
from relrep_cli.stitching.methods import Method
from relrep_cli.stitching.spaces import Spaces

LOADED = 30e6  # bytes of the libraries of every grid
CELL = 0.012  # seconds for what else there is to a cell, such as its interval
TRANSLATOR = 25.0  # multiply-adds of a fit, for each dim to the third power


def lines_of(plan: GridPlan, processes: int, part: Shard | None = None) -> list[str]:
    """What --dry-run prints: a line for each method, or one for a part, and what they will cost."""
    tasks = [] if plan.spaces.target is None else tasks_of(frame_of(plan.spaces, plan.settings))
    own = tasks if part is None else [tasks[place] for place in part.of(len(tasks))]
    lines = plan.lines() if part is None else [f"train {len(own)} of {len(tasks)} heads"]
    cost, unknown = cost_of(plan, own)
    return [*lines, takes(cost, processes, unknown)]


def cost_of(plan: GridPlan, tasks: Sequence[tuple[int, str, int]]) -> tuple[Cost, list[str]]:
    """The cost of these tasks of a plan, see `tasks_of`, and the heads that are not in it because nothing is known of them."""
    spaces, run = plan.spaces, plan.settings
    reading = total(of_file(e.x, e.ids) for e in spaces.es)
    reading = reading.beside(Cost(memory=LOADED + sum(of_file(e.x, e.ids).memory for e in spaces.es) - reading.memory))
    used = [group for place, group in enumerate(groups(run.methods)) if any(place == task[0] for task in tasks)]
    loaded = total(library_of(name) for name in dict.fromkeys(name for _, name, _ in tasks))
    work = total(view for group in used for view in _views(group[0], spaces))
    unknown: dict[str, None] = {}
    for place, name, h in tasks:
        cost = _of_head(groups(run.methods)[place], name, h, plan)
        if cost is None:
            unknown[name] = None
        else:
            work += cost
    kept = Cost(memory=min(sum(_kept(group[0], spaces) for group in used), KEPT))
    return reading.beside(loaded).beside(work).beside(kept), list(unknown)


def _of_head(group: Sequence[Method], name: str, h: int, plan: GridPlan) -> Cost | None:
    """Training one head of one space, and using it on all; None where nothing is known of it."""
    spaces, run = plan.spaces, plan.settings
    rows, target, width = _rows(spaces, h, "train"), spaces.target, _width(group[0], spaces, h)
    classes = 0 if target is None or target.kind == "numbers" else len(target.classes)
    training = cost_of_training(name, rows, width, classes, run.heads[name])
    if training is None:
        return None
    cells = [(e, m) for e in range(len(spaces.es)) for m in group if m.label != "none" or e == h]
    used = total(cost_of_use(name, rows, _rows(spaces, e, "test"), width, classes) for e, _ in cells)
    carried = total(_carried(m, spaces, e, h) for e, m in cells if m.translator)
    return total([training + used] * len(run.seeds)) + carried + Cost(fixed=CELL * len(cells) * len(run.seeds))


def _rows(spaces: Spaces, place: int, split: str) -> int:
    rows = spaces.es[place].rows_of_split(split)
    return 0 if rows is None else len(rows)


def _width(m: Method, spaces: Spaces, place: int) -> int:
    if m.universe:
        return min(e.d for e in spaces.es)
    return spaces.es[place].d if m.recipe is None else m.recipe.width()


def _views(m: Method, spaces: Spaces) -> list[Cost]:
    """The rows of every space in the coordinates of a method."""
    if m.recipe is None:
        return []
    costs = [projection_costs.cost_of(e, m.recipe) for e in spaces.es]
    spooled = any(4.0 * e.n * m.recipe.width() > IN_MEMORY for e in spaces.es)
    return [Cost(single=one.single, scanned=one.scanned / 2, memory=IN_MEMORY * spooled) for one in costs]


def _kept(m: Method, spaces: Spaces) -> float:
    """The bytes of the similarities of all spaces that stay in memory, because they are small."""
    if m.recipe is None:
        return 0.0
    sizes = [4.0 * e.n * m.recipe.width() for e in spaces.es]
    return sum(size for size in sizes if size <= IN_MEMORY)


def _carried(m: Method, spaces: Spaces, e: int, h: int) -> Cost:
    """Fitting a translator, and translating the test rows."""
    d = max(spaces.es[e].d, spaces.es[h].d)
    fitted = 0 if spaces.recipe is None else len(spaces.recipe.anchor_ids)
    return Cost(double=3.0 * fitted * d * d + TRANSLATOR * d**3 + float(_rows(spaces, e, "test")) * d * d)
