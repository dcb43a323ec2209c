"""Lists in text files, one value a line."""

from __future__ import annotations

from relrep_cli.base.errors import DataError

TEXT_LIMIT = 64 << 20  # bytes of a list


def read_lines(uri: str) -> list[str]:
    """The lines of a text file. Spaces are kept, and only LF or CRLF ends a line, because ids may hold other separators.

    Raises DataError for a file that is missing, too long or not UTF-8.
    """
    try:
        with open(uri, "rb") as file:
            content = file.read(TEXT_LIMIT + 1)
        if len(content) > TEXT_LIMIT:
            finding = f"is longer than {TEXT_LIMIT} bytes, the limit for a list"
            raise DataError(finding, "Give the vectors as an anchor file.", file=uri)
        return content.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise DataError("is no UTF-8 text with one value a line", "Save it as UTF-8 text.", file=uri) from None
    except OSError as error:
        raise DataError(str(error.strerror).lower(), "Check the path.", file=uri) from None
