"""Every kind of file that relrep reads, damaged at random: it is read or refused in one line, without a library's warning.

RELREP_FUZZ=500 tries that many mutants of each kind; else those that need a child process for each file get fewer.
"""

from __future__ import annotations

import os
import random

import fuzz
import pytest
from fuzz_kinds import replace_leaf

SLOW = {"h5ad", "statistics", "anchors", "pairs", "head", "aggregator", "parquet", "csv", "tsv", "png", "jpeg"}
OF_LIBRARIES = {"pt", "mat", "zarr", "faiss", "parts", "clip-retrieval", "saved dataset", "arrow", "mat 7.3", "hdf5 layouts"}
OF_LIBRARIES |= {"sqlite", "json", "vectors in jsonl"}  # each file imports a library in a child, or forks one
FOUND: list[tuple[str, int]] = [
    ("quantised npz", 372),
    ("texts", 378),
]  # once were a fault, tried in every run


@pytest.mark.slow
@pytest.mark.parametrize("name", list(fuzz.all_kinds()))
def test_damaged_files_are_read_or_refused(name: str) -> None:
    few = "2" if name in OF_LIBRARIES else "10" if name in SLOW else "100"
    count = int(os.environ.get("RELREP_FUZZ", few))
    seeds = [*range(1_000_000, 1_000_000 + count), *(seed for kind, seed in FOUND if kind == name)]
    verdicts = [verdict for seed in seeds for verdict in fuzz.batch_of(name, range(seed, seed + 1))]
    assert not [v for v in verdicts if v[1] not in ("read", "refused")] and max(v[2] for v in verdicts) < fuzz.LIMIT
    assert len({v[1] for v in verdicts}) == 2 or name in ("record", "png") or count < 100


@pytest.mark.parametrize("name", list(fuzz.all_kinds()))
def test_good_files_are_read(name: str, tmp_path: os.PathLike[str]) -> None:
    kind, good = fuzz.goods(name)
    good = good[:1] if name in OF_LIBRARIES and "RELREP_FUZZ" not in os.environ else good
    for number, content in enumerate(good):
        folder = os.path.join(tmp_path, str(number))
        os.mkdir(folder)
        path = fuzz.Path(folder, kind.name)
        path.write_bytes(content)
        assert fuzz.judge(path, kind.use) == "read"


def test_a_mutant_is_the_same_for_ever() -> None:
    assert fuzz.mutant_of("pairs", 7) == fuzz.mutant_of("pairs", 7) != fuzz.mutant_of("pairs", 8)


def test_a_leaf_is_replaced() -> None:
    rng, made = random.Random(0), []
    for _ in range(50):
        value = {"a": [1, {"b": 2}], "c": "d"}
        replace_leaf(value, rng)
        made.append(str(value))
    assert len(set(made)) > 20 and str({"a": [1, {"b": 2}], "c": "d"}) not in made


def test_faults_are_seen(tmp_path: os.PathLike[str]) -> None:
    """A warning, a crash and a message of two lines are no refusals."""
    from relrep_cli.base.errors import DataError

    def fails(error: Exception) -> str:
        def use(path: object) -> None:
            raise error

        return fuzz.judge(fuzz.Path(tmp_path, "x"), use, named=False)

    assert fails(DataError("damaged")) == "refused"
    assert fails(DataError("two\nlines")).startswith("message") and fails(ValueError("x")).startswith("ValueError")
    assert fails(RuntimeWarning("overflow")).startswith("RuntimeWarning")
