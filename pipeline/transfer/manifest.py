"""What an archive says of itself, and where in it everything is.

An archive is a ZIP file of ``manifest.json``, ``rows/TABLE.jsonl`` and ``objects/PATH``. The
manifest names every other entry with its size and SHA-256. docs/sharing.md describes it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT: Literal["neuroteach archive"] = "neuroteach archive"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
_Sha256 = Field(pattern=r"^[0-9a-f]{64}$")


class ArchiveError(ValueError):
    """A file that is no archive, is damaged, or cannot be read by this version; says which."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Holds(_Part):
    """What an archive holds: a whole database, or one experiment."""

    kind: Literal["database", "experiment"]
    experiment: str | None = None
    scale: str | None = None

    def __str__(self) -> str:
        if self.kind == "database":
            return "a whole database"
        return f"experiment {self.experiment} at scale {self.scale or 'any'}"


class TableEntry(_Part):
    """Rows of a table: how many, of which columns, and what their file must be."""

    columns: dict[str, str]
    key: tuple[str, ...]
    rows: int = Field(ge=0)
    size: int = Field(ge=0)
    sha256: str = _Sha256


class ObjectEntry(_Part):
    """What the file of an object must be."""

    size: int = Field(ge=0)
    sha256: str = _Sha256


class Manifest(_Part):
    """What an archive says of itself."""

    format: Literal["neuroteach archive"] = FORMAT
    format_version: int = FORMAT_VERSION
    schema_version: int = Field(ge=0)
    package_version: str
    git_commit: str
    created: datetime
    schema_name: str = Field(alias="schema", pattern=r"^[a-z][a-z0-9_]{0,40}$")
    holds: Holds
    tables: dict[str, TableEntry]
    objects: dict[str, ObjectEntry]

    @property
    def n_rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables.values())

    @property
    def n_bytes(self) -> int:
        """Size of all objects."""
        return sum(entry.size for entry in self.objects.values())


def rows_name(table: str) -> str:
    """Entry with the rows of a table."""
    return f"rows/{table}.jsonl"


def object_name(path: str) -> str:
    """Entry with an object."""
    return f"objects/{path}"
