"""relrep: saved embeddings made comparable and interchangeable. docs/api.md shows the functions of the library."""

__version__ = "0.2.0"


def __getattr__(name):  # type: ignore[no-untyped-def]
    """Import what the library offers on first use (PEP 562); __init__.pyi lists it for type checkers.

    This file stays small: Python caches it before relrep can ask whether the disk takes the whole of it.
    """
    from relrep_cli.library.offered import offered

    return offered(name)


def __dir__():  # type: ignore[no-untyped-def]
    from relrep_cli.library.offered import NAMES

    return NAMES
