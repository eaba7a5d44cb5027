"""Kinds of columns, from how DataJoint and the databases call their types."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from schemas.model import Kind, kind_of


@pytest.mark.parametrize(
    ("original", "stored", "kind"),
    [
        ("bool", "boolean", Kind.boolean),
        ("bool", "tinyint", Kind.boolean),  # as MySQL has it
        (None, "integer", Kind.whole),
        ("int16", "smallint", Kind.whole),
        ("float64", "double precision", Kind.number),
        ("float64", "double", Kind.number),
        (None, "char(16)", Kind.char),
        ("varchar(64)", "varchar(64)", Kind.text),
        ("datetime", "timestamp without time zone", Kind.datetime),
        ("date", "date", Kind.date),
        ("bytes", "bytea", Kind.binary),
        ("decimal(12, 4)", "numeric", Kind.decimal),
        (None, "uuid", Kind.other),
    ],
)
def test_the_kind_of_a_column_is_that_of_its_declaration(
    original: str | None, stored: str, kind: Kind
) -> None:
    attribute = SimpleNamespace(codec=None, json=False, original_type=original, type=stored)
    assert kind_of(attribute) is kind
