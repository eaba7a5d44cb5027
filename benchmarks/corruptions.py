"""Corrupted images beside imagecorruptions-imaug, which makes them one by one.

python -m benchmarks.corruptions [--size 32] [--images 10000] [--threads 2] [--each] [--json]

The 14 corruptions of Safarani et al. 2021 at five severities. The peer is given fewer images, and
its time is scaled up: it handles each alone. It takes the severities of ImageNet-C at any size,
ours are those of the size. ``pip install -e '.[bench]'`` installs it.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.alternate import alternate, report
from benchmarks.memory import memory_in_processes, peak_memory
from regularized_training.robustness.corruptions.config import PUBLISHED, SEVERITIES, Corruption
from regularized_training.robustness.corruptions.corrupt import corrupt

BARS = {32: 10, 64: 8}  # times as fast
KINDS = tuple(name for name in PUBLISHED if name != "glass_blur")
OURS, PEER = "corrupt", "imagecorruptions-imaug"
BATCH = 512


def ours(images: NDArray[np.uint8], kinds: tuple[Corruption, ...] = KINDS) -> None:
    for kind in kinds:
        for severity in SEVERITIES:
            for start in range(0, len(images), BATCH):
                index = np.arange(start, min(start + BATCH, len(images)))
                corrupt(images[index], kind, severity, index)


def theirs(images: NDArray[np.uint8], kinds: tuple[Corruption, ...] = KINDS) -> None:
    from imagecorruptions import corrupt as corrupted

    pictures = images.transpose(0, 2, 3, 1)
    for kind in kinds:
        for severity in SEVERITIES:
            for picture in pictures:
                corrupted(picture, corruption_name=kind, severity=severity)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=32, help="of images")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--peer-images", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--each", action="store_true", help="a line for each corruption")
    parser.add_argument("--json", action="store_true", help="print a JSON object last")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")

    rng = np.random.default_rng(0)
    shape = (max(args.images, args.peer_images), 3, args.size, args.size)
    images = rng.integers(0, 256, shape).astype(np.uint8)
    if args.memory_of:
        print(peak_memory(lambda: ours(images)))
        return
    few = images[: args.peer_images]
    theirs(few[:1])  # compiles
    ours(images[:BATCH])
    if args.each:
        _report_each(images[:BATCH], few)
    times = alternate({OURS: lambda: ours(images), PEER: lambda: theirs(few)}, args.repeats, 0)
    per_image = {OURS: args.images, PEER: args.peer_images}
    of_image = {name: [t / per_image[name] for t in taken] for name, taken in times.items()}
    faster = float(np.median(of_image[PEER]) / np.median(of_image[OURS]))
    options = ["--size", str(args.size), "--images", str(min(args.images, 4 * BATCH))]
    report(
        f"an image of {args.size} x {args.size} with {len(KINDS)} corruptions at "
        f"{len(SEVERITIES)} severities, each",
        of_image,
        OURS,
        {
            "bar": BARS.get(args.size),
            "times_as_fast": round(faster, 1),
            "seconds_in_all": round(float(np.median(times[OURS])), 1),
            "megabytes": memory_in_processes("corruptions", [OURS], options)[OURS],
            "size": args.size,
            "images": args.images,
            "peer_images": args.peer_images,
        },
        as_json=args.json,
    )


def _report_each(images: NDArray[np.uint8], few: NDArray[np.uint8]) -> None:
    for kind in KINDS:
        each = []
        for run, some in ((ours, images), (theirs, few)):
            started = time.perf_counter()
            run(some, (kind,))
            each.append(1e3 * (time.perf_counter() - started) / (len(some) * len(SEVERITIES)))
        print(f"{kind:20} {each[0]:8.3f} ms {each[1]:8.3f} ms {each[1] / each[0]:6.1f} times")


if __name__ == "__main__":
    main()
