"""The thin singular value decomposition goes on where LAPACK's fast routine gives up."""

from __future__ import annotations

import numpy as np
import pytest

from relrep_cli.numerics import recent_results
from relrep_cli.numerics.recent_results import recent
from relrep_cli.numerics.singular_values import thin_svd


def test_where_the_fast_routine_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it did on products of 291 anchors of 768 and 512 dims, on one kind of processor."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 20))
    expected = thin_svd(x)

    def fails(*_: object, **__: object) -> None:
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", fails)
    u, s, v = thin_svd(x)
    assert (u.shape, s.shape, v.shape) == ((30, 20), (20,), (20, 20))
    assert s == pytest.approx(expected[1], abs=1e-12)
    assert (u * s) @ v == pytest.approx(x, abs=1e-12)


def test_what_was_decomposed_a_short_while_ago_is_not_decomposed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def scaled(x: np.ndarray, factor: float = 1.0) -> np.ndarray:
        calls.append(factor)
        return x * factor

    monkeypatch.setattr(recent_results, "_results", {})
    monkeypatch.setattr(recent_results, "KEPT", 2 * 80)
    x = np.arange(10.0)
    assert (recent(scaled, x) == x).all() and recent(scaled, x.copy()) is recent(scaled, x) and calls == [1.0]
    assert (recent(scaled, x, 2.0) == 2 * x).all() and (recent(scaled, 2 * x) == 2 * x).all() and len(calls) == 3
    recent(scaled, x, 2.0)
    assert len(calls) == 3
    recent(scaled, x)
    assert len(calls) == 4, "the oldest made room"
    with pytest.raises(ValueError, match="read-only"):
        recent(scaled, x)[0] = 1
