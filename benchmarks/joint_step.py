"""What a teacher costs: a joint training step against a plain one of the same network.

python -m benchmarks.joint_step [--lesson li] [--width 64] [--stimuli 9] [--json]

A third run is what a joint step adds at the least: the plain step, and the same stimuli passed
through the network up to the last layer that is taught, forwards and backwards. Lessons that are
taught by responses (``responses``, ``cca``, ``vicreg``) use VGG-19 up to conv3-1 at 64 x 64, with
as many stimuli as task images, and ``--neurons`` of them; the others ResNet18 at 32 x 32.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import chain, count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.alternate import alternate, report
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.any_teacher import Teacher
from regularized_training.teachers.responses import ResponseTeacher
from regularized_training.teachers.teacher import SimilarityTeacher
from regularized_training.training import Training
from regularized_training.training_config import TrainingConfig

BAR = 1.35  # times as long as a plain step, of Li et al., with 32 pairs or more
BARS_OF_FLOOR = {"responses": 1.1}  # times as long as what the stimuli's passage costs
BAR_OF_FLOOR = 1.03
BATCH = 64
STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")
OF_RESPONSES = ("responses", "cca", "vicreg")
LESSONS = ("li", "cka", "rsm", *OF_RESPONSES)
TRUNK = "features.16"  # conv3-1 of VGG-19 with batch normalisation


def random_task(rng: np.random.Generator, size: int = 32) -> ImageTask:
    images = rng.integers(0, 256, (10 * BATCH, 1, size, size)).astype(np.uint8)
    labels = np.arange(len(images)) % 10
    return ImageTask("random", images, labels, images, labels, tuple("0123456789"))


def random_teacher(
    rng: np.random.Generator, size: tuple[int, int], n: int = 500, *, centred: bool = True
) -> SimilarityTeacher:
    stimuli = rng.integers(0, 256, (n, 1, *size)).astype(np.uint8)
    responses = rng.standard_normal((n, 50)).astype(np.float32)
    responses /= np.linalg.norm(responses, axis=1, keepdims=True)
    similarity = np.clip(responses @ responses.T, -1, 1)
    return SimilarityTeacher("random", stimuli, similarity, centred=centred)


def pixels(text: str) -> tuple[int, int]:
    height, width = text.split("x")
    return int(height), int(width)


def lesson_of(args: argparse.Namespace, rng: np.random.Generator) -> tuple[dict[str, Any], Teacher]:
    """Settings of the lesson, and a teacher for it."""
    if args.lesson in OF_RESPONSES:
        stimuli = rng.integers(0, 256, (500, 1, *args.stimulus_size)).astype(np.uint8)
        responses = rng.gamma(1, 1, (500, args.neurons)).astype(np.float16)
        settings = {"method": args.lesson, "layer": TRUNK, "n_stimuli": args.stimuli}
        return settings, ResponseTeacher("random", stimuli, responses)
    teacher = random_teacher(rng, args.stimulus_size, centred=args.lesson != "rsm")
    if args.lesson == "rsm":
        return {"method": "rsm", "layer": STAGES[0], "n_pairs": args.stimuli // 2}, teacher
    layers = tuple(args.layers) if args.layers else None
    return {"method": args.lesson, "n_stimuli": args.stimuli, "layers": layers}, teacher


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=16, help="of ResNet18; 64 in the paper")
    parser.add_argument("--stimuli", type=int, help="in a joint step")
    parser.add_argument("--stimulus-size", type=pixels, metavar="HxW")
    parser.add_argument("--layers", nargs="+", choices=STAGES, help="compared; all by default")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1, help="one is disturbed least by others")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print a JSON object last")
    parser.add_argument("--lesson", choices=LESSONS, default="li")
    parser.add_argument("--neurons", type=int, default=7776, help="of a teacher of responses")
    args = parser.parse_args()
    of_responses = args.lesson in OF_RESPONSES
    args.stimuli = args.stimuli or (BATCH if of_responses else 9)
    args.stimulus_size = args.stimulus_size or ((64, 64) if of_responses else (36, 64))
    torch.set_num_threads(args.threads)

    rng = np.random.default_rng(0)
    size = 64 if of_responses else 32
    task = random_task(rng, size)
    settings, teacher = lesson_of(args, rng)
    architecture = "vgg19_bn" if of_responses else "resnet18"
    network = NetworkConfig(architecture=architecture, width=args.width)
    config = TrainingConfig.model_validate({"batch_size": BATCH, "regularizer": settings})
    plain = Training(task, network, TrainingConfig(batch_size=BATCH), 0, device=args.device)
    joint, floor = (
        Training(task, network, config, 0, teacher=teacher, device=args.device) for _ in range(2)
    )
    _teach_nothing(floor)

    def steps(training: Training) -> Callable[[], list[float]]:
        epochs = (training.task_batches(epoch) for epoch in count())
        batches = chain.from_iterable(epochs)
        return lambda: training.step(*next(batches), 1e-3).tolist()  # waits for a GPU to finish

    runs = {
        "plain step": steps(plain),
        "joint step": steps(joint),
        "passage of the stimuli": steps(floor),
    }
    shown = "x".join(map(str, args.stimulus_size))
    share = args.stimuli * np.prod(args.stimulus_size) / (BATCH * size**2)
    name = "VGG-19" if of_responses else "ResNet18"
    times = alternate(runs, args.repeats)
    of_floor = np.median(times["joint step"]) / np.median(times["passage of the stimuli"])
    report(
        f"{args.lesson}: {name} of width {args.width}, {BATCH} task images of {size} x {size}, "
        f"{args.stimuli} stimuli of {shown} ({share:.2f} of their pixels)",
        times,
        "plain step",
        {
            "bar": BAR if args.lesson == "li" else None,
            "joint_over_passage": round(float(of_floor), 3),
            "bar_of_passage": BARS_OF_FLOOR.get(args.lesson, BAR_OF_FLOOR),
            "lesson": args.lesson,
            "width": args.width,
            "task_images": BATCH,
            "stimuli": args.stimuli,
            "stimulus_size": shown,
            "layers": config.regularizer.layers if config.regularizer else None,
            "neurons": args.neurons if of_responses else 0,
            "device": args.device,
        },
        as_json=args.json,
    )


def _teach_nothing(training: Training) -> None:
    """Pass stimuli through the network, and learn nothing of what is read but its size."""
    lesson: Any = training.lesson
    pairs = getattr(lesson, "_pairs", None)

    def loss(*drawn: Tensor) -> Tensor:
        chosen = drawn[0] if pairs is None else pairs[:, drawn[0]].flatten()
        # The last one alone: whatever comes before it is on its way.
        return lesson._stimuli.features(chosen)[-1].square().mean()

    lesson.loss = loss


if __name__ == "__main__":
    main()
