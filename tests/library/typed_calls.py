"""What mypy must say of calls of the library: nothing of right ones, and of wrong ones what is ignored here by name.

tests/base/test_typing.py gives this file to mypy in its strict mode; nobody runs it.
"""

from typing import assert_type

import numpy as np

import relrep_cli as relrep


def calls(x: np.ndarray, y: np.ndarray) -> None:
    assert_type(relrep.read("a.h5::layer/3", id_column="doc"), relrep.Embedding)
    assert_type(relrep.as_embedding(x, ids=["a", "b", "c"], labels=np.arange(3)), relrep.Embedding)
    assert_type(relrep.compare(x, y, x, metric=["cka", "rsa"], anchors=range(2), k=5), relrep.Results)
    assert_type(relrep.compare({"A0": x, "A1": y}, [x, y], reference="first"), relrep.Results)
    assert_type(relrep.compare(x, y)[0], relrep.Result)
    assert_type(relrep.compare(x, y)["cka"], relrep.Result)
    assert_type(relrep.compare(x, y)[:1], relrep.Results)
    assert_type(relrep.diagnose(x, y), relrep.Result)
    assert_type(relrep.project(x, range(2), similarity="l1"), relrep.Embedding)
    assert_type(relrep.anchor(x, 2), np.ndarray)
    assert_type(relrep.stitch(x, y, anchors=[0, 1], labels=["a", "b", "a"]), relrep.Results)
    assert_type(relrep.translate(x, y).embedding, relrep.Embedding)
    assert_type(relrep.translate(x, y)(x), np.ndarray)
    assert_type(relrep.translate(x, relrep.read_map("universe.h5")), relrep.Translation)
    assert_type(relrep.read_map("map.h5")(x, space="old"), np.ndarray)
    relrep.universe(x, y).save("universe.h5", overwrite=True)
    assert_type(relrep.evaluate(x, y, against=0), relrep.Results)
    assert_type(relrep.universe(x, y).embeddings, tuple[relrep.Embedding, ...])
    assert_type(relrep.evaluate(x, y, labels=[0, 1, 0], task="knn", holdout=0.5), relrep.Results)
    assert_type(relrep.embed("images/", "pca", dim=16), relrep.Embedding)
    assert_type(relrep.plot(x, y), relrep.Drawing)
    assert_type(relrep.nearest(x, 2, queries=[0], by="euclidean"), relrep.Results)
    relrep.plot(x).save("x.png", overwrite=True)
    relrep.write(x, "x.h5")

    relrep.compare()  # type: ignore[call-arg]
    relrep.compare(x, y, seed="0")  # type: ignore[arg-type]
    relrep.compare(x, y, permutations=None)  # type: ignore[arg-type]
    relrep.compare(x, y, reference=0.5)  # type: ignore[arg-type]
    relrep.read("a.h5", id_colum="doc")  # type: ignore[call-arg]
    relrep.anchor(x, "300")  # type: ignore[arg-type]
    relrep.project(x)  # type: ignore[call-arg]
    relrep.stitch(x, y, test_size="0.2")  # type: ignore[arg-type]
    relrep.nearest(x, by="manhattan")  # type: ignore[arg-type]
    relrep.plot(x).save()  # type: ignore[call-arg]
    relrep.translate(x, y).save()  # type: ignore[call-arg]
    relrep.compere(x, y)  # type: ignore[attr-defined]
