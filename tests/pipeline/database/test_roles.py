"""The SQL that gives users their roles."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.database.roles import _USER, Role, grant
from pipeline.database.settings import Settings, SettingsError


def settings(database: str) -> Settings:
    return Settings(home=Path("/home"), database=database, store="/store", schema_name="brains")


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("backend", ["postgresql", "mysql"])
def test_a_role_is_given_without_a_password(role: Role, backend: str) -> None:
    statements = grant(role, "alice", settings(f"{backend}://boss:hush@lab/brain"))
    text = "\n".join(statements)
    assert "alice" in text and "brains" in text
    assert "hush" not in text
    assert "PASSWORD" not in text.upper() and "IDENTIFIED" not in text.upper()


def test_a_reader_is_given_less_than_a_worker_and_a_worker_less_than_an_admin() -> None:
    for backend in ("postgresql", "mysql"):
        text = {
            role: "\n".join(grant(role, "alice", settings(f"{backend}://boss@lab/brain")))
            for role in Role
        }
        assert "INSERT" in text[Role.worker] and "INSERT" not in text[Role.reader]
        for role in (Role.worker, Role.reader):
            for word in ("DROP", "ALTER TABLE", "OWNER", "GRANT ALL", "GRANT CREATE"):
                assert word not in text[role]


def test_in_mysql_a_schema_is_not_a_pattern_that_others_match() -> None:
    made = settings("mysql://boss@lab").model_copy(update={"schema_name": "my_brains"})
    for role in Role:
        on_the_schema = [s for s in grant(role, "alice", made) if "brains" in s]
        assert on_the_schema and all(r"`my\_brains`.*" in s for s in on_the_schema)


def test_an_embedded_database_has_no_users() -> None:
    with pytest.raises(SettingsError, match="one person's"):
        grant(Role.reader, "alice", settings("embedded:/database"))


@given(user=st.text(max_size=40))
def test_a_users_name_is_a_name_or_refused(user: str) -> None:
    if _USER.fullmatch(user):
        assert set(user) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-")
        return
    with pytest.raises(SettingsError, match="^user: "):
        grant(Role.reader, user, settings("postgresql://boss@lab/brain"))


@pytest.mark.parametrize("user", ["a'; DROP TABLE x; --", 'a"b', "a b", "", "A", "a`b", "a\\b"])
def test_sql_in_a_name_is_refused(user: str) -> None:
    with pytest.raises(SettingsError, match="^user: "):
        grant(Role.admin, user, settings("mysql://boss@lab"))
