"""Images of one size and number of channels made into others, for encoders that take them so."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.registry import Param
from relrep_cli.base.signals import check
from relrep_cli.numerics.blocks import slices
from relrep_cli.numerics.spool import spool
from relrep_cli.sources.items import BLOCK

RESIZED = "Bring pictures to this height and width: the shorter side, then the middle of the longer; 0 keeps them."
Size = Annotated[int, Param(RESIZED, minimum=0, maximum=4096)]
Channels = Annotated[str, Param("Grey or colour; auto is what the first picture has.", choices=("auto", "grey", "rgb"))]
MODES = {"grey": "L", "rgb": "RGB"}


def fitted(x: NDArray[np.uint8], size: int, channels: str) -> NDArray[np.uint8]:
    """Images (n, h, w) or (n, h, w, 3) at height and width `size` (0 keeps them), in grey or in colour; on disk when many.

    Bilinear, as Pillow does it, and its weights of red, green and blue for grey: the same as for pictures in files.
    """
    mode = MODES.get(channels, "L" if x.ndim == 3 else "RGB")
    height, width = (size, size) if size else x.shape[1:3]
    shape = (height, width) if mode == "L" else (height, width, 3)
    if shape == x.shape[1:]:
        return x
    from PIL import Image, ImageOps

    out = spool((len(x), *shape), np.uint8)
    for rows in slices(len(x), BLOCK, x, out):
        check()
        for i in range(rows.start, rows.stop):
            image = Image.fromarray(np.ascontiguousarray(x[i])).convert(mode)
            if image.size != (width, height):
                image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
            out[i] = np.asarray(image)
    return out
