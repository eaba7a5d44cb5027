"""Conditions: what they mean, and that nothing in them becomes SQL."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.query.restriction import Condition, QueryError, nearest, read_condition
from schemas.model import Kind

KINDS = {
    "teacher": Kind.text,
    "seed": Kind.whole,
    "alpha": Kind.number,
    "simulated": Kind.boolean,
    "computed": Kind.datetime,
    "config": Kind.json,
    "responses": Kind.array,
    "weights": Kind.file,
    "TrainedNetwork.seconds": Kind.number,
}
# All SQL that there can be, with a column that exists.
SQL = re.compile(
    f'"(?:{"|".join(map(re.escape, KINDS))})" '
    r"(?:(?:=|!=|<|<=|>|>=|LIKE) %s|IN \(%s(?:, %s)*\)|IS NULL|IS NOT NULL)"
)


def quote(name: str) -> str:
    return f'"{name}"'


def read(text: str) -> Condition:
    return read_condition(text, KINDS)


@pytest.mark.parametrize(
    ("text", "column", "operator", "values"),
    [
        ("alpha >= 0.1", "alpha", ">=", (0.1,)),
        ("alpha<1e-3", "alpha", "<", (0.001,)),
        ("alpha != -.5", "alpha", "!=", (-0.5,)),
        (" seed = 3 ", "seed", "=", (3,)),
        ("seed in 0,1, 2", "seed", "in", (0, 1, 2)),
        ("seed IN (0, 1)", "seed", "in", (0, 1)),
        ("simulated = TRUE", "simulated", "=", (True,)),
        ("teacher = neural_model", "teacher", "=", ("neural_model",)),
        ("teacher = 'neural_model'", "teacher", "=", ("neural_model",)),
        ("teacher = two words", "teacher", "=", ("two words",)),
        ("teacher = ' blank '", "teacher", "=", (" blank ",)),
        ("teacher = 'it''s'", "teacher", "=", ("it's",)),
        ('teacher = "it\'s"', "teacher", "=", ("it's",)),
        ("teacher = ''", "teacher", "=", ("",)),
        ("teacher in 'a,b', c", "teacher", "in", ("a,b", "c")),
        (r"teacher like %.nwb\_%", "teacher", "like", (r"%.nwb\_%",)),
        ("teacher is null", "teacher", "is null", ()),
        ("teacher is  NOT null", "teacher", "is not null", ()),
        ("TrainedNetwork.seconds > 2", "TrainedNetwork.seconds", ">", (2.0,)),
        ("computed >= 2026-01-31", "computed", ">=", (datetime(2026, 1, 31),)),
        ("computed < 2026-01-31T14:00+02:00", "computed", "<", (datetime(2026, 1, 31, 12),)),
    ],
)
def test_a_condition_is_read_by_the_type_of_its_column(
    text: str, column: str, operator: str, values: tuple[Any, ...]
) -> None:
    found = read(text)
    assert found == Condition(column, operator, values)
    assert [type(v) for v in found.values] == [type(v) for v in values]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alpha", "not a condition"),
        ("", "not a condition"),
        ("seedin 3", "not a condition"),
        ("alpha == 1", "no operator '=='"),
        ("alpha <> 1", "no operator '<>'"),
        ("alpha =", "a value is expected"),
        ("alpha = nan", "not a finite number"),
        ("alpha = inf", "not a finite number"),
        ("alpha = 1e999", "not a finite number"),
        ("alpha = 1_0", "not a finite number"),
        ("seed = 1.5", "'1.5' is not a whole number"),
        ("seed = 1; DROP TABLE scan", "is not a whole number"),
        ("seed = 0 or 1 = 1", "is not a whole number"),
        ("seed in 0, 1)", "is not a whole number"),
        ("seed in 0,,1", "separated by commas"),
        ("seed in 0,", "separated by commas"),
        ("seed like 1", "'like' compares text"),
        ("simulated = yes", "'yes' is not true or false"),
        ("simulated < true", "use = or !="),
        ("computed > yesterday", "not a date and time"),
        ("computed > 0001-01-01T00:00+14:00", "not a date and time"),
        ("config = 1", "holds JSON"),
        ("config is null", "holds JSON"),
        ("responses = 1", "holds an array"),
        ("weights = 1", "holds a file"),
        ("teacher is null or 1 = 1", "nothing is expected after 'is null'"),
        ("teacher = a and seed = 1", "more than one condition"),
        ("teacher in a, b and seed in 1", "more than one condition"),
        ("teacher = 'a' OR seed = 1", "more than one condition"),
        ("teacher = a\0b", "text that can be stored"),
        ("teacher = a\udcffb", "text that can be stored"),
        ("teacher like a\\", "single backslash"),
        ("techer = a", "did you mean teacher?"),
        ('teacher" = a', "not a condition"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(QueryError) as error:
        read(text)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "attack",
    [
        "x' OR '1'='1",
        "' OR '1'='1",
        "'a' OR '1'='1'",
        "'; DROP TABLE scan; --",
        "\\'; DROP TABLE scan; --",
        "%s",
        "%(x)s %% %",
        "$$; SELECT 1; $$",
    ],
)
def test_an_attack_is_the_text_that_it_is(attack: str) -> None:
    assert read(f"teacher = {attack}").sql(quote) == ('"teacher" = %s', (attack,))


conditions = st.one_of(
    st.text(),
    st.builds(
        "{}{}{}{}{}".format,
        st.sampled_from([*KINDS, "other", "config.kind"]),
        st.sampled_from(["", " ", "\n"]),
        st.sampled_from(["=", "!=", "<", ">=", "==", "like", "in", "is", "is null", "is not null"]),
        st.sampled_from(["", " ", "("]),
        st.one_of(
            st.text(),
            st.text(alphabet="'\"\\%,; ()-$`01eE.+:TZ\0\udc80"),
            st.integers().map(str),
            st.floats().map(str),
            st.datetimes().map(str),
        ),
    ),
)


@given(conditions)
def test_any_text_is_either_refused_or_one_of_few_pieces_of_sql(text: str) -> None:
    try:
        condition = read(text)
    except QueryError:
        return
    sql, values = condition.sql(quote)
    assert SQL.fullmatch(sql)
    assert sql.count("%s") == len(values)


@given(st.text().filter(lambda t: "\0" not in t and t.isprintable()))
def test_quoted_text_is_read_as_it_was_written(text: str) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    assert read(f"teacher = {quoted}").values == (text,)
    assert read(f"teacher in {quoted}, {quoted}").values == (text, text)


@given(st.one_of(st.integers(-(10**50), 10**50), st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_are_read_as_they_were_written(number: float) -> None:
    column = "seed" if isinstance(number, int) else "alpha"
    assert read(f"{column} = {number!r}").values == (number,)


@given(conditions)
def test_what_is_said_of_a_condition_is_that_condition(text: str) -> None:
    try:
        condition = read(text)
    except QueryError:
        return
    assert read(str(condition)) == condition


def test_names_are_suggested_whatever_their_case() -> None:
    assert nearest("trainednetwork", ["Scan", "TrainedNetwork"]) == "did you mean TrainedNetwork?"
    assert nearest("sketches", []) == "there are none"
    assert nearest("zzz", ["b", "a"]) == "there are a, b"
