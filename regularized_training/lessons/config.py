"""How a network learns from a teacher, as configurations; imports no torch.

A lesson is known by the class of its settings, a :class:`LessonConfig`, which names the class that
teaches by them. Settings choose it by ``method``: one of ours, the name of an entry point in the
group ``neuroteach.lessons``, or ``package.module:Class``, each of which leads to a class of
settings. Without ``method`` it is that of Li et al. 2019. Another package's lesson is::

    class MyConfig(LessonConfig):
        method: str
        alpha: float = 1.0
        layers: tuple[str, ...] | None = None
        n_stimuli: int = 16
        stimulus_size: tuple[int, int] | None = None
        made_by: ClassVar[str] = "mylab.lessons:MyLesson"

and ``mylab.lessons.MyLesson`` a :class:`~regularized_training.lessons.lesson.Lesson`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from predictive_model.config import Config, added
from predictive_model.parts import Part, Registry, load
from regularized_training.lessons.batch_ratio import ONE_TO_ONE, BatchRatio, batches_in_step
from regularized_training.teachers.kinds import KINDS, Says

if TYPE_CHECKING:
    import torch
    from torch import nn

    from regularized_training.lessons.lesson import Lesson
    from regularized_training.teachers.any_teacher import Teacher

BatchNormChoice = Literal["task", "both", "running"]
LI = "li"
REQUIRED = ("made_by", "alpha", "layers", "n_stimuli", "stimulus_size")
LESSONS = Registry(
    "lesson",
    {
        LI: "regularized_training.lessons.config:RegularizerConfig",
        "rsm": "regularized_training.lessons.config:RsmConfig",
        "cka": "regularized_training.lessons.cka_config:CkaConfig",
        "responses": "regularized_training.lessons.response_config:ResponsesConfig",
        "cca": "regularized_training.lessons.response_config:CcaConfig",
        "vicreg": "regularized_training.lessons.response_config:VicregConfig",
    },
)


class LessonConfig(Config):
    """Settings of a lesson: a base for the classes of all.

    Attributes
    ----------
    made_by : str
        Of the class: ``package.module:Class`` of the lesson itself.
    strength : str
        Of the class: the field that sets how much the teacher weighs.
    taught_by : {"similarity", "responses"}
        Of the class: whether it takes a
        :class:`~regularized_training.teachers.teacher.SimilarityTeacher` or a
        :class:`~regularized_training.teachers.responses.ResponseTeacher`.
    takes_unknown_pairs : bool
        Of the class: whether a teacher may leave out the similarity of some pairs of stimuli.
    centred : bool or None
        Of the class: whether features are centred by their mean over stimuli before they are
        compared, so that a teacher's responses have to be, too; None takes both kinds of teachers.
    waits : bool
        Of the class: whether its loss makes the host wait for a GPU, so that a step with it cannot
        be recorded as a graph.
    alpha : float
        Weight of the teacher's loss.
    layers : tuple of str or None
        Layers that may be compared with the teacher; None for all that a network has for it.
    n_stimuli : int
        In a step.
    stimulus_size : (int, int) or None
        Height and width to resize the stimuli to.
    batch_ratio : str
        Batches of stimuli to batches of task images: ``1:4`` for one to four, whose gradients are
        added up before a step is made. Any lesson has this setting.
    """

    made_by: ClassVar[str]
    strength: ClassVar[str] = "alpha"
    taught_by: ClassVar[Says] = "similarity"
    takes_unknown_pairs: ClassVar[bool] = False
    centred: ClassVar[bool | None] = None
    waits: ClassVar[bool] = False

    batch_ratio: BatchRatio = added(ONE_TO_ONE, since="0.2.0")

    if TYPE_CHECKING:  # fields of some classes, properties of others

        @property
        def alpha(self) -> float:
            """Weight of the teacher's loss."""

        @property
        def layers(self) -> tuple[str, ...] | None:
            """Layers that may be compared."""

        @property
        def n_stimuli(self) -> int:
            """In a step."""

        @property
        def stimulus_size(self) -> tuple[int, int] | None:
            """Height and width."""

    def alpha_at(self, epoch: float, epochs: int) -> float:
        """Weight of the teacher's loss at an epoch of the training."""
        return self.alpha

    def teaches_at(self, epoch: float) -> bool:
        """Whether stimuli are shown at this epoch."""
        return True

    def batches_in(self, step: int) -> int:
        """Number of batches of stimuli in a step of the training, counted from 0."""
        return batches_in_step(self.batch_ratio, step)

    def check_centred(self, teacher: str, centred: bool | None) -> None:
        """Raise a ValueError if a teacher's similarity is not of the kind that is compared here.

        Parameters
        ----------
        teacher : str
            Its name.
        centred : bool or None
            Whether its responses are centred; None if nobody said, which is taken for right.
        """
        if None in (self.centred, centred) or self.centred == centred:
            return
        kinds = ", ".join(n for n, k in KINDS.items() if k.made_by and k.centred == self.centred)
        found, expected = ("uncentred", "centred") if self.centred else ("centred", "uncentred")
        other = "method = 'rsm'" if self.centred else "no method, that of Li et al. 2019"
        raise ValueError(
            f"teacher {teacher!r}: similarity of {found} responses, but this regularizer compares "
            f"{expected} features; take a teacher of another kind ({kinds}) or a regularizer with "
            f"{other}. Of an RSM that is given the teacher's setting `centred` says which it is"
        )

    def check_says(self, teacher: str, says: Says) -> None:
        """Raise a ValueError if a teacher says something else than what is learned here.

        Parameters
        ----------
        teacher : str
            Its name.
        says : {"similarity", "responses"}
        """
        if says == self.taught_by:
            return
        kinds = ", ".join(n for n, k in KINDS.items() if k.made_by and k.says == self.taught_by)
        method = getattr(self, "method", LI)
        raise ValueError(
            f"teacher {teacher!r}: says {says}, but a regularizer with method = {method!r} is "
            f"taught by {self.taught_by}; take a teacher of another kind ({kinds}) or another "
            "method"
        )

    def check_teacher(self, teacher: Teacher) -> None:
        """Raise a ValueError if a teacher is not one for this lesson."""
        self.check_says(teacher.name, teacher.says)
        if teacher.says == "responses":
            return
        if teacher.sparse and not self.takes_unknown_pairs:
            raise ValueError(
                f"similarity: of teacher {teacher.name!r} not known for all pairs of stimuli; give "
                "one that knows them all, or a regularizer with method = 'rsm'"
            )
        self.check_centred(teacher.name, teacher.centred)

    def lesson(
        self,
        network: nn.Module,
        layers: tuple[str, ...],
        teacher: Teacher,
        n_channels: int,
        rng: torch.Generator,
    ) -> Lesson:
        """The lesson by these settings; see :class:`~regularized_training.lessons.lesson.Lesson`.

        Raises
        ------
        ValueError
            If the teacher is not one for it.
        """
        self.check_teacher(teacher)
        made: Lesson = load(self.made_by)(network, layers, teacher, self, n_channels, rng)
        return made


def lesson_config(method: str = LI) -> type[LessonConfig]:
    """The class of a lesson's settings.

    Raises
    ------
    PartError
        If there is no such lesson here, or what has its name is no lesson's settings.
    """
    found = LESSONS.find(method).value
    if not (isinstance(found, type) and issubclass(found, LessonConfig)):
        raise LESSONS.error(method, f"is {found!r}, expected a subclass of LessonConfig")
    needed = REQUIRED if method == LI else (*REQUIRED, "method")
    missing = [n for n in needed if not hasattr(found, n) and n not in found.model_fields]
    if missing:
        raise LESSONS.error(method, f"{found.__name__} has no {', '.join(missing)}")
    return found


def lesson_part(config: LessonConfig) -> Part:
    """The lesson that settings choose, and whose it is."""
    return LESSONS.find(getattr(config, "method", LI))


def _read_lesson(value: Any) -> Any:
    """Settings as those of the lesson that they name."""
    if not isinstance(value, Mapping):
        return value
    method = value.get("method", LI)
    if not isinstance(method, str):
        raise ValueError(f"method: {method!r}, expected the name of a lesson")
    if method == LI:  # which is not written down
        value = {name: field for name, field in value.items() if name != "method"}
    return lesson_config(method).model_validate(value)


# Read as the lesson that is meant, so that an error speaks of that one.
AnyLesson = Annotated[SerializeAsAny[LessonConfig], BeforeValidator(_read_lesson)]


class RegularizerConfig(LessonConfig):
    """How the similarity of features is pulled toward the teacher's.

    The paper leaves most of these open; the defaults are this package's choice.

    Attributes
    ----------
    alpha : float
        Weight of the similarity loss against the task's, Eq. 7.
    alpha_warmup : float
        Fraction of the training during which the weight rises from 0, linearly.
    eps : float
        Both similarities are shrunk by ``1 - eps`` before arctanh, which keeps it finite.
    centering : {"running", "batch"}
        What stands for the mean feature of Eq. 9: an exponential mean over training steps, through
        which no gradient flows, or the mean of the batch, differentiated like everything else.
    mean_momentum : float
        How much of the running mean a step keeps.
    n_stimuli : int
        Stimuli in each step, which all processes share.
    pair_sampling : {"all_pairs", "independent"}
        Compare all pairs among the stimuli of a step, n (n - 1) / 2 of them, or, as in the paper,
        n / 2 pairs drawn independently of each other: the gradients of the former have less
        noise at the same cost.
    batchnorm : {"task", "both", "running"}
        By which statistics stimuli are normalised. With ``"task"`` and ``"both"`` it is those of
        their own batch, though the network is tested with the running statistics; these follow task
        images alone, or stimuli as well. With ``"running"`` stimuli are normalised by the running
        statistics, which follow task images alone: their features are shaped as they are tested.
    stimulus_size : (int, int), optional
        Height and width to resize the stimuli to; as they were shown by default.
    layers : tuple of str, optional
        Layers that may be compared, among those of the architecture; all of them by default. Eq. 10
        chooses between these.
    """

    made_by: ClassVar[str] = "regularized_training.lessons.similarity:SimilarityLesson"
    centred: ClassVar[bool | None] = True

    alpha: float = Field(default=10.0, ge=0)
    alpha_warmup: float = Field(default=0.0, ge=0, le=1)
    # Below 1e-6 the shrunk value would round to 1 in float32.
    eps: float = Field(default=1e-3, ge=1e-6, lt=1)
    centering: Literal["running", "batch"] = "running"
    mean_momentum: float = Field(default=0.9, ge=0, lt=1)
    n_stimuli: int = Field(default=16, ge=2)
    pair_sampling: Literal["all_pairs", "independent"] = "all_pairs"
    batchnorm: BatchNormChoice = "task"
    stimulus_size: tuple[int, int] | None = None
    layers: tuple[str, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check(self) -> RegularizerConfig:
        if self.pair_sampling == "independent" and self.n_stimuli % 2:
            raise ValueError(
                f"n_stimuli: {self.n_stimuli}, expected an even number, two for each pair"
            )
        if self.n_stimuli < self.fewest_stimuli:
            raise ValueError(
                "n_stimuli: 2, expected at least 3 with centering='batch'; two stimuli centred by "
                "their own mean are always opposite to each other"
            )
        if self.stimulus_size is not None and min(self.stimulus_size) < 8:
            raise ValueError(f"stimulus_size: {self.stimulus_size}, expected at least 8 x 8 pixels")
        return self

    def alpha_at(self, epoch: float, epochs: int) -> float:
        """Weight of the similarity loss at an epoch of the training."""
        done = epoch / epochs
        return self.alpha * min(1.0, done / self.alpha_warmup) if self.alpha_warmup else self.alpha

    @property
    def fewest_stimuli(self) -> int:
        """With fewer in a batch there is nothing to compare."""
        return 3 if self.centering == "batch" else 2


class RsmConfig(LessonConfig):
    """How the similarity of one layer's features is pulled toward the teacher's.

    Attributes
    ----------
    method : "rsm"
        Tells this apart from the regulariser of Li et al. 2019.
    layer : str
        Which layer is taught, among the similarity layers of the architecture: ``V1``, ``V2``,
        ``V4`` or ``IT`` of CORnet-Z, ``features.6`` for the third convolution of VGG-16.
    ratio : float
        r, the teacher's cost over the task's.
    weighting : {"ratio", "static"}
        Keep r constant, or lambda at what it was in the first step.
    taught_epochs : int or "all"
        Number of epochs, from the first, during which the teacher teaches; 10 in the paper, or
        all of them.
    decay : bool
        Let r fall linearly, to 0 at the end of the training.
    n_pairs : int
        Pairs of stimuli in each step, drawn among those that the teacher knows; 50 in the paper.
    stimulus_size : (int, int), optional
        Height and width to resize the stimuli to; as they were shown by default.
    """

    made_by: ClassVar[str] = "regularized_training.lessons.rsm:RsmLesson"
    strength: ClassVar[str] = "ratio"
    takes_unknown_pairs: ClassVar[bool] = True
    centred: ClassVar[bool | None] = False

    method: Literal["rsm"]
    layer: str = "V1"
    ratio: float = Field(default=0.1, ge=0)
    weighting: Literal["ratio", "static"] = "ratio"
    taught_epochs: Annotated[int, Field(ge=1)] | Literal["all"] = 10
    decay: bool = False
    n_pairs: int = Field(default=50, ge=1)
    stimulus_size: tuple[int, int] | None = None

    @property
    def alpha(self) -> float:
        """What weighs the teacher, r here."""
        return self.ratio

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer, alone."""
        return (self.layer,)

    @property
    def n_stimuli(self) -> int:
        """In a step, two for each pair."""
        return 2 * self.n_pairs

    @property
    def batchnorm(self) -> BatchNormChoice:
        """Stimuli are normalised by their own batch, and leave no trace."""
        return "task"

    def alpha_at(self, epoch: float, epochs: int) -> float:
        """r at an epoch of the training."""
        if not self.teaches_at(epoch):
            return 0.0
        return self.ratio * (1 - epoch / epochs) if self.decay else self.ratio

    def teaches_at(self, epoch: float) -> bool:
        """Whether stimuli are shown at this epoch."""
        return self.taught_epochs == "all" or epoch < self.taught_epochs
