"""From vectors back to images, by the decoder of an encoder that reconstructs."""

from __future__ import annotations

from relrep_cli import encoders, store
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.output import say
from relrep_cli.embedding import Embedding
from relrep_cli.encoders import Trained
from relrep_cli.store.image_archives import ENDING, write_images


def decode_images(e: Embedding, trained: Trained, target: str, device: str, force: bool, inputs: tuple[str, ...]) -> None:
    """Write the images that the vectors stand for to an .npz with the columns of the file.

    Raises UsageError for another ending, and DataError for vectors of another space or an encoder that gives no images.
    """
    if not target.endswith(ENDING):
        raise UsageError(f"--decode writes images, and {target} does not end in {ENDING}", "Choose such a name.")
    store.refuse(target, force, inputs)
    if len(trained.shape) == 1:
        raise DataError("the encoder takes vectors, and --decode makes images", "Give an encoder of images.")
    own = encoders.space(trained)
    if e.space != own:
        clash = f"its vectors are of space {printable(str(e.space))}, and the encoder's space is {own}"
        remedy = "Give vectors that the encoder made, or that relrep translate or stitch brought into its space."
        raise DataError(clash, remedy, file=e.uri)
    columns = {"id": e.ids, **{name: values for name, values in e.obs.items() if name != "id"}}
    write_images(target, encoders.decode(trained, e.x, device=device), (e.n, *trained.shape), columns, force)
    say(f"{target}: {e.n} images of {' x '.join(map(str, trained.shape))}.")
