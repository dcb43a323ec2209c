"""The state of a training that goes on when a stopped run is started again."""

from __future__ import annotations

from relrep_cli.base.output import detail, say
from relrep_cli.base.task_cache import Records
from relrep_cli.encoders import Checkpoint

LARGEST_STATE = 1 << 31  # bytes of a training's state


def checkpoint(records: Records, name: str) -> Checkpoint:
    """The state of the training, in a file named after the step; with -v, each epoch's record is a note."""

    def load() -> bytes | None:
        state = records.get_bytes(name, LARGEST_STATE)
        if state is not None:
            say("goes on after the last whole epoch of the run that was stopped.")
        return state

    return Checkpoint(
        load,
        lambda state: records.put_bytes(name, state),
        lambda record: detail(", ".join(f"{term} {value:.5g}" for term, value in record.items())),
    )
