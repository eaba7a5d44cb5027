"""How often do 95 % intervals over images hold what they are for?

Simulates populations of neurons that see images and an encoder that predicts a part of their
signal, draws recordings from each, and counts how often the interval of each score holds the score
of the same neurons on very many images. Beside it, the percentile bootstrap over images.

    python experiments/interval_coverage.py

A line takes ten seconds on a quiet machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from predictive_model.recordings.repeats import Repeats
from predictive_model.scoring.bootstrap import jackknife_intervals
from predictive_model.scoring.moments import ImageStatistics
from predictive_model.scoring.score_summary import summaries_of_moments

Array = NDArray[np.float64]
Kind = Literal["gaussian", "poisson"]
MANY = 10_000  # images from which the truth is taken
AT_ONCE = 2_000  # of them


@dataclass(frozen=True, eq=False)
class Neurons:
    """Neurons whose signals are their own, or mixtures of a few latents that they share.

    Gaussian: trials are 5 + s + noise, of FEV .1 to .6. Poisson: of lognormal rates. The encoder
    knows a variable that is correlated with s by .3 to .9, and makes the best of it.
    """

    kind: Kind
    n: int
    latents: int  # 0: as many as neurons
    seed: int

    def record(self, n_images: int, n_repeats: int, rng: np.random.Generator) -> ImageStatistics:
        """What images contribute to scores."""
        fixed = np.random.default_rng(self.seed)
        known, fev = fixed.uniform(0.3, 0.9, self.n), fixed.uniform(0.1, 0.6, self.n)
        rate, skew = fixed.uniform(0.5, 4, self.n), fixed.uniform(0.4, 0.8, self.n)
        mixing = fixed.standard_normal((2, max(self.latents, 1), self.n))
        mixing /= np.linalg.norm(mixing, axis=1, keepdims=True)

        def variable(mix: Array) -> Array:
            if not self.latents:
                return rng.standard_normal((n_images, self.n))
            return rng.standard_normal((n_images, self.latents)) @ mix

        signal = variable(mixing[0])
        seen = known * signal + np.sqrt(1 - known**2) * variable(mixing[1])
        if self.kind == "gaussian":
            noise = np.sqrt((1 - fev) / fev)
            expected, predicted = 5 + signal, 5 + known * seen
            trials = expected.repeat(n_repeats, axis=0)
            trials = trials + noise * rng.standard_normal(trials.shape)
        else:
            expected = rate * np.exp(skew * signal - skew**2 / 2)
            skew = skew * known
            predicted = rate * np.exp(skew * seen - skew**2 / 2)
            trials = rng.poisson(expected.repeat(n_repeats, axis=0)).astype(np.float64)
        counts = np.full(n_images, n_repeats)
        return ImageStatistics.of(
            Repeats(trials, counts), Repeats(predicted.repeat(n_repeats, axis=0), counts)
        )

    def truth(self, n_repeats: int, n_images: int = MANY) -> Array:
        """(score,) on very many images: the mean over parts, whose own bias is negligible."""
        rng = np.random.default_rng(self.seed + 1)
        parts = [
            list(summaries_of_moments(self.record(AT_ONCE, n_repeats, rng).moments()).values())
            for _ in range(n_images // AT_ONCE)
        ]
        return np.mean(parts, axis=0)[:, 0]


def selections(images: ImageStatistics, weights: Array) -> Array:
    """(selection, score)."""
    return np.stack(list(summaries_of_moments(images.moments(weights)).values()), axis=1)


def held(
    neurons: Neurons,
    n_images: int,
    n_repeats: int,
    n_recordings: int,
    n_resamples: int,
    n_true: int = MANY,
) -> Array:
    """(method, score) how often the truth is held, by jackknife and by percentiles."""
    truth = neurons.truth(n_repeats, n_true)
    found = []
    for recording in range(n_recordings):
        rng = np.random.default_rng([neurons.seed, recording])
        images = neurons.record(n_images, n_repeats, rng)
        ends = jackknife_intervals(
            lambda weights, images=images: selections(images, weights),
            n_images,
            n_resamples=n_resamples,
            seed=recording,
        )
        drawn = rng.multinomial(n_images, np.full(n_images, 1 / n_images), n_resamples)
        percentiles = np.nanquantile(selections(images, drawn * 1.0), [0.025, 0.975], axis=0).T
        both = np.stack([ends, percentiles])
        found.append((both[..., 0] <= truth) & (truth <= both[..., 1]))
    return np.mean(found, axis=0)


CASES = [(100, 10), (30, 10), (300, 4)]  # images, repeats
N_NEURONS = 50


def main(
    recordings: Annotated[int, typer.Option(help="Of each of four populations.")] = 150,
    resamples: Annotated[int, typer.Option(help="Of each interval.")] = 300,
) -> None:
    """Print the table."""
    table = Table(title=f"Held, of {4 * recordings} recordings: jackknife (percentile bootstrap)")
    for column in ("neurons", "signals", "images", "repeats", "single trial", "to average",
                   "FEVE", "CC_norm", "oracle ratio", "oracle slope"):  # fmt: skip
        table.add_column(column, justify="right")
    for n_images, n_repeats in CASES:
        for kind in ("gaussian", "poisson"):
            for latents in (0, 5):
                parts = [
                    held(
                        Neurons(kind, N_NEURONS, latents, s),
                        n_images,
                        n_repeats,
                        recordings,
                        resamples,
                    )
                    for s in range(10, 14)
                ]
                ours, theirs = np.mean(parts, axis=0)
                table.add_row(
                    kind, "5 shared" if latents else "own", str(n_images), str(n_repeats),
                    *(f"{a:.2f} ({b:.2f})" for a, b in zip(ours, theirs, strict=True)),
                )  # fmt: skip
    Console(width=150).print(table)


if __name__ == "__main__":
    typer.run(main)
