"""Strategies that choose anchors without looking at vectors."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from relrep_cli.anchors.candidates import Candidates, strategy
from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.registry import Param
from relrep_cli.embedding import find_ids


@strategy(gives="items", reads="", source="Moschella et al. 2022, sec. 4")
def random(c: Candidates, m: int, rng: np.random.Generator) -> np.ndarray:
    """Items drawn uniformly, without repeats.

    Returns (m,) places among the candidates, as do all strategies of this module.
    """
    return rng.choice(len(c), m, replace=False)


@strategy(gives="items", reads="labels", source="Moschella et al. 2022: equally many anchors of each class")
def per_class(c: Candidates, m: int, rng: np.random.Generator) -> np.ndarray:
    """Equally many items of each class, drawn uniformly within it.

    Returns (m,) places among the candidates.

    When m is not a multiple of the number of classes, the first classes in sorted order get one more. A class with too few
    items gives all of them, and the other classes give more. The result lists the classes one after the other.
    """
    labels = c.column("label")
    classes = np.unique(labels)
    pools = {name: rng.permutation(np.flatnonzero(labels == name)) for name in classes}
    quota = dict.fromkeys(classes.tolist(), 0)
    while sum(quota.values()) < m:
        open_classes = [name for name in classes.tolist() if quota[name] < len(pools[name])]
        share, extra = divmod(m - sum(quota.values()), len(open_classes))
        for place, name in enumerate(open_classes):
            quota[name] = min(len(pools[name]), quota[name] + share + (place < extra))
    return np.concatenate([pools[name][: quota[name]] for name in classes.tolist()])


@strategy(gives="items", reads="", source="the order of the file")
def first(c: Candidates, m: int, rng: np.random.Generator) -> np.ndarray:
    """The first items of the file.

    Returns (m,) places among the candidates.
    """
    return np.argsort(c.rows[0], kind="stable")[:m]


@strategy(gives="items", reads="counts", source="words by their frequency, as in dictionaries for cross-lingual embeddings")
def frequent(
    c: Candidates,
    m: int,
    rng: np.random.Generator,
    *,
    count_column: Annotated[str, Param("Column of numbers; the items with the largest come first.")] = "count",
) -> np.ndarray:
    """Items with the largest numbers in a column, such as counts of words; among equals by id.

    Returns (m,) places among the candidates.

    Raises DataError when the column holds no numbers.
    """
    try:
        counts = np.asarray(c.column(count_column), np.float64)
    except ValueError:
        raise DataError(
            f"column {printable(count_column)} holds text, not numbers",
            "Name a column of numbers with --count-column.",
            file=c.spaces[0].uri,
        ) from None
    return np.lexsort((c.ids, -np.where(np.isnan(counts), -np.inf, counts)))[:m]


@strategy(gives="items", reads="list", source="the user's own choice")
def from_file(c: Candidates, m: int, rng: np.random.Generator) -> np.ndarray:
    """The items whose ids --source lists, in its order: a text with one id a line, or an embedding file.

    Returns (m,) places among the candidates.

    Raises DataError when a listed id is not a candidate, or the list is too short.
    """
    listed = c.listed if c.listed is not None else np.empty(0, "S1")
    places = find_ids(c.ids, listed[:m])
    missing = listed[:m][places < 0]
    if len(missing) or len(listed) < m:
        some = ", ".join(printable(i) for i in missing[:3].tolist()) + (", …" if len(missing) > 3 else "")
        what = f"{len(missing)} of the ids listed are not candidates: {some}"
        what = what if len(missing) else f"the list has only {len(listed)} ids"
        raise DataError(
            what, "Candidates are the training items that all files share; --split all takes any.", file=c.spaces[0].uri
        )
    return places


@strategy(gives="items", reads="collections", source="Moschella et al. 2022, sec. 5: anchors of another domain")
def out_of_domain(c: Candidates, m: int, rng: np.random.Generator) -> np.ndarray:
    """Random items of other collections (--source, one of each FILE's space) that the same encoders embedded.

    Returns (m,) places among the candidates.
    """
    return random(c, m, rng)
