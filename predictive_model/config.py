"""Base of all configurations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Seed = Annotated[int, Field(ge=0, lt=2**31)]  # as wide as a database's column


class Config(BaseModel):
    """Frozen; refuses names it does not know and numbers that are not finite.

    A setting that a later version adds is declared by :func:`added`, so that the descriptions of
    earlier settings, and with them their hashes, stay as they were.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def described(self) -> dict[str, Any]:
        """All settings in JSON's types, without those added later that are at their default."""
        return _described(self, self.model_dump(mode="json"))

    def identity(self) -> dict[str, Any]:
        """What tells a configuration from others: what its hash is made of."""
        return self.described()

    def needs(self) -> str:
        """The oldest version that can read :meth:`described`; empty if any can."""
        return max(_versions(self), key=version_numbers, default="")


def added(default: Any, *, since: str, **arguments: Any) -> Any:
    """A field that a later version added to its configuration.

    Parameters
    ----------
    default : object
        What leaves everything as it was before.
    since : str
        The version that added it: ``0.2.0``.
    **arguments
        Of pydantic's ``Field``.

    Examples
    --------
    >>> class Settings(Config):
    ...     width: int = 64
    ...     bias: bool = added(True, since="0.2.0")
    >>> Settings().described(), Settings().needs()
    ({'width': 64}, '')
    >>> Settings(bias=False).described(), Settings(bias=False).needs()
    ({'width': 64, 'bias': False}, '0.2.0')
    """
    return Field(default=default, json_schema_extra={"since": since}, **arguments)


def _later_fields(config: Config) -> dict[str, str]:
    """Versions that added fields, by the fields' names."""
    found = {}
    for name, field in type(config).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "since" in extra:
            found[name] = str(extra["since"])
    return found


def _at_default(config: Config, name: str) -> bool:
    field = type(config).model_fields[name]
    return bool(getattr(config, name) == field.get_default(call_default_factory=True))


def _described(value: Any, dumped: Any) -> Any:
    """What pydantic made of a value, without fields added later that are at their default."""
    if isinstance(value, Config):
        if not type(value).model_fields.keys() <= dumped.keys():
            # Of a class derived from the declared one, whose fields alone pydantic has written.
            dumped = value.model_dump(mode="json")
        left_out = {name for name in _later_fields(value) if _at_default(value, name)}
        return {
            name: _described(getattr(value, name), part)
            for name, part in dumped.items()
            if name not in left_out
        }
    if isinstance(value, Mapping):
        pairs = zip(value.values(), dumped.items(), strict=True)
        return {key: _described(inner, part) for inner, (key, part) in pairs}
    if isinstance(value, list | tuple):
        return [_described(inner, part) for inner, part in zip(value, dumped, strict=True)]
    return dumped


def _versions(value: Any) -> Iterator[str]:
    """Versions that added a field which is not at its default, in all configurations within."""
    if isinstance(value, Config):
        since = _later_fields(value)
        for name in type(value).model_fields:
            if name in since:
                if _at_default(value, name):
                    continue
                yield since[name]
            yield from _versions(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _versions(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _versions(inner)


def version_numbers(version: str) -> tuple[int, ...]:
    """What versions are compared by: (0, 10, 1) of 0.10.1."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def what_is_wrong(error: ValidationError, root: str = "") -> str:
    """All reasons why a configuration was refused, ``field.field: why``, separated by semicolons.

    Which of several alternatives a field was read as is left out.
    """
    return "; ".join(map(partial(_one_fault, root), error.errors(include_url=False)))


def _one_fault(root: str, fault: Any) -> str:
    place = [root, *(str(p) for p in fault["loc"] if not str(p).endswith("Config"))]
    found = fault["input"]
    # Our own messages say what was found already.
    shown = fault["type"] not in ("value_error", "missing", "extra_forbidden")
    said = f", found {found!r}" if shown and isinstance(found, str | int | float) else ""
    where = ".".join(filter(None, place))
    return (where and f"{where}: ") + fault["msg"].removeprefix("Value error, ") + said
