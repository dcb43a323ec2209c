"""Estimates of --dry-run: they add up, grow with the work, and say when there is too little memory."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.anchors.candidates import Candidates
from relrep_cli.anchors.choice_costs import cost_of as cost_of_choice
from relrep_cli.comparison.pair_costs import cost_of
from relrep_cli.comparison.pairs_of_files import View
from relrep_cli.comparison.plans import Outputs, Plan, make_plan
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.engine import estimates
from relrep_cli.engine.estimates import REFERENCE, Cost, estimate_phrase, memory, seconds, speed_here, total
from relrep_cli.metrics import METRICS


def plan_of(*metrics: str, **outputs: int) -> Plan:
    chosen = {name: METRICS[name].resolve({}) for name in metrics}
    return make_plan([["x"], ["y"]], chosen, Outputs(**outputs), reference=None, seed=0, require_all=False)


def cost(plan: Plan, n: int = 1000, d: int = 8) -> Cost:
    x = np.broadcast_to(np.float32(0), (n, d))
    view = View("absolute", Embedding(x, row_numbers(n)))
    return cost_of(plan, {"x": [view], "y": [view]})[0]


def test_costs_add_up_and_memory_is_that_of_the_largest_part() -> None:
    both = total([Cost(read=1, double=2, memory=5), Cost(read=10, searched=3, memory=4)])
    assert both == Cost(read=11, double=2, searched=3, memory=5)
    assert seconds(Cost(double=REFERENCE.double), REFERENCE) == pytest.approx(1 + estimates.START)


@pytest.mark.parametrize("name", ["cka", "procrustes", "knn-jaccard", "cosine"])
def test_more_work_costs_more(name: str) -> None:
    small = cost(plan_of(name))
    for large in (cost(plan_of(name), n=4000), cost(plan_of(name), d=32)):
        assert seconds(large, REFERENCE) > seconds(small, REFERENCE) and memory(large) >= memory(small)
    assert seconds(cost(plan_of(name, intervals=False)), REFERENCE) <= seconds(small, REFERENCE)


@pytest.mark.parametrize("params", [{"kernel": "rbf"}, {"estimator": "minibatch"}], ids=str)
def test_kernel_values_of_pairs_cost_what_they_are(params: dict[str, str]) -> None:
    """Of all pairs up to 20,000 rows, or of those in a batch, and anew for each permutation."""

    def work(n: int, **outputs: int) -> float:
        chosen = {"cka": METRICS["cka"].resolve(params)}
        return cost(make_plan([["x"], ["y"]], chosen, Outputs(**outputs), reference=None, seed=0, require_all=False), n).double

    assert work(8000, permutations=9) == 10 * work(8000)
    assert work(16_000) / work(8000) == pytest.approx(3.8 if params == {"kernel": "rbf"} else 2, rel=0.02)
    assert work(80_000) / work(20_000) == pytest.approx(1 if params == {"kernel": "rbf"} else 4)


def test_what_is_not_known_is_named() -> None:
    x = View("absolute", Embedding(np.zeros((9, 2), np.float32), row_numbers(9)))
    assert cost_of(plan_of("cka", "rsa"), {"x": [x], "y": [x]})[1] == ["rsa"]


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "memory_limit", lambda: 1_000_000_000)
    assert estimate_phrase(Cost(memory=3e8), REFERENCE).endswith("0 MB to read")
    assert estimate_phrase(Cost(memory=3e8), REFERENCE, processes=4).endswith("0 MB to read; there are 1000 MB of memory")


def test_the_speed_of_this_machine_is_some_speed() -> None:
    actual = speed_here()
    assert 1e8 < actual.double < 1e13 and 0.01 < actual.reference < 100


@pytest.fixture
def labelled(empty: Workdir) -> Workdir:
    """Two spaces of items with labels, and a list of anchors."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=60).astype("S")
    for name in "ab":
        np.savez(empty / f"{name}.npz", x=rng.normal(size=(60, 8)).astype("f4"), ids=np.arange(60).astype("S"), label=labels)
    (empty / "ids.txt").write_text("\n".join(map(str, range(9))))
    return empty


@pytest.mark.parametrize(
    "words",
    [
        "anchor a.npz -n 9 --strategy farthest -o out.h5",
        "translate a.npz --into b.npz -a ids.txt -o out.h5",
        "evaluate a.npz b.npz --holdout 0.3",
        "stitch a.npz b.npz -a ids.txt --method none,relative,ridge --head linear,logistic,svm,knn,mlp",
        "embed a.npz --encoder pca --dim 2 -o out.h5",
        "embed a.npz -o out.h5",
    ],
)
def test_every_command_with_tasks_says_what_it_costs(labelled: Workdir, words: str) -> None:
    line = labelled.here(f"relrep {words} --dry-run").stderr.splitlines()[-1]
    assert re.search(r"would: take about \S+ s of CPU time, \d+ MB of memory a process, \d+ MB to read$", line), line


@pytest.mark.parametrize(
    "words",
    [
        "compare a.npz b.npz c.npz -m knn-jaccard -o out.tsv",
        "project a.npz -a ids.txt -o out.h5",
        "stitch a.npz b.npz c.npz -a ids.txt --head mlp -o grid.tsv",
        "embed a.npz --encoder pca.safetensors -o out.h5",
        "translate a.npz --map map.h5 -o out.h5",
    ],
)
def test_the_estimate_of_a_part_is_that_of_its_tasks(labelled: Workdir, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "speed_here", lambda: REFERENCE)
    rng = np.random.default_rng(1)
    label, ids = rng.integers(3, size=40_000).astype("S"), np.arange(40_000).astype("S")
    for name in "abc":
        np.savez(labelled / f"{name}.npz", x=rng.normal(size=(40_000, 32)).astype("f4"), ids=ids, label=label)
    if "pca" in words:
        labelled.here("relrep embed a.npz --encoder pca --dim 2 --save-encoder pca.safetensors -o pca.h5")
    if "map.h5" in words:
        labelled.here("relrep translate a.npz --into b.npz -a ids.txt --save-map map.h5")
    whole, *parts = [labelled.here(f"relrep {words} --dry-run --shard {part}").stderr for part in ("1/1", "1/3", "3/3")]
    time, *times = [float(re.findall(r"about (\S+) s of CPU", text)[0]) for text in (whole, *parts)]
    assert max(times) < time
    counts = [
        int(n) for text in (whole, *parts) for n in re.findall(r"would: (?:project \S+|embed|translate|train) (\d+) ", text)
    ]
    assert words.startswith("compare") or 0 < counts[1] + counts[2] < counts[0]


def test_what_cannot_be_estimated_is_said(labelled: Workdir) -> None:
    message = labelled.here("relrep translate a.npz b.npz -a ids.txt --save-map m.h5 --dry-run").stderr
    assert message.endswith("would: take a time that cannot be estimated\n")


@pytest.mark.parametrize("strategy", ["random", "kmeans", "farthest", "herding"])
def test_more_anchors_of_more_items_cost_more(strategy: str) -> None:
    def price(n: int, m: int) -> float:
        e = Embedding(np.broadcast_to(np.float32(0), (n, 8)), row_numbers(n))
        estimate = cost_of_choice([e], Candidates((e,), (np.arange(n),)), strategy, m, "euclidean")
        assert estimate is not None
        return seconds(estimate, REFERENCE)

    assert price(1000, 10) < price(4000, 10) and price(1000, 10) <= price(1000, 100)


@pytest.mark.slow
@pytest.mark.parametrize("words", ["compare x.npy y.npy -m cka", "project x.npy -a ids.txt -o out.h5"])
def test_an_estimate_of_memory(empty: Workdir, words: str) -> None:
    rng = np.random.default_rng(0)
    for name in "xy":
        np.save(empty / f"{name}.npy", rng.normal(size=(200_000, 64)).astype("f4"))
    (empty / "ids.txt").write_text("\n".join(map(str, range(50))))
    stderr = empty.here(f"relrep {words} --dry-run").stderr
    estimate = float(re.findall(r"(\d+) MB of memory a process", stderr)[0])
    peak = "atexit.register(lambda: print(peak_memory(), file=sys.stderr))"
    imports = "import atexit, sys; from relrep_cli.engine.jobs import peak_memory; from relrep_cli.cli import main"
    program = f"{imports}; {peak}; sys.argv = {['relrep', *words.split()]!r}; main()"
    done = subprocess.run([sys.executable, "-c", program], cwd=empty.path, check=True, capture_output=True, text=True)
    assert 0.6 < estimate / (int(done.stderr.split()[-1]) / 1e6) < 1.6
