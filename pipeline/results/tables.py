"""Frames of results as tables that people read: one line for each condition or level."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pandas as pd

from pipeline.results.conditions import CONDITION, conditions, settings


def noise_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each kind and level of noise, a column for each condition: mean +- SEM."""
    frame = frame.assign(condition=_with_seeds(frame))
    frame["cell"] = [_mean_sem(a, s) for a, s in frame[["accuracy", "sem"]].to_numpy()]
    columns = list(dict.fromkeys(frame["condition"]))
    table = frame.pivot(index=["noise_name", "level"], columns="condition", values="cell")
    return table[columns].sort_index().reset_index().fillna("").rename(columns=_SHOWN)


def accuracy_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each condition: mean +- SEM over seeds."""
    means = [name.removesuffix("_sem") for name in map(str, frame) if name.endswith("_sem")]
    return _summary(frame, dict.fromkeys(means, "{:.3f}"))


def superclass_errors_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each condition."""
    return _summary(frame, {"within_superclass": "{:.4f}"}).assign(errors=frame["n_errors"])


def activations_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each layer and condition."""
    return _summary(frame, {"variance": "{:.3g}"}).assign(layer=frame["layer"])


def _summary(frame: pd.DataFrame, forms: Mapping[str, str]) -> pd.DataFrame:
    cells = {
        name: [_mean_sem(m, s, form) for m, s in frame[[name, f"{name}_sem"]].to_numpy()]
        for name, form in forms.items()
    }
    return pd.DataFrame({"condition": _with_seeds(frame), **cells})


def adversarial_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each attack and condition."""
    return pd.DataFrame(
        {
            "attack": frame["attack_name"],
            "condition": _with_seeds(frame),
            **{
                name: [
                    _mean_sem(m, s, "{:.4f}") for m, s in frame[[name, f"{name}_sem"]].to_numpy()
                ]
                for name in ("median", "median_correct")
            },
            "n_images": frame["n_images"],
            "misclassified": frame["n_misclassified"],
            "failed": frame["n_failed"],
        }
    )


def attack_checks_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each condition and check: how many networks pass, and the worst of them."""
    frame = frame.assign(condition=conditions(frame[CONDITION]))
    groups = frame.groupby(["condition", "check_name"], sort=False)
    return pd.DataFrame(
        {
            "passed": groups["passed"].sum().astype(int),
            "networks": groups["passed"].count(),
            "worst": groups["found"].min(),
            "expected": groups["expected"].first(),
        }
    ).reset_index()


def layers_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each judge and condition, a column for each layer: correlation +- SEM (CKA)."""
    trained = frame["trained"].astype(bool)
    # Before they were taught, networks of the same seeds are the same.
    setting = settings(frame)
    setting = setting.where(setting == "", ", " + setting)
    untaught = "as initialised" + setting + " (n = " + frame["n_seeds"].astype(str) + ")"
    frame = frame.assign(
        condition=_with_seeds(frame).where(trained, untaught),
        cell=[
            f"{_mean_sem(c, s, '{:.2f}')} ({a:.2f})"
            for c, s, a in frame[["correlation", "correlation_sem", "alignment"]].to_numpy()
        ],
    )
    layers = frame.sort_values("layer_index")["layer"].drop_duplicates()
    frame = frame.sort_values("trained", kind="stable")
    once = frame[frame["trained"].astype(bool) | ~frame.duplicated(["judge", "condition", "layer"])]
    table = once.pivot(index=["judge", "condition"], columns="layer", values="cell")
    order = once[["judge", "condition"]].drop_duplicates().sort_values("judge", kind="stable")
    table = table.reindex(pd.MultiIndex.from_frame(order))
    return table[list(layers)].reset_index().fillna("")


def differences_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows, difference and standard error in one cell."""
    cells = [_mean_sem(d, s, "{:+.4f}") for d, s in frame[["difference", "sem"]].to_numpy()]
    return frame.assign(difference=cells).drop(columns="sem")


TABLES: Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "accuracy": accuracy_table,
    "superclass_errors": superclass_errors_table,
    "activations": activations_table,
    "noise": noise_table,
    "adversarial": adversarial_table,
    "attack_checks": attack_checks_table,
    "layers": layers_table,
    "differences": differences_table,
}


_SHOWN = {"noise_name": "noise"}


def _with_seeds(frame: pd.DataFrame) -> pd.Series[str]:
    return conditions(frame[CONDITION]) + " (n = " + frame["n_seeds"].astype(str) + ")"


def _mean_sem(mean: float, sem: float, form: str = "{:.3f}") -> str:
    if math.isnan(mean):
        return "undefined"
    shown = form.format(mean)
    return shown if math.isnan(sem) else f"{shown} ± {form.format(sem).lstrip('+')}"
