"""The encoder that `relrep embed` is told to use."""

from __future__ import annotations

from typing import Any

from relrep_cli import encoders
from relrep_cli.base.errors import UsageError, unknown
from relrep_cli.cli.options import Given
from relrep_cli.encoders import ENCODERS, Trained
from relrep_cli.encoders.item_rows import SAVED
from relrep_cli.encoders.pretrained import MODELS, scheme_of

NONE = "none"  # imports vectors


def encoder_of(name: str, given: Given, positives: str, save_encoder: str) -> tuple[Trained | None, dict[str, Any]]:
    """The encoder, if it is a saved one, and the parameters that the history records. Raises UsageError.

    name: of an encoder to train, a saved file, or SCHEME:NAME of a pretrained model. positives, save_encoder: "" for none.
    """
    scheme = scheme_of(name)
    if scheme or name.endswith(SAVED):
        given.refuse(ENCODERS, f"--encoder {name}, which is trained already")
        if positives:
            finding = f"--positives does not go with --encoder {name}, which is trained already"
            raise UsageError(finding, "Leave out --positives.")
    if save_encoder and not save_encoder.endswith(SAVED):
        place = f"--save-encoder {save_encoder}"
        raise UsageError(f"the name must end in {SAVED}", "Choose such a name.", place=place)
    if scheme and save_encoder:
        finding = f"--save-encoder keeps an encoder that this run trains, and {name} is on disk already"
        raise UsageError(finding, "Leave out --save-encoder.")
    if scheme:
        return None, given.choose(MODELS, [scheme])[scheme]
    given.refuse(MODELS, f"--encoder {name}, which is not a pretrained model")
    if name.endswith(SAVED):
        trained = encoders.load(name)
        return trained, {"encoder": encoders.space(trained)}
    if name not in ENCODERS:
        raise unknown("encoder", name, [*ENCODERS, NONE, f"FILE{SAVED}", *(f"{model}:NAME" for model in MODELS)])
    return None, {"encoder": name, **given.choose(ENCODERS, [name])[name]}
