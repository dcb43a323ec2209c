"""Lists in text files, one value a line."""

from __future__ import annotations

from relrep_cli.base.errors import DataError

TEXT_LIMIT = 64 << 20  # bytes of a list


def read_lines(uri: str) -> list[str]:
    """The lines of a text file, spaces kept; only a line feed (or both of Windows) ends a line, for ids may hold all else."""
    try:
        with open(uri, "rb") as file:
            content = file.read(TEXT_LIMIT + 1)
        if len(content) > TEXT_LIMIT:
            raise DataError(f"is longer than the {TEXT_LIMIT} bytes that a list may have", "Split it.", file=uri)
        return content.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise DataError("is no UTF-8 text with one value a line", "Save it as UTF-8.", file=uri) from None
    except OSError as error:
        raise DataError(str(error.strerror).lower(), "Check the path.", file=uri) from None
