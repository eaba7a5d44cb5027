"""Which teacher, as a configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    SerializeAsAny,
    model_validator,
)

from predictive_model.config import Config, Seed, added
from predictive_model.parts import load
from regularized_training.teachers.kinds import (
    KINDS,
    ORACLE,
    TEACHERS,
    kinds_of,
    says_of,
    weighs_neurons,
)

OF_RSM = kinds_of("rsm")  # kinds whose stimuli are those of an RSM that is given
OF_TRIALS = kinds_of("trials")  # not of an encoder
MAYBE_OF_RSM = tuple(name for name, kind in KINDS.items() if kind.or_rsm)

Predictability = Literal["trial", "image", "explainable"]
DEFAULT_PREDICTABILITY: Predictability = "explainable"

V1_MEAN, V1_SD = 0.495, 0.582  # of firing rates in macaque V1, as Federer et al. 2020 give them


def _read_oracle(value: Any) -> Any:
    """Settings of an oracle; their class is imported here, as it knows of lessons and so of us."""
    return load("regularized_training.oracle_config:OracleConfig").model_validate(value)


AnyOracle = Annotated[SerializeAsAny[Config], BeforeValidator(_read_oracle)]


class TeacherConfig(Config):
    """Which teacher: the paper's conditions, and controls that tell apart what matters.

    ``none``
        Nobody teaches.
    ``neural_model``
        Similarity of the denoised responses, Eq. 6.
    ``neural_data``
        Similarity of the recorded responses, one trial of each image, Eq. 2.
    ``oracle``
        Similarity averaged over all pairs of trials, Eq. 3, where the images were repeated.
    ``shuffle``
        ``neural_model``, or an RSM that is given, with its images shuffled: rows and columns are
        permuted together, which keeps every value and the spectrum and breaks only the link to
        the images.
    ``shuffle_entries``
        The same two with their pairs of images shuffled: keeps the values alone.
    ``low_rank``
        ``neural_model`` along its strongest directions only.
    ``matched_spectrum``
        Random similarity with the eigenvalues of ``neural_model``.
    ``gabor``
        Similarity of a textbook model of V1, amplitudes of Gabors, for the same stimuli.
    ``pixels``
        Similarity of the stimuli's pixels.
    ``low_pass_pixels``
        The same of the stimuli behind a Gaussian low-pass filter; option ``sigma``, in pixels.
    ``vgg``, ``vgg_untrained``
        Similarity of features of VGG-19's conv3-1, trained on ImageNet or not at all.
    ``rsm``
        An RSM that is given (Federer et al. 2020), of which not all pairs need be known.
    ``recorded_rsm``
        Uncentred similarity of recorded rates, averaged over trials and then over scans (Eq. 1 of
        Federer et al. 2020).
    ``shuffle_neurons``
        ``recorded_rsm``, each neuron's rates assigned to other images, in an order of its own.
    ``gaussian``
        Uncentred similarity of random vectors, one for each stimulus of an RSM.

    ``responses``
        Predicted responses themselves, of all scans' neurons side by side, not their similarity
        (Safarani et al. 2021).
    ``responses_shuffle``
        The same, assigned to other images: their control.
    ``responses_shuffle_neurons``
        The same, each image's assigned to other neurons.
    ``responses_untrained``
        What the same encoders predict before they are fitted.
    ``responses_data``
        Recorded responses, one trial of each image, in place of predictions.
    ``responses_gabor``
        Amplitudes of Gabors for the same stimuli, a textbook model of V1.
    ``responses_oracle``
        Predicted from features of a network that has learned distorted images: MTL-oracle of
        Safarani et al. 2021. Stimuli are images of its task.

    Any other is another package's: what it says of the stimuli alone, see
    ``regularized_training.teachers.kinds``.

    Attributes
    ----------
    kind : str
        As above.
    seed : int
        Of permutations, random vectors, untrained weights, and the trials that ``neural_data`` and
        ``responses_data`` use.
    held_out : float
        Fraction of the stimuli that never teach, so that they can tell whether the similarity was
        learned or memorised. The same stimuli for every kind and seed.
    rank : int
        Directions kept by ``low_rank``.
    rsm : str
        Name of the RSM, of ``rsm`` and ``gaussian``, and of ``shuffle`` and ``shuffle_entries`` if
        they are to shuffle one.
    mean, deviation : float
        Of the elements of ``gaussian``: those of rates in macaque V1 by default.
    options : dict
        Other arguments of another package's teacher.
    centred : bool, optional
        Whether the RSM that is given, or what another package's teacher says, is of responses that
        were centred by their mean over stimuli. An RSM is taken for uncentred by default. All
        other kinds know it.
    predictability : {"trial", "image", "explainable"}
        Which v_a weighs neurons in Eq. 6, of kinds that are made of predicted responses, see
        :func:`~regularized_training.teachers.predictability.predictability`. ``trial`` is that of
        rows which do not say it; experiments take ``explainable`` for their own recordings.
    oracle : OracleConfig, optional
        Needed by ``responses_oracle``; in an experiment file what it leaves out is as in the tables
        ``network`` and ``training``.
    """

    kind: Annotated[str, AfterValidator(TEACHERS.check_name)]
    seed: Seed = 0
    held_out: float = Field(default=0.1, ge=0, le=0.5)
    rank: int = Field(default=8, ge=1)
    rsm: str = ""
    mean: float = V1_MEAN
    deviation: float = Field(default=V1_SD, gt=0)
    options: dict[str, JsonValue] = added({}, since="0.2.0")
    centred: bool | None = added(None, since="0.2.0")
    predictability: Predictability = added("trial", since="0.2.0")
    oracle: AnyOracle | None = added(None, since="0.2.0")

    @model_validator(mode="after")
    def _check(self) -> TeacherConfig:
        if self.kind in OF_RSM and not self.rsm:
            raise ValueError(f"rsm: missing, expected the name of an RSM, as kind is {self.kind!r}")
        if self.kind not in OF_RSM + MAYBE_OF_RSM and self.rsm:
            raise ValueError(f"rsm: {self.rsm!r}, but kind is {self.kind!r}; leave it out")
        if self.options and (self.kind in KINDS or "seed" in self.options):
            raise ValueError(f"options: {self.options}, which are not among those of {self.kind!r}")
        if (self.oracle is not None) != (self.kind == ORACLE):
            found, advice = (
                ("missing", "expected the network and its training on distorted images")
                if self.oracle is None
                else ("given", "leave it out")
            )
            raise ValueError(f"oracle: {found}, but kind is {self.kind!r}; {advice}")
        if self.centred is not None and not self._may_say_centred:
            raise ValueError(
                f"centred: {self.centred}, but that of {self.kind!r} is known; leave it out"
            )
        if self.predictability != "trial" and not weighs_neurons(self.kind, rsm=bool(self.rsm)):
            raise ValueError(
                f"predictability: {self.predictability!r}, but {self.kind!r} weighs no predicted "
                "responses; leave it out"
            )
        return self

    @property
    def _may_say_centred(self) -> bool:
        if self.kind not in KINDS:
            return True
        return bool(self.rsm) and self.kind != "gaussian"

    @property
    def is_centred(self) -> bool | None:
        """Whether responses are centred before they are compared; None if nobody said.

        Examples
        --------
        >>> TeacherConfig(kind="pixels").is_centred, TeacherConfig(kind="rsm", rsm="v1").is_centred
        (True, False)
        """
        if says_of(self.kind) == "responses":
            return None
        if self._may_say_centred:
            return False if self.rsm and self.centred is None else self.centred
        return KINDS[self.kind].centred
