"""What adversarial distances cost: ours against Foolbox called directly at the same settings.

python -m benchmarks.attacks [--method brendel_bethge | pgd] [--images 20] [--json]

The network is a ResNet18 that is trained on scikit-learn's digits before. Both attack the same
images, which it classifies correctly, in one batch.

``brendel_bethge``, L2: from the same starting points; Foolbox's solvers are compiled beforehand.
Foolbox multiplies its ``lr`` by the size of the batch, so it gets the step size over that.

``pgd``, Linf: Foolbox is called with all the radii among which ours searches for the smallest that
holds an adversarial image, as one would without a search. Where an image is fooled in a ball, but
not in a larger one, the search may miss the smaller; how many images differ is counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.alternate import alternate, report
from regularized_training.networks.config import NetworkConfig
from regularized_training.robustness.attacks import AttackConfig, _Attack, adversarial_distances
from regularized_training.robustness.foolbox_compat import foolbox
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.config import AugmentConfig
from regularized_training.tasks.image_files import digits
from regularized_training.training import train
from regularized_training.training_config import TrainingConfig

BAR = 1.1  # times as long as Foolbox alone
TOLERANCE = 1e-5  # relative, between distances that count as equal
OURS, FOOLBOX = "adversarial_distances", "foolbox"
DEFAULTS = {"brendel_bethge": ("L2", 0.01, 100), "pgd": ("Linf", 0.03, 10)}
SEED = 0

Distances = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """A network, images it classifies correctly, and how they are attacked."""

    network: nn.Module
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    config: AttackConfig

    @property
    def floats(self) -> tuple[Tensor, Tensor]:
        """Images in [0, 1] and labels."""
        return to_float(torch.from_numpy(self.images)), torch.from_numpy(self.labels)


def problem(args: argparse.Namespace) -> Problem:
    task = digits(32)
    config = TrainingConfig(
        epochs=args.epochs,
        schedule="one_cycle",
        augment=AugmentConfig(padding=2, flip=False),
        n_test=100,
    )
    network = train(task, NetworkConfig(width=args.width), config, SEED).network()
    with torch.no_grad():
        x = to_float(torch.from_numpy(task.test_images))
        answers = torch.cat([network(part).argmax(1) for part in x.split(128)]).numpy()
    right = np.flatnonzero(answers == task.test_labels)[: args.images]
    norm, step_size, steps = DEFAULTS[args.method]
    attack = AttackConfig(
        method=args.method,
        norm=norm,
        step_sizes=(args.step_size or step_size,),
        steps=(args.steps or steps,),
        n_images="all",
        batch_size=args.images,
        seed=SEED,
    )
    return Problem(network, task.test_images[right], task.test_labels[right], attack)


def ours(it: Problem) -> Distances:
    return adversarial_distances(it.network, it.images, it.labels, it.config).distance


def foolbox_boundary(it: Problem) -> Callable[[], Distances]:
    """Foolbox's L2 attack of Brendel and Bethge from the starting points of ours."""
    (x, y), (step_size,), (steps,) = it.floats, it.config.step_sizes, it.config.steps
    search = _Attack(it.network, it.images, it.labels, it.config, "cpu")
    starts, found = search._starting_points(y, np.arange(len(y)))
    if not found.all():
        raise SystemExit("--images: the network takes all for one class; attack more")

    def run() -> Distances:
        attack = foolbox.attacks.L2BrendelBethgeAttack(steps=steps, lr=step_size / len(x))
        model = foolbox.PyTorchModel(it.network, bounds=(0, 1), device="cpu")
        adversarial = attack.run(model, x, foolbox.Misclassification(y), starting_points=starts)
        return foolbox.distances.l2(x, adversarial).double().numpy()

    return run


def foolbox_pgd(it: Problem) -> Callable[[], Distances]:
    """Foolbox's Linf projected gradient descent in all the balls that ours may try."""
    (x, y), (step_size,), (steps,) = it.floats, it.config.step_sizes, it.config.steps
    radii = _Attack(it.network, it.images, it.labels, it.config, "cpu")._sizes(x).tolist()

    def run() -> Distances:
        attack = foolbox.attacks.LinfPGD(abs_stepsize=step_size, steps=steps, random_start=False)
        model = foolbox.PyTorchModel(it.network, bounds=(0, 1), device="cpu")
        _, clipped, success = attack(model, x, foolbox.Misclassification(y), epsilons=radii)
        reached = torch.stack([foolbox.distances.linf(x, part) for part in clipped])
        return torch.where(success, reached.double(), torch.inf).amin(0).numpy()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=tuple(DEFAULTS), default="brendel_bethge")
    parser.add_argument("--images", type=int, default=20, help="of which all are attacked at once")
    parser.add_argument("--steps", type=int, help="100, of pgd 10, by default")
    parser.add_argument("--step-size", type=float, help="0.01, of pgd 0.03, by default")
    parser.add_argument("--epochs", type=int, default=15, help="of training, 20 steps each")
    parser.add_argument("--width", type=int, default=16, help="of ResNet18; 64 in the paper")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="one is disturbed least by others")
    parser.add_argument("--json", action="store_true", help="print a JSON object last")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    it = problem(args)
    # In place of a first round that does not count; compiles Foolbox's solvers.
    once = it.config.model_copy(update={"steps": (1,)})
    ours(Problem(it.network, it.images, it.labels, once))
    alone = (foolbox_boundary if args.method == "brendel_bethge" else foolbox_pgd)(it)
    found: dict[str, Distances] = {}
    evaluations: dict[str, float] = {}
    at_once: dict[str, float] = {}

    def counted(name: str, run: Callable[[], Distances]) -> Callable[[], None]:
        def go() -> None:
            asked: list[int] = []  # how many images each time that a gradient is wanted
            hook = it.network.register_forward_hook(
                lambda module, inputs, logits: asked.append(len(logits) * inputs[0].requires_grad)
            )
            found[name] = run()
            hook.remove()
            evaluations[name] = sum(asked) / len(it.images)
            at_once[name] = float(np.median([n for n in asked if n]))

        return go

    runs = {FOOLBOX: counted(FOOLBOX, alone), OURS: counted(OURS, lambda: ours(it))}
    seconds = alternate(runs, args.repeats, warmup=0)
    equal = np.isclose(found[OURS], found[FOOLBOX], rtol=TOLERANCE, atol=0)
    report(
        f"{it.config.norm} {args.method}, {it.config.steps[0]} steps, {len(it.images)} images of "
        f"32 x 32, ResNet18 of width {args.width}",
        seconds,
        FOOLBOX,
        {
            "bar": BAR,
            "images": len(it.images),
            "steps": it.config.steps[0],
            "step_size": it.config.step_sizes[0],
            "tolerance": TOLERANCE,
            "equal_distances": int(equal.sum()),
            "foolbox": foolbox.__version__,
        },
        columns={
            "gradients_per_image": evaluations,
            "median_images_at_once": at_once,
            "median_distance": {name: float(np.median(value)) for name, value in found.items()},
        },
        as_json=args.json,
    )


if __name__ == "__main__":
    main()
