"""Images per second of each manipulation of Geirhos et al. 2018.

python -m benchmarks.manipulations [--sizes 32 64 224] [--images 128] [--repeats 3] [--json]

They stand beside SciPy's Gaussian filter of the widest published blur, one image after the other,
and NumPy's Fourier transform of each image and back.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter

from benchmarks.alternate import alternate
from regularized_training.robustness.manipulations.apply import manipulate
from regularized_training.robustness.manipulations.config import PUBLISHED_LEVELS
from regularized_training.robustness.manipulations.filters import MEAN
from regularized_training.robustness.manipulations.fourier import mean_amplitude

WIDEST = max(PUBLISHED_LEVELS["low_pass"])
LEVELS = {name: levels[-1] for name, levels in PUBLISHED_LEVELS.items()} | {"low_pass": WIDEST}


def scipy_low_pass(images: np.ndarray) -> None:
    for image in images[:, 0]:
        gaussian_filter(image / 255, WIDEST, mode="constant", cval=MEAN)


def numpy_fourier(images: np.ndarray) -> None:
    for image in images[:, 0]:
        np.fft.irfft2(np.fft.rfft2(image / 255), s=image.shape)


def runs(size: int, n: int) -> dict[str, Callable[[], object]]:
    images = np.random.default_rng(0).integers(0, 256, (n, 3, size, size)).astype(np.uint8)
    amplitude = mean_amplitude(images)
    ours = {
        name: partial(
            manipulate, images, name, level, index=np.arange(n), seed=0, mean_amplitude=amplitude
        )
        for name, level in LEVELS.items()
    }
    return {
        **ours,
        "SciPy's low-pass": partial(scipy_low_pass, images),
        "NumPy's Fourier": partial(numpy_fourier, images),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 224], help="pixels")
    parser.add_argument("--images", type=int, default=128, help="of three channels, in one batch")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="one is disturbed least by others")
    parser.add_argument("--json", action="store_true", help="print a JSON object last")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    found: dict[str, dict[int, float]] = {}
    for size in args.sizes:
        for name, seconds in alternate(runs(size, args.images), args.repeats, warmup=1).items():
            found.setdefault(name, {})[size] = args.images / statistics.median(seconds)

    facts = {
        "images": args.images,
        "threads": args.threads,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }
    table = Table(
        "manipulation", "level", *(f"{size} px" for size in args.sizes), title="images per second"
    )
    for name, speeds in found.items():
        level = f"{LEVELS[name]:g}" if name in LEVELS else ""  # type: ignore[index]
        table.add_row(name, level, *(f"{speed:,.0f}" for speed in speeds.values()))
    console = Console()
    console.print(table)
    console.print(", ".join(f"{key}: {value}" for key, value in facts.items()), highlight=False)
    if args.json:
        print(json.dumps({"images_per_second": found, **facts}))


if __name__ == "__main__":
    main()
