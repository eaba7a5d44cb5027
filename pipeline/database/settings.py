"""Settings: where everything is kept and which database is used.

All of it lives in one home folder, ``NEUROTEACH_HOME`` or ``~/.neuroteach``: the embedded
database, the store of arrays, weights and checkpoints, logs and, if there is one,
``settings.toml``. A setting is taken from the environment, else from that file, else its default:

==================  =============================  =======================================
in settings.toml    in the environment             default
==================  =============================  =======================================
``database``        ``NEUROTEACH_DATABASE``        ``embedded:HOME/database``
``store``           ``NEUROTEACH_STORE``           ``HOME/store``
``store_endpoint``  ``NEUROTEACH_STORE_ENDPOINT``  Amazon's, for a store in S3
``schema``          ``NEUROTEACH_SCHEMA``          ``neuroteach``
``device``          ``NEUROTEACH_DEVICE``          ``auto``: a GPU if there is one
``images``          ``NEUROTEACH_IMAGES``          ``HOME/images``
==================  =============================  =======================================

``database`` is ``embedded:FOLDER``, ``postgresql://USER@HOST:PORT/DATABASE`` or
``mysql://USER@HOST:PORT``; ``sslmode``, ``sslrootcert``, ``sslcert`` and ``sslkey`` may follow
after a question mark, with the meaning that they have in libpq. ``store`` is a folder or
``s3://BUCKET/PREFIX``. ``images`` is the folder of the images that are not copied into the store:
rows refer to them by their paths below it, so that each machine may have another one. Folders that
are not absolute are below HOME if the file names them, and below the current folder if the
environment does.

Secrets come from the environment, or from files that it names, and from nowhere else:

====================================  =========================================================
in the environment                    what
====================================  =========================================================
``NEUROTEACH_DATABASE_PASSWORD``      of the database user; in the environment also in the URL
``NEUROTEACH_STORE_ACCESS_KEY``       of the object store; without one, what the machine's
``NEUROTEACH_STORE_SECRET_KEY``       AWS configuration says
====================================  =========================================================

Each may end in ``_FILE`` and then names a file that holds the secret.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from pipeline.database.binaries import variables_of_postgres
from predictive_model.text import read_text

if TYPE_CHECKING:
    from upath import UPath  # takes longer to import than all the rest: where it is needed

HOME_VARIABLE = "NEUROTEACH_HOME"
VARIABLES = {
    "database": "NEUROTEACH_DATABASE",
    "store": "NEUROTEACH_STORE",
    "store_endpoint": "NEUROTEACH_STORE_ENDPOINT",
    "schema": "NEUROTEACH_SCHEMA",
    "device": "NEUROTEACH_DEVICE",
    "images": "NEUROTEACH_IMAGES",
}
SECRETS = {
    "database_password": "NEUROTEACH_DATABASE_PASSWORD",
    "store_access_key": "NEUROTEACH_STORE_ACCESS_KEY",
    "store_secret_key": "NEUROTEACH_STORE_SECRET_KEY",
}
FILE_SUFFIX = "_FILE"  # of a variable that names the file of a secret
_AMAZON = "https://s3.amazonaws.com"
_DATABASES = (
    "expected embedded:FOLDER, postgresql://USER@HOST:PORT/DATABASE or mysql://USER@HOST:PORT, "
    "then perhaps ?sslmode=verify-full&sslrootcert=FILE"
)


_EXPECTED = {
    "database": _DATABASES,
    "store": "expected a folder or s3://BUCKET/PREFIX, without keys in it",
    "store_endpoint": "expected https://HOST:PORT or nothing",
    "schema": "expected at most 41 of a to z, 0 to 9 and _, a letter first",
    "device": "expected auto, cpu, cuda or cuda:NUMBER",
    "images": "expected a folder",
}


class SettingsError(ValueError):
    """Settings that cannot work: says which, what was found and what to do."""


class Settings(BaseModel):
    """Where everything is kept."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        hide_input_in_errors=True,  # it may hold a password
    )

    home: Path
    database: str = Field(repr=False)  # may hold a password
    database_password: SecretStr | None = None
    store_location: str = Field(alias="store")
    store_endpoint: str = Field("", pattern=r"^(https?://[^/\s]+)?$")
    store_access_key: SecretStr | None = None
    store_secret_key: SecretStr | None = None
    schema_name: str = Field("neuroteach", alias="schema", pattern=r"^[a-z][a-z0-9_]{0,40}$")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    images: Path | None = None

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
        raise ValueError(_DATABASES)  # the value may hold a password, so it is not repeated

    @field_validator("store_location", mode="before")
    @classmethod
    def _known_store(cls, value: Any) -> str:
        scheme, separator, rest = str(value).partition("://")
        if not separator:
            return str(Path(str(value)).expanduser().absolute())
        bucket, _, prefix = rest.partition("/")
        if scheme != "s3" or not bucket or ".." in prefix.split("/") or "@" in bucket:
            raise ValueError(_EXPECTED["store"])
        return str(value).rstrip("/")

    @functools.cached_property
    def store(self) -> UPath:
        """The store without its keys: a folder, or a place in S3."""
        from upath import UPath

        return UPath(self.store_location)

    @property
    def images_folder(self) -> Path:
        """Folder of the images that are referred to, and not copied into the store."""
        return (self.images or self.home / "images").expanduser().absolute()

    @property
    def embedded_folder(self) -> Path | None:
        """Folder of the embedded database, None for a server."""
        scheme, _, rest = self.database.partition(":")
        return Path(rest) if scheme == "embedded" else None

    @property
    def server_address(self) -> ServerAddress:
        """Where the database server is; not for an embedded one."""
        address = ServerAddress.from_url(self.database)
        if self.database_password is None:
            return address
        return address.model_copy(update={"password": self.database_password})

    @property
    def store_is_shared(self) -> bool:
        """Whether the store is elsewhere than in this home."""
        return str(self.store) != str(self.home / "store")

    def store_root(self) -> UPath:
        """The store to read and write, with its keys; nothing is made or looked for."""
        if self.store.protocol != "s3":
            return self.store
        options: dict[str, Any] = {
            "client_kwargs": {"endpoint_url": self.store_endpoint or _AMAZON},
            "use_listings_cache": False,  # other machines write too
        }
        if self.store_access_key is not None and self.store_secret_key is not None:
            options["key"] = self.store_access_key.get_secret_value()
            options["secret"] = self.store_secret_key.get_secret_value()
        from upath import UPath

        return UPath(str(self.store), **options)

    def store_for_datajoint(self) -> dict[str, Any]:
        """The store as DataJoint configures it."""
        if self.store.protocol != "s3":
            return {"protocol": "file", "location": str(self.store)}
        bucket, _, prefix = str(self.store).removeprefix("s3://").partition("/")
        secrets = (self.store_access_key, self.store_secret_key)
        access, secret = (s.get_secret_value() if s is not None else None for s in secrets)
        return {
            "protocol": "s3",
            "endpoint": self.store_endpoint or _AMAZON,
            "bucket": bucket,
            "location": prefix,
            "access_key": access,
            "secret_key": secret,
            "stage": str(self.home / "copies"),  # of objects that are read in parts
        }

    @property
    def database_is_kept(self) -> Path:
        """A file that is there while the embedded database is to stay up between commands."""
        return self.home / "keep-database-running"

    @property
    def logs(self) -> Path:
        """Folder of the workers' logs."""
        return self.home / "logs"

    @property
    def worker_alive(self) -> Path:
        """A file that a worker touches at each heartbeat, for a supervisor of its process."""
        return self.home / "worker-alive"

    @property
    def checkpoints(self) -> UPath:
        """Folder of the checkpoints of unfinished computations of this schema."""
        return self.store_root() / "_checkpoints" / self.schema_name

    @property
    def variables_heeded(self) -> str:
        """A remark on variables of libpq, which a shared PostgreSQL may owe an error to."""
        return variables_of_postgres() if self.database.startswith("postgresql:") else ""

    @property
    def database_for_display(self) -> str:
        """The database without its password and how the way to it is encrypted."""
        if self.embedded_folder is not None:
            return self.database
        server = self.server_address
        database = f"/{server.database}" if server.database else ""
        return f"{server.backend}://{server.user}@{server.host_in_url}:{server.port}{database}"


class ServerAddress(BaseModel):
    """A database server, read from its URL; the host may be the folder of a Unix socket.

    It is ``ours`` if it is the embedded one, which variables of the environment say nothing about.
    """

    backend: str
    host: str
    port: int
    user: str
    password: SecretStr | None
    database: str | None
    tls: dict[str, str] = {}
    passfile: str | None = None
    ours: bool = False

    @classmethod
    def from_url(cls, url: str) -> ServerAddress:
        """Read ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE`` or the same with ``mysql``.

        As in libpq, ``?host=/FOLDER&port=PORT`` names a Unix socket, ``passfile`` a file with the
        password, and ``sslmode`` and its kin say how the connection is encrypted.

        Raises
        ------
        ValueError
            If it cannot be read; the message may hold a part of the password.
        """
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        postgres = parts.scheme == "postgresql"
        tls = {k: query.pop(k) for k in _TLS if k in query}
        if tls.get("sslmode", "prefer") not in _TLS_MODES:
            raise ValueError(f"sslmode: expected one of {', '.join(_TLS_MODES)}")
        if not postgres and "verify" in tls.get("sslmode", "") and "sslrootcert" not in tls:
            raise ValueError("sslmode: expected sslrootcert=FILE with it, for MySQL")
        host, port = query.pop("host", None), query.pop("port", None)
        passfile = query.pop("passfile", None) if postgres else None
        if query:
            raise ValueError(f"unknown: {', '.join(query)}")
        return cls(
            backend=parts.scheme,
            host=host or parts.hostname or "",
            port=int(port or parts.port or (5432 if postgres else 3306)),
            user=unquote(parts.username or ""),
            password=SecretStr(unquote(parts.password)) if parts.password else None,
            database=(unquote(parts.path.lstrip("/")) or "postgres") if postgres else None,
            tls=tls,
            passfile=passfile,
        )

    @property
    def host_in_url(self) -> str:
        """The host, in brackets where it is an address of IPv6."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def url(self) -> str:
        """What :meth:`from_url` reads as the same address, without the password.

        Examples
        --------
        >>> ServerAddress.from_url("postgresql://me:hush@lab/brain?sslmode=require").url()
        'postgresql://me@lab:5432/brain?sslmode=require'
        """
        options = dict(self.tls)
        if self.passfile:
            options["passfile"] = self.passfile
        if self.host.startswith("/"):
            where, options = "", {"host": self.host, "port": str(self.port), **options}
        else:
            where = f"{self.host_in_url}:{self.port}"
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        database = f"/{quote(self.database, safe='')}" if self.database else ""
        query = f"?{urlencode(options, quote_via=quote, safe='')}" if options else ""
        return f"{self.backend}://{user}{where}{database}{query}"


_TLS = ("sslmode", "sslrootcert", "sslcert", "sslkey")
_TLS_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")


def _seen_from(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with the folders of the database and the store as they are from `folder`."""
    seen = dict(values)
    scheme, _, embedded = str(values.get("database", "")).partition(":")
    if scheme == "embedded" and embedded:
        seen["database"] = f"embedded:{folder / Path(embedded).expanduser()}"
    if "images" in values:
        seen["images"] = folder / Path(str(values["images"])).expanduser()
    if "store" in values and "://" not in str(values["store"]):
        seen["store"] = folder / Path(str(values["store"])).expanduser()
    return seen


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment and the home folder's ``settings.toml``.

    Raises
    ------
    SettingsError
        If a setting is unknown or its value cannot work.
    """
    env = os.environ if environment is None else environment
    home = _home(env)
    file = home / "settings.toml"
    values: dict[str, object] = {
        "database": f"embedded:{home / 'database'}",
        "store": home / "store",
    }
    written = _read(file) if file.is_file() else {}
    values.update(_seen_from(home, written))
    given = {key: env[name].strip() for key, name in VARIABLES.items() if env.get(name, "").strip()}
    values.update(_seen_from(Path.cwd(), given))
    values.update({key: read_secret(name, env) for key, name in SECRETS.items()})
    if (values["store_access_key"] is None) != (values["store_secret_key"] is None):
        raise SettingsError(
            f"store: expected both {SECRETS['store_access_key']} and "
            f"{SECRETS['store_secret_key']}, or neither for the machine's AWS configuration"
        )
    try:
        return Settings.model_validate({"home": home, **values})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        if name not in VARIABLES:
            raise SettingsError(
                f"{name}: no such setting; {file} may have {', '.join(VARIABLES)}"
            ) from error
        found = given.get(name, written.get(name))
        # One of these may hold a password.
        shown = "what is set" if name == "database" else f"{found!r}"
        where = VARIABLES[name] if name in given else str(file)
        raise SettingsError(
            f"{name}: {shown} in {where} cannot work, {_EXPECTED[name]}; mend it there, or leave "
            f"it out for the default, or set {VARIABLES[name]}"
        ) from error


def _home(env: Mapping[str, str]) -> Path:
    given = env.get(HOME_VARIABLE, "").strip()
    try:
        home = (Path(given) if given else Path.home() / ".neuroteach").expanduser().absolute()
    except RuntimeError as error:  # as in a container whose user has no entry among the users
        raise SettingsError(
            f"{HOME_VARIABLE}: {given or 'not set'}, and the user has no home folder; set it to a "
            "folder that you may write to"
        ) from error
    if home.exists() and not home.is_dir():
        raise SettingsError(f"{HOME_VARIABLE}: {home} is a file, expected a folder")
    return home


def _read(file: Path) -> dict[str, object]:
    try:
        values = tomllib.loads(read_text(file))
    except ValueError as error:
        raise SettingsError(f"{file}: not valid TOML ({error})") from error
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read ({error.strerror})") from error
    if "home" in values:
        raise SettingsError(f"{file}: home is set by {HOME_VARIABLE}, not in the file")
    misplaced = sorted(set(values) & set(SECRETS))
    if _has_password(str(values.get("database", ""))):
        misplaced.append("database_password")
    if misplaced:
        raise SettingsError(
            f"{file}: {misplaced[0]} does not belong into it; set {SECRETS[misplaced[0]]}, or "
            f"{SECRETS[misplaced[0]]}{FILE_SUFFIX} to the name of a file that holds it"
        )
    return values


def _has_password(url: str) -> bool:
    with contextlib.suppress(ValueError):  # what cannot be read is refused elsewhere
        return urlsplit(url).password is not None
    return False


def read_secret(name: str, environment: Mapping[str, str]) -> SecretStr | None:
    """A secret from the variable ``name``, or from the file that ``name`` with ``_FILE`` names.

    Raises
    ------
    SettingsError
        If both are set, or the file cannot be read or is empty.
    """
    value, file = environment.get(name), environment.get(f"{name}{FILE_SUFFIX}")
    if value and file:
        raise SettingsError(f"{name} and {name}{FILE_SUFFIX} are both set; unset one")
    if not file:
        return SecretStr(value) if value else None
    try:
        content = read_text(Path(file)).rstrip("\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise SettingsError(f"{name}{FILE_SUFFIX}: {file} cannot be read ({reason})") from error
    if not content:
        raise SettingsError(f"{name}{FILE_SUFFIX}: {file} is empty, expected a secret in it")
    return SecretStr(content)
