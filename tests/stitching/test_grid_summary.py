"""The note below a table of stitched heads: the best method, and those that tie with it."""

from __future__ import annotations

from typing import Any

from relrep_cli.stitching.grid_summary import lines


def cell(method: str, encoder: str, head: str, value: float | None, half: float = 0.02, **more: Any) -> dict[str, Any]:
    ends = (None, None) if value is None else (value - half, value + half)
    return {
        "method": method, "encoder": encoder, "head": head, "decoder": "linear", "accuracy": value,
        "low": ends[0], "high": ends[1], **more,
    }  # fmt: skip


def both(method: str, one: float, other: float | None, **more: Any) -> list[dict[str, Any]]:
    return [cell(method, "a", "a", 1.0), cell(method, "a", "b", one, **more), cell(method, "b", "a", other, **more)]


def test_methods_whose_intervals_overlap_tie() -> None:
    records = [*both("absolute", 0.1, 0.3), *both("ridge", 0.88, 0.9), *both("universe", 0.9, 0.92)]
    assert list(lines(records)) == [
        "linear: mean accuracy 0.910 (0.890 to 0.930) over 2 pairs by universe; ridge ties with it: the intervals overlap."
    ]
    assert list(lines(records[:6])) == [
        "linear: mean accuracy 0.890 (0.870 to 0.910) over 2 pairs by ridge, the best of all methods."
    ]


def test_a_method_that_reaches_fewer_heads_is_not_compared() -> None:
    records = [*both("absolute", 1.0, None), *both("orthogonal", 0.5, 0.5), *both("ridge", 0.51, 0.52)]
    assert [line.partition(" by ")[2] for line in lines(records)] == ["ridge; orthogonal ties with it: the intervals overlap."]
    assert not list(lines(records[:6])), "one method has nothing to tie with"


def test_what_relative_spaces_lose_is_said_with_the_heads_that_lose_less() -> None:
    """Of the best of them, and only for a head that leans on weak columns; a translator's loss has other reasons."""
    low, high = ({"stitching_index": index} for index in (0.5, 0.9))
    lost = both("cosine+center", 0.5, 0.4, **low)
    (line,) = lines(lost)
    assert line.startswith("linear: cosine+center keeps 0.50 of a head's own score") and "--ridge 1" in line
    assert len(list(lines([*lost, *both("ridge", 0.9, 0.9, **high)]))) == 2
    for fine in (both("ridge", 0.5, 0.4, **low), both("cosine", 0.9, 0.9, **high), [*lost, *both("l1", 0.9, 0.9, **high)]):
        assert not any("keeps" in line for line in lines(fine))
    assert not list(lines([{**r, "decoder": "knn"} for r in lost]))


def test_the_least_error_is_the_best() -> None:
    records = [cell(name, "a", "b", None) | {"mse": mse, "low": mse, "high": mse} for name, mse in (("x", 0.2), ("y", 0.1))]
    assert list(lines(records)) == ["linear: mean mse 0.100 (0.100 to 0.100) over one pair by y, the best of all methods."]
