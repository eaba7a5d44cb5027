"""Settings as rows: known by a hash that a new setting at its default does not change."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any, TypeVar

import datajoint as dj
from pydantic import ValidationError

from predictive_model.config import Config, version_numbers, what_is_wrong

C = TypeVar("C", bound=Config)


class NewerSettingsError(ValueError):
    """A row holds settings that this version does not know; says which version does."""


def config_hash(config: Config | Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits of the canonical JSON of a configuration.

    Names count as well as values, and so does the kind of configuration. Settings count with their
    defaults, but for those that were added later (:func:`predictive_model.config.added`): at their
    default they do not count, so that what was computed before they were there keeps its hash.
    What does not tell configurations apart, a class leaves out of its ``identity``.
    """
    if isinstance(config, Config):
        content = {"kind": type(config).__name__, **config.identity()}
    else:
        content = dict(config)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def config_row(hash_name: str, config: Config, **columns: Any) -> dict[str, Any]:
    """The row of a configuration."""
    return {
        hash_name: config_hash(config),
        **columns,
        "needs": config.needs(),
        "config": config.described(),
    }


def add_config(table: type[dj.Lookup], hash_name: str, config: Config, **columns: Any) -> str:
    """Insert a configuration if it is not there yet, and return its hash."""
    row = config_row(hash_name, config, **columns)
    table.insert1(row, skip_duplicates=True)
    return str(row[hash_name])


def read_config(kind: type[C], described: Mapping[str, Any], needs: str = "") -> C:
    """A configuration from its row.

    Raises
    ------
    NewerSettingsError
        If it has settings that this version does not know.
    ValueError
        If they cannot be read for another reason: a part that is not installed here, or damage.
    """
    try:
        return kind.model_validate(described)
    except ValidationError as error:
        ours = importlib.metadata.version("neuroteach")
        if version_numbers(needs) <= version_numbers(ours):
            # In one line, since those who watch workers see only the first.
            raise ValueError(f"{kind.__name__}: {what_is_wrong(error)}") from error
        raise NewerSettingsError(
            f"{kind.__name__}: these settings need neuroteach {needs} or later, this is {ours}; "
            "install a newer neuroteach"
        ) from error
