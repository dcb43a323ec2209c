"""How many anchors: stitching index and recall of four methods with 10 to 1,280 anchors.

    python benchmarks/experiments/anchor_numbers.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

Four encoders of the TREC questions (text_encoders.py first); each set of anchors is drawn at random with a seed of its own.
"""

from __future__ import annotations

from statistics import mean

from lab import Lab, main
from spread import over_encoders, with_margin

NAME, ROOMS = "anchor_numbers", ("anchors", "heads", "relative", "stitching")
TEXTS = ("minilm", "usem3", "wordllama", "glove")
NUMBERS = (10, 20, 40, 80, 160, 320, 640, 1280)
METHODS = ("cosine+center+standardize", "orthogonal", "ridge", "universe")
COLUMNS = ("encoder", "head", "index", "method", "end_to_end", "stitching_index", "recall_1", "recall_10")


def curve(lab: Lab) -> str:
    files = [f"trec.{name}.npz" for name in TEXTS[: lab.size(4, 2)]]
    index: dict[str, list[str]] = {name: [] for name in METHODS}
    recall: dict[str, list[str]] = {name: [] for name in METHODS}
    own: dict[str, list[str]] = {name: [] for name in METHODS}
    numbers = NUMBERS if not lab.quick else (10, 20)
    options = "--method relative,orthogonal,ridge,universe -s cosine --center --standardize-columns"
    for number in numbers:
        anchors = lab.file(f"trec-{number}.h5", f"anchor {files[0]} -n {number} --strategy random --seed {number}")
        for target, column, rows in (("label", "stitching_index", index), ("retrieval", "recall_10", recall)):
            records = lab.cell(f"stitch {' '.join(files)} -a {anchors} -t {target} {options}", COLUMNS)
            for method in METHODS:
                values = {
                    (r["encoder"], r["head"] or r["index"]): r[column]
                    for r in records
                    if r["method"] == method and r["encoder"] != (r["head"] or r["index"])
                }
                if target == "label":
                    ends = [r["end_to_end"] for r in records if r["method"] == method and r["encoder"] == r["head"]]
                    own[method].append(f"{mean(ends):.2f}")
                rows[method].append(with_margin(*over_encoders(values), digits=2) if values else "")
    lines = [[f"`{name}`, index", *index[name]] for name in METHODS]
    lines += [[f"`{name}`, end to end", *own[name]] for name in METHODS]
    return lab.table(["anchors", *map(str, numbers)], lines + [[f"`{name}`, recall at 10", *recall[name]] for name in METHODS])


TABLES = {"curve": curve}

if __name__ == "__main__":
    main(NAME, TABLES, ROOMS)
