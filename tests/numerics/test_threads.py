"""Pieces of work on several threads: in order, one error ends them, and settings of the caller hold."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from relrep_cli.base import signals
from relrep_cli.numerics.threads import in_order, run_all, thread_count


@pytest.fixture(params=["1", "3"], autouse=True)
def count(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("RELREP_THREADS", request.param)
    return int(request.param)


def test_results_come_in_the_order_of_the_pieces(count: int) -> None:
    gate = threading.Event()

    def last_first(piece: int) -> int:
        if count > 1 and piece == 0:
            gate.wait(10)  # until another piece is done
        gate.set()
        return piece * piece

    assert thread_count() == count
    assert list(in_order(last_first, range(20))) == [piece * piece for piece in range(20)]


def test_the_first_error_ends_the_work() -> None:
    done = []

    def fails(piece: int) -> None:
        if piece == 3:
            raise ValueError("piece 3")
        done.append(piece)

    with pytest.raises(ValueError, match="piece 3"):
        run_all(fails, range(1000))
    assert len(done) < 20, "the others are not started"


def test_a_piece_that_spreads_work_does_so_on_its_own_thread(count: int) -> None:
    def outer(piece: int) -> set[int]:
        return {threading.get_ident(), *in_order(lambda _: threading.get_ident(), range(4))}

    threads = list(in_order(outer, range(6)))
    assert all(len(actual) == 1 for actual in threads)
    assert len(set().union(*threads)) <= count


def test_numpy_is_as_quiet_in_a_piece_as_around_it() -> None:
    zeros = np.zeros(2)
    with np.errstate(all="ignore"):
        assert all(np.isnan(value).all() for value in in_order(lambda _: zeros / zeros, range(4)))


def test_a_signal_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_pending", [2])
    with pytest.raises(signals.Interrupted):
        run_all(lambda piece: None, range(10**6))
