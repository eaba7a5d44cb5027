"""What became of trained networks, as pandas frames: accuracy, errors, noise, attacks, layers."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pandas as pd

from pipeline.experiments.planned import planned_rows
from pipeline.results.comparisons import compared
from pipeline.results.conditions import CONDITION, numbered, what_differs
from regularized_training.teachers.config import TeacherKind
from schemas import analysis, base, recording, representation, robustness, teaching, training

TEACHER_ORDER = {kind: i for i, kind in enumerate(get_args(TeacherKind))}


def accuracy_by_epoch(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Losses and accuracies after each epoch, a row per network and epoch.

    Returns
    -------
    DataFrame
        ``train_loss`` and ``test_loss`` are cross-entropies in nats, the former that of the
        epoch's steps, with dropout, augmentation and whatever labels were shuffled. ``gap`` is
        ``test_loss`` less ``train_loss``: the generalisation error of Federer et al. 2020, who
        take the difference the other way round. Less is better.
    """
    base.require_active()
    query = training.TrainedNetwork.Epoch.proj(
        "test_loss", "train_accuracy", "test_accuracy", train_loss="task_loss"
    )
    columns = ["epoch", "train_loss", "test_loss", "train_accuracy", "test_accuracy"]
    frame = _frame(query, training.TrainingPlan, experiment, scale, columns)
    order = ["image_set", *_ORDER, "training_hash", "seed", "epoch"]
    frame = _sorted(frame, order)
    return frame.assign(gap=frame["test_loss"].astype(float) - frame["train_loss"].astype(float))


def accuracy_by_seed(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """The same after the last epoch, a row per network."""
    frame = accuracy_by_epoch(experiment, scale)
    return frame[frame["epoch"] == frame["epochs"] - 1].reset_index(drop=True)


def accuracy(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Losses and accuracies after the last epoch: mean and standard error over seeds."""
    by_seed = accuracy_by_seed(experiment, scale).drop(columns="epoch")
    return _sorted(_over_seeds(by_seed, ACCURACIES), ["image_set", *_ORDER, "setting"])


def superclass_errors_by_seed(
    experiment: str | None = None, scale: str | None = None
) -> pd.DataFrame:
    """Errors on the test images that stay within the right superclass, a row per network."""
    base.require_active()
    columns = ["within_superclass", "n_errors", "n_images"]
    query = analysis.SuperclassErrors.proj(*columns)
    frame = _frame(query, training.TrainingPlan, experiment, scale, columns)
    return frame.astype({"within_superclass": float})


def superclass_errors(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Share of the errors that stay within the right superclass: mean and SEM over seeds.

    Returns
    -------
    DataFrame
        ``n_errors`` is a total over seeds.
    """
    by_seed = superclass_errors_by_seed(experiment, scale)
    summary = _over_seeds(by_seed, ("within_superclass",), ("n_errors",))
    return _sorted(summary, ["image_set", *_ORDER, "setting"])


def activations_by_seed(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Variance of a layer's activations over the test images, a row per network and layer."""
    base.require_active()
    query = analysis.LayerActivations.proj("variance", "n_images")
    query = query * analysis.ActivationConfig.proj("layer", "n_shown")
    columns = ["layer", "variance", "n_images", "n_shown", "activation_hash"]
    frame = _frame(query, analysis.ActivationPlan, experiment, scale, columns)
    # How many images were embedded, and how, makes no difference to the variance.
    frame = frame.sort_values("n_shown", ascending=False, kind="stable")
    once = frame.drop_duplicates([*CONDITION, "seed", "layer"])
    return once.sort_index().drop(columns="n_shown").reset_index(drop=True)


def activations(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Variance of a layer's activations over the test images: mean and SEM over seeds."""
    by_seed = activations_by_seed(experiment, scale)
    by_seed = by_seed.drop(columns="activation_hash")
    return _sorted(
        _over_seeds(by_seed, ("variance",)),
        ["image_set", "layer", *_ORDER, "setting"],
    )


def noise_by_seed(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Accuracy, confidence and calibration error under noise, a row per network and level."""
    base.require_active()
    levels = robustness.NoiseAccuracy.Level * robustness.NoiseAccuracy.proj("n_images")
    query = levels * robustness.NoiseConfig.proj("noise", "clamped")
    measured = ["noise", "clamped", "level", "accuracy", "confidence", "calibration_error"]
    frame = _frame(
        query, robustness.NoisePlan, experiment, scale, [*measured, "n_images", "noise_hash"]
    )
    clamped = frame["clamped"].astype(bool)
    names = frame["noise"].where(clamped, frame["noise"] + ", not clamped")
    return frame.assign(noise_name=numbered(names, frame[["noise_hash"]]))


def noise(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Accuracy, confidence and calibration error under noise: mean and standard error over seeds.

    Returns
    -------
    DataFrame
        One row per condition, noise and level. ``noise_name`` tells noises of one kind apart;
        ``sem`` is that of the accuracy, NaN for a single seed.
    """
    by_seed = noise_by_seed(experiment, scale)
    values = ("accuracy", "confidence", "calibration_error")
    summary = _over_seeds(by_seed, values).rename(columns={"accuracy_sem": "sem"})
    order = ["image_set", "noise_name", *_ORDER, "level"]
    return _sorted(summary, order).drop(columns=["confidence_sem", "calibration_error_sem"])


def adversarial_by_seed(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Median minimal adversarial distance, a row per network and attack.

    Returns
    -------
    DataFrame
        ``attack_name`` tells attacks of one method and norm apart. ``median`` counts misclassified
        images as 0, as the paper does, ``median_correct`` leaves them out, NaN where none is
        left; both are infinite where over half of the attacks failed. ``*_low`` and ``*_high``
        are the ends of 95 % intervals from resampled images.
    """
    base.require_active()
    query = robustness.AdversarialDistance * robustness.AttackConfig.proj("method", "norm")
    medians = [
        f"{name}{end}" for name in ("median", "median_correct") for end in ("", "_low", "_high")
    ]
    counts = ["n_images", "n_misclassified", "n_failed"]
    columns = ["method", "norm", *medians, *counts, "attack_hash"]
    frame = _frame(
        query.proj("method", "norm", *medians, *counts),
        robustness.AttackPlan,
        experiment,
        scale,
        columns,
    )
    # What is infinite stands as null in the database, and so does the median of no image at all.
    none_right = frame["n_misclassified"] == frame["n_images"]
    for name in ("median", "median_correct"):
        frame[name] = frame[name].astype(float).fillna(np.inf)
    frame["median_correct"] = frame["median_correct"].mask(none_right)
    attack = frame["method"].str.replace("_", " ")
    names = numbered(attack + " " + frame["norm"], frame[["attack_hash"]])
    return frame.assign(attack_name=names)


def adversarial(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Median minimal adversarial distance: mean and standard error over seeds.

    Returns
    -------
    DataFrame
        One row per condition and attack, columns as of :func:`adversarial_by_seed`;
        ``n_misclassified`` and ``n_failed`` are totals over seeds.
    """
    by_seed = adversarial_by_seed(experiment, scale)
    totals = ("n_misclassified", "n_failed")
    values = ("median", "median_correct")
    summary = _over_seeds(by_seed, values, totals, leave_out=_INTERVALS)
    return _sorted(summary, ["image_set", "norm", "attack_name", *_ORDER])


def attack_checks(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Whether attacks on the networks can be believed, a row per network and check."""
    base.require_active()
    found = robustness.AttackChecks.Check * robustness.AttackCheckConfig.proj("n_images")
    columns = ["check_name", "passed", "found", "expected", "n_images", "attack_check_hash"]
    return _frame(found, robustness.AttackCheckPlan, experiment, scale, columns)


def layers_by_seed(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Similarity of each layer to a neural teacher on held-out stimuli, a row per network.

    Returns
    -------
    DataFrame
        ``judge`` is the brain that is compared with, and if need be the size at which the network
        sees its stimuli, ``trained`` says whether after training or
        before, ``correlation`` is that of the cosines of Eq. 9 with the teacher's similarity,
        ``alignment`` their centred kernel alignment.
    """
    base.require_active()
    found = representation.LayerSimilarity
    shown = representation.RepresentationConfig.proj(representation_config="config")
    query = found.Layer * found.proj("n_compared") * shown
    measured = ["layer_index", "layer", "trained", "correlation", "alignment", "n_compared"]
    columns = ["judge", *measured, "judge_hash", "judge_group", "representation_hash"]
    columns.append("representation_config")
    frame = _frame(query, representation.RepresentationPlan, experiment, scale, columns)
    brains = frame["judge_group"].map(_brains())
    configs = frame.pop("representation_config")
    sizes = pd.Series([_size(c) for c in configs], index=frame.index, dtype=str)
    several = sizes.groupby(brains).transform("nunique") > 1
    shown_at = ", shown at " + sizes.where(sizes != "", "its own size")
    judges = brains.where(~several, brains + shown_at)
    keys = frame[["judge_hash", "judge_group", "representation_hash"]]
    return frame.assign(judge=numbered(judges, keys))


def layers(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Similarity of each layer to a neural teacher: mean and standard error over seeds."""
    by_seed = layers_by_seed(experiment, scale)
    summary = _over_seeds(by_seed, ("correlation", "alignment"))
    return _sorted(summary, ["image_set", "judge", *_ORDER, "trained", "layer_index"])


def layer_weights(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """The learned gamma of Eq. 10 after each epoch, a row per network, epoch and layer."""
    base.require_active()
    query = training.TrainedNetwork.Epoch * training.TrainedNetwork.proj("layers")
    columns = ["epoch", "similarity_loss", "layers", "layer_weights"]
    frame = _frame(query.proj(*columns[1:]), training.TrainingPlan, experiment, scale, columns)
    frame = frame.explode(["layers", "layer_weights"]).dropna(subset=["layers"])
    frame = frame.rename(columns={"layers": "layer", "layer_weights": "weight"})
    return frame.astype({"weight": float}).reset_index(drop=True)


def differences(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Differences between conditions, paired over seeds.

    A teacher that speaks for a brain (``neural_model``, ``rsm``, ``recorded_rsm``) is compared with
    all other conditions but itself at another strength; another teacher that teaches with a ratio
    r, with no teacher at all.

    Returns
    -------
    DataFrame
        ``measure`` and ``level`` say of what: accuracy on test images, generalisation gap, share
        of errors within the superclass, variance of a layer's activations, accuracy under a noise,
        or the median adversarial distance of all and of correctly classified images, and which
        task and network if there are several. ``difference`` is the mean of ``first`` less
        ``second``, ``p`` that of a two-tailed paired t-test over ``n`` seeds, ``p_greater`` that
        of a one-tailed test that first is not greater, ``p_holm`` and ``p_greater_holm`` the same
        corrected (Holm 1979) for all comparisons of one measure at one level, ``effect`` Cohen's d
        of paired samples. Seeds with an undefined or infinite median do not count; where none is
        left, n is 0 and nothing is said.
    """
    measured = accuracy_by_seed(experiment, scale)
    frames = [
        compared(measured, "test_accuracy", "test accuracy"),
        compared(measured, "gap", "generalisation gap"),
        compared(
            superclass_errors_by_seed(experiment, scale),
            "within_superclass",
            "errors within superclass",
        ),
    ]
    varied = activations_by_seed(experiment, scale)
    frames.append(compared(varied, "variance", "variance of " + varied["layer"].astype(str)))
    noises = noise_by_seed(experiment, scale)
    frames.append(compared(noises, "accuracy", "accuracy, " + noises["noise_name"]))
    attacked = adversarial_by_seed(experiment, scale)
    for column, what in (("median", "all images"), ("median_correct", "correct images")):
        frames.append(compared(attacked, column, attacked["attack_name"] + f", {what}"))
    # Of frames without a row pandas does not know what they hold.
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else frames[0]


_TEXT = (
    *("image_set", "architecture", "teacher", "strength", "drawn", "brain", "stimulus_size"),
    *("noise", "method", "norm", "judge_group", "setting", "lesson", "layer"),
)
ACCURACIES = ("test_accuracy", "train_accuracy", "test_loss", "train_loss", "gap")
_NAMED = frozenset(  # settings that columns of their own name
    ("architecture", "width", "alpha", "ratio", "layer", "layers", "n_pairs", "n_stimuli")
    + ("stimulus_size", "epochs", "n_train", "method", "shuffled_labels")
)
_ORDER = ["shuffled_labels", "teacher", "brain", "drawn", "alpha", "compared", "n_stimuli"]
_INTERVALS = (
    "median_low",
    "median_high",
    "median_correct_low",
    "median_correct_high",
)


def _frame(
    query: Any, plan: Any, experiment: str | None, scale: str | None, columns: list[str]
) -> pd.DataFrame:
    query = (
        query
        * teaching.TeacherConfig.proj("teacher", "teacher_seed", teacher_config="config")
        * teaching.ScanGroup.proj("simulated", "scans")
        * training.TrainingConfig.proj(
            "alpha", "epochs", "n_train_used", "compared", "n_stimuli", training_config="config"
        )
        * training.NetworkConfig.proj("architecture", "network_width", network_config="config")
    )
    rows = planned_rows(query, plan, experiment, scale)
    trained = [{**row["network_config"], **row["training_config"]} for row in rows]
    lessons = [config.pop("regularizer", None) or {} for config in trained]
    said = what_differs(trained, _NAMED), what_differs(lessons, _NAMED)
    for row, lesson, *differs in zip(rows, lessons, *said, strict=True):
        row["setting"], row["lesson"] = differs
        row["stimulus_size"] = _size(lesson)
        row["shuffled_labels"] = row["training_config"].get("shuffled_labels", 0.0)
        row["strength"] = "r" if lesson.get("method") == "rsm" else "alpha"
        config = row["teacher_config"]
        row["rsm"] = config["rsm"]
        row["drawn"] = f"mean {config['mean']:g}" if config["kind"] == "gaussian" else ""
    frame = pd.DataFrame(rows)
    frame = frame.reindex(columns=[*dict.fromkeys([*CONDITION, "rsm", "seed", *columns])])
    rsm = frame.pop("rsm").fillna("")
    frame["brain"] = frame["scan_group"].map(_brains()).where(rsm == "", rsm)
    if frame.empty:  # of which pandas takes all columns for numbers
        frame = frame.astype({name: object for name in _TEXT if name in frame})
    return _sorted(frame, ["image_set", *_ORDER, "seed"])


def _size(config: dict[str, Any]) -> str:
    """Size that a configuration shows stimuli at; "" for their own."""
    return "x".join(map(str, config.get("stimulus_size") or ()))


def _brains() -> dict[str, str]:
    """Species and area of each scan group, or its scans' names where these are not known."""
    members = (teaching.ScanGroup.Member * recording.Scan.proj("species", "area")).to_dicts()
    found: dict[str, set[str]] = {}
    for member in members:
        name = f"{member['species']} {member['area']}".strip() or member["scan"]
        found.setdefault(member["scan_group"], set()).add(name)
    nobody = {group: "" for group in teaching.ScanGroup.to_arrays("scan_group")}
    return nobody | {group: ", ".join(sorted(names)) for group, names in found.items()}


def _over_seeds(
    by_seed: pd.DataFrame,
    values: tuple[str, ...],
    totals: tuple[str, ...] = (),
    leave_out: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Mean, standard error and number over seeds, for all that the other columns tell apart."""
    dropped = {"seed", *values, *totals, *leave_out}
    groups = by_seed.groupby([c for c in by_seed.columns if c not in dropped], sort=False)
    summary = {value: groups[value].mean() for value in values}
    with np.errstate(invalid="ignore"):
        summary |= {f"{value}_sem": groups[value].sem() for value in values}
    summary |= {total: groups[total].sum() for total in totals}
    summary["n_seeds"] = groups["seed"].count()
    return pd.DataFrame(summary).reset_index()


def _sorted(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    rank = frame["teacher"].map(TEACHER_ORDER)
    order = [c if c != "teacher" else "_rank" for c in columns]
    return frame.assign(_rank=rank).sort_values(order).drop(columns="_rank").reset_index(drop=True)
