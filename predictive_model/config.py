"""Base of all configurations."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Seed = Annotated[int, Field(ge=0, lt=2**31)]  # as wide as a database's column


def added(default: Any, *, since: str, **field: Any) -> Any:
    """A field that was added after others; at its default it changes no identity.

    Parameters
    ----------
    default : any
    since : str
        Version of the package that has it first.
    **field
        What :func:`pydantic.Field` takes.
    """
    return Field(default, json_schema_extra={"since": since}, **field)


class Config(BaseModel):
    """Frozen; refuses names it does not know and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def described(self) -> dict[str, Any]:
        """All settings as JSON holds them, but for later additions at their default."""
        found = self.model_dump(mode="json")
        for name, value in self:
            if _is_late_default(self, name):
                del found[name]
            else:
                found[name] = _described(value, found[name])
        return found

    def needs(self) -> str:
        """The first version of the package that knows these settings; "" for every version."""
        own = [_since(self, name) for name, _ in self if not _is_late_default(self, name)]
        return max([*own, *(_needs(value) for _, value in self)], key=version_numbers)


def version_numbers(version: str) -> tuple[int, ...]:
    """What versions are compared by: 0.10.1 is (0, 10, 1)."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _since(config: Config, name: str) -> str:
    extra = type(config).model_fields[name].json_schema_extra
    return str(extra.get("since", "")) if isinstance(extra, dict) else ""


def _is_late_default(config: Config, name: str) -> bool:
    field = type(config).model_fields[name]
    return bool(_since(config, name)) and getattr(config, name) == field.get_default(
        call_default_factory=True
    )


def _described(value: Any, dumped: Any) -> Any:
    if isinstance(value, Config):
        return value.described()
    if isinstance(value, tuple | list):
        return [_described(v, d) for v, d in zip(value, dumped, strict=True)]
    if isinstance(value, dict):
        return {k: _described(v, dumped[k]) for k, v in value.items()}
    return dumped


def _needs(value: Any) -> str:
    if isinstance(value, Config):
        return value.needs()
    inner = value.values() if isinstance(value, dict) else value
    if isinstance(inner, str) or not hasattr(inner, "__iter__"):
        return ""
    return max((_needs(v) for v in inner), key=version_numbers, default="")


def what_is_wrong(error: ValidationError, root: str = "") -> str:
    """All that a configuration was refused for: ``field.field: why``, behind each other.

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
