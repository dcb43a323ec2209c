"""The fields of a protobuf message, as far as they are known without its description."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5  # kinds of fields


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message: their numbers and values. Raises ValueError where it is malformed."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        length = {EIGHT: 8, FOUR: 4}.get(kind)
        if kind == BYTES:
            length, at = _varint(message, at)
        if length is None or not number or at + length > len(message):
            raise ValueError("malformed")
        yield number, message[at : at + length]
        at += length


def content(value: int | bytes) -> bytes:
    """The bytes of a field that holds text or a message. Raises ValueError for a number."""
    if isinstance(value, int):
        raise ValueError("a number in place of a message")
    return value


def numbers(message: list[tuple[int, int | bytes]], wanted: int) -> list[int]:
    """All numbers of a repeated field, packed or one by one. Raises ValueError where they are malformed."""
    out: list[int] = []
    for number, value in message:
        if number == wanted and isinstance(value, int):
            out.append(value)
        elif number == wanted and isinstance(value, bytes):
            at = 0
            while at < len(value):
                one, at = _varint(value, at)
                out.append(one)
    return out


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte, at = message[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number without an end")
