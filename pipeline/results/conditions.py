"""What tells trained networks apart, but for the seed, and short names for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import pandas as pd

from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.registry import SIMILARITY_LAYERS
from regularized_training.teachers.kinds import needs_of

# Image set, network, teacher with its scans and encoders, training.
CONDITION = [
    "image_set",
    "imported_network",
    "architecture",
    "network_width",
    "teacher",
    "alpha",
    "strength",
    "drawn",
    "distorted",
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

SHUFFLED = ", {:g} of labels shuffled"
OF_OTHERS = "networks of others"
MOST_NAMED = 4  # settings that a label says; of more, a number must tell apart
# Settings that may have any value, which does not tell of what it is.
OF_ANY_VALUE = ("options", "weights", "weights_digest", "labels")
HASHES = ["network_hash", "teacher_hash", "scan_group", "training_hash"]
ANY_SEED = ["image_set", *HASHES]  # key of a trained network, whatever its seed
NETWORK = [*ANY_SEED, "seed"]  # key of a trained network


def conditions(frame: pd.DataFrame) -> pd.Series[str]:
    """A short name for each row's condition, with what tells the frame's conditions apart.

    Parameters
    ----------
    frame : DataFrame
        With the columns of ``CONDITION``.
    """
    own = frame["imported_network"] == ""
    labels = frame["teacher"].str.replace("_", " ").astype(str)
    labels = labels.where(own, frame["imported_network"])
    taught = frame["teacher"] != "none"
    if frame.loc[taught, "brain"].nunique() > 1:
        whose = frame["teacher"].map(knows_no_brain).map({True: ", stimuli of ", False: ", "})
        labels = labels.where(~taught, labels + whose + frame["brain"].fillna(""))
    if frame.loc[frame["drawn"] != "", "drawn"].nunique() > 1:
        labels = labels.where(frame["drawn"] == "", labels + ", " + frame["drawn"])
    labels = labels.where(frame["distorted"] == "", labels + ", " + frame["distorted"])
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
    if frame.loc[own, "shuffled_labels"].nunique() > 1:
        labels = labels.where(~own, labels + frame["shuffled_labels"].map(SHUFFLED.format))
    # A network that was imported is known by its name.
    for said in (_widths(frame).where(own), frame["architecture"].where(own), frame["image_set"]):
        if said.nunique() > 1:
            labels = (said + " ").fillna("") + labels
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
    own = frame["imported_network"] == ""
    if frame["image_set"].nunique() > 1:
        label += ", " + frame["image_set"]
    for said, form in (
        (frame["architecture"], "{}"),
        (_widths(frame), "width {}"),
        (frame["epochs"], "{} epochs"),
        (frame["n_train_used"], "{} images"),
        (frame["shuffled_labels"], SHUFFLED.removeprefix(", ")),
    ):
        if said[own].nunique() > 1:
            said = said.astype(object).where(own)
            label += (", " + said.map(form.format, na_action="ignore")).fillna("")
    if own.any():
        label = label.where(own, label + ", " + OF_OTHERS)
    if frame["setting"].nunique() > 1:
        label += (", " + frame["setting"]).where(frame["setting"] != "", "")
    return label.str.removeprefix(", ")


def network_names(frame: pd.DataFrame) -> pd.Series[str]:
    """The architecture of each row, and its width if it has one to choose."""
    return frame["architecture"] + (" of width " + _widths(frame)).fillna("")


def _widths(frame: pd.DataFrame) -> pd.Series[str]:
    """Width of each row's network, as text; missing where none can be chosen.

    That is so of libraries' networks, and taken to be so of others' where nobody chose any.
    """
    architecture, width = frame["architecture"], frame["network_width"]
    chosen = architecture[width != NetworkConfig.model_fields["width"].default]
    return width.astype(str).where(architecture.isin([*SIMILARITY_LAYERS, *chosen]))


def knows_no_brain(teacher: str) -> bool:
    """Whether a kind of teacher shares a brain's stimuli, and knows nothing of it."""
    return needs_of(teacher) == "stimuli" or teacher == "gaussian"


def what_differs(configs: Sequence[Mapping[str, Any]], known: Collection[str]) -> list[str]:
    """The settings in which configurations differ, as short text for each; "" where none do.

    Parameters
    ----------
    configs : sequence of mappings
        As JSON holds them. One that lacks a setting which others of its ``method`` have is at the
        default, since rows leave out what a later version added, and differs from them. One of
        another method has no such setting, and an empty one none at all.
    known : collection of str
        Settings that are not said.

    Examples
    --------
    >>> what_differs([{"epochs": 3, "decay": True}, {"epochs": 5, "decay": True}, {}], ())
    ['epochs 3', 'epochs 5', '']
    >>> what_differs([{"width": 8}, {"width": 8, "options": {"depth": 6}}], ("width",))
    ['', 'depth 6']
    """
    flat = [
        dict(_flattened({name: value for name, value in config.items() if name not in known}))
        for config in configs
    ]
    by_method: dict[Any, list[Mapping[tuple[str, ...], Any]]] = {}
    for config, values in zip(configs, flat, strict=True):
        if config:
            by_method.setdefault(config.get("method"), []).append(values)

    def differs(name: tuple[str, ...]) -> bool:
        several = len({repr(values[name]) for values in flat if name in values}) > 1
        return several or any(len({name in v for v in some}) > 1 for some in by_method.values())

    names = [name for name in dict.fromkeys(chain.from_iterable(flat)) if differs(name)]
    return [", ".join(_said(n, values[n]) for n in names if n in values) for values in flat]


def _flattened(
    config: Mapping[str, Any], within: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flattened(value, (*within, name))
        else:
            yield (*within, name), value


def _said(path: tuple[str, ...], value: Any) -> str:
    words = " ".join(path[1:] or path).replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if path[0] in OF_ANY_VALUE:
        return f"{words} {value}"
    if isinstance(value, str) and value != "all":
        return value.replace("_", " ")
    if value is None:
        return f"any {words}"
    return f"{words} {value:g}" if isinstance(value, int | float) else f"{words} {value}"
