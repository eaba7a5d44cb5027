"""Base of all configurations."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Seed = Annotated[int, Field(ge=0, lt=2**31)]  # as wide as a database's column


class Config(BaseModel):
    """Frozen; refuses names it does not know and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def what_is_wrong(error: ValidationError, root: str = "") -> str:
    """All that a configuration was refused for: ``field.field: why``, behind each other.

    Which of several alternatives a field was read as is left out.
    """
    return "; ".join(
        ".".join(filter(None, [root, *(str(p) for p in e["loc"] if not str(p).endswith("Config"))]))
        + f": {e['msg'].removeprefix('Value error, ')}"
        for e in error.errors(include_url=False, include_input=False)
    )
