"""What all evaluations share: the space they look at, what they find, and how it becomes records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import field, replace
from typing import Annotated, Any, Concatenate, Literal, TypeVar

import numpy as np

from relrep_cli.base.errors import NotApplicable, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Entry, Param, Registry
from relrep_cli.embedding import Embedding, find_ids
from relrep_cli.evaluations.asked_queries import AskedQueries
from relrep_cli.evaluations.judged_rows import held_out, rows_of
from relrep_cli.neighbors import unit_rows
from relrep_cli.numerics.blocks import pick, row_blocks, take
from relrep_cli.numerics.workspace import Workspace

COLUMNS = ("file", "task", "name", "value", "low", "high", "n", "convention", "chance")
NEEDS = {
    "labels": "no column {target!r} with the classes of items",
    "numbers": "no column {target!r} with a number for each item",
    "train": "no rows of split 'train' to learn from",
    "unseen": "no split, so training and test rows cannot be told apart; write --holdout 0.2",
    "reference": "no clean file to compare with; name one with --reference",
    "anomalies": "no anomalies to compare its items with; name a file of the same space with --anomalies",
    "queries": "no queries to search for; name them with --queries, and what is relevant to them with --relevant",
}
K = Annotated[int, Param("Number of nearest rows.", minimum=1)]
By = Annotated[
    Literal["cosine", "euclidean"],
    Param("Which rows are near: by cosine or by Euclidean distance.", choices=("cosine", "euclidean")),
]
Record = dict[str, Any]
GROUPS = 20


@dataclass(frozen=True, eq=False)
class Space:
    """An embedding made ready to be judged.

    train, test: row numbers to learn from and to judge; the same ones where the file has no split. classes: names, sorted.
    codes: (n,) class number of each row, -1 for none; None without labels. numbers: (n,) values of a column of numbers, else
    None. anomalies: items of the same space that do not
    belong. score: the column that says how odd an item is, instead of distances. reference: a clean file of the same space; the
    embedding itself where rows can only be suspected. unit: the number that all vectors were divided by. device: where
    neighbours are searched and linear models trained; see devices.chosen. queries: of the same space, with the items that are
    relevant to them.
    """

    e: Embedding
    train: np.ndarray
    test: np.ndarray
    classes: np.ndarray = field(default_factory=lambda: np.empty(0, "S1"))
    codes: np.ndarray | None = None
    numbers: np.ndarray | None = None
    target: str = "label"
    anomalies: Embedding | None = None
    score: str = ""
    reference: Embedding | None = None
    unit: float = 1.0
    device: str = "cpu"
    queries: AskedQueries | None = None

    @property
    def searching(self) -> Workspace:
        """What a search for neighbours is given."""
        return Workspace(shares=False, device=self.device)

    @property
    def unseen(self) -> bool:
        """Whether no judged row was learnt from."""
        return not np.isin(self.test, self.train).any()

    def labelled(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of the rows that have a class, and their class numbers. Raises NotApplicable when there are none."""
        codes = np.full(len(rows), -1) if self.codes is None else self.codes[rows]
        if not (codes >= 0).any():
            raise NotApplicable(f"none of the rows has a class in column {printable(self.target)!r}")
        return rows[codes >= 0], codes[codes >= 0]

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows), d) the vectors of some rows."""
        return take(self.e.x, rows)

    def suits(self, needs: Set[str]) -> bool:
        """Whether a task is for such a column: classes are not predicted as numbers, nor numbers as classes, unless the user
        asks for it.
        """
        if self.codes is None and self.numbers is not None:
            return "labels" not in needs
        return "numbers" not in needs

    def lacks(self, needs: Set[str]) -> str:
        """What is missing of `needs`, in words; nothing when all is there."""
        here = {
            "labels": self.codes is not None,
            "numbers": self.numbers is not None,
            "train": bool(len(self.train)),
            "unseen": self.unseen,
            "reference": self.reference is not None,
            "anomalies": self.anomalies is not None,
            "queries": self.queries is not None,
        }
        lacking = next((need for need in NEEDS if need in needs and not here[need]), "")
        if lacking == "unseen" and "split" in self.e.obs:
            return "the rows that it was fitted on would be scored; leave --split out, or name a split of other rows"
        if lacking == "labels" and self.numbers is not None:
            return f"column {printable(self.target)!r} holds numbers, not classes; --task regression predicts them"
        return NEEDS[lacking].format(target=printable(self.target)) if lacking else ""


@dataclass(frozen=True, eq=False)
class Finding:
    """One thing measured.

    rows: (m,) the judged items' own values, of which `value` is the mean, and codes (m,): their class numbers. counts: (m,) how
    many items each value is of, where it is not one; such values have no interval. pairs: (m,) of how many pairs of items each
    value is the mean, where `value` is the mean over pairs. interval: 95 %, where rows do not give one. chance: the value of a
    space without information. ids: (m,) of the items that the rows are of, or of all items that `value` is of. without: (g,)
    the value without each g-th part of these items, where rows do not say how sure it is. subset: for rows that depend on each
    other, a function from places among the items, ascending, to their row values where these items alone are judged, NaN where
    one has none. curve: (points, 3) false positive rate, true positive rate and threshold. items: a record for each judged
    item, for a file. extra: further columns of the record. predicted: (m,) the class number that each item was taken for.
    item_values: (len(ids),) values of items for a report, where there are no rows. lower_is_better: of rows or item_values.
    """

    name: str
    value: float
    n: int
    convention: str
    rows: np.ndarray | None = None
    codes: np.ndarray | None = None
    counts: np.ndarray | None = None
    pairs: np.ndarray | None = None
    interval: tuple[float, float] | None = None
    bounds: tuple[float | None, float | None] = (None, None)
    chance: float | None = None
    ids: np.ndarray | None = None
    without: np.ndarray | None = None
    subset: Callable[[np.ndarray], np.ndarray] | None = None
    curve: np.ndarray | None = None
    items: Sequence[Record] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    predicted: np.ndarray | None = None
    item_values: np.ndarray | None = None
    lower_is_better: bool = False


Need = Literal["labels", "numbers", "train", "unseen", "reference", "anomalies", "queries"]
Task = Callable[Concatenate[Space, ...], Iterator[Finding]]
AnyTask = TypeVar("AnyTask", bound=Task)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation(Entry[Task]):
    """A task with its traits. needs: what a space must have, see NEEDS. labels: whether it reads the classes of items."""

    needs: Set[Need]
    labels: bool
    source: str

    def __call__(self, function: AnyTask) -> AnyTask:
        """Register the function."""
        EVALUATIONS.add(self.of(function))
        return function


EVALUATIONS = Registry("task", Evaluation)
evaluation = Evaluation


def mean_of(
    name: str,
    rows: np.ndarray,
    convention: str,
    codes: np.ndarray | None = None,
    bounds: tuple[float | None, float | None] = (None, None),
    chance: float | None = None,
    ids: np.ndarray | None = None,
) -> Finding:
    """The finding that is the mean of the items' own values. ids: (m,) of the items."""
    return Finding(name, float(rows.mean()), len(rows), convention, rows, codes, bounds=bounds, chance=chance, ids=ids)


def mean_of_pairs(
    name: str,
    rows: np.ndarray,
    pairs: np.ndarray,
    convention: str,
    codes: np.ndarray,
    bounds: tuple[float, float],
    ids: np.ndarray,
) -> Finding:
    """The finding that is the mean over pairs of items. rows: (m,) each item's mean over its pairs; pairs: their number."""
    value = float(np.average(rows, weights=pairs))
    return Finding(name, value, len(rows), convention, rows, codes, pairs=pairs, bounds=bounds, ids=ids)


def prepare(
    e: Embedding,
    target: str,
    split: str,
    holdout: float,
    seed: int,
    anomalies: Embedding | None = None,
    score: str = "",
    device: str = "cpu",
) -> Space:
    """`e` with rows to learn from and to judge, and its classes.

    split: whose rows are judged; "" for test, "all" for all. holdout: the share of rows to judge in a file without splits,
    drawn by id. Raises DataError where there are no such rows.
    """
    train, test = held_out(e, holdout, seed) if holdout else rows_of(e, split)
    space = Space(e, train, test, target=target, anomalies=anomalies, score=score, device=device)
    if target not in e.obs:
        return space
    values = e.column(target)
    with suppress(ValueError):  # texts that are no numbers; labels of tables are texts, though they may be numbers
        space = replace(space, numbers=values.astype(np.float64))
    if values.dtype.kind == "f":
        return space
    names = values.astype("S")
    classes = np.unique(names[names != b""])
    return replace(space, classes=classes, codes=find_ids(classes, names))


def some(rows: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, str]:
    """The rows, or `most` random ones in order, and how many these are of how many.

    >>> some(np.arange(3), 2, 0)[1], some(np.arange(3), 3, 0)[1]
    ('2 of 3', '3')
    """
    if len(rows) <= most:
        return rows, str(len(rows))
    kept = np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])
    return rows[kept], f"{most} of {len(rows)}"


def grouped(value: Callable[[np.ndarray], float], n: int) -> tuple[float, np.ndarray | None]:
    """A value of n items, and (20,) the value without each of 20 groups, for a jackknife; none for fewer than 40 items.

    value: from (n,) which items count. Groups are dealt at random, always in the same way: in turn, they would be classes
    where a file goes through its classes in turn.
    """
    everything = np.ones(n, bool)
    estimate = value(everything)
    if n < 2 * GROUPS:
        return estimate, None
    group = np.random.default_rng(0).permutation(n) % GROUPS
    return estimate, np.array([value(group != g) for g in range(GROUPS)])


def distances(queries: np.ndarray, base: np.ndarray, rows: np.ndarray, by: str) -> np.ndarray:
    """(q, k) distances of queries (q, d) to `rows` (q, k) of base (n, d), in float64.

    by: euclidean, or cosine for 1 - cos, where a zero row stands at a right angle to everything.

    >>> distances(np.eye(2), np.array([[0.0, 2.0]]), np.array([[0], [0]]), "cosine").tolist()
    [[1.0], [0.0]]
    """
    out = np.empty(rows.shape)
    for block in row_blocks(len(queries), queries.shape[1] * rows.shape[1], queries):
        own, others = np.asarray(queries[block], np.float64), np.asarray(pick(base, rows[block].ravel()), np.float64)
        if by == "cosine":
            own, others = unit_rows(own), unit_rows(others)
        others = others.reshape(len(own), -1, own.shape[1])
        apart = others - own[:, None]
        out[block] = np.einsum("qkd,qkd->qk", apart, apart) / (2 if by == "cosine" else 1)
        if by == "cosine":
            zero = ~np.asarray(own.any(1))
            out[block][~others.any(2) | zero[:, None]] = 1
    return out if by == "cosine" else np.sqrt(out)


def evaluate(space: Space, name: str, params: Mapping[str, Any], seed: int) -> list[Finding]:
    """What one task finds. Raises NotApplicable when the space lacks what it needs, or has no value."""
    entry = EVALUATIONS[name]
    if lacking := space.lacks(entry.needs):
        raise NotApplicable(lacking)
    findings = list(entry.function(space, **params, seed=seed))
    if not findings:
        raise NotApplicable("it has no value, perhaps because all scored items are the same")
    return findings
