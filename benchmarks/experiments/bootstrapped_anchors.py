"""Bootstrapped anchors (Cannistraci et al. 2023): pairs found from 20 known ones, or from none.

    python benchmarks/experiments/bootstrapped_anchors.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

The two files hold the same items, whose ids serve only to score what was found. Encoders are those of autoencoders.py.
"""

from __future__ import annotations

import random
from functools import partial

from autoencoders import encoders
from compared import spread
from lab import Lab, main

NAME, ROOMS = "bootstrapped_anchors", ("anchors", "metrics", "neighbors")


def found_pairs(lab: Lab, data: str) -> str:
    files = encoders(lab, data, "conv-ae", seeds=2)
    jaccards: dict[str, list[float]] = {"20 known pairs": [], "bootstrap": [], "unsupervised": [], "300 true anchors": []}
    for seed in range(lab.size(5, 1)):
        rows_of = random.Random(seed).sample(range(lab.size(60_000, 60)), lab.size(20, 8))
        known = lab.text(f"{data}.known.{seed}.tsv", ["a\tb", *(f"train-{i:05}\ttrain-{i:05}" for i in rows_of)])
        many = f"-n {lab.size(300, 12)} --seed {seed}"
        sets = {
            "20 known pairs": known,
            "300 true anchors": lab.file(f"{data}.true.{seed}.h5", f"anchor {files[0]} {many} --strategy random"),
        }
        for strategy, seeds in (("bootstrap", f" --seeds {known}"), ("unsupervised", "")):
            command = f"anchor {' '.join(files)} {many} --strategy {strategy}{seeds} --confidence 0"
            sets[strategy] = lab.file(f"{data}.{strategy}.{seed}.tsv", command)
        for name, anchors in sets.items():
            values = lab.cell(f"compare {' '.join(files)} -a {anchors} --split test -m jaccard", ("projection", "value"))
            jaccards[name] += [r["value"] for r in values if r["projection"] == "cosine"]
    return lab.table([data, "jaccard"], [[name, spread(numbers)] for name, numbers in jaccards.items()])


TABLES = {data: partial(found_pairs, data=data) for data in ("fashion-mnist", "mnist")}

if __name__ == "__main__":
    main(NAME, TABLES, ROOMS)
