"""Does behaviour explain what the stimulus leaves open? Asked of repeats, without an encoder.

Where a stimulus was repeated, the mean of the other repeats stands for whatever an encoder could
predict from it. On top of that comes the encoder's own modulator, fitted with the encoder's own
loss, and what it adds is measured on repeats that were held out. Neurons drift over a session, and
so do running and pupil; so a drift of every neuron is part of both models that are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gammaln
from torch import Tensor

from predictive_model.encoders.config import ModulatorConfig
from predictive_model.encoders.modulator import Gain
from predictive_model.fits.fitting import LOG_OFFSET
from predictive_model.randomness import seeded
from predictive_model.scoring.correlation import correlation

# One repeat of a neuron's mean rate is added to the mean of the other repeats, so that a moment at
# which it was silent by chance is not taken for one at which it cannot fire.
PRIOR_REPEATS = 1.0
# Of L-BFGS; with twice as many the mean correlation of a real session differed by .0002.
STEPS = 30
LINEAR_GAIN = ModulatorConfig(hidden_layers=0)


def drift_basis(
    n_repeats: int, n_bins: int, *, degree: int = 2, blocks: Sequence[int] = (0,)
) -> NDArray[np.float32]:
    """Slow functions of time: powers of the time since the first repeat, and a step per block.

    Parameters
    ----------
    n_repeats, n_bins : int
    degree : int
        Of the polynomial.
    blocks : sequence of int
        The repeats with which blocks begin that other stimuli lie between.

    Returns
    -------
    (repeat, bin, function) float32
    """
    time = np.linspace(-1, 1, n_repeats * n_bins).reshape(n_repeats, n_bins)
    powers = [time**power for power in range(1, degree + 1)]
    repeat = np.arange(n_repeats)[:, None] + np.zeros(n_bins)
    steps = [(repeat >= start).astype(float) for start in blocks if start > 0]
    return np.stack([*powers, *steps], axis=2).astype(np.float32)


def mean_of_others(
    counts: NDArray,
    train: NDArray[np.bool_],
    *,
    gaze: NDArray | None = None,
    reach: float = 1.0,
) -> NDArray[np.float64]:
    """Mean response to each moment of the stimulus in the other trained repeats.

    Parameters
    ----------
    counts : (neuron, repeat, bin)
    train : (repeat,)
        Repeats that may be averaged; a repeat is never averaged for itself.
    gaze : (repeat, bin, 2), optional
        Position of the eye. Then repeats count the more, the closer it was to where it was in
        the repeat that is predicted: what a shifter could make use of.
    reach : float
        Distance at which the weight has fallen to exp(-1/2), in standard deviations of the gaze.

    Returns
    -------
    (neuron, repeat, bin)
    """
    n_repeats, n_bins = counts.shape[1:]
    weight = np.broadcast_to(
        (train[None, :] & ~np.eye(n_repeats, dtype=bool))[..., None], (n_repeats, n_repeats, n_bins)
    ).astype(float)
    if gaze is not None:
        apart = (gaze[:, None] - gaze[None, :]) / gaze[train].std((0, 1))
        weight = weight * np.exp(-0.5 * (apart**2).sum(3) / reach**2)
    rate = counts[:, train].mean((1, 2))[:, None, None]
    total = np.einsum("rst,nst->nrt", weight, counts) + PRIOR_REPEATS * rate
    return total / (weight.sum(1) + PRIOR_REPEATS)


def held_out_rates(
    counts: NDArray,
    *,
    behaviour: NDArray | None = None,
    drift: NDArray | None = None,
    gaze: NDArray | None = None,
    modulator: ModulatorConfig = LINEAR_GAIN,
    n_folds: int = 5,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Rates of every repeat, by gains that were fitted to other repeats.

    A rate is :func:`mean_of_others` times a gain from drift and one from behaviour, each neuron's
    its own. Both are :class:`~predictive_model.encoders.modulator.Gain`, the drift's without hidden
    layers, fitted to all neurons together by the Poisson loss of the encoder's fit.

    Parameters
    ----------
    counts : (neuron, repeat, bin)
    behaviour : (repeat, bin, k), optional
    drift : (repeat, bin, m), optional
        Such as :func:`drift_basis`.
    gaze : (repeat, bin, 2), optional
        See :func:`mean_of_others`.
    modulator : ModulatorConfig
        Its ``position`` plays no part, since there is no nonlinearity.
    n_folds : int
        Every n-th repeat is held out together; n different ones are, one after the other.
    seed : int
        Of the hidden layers.

    Returns
    -------
    (neuron, repeat, bin)

    Raises
    ------
    ValueError
        If the shapes do not belong together, or there are fewer repeats than folds or than three.
    """
    n_repeats = counts.shape[1]
    for name, values in (("behaviour", behaviour), ("drift", drift), ("gaze", gaze)):
        if values is not None and (values.ndim != 3 or values.shape[:2] != counts.shape[1:]):
            raise ValueError(
                f"{name}: shape {values.shape}, expected ({n_repeats}, {counts.shape[2]}, ...), a "
                "row for each repeat and bin of counts"
            )
    if not 2 <= n_folds <= n_repeats or n_repeats < 3:
        raise ValueError(
            f"n_folds: {n_folds}, expected 2 to the number of repeats, {n_repeats}, which has to "
            "be 3 at least"
        )
    rates = np.empty(counts.shape)
    for fold in range(n_folds):
        train = np.arange(n_repeats) % n_folds != fold
        stimulus = mean_of_others(counts, train, gaze=gaze)
        log_gain = np.zeros((n_repeats, counts.shape[2], len(counts)))
        inputs = [
            (config, values)
            for config, values in ((LINEAR_GAIN, drift), (modulator, behaviour))
            if values is not None
        ]
        if inputs:
            log_gain = _fitted_log_gain(counts, stimulus, train, inputs, seed)
        rates[:, ~train] = (stimulus * np.exp(log_gain).transpose(2, 0, 1))[:, ~train]
    return rates


def _fitted_log_gain(
    counts: NDArray,
    stimulus: NDArray[np.float64],
    train: NDArray[np.bool_],
    inputs: Sequence[tuple[ModulatorConfig, NDArray]],
    seed: int,
) -> NDArray[np.float64]:
    """Logarithm of all gains together, (repeat, bin, neuron), fitted to ``train``."""
    n_neurons = len(counts)
    scale = counts[:, train].std((1, 2))
    scale = np.where(scale > 0, scale, 1.0)[:, None, None]
    # (repeat, bin, neuron), in units of each neuron's standard deviation as in the encoder's fit.
    recorded, expected = (
        torch.from_numpy((values / scale).transpose(1, 2, 0).astype(np.float32))
        for values in (counts, stimulus)
    )
    with seeded(seed):
        gains = [
            Gain(
                n_neurons,
                values.shape[2],
                hidden_channels=config.hidden_channels,
                hidden_layers=config.hidden_layers,
            )
            for config, values in inputs
        ]
    scaled = [_standardised(values, train) for _, values in inputs]

    def log_gain(rows: Tensor) -> Tensor:
        return torch.stack(
            [gain.log_gain(values[rows]) for gain, values in zip(gains, scaled, strict=True)]
        ).sum(0)

    rows = torch.from_numpy(np.flatnonzero(train))
    optimizer = torch.optim.LBFGS(
        [p for gain in gains for p in gain.parameters()],
        max_iter=STEPS,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        rate = expected[rows] * log_gain(rows).exp()
        total = (rate - recorded[rows] * torch.log(rate + LOG_OFFSET)).mean()
        for gain, (config, _) in zip(gains, inputs, strict=True):
            total = total + config.gamma * gain.regularizer()
        total.backward()
        return total

    optimizer.step(loss)
    with torch.no_grad():
        return log_gain(torch.arange(len(train))).double().numpy()


def _standardised(values: NDArray, train: NDArray[np.bool_]) -> Tensor:
    """Columns with mean 0 and standard deviation 1 over the repeats of ``train``."""
    std = values[train].std((0, 1))
    z = (values - values[train].mean((0, 1))) / np.where(std > 0, std, 1.0)
    return torch.from_numpy(z.astype(np.float32))


# -- how well, and against what ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TrialScores:
    """How well rates predict single trials, for each neuron.

    Attributes
    ----------
    correlation : (neuron,)
        Over all repeats and bins.
    log_likelihood : (neuron,)
        Poisson, in bits for each spike; NaN for a neuron without any.
    """

    correlation: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]


def score_trials(counts: NDArray, rates: NDArray) -> TrialScores:
    """Scores of rates (neuron, repeat, bin) of single trials (neuron, repeat, bin)."""
    flat, predicted = (values.reshape(len(values), -1).T for values in (counts, rates))
    bits = (flat * np.log(predicted + LOG_OFFSET) - predicted - gammaln(flat + 1.0)) / np.log(2)
    spikes = flat.sum(0)
    return TrialScores(
        correlation(predicted, flat),
        np.divide(bits.sum(0), spikes, out=np.full(len(spikes), np.nan), where=spikes > 0),
    )


def shifted(behaviour: NDArray, bins: int) -> NDArray:
    """Behaviour that comes ``bins`` later, its end at the beginning: autocorrelation stays.

    Parameters
    ----------
    behaviour : (repeat, bin, k)
    bins : int
    """
    return np.roll(behaviour.reshape(-1, behaviour.shape[2]), bins, axis=0).reshape(behaviour.shape)


def shuffled(behaviour: NDArray, rng: np.random.Generator) -> NDArray:
    """Behaviour of whole repeats in another order: what goes with the stimulus stays."""
    return behaviour[rng.permutation(len(behaviour))]
