"""Images per second of our training loop against the loop that everybody writes.

python -m benchmarks.training_throughput [--network cornet_z] [--width 64] [--workers 0] [--json]

The peer is PyTorch's own recipe: a Dataset of the same images with torchvision's random crop, flip
and ToTensor for each image, a DataLoader, and the same network, loss and optimiser in the memory
format that tensors come in.
"""

from __future__ import annotations

import argparse
from itertools import count
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.alternate import alternate, ratio, report
from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.image_files import read_image_folder
from regularized_training.tasks.image_task import ImageTask
from regularized_training.training import Training
from regularized_training.training_config import TrainingConfig

BAR = 2.0  # times the images per second of the peer
PEER, OURS = "DataLoader", "neuroteach"
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4


class Pictures(Dataset):
    """Images and labels as torchvision's own data sets give them."""

    def __init__(self, task: ImageTask) -> None:
        self.images = task.train_images.transpose(0, 2, 3, 1)
        self.labels = task.train_labels.tolist()
        size = task.image_shape[1]
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(size, padding=4, padding_mode="reflect"),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[i])), self.labels[i]


def plain_epoch(task: ImageTask, config: NetworkConfig, args: argparse.Namespace) -> Any:
    loader = DataLoader(
        Pictures(task),
        args.batch,
        shuffle=True,
        drop_last=True,
        num_workers=args.workers,
        pin_memory=args.device != "cpu",
        persistent_workers=args.workers > 0,
    )
    network = build_network(config, 3, len(task.classes), seed=0)
    network = network.to(args.device, memory_format=torch.contiguous_format)
    optimizer = torch.optim.SGD(
        network.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY
    )

    def run() -> float:
        total = 0.0
        for images, labels in loader:
            images, labels = images.to(args.device), labels.to(args.device)
            optimizer.zero_grad()
            loss = F.cross_entropy(network(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total

    return run


def our_epoch(task: ImageTask, config: NetworkConfig, args: argparse.Namespace) -> Any:
    settings = TrainingConfig(
        batch_size=args.batch,
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
        schedule="constant",
        precision=args.precision,
    )
    training = Training(task, config, settings, 0, device=args.device)
    epochs = count()

    def run() -> float:
        total = torch.zeros(3, device=args.device)
        for images, labels in training.task_batches(next(epochs)):
            total += training.step(images, labels, LEARNING_RATE)
        return float(total[0])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", help="folder or archive; random ones by default")
    parser.add_argument("--number", type=int, default=2_000, help="of training images")
    parser.add_argument("--network", default="cornet_z")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--workers", type=int, default=0, help="of the DataLoader")
    parser.add_argument("--precision", default="float32", help="ours; the peer's is float32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="one is disturbed least by others")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print a JSON object last")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    if args.images:
        task = read_image_folder(args.images, grey=False).subset(args.number, None)
    else:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (args.number, 3, 32, 32)).astype(np.uint8)
        labels = np.arange(args.number) % 100
        names = tuple(map(str, range(100)))
        task = ImageTask("random", images, labels, images[:100], labels[:100], names)
    config = NetworkConfig(architecture=args.network, width=args.width)
    runs = {make: maker(task, config, args) for make, maker in MAKERS.items()}
    seconds = alternate(runs, args.repeats, warmup=1)
    n = len(task.train_labels) // args.batch * args.batch
    report(
        f"{args.network} of width {args.width}, an epoch of {n} images of 32 x 32",
        seconds,
        OURS,
        {
            "bar": BAR,
            "faster": round(ratio(seconds, PEER, OURS), 2),
            "batch": args.batch,
            "workers": args.workers,
            "precision": args.precision,
            "device": args.device,
        },
        as_json=args.json,
    )


MAKERS = {PEER: plain_epoch, OURS: our_epoch}

if __name__ == "__main__":
    main()
