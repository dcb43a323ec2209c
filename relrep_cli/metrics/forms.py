"""Forms of one metric, chosen by an option, and the names that metrics had before."""

from __future__ import annotations

from dataclasses import dataclass

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
    "procrustes", "as_", "distance", "How procrustes tells agreement: distance, angle or similarity at size 1; size keeps it."
)
MATCHING = Choice(
    "matching",
    "matching",
    "hard",
    "How columns are matched: one to one, each with its best, or by optimal transport, also of a part.",
)
ORDER = Choice(
    "knn-order", "order", "edit", "How two orders of neighbours are compared: edit distance, longest common subsequence, ranks."
)
FIT = Choice("linear-regression", "fit", "least-squares", "How the linear map is fitted.")
ESTIMATOR = Choice("cka", "estimator")

OLD = {
    "procrustes-size": "procrustes:size",
    "angular-procrustes": "procrustes:angle",
    "bures": "procrustes:similarity",
    "edit-knn": "knn-order",
    "lcs-knn": "knn-order:lcs",
    "rank-similarity": "knn-order:ranks",
    "ridge": "linear-regression:ridge",
    "hard-match": "matching",
    "soft-match": "matching:soft",
    "row-column-cka": "cka:row-column",
}
OTHERS = {"soft-match": "It is now the soft matching of Khosla and Williams; Li et al.'s best partners are matching:semi."}


def current(name: str) -> str:
    """The present name of a metric.

    >>> current("bures"), current("procrustes:distance"), current("cka")
    ('procrustes:similarity', 'procrustes', 'cka')
    """
    found = OLD.get(name, name)
    for choice in (AS, MATCHING, ORDER, FIT):
        if choice.plain and found == f"{choice.metric}:{choice.plain}":
            return choice.metric
    return found


def renamed(name: str) -> str:
    """What to tell the user of an old name, or an empty string.

    >>> renamed("angular-procrustes")
    'angular-procrustes is now procrustes:angle, or procrustes with --as angle'
    """
    if name not in OLD:
        return ""
    found = OLD[name]
    metric, _, value = found.partition(":")
    choice = next(c for c in (AS, MATCHING, ORDER, FIT, ESTIMATOR) if c.metric == metric)
    how = f", or {metric} with {Keyword(choice.option, str, '', Param('')).option} {value}" if value else ""
    more = f". {OTHERS[name]}" if name in OTHERS else ""
    return f"{name} is now {found}{how}{more}"
