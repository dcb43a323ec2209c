"""How well the classes of unseen items can be told from their vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np

from relrep_cli.base.errors import NotApplicable, printable
from relrep_cli.base.registry import Param
from relrep_cli.evaluations.findings import By, Finding, K, Space, evaluation, grouped, mean_of, some
from relrep_cli.heads.heads import train, weighted_f1
from relrep_cli.neighbors import nearest

Probe = Annotated[
    Literal["logistic", "linear", "svm"],
    Param("Linear model: logistic regression, ridge regression, or support vectors.", choices=("logistic", "linear", "svm")),
]
HELD = 1 << 26  # numbers of training rows that are held in memory at once, 0.5 GB; ridge regression holds none
MODELS = {"logistic": "logistic regression", "linear": "ridge regression on class indicators", "svm": "linear support vectors"}


@evaluation(needs={"labels", "train", "unseen"}, labels=True, source="Alain and Bengio 2016, linear classifier probes")
def linear_probe(s: Space, *, probe: Probe = "logistic", seed: int = 0) -> Iterator[Finding]:
    """Accuracy and F1 of a linear classifier.

    Trained on the labelled training rows, whose moments scale the columns; judged on rows it has not seen. Of more than 67
    million numbers, logistic and svm learn from a sample of the rows.
    """
    rows, codes = s.labelled(s.train)
    kept, of = some(np.arange(len(rows)), len(rows) if probe == "linear" else max(1, HELD // s.e.d), seed)
    model = train(probe, s.vectors(rows[kept]), codes[kept], len(s.classes), {}, seed, s.device)
    test, truth = s.labelled(s.test)
    yield from _judged(s, codes, test, truth, model(s.vectors(test)), f"{MODELS[probe]} on {of} training rows")


@evaluation(needs={"numbers", "train", "unseen"}, labels=True, source="Hastie et al. 2009, section 3.4, ridge regression")
def regression(s: Space, *, k: K = 10, neighbors: By = "cosine", seed: int = 0) -> Iterator[Finding]:
    """R2 of a number by ridge regression, and by the mean of the nearest training rows.

    Trained on the training rows where the number is known; 0 is what their mean reaches, at best.
    """
    numbers = s.numbers
    assert numbers is not None  # needs has seen to it
    rows, test = (part[np.isfinite(numbers[part])] for part in (s.train, s.test))
    if len(rows) < 2 or not len(test) or not numbers[test].std():
        raise NotApplicable(f"column {printable(s.target)!r} has too few numbers, or the same number everywhere")
    base, queries = s.vectors(rows), s.vectors(test)
    ridge = train("linear", base, numbers[rows], 0, {}, seed, s.device)
    near = nearest(queries, base, k, by=neighbors, workspace=s.searching)
    chance = float(_explained(numbers[rows].mean(), numbers[test]).mean())
    for name, values, convention in (
        ("r2", ridge(queries), f"ridge regression on {len(rows)} training rows"),
        ("r2_knn", numbers[rows][near.rows].mean(1), f"mean of the {k} nearest of {len(rows)} training rows, {neighbors}"),
    ):
        yield mean_of(name, _explained(values, numbers[test]), convention, None, (None, 1), chance, s.e.ids[test])


@evaluation(needs={"labels", "train", "unseen"}, labels=True, source="Cover and Hart 1967, nearest neighbour classification")
def knn(s: Space, *, k: K = 10, neighbors: By = "cosine", seed: int = 0) -> Iterator[Finding]:
    """Accuracy and F1 of the class that most of the nearest training rows have.

    Where several classes have as many votes, the one with the nearest row wins.
    """
    rows, codes = s.labelled(s.train)
    test, truth = s.labelled(s.test)
    near = nearest(s.vectors(test), s.vectors(rows), k, by=neighbors, workspace=s.searching)
    convention = f"vote of the {k} nearest of {len(rows)} training rows, {neighbors}"
    yield from _judged(s, codes, test, truth, _vote(codes[near.rows]), convention)


def _explained(predicted: Any, truth: np.ndarray) -> np.ndarray:
    """(n,) each item's share in R2, whose mean it is.

    >>> _explained(np.array([0.0, 1.0]), np.array([0.0, 2.0])).tolist()
    [1.0, 0.0]
    """
    return np.asarray(1 - np.square(predicted - truth) / truth.var())


def _vote(codes: np.ndarray) -> np.ndarray:
    """(q,) the most frequent of the class numbers (q, k), nearest first; the nearest of those that are as frequent.

    >>> _vote(np.array([[2, 1, 1], [2, 1, 0], [0, 1, 0]])).tolist()
    [1, 2, 0]
    """
    votes = np.zeros(codes.shape, np.int64)
    for place in codes.T:
        votes += codes == place[:, None]
    return np.take_along_axis(codes, votes.argmax(1)[:, None], 1)[:, 0]


def _judged(
    s: Space, known: np.ndarray, test: np.ndarray, truth: np.ndarray, predicted: np.ndarray, convention: str
) -> Iterator[Finding]:
    """Accuracy and F1, with what naming the most frequent training class gives as chance. test: the numbers of judged rows."""
    count, ids = len(s.classes), s.e.ids[test]
    constant = np.full(len(truth), np.bincount(known, minlength=count).argmax())
    chance = float((constant == truth).mean())
    accuracy = mean_of("accuracy", (predicted == truth).astype(np.float64), convention, truth, (0, 1), chance, ids)
    yield replace(accuracy, predicted=predicted)
    f1, without = grouped(lambda kept: weighted_f1(predicted[kept], truth[kept], count), len(truth))
    convention += "; F1 averaged over classes by frequency"
    chance = weighted_f1(constant, truth, count)
    yield Finding("f1", f1, len(truth), convention, bounds=(0, 1), chance=chance, ids=ids, without=without)
