"""Whether a bridge will do: the verdict of a report, and the sentence that says it."""

from __future__ import annotations

from relrep_cli.base.output import Record
from relrep_cli.stitching.learning_curve import MORE
from relrep_cli.stitching.query_pairs import KEPT
from relrep_cli.stitching.translation import Fitting
from relrep_cli.stitching.universe import UNIVERSES

BRIDGE, REEMBED, MORE_ANCHORS, UNSURE = "bridge", "re-embed", "not enough anchors", "too few items to tell"


def verdict_of(now: Record, wanted: float, reached: bool) -> str:
    """reached: whether more anchors would bring the wanted recall, of items; for queries that is not known."""
    if now["value"] is None:
        return UNSURE
    if now["measure"] == KEPT and now["high"] < wanted:
        return REEMBED
    if now["value"] >= wanted or now["measure"] == KEPT:
        return BRIDGE if now["low"] >= wanted else UNSURE
    return MORE_ANCHORS if reached else REEMBED


def sentence_of(
    verdict: str,
    best: Fitting,
    now: Record,
    count: int,
    needed: int,
    wanted: float,
    retained: float | None = None,
    chosen: str = "",
) -> str:
    """The verdict in one line. now: the record that decides. count: anchors that were used. needed: those that would reach the
    wanted recall. retained: share of old results. chosen: by what the method was, where several were tried on queries."""
    if now["value"] is None:
        return f"{UNSURE}: the new model itself finds none of {now['n']} queries' documents; look at --queries and --relevant."
    share = " of that of re-embedding" if now["measure"] == KEPT else ""
    digits = 4 if round(now["low"], 3) == wanted else 3  # an end of 0.8997 must not read as the 0.9 that it misses
    values = (f"{now[name]:.{digits}f}" for name in ("value", "low", "high"))
    sentence = "recall@10 {} ({} to {}){} in an index of {}".format(*values, share, now["at"])
    if verdict == BRIDGE:
        more = f"{chosen}, and translate the index, too" if best.method in UNIVERSES else chosen
        same = "" if retained is None else f"; of ten old results {10 * retained:.1f} are retained"
        return f"bridge with {best.method}{more}: {sentence}, and {wanted:g} is wanted{same}."
    sentence += f", by {best.method}"
    if verdict == UNSURE:
        looked_up = "more anchors may help; queries" if now["measure"] == KEPT else "items"
        return f"{UNSURE}: {sentence}, and the lower end must reach {wanted:g}; {looked_up} looked up: {now['n']}."
    if verdict == MORE_ANCHORS:
        return f"not enough anchors: {sentence}; {count} were used, and about {needed} would reach {wanted:g}."
    if now["measure"] == KEPT:
        return f"re-embed: {sentence}, and {wanted:g} is wanted; whether more anchors would help queries is not known."
    return f"re-embed: {sentence}; not even {MORE[-1]} times the {count} anchors would reach {wanted:g}."
