"""What lessons have in common that are taught by responses, not by their similarity."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from predictive_model.randomness import seeded
from regularized_training import parallel
from regularized_training.lessons.lesson import Lesson
from regularized_training.lessons.response_config import ResponseLevelConfig
from regularized_training.lessons.stimuli import StimulusReader

if TYPE_CHECKING:
    from regularized_training.teachers.responses import ResponseTeacher


class ResponseLesson(Lesson):
    """Draws stimuli and the responses to them, and reads the end of the trunk.

    Responses are read as they are drawn, so that they need not fit in memory.

    Parameters
    ----------
    network, layers, teacher, config, n_channels, rng
        See :class:`~regularized_training.lessons.lesson.Lesson`.
    at_least : int
        Stimuli that each process needs.
    make : callable
        Makes the lesson's module from the shape of the features, (channels, height, width), and
        the teacher; seeded by ``rng``.
    """

    config: ResponseLevelConfig

    def __init__(
        self,
        network: nn.Module,
        layers: tuple[str, ...],
        teacher: ResponseTeacher,
        config: ResponseLevelConfig,
        n_channels: int,
        rng: torch.Generator,
        *,
        make: Callable[[tuple[int, int, int], ResponseTeacher], nn.Module],
        at_least: int = 2,
    ) -> None:
        self.config, self._rng, self._teacher = config, rng, teacher.teaching
        self._share = parallel.Share(config.n_stimuli, at_least=at_least)
        self._stimuli = StimulusReader(network, layers, self._teacher, config, n_channels)
        self._stimuli.require_enough()
        (shape,) = self._stimuli.shapes()
        if len(shape) != 3:
            raise ValueError(
                f"layer: {config.layer!r} has features of shape {shape}, expected (channels, "
                "height, width); name one before the features are flattened"
            )
        with seeded(int(torch.randint(2**31, (), generator=rng))):
            self.module = make((shape[0], shape[1], shape[2]), self._teacher)
        self.module.to(self._stimuli.device)

    def draw(self) -> tuple[Tensor, ...]:
        """Stimuli, (stimulus,) int64, and the responses to them, (stimulus, neuron) float32."""
        chosen = self._share.of(self._stimuli.draw(self._rng))
        return chosen, torch.from_numpy(self._teacher.rows(chosen.numpy()))

    def trunk(self, chosen: Tensor) -> Tensor:
        """Features of stimuli at the end of the trunk, (stimulus, channels, height, width)."""
        (features,) = self._stimuli.features(chosen)
        return features.float()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Weights, which may decay, apart from biases, positions and variances, which do not."""
        decayed = {id(p) for p in self._decayed()}
        groups = []
        for decays, decay in ((True, self.config.weight_decay), (False, 0.0)):
            parameters = [p for p in self.module.parameters() if (id(p) in decayed) == decays]
            if parameters:
                groups.append(
                    {
                        "params": parameters,
                        "weight_decay": decay,
                        "lr_factor": self.config.learning_rate_factor,
                    }
                )
        return groups

    def _decayed(self) -> list[nn.Parameter]:
        return [p for p in self.module.parameters() if p.ndim > 1]
