"""Fill the plan tables with what an experiment asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.experiments.content import ExperimentError
from pipeline.experiments.hypotheses import digest, frozen, trained
from regularized_training.teachers.config import TeacherConfig
from schemas import encoding, experiment, images, recording, similarity, training
from schemas import teacher_plan as teaching
from schemas.base import now
from schemas.configurations import config_hash
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
    _freeze(settings, key, groups)


def _freeze(
    settings: ExperimentSettings, key: Mapping[str, str], groups: Mapping[str, str]
) -> None:
    """Keep the hypotheses of an experiment as they are now."""
    moment = now()
    rows = []
    for place, one in enumerate(settings.hypotheses):
        keys = [condition_key(each, settings, groups) for each in (one.first, one.second)]
        content = frozen(one, settings, *keys)
        row = {"hypothesis": one.name, "place": place, "content": content}
        rows.append({**key, **row, "digest": digest(content), "frozen": moment})
    _insert(experiment.Hypothesis, rows)


def condition_key(
    condition: Mapping[str, Any], settings: ExperimentSettings, groups: Mapping[str, str]
) -> dict[str, str]:
    """The key of the trained networks of a condition, but for their seed.

    Parameters
    ----------
    condition : mapping
        As hypotheses name it.
    settings : ExperimentSettings
    groups : mapping of str to str
        As of :func:`groups_of`.

    Raises
    ------
    ValueError
        If the experiment has no such condition, or several.
    """
    entry, network, config = trained(condition, settings)
    assert settings.images is not None
    digests = images.LabelSet.digests(settings.images) if config.labels else {}
    return {
        "image_set": settings.images,
        "network_hash": config_hash(network),
        "teacher_hash": config_hash(entry.teacher),
        "scan_group": _group_of(entry, groups),
        "training_hash": config_hash(with_digest(config, settings.images, digests)),
    }


def groups_of(settings: ExperimentSettings, sources: Mapping[str, Members]) -> dict[str, str]:
    """Keys of the scan groups of each source, of the recordings and of nobody."""
    groups = {name: teaching.ScanGroup.key_of(members)[0] for name, members in sources.items()}
    if settings.recordings:
        groups[RECORDINGS] = teaching.ScanGroup.key_of(_recorded_members(settings))[0]
    return groups | {NOBODY: teaching.ScanGroup.key_of([])[0]}


def _insert(table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows of which some may be there, or named twice, in one statement."""
    if rows:
        table.insert(rows, skip_duplicates=True)


def _plan_fits(settings: ExperimentSettings, key: Mapping[str, str]) -> Members:
    """Plan an encoder for each recording; returns them with the images that the scans saw."""
    if not settings.recordings:
        return []
    encoding.EncoderConfig.add(settings.encoder)
    encoding.FitConfig.add(settings.fit, settings.recordings if settings.share_core else ())
    members = _recorded_members(settings)
    names = ("scan", "encoder_hash", "fit_hash", "seed")
    rows = [{**key, **{name: member[name] for name in names}} for member in members]
    _insert(encoding.FitPlan, rows)
    return members


def _recorded_members(settings: ExperimentSettings) -> Members:
    """The encoder of each recording, with the images that the scans saw."""
    sharing = settings.recordings if settings.share_core else ()
    scans = [{"scan": scan} for scan in settings.recordings]
    shown = (recording.Scan & scans).proj("stimulus_set").to_dicts()
    stimuli = {row["scan"]: row["stimulus_set"] for row in shown}
    about = {
        "encoder_hash": config_hash(settings.encoder),
        "fit_hash": encoding.FitConfig.key_of(settings.fit, sharing),
        "seed": settings.encoder_seed,
    }
    return [{"scan": scan, **about, "stimulus_set": stimuli[scan]} for scan in settings.recordings]


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
