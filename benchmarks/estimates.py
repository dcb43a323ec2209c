"""What --dry-run says of jobs, beside what they take: CPU time and the peak of memory, on one thread.

    python benchmarks/estimates.py [WORD…] [--smoke]

Prints a table for docs/cluster.md, of the jobs whose names hold a word. Goals: memory within 30 % of the estimate, and time
between half and twice the estimate. A busy machine slows the job and what the estimate measures alike, but not evenly.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from contextlib import chdir
from pathlib import Path

import numpy as np
from common import RELREP, size, usage

JOBS = {  # name -> words of the command; files as in `make`
    "66 pairs of 12 files 800 x 64": "compare small*.npy",
    "66 pairs, `--preset quick`": "compare small*.npy --preset quick",
    "`knn-jaccard`, 20,000 x 64": "compare search0.npy search1.npy -m knn-jaccard",
    "`cka`, 500,000 x 64": "compare long0.npy long1.npy -m cka",
    "`cka`, 20,000 x 64, `--kernel rbf`": "compare search0.npy search1.npy -m cka --kernel rbf",
    "`cka`, 1,000 x 128, 1,000 permutations": "compare layer0.npy layer1.npy layer2.npy -m cka --permutations 1000",
    "`cosine`, 500,000 x 64 on 300": "project long0.npy -a ids300.txt -o out.h5",
    "`l1`, 200,000 x 64 on 100": "project middle0.npy -a ids100.txt --similarity l1 -o out.h5",
    "`kmeans`, 200,000 x 64, 200 anchors": "anchor middle0.npy -n 200 --strategy kmeans -o out.h5",
    "3 spaces 4,000 x 32, `linear`, `mlp`": "stitch grid[012].npz -a ids100.txt --method relative,ridge --head linear,mlp",
    "5,000 x 32, all tasks that fit": "evaluate grid3.npz --holdout 0.2",
    "`lin-ae`, 5,000 x 32": "embed grid3.npz --encoder lin-ae --dim 8 --epochs 5 -o out.h5",
    "`pca`, 200,000 x 64": "embed middle0.npy --encoder pca --dim 16 -o out.h5",
}
ESTIMATE = re.compile(r"would: take about (\S+) (s|h) of CPU time, (\S+) (MB|GB) of memory")
UNITS = {"s": 1.0, "h": 3600.0, "MB": 1e6, "GB": 1e9}


def make(folder: Path) -> None:
    """The files of the jobs: spaces that share hidden factors, some with ids and labels."""
    rng = np.random.default_rng(0)
    shapes = {"small": (12, 800, 64), "search": (2, 20_000, 64), "long": (2, 500_000, 64), "middle": (1, 200_000, 64)}
    shapes |= {"layer": (3, 1000, 128), "grid": (3, 4000, 32)}
    for name, (count, n, d) in shapes.items():
        n = size(n, 200)
        hidden = rng.normal(size=(n, 16))
        for number in range(count):
            x = (hidden @ rng.normal(size=(16, d)) + rng.normal(size=(n, d))).astype("f4")
            if name == "grid":
                save_labelled(folder / f"grid{number}.npz", x, hidden[:, :3].argmax(1))
            else:
                np.save(folder / f"{name}{number}.npy", x)
    hidden = rng.normal(size=(size(5000, 200), 32))
    save_labelled(folder / "grid3.npz", hidden.astype("f4"), hidden[:, :5].argmax(1))
    for count in (100, 300):
        (folder / f"ids{count}.txt").write_text("\n".join(map(str, range(min(count, size(count, 50))))))


def save_labelled(path: Path, x: np.ndarray, labels: np.ndarray) -> None:
    np.savez(path, x=x, ids=np.arange(len(x)).astype("S"), label=labels.astype("S"))


def estimate(words: list[str]) -> tuple[float, float]:
    """CPU seconds and bytes that --dry-run states."""
    stderr = subprocess.run([*RELREP, *words, "--dry-run"], capture_output=True, text=True, check=True).stderr
    time, of_time, memory, of_memory = ESTIMATE.findall(stderr)[0]
    return float(time) * UNITS[of_time], float(memory) * UNITS[of_memory]


def main() -> None:
    print("| job | CPU s, estimate | measured | MB, estimate | measured | within |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="relrep-estimates-") as folder, chdir(folder):
        make(Path(folder))
        for name, command in list(JOBS.items())[: size(len(JOBS), 2)]:
            if not all(word in f"{command} {name}" for word in sys.argv[1:]):
                continue
            words = [file for word in command.split() for file in sorted(map(str, Path().glob(word))) or [word]]
            stated_time, stated_memory = estimate(words)
            time, memory, _ = usage([*RELREP, *words])
            Path("out.h5").unlink(missing_ok=True)
            within = 0.5 <= time / stated_time <= 2 and 0.7 <= memory / stated_memory <= 1.3
            figures = f"{stated_time:.3g} | {time:.3g} | {stated_memory / 1e6:.0f} | {memory / 1e6:.0f}"
            print(f"| `{words[0]}` {name} | {figures} | {'yes' if within else 'no'} |", flush=True)


if __name__ == "__main__":
    main()
