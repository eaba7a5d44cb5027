"""Robustness beside networks without a teacher, and what explains it: Safarani et al. 2021."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.evaluations.corruptions import corruptions_by_seed
from pipeline.evaluations.neural_prediction import neural_prediction_by_seed
from pipeline.evaluations.noise import noise_by_seed
from pipeline.experiments.selection import Selection
from pipeline.figures.curves import STARS, dots, figure_of_dots, height, styled
from pipeline.figures.drawing import legend_below, new_figure, with_caveat
from pipeline.results.conditions import CONDITION, NETWORK, settings
from pipeline.results.foreseen import Foreseen
from pipeline.results.frames import ORDER, over_seeds, sort_frame
from pipeline.results.registry import Compared, Drawing, NothingToShowError, Result, register
from pipeline.results.rows import read_rows
from pipeline.results.tables import summary_table
from schemas import training
from schemas.configurations import config_hash
from schemas.evaluations.base import EVALUATIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What has to be alike in a network and in those that it is measured by.
ALIKE = ["image_set", "alike"]
NOT_ALIKE = ("regularizer", "distorted", "hardened", "low_pass")  # what they may differ in
SCORES = ("robustness", "mce", "relative_mce")
OF_REGRESSION = [
    *("image_set", "architecture", "network_width", "to"),
    *("teacher", "distorted", "brain", "judge"),
]
FACTORS = ("clean_accuracy", "prediction")


def robustness_by_seed(selection: Selection) -> pd.DataFrame:
    """Robustness scores, a row per network and for noise and corruptions each.

    The score of Safarani et al. 2021 is the mean over kinds c of noise, or of corruptions, of
    A_c / A_c(baseline), A_c being the mean accuracy over the levels of a kind above 0. The baseline
    is the mean over seeds of networks without a teacher that are trained in the same way and have
    learned clean images alone. Of corruptions there are those of Hendrycks and Dietterich 2019
    besides: ``mce``, the mean of E_c / E_c(baseline) of the errors E = 1 - A, and ``relative_mce``,
    the same of E_c less the error without corruption.

    Returns
    -------
    DataFrame
        Scores are missing where nothing of the kind was trained without a teacher, or not all kinds
        were tried yet. Networks that were imported have none. ``to`` is noise or corruptions.
        ``clean_accuracy`` is that on test images as they are. ``alike`` says how a network is built
        and trained, but for its teacher, for distorted, noisy or adversarial images and for a
        low-pass filter.
    """
    frame = _beside_baseline(selection)
    found = frame[[*dict.fromkeys([*CONDITION, "seed", "alike", "to"])]]
    found = found.drop_duplicates([*NETWORK, "to"])
    kinds = frame.groupby([*ALIKE, "to"])["kind"].nunique().rename("n_kinds").reset_index()
    scores = frame.groupby([*NETWORK, "to"], sort=False).agg(
        **{name: (name, "mean") for name in SCORES}, count=("robustness", "count")
    )
    found = found.merge(scores.reset_index(), on=[*NETWORK, "to"]).merge(kinds, on=[*ALIKE, "to"])
    whole = found["count"] == found["n_kinds"]
    found = found.assign(**{name: found[name].where(whole) for name in SCORES})
    clean = read_rows(training.TrainedNetwork, ["test_accuracy"])
    clean = clean.rename(columns={"test_accuracy": "clean_accuracy"})
    found = found.merge(clean[[*NETWORK, "clean_accuracy"]], on=NETWORK)
    found = found.drop(columns=["count", "n_kinds"])
    return sort_frame(found, ["image_set", "to", *ORDER, "seed"])


def _beside_baseline(selection: Selection) -> pd.DataFrame:
    """What is scored of each network and kind of noise or corruption, before kinds are averaged."""
    frame = pd.concat([_under_noise(selection), _under_corruptions(selection)], ignore_index=True)
    frame = frame.assign(alike=_alike(frame))
    plain = frame[(frame["teacher"] == "none") & (frame["distorted"] == "")]
    plain = plain[plain["imported_network"] == ""]  # how those were trained is not known
    measured = ["accuracy", "unchanged"]
    baseline = plain.groupby([*ALIKE, "to", "kind"])[measured].mean().reset_index()
    frame = frame.merge(baseline, on=[*ALIKE, "to", "kind"], how="left", suffixes=("", "_baseline"))
    lost = frame["unchanged"] - frame["accuracy"]
    lost_by_baseline = frame["unchanged_baseline"] - frame["accuracy_baseline"]
    return frame.assign(
        robustness=frame["accuracy"] / frame["accuracy_baseline"],
        mce=((1 - frame["accuracy"]) / (1 - frame["accuracy_baseline"])).where(lost.notna()),
        relative_mce=lost / lost_by_baseline.where(lost_by_baseline > 0),
    )


def _under_noise(selection: Selection) -> pd.DataFrame:
    frame = noise_by_seed(selection)
    frame = frame[(frame["part"] == "test") & (frame["level"] > 0)]
    frame = frame.rename(columns={"noise_name": "kind"})
    accuracy = frame.groupby([*NETWORK, "kind"], sort=False)["accuracy"].mean().reset_index()
    about = frame[[*CONDITION, "seed"]].drop_duplicates(NETWORK)
    return about.merge(accuracy, on=NETWORK).assign(to="noise", category="noise", unchanged=np.nan)


def _under_corruptions(selection: Selection) -> pd.DataFrame:
    frame = corruptions_by_seed(selection)
    frame = frame[frame["part"] == "test"]
    frame = frame.rename(columns={"name": "kind", "clean_accuracy": "unchanged"})
    columns = [*CONDITION, "seed", "kind", "category", "accuracy", "unchanged"]
    return frame[columns].assign(to="corruptions")


def robustness_by_category(selection: Selection) -> pd.DataFrame:
    """Robustness score of each category of corruptions, a row per network and category."""
    frame = _beside_baseline(selection)
    frame = frame[frame["to"] == "corruptions"]
    key = [*NETWORK, "category"]
    scores = frame.groupby(key, sort=False)["robustness"].mean().reset_index()
    about = frame[[*CONDITION, "seed", "category"]].drop_duplicates(key)
    return sort_frame(about.merge(scores, on=key), ["image_set", *ORDER, "seed"])


def _alike(frame: pd.DataFrame) -> pd.Series[str]:
    """Of each network, a hash of how it is built and trained, but for what may differ."""
    said = pd.Series("", index=frame.index, dtype=object)
    for key, table in (
        ("network_hash", training.NetworkConfig),
        ("training_hash", training.TrainingConfig),
    ):
        rows = read_rows(table, ["config"])
        without = [
            {name: value for name, value in config.items() if name not in NOT_ALIKE}
            for config in rows["config"]
        ]
        hashes = dict(zip(rows[key], map(config_hash, without), strict=True))
        said += frame[key].map(hashes).astype(object)
    return said


def robustness(selection: Selection) -> pd.DataFrame:
    """Robustness scores and accuracy on clean images: mean and standard error over seeds."""
    by_seed = robustness_by_seed(selection).drop(columns="alike")
    summary = over_seeds(by_seed, [*SCORES, "clean_accuracy"])
    return sort_frame(summary, ["image_set", "to", *ORDER, "setting"])


def robustness_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each condition: mean ± SEM over seeds."""
    of_errors = SCORES[1:] if frame["mce"].notna().any() else ()
    shown = [SCORES[0], *of_errors, "clean_accuracy"]
    table = summary_table(frame, dict.fromkeys(shown, "{:.3f}"))
    table.insert(0, "to", frame["to"].to_numpy())
    names = {"clean_accuracy": "clean accuracy", "mce": "mCE", "relative_mce": "relative mCE"}
    return table.rename(columns=names)


def robustness_and_prediction(selection: Selection) -> pd.DataFrame:
    """Robustness score, clean accuracy and neural prediction, a row per network, judge and ``to``.

    Returns
    -------
    DataFrame
        ``prediction`` is the correlation that ``neural-prediction`` has, of the ``judge``.
    """
    predicted = neural_prediction_by_seed(selection).rename(columns={"correlation": "prediction"})
    frame = robustness_by_seed(selection)
    return frame.merge(predicted[[*NETWORK, "judge", "prediction"]], on=NETWORK)


def robustness_regression(selection: Selection) -> pd.DataFrame:
    """Two-factor regression of robustness on clean accuracy and on neural prediction.

    Over networks of a kind of teacher that are trained in the same way, but for their lessons: of
    all batch ratios and seeds.

    Returns
    -------
    DataFrame
        A row for each image set, network, kind of teacher, brain, judge and factor, and for noise
        and corruptions, with ``slope``, ``standardised`` slope, ``p``, ``r_squared`` of both
        factors and ``n`` networks; empty where there are fewer than four networks, or a factor does
        not vary.
    """
    from regularized_training.analysis.regression import linear_regression

    rows: list[dict[str, Any]] = []
    frame = robustness_and_prediction(selection)
    for names, group in frame.groupby([*OF_REGRESSION, "alike"], sort=False):
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
    """Robustness scores of every network, beside neural prediction where that was measured."""
    frame = _scored(selection)
    panels = list(frame.groupby(["to", settings(frame)], sort=False))
    both = robustness_and_prediction(selection).dropna(subset=["robustness"])
    judges = list(both.groupby(["judge", "to"], sort=False))
    heights = [height(rows, 2.2) for _, rows in panels] + [3.0] * len(judges)
    figure = new_figure((8.8, 1.4 + sum(heights)))
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, ((to, setting), rows) in zip(axes, panels, strict=False):
        dots(ax, rows, "robustness")
        ax.axvline(1, color="#bbbbbb", linewidth=0.8, zorder=0)
        ax.set_xlabel(f"robustness to {to} (networks without a teacher: 1)")
        ax.set_title(str(setting), fontsize=9)
    for ax, ((judge, to), rows) in zip(axes[len(panels) :], judges, strict=True):
        _scatter(ax, rows, "prediction")
        ax.set_xlabel(f"correlation with responses, {judge}")
        ax.set_ylabel(f"robustness to {to}")
    if judges:
        legend_below(figure, *axes[len(panels) :])
    figure.suptitle(with_caveat(f"Robustness scores; {STARS}", selection), fontsize=9)
    return figure


def categories_figure(selection: Selection) -> Figure:
    """Robustness score of each category of corruptions (Fig. 3B of Safarani et al. 2021)."""
    _scored(selection)  # or why there is nothing
    frame = robustness_by_category(selection).dropna(subset=["robustness"])
    if frame.empty:
        raise NothingToShowError("no robustness to corruptions yet; give it a table [corruptions]")
    groups = frame.groupby(["category", settings(frame)], sort=False)
    panels = [("; ".join(str(n) for n in names if n), rows) for names, rows in groups]
    title = with_caveat(f"Robustness scores by category; {STARS}", selection)
    return figure_of_dots(panels, "robustness", "robustness (without a teacher: 1)", title)


def regression_figure(selection: Selection) -> Figure:
    """Robustness against clean accuracy and neural prediction (Fig. 3C of Safarani et al. 2021)."""
    both = robustness_and_prediction(selection).dropna(subset=["robustness", *FACTORS])
    found = robustness_regression(selection)
    if found.empty:
        raise NothingToShowError(
            "no regression of robustness yet: it takes four networks or more of a teacher, as with "
            "a list batch_ratios, and neural prediction of each"
        )
    panels = list(found.groupby(OF_REGRESSION, sort=False))
    figure = new_figure((8.8, 0.9 + 3.1 * len(panels)))
    axes = figure.subplots(len(panels), 2, squeeze=False, sharey="row")
    for line, (names, factors) in zip(axes, panels, strict=True):
        of_panel = both[(both[OF_REGRESSION] == pd.Series(names, OF_REGRESSION)).all(axis=1)]
        about = dict(zip(OF_REGRESSION, names, strict=True))
        line[0].set_ylabel(f"robustness to {about['to']}")
        for ax, (_, row) in zip(line, factors.iterrows(), strict=True):
            _scatter(ax, of_panel, str(row["factor"]))
            ax.set_xlabel(str(row["factor"]).replace("_", " "))
            shown = f"{str(about['teacher']).replace('_', ' ')}: slope {row['slope']:.3g}, "
            shown += f"standardised {row['standardised']:.2f}, p = {row['p']:.2g}"
            ax.set_title(f"{shown} (n = {row['n']})", fontsize=8)
    legend_below(figure, *axes.flat)
    title = "Robustness by clean accuracy and neural prediction, both in one regression"
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


def _scatter(ax: Any, frame: pd.DataFrame, factor: str) -> None:
    for label, line, rows in styled(frame):
        ax.plot(rows[factor], rows["robustness"], "o", color=line["color"], ms=4, label=label)


def _scored(selection: Selection) -> pd.DataFrame:
    frame = ROBUSTNESS.frame_by_seed(selection).dropna(subset=["robustness"])
    if frame.empty:
        raise NothingToShowError(
            "no robustness score yet: it takes networks without a teacher, and every kind of noise "
            "or corruption; add the teacher none, or run `neuroteach populate`"
        )
    return frame


def _planned(experiments: Any) -> Any:
    of_noise, of_corruptions = EVALUATIONS["noise"], EVALUATIONS["corruptions"]
    return of_noise.planned(experiments) or of_corruptions.planned(experiments)


ROBUSTNESS = register(
    Result(
        name="robustness",
        place=45,
        title="Robustness beside networks without a teacher (Safarani et al. 2021)",
        question="How much more robust than without a teacher?",
        read=robustness,
        by_seed=robustness_by_seed,
        table=robustness_table,
        asked=_planned,
        lacks=("tests", "network under noise or corruptions; give it a table [corruptions]"),
        compared=(Compared("robustness", lambda frame: "robustness to " + frame["to"]),),
        foreseen=Foreseen(
            lambda evaluation, _: [{"to": evaluation}],
            evaluations=("noise", "corruptions"),
            beside_others=True,
        ),
        figures={
            "robustness": Drawing(robustness_figure, "robustness scores, and neural prediction"),
            "robustness-categories": Drawing(
                categories_figure, "robustness by category of corruptions"
            ),
            "robustness-regression": Drawing(
                regression_figure, "robustness by clean accuracy and neural prediction"
            ),
        },
        further={
            "robustness_by_category": robustness_by_category,
            "robustness_and_prediction": robustness_and_prediction,
            "robustness_regression": robustness_regression,
        },
    )
)
