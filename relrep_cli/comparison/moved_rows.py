"""In which order rows stand that were moved: by a number of places, backwards, or as ids sort another way."""

from __future__ import annotations

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.base.uris import natural
from relrep_cli.comparison.row_orders import Moved

NEARLY_ALL = 0.95  # of the rows that were found: how many must follow an order that is named
SORTED = 200_000  # ids that are sorted anew, at most
SHOWN = 2


def order_of(moved: Moved, ids: np.ndarray, names: tuple[str, str]) -> str:
    """In words, which rows of one file hold the vectors of which rows of the other. ids: (n,) of the common rows.
    names: of the file whose rows hold them, and of the other one."""
    here = moved.rows >= 0
    own, other, n = moved.asked[here], moved.rows[here], len(ids)
    if not len(own):
        return ""
    steps, counts = np.unique((other - own) % n, return_counts=True)
    most = int(steps[counts.argmax()])
    if counts.max() >= NEARLY_ALL * len(own):
        places = min(most, n - most)
        towards = "later" if most == places else "earlier"
        return (
            f"each row of {names[0]} holds the vector {places} {'place' if places == 1 else 'places'} {towards} in {names[1]}"
        )
    if np.mean(other == n - 1 - own) >= NEARLY_ALL:
        return f"the rows of {names[0]} run backwards"
    if named := _sorted_otherwise(own, other, ids):
        return named
    examples = [
        f"{_shown(ids[i])} of {names[0]} holds the vector of {_shown(ids[j])} of {names[1]}"
        for i, j in list(zip(own.tolist(), other.tolist(), strict=True))[:SHOWN]
    ]
    return f"no simple order: {', '.join(examples)}"


def _sorted_otherwise(own: np.ndarray, other: np.ndarray, ids: np.ndarray) -> str:
    """Whether ids were sorted as text in one file, and by the numbers in them in the other."""
    if len(ids) > SORTED:
        return ""
    texts = [one.decode(errors="backslashreplace") for one in ids.tolist()]
    by_text = np.argsort(ids, kind="stable")
    by_number = np.array(sorted(range(len(ids)), key=lambda place: natural(texts[place])))
    place_by_text = np.empty_like(by_text)
    place_by_text[by_text] = np.arange(len(ids))
    taken = by_number[place_by_text]  # where the vectors of rows stand if ids were sorted as text, and vectors were not
    if np.mean(other == taken[own]) >= NEARLY_ALL or np.mean(own == taken[other]) >= NEARLY_ALL:
        return "as if the ids were sorted as text (item-10 before item-2) and the vectors by number, or the other way round"
    return ""


def _shown(one: bytes) -> str:
    return printable(bytes(one), 40)
