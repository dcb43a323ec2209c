"""`relrep compare`: metrics of two or more spaces."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from relrep_cli import store
from relrep_cli.cli import options
from relrep_cli.cli.anchoring import read_recipe
from relrep_cli.comparison import interval, join, measure, pair
from relrep_cli.embedding import ABSOLUTE, RELATIVE, Embedding, of_split, text
from relrep_cli.errors import DONE, NO, UsageError, printable
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.score import NotApplicable, Score
from relrep_cli.output import Record, progress, render, say, write
from relrep_cli.projection import Recipe, basis, relative
from relrep_cli.similarities import SIMILARITIES

COLUMNS = ("a", "b", "metric", "value", "low", "high", "chance", "n", "k", "convention")
ENDINGS = {".tsv": "tsv", ".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".md": "markdown"}
EXAMPLES = (
    "relrep compare a.rel.h5 b.rel.h5 --metric cosine,jaccard --k 10",
    "relrep compare a.h5 b.h5 --anchors anchors.h5 --split test",
)
Rows = list[tuple[Record, np.ndarray, np.ndarray]]  # record, ids, each row's value


@options.command(METRICS, SIMILARITIES)
def compare(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE FILE...", help="Two or more embedding files.", show_default=False)
    ],
    metric: Annotated[
        list[str], options.names_of(METRICS, "What to measure, repeated or separated by commas.", "--metric", "-m")
    ] = ["cosine", "jaccard", "knn-jaccard", "mrr", "cka"],  # noqa: B006 (typer reads it, nobody changes it)
    anchors: options.Anchors = "",
    similarity: Annotated[
        str | None,
        options.names_of(SIMILARITIES, "With --anchors: the similarity function; cosine unless told.", "--similarity", "-s"),
    ] = None,
    center: options.Center = False,
    anchor_vectors: options.AnchorVectors = None,
    split: options.Split = None,
    require_all: Annotated[bool, typer.Option("--require-all", help="Refuse to leave any row out.")] = False,
    per_row: Annotated[
        str | None,
        typer.Option(
            "--per-row", help="Write each row's own values to FILE (.tsv or .h5).", metavar="FILE", show_default=False
        ),
    ] = None,
    fail_under: Annotated[
        float | None,
        typer.Option("--fail-under", help="Exit with 1 when a value is below this or missing.", show_default=False),
    ] = None,
    output: options.Output = "",
    force: options.Force = False,
    dry_run: options.DryRun = False,
    format: options.AsFormat = None,
    json: options.AsJson = False,
    seed: options.Seed = 0,
    given: options.Given = options.NOTHING,
) -> int:
    """Measure how alike two or more spaces are, for every pair of files.

    Rows join by id. Every value comes with a 95 % confidence interval, its chance level under random pairing and its
    convention. With --anchors and absolute files, each metric is given for the absolute spaces, for their relative
    representations, and as the ratio of the two.
    """
    if len(files) < 2:
        raise UsageError("compare needs two or more files.")
    chosen = given.choose(METRICS, options.split_names(metric))
    kind = options.format_of(format, json)
    for target in filter(None, (output, per_row)):
        store.refuse(target, force, files)
    recipe = _recipe(anchors, similarity, center, anchor_vectors, given)
    seen = [_views(f, split, recipe) for f in files]
    if dry_run:
        options.plan(
            [
                f"compare {a[0].uri} ({a[0].n} x {a[0].d}) with {b[0].uri} ({b[0].n} x {b[0].d}) by {', '.join(chosen)}"
                for a, b in itertools.combinations(seen, 2)
            ]
        )
        return DONE
    records, rows = _measure(seen, chosen, recipe, require_all, seed)
    if per_row:
        _write_rows(per_row, rows, force)
    if output:
        ending = ENDINGS.get(Path(output).suffix.lower(), "tsv")
        store.write_bytes(output, render(records, _columns(recipe), kind or ending).encode(), force)
    else:
        write(records, _columns(recipe), kind)
    return _verdict(records, fail_under)


def _columns(recipe: Recipe | None) -> tuple[str, ...]:
    return COLUMNS if recipe is None else (*COLUMNS, "projection")


def _recipe(
    anchors: str, similarity: str | None, center: bool, vectors: list[str] | None, given: options.Given
) -> Recipe | None:
    if anchors:
        return read_recipe(anchors, similarity or "cosine", center, vectors, given)
    if similarity or center or vectors:
        raise UsageError("--similarity, --center and --anchor-vectors say how to project on --anchors FILE, which is missing.")
    return None


def _views(uri: str, split: str | None, recipe: Recipe | None) -> list[Embedding]:
    """The file as it is and, given a recipe, relative to its anchors; cut to the split after anything was fitted."""
    e = store.read(uri)
    kept = of_split(e, split)
    return [kept] if recipe is None else [kept, relative(kept, basis(e, recipe))]


def _measure(
    seen: list[list[Embedding]], chosen: dict[str, dict[str, object]], recipe: Recipe | None, require_all: bool, seed: int
) -> tuple[list[Record], Rows]:
    """Records of all pairs, and the row values behind them."""
    records: list[Record] = []
    rows: Rows = []
    pairs = list(itertools.combinations(seen, 2))
    with progress("comparing") as advance:
        for done, (a, b) in enumerate(pairs):
            advance(done, len(pairs), f"{a[0].uri} {b[0].uri}")
            shared = join(a[0], b[0], require_all)
            _say_loss(a[0], b[0], len(shared[0]))
            begun = len(records)
            for label, sides in zip(("absolute", recipe.label if recipe else ""), zip(a, b, strict=True), strict=False):
                x, y = pair(*sides, shared)
                if x.kind == RELATIVE or recipe is None:
                    _warn(x, y, list(chosen))
                for name, params in chosen.items():
                    alone = len(chosen) == len(pairs) == 1 and recipe is None
                    record, score = _record(x, y, name, params, seed, alone)
                    records.append(record | ({"projection": label} if recipe else {}))
                    if score is not None and score.rows is not None:
                        rows.append((records[-1], x.ids, score.rows))
            if recipe:
                records += _ratios(records[begun:])
    return records, rows


def _say_loss(a: Embedding, b: Embedding, n: int) -> None:
    if n < max(a.n, b.n):
        say(f"{a.uri} and {b.uri}: {n} common ids; {a.n - n} and {b.n - n} rows left out.")


def _warn(x: Embedding, y: Embedding, names: list[str]) -> None:
    """Coordinates of two spaces mean nothing to each other unless the spaces are one."""
    affected = [n for n in names if METRICS[n].reads_coordinates and x.d == y.d]
    if affected and (not x.space or x.space != y.space):
        spaces = " and ".join(printable(e.space) or "an unnamed one" for e in (x, y))
        say(
            f"{x.uri} and {y.uri}: different spaces ({spaces}), so {', '.join(affected)} read coordinates that need not correspond."
        )


def _record(
    x: Embedding, y: Embedding, name: str, params: dict[str, object], seed: int, alone: bool
) -> tuple[Record, Score | None]:
    base: Record = {"a": x.uri, "b": y.uri, "metric": name}
    try:
        score = measure(name, params, x, y)
    except NotApplicable as reason:
        if alone:
            raise UsageError(f"{x.uri} and {y.uri}: {name} is not applicable: {reason}.") from None
        rest = dict.fromkeys(("value", "low", "high", "chance"))
        return base | rest | {"n": x.n, "k": params.get("k"), "convention": f"n/a: {reason}"}, None
    low, high = interval(name, score, seed)
    base |= {"value": score.value, "low": low, "high": high, "chance": score.chance, "n": x.n, "k": params.get("k")}
    return base | {"convention": score.convention} | dict(score.extra), score


def _ratios(records: list[Record]) -> list[Record]:
    """relative / absolute, a record for each metric of one pair."""
    half = len(records) // 2
    out = []
    for before, after in zip(records[:half], records[half:], strict=True):
        can = before["value"] and after["value"] is not None
        blank = dict.fromkeys(("low", "high", "chance"))
        out.append(
            {k: after[k] for k in ("a", "b", "metric", "n", "k")}
            | {"value": after["value"] / before["value"] if can else None, **blank}
            | {"convention": "relative / absolute" if can else "n/a: no absolute value to divide by", "projection": "ratio"}
        )
    return out


def _write_rows(target: str, rows: Rows, force: bool) -> None:
    if not rows:
        raise UsageError("--per-row: none of the metrics has a value for each row.")
    if target.lower().endswith((".h5", ".hdf5")):
        return _write_matrix(target, rows, force)
    keys = ("a", "b", "metric", "projection")
    flat = [
        {"id": i.decode(errors="backslashreplace"), **{k: r[k] for k in keys if k in r}, "value": v}
        for r, ids, values in rows
        for i, v in zip(ids.tolist(), values.tolist(), strict=True)
    ]
    kind = ENDINGS.get(Path(target).suffix.lower(), "tsv")
    store.write_bytes(target, render(flat, ["id", *(k for k in keys if k in flat[0]), "value"], kind).encode(), force)


def _write_matrix(target: str, rows: Rows, force: bool) -> None:
    """Row values as an embedding file: one column for each metric of one pair of files."""
    ids = rows[0][1]
    if any(len(other) != len(ids) or (other != ids).any() for _, other, _ in rows):
        raise UsageError(f"--per-row {target}: the pairs share different rows; write a .tsv, which holds them all.")
    names = [":".join(str(r[k]) for k in ("metric", "projection", "a", "b") if k in r) for r, _, _ in rows]
    x = np.stack([values for _, _, values in rows], 1)
    store.write(
        target,
        [x],
        shape=x.shape,
        dtype="float64",
        ids=ids,
        obs={},
        var={"id": text(names)},
        kind=ABSOLUTE,
        space="row values",
        steps=[],
        force=force,
    )


def _verdict(records: list[Record], fail_under: float | None) -> int:
    """NO when a value misses --fail-under; where lower is closer, when it is above."""
    if fail_under is None:
        return DONE
    missed = []
    for r in (r for r in records if r.get("projection") not in ("absolute", "ratio")):
        sign = 1 if METRICS[r["metric"]].higher_is_closer else -1
        if r["value"] is None or sign * r["value"] < sign * fail_under:
            missed.append(r)
    for r in missed:
        say(f"{r['a']} and {r['b']}: {r['metric']} is {r['value']}, which misses {fail_under}.")
    return NO if missed else DONE
