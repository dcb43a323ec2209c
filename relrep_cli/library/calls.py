"""The functions of the library. Each takes paths, arrays or Embeddings, and runs the core that its command runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.anchors import STRATEGIES, choose
from relrep_cli.anchors.id_lists import read_anchors
from relrep_cli.anchors.shared_items import candidates
from relrep_cli.base.errors import UsageError, unknown
from relrep_cli.base.output import say
from relrep_cli.base.task_cache import Records
from relrep_cli.comparison.diagnosis_records import diagnose_pairs
from relrep_cli.comparison.plans import Outputs, make_plan
from relrep_cli.comparison.runs import run
from relrep_cli.embedding import Embedding, in_id_order
from relrep_cli.heads.heads import HEADS
from relrep_cli.library.given_spaces import Column, Space, as_embedding, ids_of
from relrep_cli.library.result_tables import Result, Results, notes_kept
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.catalogue import expand, remarks
from relrep_cli.neighbors import By
from relrep_cli.numerics.workspace import Workspace
from relrep_cli.relative.file_views import views_of_space
from relrep_cli.relative.preparation import Preprocessing
from relrep_cli.relative.projection import basis, relative
from relrep_cli.relative.recipes import Postprocessing, Recipe
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.stitching.grid_run import Run, records_of
from relrep_cli.stitching.methods import SIMILARITY, USUAL, MethodChoice, methods
from relrep_cli.stitching.spaces import Column as Target
from relrep_cli.stitching.spaces import Division, spaces_of
from relrep_cli.stitching.translators import TRANSLATORS
from relrep_cli.stitching.universe import UNIVERSES

Names = str | Iterable[str]


def read(uri: str | os.PathLike[str], **columns: Any) -> Embedding:
    """Read a file in any format that docs/reading.md lists.

    uri: a path, or a path and the name of an embedding in it, such as "a.h5::layer/3".
    columns: `ids`, `labels`, `split` and `space` replace what the file holds; see `as_embedding`.

    Raises DataError for a file that is missing, damaged or ambiguous.
    """
    return as_embedding(os.fspath(uri), **columns)


def write(x: Space, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write an embedding as a file of format version 1 (docs/format.md), which other programs read as HDF5.

    Raises WriteError where the file exists and `overwrite` is not set, or cannot be written.
    """
    e, output = as_embedding(x), os.fspath(path)
    store.refuse(output, overwrite, [e.uri])
    store.write(
        output, [e.x], shape=e.x.shape, dtype=e.x.dtype.name, ids=e.ids, obs=dict(e.obs), var=dict(e.var), kind=e.kind,
        space=e.space, steps=list(e.steps), uns=dict(e.uns), source_space=e.source_space, row_ids=e.row_ids, force=overwrite,
    )  # fmt: skip


def anchor(
    x: Space, n: int = 300, *, strategy: str = "random", split: str | None = None, seed: int = 0, **options: Any
) -> np.ndarray:
    """Choose n anchors among the training rows of a space, as `relrep anchor` does.

    x: see `as_embedding`. strategy: `relrep anchor --help` lists them; those that choose pairs or mixtures are the command's
    alone. split: choose from this split, or from "all". options: of the strategy, by their names on the command line.

    Returns their ids (n,), UTF-8 in a NumPy "S" array.

    Raises UsageError for an unknown strategy or option, DataError for fewer than n candidates.
    """
    e, entry = as_embedding(x), STRATEGIES[strategy]
    if entry.gives != "items" or entry.reads in ("list", "collections", "seeds"):
        raise UsageError(f"strategy {strategy} needs files", "Use the command relrep anchor.")
    params = STRATEGIES.choose([strategy], options)[strategy]
    c = candidates([e], split, False, None)
    return c.ids[choose(c, strategy, n, np.random.default_rng(seed), params)]


def project(x: Space, anchors: Any, *, double: bool = False, exact: bool = False, **how: Any) -> Embedding:
    """Describe each item by its similarities to the anchors (Moschella et al. 2022, equation 1).

    x: see `as_embedding`. anchors: their ids (m,), row numbers of an array, or an anchor file.
    double: compute in float64. exact: the same bits on every processor; see docs/reliability.md.
    how: `similarity` (a name, or several, default cosine), `aggregate`, `center`, `scale`, `whiten`, `normalize`,
    `standardize`, `negate`, `transductive`, `anchor_vectors` (a file of the same space), and options of the functions.

    Returns an Embedding with x (n, m), and the ids and columns of the input.

    Raises DataError when an anchor has no vector in this space, UsageError for an unknown function or option.
    """
    e = in_id_order(as_embedding(x))
    return relative(e, basis(e, recipe_of(anchors, **how), double, exact))


def recipe_of(
    anchors: Any,
    *,
    similarity: Names = "cosine",
    aggregate: str = "",
    center: bool = False,
    scale: bool = False,
    whiten: bool = False,
    normalize: bool = False,
    standardize: bool = False,
    negate: bool = False,
    transductive: bool = False,
    anchor_vectors: Space | None = None,
    **options: Any,
) -> Recipe:
    """Return the settings of a projection. anchors: ids, row numbers, or an anchor file."""
    if isinstance(anchors, str | os.PathLike):
        ids, spare, meaning = read_anchors(os.fspath(anchors))
    elif isinstance(anchors, Embedding):
        ids, spare, meaning = anchors.ids, anchors, None
    else:
        ids, spare, meaning = ids_of(anchors), None, None
    chosen = SIMILARITIES.choose(names_of(similarity), options)
    sources = [one for one in (spare, None if anchor_vectors is None else as_embedding(anchor_vectors)) if one is not None]
    return Recipe(
        ids,
        similarities=chosen,
        before=Preprocessing(center, scale, whiten, normalize),
        aggregate=aggregate or ("concat" if len(chosen) > 1 else ""),
        after=Postprocessing(negate, standardize),
        transductive=transductive,
        anchor_sources=tuple(sources),
        meaning=meaning,
    )


def compare(
    x: Space,
    y: Space,
    *others: Space,
    metric: Names = "cka",
    anchors: Any = None,
    recipe: Mapping[str, Any] | None = None,
    ids_x: Column | None = None,
    ids_y: Column | None = None,
    labels: Column | None = None,
    split: str | None = None,
    permutations: int = 0,
    seed: int = 0,
    require_all: bool = False,
    **options: Any,
) -> Results:
    """Measure how alike two or more spaces are, as `relrep compare` does.

    x, y, others: see `as_embedding`. Rows join by id; arrays without ids pair by position, and must have equal lengths.
    metric: a name, a family, "all", or several. options: of the metrics, such as k, or as_="angle" for procrustes.
    anchors: also compare the relative spaces on these anchors; recipe: how to project, see `project`.
    ids_x, ids_y: (n,) ids of the rows of x and of y. labels: (n,) of x, for metrics that need them.
    split: compare these rows alone. permutations: of a permutation test, which adds p, q and corrected.

    Returns one record for each pair, metric and view. `result.value`, `.low`, `.high`, `.chance` where there is one record.

    Raises UsageError for an unknown metric or option, or when the only metric has no value; DataError when rows do not join.

    >>> x = np.arange(40.0).reshape(20, 2) ** 2
    >>> found = compare(x, -x, metric=["cka", "knn-jaccard"], k=3)
    >>> [(r.metric, round(r.value, 6)) for r in found]
    [('cka', 1.0), ('knn-jaccard', 1.0)]
    """
    spaces = _named([x, y, *others], [ids_x, ids_y], labels)
    names = expand(names_of(metric))
    chosen = METRICS.choose(names, options)
    recipes = [] if anchors is None else recipe_of(anchors, **(recipe or {})).each_similarity()
    if anchors is None and recipe:
        raise UsageError("recipe says how to project on anchors, which are missing", "Give anchors, or leave recipe out.")
    with notes_kept() as notes:
        for remark in remarks(names):
            say(f"{remark}.")
        plan = make_plan(
            [[e.uri] for e in spaces], chosen, Outputs(permutations=permutations), seed=seed, require_all=require_all
        )
        cache = Records(None)
        views = {e.uri: views_of_space(e, split, recipes) for e in spaces}
        found = run(plan, views, cache, Workspace.of_run(cache))
    return _results(found.records, notes)


def diagnose(x: Space, y: Space, *, ids_x: Column | None = None, ids_y: Column | None = None, seed: int = 0) -> Result:
    """Find the simplest relation between two spaces of the same items, as `relrep compare --diagnose` does.

    Returns its record: `relation`, with the evidence for it. docs/diagnosis.md lists the relations.

    >>> x = np.random.default_rng(0).normal(size=(60, 4))
    >>> diagnose(x, 3 * x).relation
    'scaled'
    """
    a, b = _named([x, y], [ids_x, ids_y], None)
    views: Any = {e.uri: views_of_space(e, None, []) for e in (a, b)}
    (found,) = diagnose_pairs([(a.uri, b.uri)], views, False, seed)
    return Result(next(record for record in found.records() if record["holds"] == "yes"))


def stitch(
    *spaces: Space,
    anchors: Any = None,
    labels: Column | None = None,
    split: Column | None = None,
    target: str = "label",
    method: Names = (),
    head: Names = "linear",
    similarity: Names = (),
    aggregate: Names = ("concat", "sum", "mean"),
    test_size: float | None = None,
    allow_test_anchors: bool = False,
    seeds: int = 1,
    seed: int = 0,
    device: str = "cpu",
    recipe: Mapping[str, Any] | None = None,
    **options: Any,
) -> Results:
    """Train a head on each space and run it on every other, as `relrep stitch` does.

    spaces: two or more; see `as_embedding`. anchors: ids, row numbers, or an anchor file; needed but for method "absolute".
    labels, split: (n,) of the first space, for arrays. target: the column that heads predict.
    method, head: names, or several; no method means the usual ones, with the centred cosine as the relative one.
    recipe: how to project, see `project`.
    test_size: share of test rows where no space has a split. options: of heads and translators.

    Returns one record for each encoder, head and method; `stitching_index` is the stitched score over the end-to-end score.

    Raises UsageError for an unknown name or option; DataError when a test item is a training item elsewhere, or an anchor.
    """
    es = _named(list(spaces), [], labels)
    if split is not None and es:
        es[0] = as_embedding(es[0], split=split)
    es = [_with_columns(e, es[0], (target, "split")) for e in es]
    found_names, heads = names_of(method), names_of(head)
    choice = MethodChoice(found_names or USUAL, names_of(aggregate), {})
    given = {name: {k: v for k, v in options.items() if k in registry.keywords()} for name, registry in _REGISTRIES.items()}
    if wrong := next((name for name in options if not any(name in known for known in given.values())), ""):
        known = [*HEADS.keywords(), *TRANSLATORS.keywords(), *UNIVERSES.keywords()]
        raise unknown("option of a head, translator or universe", wrong, known)
    for kind, registry in (("translators", TRANSLATORS), ("universes", UNIVERSES)):
        if named := [name for name in choice.families if name in registry]:
            choice = replace(choice, translators={**choice.translators, **registry.choose(named, given[kind])})
    how: dict[str, Any] = {"similarity": names_of(similarity) or SIMILARITY, **(recipe or {})}
    if not found_names and not names_of(similarity) and not recipe:
        how = {"similarity": "cosine", "center": True}
    made = None if anchors is None else recipe_of(anchors, **how)
    with notes_kept() as notes:
        division = Division(test_size, seed, allow_test_anchors)
        joined = spaces_of(es, made, Target(target), division)
        settings = Run(
            methods(choice, made),
            HEADS.choose(heads, given["heads"]),
            range(seed, seed + seeds),
            device,
            Records(None),
            _ignore,
        )
        records = records_of(joined, settings)
    return _results(records, notes)


_REGISTRIES: dict[str, Any] = {"heads": HEADS, "translators": TRANSLATORS, "universes": UNIVERSES}


def _ignore(*_: Any) -> None:
    return None


def nearest(x: Space, k: int = 10, *, queries: Any = None, by: By = "cosine", farthest: bool = False) -> Results:
    """Find the k nearest, or farthest, items of some, as `relrep neighbors` does.

    x: see `as_embedding`. queries: ids, or whole numbers for rows of x; None for all. by: "cosine" or "euclidean".

    Returns one record for each query and rank. An item is not its own neighbour; equal distances are sorted by id.
    """
    from relrep_cli.evaluations.lookup import look_up, rows_of_ids
    from relrep_cli.evaluations.lookup import records_of as listed

    given = as_embedding(x)
    e = in_id_order(given)
    if queries is not None and np.asarray(queries).dtype.kind in "iu":
        queries = given.ids[np.asarray(queries)]
    wanted = e.ids if queries is None else ids_of(queries)
    rows = rows_of_ids(e, [i.decode() for i in wanted.tolist()], lambda ids: ids)
    found = look_up(e, rows, np.arange(e.n), k, by, farthest)
    return _results(list(listed(e, rows, found, e.obs.get("label"))), [])


def names_of(names: Names) -> list[str]:
    """Names given one by one, or with commas."""
    several = [names] if isinstance(names, str) else list(names)
    return [part.strip() for name in several for part in name.split(",") if part.strip()]


def _named(spaces: Sequence[Space], ids: Sequence[Column | None], labels: Column | None) -> list[Embedding]:
    """The spaces as Embeddings with a name each, by which records tell them apart."""
    letters = ["x", "y", *(f"z{i}" for i in range(1, len(spaces)))]
    out: list[Embedding] = []
    for place, space in enumerate(spaces):
        own = ids[place] if place < len(ids) else None
        e = as_embedding(space, ids=own, labels=labels if place == 0 else None, name=letters[place])
        taken = {other.uri for other in out}
        out.append(replace(e, uri=e.uri if e.uri and e.uri not in taken else letters[place]))
    return out


def _with_columns(e: Embedding, first: Embedding, names: Sequence[str]) -> Embedding:
    """A space with the columns that it lacks and the first space has, row by row, where both have the same ids in order."""
    missing = {name: first.obs[name] for name in names if name in first.obs and name not in e.obs}
    if not missing or e.n != first.n or not np.array_equal(e.ids, first.ids):
        return e
    return replace(e, obs={**e.obs, **missing})


def _results(records: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> Results:
    columns = list(dict.fromkeys(name for record in records for name in record))
    return Results(list(records), columns, tuple(notes))
