"""Robustness beside networks without a teacher, and what explains it: Safarani et al. 2021."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.evaluations.neural_prediction import neural_prediction_by_seed
from pipeline.evaluations.noise import noise_by_seed
from pipeline.experiments.selection import Selection
from pipeline.figures.curves import STARS, dots, height, styled
from pipeline.figures.drawing import legend_below, new_figure, with_caveat
from pipeline.results.conditions import CONDITION, HASHES, settings
from pipeline.results.frames import ORDER, over_seeds, sort_frame
from pipeline.results.registry import Compared, Drawing, NothingToShowError, Result, register
from pipeline.results.rows import read_rows
from pipeline.results.tables import summary_table
from schemas import training
from schemas.configurations import config_hash

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What has to be alike in a network and in those that it is measured by.
ALIKE = ["image_set", "network_hash", "alike"]
NETWORK = ["image_set", *HASHES, "seed"]
OF_REGRESSION = [
    *("image_set", "architecture", "network_width"),
    *("teacher", "distorted", "brain", "judge"),
]
FACTORS = ("clean_accuracy", "prediction")


def robustness_by_seed(selection: Selection) -> pd.DataFrame:
    """Robustness score of Safarani et al. 2021, of noise, a row per network.

    The score is the mean over kinds of noise c of A_c / A_c(baseline), A_c being the mean accuracy
    over the levels of a kind above 0. The baseline is the mean over seeds of networks without a
    teacher that are trained in the same way and have learned clean images alone.

    Returns
    -------
    DataFrame
        ``robustness`` is missing where nothing of the kind was trained without a teacher, or not
        all kinds of noise were tried yet. ``clean_accuracy`` is that on test images without noise.
        ``alike`` is a hash of how a network is trained, but for teacher and distorted images.
    """
    frame = noise_by_seed(selection)
    frame = frame[(frame["part"] == "test") & (frame["level"] > 0)]
    frame = frame.assign(alike=frame["training_hash"].map(_trained_alike()).astype(object))
    kinds = frame.groupby(ALIKE)["noise_name"].nunique().rename("n_kinds").reset_index()
    of_kind = frame.groupby([*NETWORK, "noise_name"], sort=False)["accuracy"].mean().reset_index()
    about = frame[[*dict.fromkeys([*CONDITION, "seed", "alike"])]].drop_duplicates(NETWORK)
    of_kind = of_kind.merge(about, on=NETWORK)
    plain = of_kind[(of_kind["teacher"] == "none") & (of_kind["distorted"] == "")]
    baseline = plain.groupby([*ALIKE, "noise_name"])["accuracy"].mean().rename("baseline")
    beside = of_kind.merge(baseline.reset_index(), on=[*ALIKE, "noise_name"], how="left")
    beside["robustness"] = beside["accuracy"] / beside["baseline"]
    scores = beside.groupby(NETWORK, sort=False)["robustness"].agg(["mean", "count"]).reset_index()
    found = about.merge(scores, on=NETWORK).merge(kinds, on=ALIKE)
    found["robustness"] = found["mean"].where(found["count"] == found["n_kinds"])
    clean = read_rows(training.TrainedNetwork, ["test_accuracy"])
    clean = clean.rename(columns={"test_accuracy": "clean_accuracy"})
    found = found.merge(clean[[*NETWORK, "clean_accuracy"]], on=NETWORK)
    found = found.drop(columns=["mean", "count", "n_kinds"])
    return sort_frame(found, ["image_set", *ORDER, "seed"])


def _trained_alike() -> dict[str, str]:
    """Of each training, a hash of its settings but for teacher and distorted images."""
    rows = read_rows(training.TrainingConfig, ["config"])
    without = [
        {name: value for name, value in config.items() if name not in ("regularizer", "distorted")}
        for config in rows["config"]
    ]
    return dict(zip(rows["training_hash"], map(config_hash, without), strict=True))


def robustness(selection: Selection) -> pd.DataFrame:
    """Robustness score and accuracy without noise: mean and standard error over seeds."""
    by_seed = robustness_by_seed(selection).drop(columns="alike")
    summary = over_seeds(by_seed, ["robustness", "clean_accuracy"])
    return sort_frame(summary, ["image_set", *ORDER, "setting"])


def robustness_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each condition: mean ± SEM over seeds."""
    table = summary_table(frame, {"robustness": "{:.3f}", "clean_accuracy": "{:.3f}"})
    return table.rename(columns={"clean_accuracy": "accuracy without noise"})


def robustness_and_prediction(selection: Selection) -> pd.DataFrame:
    """Robustness score, accuracy without noise and neural prediction, a row per network and judge.

    Returns
    -------
    DataFrame
        ``prediction`` is the correlation that ``neural-prediction`` has, of the ``judge``.
    """
    predicted = neural_prediction_by_seed(selection).rename(columns={"correlation": "prediction"})
    frame = robustness_by_seed(selection)
    return frame.merge(predicted[[*NETWORK, "judge", "prediction"]], on=NETWORK)


def robustness_regression(selection: Selection) -> pd.DataFrame:
    """Two-factor regression of robustness on accuracy without noise and on neural prediction.

    Over networks of a kind of teacher that are trained in the same way, but for their lessons: of
    all batch ratios and seeds.

    Returns
    -------
    DataFrame
        A row for each image set, network, kind of teacher, brain, judge and factor, with ``slope``,
        ``standardised`` slope, ``p``, ``r_squared`` of both factors and ``n`` networks; empty where
        there are fewer than four networks, or a factor does not vary.
    """
    from regularized_training.analysis.regression import linear_regression

    rows: list[dict[str, Any]] = []
    frame = robustness_and_prediction(selection)
    for names, group in frame.groupby([*OF_REGRESSION, "network_hash", "alike"], sort=False):
        whole = group.dropna(subset=["robustness", *FACTORS])
        try:
            found = linear_regression(whole["robustness"], {f: whole[f] for f in FACTORS})
        except ValueError:
            continue
        rows += [
            {
                **dict(zip(OF_REGRESSION, names, strict=False)),
                "factor": factor,
                "slope": found.slopes[factor],
                "standardised": found.standardised[factor],
                "p": found.p[factor],
                "r_squared": found.r_squared,
                "n": found.n,
            }
            for factor in FACTORS
        ]
    columns = [*OF_REGRESSION, "factor", "slope", "standardised", "p", "r_squared", "n"]
    return pd.DataFrame(rows, columns=columns)


def robustness_figure(selection: Selection) -> Figure:
    """Robustness score of every network, beside neural prediction where that was measured."""
    frame = ROBUSTNESS.frame_by_seed(selection).dropna(subset=["robustness"])
    if frame.empty:
        raise NothingToShowError(
            "no robustness score yet: it takes networks without a teacher and every kind of noise; "
            "add the teacher none, or run `neuroteach populate`"
        )
    panels = list(frame.groupby(settings(frame), sort=False))
    both = robustness_and_prediction(selection).dropna(subset=["robustness"])
    judges = list(both.groupby("judge", sort=False))
    heights = [height(rows, 2.2) for _, rows in panels] + [3.0] * len(judges)
    figure = new_figure((8.8, 1.4 + sum(heights)))
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (setting, rows) in zip(axes, panels, strict=False):
        dots(ax, rows, "robustness")
        ax.axvline(1, color="#bbbbbb", linewidth=0.8, zorder=0)
        ax.set_xlabel("robustness score (networks without a teacher: 1)")
        ax.set_title(str(setting), fontsize=9)
    for ax, (judge, rows) in zip(axes[len(panels) :], judges, strict=True):
        for label, line, of_condition in styled(rows):
            colour = line["color"]
            ax.plot(
                of_condition["prediction"], of_condition["robustness"], "o", color=colour, ms=4,
                label=label,
            )  # fmt: skip
        ax.set_xlabel(f"correlation with responses, {judge}")
        ax.set_ylabel("robustness score")
    if judges:
        legend_below(figure, *axes[len(panels) :])
    figure.suptitle(with_caveat(f"Robustness to noise; {STARS}", selection), fontsize=9)
    return figure


ROBUSTNESS = register(
    Result(
        name="robustness",
        place=45,
        title="Robustness to noise beside networks without a teacher (Safarani et al. 2021)",
        question="How much more robust than without a teacher?",
        read=robustness,
        by_seed=robustness_by_seed,
        table=robustness_table,
        evaluation="noise",
        compared=(Compared("robustness", "robustness score"),),
        figures={
            "robustness": Drawing(robustness_figure, "robustness scores, and neural prediction")
        },
        further={
            "robustness_and_prediction": robustness_and_prediction,
            "robustness_regression": robustness_regression,
        },
    )
)
