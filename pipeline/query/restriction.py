"""Conditions that people write, such as ``alpha >= 0.1``: read, checked, and made into SQL.

A condition is ``column OP value`` with ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``like`` or
``in``, or ``column is null`` or ``column is not null``. The value is read by the type of the
column. Nothing of what was written becomes SQL: columns are looked up among those that there are,
operators stand in a table, and values go to the database as parameters. (DataJoint's own
restrictions escape values by one rule for all databases, which on PostgreSQL loses backslashes.)
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from schemas.model import OPAQUE, TEXTS, Kind

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "like", "in", "is null", "is not null")
COLUMN = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"

_CONDITION = re.compile(
    rf"\s*(?P<column>{COLUMN})(?![\w.])\s*"
    r"(?P<operator>[=!<>~]+|is\s+not\s+null\b|is\s+null\b|like\b|in\b)"
    r"(?P<value>.*)",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
# Two conditions in one, as in SQL. Taken as text they would quietly match nothing.
_SECOND = re.compile(
    rf"\s(and|or)\s+{COLUMN}\s*([=!<>]|is\b|like\b|in\b)", re.ASCII | re.IGNORECASE
)
_QUOTED = r"""'(?:[^']|'')*'|"(?:[^"]|"")*\""""
_ITEM = re.compile(rf"\s*({_QUOTED}|[^,]*?)\s*(?:,|\Z)", re.DOTALL)


class QueryError(ValueError):
    """A question that cannot be asked: says what was found and what there is instead."""


Value = int | float | bool | str | date | datetime


@dataclass(frozen=True)
class Condition:
    """A condition on a column that exists, its values of the column's type."""

    column: str
    operator: str
    values: tuple[Value, ...] = ()

    def sql(self, quote: Callable[[str], str]) -> tuple[str, tuple[Value, ...]]:
        """SQL in which ``%s`` stands for each value, and the values.

        ``quote`` quotes an identifier.
        """
        if self.operator == "in":
            places = ", ".join(["%s"] * len(self.values))
            return f"{quote(self.column)} IN ({places})", self.values
        place = " %s" if self.values else ""
        return f"{quote(self.column)} {self.operator.upper()}{place}", self.values

    def __str__(self) -> str:
        listed = ", ".join(map(_written, self.values))
        return f"{self.column} {self.operator} {listed}".rstrip()


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and not re.fullmatch(r"[\w.%+:/-]+", value):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known names nearest to one that is not among them, or some of them, as a phrase."""
    known = sorted(known)
    if not known:
        return "there are none"
    by_lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(by_lower[c] for c in close) + "?"
    return "there are " + ", ".join(known[:40]) + (" ..." if len(known) > 40 else "")


def written_column(text: str) -> str:
    """The column that a condition names, not looked up yet.

    Raises
    ------
    QueryError
        If the text is no condition.
    """
    return _parts(text)[0]


def read_condition(
    text: str, kinds: Mapping[str, Kind], resolve: Callable[[str], str] | None = None
) -> Condition:
    """Read one condition.

    Parameters
    ----------
    text : str
        Such as ``alpha >= 0.1``, ``seed in 0, 1`` or ``source = 'a text, with a comma'``.
    kinds : mapping
        Of all columns.
    resolve : callable, optional
        Finds the column of a name as written; by default the one of this very name.

    Raises
    ------
    QueryError
        If it is not a condition, the column is unknown or holds JSON, arrays or files, the
        operator does not go with it, or the value is not of its type.
    """
    name, operator, rest = _parts(text)
    column = resolve(name) if resolve else name
    if column not in kinds:
        raise QueryError(f"{name}: no such column; {nearest(name, kinds)}")
    kind = kinds[column]
    if kind in OPAQUE:
        raise QueryError(
            f"{name}: holds {OPAQUE[kind]}, which rows cannot be selected by; select by a column "
            "of numbers, text or dates"
        )
    if operator.startswith("is"):
        if rest:
            raise QueryError(
                f"{text.strip()!r}: nothing is expected after {operator!r}; give each condition "
                "a --where of its own"
            )
        return Condition(column, operator)
    if kind is Kind.boolean and operator not in ("=", "!=", "in"):
        raise QueryError(f"{name}: is true or false, so {operator!r} says nothing; use = or !=")
    if kind not in TEXTS and operator == "like":
        raise QueryError(
            f"{name}: holds {kind.label}, and 'like' compares text; use = or >= and <="
        )
    if not rest:
        raise QueryError(
            f"{text.strip()!r}: a value is expected after {operator!r}; write '' for empty text"
        )
    if kind in TEXTS and _SECOND.search(re.sub(_QUOTED, "''", rest)):
        raise QueryError(
            f"{text.strip()!r}: holds more than one condition; give each a --where of its own "
            "(all must hold), or put quotes around the value if it is one text"
        )
    if operator == "in":
        return Condition(column, operator, tuple(_value(v, name, kind) for v in _items(rest, text)))
    value = _value(_unquoted(rest), name, kind)
    if isinstance(value, str) and operator == "like" and _ends_in_escape(value):
        raise QueryError(
            f"{text.strip()!r}: a pattern cannot end in a single backslash, which makes the next "
            "character stand for itself; write two"
        )
    return Condition(column, operator, (value,))


def _ends_in_escape(pattern: str) -> bool:
    return (len(pattern) - len(pattern.rstrip("\\"))) % 2 == 1


def _parts(text: str) -> tuple[str, str, str]:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise QueryError(
            f"{text.strip()!r}: not a condition; expected COLUMN OP VALUE, such as 'alpha >= 0.1', "
            f"with one of {', '.join(OPERATORS)}"
        )
    operator = " ".join(match["operator"].lower().split())
    if operator not in OPERATORS:
        raise QueryError(
            f"{text.strip()!r}: there is no operator {operator!r}; expected one of "
            f"{', '.join(OPERATORS)}"
        )
    return match["column"], operator, match["value"].strip()


def _items(rest: str, text: str) -> list[str]:
    """Values that are separated by commas, in brackets or not."""
    if rest.startswith("(") and rest.endswith(")"):
        rest = rest[1:-1].strip()
    items, at = [], 0
    while at <= len(rest):
        match = _ITEM.match(rest, at)
        if match is None or not match[1]:
            raise QueryError(
                f"{text.strip()!r}: expected values separated by commas, such as 'seed in 0, 1'; "
                "put a text with commas in quotes"
            )
        items.append(_unquoted(match[1]))
        if match.end() == len(rest) and not match[0].endswith(","):
            break
        at = match.end()
    return items


def _unquoted(text: str) -> str:
    """The text within one pair of quotes, doubled ones within it as one; else as it is."""
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
        return text
    quote, inner = text[0], text[1:-1]
    if quote in inner.replace(2 * quote, ""):
        return text  # not one pair
    return inner.replace(2 * quote, quote)


def _value(text: str, name: str, kind: Kind) -> Value:
    reader, expected = _READERS[kind]
    try:
        return reader(text)
    except (ValueError, OverflowError):
        raise QueryError(f"{name}: {text!r} is not {expected}") from None


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,60}", text):
        raise ValueError
    return int(text)


def _number(text: str) -> float:
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", text, re.IGNORECASE):
        raise ValueError
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError
    text.encode()  # what is not UTF-8 on the command line arrives as lone surrogates
    return text


def _moment(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


_READERS: dict[Kind, tuple[Callable[[str], Value], str]] = {
    Kind.whole: (_whole, "a whole number"),
    **dict.fromkeys((Kind.number, Kind.decimal), (_number, "a finite number, such as 0.1 or 1e-3")),
    Kind.boolean: (_boolean, "true or false"),
    **dict.fromkeys(TEXTS, (_text, "text that can be stored")),
    Kind.date: (date.fromisoformat, "a date, such as 2026-01-31"),
    Kind.datetime: (_moment, "a date and time (UTC), such as 2026-01-31 or 2026-01-31T14:00"),
}
