"""What was done to the images that people saw: manipulations and levels by published names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from regularized_training.robustness.manipulations.config import COHERENCE, Manipulation

# By the letters of an experiment's name.
_EXPERIMENTS: Mapping[str, Manipulation] = {
    "colour": "grey",
    "falsecolour": "false_colour",
    "contrast": "contrast",
    "contrastpng": "contrast",
    "noise": "uniform_noise",
    "noisepng": "uniform_noise",
    "uniformnoise": "uniform_noise",
    "saltandpepper": "salt_and_pepper",
    "saltandpepperpng": "salt_and_pepper",
    "lowpass": "low_pass",
    "highpass": "high_pass",
    "phasescrambling": "phase_noise",
    "powerequalisation": "power_equalisation",
    "rotation": "rotation",
}
_LEVELS = {"cr": 0.0, "bw": 1.0, "true": 0.0, "false": 1.0, "pow": 1.0}
_EIDOLON = re.compile(r"(\d+)-(\d+)-(\d+)")  # reach, coherence in tenths, grain


def manipulation_of(experiment: str, condition: str) -> tuple[Manipulation, float] | None:
    """The manipulation that a condition of an experiment was, and its level; None of others.

    Parameters
    ----------
    experiment, condition : str
        As Geirhos et al. 2018 call them.

    Examples
    --------
    >>> manipulation_of("contrast-png-experiment", "c05")
    ('contrast', 0.05)
    >>> manipulation_of("eidolon-experiment", "16-3-10")
    ('eidolon_2', 16.0)
    >>> manipulation_of("cue-conflict", "0")
    """
    letters = re.sub(r"[^a-z]", "", experiment.lower().removesuffix("-experiment"))
    if letters == "eidolon" and (found := _EIDOLON.fullmatch(condition)):
        reach, coherence = float(found[1]), float(found[2]) / 10
        names = [name for name, shared in COHERENCE.items() if shared == coherence]
        return (names[0], reach) if names else None
    name = _EXPERIMENTS.get(letters)
    if name is None:
        return None
    if condition in _LEVELS:
        return name, _LEVELS[condition]
    try:
        level = float(condition.removeprefix("c"))
    except ValueError:
        return None
    return name, level / 100 if name == "contrast" else level
