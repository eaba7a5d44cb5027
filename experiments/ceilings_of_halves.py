"""Are our ceilings right? Ceilings from some repeats of real neurons against the other repeats.

The mean over other repeats is a prediction of known quality: its noise is that of so many repeats.
So a few repeats of a neuron tell, by their signal power and their noise, what its correlation with
their mean and with their single trials will be; and that is then looked up.

    python experiments/ceilings_of_halves.py $NEUROTEACH_DATA/macaque_v1_henaff/ay4_u006.npz

reads the spike counts of macaque V1 of Henaff et al. 2021, ``counts`` (scale, category, movie,
frame, unit, repeat), 255 where a trial is missing. First it prints whether repeats agree at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from predictive_model.recordings.repeats import Repeats
from predictive_model.scoring.ceilings import cc_max, fraction_explainable_variance
from predictive_model.scoring.correlation import correlation
from predictive_model.scoring.scores import correlation_to_average

Array = NDArray[np.float64]
MISSING = 255
CATEGORIES = 2  # natural and synthetic; contrast was shown at one scale, and not of all movies
BLOCK = 10
FIRST = 10  # the repeats before do not agree with the others
COLUMNS = ("average, foretold", "average, found", "trial, foretold", "trial, found")


def read_counts(file: Path) -> Array:
    """(movie shown, frame, unit, repeat), NaN where a trial is missing."""
    with np.load(file) as arrays:
        counts = arrays["counts"][:, :CATEGORIES].astype(np.float64)
    counts[counts == MISSING] = np.nan
    return counts.reshape(-1, *counts.shape[3:])


def agreement_of_repeats(counts: Array) -> Array:
    """(block, block) correlation of trials of one frame in two blocks of ten repeats.

    Of units without missing trials, each movie's mean in that repeat taken off, so that slow
    changes of a unit's rate have no part in it. A repeat with itself is left out.
    """
    whole = counts[:, :, np.isfinite(counts).all((0, 1, 3))]
    z = np.moveaxis(whole - whole.mean(1, keepdims=True), 2, 0)
    z = z.reshape(len(z), -1, counts.shape[3])
    z /= z.std((1, 2), keepdims=True)
    table = np.einsum("uit,uis->ts", z, z) / (z.shape[0] * z.shape[1])
    np.fill_diagonal(table, np.nan)
    n = len(table) // BLOCK
    return np.nanmean(table.reshape(n, BLOCK, n, BLOCK), axis=(1, 3))


def repeats_of_units(counts: Array, first: int = FIRST) -> list[Repeats]:
    """The repeats of each unit: trials are missing in some units and not in others."""
    by_frame = np.moveaxis(counts[..., first:], 2, 0)
    return [Repeats.of(unit.reshape(-1, unit.shape[-1], 1)) for unit in by_frame]


def foretold_and_found(known: Repeats, others: Repeats) -> Array:
    """Correlation with the others' mean: of the mean over repeats and of a trial; each twice."""
    n_others = float(1 / np.mean(1 / others.counts))
    of_others = cc_max(known, n_others)[0]
    of_trial = np.sqrt(max(fraction_explainable_variance(known)[0], 0))
    mean = others.mean()
    return np.array(
        [
            cc_max(known)[0] * of_others,
            correlation_to_average(known, Repeats(mean[known.image], known.counts))[0],
            of_trial * of_others,
            correlation(known.values, mean[known.image])[0],
        ]
    )


def split(unit: Repeats, part: float, rng: np.random.Generator | None) -> tuple[Repeats, Repeats]:
    """Repeats to foretell from, a number or a fraction of each image's, and another half.

    At random, or without ``rng`` in the order in which they were recorded.
    """
    if rng is not None:
        unit = unit.shuffled(rng)
    n = (part * unit.counts).astype(np.int64) if part < 1 else np.full_like(unit.counts, part)
    return unit.between(0, n), unit.between(n, n + unit.counts // 2)


def table_of(units: list[Repeats], part: float, n_splits: int, in_order: bool) -> Array:
    """(unit, column), mean over splits."""
    rng = None if in_order else np.random.default_rng(0)
    splits = [
        [foretold_and_found(*split(unit, part, rng)) for unit in units]
        for _ in range(1 if in_order else n_splits)
    ]
    return np.mean(splits, axis=0)


def main(
    file: Annotated[Path, typer.Argument(help="ay4_u006.npz")],
    splits: Annotated[int, typer.Option(help="Random ones.")] = 20,
    first: Annotated[int, typer.Option(help="Leave out the repeats before this one.")] = FIRST,
) -> None:
    """Print two tables; the second with all units, and without the least reliable sixth."""
    counts = read_counts(file)
    console = Console(width=120)
    agreement = Table(title="Correlation of trials of one frame, by blocks of ten repeats")
    for column in ("repeats", *(f"{10 * k + 1} to {10 * k + 10}" for k in range(5))):
        agreement.add_column(column, justify="right")
    for k, row in enumerate(agreement_of_repeats(counts)):
        agreement.add_row(f"{10 * k + 1} to {10 * k + 10}", *(f"{value:.3f}" for value in row))
    console.print(agreement)
    units = repeats_of_units(counts, first)
    few, most = (int(f([u.counts for u in units])) for f in (np.min, np.max))
    reliable = np.argsort([cc_max(unit)[0] for unit in units])[len(units) // 6 :]
    table = Table(
        title=f"{len(units)} units, {units[0].n_images} frames, {few} to {most} repeats: means "
        "over units (standard error of found - foretold)"
    )
    for column in ("foretold from", "split", "units", *COLUMNS):
        table.add_column(column, justify="right")
    for in_order in (False, True):
        for part, name in ((0.5, "half"), (0.25, "quarter"), (5, "5 repeats"), (2, "2 repeats")):
            every = table_of(units, part, splits, in_order)
            for found in (every, every[reliable]):
                values = [f"{value:.3f}" for value in found.mean(0)]
                for k in (1, 3):
                    error = (found[:, k] - found[:, k - 1]).std(ddof=1) / np.sqrt(len(found))
                    values[k] += f" ({error:.3f})"
                order = "in order" if in_order else "random"
                table.add_row(name, order, str(len(found)), *values)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
