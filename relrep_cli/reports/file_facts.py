"""What a report says of its inputs."""

from __future__ import annotations

from typing import Any

from relrep_cli.base.errors import DataError
from relrep_cli.embedding import Embedding


def file_facts(uri: str, found: Embedding | DataError) -> dict[str, Any]:
    """Name, size, space, digest and the last step of a file, or what is wrong with it."""
    if isinstance(found, DataError):
        return {"file": uri, "error": str(found)}
    step = dict(found.steps[-1]) if found.steps else {}
    made = f"{step.get('command')}, {step.get('version')}" if step else None
    facts = {"file": uri, "items": found.n, "dims": found.d, "dtype": found.x.dtype.name, "kind": found.kind}
    return facts | {"space": found.space or None, "made by": made, "digest": found.digest or None}
