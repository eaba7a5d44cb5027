"""A lesson of another laboratory: pairs that are alike to the teacher shall be alike to a layer."""

from typing import ClassVar

from regularized_training.lessons.config import LessonConfig
from regularized_training.lessons.lesson import Lesson


class ContrastConfig(LessonConfig):
    made_by: ClassVar[str] = "mylab_lesson:ContrastLesson"

    method: str
    alpha: float = 1.0
    layers: tuple[str, ...] | None = None
    n_stimuli: int = 4
    stimulus_size: tuple[int, int] | None = None
    batchnorm: ClassVar[str] = "task"


class ContrastLesson(Lesson):
    def __init__(self, network, layers, teacher, config, n_channels, rng):
        import torch

        from regularized_training.lessons.stimuli import StimulusReader

        self.config, self.rng, taught = config, rng, teacher.teaching
        self.stimuli = StimulusReader(network, layers[:1], taught, config, n_channels)
        self.similarity = torch.from_numpy(taught.similarity)
        self.module = torch.nn.ParameterDict({"scale": torch.ones(())})

    def draw(self):
        chosen = self.stimuli.draw(self.rng)
        return chosen, self.similarity[chosen][:, chosen]

    def loss(self, chosen, similarity):
        (features,) = self.stimuli.features(chosen)
        flat = features.flatten(1)
        return (self.module["scale"] * flat @ flat.T / flat.shape[1] - similarity).square().mean()

    def measures(self):
        return {"scale": float(self.module["scale"])}
