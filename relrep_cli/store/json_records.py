"""JSON as records, one after another: from lines, from a list, or from an object of columns. Runs in a child process only.

Python's own parser reads one record at a time, at most RECORD characters of it. pyarrow.json settles the type of a column by
its first block, refuses a 1 among decimals later on, and reads nothing but lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from relrep_cli.base.errors import DataError, printable
from relrep_cli.store.column_names import is_id_name, role
from relrep_cli.store.files import bad
from relrep_cli.store.table_columns import listed

RECORD = 4 << 20  # characters of one record
BLOCK = 1 << 18  # characters that are read at once
WHOLE = 64 << 20  # bytes of an object of columns, which is read at once
VECTOR = "vector"  # the name of the vectors where rows are lists of numbers
BLANK = re.compile(r"[ \t\r\n]*")
COORDINATE = re.compile(r"(?:d|dim|e|emb|embedding|f|feat|feature|v|vec|x|c|col|pc|z|latent)[_. -]?(\d{1,9})", re.IGNORECASE)
AGAIN = "Write it again."

Record = tuple[str, dict[str, Any]]  # where it stands, as a message says it; its values by name


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises ValueError for a name that stands twice, of which Python keeps the last."""
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return record


DECODER = json.JSONDecoder(object_pairs_hook=unique)


def records(path: Path, lines: bool) -> Iterator[Record]:
    """The records of a file. lines: each line is a record, whatever its first one looks like.

    Raises DataError, with the line or the number of the item.
    """
    with TextIOWrapper(path.open("rb"), "utf-8-sig", newline="\n") as file:
        try:
            head = file.read(BLOCK)
            file.seek(0)
            if lines or _is_lines(head):
                values = _lines(path, file)
            elif head.lstrip().startswith("["):
                values = _items(path, file)
            else:
                values = _columns(path, file)
            for where, value in values:
                yield where, _record(path, where, value)
        except UnicodeDecodeError as error:
            raise bad(path, f"holds text that is not UTF-8 ({printable(str(error.reason))})", "Save it as UTF-8.") from None


def _is_lines(head: str) -> bool:
    """Whether the text begins with two lines that each hold an object."""
    first, _, rest = head.lstrip().partition("\n")
    return rest.lstrip().startswith("{") and first.startswith("{") and first.rstrip().endswith("}")


def _lines(path: Path, file: TextIOWrapper) -> Iterator[tuple[str, Any]]:
    number = 0
    while line := file.readline(RECORD):
        number += 1
        if len(line) >= RECORD:
            raise _too_long(path, f"line {number}")
        if not line.isspace():
            yield f"line {number}", _decoded(path, f"line {number}", lambda text: DECODER.decode(text), line)


def _items(path: Path, file: TextIOWrapper) -> Iterator[tuple[str, Any]]:
    """The items of a list, each decoded when all of it is there."""
    text, ended, parted = file.read(BLOCK).lstrip(), False, True
    at, number = 1, 0
    while True:
        at = BLANK.match(text, at).end()  # type: ignore[union-attr]
        if not parted and text.startswith(",", at):
            at, parted = BLANK.match(text, at + 1).end(), True  # type: ignore[union-attr]
        if text.startswith("]", at) and not (parted and number):
            if text[at + 1 :].strip() or file.read(BLOCK).strip():
                raise bad(path, f"more follows after its list of {number} items", "Give JSON lines a name in .jsonl.")
            return
        if at < len(text) and not parted:
            raise bad(path, f"item {number + 1}: no comma before it", AGAIN)
        try:
            value, at = DECODER.raw_decode(text, at)
        except RecursionError:
            raise bad(path, f"item {number + 1}: nested too deeply", AGAIN) from None
        except ValueError as error:
            if ended:
                raise bad(path, f"item {number + 1}: {_reason(error)}, or cut short", AGAIN) from None
            if len(text) - at > RECORD:
                raise _too_long(path, f"item {number + 1}") from None
            more = file.read(max(BLOCK, len(text) - at))
            text, at, ended = text[at:] + more, 0, not more
            continue
        number, parted = number + 1, False
        yield f"item {number}", value


def _columns(path: Path, file: TextIOWrapper) -> Iterator[tuple[str, Any]]:
    """An object of columns, each a list, or an object of values by row as pandas writes it, or of a list of objects."""
    size = path.stat().st_size
    if size > WHOLE:
        finding = f"one JSON object of {size} bytes; at most {WHOLE} are read"
        raise bad(path, finding, "Save it as JSON lines, one item a line.")
    content = _decoded(path, "", DECODER.decode, file.read())
    if not isinstance(content, dict):
        raise bad(path, "neither a list nor an object, but a single value", "Store a list of objects.")
    if content.keys() == {"columns", "index", "data"}:  # pandas' orient="split"
        columns = {str(name): [row[i] for row in content["data"]] for i, name in enumerate(content["columns"])}
        content = {"index": content["index"], **columns}
    if len(content) == 1 and isinstance(only := next(iter(content.values())), dict) and any(map(_of_objects, only.values())):
        content = only  # as vector databases wrap their answers
    lists = {name: value for name, value in content.items() if isinstance(value, list)}
    of_objects = [value for value in lists.values() if _of_objects(value)]
    vectors = {len(value) for value in lists.values() if value and isinstance(value[0], list)}
    if len(vectors) == 1:  # as Chroma's get: what has other lengths says something of the whole
        lists = {name: v for name, v in lists.items() if {len(v)} == vectors or role(name) or is_id_name(name)}
    elif len(of_objects) == 1:  # as an embedding service answers: {"data": [{"embedding": …}], "model": …}
        yield from ((f"item {i}", value) for i, value in enumerate(of_objects[0], 1))
        return
    lists = lists or _by_row(path, content)
    lengths = {len(value) for value in lists.values()}
    if len(lengths) != 1:
        detail = f"its lists have {listed([str(n) for n in sorted(lengths)])} values" if lengths else "no lists"
        raise bad(path, f"no columns of one length: {detail}; found {listed(list(content))}", "Store a list of objects.")
    if not any(isinstance(value, (list, str)) for column in lists.values() for value in column[:1]):
        finding = f"{len(lists)} names with {lengths.pop()} numbers each: are they columns, or items with their vectors?"
        raise bad(path, finding, 'Store a list of objects, such as [{"id": "a", "vector": [1.5, 2.5]}].')
    for i in range(lengths.pop()):
        yield f"item {i + 1}", {name: column[i] for name, column in lists.items()}


def _of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _by_row(path: Path, columns: dict[str, Any]) -> dict[str, list[Any]]:
    """The columns of an object of objects whose keys are all the same, as pandas writes a table: by columns, or by rows.

    Raises DataError where it may be either.
    """
    inner = [value for value in columns.values() if isinstance(value, dict)]
    if not inner or len(inner) != len(columns) or any(value.keys() != inner[0].keys() for value in inner):
        return {}
    by_column = all(map(_of_one_kind, (value.values() for value in inner)))
    by_row = all(_of_one_kind([value[name] for value in inner]) for name in inner[0])
    if by_column and by_row:
        by_column, by_row = names_of_columns(list(columns)), names_of_columns(list(inner[0]))
        if by_column == by_row:
            finding = f"{len(columns)} names with {len(inner[0])} named numbers each: which are the columns?"
            raise bad(path, finding, 'Write it with DataFrame.to_json(orient="split").')
    if by_column:
        return {"index": list(inner[0]), **{name: list(value.values()) for name, value in columns.items()}}
    return {"index": list(columns), **{name: [value[name] for value in inner] for name in inner[0]}} if by_row else {}


def _of_one_kind(values: Iterable[Any]) -> bool:
    kinds = {type(one) for one in values} - {type(None)}
    return len(kinds) == 1 or kinds <= {int, float}


def names_of_columns(names: list[str]) -> bool:
    """Whether names look like those of coordinates: a usual word and 0, 1, 2, … or 1, 2, 3, …

    >>> names_of_columns(["dim_0", "dim_1"]), names_of_columns(["item0", "item1"]), names_of_columns(["0", "1"])
    (True, False, False)
    """
    matches = [COORDINATE.fullmatch(name) for name in names]
    numbers = [int(match[1]) for match in matches if match]
    return len(numbers) == len(names) and numbers in ([*range(len(names))], [*range(1, len(names) + 1)])


def _record(path: Path, where: str, value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {VECTOR: value}
    if not isinstance(value, dict):
        raise bad(path, f"{where} is neither an object nor a list", "Every item must be one.")
    return _of_batch(path, where, value) if "custom_id" in value and "response" in value else value


def _of_batch(path: Path, where: str, value: dict[str, Any]) -> dict[str, Any]:
    """A line of the answers to a batch of requests, as OpenAI writes it: its vector lies deep within."""
    try:
        answers = value["response"]["body"]["data"]
        vectors = [answer["embedding"] for answer in answers]
    except (TypeError, LookupError):
        name = printable(str(value["custom_id"]), 60)
        raise bad(
            path, f"{where}: request {name} has no embedding; its answer is an error", "Ask again, or remove it."
        ) from None
    if len(vectors) != 1:
        raise bad(path, f"{where}: one answer holds {len(vectors)} embeddings", "Write one a line, with an id of its own.")
    return {"custom_id": value["custom_id"], "embedding": vectors[0]}


def _decoded(path: Path, where: str, decode: Callable[[str], Any], text: str) -> Any:
    prefix = f"{where}: " if where else ""
    try:
        return decode(text)
    except RecursionError:
        raise bad(path, f"{prefix}nested too deeply", AGAIN) from None
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        raise bad(path, f"{prefix}{_reason(error)}", AGAIN) from None


def _reason(error: ValueError) -> str:
    reason = getattr(error, "msg", None) or str(error)
    return f"this is not JSON ({printable(reason, 80).rstrip('.')})"


def _too_long(path: Path, where: str) -> DataError:
    return bad(path, f"{where} is longer than {RECORD} characters", "Save it as .npy or .parquet.")
