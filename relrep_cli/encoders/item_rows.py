"""Items that other processes encode: what these must know, and the vectors that they compute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from relrep_cli import encoders, store
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.task_cache import Records
from relrep_cli.encoders import Trained, pretrained
from relrep_cli.sources import Items
from relrep_cli.store.shared_rows import Blocks

SAVED = ".safetensors"


@dataclass(frozen=True)
class ItemRows:
    """What another process must know to encode items. options: those that make the items. start: the item that is row 0 of the
    output. encoder: a file of the trained encoder, "" for a pretrained model, which the options name."""

    options: Any
    start: int
    encoder: str
    params: dict[str, Any]


def kept_encoder(trained: Trained, records: Records, name: str) -> str:
    """The name of a file with the encoder, for other processes; it goes with the records."""
    assert records.folder is not None
    target = records.folder / f"{name}-encoder{SAVED}"
    records.folder.mkdir(parents=True, exist_ok=True)
    store.write_bytes(str(target), encoders.to_bytes(trained), True)
    return str(target)


def rows_of(items: Items, known: ItemRows, trained: Trained | None, model: Any, device: str) -> Blocks:
    """The function that encodes some of the items. It is asked for whole batches, counted from item 0."""

    def blocks(start: int, stop: int) -> Iterator[np.ndarray]:
        part = items.part(slice(known.start + start, known.start + stop))
        if trained is not None:
            return encoders.encode(trained, part, device=device)
        return pretrained.blocks(model, part, known.params["batch"])

    return blocks
