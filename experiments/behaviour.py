"""Do running and pupil explain what a movie leaves open in single trials of a real mouse?

The recording is one session of the Allen Institute's Visual Coding - Neuropixels (Siegle et al.
2021): spike counts of a natural movie's 30 seconds in 20 repeats, with running speed, pupil and eye
position. Without the frames the mean of the other repeats stands for the stimulus; on top of it
come a slow drift and the encoder's modulator. Prints how well held-out repeats are predicted, per
unit of visual cortex, and with behaviour that was shifted in time or shuffled over repeats.

    python experiments/behaviour.py session_791319847.npz --figure behaviour.png
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import ttest_1samp

from predictive_model.encoders.config import ModulatorConfig
from predictive_model.inspection.behavioural_gain import (
    TrialScores,
    drift_basis,
    held_out_rates,
    score_trials,
    shifted,
    shuffled,
)

# The institute shows this movie in two blocks of ten repeats, with other stimuli between them.
BLOCKS = (0, 10)
FEWEST_UNITS = 5  # of an area that is listed


@dataclass(frozen=True, eq=False)
class Session:
    """Counts (unit, repeat, second), regions (unit,); behaviour and gaze (repeat, second, 2)."""

    counts: NDArray[np.float64]
    region: NDArray[np.str_]
    behaviour: NDArray[np.float64]
    gaze: NDArray[np.float64]

    @property
    def drift(self) -> NDArray[np.float32]:
        """Quadratic in time, with a step between the blocks."""
        return drift_basis(*self.counts.shape[1:], blocks=BLOCKS)

    @property
    def visual_cortex(self) -> NDArray[np.bool_]:
        """Units of visual cortex, primary and higher."""
        return np.char.startswith(self.region, "VIS")


def read_session(file: Path) -> Session:
    """Arrays of the session; the pupil's size is the root of its width times its height."""
    with np.load(file) as arrays:
        size = np.sqrt(arrays["pupil_width"] * arrays["pupil_height"])
        return Session(
            counts=arrays["counts"].astype(float),
            region=arrays["region"],
            behaviour=np.stack([arrays["speed"], size], axis=2).astype(float),
            gaze=np.stack([arrays["eye_x"], arrays["eye_y"]], axis=2).astype(float),
        )


def main(
    file: Annotated[Path, typer.Argument(help="The session's arrays (.npz).")],
    controls: Annotated[int, typer.Option(min=1, help="Shifts, and shuffles.")] = 19,
    figure: Annotated[Path | None, typer.Option(help="Also draw it.")] = None,
) -> None:
    """Print the tables; each model takes some seconds of one core."""
    session = read_session(file)
    counts = session.counts
    visual = session.visual_cortex
    models = _models(session)
    scores = {name: score_trials(counts, held_out_rates(counts, **m)) for name, m in models.items()}
    without, full = scores["drift"], scores["drift, running, pupil"]

    table = Table(title=f"{visual.sum()} units of visual cortex, held-out single trials")
    for column in ("beside the mean of the other repeats", "correlation", "bits/spike", "median"):
        table.add_column(column, justify="right")
    for name, score in scores.items():
        bits = score.log_likelihood[visual]
        values = (score.correlation[visual].mean(), np.nanmean(bits), np.nanmedian(bits))
        table.add_row(name, *(f"{value:.4f}" for value in values))
    Console().print(table)

    _print_differences(scores, visual)
    rng = np.random.default_rng(0)
    bins = counts.shape[1] * counts.shape[2]
    steps = rng.integers(counts.shape[2], bins - counts.shape[2], controls)
    drift = session.drift
    null = {
        "shifted": [shifted(session.behaviour, int(step)) for step in steps],
        "shuffled": [shuffled(session.behaviour, rng) for _ in range(controls)],
    }
    gains = {
        name: np.stack(
            [
                score_trials(counts, held_out_rates(counts, drift=drift, behaviour=b)).correlation
                - without.correlation
                for b in behaviours
            ]
        )
        for name, behaviours in null.items()
    }
    _print_controls(full.correlation - without.correlation, gains, visual)
    _print_areas(session.region, without, full, gains["shifted"])
    if figure is not None:
        _draw(without.correlation[visual], full.correlation[visual], gains, visual, figure)


def _models(session: Session) -> dict[str, dict[str, object]]:
    """What comes on top of the mean of the other repeats, by what it is called."""
    behaviour, gaze, drift = session.behaviour, session.gaze, session.drift
    within = behaviour - behaviour.mean(1, keepdims=True)
    finer = drift_basis(*session.counts.shape[1:], degree=4, blocks=BLOCKS)
    both = {"drift": drift, "behaviour": behaviour}
    turned = gaze - gaze.mean(1, keepdims=True)
    rng = np.random.default_rng(1)
    return {
        "nothing": {},
        "drift": {"drift": drift},
        "running, pupil": {"behaviour": behaviour},
        "drift, running, pupil": both,
        "drift, running": {"drift": drift, "behaviour": behaviour[..., :1]},
        "drift, pupil": {"drift": drift, "behaviour": behaviour[..., 1:]},
        "drift, running, pupil, each less its mean in the repeat": both | {"behaviour": within},
        "drift, running, pupil, by a hidden layer": both | {"modulator": ModulatorConfig()},
        "finer drift": {"drift": finer},
        "finer drift, running, pupil": both | {"drift": finer},
        "drift, eye position": {"drift": drift, "behaviour": gaze},
        "drift, running, pupil, eye position": both
        | {"behaviour": np.concatenate([behaviour, gaze], axis=2)},
        "drift, running, pupil, repeats of like gaze": both | {"gaze": gaze},
        "drift, running, pupil, repeats of shuffled gaze": both | {"gaze": shuffled(gaze, rng)},
        "drift, running, pupil, repeats of like turns": both | {"gaze": turned},
        "drift, running, pupil, repeats of shuffled turns": both | {"gaze": shuffled(turned, rng)},
    }


PAIRS = (
    ("drift, running, pupil", "drift"),
    ("drift, running", "drift"),
    ("drift, pupil", "drift"),
    ("drift, running, pupil, each less its mean in the repeat", "drift"),
    ("finer drift, running, pupil", "finer drift"),
    ("drift, running, pupil, by a hidden layer", "drift, running, pupil"),
    ("drift, eye position", "drift"),
    ("drift, running, pupil, eye position", "drift, running, pupil"),
    ("drift, running, pupil, repeats of like gaze", "drift, running, pupil"),
    (
        "drift, running, pupil, repeats of like gaze",
        "drift, running, pupil, repeats of shuffled gaze",
    ),
    (
        "drift, running, pupil, repeats of like turns",
        "drift, running, pupil, repeats of shuffled turns",
    ),
)


def _print_differences(scores: dict[str, TrialScores], visual: NDArray[np.bool_]) -> None:
    table = Table(title="Difference of correlations, paired over units of visual cortex")
    for column in ("of", "and", "mean", "SEM", "units better", "p, t-test"):
        table.add_column(column, justify="right")
    for first, second in PAIRS:
        d = (scores[first].correlation - scores[second].correlation)[visual]
        sem = d.std(ddof=1) / np.sqrt(len(d))
        p = ttest_1samp(d, 0).pvalue
        table.add_row(
            first, second, f"{d.mean():+.4f}", f"{sem:.4f}", f"{(d > 0).mean():.1%}", f"{p:.1e}"
        )
    Console().print(table)


def _print_controls(gain: NDArray, controls: dict[str, NDArray], visual: NDArray[np.bool_]) -> None:
    table = Table(title="Gain in correlation by running and pupil, beside drift; means over units")
    for column in ("behaviour", "mean", "lowest", "highest", "p"):
        table.add_column(column, justify="right")
    recorded = gain[visual].mean()
    table.add_row("as recorded", f"{recorded:+.4f}")
    for name, values in controls.items():
        means = values[:, visual].mean(1)
        p = (1 + (means >= recorded).sum()) / (1 + len(means))
        table.add_row(
            f"{name}, {len(means)} times",
            *(f"{value:+.4f}" for value in (means.mean(), means.min(), means.max())),
            f"{p:.3f}",
        )
    Console().print(table)


def _print_areas(
    region: NDArray[np.str_], without: TrialScores, full: TrialScores, shifts: NDArray
) -> None:
    table = Table(title="By area")
    for column in ("area", "units", "drift", "+ behaviour", "gain", "better", "above all shifts"):
        table.add_column(column, justify="right")
    visual = np.char.startswith(region, "VIS")
    groups = {"visual cortex": visual} | {area: region == area for area in np.unique(region)}
    gain = full.correlation - without.correlation
    for area, units in groups.items():
        if units.sum() < FEWEST_UNITS:
            continue
        above = (gain > shifts.max(0))[units].mean()
        table.add_row(
            area,
            str(units.sum()),
            f"{without.correlation[units].mean():.3f}",
            f"{full.correlation[units].mean():.3f}",
            f"{gain[units].mean():+.3f}",
            f"{(gain > 0)[units].mean():.0%}",
            f"{above:.0%}",
        )
    Console().print(table)


def _draw(
    without: NDArray,
    full: NDArray,
    controls: dict[str, NDArray],
    visual: NDArray[np.bool_],
    path: Path,
) -> None:
    """Each unit with and without behaviour, and the mean gain beside its controls."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(7, 3.2), layout="constrained")
    left, right = drawn.subplots(1, 2)
    left.plot([-0.2, 1], [-0.2, 1], color="0.7", linewidth=0.8)
    left.scatter(without, full, s=6, color="C0", linewidths=0)
    left.set(xlabel="correlation, with drift", ylabel="correlation, with drift and behaviour")
    left.set_aspect("equal")
    for colour, (name, values) in zip(("C1", "C2"), controls.items(), strict=True):
        right.hist(values[:, visual].mean(1), bins=8, color=colour, alpha=0.7, label=name)
    right.axvline((full - without).mean(), color="C0", label="as recorded")
    right.set(xlabel="gain in correlation, mean over units", ylabel="controls")
    right.legend(frameon=False)
    drawn.savefig(path, dpi=200)


if __name__ == "__main__":
    typer.run(main)
