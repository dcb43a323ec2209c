"""Which aggregator, and which functions to aggregate: graphs, texts and images, with linear and MLP heads.

    python benchmarks/experiments/aggregations.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

The graph encoders are those of cora.py. The texts need text_encoders.py first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import mean

import cora
from lab import Lab, Record, main
from spread import over_encoders, with_margin

NAME, ROOMS = "aggregations", ("heads", "relative", "stitching")
FUNCTIONS = ("cosine", "euclidean", "l1", "chebyshev")
ANCHORS = {"linear": 300, "mlp": 100}  # of texts and images; maps and attention of 300 anchors take nine times as long
FIXED, TRAINED = ("concat", "sum"), ("mlp-sum", "self-attention", "mlp-self-attention")
COLUMNS = ("encoder", "head", "method", "accuracy", "end_to_end", "stitching_index")
TEXTS = ("minilm", "usem3", "wordllama", "glove")


def spaces(lab: Lab, number: int) -> dict[str, tuple[list[str], str, str]]:
    """Files, anchor file and further options of every setting."""
    result = {"Cora": (cora.encoders(lab)[:3], "cora-anchors.h5", "")}
    texts = [f"trec.{name}.npz" for name in TEXTS[: lab.size(4, 2)]]
    per_class = f"-n {lab.size(number, 12)} --strategy per-class"
    trec = lab.file(f"trec-{number}-per-class.h5", f"anchor {texts[0]} {per_class}")
    result["TREC, 6 classes"] = (texts, trec, "")
    result["TREC, 50 classes"] = (texts, trec, " --label-column fine_label")
    if not lab.quick:
        documents = [f"DATA/embeddings/dbpedia14_6encoders.h5::{name}" for name in TEXTS]
        result["DBpedia"] = (documents, lab.file(f"dbpedia-{number}.h5", f"anchor {documents[0]} {per_class}"), "")
        images = [f"DATA/embeddings/cifar10_4encoders.h5::{name}" for name in ("lite0", "lite1", "lite2", "squeeze")]
        result["CIFAR-10"] = (images, lab.file(f"cifar-{number}.h5", f"anchor {images[0]} {per_class}"), "")
    return result


def stitched(result: Sequence[Record]) -> dict[str, dict[tuple[str, str], float]]:
    """The index of every ordered pair of different encoders, by method."""
    out: dict[str, dict[tuple[str, str], float]] = {}
    for r in result:
        if r["encoder"] != r["head"]:
            out.setdefault(r["method"].rpartition("/")[2], {})[r["encoder"], r["head"]] = r["stitching_index"]
    return out


def ends(result: Sequence[Record]) -> dict[str, float]:
    """The mean end-to-end accuracy by method."""
    names = dict.fromkeys(r["method"] for r in result)
    own = {name: [r["end_to_end"] for r in result if r["method"] == name and r["encoder"] == r["head"]] for name in names}
    return {name.rpartition("/")[2]: mean(values) for name, values in own.items()}


def by_aggregator(lab: Lab, head: str) -> str:
    """A table of the mean index and end-to-end accuracy of each function and each aggregator of all four."""
    rows: dict[str, list[str]] = {name: [] for name in (*FUNCTIONS, *FIXED, *(TRAINED if head == "mlp" else ()))}
    known = spaces(lab, ANCHORS[head])
    if head == "mlp" and not lab.quick:
        known = {name: known[name] for name in ("Cora", "DBpedia", "CIFAR-10")}
    seeds = f" --seeds {lab.size(3, 1)}" if head == "mlp" else ""
    for files, anchors, options in known.values():
        start = f"stitch {' '.join(files)} -a {anchors}{options} {lab.head(head)}{seeds} -s {','.join(FUNCTIONS)}"
        records = lab.cell(f"{start} --method relative,product --aggregate {','.join(FIXED)}", COLUMNS)
        for name in TRAINED if head == "mlp" else ():
            records += lab.cell(f"{start} --method product --aggregate {name}", COLUMNS)
        own = ends(records)
        for name, pairs in stitched(records).items():
            rows[name].append(f"{with_margin(*over_encoders(pairs))} ({own[name]:.3f})")
    return lab.table([f"{head} head", *known], [[f"`{name}`", *cells] for name, cells in rows.items()])


def by_functions(lab: Lab) -> str:
    """A table of all pairs of functions on Cora, and how far the product is from the better of its two members."""
    files, anchors = cora.encoders(lab)[:3], "cora-anchors.h5"
    start = f"stitch {' '.join(files)} -a {anchors} {lab.head('mlp')} --seeds {lab.size(3, 1)}"
    alone = stitched(lab.cell(f"{start} --method relative -s {','.join(FUNCTIONS)}", COLUMNS))
    rows = []
    for two in list(combinations(FUNCTIONS, 2))[: lab.size(6, 1)]:
        product = stitched(lab.cell(f"{start} --method product -s {','.join(two)} --aggregate {','.join(FIXED)}", COLUMNS))
        best = max(two, key=lambda name: mean(alone[name].values()))
        apart = {pair: product["concat"][pair] - alone[best][pair] for pair in product["concat"]}
        most = max(apart, key=lambda pair: abs(apart[pair]))
        means = [f"{mean(values.values()):.3f}" for values in (alone[two[0]], alone[two[1]], *product.values())]
        largest = f"{apart[most]:+.3f} ({most[0].split('.')[1]} to {most[1].split('.')[1]})"
        rows.append([f"`{two[0]}`, `{two[1]}`", *means, largest])
    return lab.table(["functions", "first", "second", *FIXED, "`concat` over the better one, largest difference"], rows)


TABLES = {
    "linear": lambda lab: by_aggregator(lab, "linear"),
    "mlp": lambda lab: by_aggregator(lab, "mlp"),
    "functions": by_functions,
}

if __name__ == "__main__":
    main(NAME, TABLES, ROOMS)
