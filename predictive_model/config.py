"""Base of all configurations."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Seed = Annotated[int, Field(ge=0, lt=2**31)]  # as wide as a database's column


class Config(BaseModel):
    """Frozen; refuses names it does not know and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
