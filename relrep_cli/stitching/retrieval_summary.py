"""What a retrieval between many spaces says in a few lines: the best method, those that tie with it, the worst pair, cycles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.embedding import Embedding, find_ids
from relrep_cli.numerics.intervals import bootstrap_of_few, within
from relrep_cli.numerics.paired_differences import Estimate, paired_difference

Hits = tuple[np.ndarray, np.ndarray]  # ids of queries (q,), and whether each found its own item first
Losses = Mapping[tuple[int, int], Sequence[float]]


@dataclass
class _Counts:
    """hits, tries: (items,) of each item over all pairs. recalls: of each pair."""

    hits: np.ndarray
    tries: np.ndarray
    recalls: dict[tuple[int, int], float] = field(default_factory=dict)

    def means(self) -> np.ndarray:
        """(items,) the share of pairs in which an item found itself; items without a try are left out."""
        return self.hits[self.tries > 0] / self.tries[self.tries > 0]


class Summary:
    """Count the hits of each method over all pairs of some files.

    cycles: the losses of each method, by the first two spaces of the trip.
    """

    def __init__(self, es: Sequence[Embedding], seed: int) -> None:
        tested = [e.ids[rows] for e in es if (rows := e.rows_of_split("test")) is not None]
        self.ids = np.unique(np.concatenate(tested)) if tested else np.zeros(0, "S1")
        self.names, self.seed = [e.uri for e in es], seed
        self.counts: dict[str, _Counts] = {}
        self.cycles: dict[str, Losses] = {}

    def count(self, method: str, a: int, b: int, hits: Hits) -> None:
        """Add the queries of space a in the index of space b."""
        if a == b:
            return
        if method not in self.counts:
            self.counts[method] = _Counts(*np.zeros((2, len(self.ids))))
        counts, places = self.counts[method], find_ids(self.ids, hits[0])
        counts.hits[places] += hits[1]
        counts.tries[places] += 1
        counts.recalls[a, b] = float(hits[1].mean())

    def lines(self) -> Iterator[str]:
        """Notes for the user, one line each. Only methods that all pairs can use are compared."""
        most = max((len(one.recalls) for one in self.counts.values()), default=0)
        means = {name: one.means() for name, one in self.counts.items() if len(one.recalls) == most}
        if not means:
            return
        best = max(means, key=lambda name: float(means[name].mean()))
        low, high = within(bootstrap_of_few(means[best], np.random.default_rng(self.seed)), (0, 1))
        line = f"mean recall@1 {means[best].mean():.3f} ({low:.3f} to {high:.3f}) over {most} pairs by {best}"
        (a, b), least = min(self.counts[best].recalls.items(), key=lambda item: item[1])
        ties = [name for name in means if name != best and self._ties(means[name], means[best])]
        others = f"; {', '.join(ties)} tie{'s' if len(ties) == 1 else ''} with it" if ties else ", the best of all methods"
        yield f"{line}{others if len(means) > 1 else ''}; worst {least:.3f}, of {self.names[a]} in {self.names[b]}."
        lost = {name: np.concatenate([*map(np.asarray, one.values())]) for name, one in self.cycles.items() if one}
        for name in (name for name in lost if lost[name].any()):
            yield (
                f"{name}: a round trip loses {lost[name].mean():.3f} of recall@1 on average and "
                f"{lost[name].max():.3f} at worst ({len(lost[name])} round trips)."
            )

    def _ties(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Whether the interval of the difference of two methods over the same items holds 0."""
        one, other = (Estimate(float(rows.mean()), len(rows), rows) for rows in (a, b))
        difference = paired_difference(one, other, seed=self.seed)
        return difference.low is None or difference.high is None or difference.low <= 0 <= difference.high
