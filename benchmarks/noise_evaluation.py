"""What evaluating under noise adds to the network's own work: noise, confidence, calibration.

python -m benchmarks.noise_evaluation [--images 10000] [--levels 9] [--kind gaussian] [--json]

Beside it, bare forward passes of the same network over as many batches of the same sizes.
"""

from __future__ import annotations

import argparse
from typing import get_args

import numpy as np
import torch

from benchmarks.alternate import alternate, report
from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.robustness.noise import NoiseConfig, NoiseKind, accuracy_under_noise

BAR = 1.1  # times as long as the bare forward passes
BARE, OURS = "forward passes", "accuracy_under_noise"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--levels", type=int, default=9, help="of noise, up to a deviation of 0.3")
    parser.add_argument("--kind", choices=get_args(NoiseKind), default="gaussian")
    parser.add_argument("--batch", type=int, default=NoiseConfig().batch_size)
    parser.add_argument("--width", type=int, default=16, help="of ResNet18; 64 in the paper")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="one is disturbed least by others")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print a JSON object last")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (args.images, 1, 32, 32)).astype(np.uint8)
    labels = np.arange(args.images) % 10
    network = build_network(NetworkConfig(width=args.width), 1, 10, seed=0).to(args.device).eval()
    levels = tuple(np.linspace(0, 0.3, args.levels).tolist())
    config = NoiseConfig(kind=args.kind, levels=levels, batch_size=args.batch)
    one_batch = torch.rand(args.batch, 1, 32, 32, device=args.device)
    one_batch = one_batch.contiguous(memory_format=torch.channels_last)

    def forward_passes(n_images: int) -> float:
        with torch.inference_mode():
            for start in range(0, n_images, args.batch):
                for _ in levels:
                    logits = network(one_batch[: n_images - start])
        return logits.sum().item()  # waits for a GPU to finish

    def under_noise(n_images: int) -> object:
        return accuracy_under_noise(
            network, images[:n_images], labels[:n_images], config, args.device
        )

    for run in (forward_passes, under_noise):  # in place of a first round that does not count
        run(min(2 * args.batch, args.images))
    runs = {BARE: lambda: forward_passes(args.images), OURS: lambda: under_noise(args.images)}
    report(
        f"ResNet18 of width {args.width}, {args.images} images of 32 x 32, "
        f"{args.levels} levels of {args.kind} noise",
        alternate(runs, args.repeats, warmup=0),
        BARE,
        {
            "bar": BAR,
            "images": args.images,
            "levels": args.levels,
            "kind": args.kind,
            "batch": args.batch,
            "device": args.device,
        },
        as_json=args.json,
    )


if __name__ == "__main__":
    main()
