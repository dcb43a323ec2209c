"""From items to vectors: the function of the library. It runs the core that `relrep embed` runs."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from relrep_cli import encoders, sources, store
from relrep_cli.base.errors import UsageError, unknown
from relrep_cli.embedding import Embedding
from relrep_cli.encoders import ENCODERS
from relrep_cli.encoders.item_encoding import Encoding, embedded
from relrep_cli.encoders.item_rows import SAVED
from relrep_cli.encoders.pretrained import MODELS, scheme_of
from relrep_cli.library.given_spaces import Column, Space, as_embedding, column
from relrep_cli.library.wording import speaks_python
from relrep_cli.sources import SOURCES, Items


@speaks_python
def embed(
    items: Space,
    encoder: str = "pca",
    *,
    labels: Column | None = None,
    split: Column | None = None,
    source: str = "",
    seed: int = 0,
    device: str = "auto",
    **options: Any,
) -> Embedding:
    """Turn items into vectors with an encoder, as `relrep embed` does.

    items: a folder or file of images, texts, a graph or vectors; or an array (n, d), see `as_embedding`.
    encoder: the name of one to train, a saved one (FILE.safetensors), or a pretrained one such as "st:all-MiniLM-L6-v2".
    labels, split: (n,) columns; encoders train on the rows whose split is "train", or on all where there is none.
    source: what the items are, where that is not recognised. options: of the encoder or the source.

    Returns an Embedding: x (n, dim) float32, ids, the columns of the items, and the space of the encoder.

    Raises UsageError for an unknown encoder or option, or one that cannot take such items; DataError for damaged items.

    >>> import numpy as np
    >>> embed(np.random.default_rng(0).normal(size=(50, 8)), "pca", dim=2).x.shape
    (50, 2)
    """
    scheme, saved = scheme_of(encoder), encoder.endswith(SAVED)
    if not (scheme or saved or encoder in ENCODERS):
        raise unknown("encoder", encoder, [*ENCODERS, f"FILE{SAVED}", *(f"{model}:NAME" for model in MODELS)])
    registry: Any = MODELS if scheme else ENCODERS
    name = scheme or encoder
    own = {key: value for key, value in options.items() if not saved and key in registry.keywords()}
    rest = {key: value for key, value in options.items() if key not in own}
    if wrong := next((key for key in rest if key not in SOURCES.keywords()), ""):
        if saved:
            raise UsageError(f"{wrong} does not go with a saved encoder, which is trained already", "Leave it out.")
        raise unknown(f"option of encoder {encoder}", wrong, [*registry.keywords(), *SOURCES.keywords()])
    trained = encoders.load(encoder) if saved else None
    params = {"encoder": encoders.space(trained)} if trained else registry.choose([name], own)[name]
    params = params if scheme or trained else {"encoder": encoder, **params}
    takes = MODELS[scheme].takes if scheme else ENCODERS[trained.name if trained else encoder].takes
    inputs = _items(items, source, rest, takes)
    columns = {
        key: column(values, len(inputs.x), key) for key, values in (("label", labels), ("split", split)) if values is not None
    }
    inputs = replace(inputs, obs={**inputs.obs, **columns})
    name = os.fspath(items) if isinstance(items, str | os.PathLike) else "x"
    return embedded(
        inputs, Encoding(source=name, encoder=encoder, params=params, trained=trained, output="", device=device, seed=seed)
    )


def _items(items: Space, source: str, options: dict[str, Any], takes: Any) -> Items:
    if isinstance(items, str | os.PathLike):
        uri = os.fspath(items)
        kind = sources.chosen(uri, source, list(options), takes)
        return sources.read(uri, kind, SOURCES.choose([kind], options)[kind])
    e = store.digested(as_embedding(items))
    return Items(e.x, e.ids, e.digest, {name: e.obs[name] for name in ("label", "split") if name in e.obs})
