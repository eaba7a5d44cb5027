"""Hypotheses of an experiment file: read, their conditions found, frozen, and compared later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from pipeline.experiments.entries import TeacherEntry, Variant
from predictive_model.config import Config
from regularized_training.analysis.verdicts import Direction, Test
from regularized_training.networks.config import NetworkConfig
from regularized_training.training_config import TrainingConfig

if TYPE_CHECKING:
    from pipeline.experiments.file import ExperimentSettings

NOT_FROZEN = ("title", "chosen", "hypotheses")  # of an experiment's settings: they decide no value
_WAYS = ("network", "training", "regularizer")  # tables in which entries of one kind differ
_CHOSEN = ("alpha", "batch_ratio", "variant")  # among the networks of one entry
_OF_ENTRIES = sorted(set(TeacherEntry.model_fields) - {"alphas", "batch_ratios"})


class LevelRange(Config):
    """All levels from `low` to `high`, both included."""

    low: float
    high: float

    @model_validator(mode="after")
    def _rising(self) -> LevelRange:
        if self.low > self.high:
            raise ValueError(f"low: {self.low:g} above high: {self.high:g}")
        return self


class Hypothesis(Config):
    """What is expected of two conditions, and what would count as finding it.

    Attributes
    ----------
    name : str
        Distinct in an experiment.
    measure : str
        A result that compares conditions, as ``noise``, or one of its columns,
        ``adversarial.median_correct``.
    of : dict of str to str, bool, int or float
        Which rows of it, by columns of the frame by seed: ``{ noise = "gaussian" }``.
    level : float, tuple of float or LevelRange, optional
        Means over these levels are compared; over all that are asked for, if left out.
    first, second : dict
        Conditions: the kind of a teacher, or a table with what tells an entry of ``teachers`` from
        others, and ``alpha``, ``batch_ratio`` or ``variant`` where it has several.
    direction : {"greater", "less", "different"}
        Of first beside second.
    smallest_effect : float
        The smallest difference that is of interest, in units of the measure.
    test : {"t", "wilcoxon"}
        Paired over seeds.
    alpha : float
        Error rate of the family, which all hypotheses of the file are.
    """

    name: str = Field(min_length=1, max_length=64)
    measure: str = Field(min_length=1)
    of: dict[str, str | bool | int | float] = {}
    level: float | tuple[float, ...] | LevelRange | None = None
    first: dict[str, Any]
    second: dict[str, Any]
    direction: Direction
    smallest_effect: float = Field(gt=0)
    test: Test = "t"
    alpha: float = Field(default=0.05, gt=0, lt=1)

    @field_validator("first", "second", mode="before")
    @classmethod
    def _condition(cls, value: Any) -> Any:
        found = {"kind": value} if isinstance(value, str) else value
        if isinstance(found, dict):
            if "kind" not in found:
                raise ValueError("kind: missing, expected that of a teacher of the file")
            unknown = sorted(set(found) - {*_OF_ENTRIES, *_CHOSEN})
            if unknown:
                raise ValueError(
                    f"{', '.join(unknown)}: tells no conditions apart, expected "
                    f"{', '.join([*_OF_ENTRIES, *_CHOSEN])}"
                )
        return found

    @field_validator("level")
    @classmethod
    def _levels(cls, value: Any) -> Any:
        if isinstance(value, tuple) and (not value or len(set(value)) != len(value)):
            raise ValueError(f"{list(value)}, expected at least one level, and each once")
        return value

    def chosen_levels(self, asked: Sequence[float]) -> list[float]:
        """Those of the levels that an experiment asks for whose mean is compared.

        Raises
        ------
        ValueError
            If it names one that is not among them, or none of them is in its range.
        """
        there = sorted(set(asked))
        listed = ", ".join(f"{level:g}" for level in there) or "none"
        if self.level is None:
            return there
        if isinstance(self.level, LevelRange):
            low, high = self.level.low, self.level.high
            found = [level for level in there if low <= level <= high]
            if not found:
                raise ValueError(f"level: none from {low:g} to {high:g}, the file has {listed}")
            return found
        wanted = self.level if isinstance(self.level, tuple) else (self.level,)
        if absent := [level for level in wanted if level not in there]:
            raise ValueError(f"level: {absent[0]:g}, expected one of those of the file, {listed}")
        return sorted(wanted)


Trained = tuple[TeacherEntry, NetworkConfig, TrainingConfig]


def trained(condition: Mapping[str, Any], settings: ExperimentSettings) -> Trained:
    """The teacher, network and training that a condition names.

    Of several entries that it fits, the one is taken that differs from the experiment's network and
    training in nothing but what the condition says.

    Raises
    ------
    ValueError
        If it names none, or several.
    """
    entries = [entry for entry in settings.teachers if _fits(condition, entry)]
    plain = [e for e in entries if all(getattr(e, w) == condition.get(w, {}) for w in _WAYS)]
    found = list(_chosen(condition, plain or entries, settings))
    if len(found) == 1:
        return found[0]
    shown = "; ".join(dict.fromkeys(_said(one) for one in found or _all(settings)))
    said = said_of(condition)
    if not found:
        raise ValueError(f"{said} is no condition of the file, which has {shown}")
    raise ValueError(
        f"{said} is {len(found)} conditions of the file ({shown}); say which by "
        f"{', '.join([*_WAYS, *_CHOSEN])}, or another setting of the teacher"
    )


def _fits(condition: Mapping[str, Any], entry: TeacherEntry) -> bool:
    described = entry.model_dump(mode="json")
    return all(
        _within(value, described[name]) if name in _WAYS else described[name] == value
        for name, value in condition.items()
        if name not in _CHOSEN
    )


def _within(part: Any, whole: Any) -> bool:
    if isinstance(part, Mapping) and isinstance(whole, Mapping):
        return all(name in whole and _within(value, whole[name]) for name, value in part.items())
    return bool(part == whole)


def _chosen(
    condition: Mapping[str, Any], entries: Sequence[TeacherEntry], settings: ExperimentSettings
) -> Iterator[Trained]:
    variants = settings.variants or (Variant(),)
    wanted = condition.get("variant")
    for entry in entries:
        for variant, (network, training) in zip(variants, settings.variations, strict=True):
            if wanted is not None and variant.model_dump(exclude_defaults=True) != wanted:
                continue
            for config in entry.trainings(training):
                lesson = config.regularizer
                given = {name: condition[name] for name in _CHOSEN[:2] if name in condition}
                if all(getattr(lesson, name, None) == value for name, value in given.items()):
                    yield entry, entry.built(network), config


def _all(settings: ExperimentSettings) -> list[Trained]:
    return list(_chosen({}, settings.teachers, settings))


def _said(one: Trained) -> str:
    entry, _, config = one
    said = [entry.kind]
    if config.regularizer is not None:
        ratio = getattr(config.regularizer, "batch_ratio", None)
        said.append(f"batch_ratio {ratio}" if ratio else f"alpha {config.regularizer.alpha:g}")
    if entry.source is not None:
        said.append(f"source {entry.source}")
    said += [f"{way} {json.dumps(getattr(entry, way))}" for way in _WAYS if getattr(entry, way)]
    return ", ".join(said)


def said_of(condition: Mapping[str, Any]) -> str:
    """A condition in a few words, as its file names it."""
    others = {name: value for name, value in condition.items() if name != "kind"}
    said = [f"{name} {v if isinstance(v, str) else json.dumps(v)}" for name, v in others.items()]
    return ", ".join([condition["kind"].replace("_", " "), *said])


def check_hypotheses(settings: ExperimentSettings) -> None:
    """Raise a ValueError if hypotheses do not go with the rest of an experiment file."""
    names = [one.name for one in settings.hypotheses]
    if again := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"hypotheses: {', '.join(sorted(again))} twice, expected distinct names")
    if names and not settings.teachers:
        raise ValueError("hypotheses: given, but no network is trained; add teachers")
    if names and len(settings.seeds) < 2:
        raise ValueError(
            f"hypotheses: {len(settings.seeds)} seed, expected at least 2, over which conditions "
            "are paired; add seeds, or set hypotheses = [] at this scale"
        )
    for place, one in enumerate(settings.hypotheses):
        found = []
        for which in ("first", "second"):
            try:
                found.append(trained(getattr(one, which), settings))
            except ValueError as error:
                raise ValueError(f"hypotheses.{place}.{which}: {error}") from error
        if found[0] == found[1]:
            raise ValueError(
                f"hypotheses.{place}: first and second are the same condition, "
                f"{_said(found[0])}; name another one to compare it with"
            )


# -- frozen ------------------------------------------------------------------------------------


def frozen(
    one: Hypothesis,
    settings: ExperimentSettings,
    first: Mapping[str, str],
    second: Mapping[str, str],
) -> dict[str, Any]:
    """What is kept of a hypothesis: itself, its conditions' keys, and all that decides the values.

    In JSON's types.
    """
    described = settings.model_dump(mode="json")
    return {
        "hypothesis": one.model_dump(mode="json"),
        "family": [other.name for other in settings.hypotheses],
        "experiment": _deciding(described),
        "first": dict(first),
        "second": dict(second),
    }


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of what was frozen, as canonical JSON.

    Databases may write a number otherwise, as 1e20 without its exponent; whole ones are integers.
    """
    text = json.dumps(_with_integers(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _with_integers(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: _with_integers(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_with_integers(value) for value in content]
    return int(content) if isinstance(content, float) and content.is_integer() else content


def _deciding(described: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in described.items() if name not in NOT_FROZEN}


def changed(content: Mapping[str, Any], stored_digest: str, now: Mapping[str, Any]) -> list[str]:
    """What is no longer as it was frozen; empty if all is.

    Parameters
    ----------
    content : mapping
        As of :func:`frozen`.
    stored_digest : str
        Its digest, of when it was frozen.
    now : mapping
        The experiment's settings, as they are in the database.
    """
    found = [] if digest(content) == stored_digest else ["what was frozen (digest)"]
    then = content["hypothesis"]
    others = {one["name"]: one for one in now.get("hypotheses", ())}
    mine = others.get(then["name"])
    if mine is None:
        found.append("hypothesis taken out")
    else:
        names = [name for name in then if then[name] != mine.get(name)]
        found += [f"{name} {_short(then[name])}, now {_short(mine.get(name))}" for name in names]
    if set(content["family"]) != set(others) and mine is not None:
        found.append(f"hypotheses {', '.join(content['family'])}, now {', '.join(others)}")
    before, after = content["experiment"], _deciding(now)
    names = [n for n in {**before, **after} if before.get(n) != after.get(n)]
    if names:
        before, after = _in_full(before), _in_full(after)
    for name in names:
        if before.get(name) != after.get(name):
            short = name in ("seeds", "images")
            values = f" {_short(before.get(name))}, now {_short(after.get(name))}" if short else ""
            found.append(name + values)
    return found


def _in_full(described: Mapping[str, Any]) -> dict[str, Any]:
    """The same with settings that a later version has added, at their defaults."""
    from pipeline.experiments.file import ExperimentSettings  # which imports this module

    try:
        settings = ExperimentSettings.model_validate({"title": "-", **described})
    except ValidationError:
        return dict(described)
    return _deciding(settings.model_dump(mode="json"))


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
