"""Experiments in the database: checked, planned whole or not at all, and removed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from pydantic import ValidationError

from pipeline.experiments import planning
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.entries import Source
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from predictive_model.recordings.recording import check_name
from regularized_training.networks.compared import compared_layers
from regularized_training.oracle_config import OracleConfig
from schemas import base, encoding, experiment, recording, tables, teaching, training
from schemas.base import now, transaction
from schemas.evaluations.base import EVALUATIONS, part_of
from schemas.imported_network import ImportedNetwork
from schemas.task_stimuli import TaskStimuli

DEFAULT_PRIORITY = 5
LONGEST_SCALE = 16  # as wide as a database's column
PRIORITIES = range(0, 256)  # the lowest comes first


def add_experiment(
    settings: ExperimentSettings, *, name: str, scale: str, priority: int = DEFAULT_PRIORITY
) -> bool:
    """Plan an experiment: everything it needs stands in the plan tables, or nothing does.

    Parameters
    ----------
    settings : ExperimentSettings
    name, scale : str
    priority : int
        Of its computations, from 0 to 255; the lowest come first.

    Returns
    -------
    bool
        False if the very same experiment was there already.

    Raises
    ------
    ExperimentError
        If a scan or the image set is missing, or another experiment has the name and scale.
    """
    check_name(name)
    if len(scale) > LONGEST_SCALE:
        raise ExperimentError(
            f"scale: {scale!r} has {len(scale)} characters, expected at most {LONGEST_SCALE}; "
            f"rename the table [scales.{scale}]"
        )
    _check_priority(priority)
    key = {"experiment": name, "scale": scale}
    settings = _with_keys_of_stimuli(settings)
    described = settings.model_dump(mode="json")
    present = (experiment.Experiment & key).to_dicts()
    if present:
        if _same(present[0]["settings"], settings):
            # What settings were chosen on may have been said since.
            experiment.Experiment.update1({**key, "settings": described})
            return False
        raise ExperimentError(
            f"experiment {name!r} at scale {scale!r} is in the database with other settings; give "
            "this one another name with --name, or remove that one with `neuroteach experiment "
            "remove`"
        )
    sources = _checked(settings)
    with transaction(experiment.Experiment.connection):
        experiment.Experiment.insert1(
            {
                **key,
                "title": settings.title,
                "settings": described,
                "added": now(),
                "added_by": base.computing().user[:64],
                "priority": priority,
            }
        )
        planning.plan(settings, key, sources)
    return True


def check_against_database(settings: ExperimentSettings) -> dict[str, list[dict[str, Any]]]:
    """Encoders of each source, if the database has all that an experiment needs.

    Raises
    ------
    ExperimentError
        If something is missing, or what is there does not do.
    """
    return _checked(_with_keys_of_stimuli(settings))


def _checked(settings: ExperimentSettings) -> dict[str, list[dict[str, Any]]]:
    check_scans(settings)
    _check_encoder(settings)
    check_shared_core(settings)
    if settings.teachers or settings.imported_networks:
        _check_images(settings)
    if settings.imported_networks:
        _check_imported(settings)
    _check_rsms(settings)
    _check_oracles(settings)
    return {name: _members_of(name, source) for name, source in settings.sources.items()}


def _with_keys_of_stimuli(settings: ExperimentSettings) -> ExperimentSettings:
    """The same, stimuli that are named being known by their keys, which names may outlive."""
    sources = {}
    for name, source in settings.sources.items():
        key = recording.StimulusName.key_of(source.stimuli)
        if key is None:
            names = ", ".join(sorted(recording.StimulusName.to_arrays("stimuli"))) or "none"
            raise ExperimentError(
                f"sources.{name}.stimuli: {source.stimuli!r} is not in the database, where stimuli "
                f"are named {names}; add images with `neuroteach import stimuli ... --name "
                f"{source.stimuli}`, or give the name of others with --stimuli"
            )
        sources[name] = source.model_copy(update={"stimuli": key})
    return settings.model_copy(update={"sources": sources})


def _same(stored: dict[str, Any], settings: ExperimentSettings) -> bool:
    """Whether what was planned means the same; settings may have been added since."""
    try:
        known = ExperimentSettings.model_validate(stored)
        return known.model_copy(update={"chosen": settings.chosen}) == settings
    except ValidationError:
        return False


def set_priority(name: str, scale: str, priority: int) -> None:
    """Have an experiment computed earlier or later; workers take note within seconds.

    Raises
    ------
    LookupError
        If there is no such experiment.
    ExperimentError
        If there is no such priority.
    """
    _check_priority(priority)
    key = Selection(name, scale).named
    experiment.Experiment.update1({**key, "priority": priority})


def _check_priority(priority: int) -> None:
    if priority not in PRIORITIES:
        raise ExperimentError(
            f"priority: {priority}, expected {PRIORITIES.start} to {PRIORITIES.stop - 1}; the "
            f"lowest comes first, {DEFAULT_PRIORITY} is usual"
        )


def remove_experiment(name: str, scale: str) -> None:
    """Forget what an experiment asks for. What was computed for it stays.

    Its waiting and failed computations are forgotten too, unless another asks for them.

    Raises
    ------
    LookupError
        If there is no such experiment.
    """
    key = Selection(name, scale).named
    with transaction(experiment.Experiment.connection):
        (experiment.Experiment & key).delete(
            transaction=False, prompt=False, part_integrity="cascade"
        )
        for table in tables.computed_tables():
            tables.forget_vanished(table())


def _check_known(table: Any, column: str, names: Sequence[str], how: str) -> None:
    known = set(table.to_arrays(column))
    if missing := [n for n in names if n not in known]:
        raise ExperimentError(
            f"{column}: {', '.join(missing)} not in the database, which has "
            f"{', '.join(sorted(known)) or 'none'}; add it with `{how}` first"
        )


def _check_rsms(settings: ExperimentSettings) -> None:
    entries = [entry for entry in settings.teachers if entry.rsm]
    _check_known(teaching.Rsm, "rsm", [e.rsm for e in entries], "neuroteach import rsm")
    sizes = (teaching.Rsm * recording.StimulusSet).proj("n_pairs", "n_images")
    for entry in entries:
        n_pairs, n = (sizes & {"rsm": entry.rsm}).fetch1("n_pairs", "n_images")
        lessons = [t.regularizer for _, v in settings.variations for t in entry.trainings(v)]
        needs_all = any(lesson and not lesson.takes_unknown_pairs for lesson in lessons)
        if needs_all and entry.kind != "gaussian" and n_pairs < n * (n - 1) // 2:
            raise ExperimentError(
                f"teachers: {entry.kind} knows {n_pairs} of the {n * (n - 1) // 2} pairs of the "
                f"RSM {entry.rsm!r}, this regularizer needs all; set method = 'rsm' in "
                "[training.regularizer]"
            )


def _check_oracles(settings: ExperimentSettings) -> None:
    """Raise an ExperimentError if the stimuli of an oracle are not images of a task."""
    for entry in settings.teachers:
        if entry.oracle is None or entry.source is None:
            continue
        try:
            TaskStimuli.task_of(settings.sources[entry.source].stimuli)
        except LookupError as error:
            raise ExperimentError(f"teachers: {entry.kind}: {error}") from error


def _check_images(settings: ExperimentSettings) -> None:
    assert settings.images is not None
    _check_known(training.ImageSet, "image_set", [settings.images], "neuroteach import images")
    key = {"image_set": settings.images}
    sizes = (training.ImageSet & key).proj("n_train", "n_test").fetch1()
    if settings.teachers and not sizes["n_train"]:
        raise ExperimentError(
            f"images: {settings.images!r} has test images alone, for imported networks; take out "
            "the teachers, or import it with its training images"
        )
    part: str
    asked: list[tuple[str, Any, str]] = []
    trainings = [config for _, _, config in settings.all_trainings]
    trainings += [
        entry.oracle.training
        for entry in settings.teachers
        if isinstance(entry.oracle, OracleConfig)
    ]
    for one in trainings:
        planning.with_digest(one, settings.images)
        part = "training without validation" if one.hold_out_validation else "training"
        asked += [("training.n_train", one.n_train, part), ("training.n_test", one.n_test, "test")]
    for name, asked_for in settings.evaluations.items():
        evaluation = EVALUATIONS[name]
        for one in asked_for:
            needed = evaluation.images_needed(one).items()
            asked += [(f"{evaluation.entry()}.{field}", n, part_of(one)) for field, n in needed]
    asked = [one for one in asked if isinstance(one[1], int)]
    there = {"training": sizes["n_train"], "test": sizes["n_test"]}
    if {part for _, _, part in asked} - set(there):
        there["validation"] = len(training.ImageSet.labels_of(key, "validation"))
        there["training without validation"] = there["training"] - there["validation"]
    for field, wanted, part in asked:
        if wanted > there[part]:
            raise ExperimentError(
                f"{field}: {wanted}, but image set {settings.images!r} has {there[part]} {part} "
                "images; lower it"
            )


def _check_imported(settings: ExperimentSettings) -> None:
    """Try each imported network with images of the set, since what cannot be had is not planned."""
    image_set = training.ImageSet & {"image_set": settings.images}
    *shape, classes = image_set.fetch1("channels", "height", "width", "classes")
    try:
        keys = ImportedNetwork.keys_of(settings.imported_networks)
    except LookupError as error:
        raise ExperimentError(str(error)) from error
    for name, key in zip(settings.imported_networks, keys, strict=True):
        imported = ImportedNetwork.load(key)
        try:
            network = imported.for_task(classes, tuple(shape), str(settings.images))
            for one in chain.from_iterable(settings.evaluations.values()):
                layer = getattr(one, "layer", None)
                if layers := getattr(one, "layers", None) or (layer and (layer,)):
                    compared_layers(imported.config, layers, built=network)
        except ValueError as error:
            raise ExperimentError(f"imported_networks: {name}: {error}") from error


def check_scans(settings: ExperimentSettings) -> None:
    """Raise an ExperimentError if a scan is missing, or lacks what its encoder needs."""
    _check_known(recording.Scan, "scan", settings.recordings, "neuroteach import scan")
    encoder = settings.encoder
    for scan in settings.recordings:
        row = (recording.Scan & {"scan": scan}).proj("has_pupil", "n_behaviour", "n_trials")
        has_pupil, n_behaviour, n_trials = row.fetch1("has_pupil", "n_behaviour", "n_trials")
        for field, lacks, what in (
            ("recordings", not n_trials, "trials, only an encoder of its neurons; leave it out"),
            (
                "encoder.shifter",
                encoder.shifter and not has_pupil,
                "pupil position; leave the shifter out",
            ),
            (
                "encoder.modulator",
                encoder.modulator and not n_behaviour,
                "behaviour; leave the modulator out",
            ),
            (
                "encoder.behaviour_channels",
                encoder.behaviour_channels and not n_behaviour,
                "behaviour; set behaviour_channels to false",
            ),
        ):
            if lacks:
                raise ExperimentError(f"{field}: scan {scan!r} has no {what}")


def _check_encoder(settings: ExperimentSettings) -> None:
    """Build each scan's encoder, since what cannot be built had better not be planned."""
    from predictive_model.encoders.encoder import Population, build_encoder

    sizes = recording.StimulusSet.proj("channels", "height", "width")
    for scan in settings.recordings:
        row = recording.Scan & {"scan": scan}
        shape = (row.proj("stimulus_set") * sizes).fetch1("channels", "height", "width")
        n_behaviour, positions = row.fetch1("n_behaviour", "cortical_positions")
        positions = np.asarray(positions)
        population = Population(
            n_neurons=len(positions) or 1,
            n_behaviour=n_behaviour,
            cortical_positions=positions if len(positions) else None,
        )
        try:
            build_encoder(settings.encoder, {"scan": population}, image_shape=shape)
        except ValueError as error:
            raise ExperimentError(f"encoder of scan {scan!r}: {error}") from error


def _members_of(name: str, source: Source) -> list[dict[str, Any]]:
    """Encoders of a source and the stimuli they speak of, by their keys."""
    known = recording.StimulusSet & {"stimulus_set": source.stimuli}
    shape = known.fetch1("channels", "height", "width")
    members = []
    for scan in source.encoders:
        keys = (encoding.FittedEncoder & {"scan": scan}).keys()
        imported = (encoding.FittedEncoder & {"scan": scan, "origin": "imported"}).keys()
        keys = imported or keys
        if len(keys) != 1:
            raise ExperimentError(
                f"sources.{name}.encoders: scan {scan!r} has {len(keys)} encoders, expected one; "
                "import one with `neuroteach import encoder`"
            )
        expected = encoding.FittedEncoder.load(keys[0]).image_shape
        if tuple(shape) != expected:
            raise ExperimentError(
                f"sources.{name}.stimuli: images of {tuple(shape)}, but the encoder of {scan!r} "
                f"takes {expected}; import them at that size"
            )
        members.append({**keys[0], "stimulus_set": source.stimuli})
    return members


def check_shared_core(settings: ExperimentSettings) -> None:
    """Raise an ExperimentError if the scans are to share a core and cannot."""
    if not settings.share_core:
        return
    from predictive_model.fits.trials import check_together

    sizes = recording.StimulusSet.proj("channels", "height", "width")
    scans = [{"scan": scan} for scan in settings.recordings]
    rows = (recording.Scan.proj("stimulus_set") * sizes & scans).to_dicts()
    shapes = sorted({(row["channels"], row["height"], row["width"]) for row in rows})
    if len(shapes) > 1:
        raise ExperimentError(
            f"share_core: the scans' images have shapes {shapes}, expected one shape; leave "
            "share_core out, or import the images at one size"
        )
    recordings = [recording.Scan.load(scan) for scan in scans]
    for r in recordings:
        n = len(r.trials_of("validation"))
        if n < 2:
            raise ExperimentError(
                f"share_core: scan {r.name!r} has {n} validation trials, expected at least 2, "
                "which say when to stop; leave it out, or import it with more"
            )
    try:
        check_together(recordings)
    except ValueError as error:
        raise ExperimentError(f"share_core: {error}") from error
