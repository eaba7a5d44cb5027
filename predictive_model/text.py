"""Text files as editors of all systems save them."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

# UTF-32 first: its mark begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decoded(content: bytes) -> str:
    r"""Text from bytes: UTF-8, or what a byte-order mark says; lines end with ``\n``.

    Raises
    ------
    ValueError
        If it is another encoding or no text; says where, what it may be, and what to do.

    Examples
    --------
    >>> decoded(b"\xef\xbb\xbfdevice = 'cpu'\r\n")
    "device = 'cpu'\n"
    """
    mark, encoding = next((m for m in MARKS if content.startswith(m[0])), (b"", "utf-8"))
    body = content[len(mark) :]
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(_undecodable(body, encoding, error)) from error
    if "\0" in text:
        raise ValueError("it holds zero bytes, as UTF-16 without its mark does; save it as UTF-8")
    return re.sub("\r\n?", "\n", text)


def read_text(path: Path) -> str:
    """Text of a file; see :func:`decoded`."""
    return decoded(path.read_bytes())


def _undecodable(body: bytes, encoding: str, error: UnicodeDecodeError) -> str:
    line = body[: error.start].count(b"\n") + 1
    byte = body[error.start]
    if encoding != "utf-8" or b"\0" in body[:1024]:
        return f"it is no text ({error.reason} at byte {error.start}); save it as UTF-8"
    read_as = body[error.start : error.start + 1].decode("latin-1")
    return (
        f"line {line} holds the byte {byte:#x}, which is not UTF-8 (Latin-1 reads it as "
        f"{read_as!r}); save it as UTF-8"
    )
