"""Forms of one metric, chosen by an option, and the names that metrics had before."""

from __future__ import annotations

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Keyword, Param


@dataclass(frozen=True)
class Choice:
    """An option that chooses between the forms of a metric.

    option: the keyword, as `as_`. plain: the value that means the metric under its own name; empty where the function of the
    metric takes the keyword itself, and forms add values to it.
    """

    metric: str
    option: str
    plain: str = ""
    help: str = ""

    def __call__(self, value: str) -> Form:
        return Form(self, value)


@dataclass(frozen=True)
class Form:
    """That a function is one form of a metric: the one that `--as angle` chooses."""

    choice: Choice
    value: str

    @property
    def name(self) -> str:
        """`procrustes:angle`, or `procrustes` for the plain form."""
        return self.choice.metric if self.plain else f"{self.choice.metric}:{self.value}"

    @property
    def plain(self) -> bool:
        return self.value == self.choice.plain

    def keyword(self, values: tuple[str, ...]) -> Keyword:
        """The option with all its values, as the plain form shows it."""
        return Keyword(self.choice.option, str, self.value, Param(self.choice.help, choices=values))


AS = Choice(
    "procrustes",
    "as_",
    "distance",
    "What procrustes reports of spaces scaled to size 1: distance, angle or similarity; size keeps the sizes.",
)
MATCHING = Choice(
    "matching",
    "matching",
    "hard",
    "How matching pairs columns: one to one (hard), each with its best (semi), optimal transport of all (soft) or a share.",
)
SEQUENCE = Choice(
    "ordered-knn",
    "sequence",
    "edit",
    "How ordered-knn compares neighbours in order: edit distance, longest common subsequence (lcs) or ranks.",
)
FIT = Choice("linear-regression", "fit", "least-squares", "How linear-regression fits: least squares, or ridge with --penalty.")
ESTIMATOR = Choice("cka", "estimator")

OLD = {
    "procrustes-size": "procrustes:size",
    "angular-procrustes": "procrustes:angle",
    "bures": "procrustes:similarity",
    "edit-knn": "ordered-knn",
    "lcs-knn": "ordered-knn:lcs",
    "rank-similarity": "ordered-knn:ranks",
    "ridge": "linear-regression:ridge",
    "hard-match": "matching",
    "soft-match": "matching:soft",
    "row-column-cka": "cka:row-column",
}
CHOICES = (AS, MATCHING, SEQUENCE, FIT, ESTIMATOR)
CHANGED = {
    "soft-match": "soft-match is now matching:soft, the soft matching of Khosla and Williams; the form of Li et al., which had "
    "this name before, is matching:semi"
}


def current(name: str) -> str:
    """The present name of a metric.

    >>> current("bures"), current("procrustes:distance"), current("cka")
    ('procrustes:similarity', 'procrustes', 'cka')
    """
    current_name = OLD.get(name, name)
    return next((c.metric for c in CHOICES if c.plain and current_name == f"{c.metric}:{c.plain}"), current_name)


def renamed(name: str) -> str:
    """A note on an old name, or an empty string.

    >>> renamed("angular-procrustes")
    'angular-procrustes is now procrustes:angle, or procrustes with --as angle'
    """
    if name in CHANGED or name not in OLD:
        return CHANGED.get(name, "")
    metric, _, value = OLD[name].partition(":")
    option = next(Keyword(c.option, str, "", Param("")).option for c in CHOICES if c.metric == metric)
    return f"{name} is now {OLD[name]}" + (f", or {metric} with {option} {value}" if value else "")
