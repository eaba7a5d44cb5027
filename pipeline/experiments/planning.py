"""Fill the plan tables with what an experiment asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.experiments.content import ExperimentError
from regularized_training.teachers.config import TeacherConfig
from schemas import encoding, experiment, images, recording, similarity, training
from schemas import teacher_plan as teaching
from schemas.evaluations.base import EVALUATIONS, Asked
from schemas.imported_network import ImportedNetwork

if TYPE_CHECKING:
    from pipeline.experiments.entries import TeacherEntry
    from pipeline.experiments.file import ExperimentSettings
    from regularized_training.training_config import TrainingConfig

Members = Sequence[dict[str, Any]]
RECORDINGS, NOBODY = "the experiment's own recordings", ""  # no name of a source
SEED_OF_IMPORTED = 0  # which networks have that nobody trained here


def plan(
    settings: ExperimentSettings, key: Mapping[str, str], sources: Mapping[str, Members]
) -> None:
    """Plan an experiment, in the transaction of the caller.

    Parameters
    ----------
    settings : ExperimentSettings
    key : mapping
        Name and scale of the experiment.
    sources : mapping of str to members of a scan group
        Encoders of each source and their stimuli.
    """
    seeds = {settings.encoder_seed, *settings.seeds}
    if settings.imported_networks:
        seeds.add(SEED_OF_IMPORTED)
    _insert(experiment.Seed, [{"seed": s} for s in seeds])
    recorded = _plan_fits(settings, key)
    _insert(teaching.PredictionPlan, [dict(m) for ms in sources.values() for m in ms])
    groups = {
        name: teaching.ScanGroup.add(members, fitted=True) for name, members in sources.items()
    }
    if recorded:
        groups[RECORDINGS] = teaching.ScanGroup.add(recorded)
        _insert(similarity.StabilityPlan, [{**key, "scan_group": groups[RECORDINGS]}])
    if not settings.teachers and not settings.imported_networks:
        return
    groups[NOBODY] = teaching.ScanGroup.add([])
    trainings = _plan_trainings(settings, key, groups)
    trainings += _plan_imported(settings, key, groups[NOBODY])
    asked = Asked(trainings, settings, partial(_group_of, groups=groups))
    for name, asked_for in settings.evaluations.items():
        evaluation = EVALUATIONS[name]
        configs, rows = evaluation.rows_asked(asked_for, asked)
        _insert(evaluation.Config, configs)
        _insert(evaluation.Plan, rows)


def _insert(table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows of which some may be there, or named twice, in one statement."""
    if rows:
        table.insert(rows, skip_duplicates=True)


def _plan_fits(settings: ExperimentSettings, key: Mapping[str, str]) -> Members:
    """Plan an encoder for each recording; returns them with the images that the scans saw."""
    if not settings.recordings:
        return []
    encoder_hash = encoding.EncoderConfig.add(settings.encoder)
    fit_hash = encoding.FitConfig.add(
        settings.fit, settings.recordings if settings.share_core else ()
    )
    scans = [{"scan": scan} for scan in settings.recordings]
    shown = (recording.Scan & scans).proj("stimulus_set").to_dicts()
    stimuli = {row["scan"]: row["stimulus_set"] for row in shown}
    members = [
        dict(scan=scan, encoder_hash=encoder_hash, fit_hash=fit_hash, seed=settings.encoder_seed)
        for scan in settings.recordings
    ]
    _insert(encoding.FitPlan, [{**key, **member} for member in members])
    return [{**member, "stimulus_set": stimuli[member["scan"]]} for member in members]


def _group_of(entry: TeacherEntry, groups: Mapping[str, str]) -> str:
    if entry.kind == "none" or entry.rsm:
        return groups[NOBODY]
    return groups[RECORDINGS if entry.source is None else entry.source]


def with_digest(
    config: TrainingConfig, image_set: str, digests: Mapping[str, str]
) -> TrainingConfig:
    """The same training, which says by their content which labels it learns.

    Parameters
    ----------
    config : TrainingConfig
    image_set : str
    digests : dict of str to str
        Of its label sets, by their names.

    Raises
    ------
    ExperimentError
        If the image set has no such labels, or others than it says.
    """
    if config.labels is None:
        return config
    if config.labels not in digests:
        raise ExperimentError(
            f"training.labels: {config.labels!r} is no label set of image set {image_set!r}, which "
            f"has {', '.join(sorted(digests)) or 'none'}; add it with `neuroteach import labels`"
        )
    digest = digests[config.labels]
    if config.labels_digest not in (None, digest):
        raise ExperimentError(
            f"training.labels_digest: the labels {config.labels!r} of image set {image_set!r} are "
            "others; leave it out"
        )
    return config.model_copy(update={"labels_digest": digest})


def _plan_trainings(
    settings: ExperimentSettings, key: Mapping[str, str], groups: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Plan teachers and trainings with them, one for each variant, strength and seed."""
    assert settings.images is not None
    digests = images.LabelSet.digests(settings.images)
    teachers, networks, configs = [], [], []
    plans, trainings = [], []
    for entry in settings.teachers:
        teacher = teaching.TeacherConfig.row(entry.teacher)
        teachers.append(teacher)
        taught = {
            **key,
            "teacher_hash": teacher["teacher_hash"],
            "scan_group": _group_of(entry, groups),
        }
        plans.append(taught)
        for network, variant in settings.variations:
            network_row = training.NetworkConfig.row(entry.built(network))
            networks.append(network_row)
            for config in entry.trainings(variant):
                config_row = training.TrainingConfig.row(
                    with_digest(config, settings.images, digests)
                )
                configs.append(config_row)
                trainings += [
                    {
                        **taught,
                        "image_set": settings.images,
                        "network_hash": network_row["network_hash"],
                        "training_hash": config_row["training_hash"],
                        "seed": seed,
                    }
                    for seed in settings.seeds
                ]
    # The same teacher may be named twice, to teach in two ways.
    _insert(teaching.TeacherConfig, teachers)
    _insert(teaching.TeacherPlan, plans)
    _insert(training.NetworkConfig, networks)
    _insert(training.TrainingConfig, configs)
    _insert(training.TrainingPlan, trainings)
    return trainings


def _plan_imported(
    settings: ExperimentSettings, key: Mapping[str, str], nobody: str
) -> list[dict[str, Any]]:
    """Plan networks that others trained, as such that nobody taught here."""
    if not settings.imported_networks:
        return []
    teacher = teaching.TeacherConfig.row(TeacherConfig(kind="none"))
    taught = {**key, "teacher_hash": teacher["teacher_hash"], "scan_group": nobody}
    about = {"image_set": settings.images, "seed": SEED_OF_IMPORTED}
    keys = ImportedNetwork.keys_of(settings.imported_networks)
    networks = [{**taught, **about, **network} for network in keys]
    _insert(teaching.TeacherConfig, [teacher])
    _insert(teaching.TeacherPlan, [taught])
    _insert(training.TrainingPlan, networks)
    return networks
