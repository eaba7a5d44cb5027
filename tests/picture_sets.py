"""Small folders of pictures, and the same in shards."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "owl")
COUNTS = {"train": 8, "val": 3}  # of each class


def write_pictures(folder: Path, counts: dict[str, int] = COUNTS) -> Path:
    """Pictures of several sizes, JPEG and PNG, grey and in colour."""
    rng = np.random.default_rng(0)
    for split, n in counts.items():
        for name in CLASSES:
            below = folder / split / name
            below.mkdir(parents=True)
            for i in range(n):
                shape = (20 + 4 * i, 36 - 2 * i) + ((3,) if i % 4 else ())
                pixels = rng.integers(0, 256, shape).astype(np.uint8)
                ending = "png" if i % 3 == 0 else "JPEG"
                Image.fromarray(pixels).save(below / f"{name}_{i}.{ending}")
    return folder


def write_shards(folder: Path, pictures: Path, per_shard: int = 10) -> Path:
    """The same pictures as webdataset would have them."""
    folder.mkdir()
    for split in COUNTS:
        files = sorted((pictures / split).rglob("*.*"), key=lambda file: file.name[::-1])
        for start in range(0, len(files), per_shard):
            with tarfile.open(folder / f"{split}-{start // per_shard:03d}.tar", "w") as tar:
                for file in files[start : start + per_shard]:
                    label = str(CLASSES.index(file.parent.name)).encode()
                    add(tar, file.name, file.read_bytes())
                    add(tar, f"{file.stem}.cls", label)
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return folder


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
