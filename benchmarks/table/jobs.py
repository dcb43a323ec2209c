"""The rows of the table: whole commands beside the script of twenty lines that a user would write, and single operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
Work = Callable[[], object]


@dataclass(frozen=True)
class Job:
    """A command of relrep and a peer. {a}, {b}, … in both name inputs, which data.py makes.

    goal: at most so many times the peer's CPU seconds, or so many CPU seconds where `unit` is "s". None: only shown.
    """

    operation: str
    shapes: str
    peer: str
    ours: str
    theirs: str
    goal: float | None
    unit: str = "x"
    heavy: bool = False  # above a minute; measured once

    @property
    def name(self) -> str:
        return f"{self.operation}, {self.shapes}" if self.shapes else self.operation


def _cka(shapes: str, a: str, b: str, goal: float) -> Job:
    return Job("compare -m cka", shapes, "NumPy float32", f"compare {a} {b} -m cka -q", f"cka.py {a} {b}", goal)


def _knn(shapes: str, a: str, b: str, goal: float) -> Job:
    return Job("compare -m knn-jaccard", shapes, "faiss", f"compare {a} {b} -m knn-jaccard -q", f"knn_jaccard.py {a} {b}", goal)


def _project(shapes: str, x: str, rows: str, similarity: str, peer: str, goal: float) -> Job:
    ours = f"project {x} -a {rows} --similarity {similarity} -o {{out}}.h5 --force -q"
    return Job(
        f"project --similarity {similarity}", shapes, peer, ours, f"project_{similarity}.py {x} {rows} {{out}}.npy", goal
    )


SAMPLE = ("sample_data/a.h5", "sample_data/b.h5")
NOTHING, DEFAULT = "nothing.py", f"compare {' '.join(SAMPLE)} -q"
COMMANDS = (
    Job("--help", "", "python -c pass", "--help", NOTHING, 12),
    Job("--version", "", "python -c pass", "--version", NOTHING, None),
    Job("a missing file", "", "python -c pass", "info missing.h5", NOTHING, 0.25, "s"),
    Job("compare --list", "", "python -c pass", "compare --list", NOTHING, 0.5, "s"),
    Job("completion of a metric", "", "python -c pass", "complete compare --metric c", NOTHING, 0.15, "s"),
    _cka("sample files", *SAMPLE, 1.5),
    _cka("20k x 256", "{a256}", "{b256}", 1.2),
    _cka("100k x 768", "{a768}", "{b768}", 1.0),
    _knn("10k x 64", "{a64}", "{b64}", 1.3),
    _knn("20k x 256", "{a256}", "{b256}", 0.8),
    Job("compare -m cka, 12 files", "20k x 256", "NumPy float32", "compare {many} -m cka -q", "cka_matrix.py {many}", 1.2),
    _project("20k x 256", "{a256}", "{rows}", "cosine", "NumPy float32", 1.3),
    _project("100k x 768", "{a768}", "{rows}", "cosine", "NumPy float32", 0.6),
    _project("20k x 256", "{a256}", "{rows}", "l1", "scipy", 0.4),
    Job("compare", "sample files", "NumPy float32, cka alone", DEFAULT, f"cka.py {' '.join(SAMPLE)}", 2.0, "s"),
    Job(
        "compare -m cka --permutations 1000, 12 x 12 layers",
        "1,000 x 128",
        "NumPy float64, p alone",
        "compare {layers}::layer/* {others}::layer/* -m cka --permutations 1000 -q",
        "permuted_cka.py {layers} {others}",
        180,
        "s",
        heavy=True,
    ),
)  # fmt: skip
