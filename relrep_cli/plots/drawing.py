"""What all pictures share: style, colours, and how a figure becomes bytes."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relrep_cli.base.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = {".png": "png", ".svg": "svg", ".pdf": "pdf"}
NO_DATE = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "relrep",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
}
COLOURS = "cividis"  # reads the same with any colour vision, and in grey
INK, FILL, MARK = "#333333", "#7f9dc4", "#b3501b"
# Ten colours that are told apart with any colour vision (Petroff 2021, arXiv 2107.02270)
CLASSES = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")


def ready(target: str, option: str = "--plot", html: bool = False) -> None:
    """Raise UsageError unless a picture can be drawn and `target` names a format, so that no work is lost."""
    kind = Path(target).suffix.lower()
    known = [*FORMATS, *([".html"] if html else [])]
    if target == "-":
        raise UsageError("a picture is written to a file", f"Name one that ends in {', '.join(known)}.", place=f"{option} -")
    if kind not in known:
        raise UsageError(f"the name must end in {', '.join(known)}", "Choose such a name.", place=f"{option} {target}")
    package = "plotly" if kind == ".html" else "matplotlib"
    if find_spec(package) is None:
        raise UsageError(f"{option} needs {package}, which is not installed", f"Run pip install {package}.")


@contextmanager
def drawing() -> Iterator[None]:
    """matplotlib's own defaults, whatever the user's files say; silent about fonts that lack a letter."""
    import matplotlib

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("ignore")
        matplotlib.rcdefaults()
        for key, value in STYLE.items():
            matplotlib.rcParams[key] = value
        yield


def count(n: int) -> str:
    """How many items, in one piece wherever lines break."""
    return f"n\u00a0=\u00a0{n}"


def wrapped(text: str, width: int) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))


def saved(figure: Figure, target: str) -> bytes:
    """The figure in the format that the name of `target` says."""
    kind = FORMATS[Path(target).suffix.lower()]
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=NO_DATE[kind])
    return buffer.getvalue()
