"""Settings: where everything is kept and which database is used.

All of it lives in one home folder, ``NEUROTEACH_HOME`` or ``~/.neuroteach``: the embedded
database, the store of arrays and weights, checkpoints, logs and, if there is one,
``settings.toml``. A setting is taken from the environment, else from that file, else its default:

==================  ======================  =======================================
in settings.toml    in the environment      default
==================  ======================  =======================================
``database``        ``NEUROTEACH_DATABASE``  ``embedded:HOME/database``
``store``           ``NEUROTEACH_STORE``     ``HOME/store``
``schema``          ``NEUROTEACH_SCHEMA``    ``neuroteach``
``device``          ``NEUROTEACH_DEVICE``    ``auto``: a GPU if there is one
==================  ======================  =======================================

``database`` is ``embedded:FOLDER``, ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE`` or
``mysql://USER:PASSWORD@HOST:PORT``.
"""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

HOME_VARIABLE = "NEUROTEACH_HOME"
VARIABLES = {
    "database": "NEUROTEACH_DATABASE",
    "store": "NEUROTEACH_STORE",
    "schema": "NEUROTEACH_SCHEMA",
    "device": "NEUROTEACH_DEVICE",
}


class SettingsError(ValueError):
    """Settings that cannot work: says which, what was found and what to do."""


class Settings(BaseModel):
    """Where everything is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    home: Path
    database: str
    store: Path
    schema_name: str = Field("neuroteach", alias="schema", pattern=r"^[a-z][a-z0-9_]{0,40}$")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")

    @field_validator("database")
    @classmethod
    def _known_database(cls, value: str) -> str:
        scheme = value.split(":", 1)[0]
        if scheme == "embedded" and len(value) > len("embedded:"):
            return value
        if scheme in ("postgresql", "mysql"):
            # What is wrong with a URL may be said with a part of its password in it.
            with contextlib.suppress(ValueError):
                if ServerAddress.from_url(value).host:
                    return value
        # The value may hold a password, so it is not repeated.
        raise ValueError(
            "expected embedded:FOLDER, postgresql://USER:PASSWORD@HOST:PORT/DATABASE or "
            "mysql://USER:PASSWORD@HOST:PORT"
        )

    @property
    def embedded_folder(self) -> Path | None:
        """Folder of the embedded database, None for a server."""
        scheme, _, rest = self.database.partition(":")
        return Path(rest) if scheme == "embedded" else None

    @property
    def database_is_kept(self) -> Path:
        """A file that is there while the embedded database is to stay up between commands."""
        return self.home / "keep-database-running"

    @property
    def logs(self) -> Path:
        """Folder of the workers' logs."""
        return self.home / "logs"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints of unfinished computations of this schema."""
        return self.home / "checkpoints" / self.schema_name

    @property
    def database_for_display(self) -> str:
        """The database without its password."""
        if self.embedded_folder is not None:
            return self.database
        server = ServerAddress.from_url(self.database)
        database = f"/{server.database}" if server.database else ""
        return f"{server.backend}://{server.user}@{server.host}:{server.port}{database}"


class ServerAddress(BaseModel):
    """A database server, read from its URL; the host may be the folder of a Unix socket."""

    backend: str
    host: str
    port: int
    user: str
    password: str
    database: str | None

    @classmethod
    def from_url(cls, url: str) -> ServerAddress:
        """Read ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE`` or the same with ``mysql``.

        As in libpq, ``?host=/FOLDER&port=PORT`` names a Unix socket.
        """
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        postgres = parts.scheme == "postgresql"
        return cls(
            backend=parts.scheme,
            host=query.get("host") or parts.hostname or "",
            port=int(query.get("port") or parts.port or (5432 if postgres else 3306)),
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=(parts.path.lstrip("/") or "postgres") if postgres else None,
        )


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment and the home folder's ``settings.toml``.

    Raises
    ------
    SettingsError
        If a setting is unknown or its value cannot work.
    """
    env = os.environ if environment is None else environment
    home = Path(env.get(HOME_VARIABLE) or Path.home() / ".neuroteach").expanduser().absolute()
    file = home / "settings.toml"
    values: dict[str, object] = {
        "database": f"embedded:{home / 'database'}",
        "store": home / "store",
    }
    if file.is_file():
        try:
            values.update(tomllib.loads(file.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file}: not valid TOML ({error})") from error
        if "home" in values:
            raise SettingsError(f"{file}: home is set by {HOME_VARIABLE}, not in the file")
    values.update({key: env[name] for key, name in VARIABLES.items() if env.get(name)})
    try:
        return Settings.model_validate({"home": home, **values})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        raise SettingsError(
            f"{name}: {first['msg'].removeprefix('Value error, ')}; set it in {file} or by "
            f"{VARIABLES.get(name, 'nothing else')}"
        ) from error
