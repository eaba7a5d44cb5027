"""Text is read as editors of all systems save it, or it is said what it is."""

from __future__ import annotations

import pytest

from predictive_model.text import decoded

TEXT = 'title = "Café"\nepochs = 3\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_and_ends_of_lines_make_no_difference(encoding: str, end: str) -> None:
    assert decoded(TEXT.replace("\n", end).encode(encoding)) == TEXT


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = 1\nb = 'Caf\xe9'", "line 2 holds the byte 0xe9.*Latin-1 reads it as 'é'.*UTF-8"),
        (TEXT.encode("utf-16-le"), "UTF-16 without its mark|no text"),
        (b"a\0b", "zero bytes"),
        (b"\xff\xfea", "it is no text"),
    ],
)
def test_what_is_not_utf8_is_said(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decoded(content)
