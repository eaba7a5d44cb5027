"""Where settings come from and which are refused."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from pipeline.database.settings import (
    SECRETS,
    ServerAddress,
    Settings,
    SettingsError,
    load_settings,
)


def write(home: Path, text: str) -> dict[str, str]:
    """A home with this settings file, as the environment that names it."""
    (home / "settings.toml").write_text(text)
    return {"NEUROTEACH_HOME": str(home)}


def revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def test_everything_lives_in_the_home_folder_by_default(tmp_path: Path) -> None:
    settings = load_settings({"NEUROTEACH_HOME": str(tmp_path)})
    assert settings.embedded_folder == tmp_path / "database"
    assert settings.store == tmp_path / "store"
    assert settings.logs.parent == settings.home == tmp_path
    # Where others find them who go on with what a worker left.
    assert settings.checkpoints == tmp_path / "store" / "_checkpoints" / settings.schema_name
    assert (settings.schema_name, settings.device) == ("neuroteach", "auto")
    assert list(tmp_path.iterdir()) == [], "reading settings makes nothing"


def test_home_is_in_the_users_home_by_default() -> None:
    assert load_settings({}).home == Path.home() / ".neuroteach"
    assert load_settings({"NEUROTEACH_HOME": "~/brains"}).home == Path.home() / "brains"


def test_a_relative_home_does_not_move_with_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({"NEUROTEACH_HOME": "here"}).home == tmp_path / "here"


def test_the_environment_goes_before_the_file_and_the_file_before_the_default(
    tmp_path: Path,
) -> None:
    environment = write(tmp_path, 'schema = "from_file"\ndevice = "cpu"\n')
    assert load_settings(environment).schema_name == "from_file"
    settings = load_settings(environment | {"NEUROTEACH_SCHEMA": "from_environment"})
    assert (settings.schema_name, settings.device) == ("from_environment", "cpu")
    assert load_settings(environment | {"NEUROTEACH_SCHEMA": ""}).schema_name == "from_file"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_are_read_as_editors_of_windows_save_them(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "settings.toml").write_bytes('device = "cpu"\r\n'.encode(encoding))
    (tmp_path / "secret").write_bytes(f"{HUSH}\r\n".encode(encoding))
    settings = load_settings(
        {
            "NEUROTEACH_HOME": str(tmp_path),
            "NEUROTEACH_DATABASE": "postgresql://me@lab/brain",
            f"{SECRETS['database_password']}_FILE": str(tmp_path / "secret"),
        }
    )
    assert settings.device == "cpu"
    assert revealed(settings.server_address.password) == HUSH


@pytest.mark.parametrize(
    "text, message",
    [
        ("device = ", "not valid TOML"),
        ('home = "/elsewhere"', "home is set by NEUROTEACH_HOME"),
        ('stor = "/typo"', "^stor: "),
        ('device = "gpu"', "^device: .* NEUROTEACH_DEVICE"),
        ('schema = "No Blanks"', "^schema: .* NEUROTEACH_SCHEMA"),
        ('database = "sqlite:file"', "^database: .*expected embedded:FOLDER, postgresql://"),
        ('database = "embedded:"', "^database: .*expected embedded:FOLDER"),
        ('database = "postgresql:///nowhere"', "^database: .* NEUROTEACH_DATABASE"),
        ('database = "postgresql://h/d?sslmode=maybe"', "^database: .*sslmode=verify-full"),
        ('database = "postgresql://h/d?slmode=require"', "^database: .* NEUROTEACH_DATABASE"),
        ('database_password = "hush"', "does not belong into it; set NEUROTEACH_DATABASE_PASS"),
        ('database = "postgresql://me:hush@h/d"', "database_password does not belong into it"),
        ("device = 3", r"^device: 3 in .*settings.toml .*expected auto, cpu, cuda or cuda:NUMBER"),
        ('store = "gopher://hole"', "^store: .*expected a folder or s3://BUCKET/PREFIX"),
        ('store = "s3://"', "^store: .*expected a folder or s3://BUCKET/PREFIX"),
        ('store = "s3://bucket/../../etc"', "^store: .*expected a folder or s3://BUCKET"),
        ('store_endpoint = "nine thousand"', "^store_endpoint: .* NEUROTEACH_STORE_ENDPOINT"),
    ],
)
def test_a_setting_that_cannot_work_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(write(tmp_path, text))


def test_variables_that_cannot_work_are_named_with_what_they_hold(tmp_path: Path) -> None:
    environment = {"NEUROTEACH_HOME": str(tmp_path)}
    for name, value, expected in (
        ("DEVICE", "gpu", "cuda:NUMBER"),
        ("SCHEMA", "Not one", "a to z"),
        ("STORE", "gopher://hole", "s3://BUCKET/PREFIX"),
        ("STORE_ENDPOINT", "localhost:9000", "https://HOST:PORT"),
    ):
        with pytest.raises(SettingsError) as info:
            load_settings(environment | {f"NEUROTEACH_{name}": value})
        for part in (f"{value!r} in NEUROTEACH_{name} cannot work", expected, "for the default"):
            assert part in str(info.value)
        assert load_settings(environment | {f"NEUROTEACH_{name}": "  "}) == load_settings(
            environment
        ), "nothing is the same as not set"
    assert load_settings(environment | {"NEUROTEACH_DEVICE": " cpu\n"}).device == "cpu"


def test_a_home_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="NEUROTEACH_HOME: .*file is a file, expected a folder"):
        load_settings({"NEUROTEACH_HOME": str(tmp_path / "file")})

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(SettingsError, match="NEUROTEACH_HOME: not set.* set it to a folder"):
        load_settings({})


def test_a_settings_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_bytes(b"\xef\xbb\xbfdevice = 'cpu'\n")
    assert load_settings({"NEUROTEACH_HOME": str(tmp_path)}).device == "cpu"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hush@lab.example:port/brain",
        "postgresql://me:hu#sh@lab.example/brain",
        "postgresql://me:hush@lab.example:99999999/brain",
        "postgresql://me:hush@[::1/brain",
        "oracle://me:hush@lab.example/brain",
    ],
)
def test_a_database_that_cannot_be_read_is_refused_without_repeating_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="^database: .*expected embedded:FOLDER") as info:
        load_settings({"NEUROTEACH_DATABASE": url})
    assert "hu" not in str(info.value).replace("NEUROTEACH", "")
    assert "hu" not in "".join(traceback.format_exception(info.value)).replace("NEUROTEACH", "")
    with pytest.raises(ValidationError) as invalid:
        Settings(home=Path("/home"), database=url, store=Path("/store"))
    assert "hu" not in str(invalid.value)


def test_a_servers_url_is_read_with_its_escapes_and_default_ports() -> None:
    address = ServerAddress.from_url("postgresql://me:a%2Fb%40c@lab.example/brain")
    assert (address.host, address.port, address.database) == ("lab.example", 5432, "brain")
    assert (address.user, revealed(address.password)) == ("me", "a/b@c")
    assert ServerAddress.from_url("postgresql://me@lab.example").database == "postgres"
    mysql = ServerAddress.from_url("mysql://me:x@lab.example")
    assert (mysql.port, mysql.database, mysql.backend) == (3306, None, "mysql")
    assert ServerAddress.from_url("mysql://me:x@lab.example:3307").port == 3307


def test_a_unix_socket_is_named_as_in_libpq() -> None:
    address = ServerAddress.from_url("postgresql://me:x@/brain?host=%2Ftmp%2Fsocket&port=5433")
    assert (address.host, address.port, address.database) == ("/tmp/socket", 5433, "brain")
    with_file = ServerAddress.from_url("postgresql://me@/brain?host=%2Ftmp&passfile=%2Fpgpass")
    assert (with_file.password, with_file.passfile) == (None, "/pgpass")


@pytest.mark.parametrize(
    "url, shown",
    [
        ("embedded:/data/brain", "embedded:/data/brain"),
        ("postgresql://me:hush@lab:5433/brain", "postgresql://me@lab:5433/brain"),
        ("mysql://me:hush@lab", "mysql://me@lab:3306"),
        ("postgresql://me:hush@/brain?host=%2Ftmp&port=1", "postgresql://me@/tmp:1/brain"),
        ("postgresql://me:hush@[::1]/brain?sslmode=require", "postgresql://me@[::1]:5432/brain"),
    ],
)
def test_a_database_is_shown_without_its_password(tmp_path: Path, url: str, shown: str) -> None:
    settings = Settings(home=tmp_path, database=url, store=tmp_path)
    assert settings.database_for_display == shown
    assert (settings.embedded_folder is None) == (not url.startswith("embedded"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@lab:5433/brain",
        "postgresql://me%40home@[fe80::1]:5432/my%20brain?sslmode=verify-full"
        "&sslrootcert=%2Fca%20of%20ours.crt",
        "postgresql://me@/brain?host=%2Ftmp%2Fsocket&port=5433&passfile=%2Fpgpass",
        "mysql://me@lab:3306?sslmode=require&sslcert=c&sslkey=k",
    ],
)
def test_an_address_is_written_as_it_was_read(url: str) -> None:
    assert ServerAddress.from_url(url).url() == url
    with_password = url.replace("@", ":hush@", 1)
    assert ServerAddress.from_url(with_password).url() == url


# -- secrets -----------------------------------------------------------------------------------

HUSH = "hu#sh/:@"


def test_a_secret_comes_from_the_environment_or_from_a_file(tmp_path: Path) -> None:
    url = {"NEUROTEACH_DATABASE": "postgresql://me@lab/brain"}
    assert load_settings(url).server_address.password is None
    given = load_settings(url | {SECRETS["database_password"]: HUSH})
    (tmp_path / "secret").write_text(f"{HUSH}\n")
    read = load_settings(url | {f"{SECRETS['database_password']}_FILE": str(tmp_path / "secret")})
    for settings in (given, read):
        assert revealed(settings.server_address.password) == HUSH


def test_a_secret_given_apart_goes_before_that_in_the_url() -> None:
    settings = load_settings(
        {
            "NEUROTEACH_DATABASE": "postgresql://me:old@lab/brain",
            "NEUROTEACH_DATABASE_PASSWORD": "new",
        }
    )
    assert revealed(settings.server_address.password) == "new"


def test_no_secret_shows_in_what_settings_say_of_themselves() -> None:
    settings = load_settings(
        {
            "NEUROTEACH_DATABASE": "postgresql://me:hush1@lab/brain",
            "NEUROTEACH_DATABASE_PASSWORD": "hush2",
            "NEUROTEACH_STORE": "s3://bucket",
            "NEUROTEACH_STORE_ACCESS_KEY": "hush3",
            "NEUROTEACH_STORE_SECRET_KEY": "hush4",
        }
    )
    shown = [repr(settings), str(settings), repr(settings.server_address)]
    shown += [settings.database_for_display, str(settings.store)]
    assert "hush" not in " ".join(shown)


@pytest.mark.parametrize(
    "content, message",
    [(None, "cannot be read .No such file"), ("\n", "is empty"), (b"\xff\xfa", "not a text file")],
)
def test_a_secret_file_that_holds_none_is_named(
    tmp_path: Path, content: str | bytes | None, message: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError, match=f"^NEUROTEACH_STORE_SECRET_KEY_FILE: .*{message}"):
        load_settings({"NEUROTEACH_STORE_SECRET_KEY_FILE": str(file)})


def test_a_secret_given_twice_or_by_half_is_refused(tmp_path: Path) -> None:
    name = SECRETS["database_password"]
    with pytest.raises(SettingsError, match="are both set; unset one") as info:
        load_settings({name: HUSH, f"{name}_FILE": str(tmp_path)})
    assert HUSH not in str(info.value)
    with pytest.raises(SettingsError, match="^store: expected both"):
        load_settings({SECRETS["store_access_key"]: "mine"})


# -- stores ------------------------------------------------------------------------------------


def test_a_store_may_be_an_object_store() -> None:
    settings = load_settings(
        {
            "NEUROTEACH_STORE": "s3://bucket/some/prefix/",
            "NEUROTEACH_STORE_ENDPOINT": "http://localhost:9000",
            "NEUROTEACH_STORE_ACCESS_KEY": "mine",
            "NEUROTEACH_STORE_SECRET_KEY": "hush",
        }
    )
    assert str(settings.store) == "s3://bucket/some/prefix"
    assert str(settings.checkpoints) == "s3://bucket/some/prefix/_checkpoints/neuroteach"
    assert settings.store_for_datajoint() == {
        "protocol": "s3",
        "endpoint": "http://localhost:9000",
        "bucket": "bucket",
        "location": "some/prefix",
        "access_key": "mine",
        "secret_key": "hush",
        "stage": str(settings.home / "copies"),
    }
    options = settings.store_root().storage_options
    assert (options["key"], options["secret"]) == ("mine", "hush")
    assert options["client_kwargs"] == {"endpoint_url": "http://localhost:9000"}


def test_a_relative_folder_is_meant_from_the_file_or_from_where_the_command_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, current = tmp_path / "home", tmp_path / "current"
    for folder in (home, current):
        folder.mkdir()
    monkeypatch.chdir(current)
    by_file = load_settings(write(home, 'store = "here"\ndatabase = "embedded:there"'))
    by_environment = load_settings(
        {"NEUROTEACH_STORE": "here", "NEUROTEACH_DATABASE": "embedded:there"}
    )
    monkeypatch.chdir(tmp_path)
    for settings, folder in ((by_file, home), (by_environment, current)):
        assert (settings.store, settings.embedded_folder) == (folder / "here", folder / "there")
    away = load_settings(write(home, 'store = "~/brains"\ndatabase = "embedded:/there"'))
    assert (away.store, away.embedded_folder) == (Path.home() / "brains", Path("/there"))


def test_reading_settings_imports_nothing_that_is_slow() -> None:
    command = (
        "import sys; from pipeline.database.settings import load_settings; load_settings({});"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    slow = {"torch", "datajoint", "pandas", "numpy", "fsspec", "upath", "asyncio"}
    assert slow & set(done.stdout.split()) == set(), done.stderr
    assert "pydantic" in done.stdout


def test_encryption_is_asked_for_as_in_libpq() -> None:
    url = "postgresql://me@lab/brain?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem"
    assert ServerAddress.from_url(url).tls == {
        "sslmode": "verify-full",
        "sslrootcert": "/etc/ca.pem",
    }
    with pytest.raises(ValueError, match="sslrootcert"):
        ServerAddress.from_url("mysql://me@lab?sslmode=verify-ca")
