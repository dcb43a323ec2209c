"""What a report says of its inputs."""

from __future__ import annotations

from typing import Any

from relrep_cli.base.errors import DataError
from relrep_cli.embedding import Embedding


def file_facts(uri: str, embedding: Embedding | DataError) -> dict[str, Any]:
    """Name, size, space, digest and the last step of a file, or what is wrong with it."""
    if isinstance(embedding, DataError):
        return {"file": uri, "error": str(embedding)}
    step = dict(embedding.steps[-1]) if embedding.steps else {}
    made = f"{step.get('command')}, {step.get('version')}" if step else None
    facts = {"file": uri, "items": embedding.n, "dims": embedding.d, "dtype": embedding.x.dtype.name, "kind": embedding.kind}
    return facts | {"space": embedding.space or None, "made by": made, "digest": embedding.digest or None}
