"""Experiment files: what to compute, read from TOML and checked without a database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from pipeline.experiments.content import ExperimentError, merged, with_extended, with_recipe
from pipeline.experiments.entries import Source, TeacherEntry, Variant
from pipeline.experiments.hypotheses import Hypothesis, check_hypotheses
from predictive_model.config import Config, Seed, what_is_wrong
from predictive_model.encoders.config import EncoderConfig
from predictive_model.fits.config import FitConfig
from regularized_training.networks.calls import require_network
from regularized_training.networks.compared import compared_layers
from regularized_training.networks.config import NetworkConfig
from regularized_training.oracle_config import OracleConfig
from regularized_training.tasks.config import ImagePart
from regularized_training.teachers.config import (
    OF_TRIALS,
)
from regularized_training.teachers.kinds import ORACLE, TEACHERS, says_of
from regularized_training.training_config import TrainingConfig
from schemas import tables
from schemas.configurations import config_hash
from schemas.evaluations.base import EVALUATIONS, LEARNED, Evaluation, part_of

_NOT_OF_ORACLES = ("regularizer", "labels", "labels_digest")  # of the settings of training


class ExperimentSettings(Config):
    """What to compute.

    Attributes
    ----------
    title : str
    recordings : tuple of str
        Names of scans, whose similarity is averaged. May be empty if every teacher has a source.
    sources : dict of str to Source
        Encoders that are not fitted here.
    images : str, optional
        Name of the image set the networks learn. Without teachers, only encoders are fitted.
    encoder, fit, encoder_seed
        How each scan's encoder is built and fitted.
    share_core : bool
        Fit all scans together, with one core.
    teachers : tuple of TeacherEntry
        A plain string is the kind of a teacher.
    network, training, seeds
        Trained once for each teacher, alpha and seed. ``training.regularizer`` is left out for the
        teacher ``none``.
    imported_networks : tuple of str
        Names of networks that others trained, of which is asked what is asked of ours. Of them
        alone an experiment needs neither teachers, nor training, nor seeds.
    variants : tuple of Variant
        Train all of these with each variant of network and training, instead of as they are.
    chosen : dict of str to {"test", "validation"}
        Settings that were chosen by what networks did, such as ``alpha``, and on which part of
        the images. It changes nothing but what is said beside every result of the experiment.
    hypotheses : tuple of Hypothesis
        What is expected of its conditions, frozen when it is added. In a file each has a table
        ``[[hypotheses]]``.
    evaluations : dict of str to tuple of Config
        What is asked of every network, by the evaluation's name. In a file each has a table of its
        own, or a list of tables: ``[noise]``, ``[[attacks]]``, ``[attack_checks]``,
        ``[representation]``, ``[activations]``, and those of installed packages.
    """

    title: str = Field(min_length=1, max_length=255)
    recordings: tuple[str, ...] = ()
    sources: dict[str, Source] = {}
    images: str | None = None
    encoder: EncoderConfig = EncoderConfig()
    fit: FitConfig = FitConfig()
    encoder_seed: Seed = 0
    share_core: bool = False
    teachers: tuple[TeacherEntry, ...] = ()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig | None = None
    seeds: tuple[Seed, ...] = ()
    imported_networks: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()
    chosen: dict[Annotated[str, Field(min_length=1, max_length=64)], ImagePart] = {}
    hypotheses: tuple[Hypothesis, ...] = ()
    evaluations: dict[str, tuple[Any, ...]] = {}

    @field_validator("teachers", mode="before")
    @classmethod
    def _kinds(cls, value: Any) -> Any:
        if isinstance(value, Sequence) and not isinstance(value, str):
            return tuple({"kind": t} if isinstance(t, str) else t for t in value)
        return value

    @model_validator(mode="before")
    @classmethod
    def _oracles(cls, content: Any) -> Any:
        """An oracle is built and trained as the networks are, but for what it says itself.

        It learns the right labels, also where they do not.
        """
        if not isinstance(content, dict) or not isinstance(content.get("teachers"), list | tuple):
            return content
        network, training = content.get("network", {}), content.get("training", {})
        if not (isinstance(network, dict) and isinstance(training, dict)):
            return content
        rest = {
            "network": network,
            "training": {k: v for k, v in training.items() if k not in _NOT_OF_ORACLES},
        }

        def with_oracle(entry: Any) -> Any:
            if not isinstance(entry, dict) or entry.get("kind") != ORACLE:
                return entry
            own = entry.get("oracle")
            return entry | {"oracle": merged(rest, own if isinstance(own, dict) else {})}

        return content | {"teachers": [with_oracle(entry) for entry in content["teachers"]]}

    @model_validator(mode="before")
    @classmethod
    def _tables_of_evaluations(cls, content: Any) -> Any:
        """Gather the tables that belong to evaluations."""
        if not isinstance(content, dict) or "evaluations" in content:
            return content
        rest = dict(content)
        asked = {}
        for entry, evaluation in evaluations_by_entry().items():
            found = _settings_of(evaluation, rest.pop(entry, None), entry in content)
            if found:
                asked[evaluation.evaluation] = found
        unknown = sorted(set(rest) - set(cls.model_fields))
        if unknown:
            entries = sorted(evaluations_by_entry())
            known = ", ".join([*(n for n in cls.model_fields if n != "evaluations"), *entries])
            raise ValueError(
                f"{', '.join(unknown)}: no such setting, nor the table of an evaluation that is "
                f"installed; expected {known}"
            )
        return rest | {"evaluations": asked}

    @model_serializer(mode="wrap")
    def _as_in_a_file(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        described: dict[str, Any] = dump(self)
        if not described.get("hypotheses", True):  # of an earlier version there are none
            del described["hypotheses"]
        if described.pop("evaluations", None) is None:  # left out by whoever dumps it
            return described
        for entry, evaluation in evaluations_by_entry().items():
            found = [s.described() for s in self.evaluations.get(evaluation.evaluation, ())]
            assert evaluation.settings is not None
            if evaluation.settings.several:
                described[entry] = found
            elif found:
                described[entry] = found[0]
        return described

    @field_validator("recordings", "seeds", "teachers", "variants", "imported_networks")
    @classmethod
    def _distinct(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        described = [v.model_dump_json() if isinstance(v, Config) else v for v in value]
        if len(set(described)) != len(described):
            raise ValueError("expected distinct values")
        return value

    @property
    def all_trainings(self) -> list[tuple[TeacherEntry, NetworkConfig, TrainingConfig]]:
        """Each teacher with each network and each way in which that is trained."""
        return [
            (entry, entry.built(network), config)
            for entry in self.teachers
            for network, variant in self.variations
            for config in entry.trainings(variant)
        ]

    @property
    def networks(self) -> list[NetworkConfig]:
        """Every network that is trained, once."""
        every = [entry.built(one) for entry in self.teachers for one, _ in self.variations]
        return list({config_hash(network): network for network in every}.values())

    @model_validator(mode="after")
    def _complete(self) -> ExperimentSettings:
        needed = {"images": self.images, "training": self.training, "seeds": self.seeds}
        missing = [name for name, value in needed.items() if not value]
        if self.teachers and missing:
            raise ValueError(
                f"{', '.join(missing)}: missing, but networks are to be taught; give them, or "
                "leave out teachers to fit encoders only"
            )
        if self.imported_networks and not self.images:
            raise ValueError("images: missing, but imported networks are to be tested; give them")
        if not self.recordings and not self.teachers and not self.imported_networks:
            raise ValueError(
                "recordings: none, expected scans to fit encoders to, teachers, or "
                "imported_networks"
            )
        if self.variants and not self.teachers:
            raise ValueError("variants: given, but no network is trained; add teachers")
        for network, training in self.variations if self.teachers else ():
            for entry in self.teachers:
                built = entry.built(network)
                require_network(built)
                self._check_teacher(entry, built, training)
        self._check_distinct_trainings()
        held_out = all(training.hold_out_validation for _, _, training in self.all_trainings)
        for name, settings in self.evaluations.items():
            if "validation" in map(part_of, settings):
                if not held_out:
                    raise ValueError(f"{EVALUATIONS[name].entry()}.{LEARNED}")
                if self.imported_networks:
                    raise ValueError(
                        f"{EVALUATIONS[name].entry()}.part: validation, but imported networks may "
                        "have learned these images; take the test part"
                    )
            EVALUATIONS[name].check(settings, self)
        check_hypotheses(self)
        return self

    @property
    def variations(self) -> list[tuple[NetworkConfig, TrainingConfig]]:
        """Networks and how they are trained: as they are, or one pair for each variant.

        Raises
        ------
        ValueError
            If a variant has a setting that cannot work.
        """
        if self.training is None:
            return []
        found = []
        for i, variant in enumerate(self.variants or (Variant(),)):
            network = merged(self.network.model_dump(), variant.network)
            training = merged(self.training.model_dump(), variant.training)
            try:
                pair = (
                    NetworkConfig.model_validate(network),
                    TrainingConfig.model_validate(training),
                )
            except ValidationError as error:
                raise ValueError(f"variants.{i}: {what_is_wrong(error)}") from error
            found.append(pair)
        return found

    def with_stimuli(self, key: str) -> ExperimentSettings:
        """The same, all sources speaking of other stimuli.

        Raises
        ------
        ExperimentError
            If there are no sources.
        """
        if not self.sources:
            raise ExperimentError(
                "stimuli: given, but no teacher has a source of imported encoders; scans teach "
                "with the images that they saw"
            )
        sources = {
            name: Source(encoders=s.encoders, stimuli=key) for name, s in self.sources.items()
        }
        return self.model_copy(update={"sources": sources})

    def _check_distinct_trainings(self) -> None:
        seen = set()
        for entry, network, config in self.all_trainings:
            described = (
                config_hash(network),
                entry.teacher.model_dump_json(),
                entry.source,
                config.model_dump_json(),
            )
            if described in seen:
                lesson = config.regularizer
                weight = lesson and f" with alpha {lesson.alpha:g}"
                if entry.batch_ratios and lesson is not None:
                    weight = f" with batch ratio {lesson.batch_ratio}"
                raise ValueError(
                    f"teachers: {entry.kind} teaches twice in the same way{weight or ''}; "
                    "leave one out, or the variant that makes no difference to it"
                )
            seen.add(described)

    def _check_teacher(
        self, entry: TeacherEntry, network: NetworkConfig, training: TrainingConfig
    ) -> None:
        if entry.source is not None and entry.source not in self.sources:
            raise ValueError(
                f"teachers: {entry.kind} has the source {entry.source!r}, expected one of "
                f"{', '.join(self.sources) or 'none, as there is no table [sources.NAME]'}"
            )
        for config in entry.trainings(training):
            if config.distorted is not None:
                compared_layers(network, (config.distorted.layer,))
        if isinstance(entry.oracle, OracleConfig):
            compared_layers(entry.oracle.network, (entry.oracle.layer,))
        if entry.kind == "none":
            if entry.alphas or entry.batch_ratios:
                raise ValueError(
                    "teachers: none has alphas or batch_ratios, but nobody teaches; leave them out"
                )
            return
        if entry.kind == ORACLE and entry.source is None:
            raise ValueError(
                f"teachers: {ORACLE} needs a source whose stimuli are images of the task; give it "
                "one, and make them with `neuroteach import stimuli --from-images`"
            )
        TEACHERS.require(entry.kind)
        rsm = bool(entry.rsm)
        if rsm and entry.source is not None:
            raise ValueError(
                f"teachers: {entry.kind} has the source {entry.source!r}, but speaks of the "
                "stimuli of its RSM; leave out the source"
            )
        if not rsm and entry.source is None and not self.recordings:
            raise ValueError(
                f"teachers: {entry.kind} needs recordings or a source; give it one of them"
            )
        if entry.source is not None and entry.kind in OF_TRIALS:
            raise ValueError(
                f"teachers: {entry.kind} needs recorded trials, which the source "
                f"{entry.source!r} has not; leave out its source to use the recordings"
            )
        if training.regularizer is None and not entry.regularizer:
            raise ValueError(
                f"training.regularizer: teacher {entry.kind!r} needs one; add a table "
                "[training.regularizer]"
            )
        for config in entry.trainings(training):
            assert config.regularizer is not None
            config.regularizer.check_says(entry.kind, says_of(entry.kind))
            config.regularizer.check_centred(entry.kind, entry.teacher.is_centred)
            compared_layers(network, config.regularizer.layers)


def evaluations_by_entry() -> dict[str, type[Evaluation]]:
    """Evaluations that have settings, by their table in an experiment file."""
    tables.load()
    return {e.settings.entry: e for e in EVALUATIONS.values() if e.settings is not None}


def _settings_of(evaluation: type[Evaluation], content: Any, mentioned: bool) -> tuple[Config, ...]:
    """Settings of an evaluation from what stands in its table of an experiment file."""
    settings = evaluation.settings
    assert settings is not None
    if content is None:
        return () if mentioned or not settings.default else (settings.load()(),)
    listed = isinstance(content, list | tuple)
    if listed and not settings.several:
        raise ValueError(f"{settings.entry}: a list, expected one table [{settings.entry}]")
    found = []
    for place, one in enumerate(content if listed else [content]):
        root = f"{settings.entry}.{place}" if listed else settings.entry
        try:
            found.append(settings.load().model_validate(one))
        except ValidationError as error:
            raise ValueError(what_is_wrong(error, root)) from error
    described = [one.model_dump_json() for one in found]
    if len(set(described)) != len(described):
        raise ValueError(f"{settings.entry}: expected distinct values")
    return tuple(found)


def read_experiment(path: Path | str, scale: str, **changes: Any) -> ExperimentSettings:
    """Read an experiment file at one scale.

    The table ``scales.SCALE`` of the file overrides what stands outside of ``scales``, key by key.
    ``extends`` names another experiment file beside it, whose content the file's overrides
    likewise, scales and all; lists are replaced whole. ``recipe`` names a published model, whose
    ``encoder`` and ``fit`` the file's override. A file of weights is looked for beside the file
    that names it.

    Parameters
    ----------
    path : Path or str
    scale : str
        One of the file's scales.
    **changes
        Values for ``recordings``, ``images`` and other fields, instead of the file's.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ExperimentError
        If it is not TOML, lacks the scale, or holds a setting that cannot work.
    """
    path = Path(path)
    content = with_extended(path)
    scales = content.pop("scales", {})
    if not scales:
        raise ExperimentError(
            f"{path}: has no scale; add a table [scales.{scale}], which may be empty"
        )
    if not isinstance(scales, dict) or scale not in scales:
        raise ExperimentError(f"{path}: scale {scale!r} is not among {sorted(scales)}")
    if not isinstance(scales[scale], dict):
        raise ExperimentError(f"{path}: scales.{scale} is no table; write [scales.{scale}]")
    whole = with_recipe(merged(merged(content, scales[scale]), changes), path)
    try:
        return ExperimentSettings.model_validate(whole)
    except ValidationError as error:
        raise ExperimentError(f"{path}, scale {scale}: {what_is_wrong(error)}") from error


def scales_of(path: Path | str) -> list[str]:
    """Names of an experiment file's scales, in its order.

    Raises
    ------
    FileNotFoundError, ExperimentError
        If there is no such file, or it is not TOML.
    """
    scales = with_extended(Path(path)).get("scales", {})
    return list(scales) if isinstance(scales, dict) else []
