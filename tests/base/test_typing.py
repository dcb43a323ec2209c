"""What mypy finds in registrations: it reports each of these mistakes, and nothing in the registrations that are right."""

from __future__ import annotations

import re
from contextlib import chdir
from pathlib import Path

from mypy import api

ROOT = Path(__file__).parents[2]
CALLS = ROOT / "tests" / "library" / "typed_calls.py"
IMPORTS = """
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.anchors.strategies import STRATEGIES, Candidates
from relrep_cli.anchors.candidates import strategy
from relrep_cli.encoders.augmentations import augmentation
from relrep_cli.encoders.base import FLAT, ENCODERS, Trained, encoder
from relrep_cli.evaluations import EVALUATIONS
from relrep_cli.evaluations.findings import Finding, Space, evaluation
from relrep_cli.heads.heads import HEADS, head
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.families import shape_metric
from relrep_cli.metrics.score import Score, metric
from relrep_cli.plots.reductions import Reduced, method
from relrep_cli.relative.aggregators import aggregator
from relrep_cli.relative.similarities import SIMILARITIES, similarity
from relrep_cli.relative.transformations import Map, transformation
from relrep_cli.sources.items import Items, source
from relrep_cli.stitching.translators import Affine, translator
"""
METRIC = """
@metric(family="probes", bounds=(0, None), identity=0, higher_is_closer=False, symmetric=True, needs={"same dims"},
        reads_coordinates=True, invariant={"orthogonal"}, source="a test")
def probe(x: np.ndarray, y: np.ndarray, *, k: int = 3) -> Score:
    return Score(0.0, 0.0, "")
"""
MEMBER = """
@shape_metric(symmetric=False, source="a test")
def probe(x: np.ndarray, y: np.ndarray) -> Score:
    return Score(0.0, 0.0, "")
"""
SIMILARITY = """
@similarity(distance=True, invariant={"scale"}, fit=None, portable=True, source="a test")
def probe(x: np.ndarray, anchors: np.ndarray, *, p: float = 2.0) -> np.ndarray:
    return x @ anchors.T
"""
STRATEGY = """
@strategy(gives="items", reads="labels", source="a test")
def probe(c: Candidates, m: int, rng: np.random.Generator) -> np.ndarray:
    return np.arange(m)
"""
HEAD = """
def scores(arrays: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    return rows @ arrays["w"]

@head(deterministic=True, joint=False, predicts={"classes"}, scores=scores, source="a test")
def probe(x: np.ndarray, y: np.ndarray, classes: int, *, seed: int, device: str) -> Mapping[str, np.ndarray]:
    return {}
"""
TRANSLATOR = """
@translator(recovers={"scale"}, source="a test")
def probe(x: np.ndarray, y: np.ndarray) -> Affine:
    return Affine(x, x, y)
"""
EVALUATION = """
@evaluation(needs={"labels"}, labels=True, source="a test")
def probe(s: Space, *, seed: int = 0) -> Iterator[Finding]:
    yield Finding("probe", 0.0, 1, "")
"""
ENCODER = """
def apply(trained: Trained, device: str) -> Any:
    return lambda rows: rows

def shapes(shape: tuple[int, ...], params: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {}

@encoder(takes=FLAT, learns=True, apply=apply, errors=None, decode=None, shapes=shapes, source="a test")
def probe(items: Items, train: np.ndarray, *, seed: int = 0) -> Trained:
    return Trained("probe", {}, (1,), {})
"""
SOURCE = """
@source(kind="images", fits=lambda path: path.is_dir(), has_columns=False, source="a test")
def probe(path: Path) -> Items:
    return Items(np.zeros(1), np.zeros(1, "S1"), "")
"""
METHOD = """
@method(title="Probe", inductive=True, scaled=True, needs="", source="a test")
def probe(train: np.ndarray, x: np.ndarray, *, seed: int = 0) -> Reduced:
    return Reduced(x, "")
"""
AGGREGATOR = """
@aggregator(trainable=False, source="a test")
def probe(count: int, width: int) -> Any:
    return sum
"""
TRANSFORMATION = """
@transformation(implies=set())
def probe(rng: np.random.Generator, x: np.ndarray) -> Map:
    return lambda rows: rows
"""
READING = """
assert METRICS["cka"].symmetric and HEADS["knn"].joint and STRATEGIES["first"].gives and SIMILARITIES["l1"].distance
low, high = METRICS["cka"].bounds
value: float = METRICS["cka"].function(np.eye(3), np.eye(3), k=3).value
"""
RIGHT = {name: text for name, text in globals().items() if name.isupper() and isinstance(text, str) and name != "IMPORTS"}

MISTAKES = [  # (what is right, what is changed in it, how, the code that mypy reports)
    ("METRIC", "-> Score:", "-> float:", "type-var"),
    ("METRIC", "x: np.ndarray, y: np.ndarray", "x: np.ndarray", "type-var"),
    ("METRIC", "y: np.ndarray", "y: str", "type-var"),
    ("METRIC", "identity=0, ", "", "call-arg"),
    ("METRIC", "symmetric", "symetric", "call-arg"),
    ("METRIC", "higher_is_closer=False", 'higher_is_closer="no"', "arg-type"),
    ("METRIC", "bounds=(0, None)", "bounds=0", "arg-type"),
    ("METRIC", "bounds=(0, None)", "bounds=(0, 1, 2)", "arg-type"),
    ("METRIC", '"same dims"', '"same dimensions"', "arg-type"),
    ("METRIC", 'invariant={"orthogonal"}', "invariant={1}", "arg-type"),
    ("METRIC", 'source="a test"', "source=None", "arg-type"),
    ("MEMBER", "symmetric", "symetric", "call-arg"),
    ("MEMBER", "symmetric=False", 'symmetric="no"', "arg-type"),
    ("MEMBER", ', source="a test"', "", "call-arg"),
    ("MEMBER", "-> Score:", "-> str:", "type-var"),
    ("SIMILARITY", "-> np.ndarray:", "-> str:", "type-var"),
    ("SIMILARITY", "portable=True, ", "", "call-arg"),
    ("SIMILARITY", "fit=None", "fit=len", "arg-type"),
    ("SIMILARITY", "anchors: np.ndarray", "anchors: str", "type-var"),
    ("STRATEGY", 'gives="items"', 'gives="rows"', "arg-type"),
    ("STRATEGY", 'reads="labels"', 'reads="label"', "arg-type"),
    ("STRATEGY", "m: int, rng: np.random.Generator", "rng: np.random.Generator, m: int", "type-var"),
    ("STRATEGY", "-> np.ndarray:", "-> list[int]:", "type-var"),
    ("HEAD", "y: np.ndarray, classes: int", "classes: int, y: np.ndarray", "type-var"),
    ("HEAD", "scores=scores", "scores=abs", "arg-type"),
    ("HEAD", '{"classes"}', '{"class"}', "arg-type"),
    ("TRANSLATOR", "-> Affine:", "-> np.ndarray:", "type-var"),
    ("TRANSLATOR", "recovers", "recover", "call-arg"),
    ("EVALUATION", '{"labels"}', '{"label"}', "arg-type"),
    ("EVALUATION", "-> Iterator[Finding]:", "-> Iterator[float]:", "type-var"),
    ("ENCODER", "apply=apply", "apply=shapes", "arg-type"),
    ("ENCODER", "-> Trained:", "-> np.ndarray:", "type-var"),
    ("SOURCE", 'kind="images"', 'kind="pictures"', "arg-type"),
    ("SOURCE", "path: Path", "path: int", "type-var"),
    ("METHOD", "title=", "name=", "call-arg"),
    ("METHOD", "-> Reduced:", "-> np.ndarray:", "type-var"),
    ("AGGREGATOR", "trainable=False", 'trainable="no"', "arg-type"),
    ("TRANSFORMATION", "rng: np.random.Generator, x: np.ndarray", "x: np.ndarray, rng: np.random.Generator", "type-var"),
    ("READING", "symmetric", "symetric", "attr-defined"),
    ("READING", "gives", "give", "attr-defined"),
    ("READING", "low, high", "low, middle, high", "misc"),
    ("READING", "np.eye(3), np.eye(3)", "np.eye(3)", "call-arg"),
    ("READING", "value: float", "value: str", "assignment"),
]


def reported(tmp_path: Path) -> tuple[dict[int, set[str]], list[str]]:
    """The codes that mypy reports, by the number of the mistake; -1 stands for right blocks, -2 for the imports.

    One run of mypy for all, on one file with a function around each block.
    """
    lines, block_of = IMPORTS.splitlines(), {}
    blocks = [(-1, text) for text in RIGHT.values()]
    blocks += [(number, changed(number)) for number in range(len(MISTAKES))]
    for place, (number, text) in enumerate(blocks):
        lines.append(f"def block_{place}() -> None:")
        for line in text.strip().splitlines():
            lines.append(f"    {line}")
            block_of[len(lines)] = number
    file = tmp_path / "registrations.py"
    file.write_text("\n".join(lines) + "\n")
    with chdir(ROOT):  # the options and the cache of `make lint`, whose results are then at hand
        out, errors, _ = api.run([str(file), str(CALLS)])
    assert not errors, errors
    actual: dict[int, set[str]] = {}
    for line, code in re.findall(r"registrations\.py:(\d+): error: .*\[([a-z-]+)\]$", out, re.MULTILINE):
        actual.setdefault(block_of.get(int(line), -2), set()).add(code)
    return actual, [line for line in out.splitlines() if CALLS.name in line]


def changed(number: int) -> str:
    """The block of a mistake."""
    name, right, wrong, _ = MISTAKES[number]
    assert right in RIGHT[name], (name, right)
    return RIGHT[name].replace(right, wrong, 1)


def test_mypy_reports_every_mistake_and_nothing_else(tmp_path: Path) -> None:
    codes, of_calls = reported(tmp_path)
    assert not of_calls, of_calls
    missed = [changed(number) for number in range(len(MISTAKES)) if MISTAKES[number][3] not in codes.get(number, set())]
    assert not missed, "\n".join(missed)
    assert -1 not in codes and -2 not in codes, codes
