"""Kinds of teachers by name, and what each is made of; imports no torch.

Another kind of ours is one entry in ``KINDS``. Other people's are control teachers: a function
that says how similar stimuli are, without a brain, by the name of an entry point in the group
``neuroteach.teachers`` or as ``package.module:function``::

    def brightness(stimuli: NDArray, seed: int, *, power: float = 1.0) -> NDArray:
        ...

``stimuli`` are (n, channels, height, width), uint8 or float32; ``seed`` and the further arguments
are ``seed`` and ``options`` of the configuration. What comes back is (n, n): symmetric, between -1
and 1. Our own kinds that need stimuli alone are made in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from predictive_model.parts import Registry

Need = Literal["nothing", "stimuli", "trials", "predictions", "rsm"]
Says = Literal["similarity", "responses"]


@dataclass(frozen=True)
class Kind:
    """A kind of teacher.

    Attributes
    ----------
    needs : str
        ``nothing``; ``stimuli``; ``trials``, recordings with all of them; ``predictions`` of
        encoders and the weights of their neurons; or ``rsm``, one that is given.
    made_by : str
        ``module:function``. It takes stimuli and a seed, as above, where it needs stimuli, and
        otherwise :class:`~regularized_training.teachers.making.TeacherInputs` and the
        configuration, and returns a teacher. Empty where nothing is made.
    or_rsm : bool
        Whether it may be made of an RSM that is given instead.
    centred : bool
        Whether responses are centred by their mean over stimuli before they are compared.
    says : {"similarity", "responses"}
        What is learned from it.
    """

    needs: Need
    made_by: str
    or_rsm: bool = False
    centred: bool = True
    says: Says = "similarity"


ORACLE = "responses_oracle"  # learns from the task's images besides
_HERE = "regularized_training.teachers.making"
_OF_RESPONSES = "regularized_training.teachers.making_responses"
KINDS: Mapping[str, Kind] = {
    "none": Kind("nothing", ""),
    "neural_model": Kind("predictions", f"{_HERE}:neural_model"),
    "neural_data": Kind("trials", f"{_HERE}:neural_data"),
    "oracle": Kind("trials", f"{_HERE}:oracle"),
    "shuffle": Kind("predictions", f"{_HERE}:shuffle", or_rsm=True),
    "shuffle_entries": Kind("predictions", f"{_HERE}:shuffle_entries", or_rsm=True),
    "low_rank": Kind("predictions", f"{_HERE}:low_rank"),
    "matched_spectrum": Kind("predictions", f"{_HERE}:matched_spectrum"),
    "gabor": Kind("stimuli", f"{_HERE}:gabor"),
    "pixels": Kind("stimuli", f"{_HERE}:pixels"),
    "low_pass_pixels": Kind("stimuli", f"{_HERE}:low_pass_pixels"),
    "vgg": Kind("stimuli", f"{_HERE}:vgg"),
    "vgg_untrained": Kind("stimuli", f"{_HERE}:vgg_untrained"),
    "rsm": Kind("rsm", f"{_HERE}:rsm", centred=False),
    "recorded_rsm": Kind("trials", f"{_HERE}:recorded_rsm", centred=False),
    "shuffle_neurons": Kind("trials", f"{_HERE}:shuffle_neurons", centred=False),
    "gaussian": Kind("rsm", f"{_HERE}:gaussian", centred=False),
    "responses": Kind("predictions", f"{_OF_RESPONSES}:responses", says="responses"),
    "responses_shuffle": Kind("predictions", f"{_OF_RESPONSES}:shuffle", says="responses"),
    "responses_shuffle_neurons": Kind(
        "predictions", f"{_OF_RESPONSES}:shuffle_neurons", says="responses"
    ),
    "responses_untrained": Kind("predictions", f"{_OF_RESPONSES}:untrained", says="responses"),
    "responses_data": Kind("trials", f"{_OF_RESPONSES}:data", says="responses"),
    "responses_gabor": Kind("predictions", f"{_OF_RESPONSES}:gabor", says="responses"),
    ORACLE: Kind("predictions", "regularized_training.oracle:responses", says="responses"),
}

TEACHERS = Registry(
    "teacher", {name: kind.made_by for name, kind in KINDS.items() if kind.made_by}, hint="none, "
)


def needs_of(kind: str, *, rsm: bool = False) -> Need:
    """What a teacher of a kind is made of.

    Parameters
    ----------
    kind : str
        One of ``KINDS``; all others need stimuli.
    rsm : bool
        Whether an RSM is given.
    """
    known = KINDS.get(kind)
    if known is None:
        return "stimuli"
    return "rsm" if rsm and known.or_rsm else known.needs


def says_of(kind: str) -> Says:
    """What is learned from a teacher of a kind; similarity from other people's."""
    return KINDS[kind].says if kind in KINDS else "similarity"


def weighs_neurons(kind: str, *, rsm: bool = False) -> bool:
    """Whether predicted responses are weighed by reliability and predictability, as in Eq. 6."""
    return needs_of(kind, rsm=rsm) == "predictions" and says_of(kind) == "similarity"


def kinds_of(need: Need) -> tuple[str, ...]:
    """Our own kinds that are made of nothing else."""
    return tuple(name for name, kind in KINDS.items() if kind.needs == need and not kind.or_rsm)
