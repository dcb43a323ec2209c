"""Cora in the published setting: five encoder seeds, 300 dims, 140 labelled nodes as anchors, an MLP head that converges.

    python benchmarks/experiments/cora.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

The setting was fixed before the run: default head, three head seeds, every ordered pair of encoders.
"""

from __future__ import annotations

from statistics import mean

from lab import Lab, main
from spread import over_encoders, with_margin

NAME, ROOMS = "cora", ("encoders", "heads", "relative", "stitching")
FUNCTIONS = "cosine,euclidean,l1,chebyshev"
AGGREGATES = "concat,sum,mlp-sum,self-attention,mlp-self-attention"
COLUMNS = ("encoder", "head", "method", "accuracy", "end_to_end", "stitching_index")
PUBLISHED = {"chebyshev": "1.00", f"{FUNCTIONS}/concat": "", f"{FUNCTIONS}/mlp-sum": "1.00"}


def encoders(lab: Lab) -> list[str]:
    dim, epochs = lab.size(300, 8), "" if not lab.quick else " --epochs 3"
    embed = f"embed DATA/cora --encoder gcn --dim {dim}{epochs}"
    files = [lab.file(f"gcn.{seed}.h5", f"{embed} --seed {seed}") for seed in range(lab.size(5, 2))]
    lab.file("cora-anchors.h5", f"anchor {files[0]} -n {lab.size(140, 10)} --strategy first")
    return files


def methods(lab: Lab) -> str:
    names = " ".join(encoders(lab))
    rows = []
    for choice in ("absolute,relative,orthogonal,ridge", *(f"product --aggregate {name}" for name in AGGREGATES.split(","))):
        similarity = f" -s {FUNCTIONS}" if "r" in choice else ""
        head = f"{lab.head('mlp')} --seeds {lab.size(3, 1)}"
        records = lab.cell(f"stitch {names} -a cora-anchors.h5 --method {choice}{similarity} {head}", COLUMNS)
        for method in dict.fromkeys(record["method"] for record in records):
            own = [r for r in records if r["method"] == method and r["encoder"] == r["head"]]
            other = {(r["encoder"], r["head"]): r["stitching_index"] for r in records if r["method"] == method and r not in own}
            rows.append(
                [
                    f"`{method}`".replace(f"{FUNCTIONS}/", "product, "),
                    with_margin(*over_encoders(other)),
                    f"{min(other.values()):.3f}",
                    f"{mean(r['end_to_end'] for r in own):.3f}",
                    PUBLISHED.get(method, ""),
                ]
            )
    return lab.table(["method", "stitching index", "worst pair", "end to end", "published"], rows)


TABLES = {"methods": methods}

if __name__ == "__main__":
    main(NAME, TABLES, ROOMS)
