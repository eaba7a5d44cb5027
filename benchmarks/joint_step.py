"""What a teacher costs: a joint training step against a plain one of the same network.

python -m benchmarks.joint_step [--width 64] [--stimuli 9] [--stimulus-size 36x64] [--json]

The stimuli's share of the pixels, printed beside the ratio, is what a joint step adds at the least
where the teacher reaches the last stage.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from benchmarks.alternate import alternate, report
from regularized_training.lessons.config import RegularizerConfig
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.teacher import SimilarityTeacher
from regularized_training.training import Training, TrainingConfig

BAR = 1.35  # times as long as a plain step, with 32 pairs or more
BATCH = 64
STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")


def random_task(rng: np.random.Generator) -> ImageTask:
    images = rng.integers(0, 256, (10 * BATCH, 1, 32, 32)).astype(np.uint8)
    labels = np.arange(len(images)) % 10
    return ImageTask("random", images, labels, images, labels, tuple("0123456789"))


def random_teacher(
    rng: np.random.Generator, size: tuple[int, int], n: int = 500
) -> SimilarityTeacher:
    stimuli = rng.integers(0, 256, (n, 1, *size)).astype(np.uint8)
    responses = rng.standard_normal((n, 50)).astype(np.float32)
    responses /= np.linalg.norm(responses, axis=1, keepdims=True)
    return SimilarityTeacher("random", stimuli, np.clip(responses @ responses.T, -1, 1))


def pixels(text: str) -> tuple[int, int]:
    height, width = text.split("x")
    return int(height), int(width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=16, help="of ResNet18; 64 in the paper")
    parser.add_argument("--stimuli", type=int, default=9, help="in a joint step, compared in pairs")
    parser.add_argument("--stimulus-size", type=pixels, default=(36, 64), metavar="HxW")
    parser.add_argument("--layers", nargs="+", choices=STAGES, help="compared; all by default")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1, help="one is disturbed least by others")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print a JSON object last")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    rng = np.random.default_rng(0)
    task, teacher = random_task(rng), random_teacher(rng, args.stimulus_size)
    network = NetworkConfig(width=args.width)
    regularizer = RegularizerConfig(
        n_stimuli=args.stimuli, layers=tuple(args.layers) if args.layers else None
    )
    plain = Training(task, network, TrainingConfig(batch_size=BATCH), 0, device=args.device)
    joint = Training(
        task,
        network,
        TrainingConfig(batch_size=BATCH, regularizer=regularizer),
        0,
        teacher=teacher,
        device=args.device,
    )

    def step(training: Training) -> list[float]:
        index = torch.from_numpy(rng.integers(0, len(task.train_labels), BATCH))
        return training.step(index, 1e-3).tolist()  # waits for a GPU to finish

    runs = {"plain step": lambda: step(plain), "joint step": lambda: step(joint)}
    size = "x".join(map(str, args.stimulus_size))
    share = args.stimuli * np.prod(args.stimulus_size) / (BATCH * 32 * 32)
    report(
        f"ResNet18 of width {args.width}, {BATCH} task images of 32 x 32, {args.stimuli} stimuli "
        f"of {size} ({share:.2f} of their pixels)",
        alternate(runs, args.repeats),
        "plain step",
        {
            "bar": BAR,
            "width": args.width,
            "task_images": BATCH,
            "stimuli": args.stimuli,
            "stimulus_size": size,
            "layers": args.layers or STAGES,
            "pairs": args.stimuli * (args.stimuli - 1) // 2,
            "device": args.device,
        },
        as_json=args.json,
    )


if __name__ == "__main__":
    main()
