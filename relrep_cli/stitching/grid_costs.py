"""What a grid of encoders and heads will cost, for --dry-run: constants fitted to runs, see docs/cluster.md."""

from __future__ import annotations

from relrep_cli.engine.estimates import Cost, of_file, takes, total
from relrep_cli.heads.training_costs import cost_of_training, cost_of_use, library_of
from relrep_cli.numerics.spool import IN_MEMORY
from relrep_cli.relative import projection_costs
from relrep_cli.relative.shared_views import KEPT
from relrep_cli.stitching.grid_run import GridPlan, groups
from relrep_cli.stitching.methods import Method
from relrep_cli.stitching.spaces import Spaces

LOADED = 30e6  # bytes of the libraries of every grid
CELL = 0.012  # seconds for what else there is to a cell, such as its interval
TRANSLATOR = 25.0  # multiply-adds of a fit, for each dim to the third power


def lines_of(plan: GridPlan, processes: int) -> list[str]:
    """What --dry-run prints: a line for each method, and what all of them will cost."""
    cost, unknown = cost_of(plan)
    return [*plan.lines(), takes(cost, processes, unknown)]


def cost_of(plan: GridPlan) -> tuple[Cost, list[str]]:
    """The cost of a plan, and the heads that are not in it because nothing is known of them."""
    spaces, run = plan.spaces, plan.settings
    reading = total(of_file(e.x, e.ids) for e in spaces.es)
    reading = reading.beside(Cost(memory=LOADED + sum(of_file(e.x, e.ids).memory for e in spaces.es) - reading.memory))
    unknown: dict[str, None] = {}
    loaded = total(library_of(name) for name in run.heads)
    kept = sum(_kept(group[0], spaces) for group in groups(run.methods))
    work = Cost()
    for group in groups(run.methods):
        widths = [_width(group[0], spaces, place) for place in range(len(spaces.es))]
        work += total(_views(group[0], spaces))
        for name, params in run.heads.items():
            for h, width in enumerate(widths):
                rows, target = _rows(spaces, h, "train"), spaces.target
                classes = 0 if target is None or target.kind == "numbers" else len(target.classes)
                training = cost_of_training(name, rows, width, classes, params)
                if training is None:
                    unknown[name] = None
                    continue
                cells = [(e, m) for e in range(len(spaces.es)) for m in group if m.label != "none" or e == h]
                used = total(cost_of_use(name, rows, _rows(spaces, e, "test"), width, classes) for e, _ in cells)
                carried = total(_carried(m, spaces, e, h) for e, m in cells if m.translator)
                for _ in run.seeds:
                    work += training + used
                work += carried + Cost(fixed=CELL * len(cells) * len(run.seeds))
    return reading.beside(loaded).beside(work).beside(Cost(memory=min(kept, KEPT))), list(unknown)


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
