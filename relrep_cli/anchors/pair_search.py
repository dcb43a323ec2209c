"""Find pairs of items of two files that share no ids, judge and score them, write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from relrep_cli import store
from relrep_cli.anchors.candidates import Pairing
from relrep_cli.anchors.correspondences import Pairs, read_pairs
from relrep_cli.anchors.shared_items import in_order, of_split
from relrep_cli.anchors.strategies import STRATEGIES, Candidates, Matching
from relrep_cli.base.errors import DONE, NO, DataError, UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record, Style, progress, say, write
from relrep_cli.embedding import Embedding, find_ids, match_ids
from relrep_cli.engine.estimates import takes
from relrep_cli.store.lines import read_lines

COLUMNS = ("name", "value", "advice")
BY_ID = "id"  # of --truth: rows with equal ids belong together
SCORED = 5000  # rows of the truth that are looked up, at most


@dataclass(frozen=True)
class PairSearch:
    """How to search. params: of the strategy. seeds, truth: pairs files, "" for none. confidence: the least to write pairs."""

    strategy: str
    params: dict[str, Any]
    number: int
    seeds: str
    truth: str
    confidence: float
    split: str | None


def write_pairs(
    spaces: Sequence[Embedding], search: PairSearch, output: str, force: bool, dry_run: bool, seed: int, style: Style
) -> int:
    """Find pairs between two spaces and write them; print their confidence, and their accuracy where the truth is given.

    style: of the printed records. Returns the exit code: NO when the confidence is too low, and nothing is written.
    """
    if len(spaces) != 2:
        raise UsageError(f"{search.strategy} finds pairs between two files, and {len(spaces)} are given", "Name two files.")
    inputs = [e.uri for e in spaces] + [f for f in (search.seeds, search.truth) if f and f != BY_ID]
    store.refuse(output, True, inputs, (".tsv",))  # what is there may be these very pairs
    sides = [Candidates((e,), (in_order(e, of_split(e, search.split)),)) for e in spaces]
    if dry_run:
        named = " and ".join(f"{len(c)} items of {c.spaces[0].uri}" for c in sides)
        say(f"would: find {search.number} pairs of {named} by {search.strategy}")
        say(f"would: {takes(None)}")
        return DONE
    more: dict[str, Any] = {}
    if search.seeds:
        more["seeds"] = _places(read_pairs_file(search.seeds), sides)
    true = _places(truth_of(search.truth, spaces), sides, partly=True) if search.truth else None
    rng = np.random.default_rng(seed)
    with progress("matching") as advance:
        pair = cast(Pairing, STRATEGIES[search.strategy].function)
        matching = pair(sides[0], sides[1], search.number, rng, advance=advance, **more, **search.params)
    records = _records(matching, true, len(more.get("seeds", ())), rng)
    sure = matching.confidence >= search.confidence
    if output != "-":
        write(records, COLUMNS, style)
    if not sure:
        say(
            f"failed: confidence {matching.confidence:.2f} is below {search.confidence:g}, so the pairs are likely wrong and "
            "nothing is written. Give known pairs (--strategy bootstrap --seeds), or more of them."
        )
        return NO
    pairs = Pairs(
        sides[0].ids[matching.places[:, 0]],
        sides[1].ids[matching.places[:, 1]],
        matching.score,
        (spaces[0].space, spaces[1].space),
    )
    store.write_bytes(output, pairs.to_text().encode(), force)
    if len(pairs.a) < search.number:
        say(f"{output}: only {len(pairs.a)} rows find each other; {search.number} pairs were asked for.")
    say(f"{output}: {len(pairs.a)} pairs of {spaces[0].uri} and {spaces[1].uri}, confidence {matching.confidence:.2f}.")
    return DONE


def read_pairs_file(uri: str) -> Pairs:
    return read_pairs(uri, read_lines(uri))


def truth_of(truth: str, spaces: Sequence[Embedding]) -> Pairs:
    """The true pairs: those of a file, or of equal ids.

    Raises DataError when the files share no ids, or a file of pairs cannot be read.
    """
    if truth != BY_ID or Path(truth).exists():
        return read_pairs_file(truth)
    shared = spaces[0].ids[match_ids(spaces[0].ids, spaces[1].ids)[0]]
    numbered = {e.row_ids for e in spaces} != {False} and not all(e.row_ids and e.n == spaces[0].n for e in spaces)
    if not len(shared) or numbered:
        raise DataError(
            "share no ids, so no pair is known to be right",
            "Name a pairs file with --truth.",
            file=f"{spaces[0].uri} and {spaces[1].uri}",
        )
    return Pairs(shared, shared, uri=BY_ID)


def _places(pairs: Pairs, sides: Sequence[Candidates], partly: bool = False) -> np.ndarray:
    """(p, 2) where the items of the pairs stand among the candidates. Raises DataError when one is none, unless `partly`."""
    places = np.stack([find_ids(sides[0].ids, pairs.a), find_ids(sides[1].ids, pairs.b)], 1)
    whole = np.asarray((places >= 0).all(1))
    if partly:
        return places[whole]
    if not whole.all():
        place = int(np.argmin(whole))
        side = 0 if places[place, 0] < 0 else 1
        item = printable(bytes((pairs.a, pairs.b)[side][place]))
        raise DataError(
            f"{int((~whole).sum())} of {len(whole)} pairs are not among the training items, such as {item} of "
            f"{sides[side].spaces[0].uri}",
            "Anchors never use test rows unless --split all says so.",
            file=pairs.uri,
        )
    return places


def _records(matching: Matching, true: np.ndarray | None, seeds: int, rng: np.random.Generator) -> list[Record]:
    weak = "most rows found no counterpart: the files hold different items, or the spaces differ by more than a rotation"
    records: list[Record] = [
        {"name": "pairs", "value": len(matching.places), "advice": ""},
        {"name": "confidence", "value": matching.confidence, "advice": weak if matching.confidence < 0.5 else ""},
    ]
    if true is None:
        return records
    new = matching.places[seeds:]
    records.append({"name": "pairs right", "value": score(new, true), "advice": ""})
    some = true[np.sort(rng.permutation(len(true))[:SCORED])]
    right = float(matching.hits(some[:, 0], some[:, 1]).mean()) if len(some) else None
    records.append({"name": "rows right at rank 1", "value": right, "advice": ""})
    return records


def score(pairs: np.ndarray, true: np.ndarray) -> float | None:
    """The share of correct pairs (p, 2), among those whose first item is in `true` (q, 2); None where none is."""
    right = dict(true.tolist())
    correct = [right[a] == b for a, b in pairs.tolist() if a in right]
    return float(np.mean(correct)) if correct else None
