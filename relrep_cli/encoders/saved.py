"""Trained encoders as safetensors files; see relrep_cli.store.trained."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.errors import UsageError
from relrep_cli.encoders.base import ENCODERS, Trained
from relrep_cli.store.trained import Unusable, naturals, need, pack, unpack

KEY, VERSION = "relrep-encoder", 1
ADDED = ("trunk", "logits")  # options that files of older versions lack; their defaults are what these versions did
UNREADABLE = "an encoder's metadata that cannot be read"


def to_bytes(trained: Trained) -> bytes:
    """The encoder as the bytes of a safetensors file; equal encoders give equal bytes."""
    record = {"name": trained.name, "version": VERSION, "shape": trained.shape, "params": trained.params}
    return pack(record, trained.weights, KEY)


def load(source: str | os.PathLike[str] | bytes) -> Trained:
    """The encoder in a file written from `to_bytes`, or in those bytes.

    Raises DataError when it is anything else: every length is checked against the file, every name, type and shape
    against what the encoder of that name has, before a weight is used.
    """
    return unpack(source, KEY, VERSION, "encoder", "relrep embed", _trained)


def _trained(record: dict[str, Any], weights: dict[str, NDArray[np.floating[Any]]]) -> Trained:
    """The encoder, once its name is known, its parameters are allowed and its weights have the shapes that follow."""
    expected: Any = {"name": str, "shape": list, "params": dict}
    need(all(isinstance(record.get(key), kind) for key, kind in expected.items()), UNREADABLE)
    name, params, shape = record["name"], record["params"], record["shape"]
    need(name in ENCODERS, f"an encoder named {name!r}; known: {', '.join(ENCODERS)}")
    known = ENCODERS[name].keywords
    params = {option: known[option].default for option in ADDED if option in known} | params
    _check_params(name, params)
    need(naturals(shape) and 0 not in shape, UNREADABLE)
    try:
        expected = ENCODERS[name].shapes(tuple(shape), params)
    except ValueError:  # a rank that the encoder does not know
        expected = None
    need({n: w.shape for n, w in weights.items()} == expected, f"weights that do not fit encoder {name}")
    need(all(np.isfinite(w).all() for w in weights.values()), "weights that are not finite")
    return Trained(name, params, tuple(shape), weights)


def _check_params(name: str, params: dict[str, Any]) -> None:
    """The parameters are exactly the encoder's own, each of its type and in its range, and a seed."""
    entry = ENCODERS[name]
    kinds = {keyword.name: keyword.type for keyword in entry.keywords.values()} | {"seed": int}
    sound = params.keys() == kinds.keys() and all(type(params[key]) is kind for key, kind in kinds.items())
    need(sound, f"parameters that are not those of encoder {name}")
    try:
        entry.resolve(params)
    except UsageError as error:
        raise Unusable(str(error).rstrip(".")) from None
