"""What tells trained networks apart, but for the seed, and short names for it."""

from __future__ import annotations

import pandas as pd

# Image set, network, teacher with its scans and encoders, training.
CONDITION = [
    "image_set",
    "architecture",
    "network_width",
    "teacher",
    "alpha",
    "strength",
    "drawn",
    "brain",
    "scans",
    "simulated",
    "compared",
    "n_stimuli",
    "stimulus_size",
    "epochs",
    "n_train_used",
    "teacher_seed",
    "network_hash",
    "teacher_hash",
    "scan_group",
    "training_hash",
]

# Teachers that share a brain's stimuli, and know nothing of it.
NO_BRAIN = ("gabor", "pixels", "vgg", "vgg_untrained", "gaussian")
_HASHES = ["network_hash", "teacher_hash", "scan_group", "training_hash"]


def conditions(frame: pd.DataFrame) -> pd.Series[str]:
    """A short name for each row's condition, with what tells the frame's conditions apart.

    Parameters
    ----------
    frame : DataFrame
        With the columns of ``CONDITION``.
    """
    labels = frame["teacher"].str.replace("_", " ").astype(str)
    taught = frame["teacher"] != "none"
    if frame.loc[taught, "brain"].nunique() > 1:
        whose = frame["teacher"].isin(NO_BRAIN).map({True: ", stimuli of ", False: ", "})
        labels = labels.where(~taught, labels + whose + frame["brain"].fillna(""))
    if frame.loc[frame["drawn"] != "", "drawn"].nunique() > 1:
        labels = labels.where(frame["drawn"] == "", labels + ", " + frame["drawn"])
    weighed = ", " + frame["strength"] + frame["alpha"].map(" {:g}".format)
    labels = labels.where(~taught, labels + weighed)
    if frame.loc[taught, "compared"].nunique() > 1:
        layers = frame["compared"].replace("", "all").map(", layers {}".format)
        labels = labels.where(~taught, labels + layers)
    if frame.loc[taught, "n_stimuli"].nunique() > 1:
        labels = labels.where(~taught, labels + frame["n_stimuli"].map(", {} stimuli".format))
    # Where stimuli of one brain were shown at several sizes; their own size is not said.
    sizes = frame.groupby("brain", dropna=False)["stimulus_size"].transform("nunique")
    shown = taught & (sizes > 1) & (frame["stimulus_size"] != "")
    labels = labels.where(~shown, labels + frame["stimulus_size"].map(", {}".format))
    for column in ("network_width", "architecture", "image_set"):
        if frame[column].nunique() > 1:
            labels = frame[column].astype(str) + " " + labels
    return numbered(labels, frame[_HASHES])


def numbered(labels: pd.Series[str], keys: pd.DataFrame) -> pd.Series[str]:
    """Labels, with a number behind those that read the same though their keys differ.

    Parameters
    ----------
    labels : Series of str
    keys : DataFrame
        What tells apart, a row for each label.
    """
    labelled = keys.assign(label=labels)
    numbers = labelled.drop_duplicates()
    numbers = numbers.assign(number=numbers.groupby("label").cumcount())
    number = labelled.merge(numbers, how="left")["number"]
    number.index = labels.index
    return labels.where(number == 0, labels + " (" + (number + 1).astype(str) + ")")


def settings(frame: pd.DataFrame) -> pd.Series[str]:
    """A short name for image set, network and length of training, as far as they differ; or ""."""
    label = pd.Series("", index=frame.index)
    for column, form in (
        ("image_set", "{}"),
        ("architecture", "{}"),
        ("network_width", "width {}"),
        ("epochs", "{} epochs"),
        ("n_train_used", "{} images"),
    ):
        if frame[column].nunique() > 1:
            label += ", " + frame[column].map(form.format)
    return label.str.removeprefix(", ")
