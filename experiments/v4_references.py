"""Encoders of three V4 sessions beside a linear-nonlinear model and a Gabor-energy ridge.

python experiments/v4_references.py FOLDER [--splits 3] [--output scores.csv]

FOLDER holds the sessions of docs/real-data.md. In each split other images are held out; all three
models learn from the same train tier and are tuned on the same validation tier. Scores are
correlations with the recorded average response to held-out images, means over units. The settings
of the encoders are those of experiments/v4-encoders.toml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from pipeline.experiments.file import read_experiment
from predictive_model.fits.fitting import fit_jointly
from predictive_model.importers import read_recording
from predictive_model.recordings.recording import Recording
from predictive_model.scoring.baselines import fit_gabor_ridge, fit_linear_nonlinear
from predictive_model.scoring.ceilings import cc_max
from predictive_model.scoring.correlation import correlation

# Each session's file, and how many images are held out.
SESSIONS = {
    "210325": ("session_210325_trials.npz", 100),
    "201025": ("session_201025_mean.npz", 200),
    "190923": ("session_190923_mean.npz", 200),
}
MODELS = ("linear-nonlinear", "Gabor ridge", "encoder")


def score(
    scan: Recording, predict: Callable[[NDArray], NDArray[np.float32]]
) -> tuple[float, float | None, float | None]:
    """Correlation to the average, its ceiling, and CC_norm; the last two need repeats."""
    images = scan.images_of("test")
    trials = scan.repeated_trials(images)
    to_average = correlation(predict(scan.images[images]), np.nanmean(trials, axis=1))
    if (scan.repeats[images] < 2).any():
        return float(to_average.mean()), None, None
    ceiling = cc_max(trials)
    known = ceiling > 0
    return (
        float(to_average.mean()),
        float(ceiling.mean()),
        float(np.median(to_average[known] / ceiling[known])),
    )


def scores_of_split(folder: Path, split: int) -> Iterator[dict[str, Any]]:
    """A row for each session and model."""
    settings = read_experiment(Path(__file__).with_name("v4-encoders.toml"), "paper")
    scans = [
        read_recording(folder / file, name=name, test_images=held_out, seed=split)
        for name, (file, held_out) in SESSIONS.items()
    ]
    encoders = fit_jointly(scans, settings.encoder, settings.fit, seed=split)
    for scan, encoder in zip(scans, encoders, strict=True):
        fitted = (fit_linear_nonlinear(scan), fit_gabor_ridge(scan), encoder)
        for model, one in zip(MODELS, fitted, strict=True):
            to_average, ceiling, cc_norm = score(scan, one.predict)
            yield dict(
                split=split,
                session=scan.name,
                model=model,
                to_average=to_average,
                ceiling=ceiling,
                cc_norm=cc_norm,
            )


def main(
    folder: Annotated[Path, typer.Argument(help="Where the sessions are.")],
    splits: Annotated[int, typer.Option(min=1, help="How many.")] = 3,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A .csv file.")] = None,
) -> None:
    """Compare the three models on held-out images of each session."""
    rows = [
        row
        for split in track(range(splits), "splits", console=Console(stderr=True))
        for row in scores_of_split(folder, split)
    ]
    frame = pd.DataFrame(rows)
    if output:
        frame.to_csv(output, index=False)
    mean = frame.drop(columns="split").groupby(["session", "model"], sort=False).mean()
    print(frame.to_string(index=False, float_format="{:.3f}".format))
    print(mean.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    typer.run(main)
