"""Search space: which settings a search may choose, of an encoder or of a network."""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from types import NoneType
from typing import Annotated, Any, get_args

from pydantic import (
    Discriminator,
    Field,
    StrictFloat,
    StrictInt,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from predictive_model.config import Config, what_is_wrong

Number = StrictInt | StrictFloat
# Settings that are not searched, by the first word of their dotted names.
Roots = Mapping[str, Config]


class Choices(Config):
    """One of some values, in no order; tables and ``"none"``, where a setting may be absent, too.

    Examples
    --------
    >>> Choices(choices=("none", {"kind": "affine"})).choices
    ('none', {'kind': 'affine'})
    """

    choices: tuple[Any, ...] = Field(min_length=2)

    @field_validator("choices")
    @classmethod
    def _distinct(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len({json.dumps(choice, sort_keys=True) for choice in value}) < len(value):
            raise ValueError("expected distinct values")
        return value


class Range(Config):
    """A number from ``low`` up to and with ``high``; whole where the setting is.

    With ``log`` its logarithm is what is drawn from, with ``step`` only ``low``, ``low + step`` ...

    Examples
    --------
    >>> Range(low=1e-3, high=1e-2, log=True).high
    0.01
    """

    low: Number
    high: Number
    log: bool = False
    step: Number | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _not_empty(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low}, expected less than high, {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}, expected more than 0, since log is true")
        if self.step is not None:
            if self.log:
                raise ValueError("step: expected none, since log is true")
            steps = (self.high - self.low) / self.step
            if abs(steps - round(steps)) > 1e-9 * steps:
                raise ValueError(
                    f"high is {self.high}, expected a whole number of steps of {self.step} above "
                    f"low, {self.low}"
                )
        return self


def _kind(value: Any) -> str:
    """Which of the two a table in a file is."""
    is_choices = isinstance(value, Choices) or (isinstance(value, Mapping) and "choices" in value)
    return "choices" if is_choices else "range"


Dimension = Annotated[
    Annotated[Choices, Tag("choices")] | Annotated[Range, Tag("range")], Discriminator(_kind)
]


def check_space(
    space: Mapping[str, Choices | Range],
    roots: Roots,
    build: Callable[[Mapping[str, Any]], Any] | None = None,
) -> None:
    """Refuse a space that holds settings which are unknown or impossible.

    Parameters
    ----------
    space : mapping of str to Choices or Range
        By dotted names of settings, for instance ``encoder.core.layers``.
    roots : mapping of str to Config
        All other settings, by the first word of their names: ``encoder``.
    build : callable, optional
        Called with points of the space; a ValueError says why one cannot work. By default
        :func:`configs_at`.

    Raises
    ------
    ValueError
        If a name is unknown, lies within another of the space, or has no such range; or if the
        ends of two dimensions do not go together. The message names them.
    """
    for name, dimension in space.items():
        _check_dimension(name, dimension, roots)
        inside = [other for other in space if name.startswith(other + ".")]
        if inside:
            raise ValueError(f"{name}: lies within {inside[0]}, which is searched too; drop one")
    for corner, varied in _corners(space):
        try:
            configs_at(corner, roots)
            if build is not None:
                build(corner)
        except ValueError as error:
            at = ", ".join(f"{name} = {json.dumps(corner[name])}" for name in varied)
            raise ValueError(f"{at}: {error}") from error


def _check_dimension(name: str, dimension: Choices | Range, roots: Roots) -> None:
    types = _types_of(name, roots)
    if isinstance(dimension, Choices):
        return  # the settings themselves say which values they take
    if is_whole(name, roots):
        bounds = {"low": dimension.low, "high": dimension.high, "step": dimension.step}
        for field, value in bounds.items():
            if isinstance(value, float):
                raise ValueError(f"{name}: {field} is {value}, expected a whole number")
    elif float not in types:
        raise ValueError(f"{name}: a range, but it is no number; write choices = [...]")


def is_whole(name: str, roots: Roots) -> bool:
    """Whether a setting is a whole number."""
    return int in _types_of(name, roots)


def _types_of(name: str, roots: Roots) -> tuple[Any, ...]:
    """Types that a setting may have.

    Raises
    ------
    ValueError
        If there is no such setting.
    """
    root, *path = name.split(".")
    known: list[str] = list(roots)
    found: Any = roots.get(root)
    types: tuple[Any, ...] = () if found is None else (type(found),)
    for depth, part in enumerate(path):
        # What is there decides, such as a lesson, which has settings of its own.
        if isinstance(found, Config):
            types = (type(found),)
        tables = [t for t in types if isinstance(t, type) and issubclass(t, Config)]
        if not tables:
            types = ()
            break
        fields = tables[0].model_fields
        known = [".".join([root, *path[:depth], field]) for field in fields]
        types = _alternatives(fields[part].annotation) if part in fields else ()
        found = getattr(found, part) if part in fields and found is not None else None
    if not types or not path:
        near = difflib.get_close_matches(name, known, 1) if path else []
        expected = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise ValueError(f"{name}: no such setting; {expected}")
    return types


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    arguments = get_args(annotation)
    return arguments if NoneType in arguments else (annotation,)


def _corners(
    space: Mapping[str, Choices | Range],
) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """Ends of each two dimensions, all others at their first; with the names of the two.

    Settings that exclude each other come in pairs, and all corners would be too many.
    """
    ends = {
        name: list(d.choices) if isinstance(d, Choices) else [d.low, d.high]
        for name, d in space.items()
    }
    first = {name: values[0] for name, values in ends.items()}
    if len(ends) == 1:
        ((name, values),) = ends.items()
        yield from (({name: value}, (name,)) for value in values)
    for a, b in itertools.combinations(ends, 2):
        yield from ((first | {a: x, b: y}, (a, b)) for x in ends[a] for y in ends[b])


def configs_at(point: Mapping[str, Any], roots: Roots) -> dict[str, Any]:
    """All settings at one point of a space, by the first word of their names.

    Parameters
    ----------
    point : mapping of str to value
        By dotted names; ``"none"`` leaves out what may be left out.
    roots : mapping of str to Config
        All other settings.

    Raises
    ------
    ValueError
        If a value cannot work.

    Examples
    --------
    >>> from predictive_model.encoders.config import EncoderConfig
    >>> configs_at({"encoder.core.layers": 2}, {"encoder": EncoderConfig()})["encoder"].core.layers
    2
    """
    content = {root: config.model_dump() for root, config in roots.items()}
    for name, value in point.items():
        *path, last = name.split(".")
        table: dict[str, Any] = content
        for part in path:
            if table[part] is None:  # one of its settings is searched, so it is there
                table[part] = {}
            table = table[part]
        table[last] = None if value == "none" and NoneType in _types_of(name, roots) else value
    return {root: _validated(root, type(roots[root]), content[root]) for root in roots}


def _validated(root: str, kind: type[Config], content: dict[str, Any]) -> Config:
    try:
        # Strict, so that a choice of "3" is no number; as JSON, where lists stand for tuples, since
        # neither TOML nor the database has tuples.
        return kind.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        raise ValueError(what_is_wrong(error, root)) from error
