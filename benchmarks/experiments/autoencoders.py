"""Autoencoders that differ in their seed, width or architecture, and what their spaces have in common.

    python benchmarks/experiments/autoencoders.py [--data DATA] [--work WORK] [--page] [--age] [--quick]

Anchors are 300 training items, equally many of each class; values are of the test items, over all pairs of seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

from compared import by_projection, compared, name_of, projections, spread, values
from lab import Lab, main

NAME, ROOMS = "autoencoders", ("encoders", "metrics", "numerics", "relative")
FOUR = ("conv-ae", "conv-vae", "lin-ae", "lin-vae")
FUNCTIONS = "cosine,euclidean,l1,chebyshev"
REFERENCE = ("cosine", "jaccard")
STANDIN = "kmnist_standin_notmnist"


def encoders(lab: Lab, data: str, encoder: str, dim: int = 48, seeds: int = 5, options: str = "") -> list[str]:
    """Files of one encoder with several seeds. The linear ones need two passes, the others five."""
    epochs = lab.size(2 if encoder.startswith("lin") else 5, 1)
    options = options if not lab.quick else ""
    name = f"{data}.{encoder}.{dim}" + (".map" if "map" in options else "")
    if data == STANDIN:
        splits = ["train"] * lab.size(8000, 60) + ["test"] * lab.size(2000, 30)
        options += f" --splits {lab.text('splits.txt', splits)} --epochs {lab.size(5 if encoder == 'vit-ae' else 20, 1)}"
    embed = f"embed DATA/{data} --encoder {encoder} --dim {lab.size(dim, 4)}"
    embed += options if "--epochs" in options else f" --epochs {epochs}{options}"
    return [lab.file(f"{name}.{seed}.h5", f"{embed} --seed {seed}") for seed in range(lab.size(seeds, 2))]


def anchors(lab: Lab, file: str) -> str:
    return lab.file(f"anchors.{file}", f"anchor {file} -n {lab.size(300, 12)} --strategy per-class")


def two_seeds(lab: Lab, data: str, dim: int, options: str, published: Sequence[str]) -> str:
    """Both reference metrics of all pairs of seeds: absolute, relative, and relative after centring."""
    files = encoders(lab, data, "conv-ae", dim, 5, options)
    rows = []
    for center in ("", " --center"):
        records = compared(lab, files, anchors(lab, files[0]), f"-m {','.join(REFERENCE)}{center}")
        rows += by_projection(records, REFERENCE, 4)[1 if center else 0 :]
        chance = [spread(values(records, "cosine+center" if center else "cosine", m, "chance"), 4) for m in REFERENCE]
        rows.append([f"chance of `cosine{'+center' if center else ''}`", *chance])
    return lab.table(["", *REFERENCE], [*rows, *([["published, relative", *published]] if published else [])])


def four_encoders(lab: Lab, data: str) -> str:
    """Pearson, Spearman and jaccard of four encoders, by similarity function."""
    metrics = ("pearson", "spearman", "jaccard")
    columns: list[dict[str, str]] = []
    first = ""
    for encoder in FOUR[: lab.size(4, 1)]:
        files = encoders(lab, data, encoder)
        first = first or anchors(lab, files[0])
        records = compared(lab, files, first, f"-s {FUNCTIONS} -m {','.join(metrics)}")
        columns.append({p: " / ".join(spread(values(records, p, m), 2) for m in metrics) for p in projections(records)})
    rows = [[name_of(p), *(column[p] for column in columns)] for p in columns[0]]
    return lab.table([data, *(f"`{encoder}`" for encoder in FOUR[: len(columns)])], rows)


def unequal(lab: Lab, data: str, pairs: Sequence[tuple[str, int, str, int]]) -> str:
    """Relative spaces of encoders whose widths or architectures differ, seed by seed."""
    rows = []
    for first, dim, second, other in pairs:
        sides = [encoders(lab, data, name, width, 3) for name, width in ((first, dim), (second, other))]
        anchor = anchors(lab, sides[0][0])
        for center in ("", " --center"):
            result = []
            for a, b in zip(*sides, strict=True):
                result += compared(lab, [a, b], anchor, f"-m {','.join(REFERENCE)}{center}")
            projection = f"cosine{'+center' if center else ''}"
            cells = [spread(values(result, projection, m)) for m in REFERENCE]
            chance = spread(values(result, projection, "cosine", "chance"), 2)
            rows.append([f"`{first}` of {dim}, `{second}` of {other}", f"`{projection}`", *cells, chance])
    return lab.table(["pair", "relative", *REFERENCE, "chance of the cosine"], rows)


def maps(lab: Lab) -> str:
    """Two-dimensional bottlenecks beside flat ones of nearly the same width, three seeds each."""
    rows = []
    for encoder in ("conv-ae", "conv-vae"):
        for dim, options in ((49, " --bottleneck map"), (48, "")):
            files = encoders(lab, "fashion-mnist", encoder, dim, 3, options)
            pairs_of_files = compared(lab, files, anchors(lab, files[0]), f"-s {FUNCTIONS} -m pearson,jaccard")
            for p in projections(pairs_of_files)[:3]:
                cells = [spread(values(pairs_of_files, p, metric)) for metric in ("pearson", "jaccard")]
                rows.append([f"`{encoder}{options}`, {dim} dims", name_of(p), *cells])
    return lab.table(["encoder", "", "pearson", "jaccard"], rows)


WIDTHS = (("conv-ae", 48, "conv-ae", 24), ("conv-ae", 48, "vit-ae", 48))
TABLES = {
    "fashion": lambda lab: two_seeds(lab, "fashion-mnist", 48, "", ("0.8285", "0.2202")),
    "mnist24": lambda lab: two_seeds(lab, "mnist", 24, " --epochs 4", ("0.5575", "0.5187")),
    "map": maps,
    "unequal": lambda lab: unequal(lab, STANDIN, WIDTHS),
    "unequal-fashion": lambda lab: unequal(lab, "fashion-mnist", WIDTHS[:1]),
    "cifar": lambda lab: unequal(lab, "cifar10", (("conv-ae", 72, "vit-ae", 72),)),
    "cifar-seeds": lambda lab: two_seeds(lab, "cifar10", 72, "", ()),
    "four-fashion": lambda lab: four_encoders(lab, "fashion-mnist"),
    "four-mnist": lambda lab: four_encoders(lab, "mnist"),
}

if __name__ == "__main__":
    main(NAME, TABLES, ROOMS)
