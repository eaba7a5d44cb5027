"""Fill the plan tables with what an experiment asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from schemas import (
    analysis,
    encoding,
    experiment,
    prediction,
    recording,
    representation,
    robustness,
    teaching,
    training,
)

if TYPE_CHECKING:
    from pipeline.experiments.file import ExperimentSettings, TeacherEntry

Members = Sequence[dict[str, Any]]
RECORDINGS, NOBODY = "the experiment's own recordings", ""  # no name of a source


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
    experiment.Seed.insert([{"seed": s} for s in seeds], skip_duplicates=True)
    recorded = _plan_fits(settings, key)
    if not settings.teachers:
        return
    for members in sources.values():
        wanted = [dict(member) for member in members]
        prediction.PredictionPlan.insert(wanted, skip_duplicates=True)
    groups = {name: teaching.ScanGroup.add(members) for name, members in sources.items()}
    groups[RECORDINGS] = teaching.ScanGroup.add(recorded)
    groups[NOBODY] = teaching.ScanGroup.add([])
    taught = [_plan_teacher(settings, entry, key, groups) for entry in settings.teachers]
    plans = [row for rows in taught for row in rows]
    training.TrainingPlan.insert(plans)
    for noise in settings.noise:
        noise_hash = robustness.NoiseConfig.add(noise)
        robustness.NoisePlan.insert([{**row, "noise_hash": noise_hash} for row in plans])
    for attack in settings.attacks:
        attack_hash = robustness.AttackConfig.add(attack)
        robustness.AttackPlan.insert([{**row, "attack_hash": attack_hash} for row in plans])
    if settings.attack_checks is not None:
        check_hash = robustness.AttackCheckConfig.add(settings.attack_checks)
        checks = [{**row, "attack_check_hash": check_hash} for row in plans]
        robustness.AttackCheckPlan.insert(checks)
    if settings.activations is not None:
        activation_hash = analysis.ActivationConfig.add(settings.activations)
        looked_at = [{**row, "activation_hash": activation_hash} for row in plans]
        analysis.ActivationPlan.insert(looked_at)
    if settings.representation is not None:
        _plan_comparisons(settings, plans, groups)


def _plan_fits(settings: ExperimentSettings, key: Mapping[str, str]) -> Members:
    """Plan an encoder for each recording; returns them with the images that the scans saw."""
    encoder_hash = encoding.EncoderConfig.add(settings.encoder)
    fit_hash = encoding.FitConfig.add(
        settings.fit, settings.recordings if settings.share_core else ()
    )
    members = []
    for scan in settings.recordings:
        member = dict(
            scan=scan, encoder_hash=encoder_hash, fit_hash=fit_hash, seed=settings.encoder_seed
        )
        encoding.FitPlan.insert1({**key, **member})
        stimulus_set = (recording.Scan & {"scan": scan}).fetch1("stimulus_set")
        members.append({**member, "stimulus_set": stimulus_set})
    return members


def _group_of(entry: TeacherEntry, groups: Mapping[str, str]) -> str:
    if entry.kind == "none" or entry.rsm:
        return groups[NOBODY]
    return groups[RECORDINGS if entry.source is None else entry.source]


def _plan_teacher(
    settings: ExperimentSettings,
    entry: TeacherEntry,
    key: Mapping[str, str],
    groups: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Plan a teacher; returns the trainings with it, one for each alpha and seed."""
    taught = {
        **key,
        "teacher_hash": teaching.TeacherConfig.add(entry.teacher),
        "scan_group": _group_of(entry, groups),
    }
    # The same teacher may be named twice, to teach in two ways.
    teaching.TeacherPlan.insert1(taught, skip_duplicates=True)
    return [
        {
            **taught,
            "image_set": settings.images,
            "network_hash": training.NetworkConfig.add(network),
            "training_hash": training.TrainingConfig.add(config),
            "seed": seed,
        }
        for network, variant in settings.variations
        for config in entry.trainings(variant)
        for seed in settings.seeds
    ]


def _plan_comparisons(
    settings: ExperimentSettings, plans: Sequence[dict[str, Any]], groups: Mapping[str, str]
) -> None:
    """Plan to compare all networks with each neural teacher.

    Networks see the stimuli at the size at which the teacher teaches, unless another is given.
    """
    assert settings.representation is not None
    judges = {}
    for entry in settings.teachers:
        if entry.kind == "neural_model":
            for _, variant in settings.variations:
                regularizer = entry.trainings(variant)[0].regularizer
                assert regularizer is not None
                config = settings.representation
                if config.stimulus_size is None:
                    size = regularizer.stimulus_size
                    config = config.model_copy(update={"stimulus_size": size})
                judge = {
                    "judge_hash": teaching.TeacherConfig.add(entry.teacher),
                    "judge_group": _group_of(entry, groups),
                    "representation_hash": representation.RepresentationConfig.add(config),
                }
                judges[tuple(judge.values())] = judge
    representation.RepresentationPlan.insert(
        [{**row, **judge} for row in plans for judge in judges.values()]
    )
