"""What tells trained networks apart, but for the seed, and short names for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

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
    "shuffled_labels",
    "teacher_seed",
    "setting",
    "lesson",
    "network_hash",
    "teacher_hash",
    "scan_group",
    "training_hash",
]

# Teachers that share a brain's stimuli, and know nothing of it.
NO_BRAIN = ("gabor", "pixels", "vgg", "vgg_untrained", "gaussian")
SHUFFLED = ", {:g} of labels shuffled"
MOST_NAMED = 4  # settings that a label says; of more, a number must tell apart
HASHES = ["network_hash", "teacher_hash", "scan_group", "training_hash"]


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
    for column in ("lesson", "setting"):
        if frame[column].nunique() > 1 and frame[column].str.count(",").max() < MOST_NAMED:
            labels = labels.where(frame[column] == "", labels + ", " + frame[column])
    if frame["shuffled_labels"].nunique() > 1:
        labels = labels + frame["shuffled_labels"].map(SHUFFLED.format)
    for column in ("network_width", "architecture", "image_set"):
        if frame[column].nunique() > 1:
            labels = frame[column].astype(str) + " " + labels
    return numbered(labels, frame[HASHES])


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
    label = pd.Series("", index=frame.index, dtype="str")
    for column, form in (
        ("image_set", "{}"),
        ("architecture", "{}"),
        ("network_width", "width {}"),
        ("epochs", "{} epochs"),
        ("n_train_used", "{} images"),
        ("shuffled_labels", SHUFFLED.removeprefix(", ")),
    ):
        if frame[column].nunique() > 1:
            label += ", " + frame[column].map(form.format)
    if frame["setting"].nunique() > 1:
        label += (", " + frame["setting"]).where(frame["setting"] != "", "")
    return label.str.removeprefix(", ")


def what_differs(configs: Sequence[Mapping[str, Any]], known: Collection[str]) -> list[str]:
    """The settings in which configurations differ, as short text for each; "" where none do.

    Parameters
    ----------
    configs : sequence of mappings
        As JSON holds them. A setting that some lack does not differ from theirs.
    known : collection of str
        Settings that are not said.

    Examples
    --------
    >>> what_differs([{"epochs": 3, "decay": True}, {"epochs": 5, "decay": True}, {}], ())
    ['epochs 3', 'epochs 5', '']
    """
    flat = [dict(_flattened(config)) for config in configs]
    names = list(dict.fromkeys(name for config in flat for name in config if name not in known))
    several = [n for n in names if len({repr(config[n]) for config in flat if n in config}) > 1]
    return [", ".join(_said(n, config[n]) for n in several if n in config) for config in flat]


def _flattened(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flattened(value)
        else:
            yield name, value


def _said(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if isinstance(value, str) and value != "all":
        return value.replace("_", " ")
    if value is None:
        return f"any {words}"
    return f"{words} {value:g}" if isinstance(value, int | float) else f"{words} {value}"
