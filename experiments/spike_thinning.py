"""At which signal-to-noise ratio does the denoiser beat a single trial?

Thins the spike counts of a recording: each spike is kept with probability p, as if the counting
window or the firing rate had been smaller. Encoder, single trials and oracle all start from the
thinned counts. Prints, for each p, corr(S_oracle, S_data) and corr(S_oracle, S_model) on the test
tier, the denoiser fitted anew.

    python experiments/spike_thinning.py session_210325_trials.npz --test-images 100
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from pipeline.experiments.file import read_experiment
from predictive_model.fits.fitting import fit
from predictive_model.importers.arrays import read_arrays
from predictive_model.recordings.recording import Recording, RecordingError
from predictive_model.scoring.reliability import reliability
from regularized_training.teachers.similarity import similarity_quality


def thinned(recording: Recording, p: float, seed: int = 0) -> Recording:
    """The recording with each spike kept with probability ``p``."""
    counts = recording.responses
    if (counts % 1 != 0).any():
        raise RecordingError("responses: not whole numbers, so there are no spikes to thin")
    kept = np.random.default_rng(seed).binomial(counts.astype(np.int64), p)
    return replace(recording, responses=kept.astype(np.float32))


def main(
    file: Annotated[Path, typer.Argument(help="A recording of spike counts (.npz).")],
    test_images: Annotated[int | None, typer.Option(help="As for import scan.")] = None,
    p: Annotated[
        list[float] | None, typer.Option(help="Probability of keeping a spike; may be repeated.")
    ] = None,
    settings: Annotated[Path, typer.Option(help="Encoder and fit of this experiment.")] = (
        Path(__file__).parent / "li2019-v4.toml"
    ),
) -> None:
    """Print the table; each line takes one fit."""
    recording = read_arrays(file, test_images=test_images)
    experiment = read_experiment(settings, "small")
    table = Table(title=f"{recording.name}: {recording.n_neurons} neurons, thinned spike counts")
    for column in ("p", "counts/trial", "mean w", "S_data", "S_model", "ceiling"):
        table.add_column(column, justify="right")
    for probability in p or [1.0, 0.5, 0.25, 0.1]:
        scan = thinned(recording, probability)
        q = similarity_quality(scan, fit(scan, experiment.encoder, experiment.fit, seed=0))
        values = (
            scan.responses.mean(),
            reliability(scan).weight.mean(),
            q.data_correlation,
            q.model_correlation,
            q.oracle_ceiling,
        )
        table.add_row(f"{probability:g}", *(f"{v:.3f}" for v in values))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
