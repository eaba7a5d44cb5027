"""What images alone predict of neurons, by the regressions that judge networks: pixels and Gabors.

python experiments/predictivity_references.py session_210325_trials.npz session_201025_mean.npz

On the very half of the images that scores a network's layer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from predictive_model.importers import read_recording
from regularized_training.alignment.ceiled import ceiled, neuron_ceiling
from regularized_training.alignment.layer_choice import halves
from regularized_training.alignment.predictivity import PredictivityConfig, predictivity
from regularized_training.alignment.scan_config import ScanPredictivityConfig
from regularized_training.teachers.controls import gabor_amplitudes

DEFAULTS = ScanPredictivityConfig(scan="any")
HELD_OUT = 100  # images, of an encoder's training; here all of them are used


def features_of(images: NDArray, size: int) -> dict[str, NDArray]:
    """Features (image, feature) that need no network, of images at a network's size."""
    tensor = torch.from_numpy(np.asarray(images, np.float32))
    shown = interpolate(tensor, size=(size, size), mode="area").round().numpy().astype(np.uint8)
    found: dict[str, NDArray] = {"pixels": shown, "Gabor amplitudes": gabor_amplitudes(shown)}
    return {name: f.reshape(len(f), -1).astype(np.float64) for name, f in found.items()}


def main() -> None:
    """Print a line for each recording, kind of features and regression."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="+", type=Path, metavar="recording")
    parser.add_argument("--size", type=int, default=32, help="pixels a side, of the networks")
    asked = parser.parse_args()
    print("recording, features, regression: score, score^2 / reliability")
    for path in asked.recordings:
        scan = read_recording(path, test_images=HELD_OUT)
        _, scoring = halves(len(scan.images), seed=DEFAULTS.seed)
        trials = scan.grouped_trials(scoring)
        for name, features in features_of(scan.images[scoring], asked.size).items():
            for method in ("pls", "ridge"):
                config = PredictivityConfig(method=method, seed=DEFAULTS.seed)
                found = predictivity(features, trials.mean(), config)
                score = ceiled(found, neuron_ceiling(trials))
                explained = f"{score.explained:.3f}" if score.explained is not None else "none"
                print(f"{path.stem}, {name}, {method}: {score.score:.3f}, {explained}")


if __name__ == "__main__":
    main()
