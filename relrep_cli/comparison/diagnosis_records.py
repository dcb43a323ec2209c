"""Diagnoses of pairs of files as flat records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from relrep_cli.base.errors import DataError, unknown
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record, progress, say
from relrep_cli.comparison.diagnosis import RELATIONS, Diagnosis, diagnose
from relrep_cli.comparison.joins import join, left_out
from relrep_cli.comparison.moved_rows import order_of
from relrep_cli.comparison.pairs_of_files import View
from relrep_cli.comparison.row_values import label_of_each, plain_text
from relrep_cli.comparison.worst_items import worst_rows
from relrep_cli.embedding import Embedding, select

COLUMNS = ("a", "b", "relation", "holds", "share", "noise", "n", "evidence")
ITEM_COLUMNS = ("id", "label", "a", "b", "relation", "value")


@dataclass(frozen=True, eq=False)
class PairDiagnosis:
    """The diagnosis of two files. ids: (n,) of their common rows. error: what kept the pair from being diagnosed."""

    a: str
    b: str
    ids: np.ndarray
    diagnosis: Diagnosis | None = None
    error: str = ""

    def records(self) -> list[Record]:
        """Each simpler relation with what speaks against it, then the one that holds."""
        pair: Record = {"a": self.a, "b": self.b}
        if self.diagnosis is None:
            return [pair | dict.fromkeys(COLUMNS[2:]) | {"error": self.error}]
        n = len(self.ids)
        lines: list[Record] = [
            {"relation": name, "holds": "no", "share": None, "noise": None, "n": n, "evidence": self.diagnosis.tried[name]}
            for name in RELATIONS
            if name in self.diagnosis.tried and name != self.diagnosis.relation
        ]
        own = self.diagnosis
        figures: Record = {"share": own.share, "noise": own.noise, "n": n, "evidence": self.evidence()}
        return [pair | line for line in [*lines, {"relation": own.relation, "holds": "yes", **figures}]]

    def evidence(self) -> str:
        """What speaks for the relation; of rows that were moved, their order, too."""
        own = self.diagnosis
        assert own is not None
        if own.moved is None:
            return own.evidence
        names = ("a", "b") if own.moved.turned else ("b", "a")
        return "; ".join(filter(None, [own.evidence, order_of(own.moved, self.ids, names)]))

    def meets(self, accepted: str) -> bool:
        """Whether the relation is the accepted one or a simpler one."""
        names = [name for name in RELATIONS if name != "none-of-these"]
        return self.diagnosis is not None and self.diagnosis.relation in names[: names.index(accepted) + 1]


def check_relation(name: str) -> None:
    """Raise UsageError unless `name` is a relation that can be accepted."""
    known = [relation for relation in RELATIONS if relation != "none-of-these"]
    if name not in known:
        raise unknown("relation", name, known)


def diagnose_pairs(
    pairs: Sequence[tuple[str, str]], views: Mapping[str, list[View] | DataError], require_all: bool, seed: int
) -> list[PairDiagnosis]:
    """Diagnose every pair. Of several pairs, one that cannot be used holds its error; the error of a single one is raised."""
    diagnoses = []
    with progress("diagnosing") as advance:
        for done, (a, b) in enumerate(pairs):
            advance(done, len(pairs), f"{a} {b}")
            try:
                diagnoses.append(_diagnosed(a, b, views, require_all, seed))
            except DataError as error:
                if len(pairs) == 1:
                    raise
                diagnoses.append(PairDiagnosis(a, b, np.empty(0, "S1"), error=str(error)))
    return diagnoses


def _diagnosed(a: str, b: str, views: Mapping[str, list[View] | DataError], require_all: bool, seed: int) -> PairDiagnosis:
    x, y = (_embedding(views[uri]) for uri in (a, b))
    rows = join(x, y, require_all)
    if note := left_out(x, y, rows):
        say(f"{a} and {b}: {note}")
    x, y = select(x, rows[0]), select(y, rows[1])
    with np.errstate(all="ignore"):
        return PairDiagnosis(a, b, x.ids, diagnose(x.x, y.x, seed))


def _embedding(views: list[View] | DataError) -> Embedding:
    if isinstance(views, DataError):
        raise views
    return views[0].embedding


def items_that_differ(
    diagnoses: Sequence[PairDiagnosis], count: int, views: Mapping[str, list[View] | DataError]
) -> tuple[list[Record], list[str]]:
    """The rows that follow the relation of their pair least, as records, and a note for each pair without any."""
    records: list[Record] = []
    notes: list[str] = []
    for one in diagnoses:
        if one.diagnosis is None or not len(one.diagnosis.rows):
            what = one.diagnosis.relation if one.diagnosis else "not diagnosed"
            notes.append(f"{one.a} and {one.b}: {what}; no row has an error of its own.")
            continue
        order = np.argsort(one.diagnosis.rows)
        picked, _ = worst_rows(one.diagnosis.residuals[order], False, count)
        rows = one.diagnosis.rows[order][picked]
        labels = label_of_each(one.ids[rows], _embedding(views[one.a]), _embedding(views[one.b]))
        for row, value, label in zip(rows, one.diagnosis.residuals[order][picked].tolist(), labels, strict=True):
            name = {"id": plain_text(one.ids[row])} | ({} if label is None else {"label": label})
            records.append(name | {"a": one.a, "b": one.b, "relation": one.diagnosis.relation, "value": value})
    return records, notes
