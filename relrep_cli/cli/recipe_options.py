"""What project, compare and stitch share: the options that say how to project, read into a Recipe."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from pathlib import Path

import numpy as np

from relrep_cli import store
from relrep_cli.anchors.correspondences import Pairs, looks_like_pairs, read_pairs
from relrep_cli.anchors.mixtures import Mixtures, mixtures_of
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.cli.options import Given, How, split_names
from relrep_cli.embedding import Embedding, duplicates, text
from relrep_cli.relative.aggregators import AGGREGATORS, load
from relrep_cli.relative.preparation import Preprocessing
from relrep_cli.relative.recipes import Postprocessing, Recipe, with_trained_aggregator
from relrep_cli.relative.similarities import SIMILARITIES

OF_AGGREGATOR = {"--similarity", "--aggregate", "--center", "--scale", "--whiten", "--normalize", "--as-similarity"}
TEXT_LIMIT = 64 << 20  # bytes of a list of ids
TABLES = {".tsv", ".csv"}


def read_recipe(how: How, given: Given, anchor_ids: np.ndarray | None = None, trains: bool = False) -> Recipe:
    """The recipe that the options describe, on the anchors they name unless `anchor_ids` says which.

    trains: whether the command can train an aggregator that needs it. Raises UsageError where they contradict each other.
    """
    if not how.anchors and anchor_ids is None:
        raise UsageError("--anchors FILE is missing; make one with relrep anchor.")
    if how.whiten and how.scale:
        raise UsageError("--whiten and --scale both bring the axes to one width; choose one.")
    if how.statistics and how.transductive:
        raise UsageError("--statistics takes them from a file, --transductive from all rows here; choose one.")
    if not isfinite(how.round):
        raise UsageError(f"--round is {how.round}; it must be a step that coordinates can be rounded to, such as 0.1.")
    if how.aggregate and AGGREGATORS[how.aggregate].trainable and not trains:
        raise UsageError(
            f"--aggregate {how.aggregate} has to be trained first: relrep stitch --aggregate {how.aggregate} "
            "--save-aggregator FILE; then name FILE with --aggregator."
        )
    ids, spare, meaning = read_anchors(how.anchors) if anchor_ids is None else (anchor_ids, None, None)
    recipe = Recipe(
        ids,
        spares=tuple(([spare] if spare else []) + [store.read(v) for v in how.anchor_vectors]),
        after=Postprocessing(how.as_similarity, how.standardize_columns, how.round),
        transductive=how.transductive,
        like=store.read(how.statistics) if how.statistics else None,
        meaning=meaning,
    )
    return _learnt(recipe, how, given) if how.aggregator else _told(recipe, how, given)


def _told(recipe: Recipe, how: How, given: Given) -> Recipe:
    """With the similarity functions, the preparation and the aggregate that the options name."""
    names = split_names(how.similarity) or ["cosine"]
    names = list(SIMILARITIES) if "all" in names else names
    chosen = given.choose(SIMILARITIES, names)
    aggregate = how.aggregate or ("concat" if len(chosen) > 1 else "")
    before = Preprocessing(how.center, how.scale, how.whiten, how.normalize)
    return replace(recipe, similarities=chosen, before=before, aggregate=aggregate)


def _learnt(recipe: Recipe, how: How, given: Given) -> Recipe:
    """With what a trained aggregator was trained on."""
    clash = [o for o in how.given() if o in OF_AGGREGATOR]
    if clash:
        raise UsageError(f"{clash[0]} does not go with --aggregator, which brings its own.")
    given.refuse(SIMILARITIES, "--aggregator, which brings its own")
    return with_trained_aggregator(recipe, load(how.aggregator))


def read_anchors(uri: str) -> tuple[np.ndarray, Embedding | None, Mixtures | Pairs | None]:
    """Anchor ids in order, the file that holds their vectors where one does, and what the ids mean if they are no items' own.

    From an embedding file, from a text with one id a line, or from a pairs file (`pairs.tsv`, `pairs.tsv::a`).
    """
    path, _, side = uri.partition("::")
    is_text = _is_text(path)
    lines = read_lines(path) if is_text or looks_like_pairs(_first_line(path)) else [""]
    if looks_like_pairs(lines[0]):
        pairs = read_pairs(path, lines, side)
        return pairs.names, None, pairs
    if is_text and not side:
        return _ids(path, lines), None, None
    e = store.read(uri)
    if e.row_ids:
        raise DataError(f"{uri}: has no ids, so it cannot name anchors; make an anchor file with relrep anchor.")
    return e.ids, e, mixtures_of(e)


def _first_line(path: str) -> str:
    """The first line of a table, "" for another file."""
    if Path(path).suffix.lower() not in TABLES:
        return ""
    try:
        with open(path, "rb") as file:
            return file.readline(4096).decode("utf-8-sig", "replace")
    except OSError:
        return ""  # the reader says why


def _is_text(uri: str) -> bool:
    if "::" in uri or uri == "-":
        return False
    path = Path(uri)
    if path.suffix.lower() in {".txt", ".ids", ".list"} or path.is_fifo():  # <(sort ids.txt) is a pipe
        return True
    return path.is_file() and _looks_like_text(path)


def _looks_like_text(path: Path) -> bool:
    if path.suffix.lower() in {".h5", ".hdf5", ".h5ad", ".npy", ".npz", ".csv", ".tsv", ".parquet", ".safetensors"}:
        return False
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False  # the reader says why
    return bool(head) and b"\0" not in head


def read_lines(uri: str) -> list[str]:
    """The lines of a text file, spaces kept; only a line feed (or both of Windows) ends a line, for ids may hold all else."""
    try:
        with open(uri, "rb") as file:
            content = file.read(TEXT_LIMIT + 1)
        if len(content) > TEXT_LIMIT:
            raise DataError(f"{uri}: is longer than {TEXT_LIMIT} bytes, more than a list may have.")
        return content.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise DataError(f"{uri}: is no UTF-8 text with one value a line.") from None
    except OSError as error:
        raise DataError(f"{uri}: {str(error.strerror).lower()}. Check the path.") from None


def _ids(uri: str, lines: list[str]) -> np.ndarray:
    ids = text([line for line in lines if line.strip()])
    if not len(ids):
        raise DataError(f"{uri}: holds no ids; write one a line.")
    twice = duplicates(ids)
    if twice:
        raise DataError(f"{uri}: {len(twice)} ids occur more than once, such as {printable(twice[0])}.")
    return ids
