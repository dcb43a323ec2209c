"""What docs/reliability.md promises about bits: same bytes for any threads, tolerances for other orders of rows and processors.

The figures in tests/archives come from two kinds of processor (their names say which kernels ran). `make test-cpus` runs this
file, and the other tests of numbers, under the kernels of several processors.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import figures
import h5py
import numpy as np
import pytest
from conftest import CHECKOUT, Workdir, alone, same_bytes

from relrep_cli.anchors.strategies import STRATEGIES
from relrep_cli.embedding import in_id_order, select
from relrep_cli.numerics.threads import thread_count
from relrep_cli.relative.projection import TILE
from relrep_cli.relative.similarities import SIMILARITIES

ARCHIVES = sorted((CHECKOUT / "tests" / "archives").glob("figures-*.json"))
VALUE = 1e-9  # of a metric, relative
INTERVAL = 1e-7  # of interval ends and chance levels, relative
VECTOR = 2e-6  # of the largest relative coordinate


# --- other processors ---


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """The figures of this machine for a pair, computed once for all workers of a run."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    def figures_of(pair: str) -> dict[str, Any]:
        file = folder / f"figures-{pair}.json"
        with alone(folder / f"figures-{pair}.lock"):
            if not file.exists():
                file.write_text(json.dumps(figures.figures(pair)))
        return json.loads(file.read_text())

    return figures_of


every_pair = pytest.mark.parametrize(
    "pair", [pytest.param(pair, marks=pytest.mark.slow) if pair == "long" else pair for pair in figures.PAIRS]
)
every_archive = pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.stem)


@every_archive
@every_pair
def test_values_of_another_processor(here: Callable[[str], dict[str, Any]], archive: Path, pair: str) -> None:
    there, own, apart = json.loads(archive.read_text())[pair]["values"], here(pair)["values"], []
    assert len(there) >= 41 and there.keys() <= own.keys()
    for name, values in there.items():
        if isinstance(values, str):
            assert own[name] == values
            continue
        for what, a, b in zip(("value", "low", "high", "chance"), values, own[name], strict=True):
            least = VALUE if what == "value" else INTERVAL
            if (a is None) != (b is None) or (a is not None and abs(a - b) > least * max(abs(a), 1e-6)):
                apart.append((name, what, a, b))
    assert not apart


@every_archive
@every_pair
def test_neighbours_of_another_processor_are_the_same(here: Callable[[str], dict[str, Any]], archive: Path, pair: str) -> None:
    assert json.loads(archive.read_text())[pair]["neighbors"] == here(pair)["neighbors"]


@every_archive
@pytest.mark.parametrize("pair", ["small", "ties"])
def test_vectors_of_another_processor(here: Callable[[str], dict[str, Any]], archive: Path, pair: str) -> None:
    functions = json.loads(archive.read_text())[pair]["vectors"]
    assert len(functions) >= 10 and set(functions) <= set(SIMILARITIES)
    for name, there in functions.items():
        own = here(pair)["vectors"][name]["rows"]
        assert np.abs(np.subtract(own, there["rows"])).max() <= VECTOR * there["largest"], name


def test_two_kinds_of_processor_are_archived() -> None:
    archives = [json.loads(path.read_text()) for path in ARCHIVES]
    assert len({archive["machine"]["kernel"] for archive in archives}) >= 2
    assert all(archive.keys() == {"machine", *figures.PAIRS} for archive in archives)


# --- any number of threads ---

LARGE = 2200  # rows: several tiles of the loops that have tiles


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.npz, b.npz and the same rows in another order, with labels and splits; ids.txt: anchors."""
    folder, rng = tmp_path_factory.mktemp("large"), np.random.default_rng(0)
    a, b = (e.x for e in figures.spaces(LARGE, 24, 7))
    ids = np.array([f"{i:06d}" for i in rng.permutation(10 * LARGE)[:LARGE]])
    labels, splits = rng.integers(0, 4, LARGE).astype(str), np.where(rng.random(LARGE) < 0.7, "train", "test")
    order = rng.permutation(LARGE)
    for name, x in (("a", a), ("b", b)):
        np.savez(folder / f"{name}.npz", x=x, ids=ids, label=labels, split=splits)
        np.savez(folder / f"{name}-mixed.npz", x=x[order], ids=ids[order], label=labels[order], split=splits[order])
    (folder / "ids.txt").write_text("".join(f"{i}\n" for i in ids[splits == "train"][:60]))
    return folder


TABLES = {
    "compare": "compare {a} {b} -m cosine,knn-jaccard,mrr,rsa,cka --neighbours euclidean -q --format tsv",
    "compare on anchors": "compare {a} {b} -a ids.txt -m cka,recall,mse --ci 0.02 -s cosine -q --format tsv",
    "compare with permutations": "compare {a} {b} -m cka,procrustes --permutations 10 -q --format tsv",
    "stitch": "stitch {a} {b} -a ids.txt --head linear --method absolute,relative,orthogonal,ridge -s cosine -q --format tsv",
    "evaluate": "evaluate {a} --task linear-probe,knn,separation -q --format tsv",
    "anchor --report": "anchor {a} {b} --report ids.txt -q --format tsv",
}


@pytest.fixture
def folder(empty: Workdir, large: Path) -> Workdir:
    for path in large.iterdir():
        (empty / path.name).symlink_to(path)
    return empty


@pytest.mark.parametrize("command", TABLES)
def test_threads_change_no_byte_of_a_table(folder: Workdir, command: str) -> None:
    words = TABLES[command].format(a="a.npz", b="b.npz")
    one, *others = (folder.here(f"relrep {words}", RELREP_THREADS=str(count)).out for count in (1, 3))
    assert len(one.splitlines()) > 2
    for other in others:
        assert other == one


@pytest.mark.slow
def test_threads_change_no_bit_of_any_metric(here: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELREP_THREADS", "1" if thread_count() == 3 else "3")
    assert figures.values(*figures.spaces(*figures.PAIRS["long"])) == here("long")["values"]


@pytest.mark.parametrize("name", SIMILARITIES)
def test_threads_change_no_byte_of_a_projection(folder: Workdir, name: str) -> None:
    for count in (1, 3):
        words = f"relrep project a.npz -a ids.txt -s {name} --center --standardize-columns -o {count}.h5 -q"
        folder.here(words, RELREP_THREADS=str(count), SOURCE_DATE_EPOCH="0")
    assert same_bytes(folder, "1.h5", "3.h5")


CHOOSING = [name for name, entry in STRATEGIES.items() if entry.gives == "items" and entry.reads in ("", "labels")]


@pytest.mark.parametrize("strategy", CHOOSING)
def test_neither_threads_nor_row_order_change_anchors(folder: Workdir, strategy: str) -> None:
    actual = []
    for count, file in ((1, "a"), (3, "a"), (2, "a-mixed")):
        words = f"relrep anchor {file}.npz -n 25 --strategy {strategy} --ids-only -q"
        actual.append(folder.here(words, RELREP_THREADS=str(count)).out)
    assert actual[0] == actual[1] and len(actual[0].splitlines()) == 25
    assert (actual[0] == actual[2]) == (strategy != "first"), "the order of the file decides for `first` alone"


# --- other orders and subsets of rows ---


@pytest.mark.parametrize("command", TABLES)
def test_row_order_changes_no_figure(folder: Workdir, command: str) -> None:
    plain, mixed = (
        folder.here(f"relrep {TABLES[command].format(a=a, b=b)}").stdout.replace("-mixed", "").splitlines()
        for a, b in (("a.npz", "b.npz"), ("a-mixed.npz", "b-mixed.npz"))
    )
    for line, other in zip(plain, mixed, strict=True):
        for cell, actual in zip(line.split("\t"), other.split("\t"), strict=True):
            assert cell == actual or float(actual) == pytest.approx(float(cell), rel=VALUE)


FILES = {
    "project": "project {a} -a ids.txt --center -o {out}.h5",
    "translate": "translate {b} --into {a} -a ids.txt -o {out}.h5",
    "stitch": "stitch {a} {b} -a ids.txt -m ridge -o {out}.h5",
    "predictions": "stitch {a} {b} -a ids.txt -m ridge --predictions {out}.tsv",
    "row values": "compare {a} {b} -m knn-jaccard,cosine --per-row {out}.h5",
    "row values as a table": "compare {a} {b} -m knn-jaccard -a ids.txt --per-row {out}.tsv",
    "neighbours": "neighbors {a} --queries {b} --k 2 -o {out}.tsv",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", FILES)
def test_each_item_keeps_what_is_its_own_whatever_the_row_order(folder: Workdir, command: str) -> None:
    """A file that pairs items and results by position would be wrong without any message."""
    sides = []
    for out, mixed in (("plain", ""), ("other", "-mixed")):
        folder.here(f"relrep {FILES[command].format(a=f'a{mixed}.npz', b=f'b{mixed}.npz', out=out)} -q")
        if (folder / f"{out}.h5").exists():
            sides.append({key.decode(): row.tolist() for key, row in rows_by_id(folder / f"{out}.h5").items()})
        else:
            cells = [line.replace("-mixed", "").split("\t") for line in (folder / f"{out}.tsv").read_text().splitlines()[1:]]
            named = [
                (" ".join(c for c in row if not _is_decimal(c)), [float(c) for c in row if _is_decimal(c)]) for row in cells
            ]
            sides.append(dict(named))
            assert len(named) == len(sides[-1]), "each line has a name of its own"
    plain, other = sides
    assert plain.keys() == other.keys() and len(plain) > 100
    assert all(other[name] == pytest.approx(numbers, abs=1e-5) for name, numbers in plain.items())


def _is_decimal(cell: str) -> bool:
    return bool(re.fullmatch(r"-?\d*\.\d+(e-?\d+)?", cell))


def test_row_order_changes_no_bit_of_any_metric(here: Callable[[str], dict[str, Any]]) -> None:
    """Ties, samples, groups and random pairings follow the ids."""
    rng = np.random.default_rng(0)
    mixed = [select(e, rng.permutation(e.n)) for e in figures.spaces(*figures.PAIRS["ties"])]
    assert (mixed[0].ids != mixed[1].ids).any()
    assert figures.values(*map(in_id_order, mixed)) == here("ties")["values"]


def rows_by_id(file: Path) -> dict[bytes, np.ndarray]:
    with h5py.File(file) as opened:
        return dict(zip(opened["obs/id"][:].tolist(), opened["X"][:], strict=True))


@pytest.mark.parametrize("exact", ["", "--exact"])
def test_vectors_of_other_orders_and_subsets(folder: Workdir, exact: str) -> None:
    """Within the tolerance, and with --exact to the bit, but for statistics, whose sums follow the order of rows."""
    with np.load(folder / "a.npz") as arrays:
        some = np.sort(np.random.default_rng(1).permutation(LARGE)[:777])
        some = np.union1d(some, np.flatnonzero(np.isin(arrays["ids"], (folder / "ids.txt").read_text().split())))
        np.savez(folder / "some.npz", x=arrays["x"][some], ids=arrays["ids"][some])
    for name in ("a", "a-mixed", "some"):
        folder.here(f"relrep project {name}.npz -a ids.txt -s cosine,euclidean,l1 --aggregate concat {exact} -o {name}.h5 -q")
    whole = rows_by_id(folder / "a.h5")
    largest = max(float(np.abs(row).max()) for row in whole.values())
    for name in ("a-mixed", "some"):
        other = rows_by_id(folder / f"{name}.h5")
        assert len(other) >= 777
        apart = max(float(np.abs(row - whole[key]).max()) for key, row in other.items())
        assert apart <= (0 if exact else VECTOR * largest)


def test_pieces_cut_at_whole_tiles_give_the_bytes_of_the_whole(folder: Workdir) -> None:
    how = "-s cosine,euclidean,mahalanobis --aggregate concat --center"
    folder.here("relrep embed a.npz --space a -o a.h5 -q")
    folder.here(f"relrep project a.h5 -a ids.txt {how} -o whole.h5 -q")
    whole = rows_by_id(folder / "whole.h5")
    with np.load(folder / "a.npz") as arrays:
        for start in range(0, LARGE, TILE):
            rows = slice(start, start + TILE)
            np.savez(folder / "piece.npz", x=arrays["x"][rows], ids=arrays["ids"][rows])
            folder.here("relrep embed piece.npz --space a -o piece.h5 -q --force")
            folder.here(
                f"relrep project piece.h5 -a ids.txt --anchor-vectors a.h5 {how} --statistics whole.h5 -o x.h5 -q --force"
            )
            piece = rows_by_id(folder / "x.h5")
            assert len(piece) == len(arrays["x"][rows]) and all(np.array_equal(whole[i], x) for i, x in piece.items())


def test_exact_is_recorded_and_refuses_what_it_cannot_do(folder: Workdir) -> None:
    folder.here("relrep project a.npz -a ids.txt --exact -o x.h5 -q")
    with h5py.File(folder / "x.h5") as file:
        assert json.loads(file.attrs["steps"])[-1]["params"]["exact"] is True
    done = folder.here("relrep project a.npz -a ids.txt --exact -o y.h5 --device cuda", 2)
    assert (
        done.stderr == "relrep project: --exact computes with NumPy, so it does not go with --device. Leave one of them out.\n"
    )
