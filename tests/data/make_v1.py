"""How v1.h5 was made, by relrep 0.1.0: what a file of format version 1 may hold. A later version needs a file of its own.

python tests/data/make_v1.py FOLDER
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from relrep_cli import store
from relrep_cli.embedding import make_step


def main(folder: Path) -> None:
    os.environ["SOURCE_DATE_EPOCH"] = "1767225600"
    rng = np.random.default_rng(1)
    x = rng.standard_normal((12, 6)).astype("f4")
    ids = ["plain", "with space", "tab\there", "quote\"'", "ünï", "emoji 🙂", *(f"長い-{i}" for i in range(6, 12))]
    split = [b"test" if i % 3 == 0 else b"" if i == 1 else b"train" for i in range(12)]
    store.write(
        str(folder / "v1.abs.h5"), [x], shape=x.shape, dtype="float32", ids=np.array([i.encode() for i in ids]),
        obs={"label": np.array([b"a", b"b", b"c"] * 4), "split": np.array(split), "score": rng.random(12)},
        var={"id": np.arange(6).astype("S1")}, kind="absolute", space="archive", steps=[make_step("embed", {}, 0, [])],
    )  # fmt: skip
    (folder / "v1.txt").write_text("".join(f"{i}\n" for i in (ids[0], ids[1], ids[4], ids[7])))
    words = ["project", "v1.abs.h5", "--anchors", "v1.txt", "--center", "-o", "v1.h5"]
    subprocess.run([sys.executable, "-m", "relrep_cli", *words], cwd=folder, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
