"""Items that several runs or processes encode: the bytes of one run; what cannot be divided is refused."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.sources.text_lines import Texts

EPOCH = {"SOURCE_DATE_EPOCH": "1000000000"}


@pytest.fixture
def vectors(empty: Workdir) -> Workdir:
    np.save(empty / "x.npy", np.random.default_rng(0).normal(size=(2500, 3)).astype("f4"))
    empty.here("relrep embed x.npy -e pca --dim 2 --save-encoder pca.safetensors -o first.h5", **EPOCH)
    return empty


def test_the_whole_of_parts_has_the_bytes_of_one_run(vectors: Workdir) -> None:
    for number in (1, 2):
        vectors.here(f"relrep embed x.npy -e pca.safetensors -o out.h5 --shard {number}/2", **EPOCH)
    assert "up to date" in vectors.here("relrep embed x.npy -e pca.safetensors -o out.h5 --shard 2/2").stderr
    vectors.here("relrep merge out.2-of-2.h5 out.1-of-2.h5 -o out.h5", **EPOCH)
    vectors.here("relrep embed x.npy -e pca.safetensors -o alone.h5", **EPOCH)
    assert (vectors / "out.h5").read_bytes() == (vectors / "alone.h5").read_bytes()
    vectors.error("relrep embed x.npy -e pca.safetensors -o out.h5 --shard 1/4 -q", 2, "3 blocks of 1024, too few for 4 parts")
    vectors.error("relrep embed x.npy -e pca --dim 2 -o out.h5 --shard 1/2 -q", 2, "would train the encoder in every part")
    vectors.error("relrep embed x.npy -o out.h5 --shard 1/2 -q", 2, "--shard divides the work of an encoder")
    vectors.error("relrep embed x.npy -e pca -o - --cluster local:2 -q", 2, "--cluster does not go with -o -")


def test_consecutive_texts() -> None:
    texts = Texts(np.frombuffer("oneéthree".encode(), np.uint8), np.array([3, 3, 5, 10]))
    for rows in (slice(0, 4), slice(1, 3), slice(2, 4), slice(4, 4)):
        part = texts.part(rows)
        assert part[:] == texts[rows] and part.shape == (len(texts[rows]),)


@pytest.mark.slow
def test_other_processes_give_the_bytes_of_this_one(vectors: Workdir) -> None:
    vectors.here("relrep embed x.npy -e pca --dim 2 -o out.h5 --cluster local:2", **EPOCH)
    assert (vectors / "out.h5").read_bytes() == (vectors / "first.h5").read_bytes()
