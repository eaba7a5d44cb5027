"""Folders of generated pictures, as large as a benchmark wants them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE, COARSE = 224, 28  # pixels


def write_pictures(folder: Path, n: int, *, n_classes: int = 10, side: int = SIDE) -> Path:
    """Write `n` JPEG files below ``train/CLASS``, and a tenth as many below ``val/CLASS``.

    Smooth noise with some grain compresses about as photographs do. What is there is left alone.
    """
    for split, number in (("train", n), ("val", max(n // 10, n_classes))):
        for i in range(number):
            file = folder / split / f"class{i % n_classes}" / f"{i:07d}.JPEG"
            if file.exists():
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng([i, split == "train"])
            coarse = Image.fromarray(rng.integers(0, 256, (COARSE, COARSE, 3), dtype=np.uint8))
            pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.int16)
            pixels = pixels + rng.integers(-6, 7, pixels.shape, dtype=np.int16)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, quality=90)
    return folder
