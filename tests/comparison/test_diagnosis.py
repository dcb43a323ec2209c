"""What lies between two files: every relation is named where it holds, and not where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from conftest import Workdir

import relrep_cli as relrep
from relrep_cli.comparison.diagnosis import RELATIONS, diagnose
from relrep_cli.comparison.file_pairs import rounded, spacing
from relrep_cli.comparison.isometries import agreeing, procrustes
from relrep_cli.comparison.relation_names import RELATION_NAMES

N, D = 240, 16
Space = np.ndarray


def space(n: int = N, d: int = D, seed: int = 0) -> Space:
    rng = np.random.default_rng(seed)
    x = rng.standard_t(6, size=(n, d)) * np.linspace(2, 0.5, d) + 3 * rng.normal(size=(4, d))[rng.integers(4, size=n)]
    return (x + rng.normal(size=d)).astype(np.float32)


def turn(d: int, seed: int = 1) -> Space:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def unit(x: Space) -> Space:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def bfloat16(x: Space) -> Space:
    return rounded(x, "bfloat16").astype(np.float32)


def codes(x: Space, axis: int | None) -> Space:
    return np.rint(x / np.abs(x).max(axis, keepdims=True) * 127)


def min_max(x: Space) -> Space:
    low, high = x.min(0), x.max(0)
    return np.rint((x - low) / (high - low) * 255)


def whitened(x: Space, back: bool) -> Space:
    values, vectors = np.linalg.eigh(np.cov(x.T))
    y = (x - x.mean(0)) @ vectors / np.sqrt(values)
    return y @ vectors.T if back else y


def shuffled(x: Space, share: float = 1.0) -> Space:
    rng, order = np.random.default_rng(3), np.arange(len(x))
    some = rng.permutation(len(x))[: int(share * len(x))]
    order[some] = np.roll(some, 1)
    return x[order]


def with_foreign(x: Space, y: Space, share: float) -> Space:
    out = x.copy()
    some = np.random.default_rng(4).permutation(len(x))[: int(share * len(x))]
    out[some] = y[some]
    return out


def noise(x: Space, size: float) -> Space:
    return x + size * x.std() * np.random.default_rng(5).normal(size=x.shape)


X, WIDE = space(), space(60, 96)
OTHER = space(seed=9)
CASES: list[tuple[str, str, Space, Space]] = [
    ("equal", "equal", X, X.copy()),
    ("precision", "float16", X, X.astype(np.float16)),
    ("precision", "bfloat16", X, bfloat16(X)),
    ("precision", "float32 of float64", X.astype(np.float64) * 1.1, (X.astype(np.float64) * 1.1).astype(np.float32)),
    ("precision", "the longer one second", X.astype(np.float16), X),
    ("precision", "codes by row", WIDE, codes(WIDE, 1)),
    ("precision", "codes by column", X, codes(X, 0)),
    ("precision", "codes by file", X, codes(X, None)),
    ("precision", "numbers of codes", X, codes(X, None) * np.abs(X).max() / 127),
    ("precision", "min to max", X, min_max(X)),
    ("precision", "signs", X, np.where(X > 0, 1, -1)),
    ("precision", "zero and one", X, X > 0),
    ("precision", "packed bits", X, np.packbits(X > 0, axis=1)),
    ("precision", "packed and signed", X, np.packbits(X > 0, axis=1).astype(int) - 128),
    ("noise", "a little", X, noise(X, 1e-3)),
    ("noise", "last bits", X, X * (1 + 1e-7 * np.random.default_rng(0).normal(size=X.shape))),
    ("unit-length", "exact", X, unit(X)),
    ("unit-length", "in float16", X, unit(X).astype(np.float16)),
    ("unit-length", "the first file", unit(X), X),
    ("scaled", "twice", X, 2 * X),
    ("scaled", "negative, noise", X, noise(-0.3 * X, 0.01)),
    ("shifted", "a vector", X, X + np.arange(D)),
    ("shifted", "centred, half", X, 0.5 * (X - X.mean(0))),
    ("padded", "zeros", X, np.pad(X, ((0, 0), (0, 5)))),
    ("truncated", "half", X, X[:, :8]),
    ("truncated", "the second file is whole", X[:, :8].astype(np.float16), X),
    ("truncated", "half, float16", X, X[:, :8].astype(np.float16)),
    ("truncated", "half, codes by column", X, codes(X[:, :8], 0)),
    ("truncated", "half, min to max", X, min_max(X[:, :8])),
    ("truncated-unit-length", "half", X, unit(X[:, :8])),
    ("columns-permuted", "shuffled", X, X[:, np.random.default_rng(2).permutation(D)]),
    ("columns-permuted", "few rows", WIDE, WIDE[:, ::-1]),
    ("rotated", "exact", X, X @ turn(D)),
    ("rotated", "scaled, shifted, float16", X, (3 * X @ turn(D) + 1).astype(np.float16)),
    ("rotated", "unit length", X, unit(X) @ turn(D)),
    ("rotated", "noise", X, noise(X @ turn(D), 0.05)),
    ("rotated", "few rows", WIDE, WIDE @ turn(96)),
    ("rotated", "few rows into more dims", WIDE, np.pad(WIDE, ((0, 0), (0, 8))) @ turn(104)),
    ("whitened", "by its axes", X, whitened(X, False)),
    ("whitened", "rotated back", X, whitened(X, True)),
    ("linear-map", "square", X, X @ np.random.default_rng(6).normal(size=(D, D))),
    ("linear-map", "fewer dims", X, noise(X @ np.random.default_rng(6).normal(size=(D, 7)), 0.01)),
    ("rows-reordered", "all", X, shuffled(X)),
    ("rows-reordered", "one place further", X, np.roll(X, 1, 0)),
    ("rows-reordered", "a third", X, shuffled(X, 0.3)),
    ("rows-reordered", "all, half the columns", X, shuffled(X)[:, :8]),
    ("rows-reordered", "all, codes", X, shuffled(codes(X, None))),
    ("rows-reordered", "all, at unit length, float16", X, shuffled(unit(X)).astype(np.float16)),
    ("rotated-rows-reordered", "all", X, shuffled(X @ turn(D))),
    ("rotated-rows-reordered", "all, scaled, centred", X, shuffled(3 * (X - X.mean(0)) @ turn(D))),
    ("rotated-rows-reordered", "a third", X, shuffled(X @ turn(D), 0.3)),
    ("rotated-rows-reordered", "few rows, a third", WIDE, shuffled(WIDE @ turn(96), 0.3)),
    ("foreign-rows", "2 %", X, with_foreign(X, OTHER, 0.02)),
    ("foreign-rows", "half", X, with_foreign(X, OTHER, 0.5)),
    ("foreign-rows", "a fifth, scaled", X, with_foreign(2 * X, OTHER, 0.2)),
    ("foreign-rows", "a fifth, turned", X, with_foreign(X, OTHER, 0.2) @ turn(D)),
    ("foreign-rows", "a fifth, few rows, turned", WIDE, with_foreign(WIDE, space(60, 96, 8), 0.2) @ turn(96)),
    ("related", "strong noise", X, noise(X @ turn(D), 1.0)),
    ("related", "few rows", WIDE, np.tanh(WIDE @ np.random.default_rng(6).normal(size=(96, 96)) / 9)),
    ("unrelated", "independent", X, OTHER),
    ("unrelated", "few rows", WIDE, np.random.default_rng(7).normal(size=(60, 200))),
]


@pytest.mark.parametrize(("relation", "what", "x", "y"), CASES, ids=[f"{c[0]}-{c[1]}".replace(" ", "-") for c in CASES])
def test_each_relation_is_named(relation: str, what: str, x: Space, y: Space) -> None:
    y = (
        y
        if y.dtype in (np.float16, np.float64) and relation == "precision"
        else y.astype(y.dtype if y.dtype == np.float16 else np.float32)
    )
    diagnosis = diagnose(x, y)
    assert diagnosis.relation == relation, (diagnosis.evidence, diagnosis.tried)
    assert list(diagnosis.tried) == [name for name in RELATIONS if name in diagnosis.tried], "simplest first"
    assert relation not in diagnosis.tried or relation in ("rows-reordered", "related")


def test_every_relation_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(RELATIONS) - {"none-of-these"}


@pytest.mark.parametrize(
    "copy",
    [np.copy, lambda x: x.astype(np.float16), bfloat16, lambda x: codes(x, 1), lambda x: codes(x, None), lambda x: x > 0],
    ids=["equal", "float16", "bfloat16", "int8-row", "int8-file", "bits"],
)
def test_one_wrong_number_is_neither_equal_nor_precision(copy: Callable[[Space], Space]) -> None:
    y = np.asarray(copy(X))
    y[100, 3] = y[100, 3] == 0 if y.dtype == bool else y.max() if y[100, 3] < 0 else y.min()
    y = y if y.dtype == np.float16 else y.astype(np.float32)
    assert diagnose(X, y).relation not in ("equal", "precision")


def test_exact_affine_codes_are_no_precision() -> None:
    whole = np.random.default_rng(0).integers(-60, 60, (N, D)).astype(np.float32)
    assert diagnose(whole, whole + 7).relation == "shifted"
    assert diagnose(whole, 2 * whole).relation == "scaled"


def test_a_linear_map_of_few_rows_is_not_decided() -> None:
    y = (WIDE @ np.random.default_rng(6).normal(size=(96, 96))).astype(np.float32)
    diagnosis = diagnose(WIDE, y)
    assert diagnosis.relation in ("related", "none-of-these") and "would fit anything" in diagnosis.evidence


def test_a_sample_of_a_white_distribution_is_not_whitened() -> None:
    x = np.random.default_rng(0).normal(size=(4000, 4))
    y = x @ np.random.default_rng(1).normal(size=(4, 4))
    assert diagnose(x, y).relation == diagnose(y, x).relation == "linear-map"


def test_axes_of_nearly_one_variance_still_tell_rows_apart() -> None:
    x = np.random.default_rng(0).normal(size=(3000, 40)).astype(np.float32)
    assert diagnose(x, shuffled(x @ turn(40)).astype(np.float32)).relation == "rotated-rows-reordered"


def test_constant_spaces_and_few_rows_are_none_of_these() -> None:
    assert diagnose(np.ones((50, 4)), np.full((50, 4), 2.0)).relation == "none-of-these"
    assert diagnose(X[:5], OTHER[:5]).relation == "none-of-these"


def test_foreign_rows_are_those_with_the_largest_errors() -> None:
    y = with_foreign(X @ turn(D).astype(np.float32), OTHER, 0.1)
    diagnosis = diagnose(X, y)
    changed = np.flatnonzero((np.abs(y - X @ turn(D)) > 1e-3).any(1))
    assert diagnosis.relation == "foreign-rows" and diagnosis.share == pytest.approx(1 - len(changed) / N)
    assert set(diagnosis.rows[np.argsort(-diagnosis.residuals)[: len(changed)]]) == set(changed)


@pytest.mark.slow
def test_more_rows_than_are_sampled() -> None:
    x = space(4500, 4)
    y = (x @ turn(4)).astype(np.float32)
    assert diagnose(x, y).relation == "rotated"
    y[4321] = 0
    diagnosis = diagnose(x, y)
    assert diagnosis.relation == "foreign-rows" and diagnosis.rows[diagnosis.residuals.argmax()] == 4321


def test_spacing_is_that_of_numpy_and_of_bits() -> None:
    x = np.abs(X.ravel())
    upper = ((rounded(x, "bfloat16").astype(np.float32).view(np.uint32) + 0x10000).view(np.float32)).astype(np.float64)
    assert np.allclose(upper - rounded(x, "bfloat16"), spacing(rounded(x, "bfloat16"), "bfloat16"))


def test_procrustes_recovers_what_was_done() -> None:
    moved, c, b = procrustes(X.astype(np.float64), 3 * X @ turn(D) + 2)
    assert np.allclose(moved, turn(D), atol=1e-5) and c == pytest.approx(3) and np.allclose(b, 2, atol=1e-4)


def test_rows_that_agree_are_found_among_as_many_that_do_not() -> None:
    y = with_foreign((2 * X @ turn(D)).astype(np.float32), 10 * OTHER, 0.5)
    same = np.flatnonzero((np.abs(y - 2 * X @ turn(D)) < 1e-3).all(1))
    rows, c = agreeing(X.astype(np.float64), y.astype(np.float64)) or (np.empty(0), 0)
    assert c == pytest.approx(2, rel=1e-3) and set(rows) <= set(same) and len(rows) > 0.9 * len(same)


def save(work: Workdir, **spaces: Space) -> None:
    for name, x in spaces.items():
        np.savez(work / f"{name}.npz", x=x, ids=np.array([f"i{i}" for i in range(len(x))]), label=np.array(["q"] * len(x)))


def test_the_command_prints_what_was_tried_and_the_answer(empty: Workdir) -> None:
    save(empty, a=X, b=(X @ turn(D)).astype(np.float32), c=X)
    rows = empty.here("relrep compare a.npz b.npz --diagnose").rows
    assert [r["holds"] for r in rows] == ["no"] * (len(rows) - 1) + ["yes"]
    assert rows[-1]["relation"] == "rotated" and float(rows[-1]["noise"]) < 1e-5 and rows[-1]["n"] == str(N)
    records = json.loads(empty.here("relrep compare a.npz c.npz b.npz --diagnose --json").stdout)
    assert [r["relation"] for r in records if r["holds"] == "yes"] == ["equal", "rotated", "rotated"]
    empty.here("relrep compare a.npz b.npz --diagnose -o found.tsv")
    assert "rotated" in (empty / "found.tsv").read_text()


def test_accept_is_the_exit_code(empty: Workdir) -> None:
    save(empty, a=X, b=X.astype(np.float16), c=2 * X)
    empty.here("relrep compare a.npz b.npz --diagnose --accept precision")
    empty.here("relrep compare a.npz c.npz --diagnose --accept scaled")
    done = empty.here("relrep compare a.npz c.npz --diagnose --accept precision", 1)
    assert "scaled, which is not precision or simpler" in done.stderr
    empty.here("relrep compare a.npz c.npz --diagnose", 0)


def test_worst_lists_the_foreign_rows(empty: Workdir) -> None:
    y = X.copy()
    y[[7, 30]] = OTHER[[7, 30]]
    save(empty, a=X, b=y)
    rows = empty.here("relrep compare a.npz b.npz --diagnose --worst 3").rows
    assert {r["id"] for r in rows[:2]} == {"i7", "i30"} and rows[0]["relation"] == "foreign-rows" and rows[0]["label"] == "q"
    assert float(rows[1]["value"]) > 0.1 > float(rows[2]["value"])


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("--accept equal", 2, ["--accept", "--diagnose"]),
        ("--diagnose --accept rotatd", 2, ["rotatd", "rotated"]),
        ("--diagnose --metric cka", 2, ["--metric", "--diagnose"]),
        ("--diagnose --k 3", 2, ["--k", "--diagnose"]),
        ("--diagnose --matrix", 2, ["--matrix", "--diagnose"]),
    ],
)
def test_contradictions_are_one_line(empty: Workdir, options: str, code: int, words: list[str]) -> None:
    save(empty, a=X, b=X)
    empty.error(f"relrep compare a.npz b.npz {options}", code, *words)


def test_a_number_that_is_not_finite_is_one_line(empty: Workdir) -> None:
    y = X.copy()
    y[3, 3] = np.nan
    save(empty, a=X, b=y, c=X)
    empty.error("relrep compare a.npz b.npz --diagnose", 3, "b.npz", "NaN")
    done = empty.here("relrep compare a.npz b.npz c.npz --diagnose --json", 3)
    assert [bool(r["error"]) for r in json.loads(done.stdout)] == [True, False, True]


def test_the_help_names_every_relation() -> None:
    assert tuple(RELATIONS) == RELATION_NAMES


IDS = [f"item-{i}" for i in range(N)]
AS_TEXT = sorted(range(N), key=lambda place: IDS[place])


@pytest.mark.parametrize(
    ("y", "ids", "words"),
    [
        (np.roll(X, 1, 0), IDS, "each row of b holds the vector 1 place earlier in a"),
        (np.roll(X, -3, 0), IDS, "each row of b holds the vector 3 places later in a"),
        (X[::-1], IDS, "the rows of b run backwards"),
        (X, [IDS[i] for i in AS_TEXT], "as if the ids were sorted as text (item-10 before item-2)"),
        (shuffled(X), IDS, "no simple order: item-0 of b holds the vector of item-"),
        (X[::-1, :8], IDS, "only the first 8 of 16 columns; the rows of b run backwards"),
        (np.roll(codes(X, None), 1, 0), IDS, "in 8-bit codes, a scale for the file; each row of b"),
    ],
)
def test_the_order_of_moved_rows_is_named(y: Space, ids: list[str], words: str) -> None:
    answer = relrep.diagnose(X, y.astype(np.float32), ids_x=IDS, ids_y=ids)
    assert answer.relation == "rows-reordered" and words in answer.evidence, answer.evidence


def test_the_first_columns_say_their_precision() -> None:
    for y, words in (
        (X[:, :8].astype(np.float16), "in float16"),
        (codes(X[:, :8], 0), "in 8-bit codes, a scale for each column"),
    ):
        assert diagnose(X, y).evidence == f"b from a: the first 8 of 16 columns, {words}"
    assert diagnose(X[:, :8].astype(np.float16), X).evidence == "a from b: the first 8 of 16 columns, in float16"
