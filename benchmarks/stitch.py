"""Stitching: a grid of 12 encoders and 12 heads, and the linear head against a loop over a DataLoader.

    python benchmarks/stitch.py [grid] [usual] [retrieval] [methods] [head] [--smoke]

grid: 12 spaces of 10,000 x 384, one linear head each, 300 anchors, by cosines; CPU seconds and peak memory of the command.
usual: the same by the usual methods. methods: by every method. retrieval: the test items of each space looked up in every
other, by the usual methods. head: the linear head in closed form, and the same linear model trained by AdamW over a DataLoader
until it is as accurate; CPU seconds, accuracy and their ratio. One thread each.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from common import RELREP, installed, ratio, size, usage  # isort: split

import numpy as np

N, D, ENCODERS, CLASSES, ANCHORS = size(10_000, 400), size(384, 16), size(12, 2), 10, size(300, 20)
HEAD_ROWS, TEST_ROWS, EPOCHS = size(60_000, 1000), size(10_000, 500), size(30, 2)


def encoders(folder: Path) -> list[str]:
    """Files of one set of items as several encoders see it: turned, stretched and with noise of their own."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, CLASSES, N)
    items = 1.2 * rng.normal(size=(CLASSES, 32))[label] + rng.normal(size=(N, 32))
    split = np.where(np.arange(N) % 5 == 0, "test", "train")
    names = []
    for number in range(ENCODERS):
        x = items @ rng.normal(size=(32, D)) / 6 + 0.3 * rng.normal(size=(N, D)) + rng.normal(size=D)
        names.append(str(folder / f"{number}.npz"))
        ids = np.arange(N).astype(str)
        np.savez(names[-1], x=x.astype(np.float32), ids=ids, label=label.astype(str), split=split)
    (folder / "anchors.txt").write_text("\n".join(map(str, np.flatnonzero(split == "train")[:ANCHORS])))
    return names


def grid(*options: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        command = [*RELREP, "stitch", *encoders(folder), "-a", str(folder / "anchors.txt"), *options]
        cpu, peak, stdout = usage([*command, "-@", "1"])
        cells = len(stdout.splitlines()) - 1
        print(f"{ENCODERS} x {ENCODERS}, {N} x {D}: {cells} cells, {cpu:.1f} s CPU, {peak / 2**30:.2f} GiB", flush=True)


def loader_loop(x: np.ndarray, y: np.ndarray, q: np.ndarray, truth: np.ndarray, aim: float) -> tuple[int, float]:
    """Epochs of a linear model over a DataLoader until its accuracy is `aim`, at most EPOCHS, and the accuracy it has then."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    mean, scale = x.mean(0), x.std(0)
    z, zq = (torch.from_numpy(((rows - mean) / scale).astype(np.float32)) for rows in (x, q))
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(z, torch.from_numpy(y)), batch_size=256, shuffle=True)
    model = torch.nn.Linear(x.shape[1], CLASSES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    reached = 0.0
    for epoch in range(1, EPOCHS + 1):
        for rows, target in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(rows), target).backward()
            optimizer.step()
        with torch.inference_mode():
            reached = float((model(zq).argmax(1).numpy() == truth).mean())
        if reached >= aim:
            return epoch, reached
    return EPOCHS, reached


def head() -> None:
    from relrep_cli.heads.heads import HEADS, train

    rng = np.random.default_rng(0)
    n, more = HEAD_ROWS, TEST_ROWS
    label = rng.integers(0, CLASSES, n + more)
    items = 1.2 * rng.normal(size=(CLASSES, 32))[label] + 1.5 * rng.normal(size=(n + more, 32))
    x = (items @ rng.normal(size=(32, ANCHORS)) / 6 + 0.3 * rng.normal(size=(n + more, ANCHORS))).astype(np.float32)
    start = time.process_time()
    predicted = train("linear", x[:n], label[:n], CLASSES, HEADS["linear"].resolve({}))
    ours = time.process_time() - start
    accuracy = float((predicted(x[n:]) == label[n:]).mean())
    print(f"linear head, {n} x {ANCHORS}: {ours:.2f} s CPU, accuracy {accuracy:.4f}")
    if not installed("torch"):
        return
    import torch  # noqa: F401

    start = time.process_time()
    epochs, reached = loader_loop(x[:n], label[:n], x[n:], label[n:], accuracy)
    theirs = time.process_time() - start
    message = f"DataLoader loop: {theirs:.2f} s CPU, accuracy {reached:.4f} after {epochs} epochs"
    print(f"{message}; {ratio(theirs, ours):.1f} times as long")


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["grid", "head"]
    if "grid" in wanted:
        grid("--method", "relative", "--similarity", "cosine")
    if "usual" in wanted:
        grid()
    if "retrieval" in wanted:
        grid("--target", "retrieval")
    if "methods" in wanted:
        grid("--method", "all")
    if "head" in wanted:
        head()
