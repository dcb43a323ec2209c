"""Truncated and quantised vectors: the recall is that of a plain search, and the smallest form is named."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.evaluations import compression
from relrep_cli.evaluations.compression import forms, recall_of_signs, shortened
from relrep_cli.evaluations.findings import Space


def nested(n: int = 300, d: int = 32, seed: int = 0) -> np.ndarray:
    """(n, d) float32 whose first columns hold most of the variance."""
    return (np.random.default_rng(seed).normal(size=(n, d)) * 0.8 ** np.arange(d)).astype(np.float32)


def plain(x: np.ndarray, k: int, cosine: bool = True) -> np.ndarray:
    """(n, k) nearest rows by all distances in float64; the earlier row of equally near ones."""
    x = x.astype(np.float64)
    x = x / np.linalg.norm(x, axis=1, keepdims=True) if cosine else x
    distance = np.square(x[:, None] - x[None]).sum(2).round(12)
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1, kind="stable")[:, :k]


def recall(x: np.ndarray, y: np.ndarray, k: int, cosine: bool = True) -> float:
    pairs = zip(plain(x, k, cosine), plain(y, k, cosine), strict=True)
    return float(np.mean([len(set(a) & set(b)) / k for a, b in pairs]))


def scores(x: np.ndarray, **options: object) -> dict[str, float]:
    e = Embedding(x, row_numbers(len(x)), uri="x")
    space = Space(e, np.arange(e.n), np.arange(e.n))
    return {f.name: f.value for f in compression.compression(space, **options)}  # type: ignore[arg-type]


def test_recall_is_that_of_a_plain_search() -> None:
    x = nested()
    values = scores(x, dims=8, dtype=("float16", "bits"), k=5)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert values["recall@5 8 float32"] == pytest.approx(recall(x, x[:, :8], 5))
    assert values["recall@5 32 float16"] == pytest.approx(recall(x, unit.astype(np.float16), 5), abs=0.005)
    assert set(values) == {
        *(f"recall@5 {d} {t}" for d in (8, 32) for t in ("float16", "bits")),
        "recall@5 8 float32",
        "smallest",
    }


def test_equally_near_signs_count_by_their_share() -> None:
    """As the mean over many random orders of the rows, of which each settles the ties in its own way."""
    signs, rng = np.where(nested(60)[:, :4] > 0, 1, -1), np.random.default_rng(0)
    true = plain(nested(60), 5)
    got = recall_of_signs(signs.astype(np.float32), np.arange(60), true)
    alike = (signs @ signs.T).astype(np.float64)
    np.fill_diagonal(alike, -np.inf)
    drawn = np.zeros(60)
    for _ in range(400):
        nearest = np.argsort(-(alike + 0.5 * rng.random(alike.shape)), axis=1)[:, :5]
        drawn += [len(set(a) & set(b)) / 5 for a, b in zip(true, nearest, strict=True)]
    assert got == pytest.approx(drawn / 400, abs=0.06) and got.mean() == pytest.approx((drawn / 400).mean(), abs=0.005)


def test_euclidean_distances_keep_lengths() -> None:
    x = nested() * np.random.default_rng(1).uniform(0.5, 3, (300, 1)).astype(np.float32)
    values = scores(x, dims=8, k=5, neighbors="euclidean")
    assert values["recall@5 8 float32"] == pytest.approx(recall(x, x[:, :8], 5, cosine=False))
    assert values["recall@5 8 float32"] != pytest.approx(scores(x, dims=8, k=5)["recall@5 8 float32"])


def test_columns_of_zeros_cost_nothing() -> None:
    x = np.pad(nested(d=8), ((0, 0), (0, 24)))
    values = scores(x, dims=8, k=5)
    assert values["recall@5 8 float32"] == 1 and values["smallest"] == 32


def test_integers_survive_eight_bits() -> None:
    x = np.random.default_rng(0).integers(-127, 128, (200, 6)).astype(np.float32)
    x[0], x[1] = 127, -127
    assert scores(x, dtype="int8", k=3, neighbors="euclidean")["recall@3 6 int8"] == 1


def test_the_smallest_form_keeps_its_share() -> None:
    x = nested(600)
    values = scores(x, dims=(4, 8, 16), dtype=("float16", "int8"), k=10, keep=0.9)
    sizes = {f"recall@10 {d} {t}": d * b for d in (4, 8, 16, 32) for t, b in (("float32", 4), ("float16", 2), ("int8", 1))}
    good = [sizes[name] for name, value in values.items() if name in sizes and value > 0.92]
    assert values["smallest"] <= min(good)
    assert scores(np.random.default_rng(0).normal(size=(200, 16)), dims=2, dtype="bits", k=5)["smallest"] == 16 * 8


@pytest.mark.parametrize(
    ("stored", "dims", "dtype", "expected"),
    [
        ("float32", 0, "float32", 15),  # a half, a quarter and an eighth, and all columns, in four kinds, less the stored form
        ("float32", 0, "bits", 1),
        ("float16", (4, 2), ("float32", "int8"), 5),
        ("float64", 4, "float32", 3),
    ],
)
def test_forms_are_smaller_than_what_is_stored(stored: str, dims: object, dtype: object, expected: int) -> None:
    assert len(forms(16, stored, dims, dtype)) == expected  # type: ignore[arg-type]


def test_signs_of_zero_are_low() -> None:
    assert shortened(np.array([[0.0, -0.1, 0.1]]), "bits", np.ones(3)).tolist() == [[-1, -1, 1]]


@pytest.mark.slow
def test_the_command_needs_no_task_name(empty: Workdir) -> None:
    np.savez(empty / "a.npz", x=nested())
    rows = empty.here("relrep evaluate a.npz --dims 4,8,16 --dtype float16,int8,bits --k 5").rows
    assert {r["task"] for r in rows} == {"compression"} and len(rows) == 16
    one = next(r for r in rows if r["name"] == "recall@5 8 int8")
    assert (one["dims"], one["dtype"], one["bytes"]) == ("8", "int8", "8") and one["low"] < one["value"] < one["high"]
    empty.here("relrep evaluate a.npz --dims 4,8 --dtype int8 --k 5 --plot rates.svg -o a.tsv")
    assert "recall@5 by size" in (empty / "rates.svg").read_text()
    assert "compression" not in empty.here("relrep evaluate a.npz").stdout
    assert "recall@10 4 float32" in empty.here("relrep evaluate a.npz --task compression").stdout


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("--dims 64", 3, ["--dims 64", "32"]),
        ("--dims x", 2, ["--dims", "integer"]),
        ("--dtype int4", 2, ["--dtype", "int4"]),
        ("--dims 4 --k 400", 3, ["--k 400", "--k 298"]),
        ("--dims 4 --task knn", 2, ["--dims", "compression"]),
    ],
)
def test_what_cannot_be_is_one_line(empty: Workdir, options: str, code: int, words: list[str]) -> None:
    np.savez(empty / "a.npz", x=nested(), ids=np.arange(300).astype(str))
    empty.error(f"relrep evaluate a.npz {options}", code, *words)
