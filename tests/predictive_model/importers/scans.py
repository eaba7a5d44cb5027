"""Tiny scans in every format, whole and spoilt."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from predictive_model.exporters import write_recording
from predictive_model.recordings.recording import Recording

# The forms that a scan can be written in, by the ending of its name.
FORMS = {".npz": "npz", "": "sensorium", ".zip": "sensorium", ".nwb": "nwb"}


def toy(seed: int = 0, **changes: Any) -> Recording:
    """20 images, two of them in all tiers but train shown again, 5 neurons, all extras."""
    rng = np.random.default_rng(seed)
    index = np.r_[rng.permutation(20), 0, 1, 0, 1]
    tier = np.where(index < 2, "test", np.where(index < 5, "validation", "train"))
    arrays = {
        "name": "toy",
        "images": rng.integers(0, 256, (20, 1, 6, 8)).astype(np.uint8),
        "image_index": index,
        "responses": rng.gamma(1.0, 2.0, (24, 5)).astype(np.float32),
        "behaviour": rng.gamma(2.0, 1.0, (24, 3)).astype(np.float32),
        "pupil": rng.normal(50, 5, (24, 2)).astype(np.float32),
        "tier": tier,
        "neuron_ids": np.array([7, 3, 12, 5, 1]),
        "behaviour_names": ("pupil size", "d pupil/dt", "running"),
        "cortical_positions": rng.normal(0, 300, (5, 3)).astype(np.float32),
        "species": "mouse",
        "area": "V1",
    }
    return Recording(**(arrays | changes))


def written(recording: Recording, folder: Path, ending: str) -> Path:
    return write_recording(recording, folder / f"{recording.name}{ending}", format=FORMS[ending])


def assert_same(a: Recording, b: Recording) -> None:
    """Equal in every field, types of arrays included."""
    for field in dataclasses.fields(Recording):
        expected, found = getattr(a, field.name), getattr(b, field.name)
        if isinstance(expected, np.ndarray):
            assert found is not None and found.shape == expected.shape, field.name
            assert found.dtype.kind == expected.dtype.kind, field.name
            if expected.dtype.kind != "U":
                assert found.dtype == expected.dtype, field.name
            np.testing.assert_array_equal(found, expected, err_msg=field.name)
        else:
            assert found == expected, field.name


def published(folder: Path) -> Path:
    """A tree as the Sensorium competition publishes it, with a withheld tier."""
    rng = np.random.default_rng(3)
    root = folder / "static1-2-3"
    pictures = rng.integers(0, 256, (12, 1, 6, 8)).astype(np.float32)
    shown = np.r_[:12, 8, 9, 8, 9, 10, 11]
    tier = np.array(["train"] * 6 + ["validation"] * 2 + ["test"] * 2 + ["final_test"] * 2)[shown]
    for trial, image in enumerate(shown):
        save(root / f"data/images/{trial}.npy", pictures[image])
        save(root / f"data/behavior/{trial}.npy", rng.random(3))
        save(root / f"data/pupil_center/{trial}.npy", rng.random(2))
        if tier[trial] != "final_test":
            save(root / f"data/responses/{trial}.npy", rng.random(4).astype(np.float32))
    save(root / "meta/trials/tiers.npy", tier)
    # Ids that are distinct within a class only.
    save(root / "meta/trials/frame_image_id.npy", 5000 - shown // 2)
    save(root / "meta/trials/frame_image_class.npy", np.array(["imagenet", "other"])[shown % 2])
    save(root / "meta/trials/trial_idx.npy", np.arange(len(shown)))
    save(root / "meta/neurons/unit_ids.npy", np.array([11, 12, 14, 19]))
    save(root / "meta/neurons/cell_motor_coordinates.npy", rng.integers(-500, 500, (4, 3)))
    save(root / "meta/neurons/area.npy", np.array(["V1"] * 4))
    save(root / "meta/statistics/responses/all/std.npy", np.ones(4))
    return root


def save(file: Path, array: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, array)


def zipped(root: Path) -> Path:
    """The tree at the top of an archive."""
    return Path(shutil.make_archive(str(root), "zip", root))
