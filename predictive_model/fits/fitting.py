"""Fit an encoder to one or more recordings: in memory, early-stopped, resumable.

On a CPU, with a given number of threads, data, settings and seed decide the result to the bit. On a
GPU they do not: the gradient of ``grid_sample``, by which a Gaussian readout reads its maps there,
is summed in no fixed order (``torch.use_deterministic_algorithms`` lists it among those that have
no other way), so that two fits with the same seed differ by rounding that training enlarges.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from predictive_model.checkpoint import load_checkpoint, save_checkpoint
from predictive_model.digest import array_digest, fingerprint
from predictive_model.encoders.config import EncoderConfig
from predictive_model.encoders.encoder import (
    build_encoder,
    data_key,
    downsample,
    memory_format,
    population_of,
)
from predictive_model.fits.config import FitConfig, FitEpoch
from predictive_model.fits.fitted import FittedEncoder
from predictive_model.fits.trials import (
    StimulusGroup,
    check_together,
    predict_trials,
    rates,
    stimulus_groups,
)
from predictive_model.randomness import Draws
from predictive_model.recordings.recording import Recording
from predictive_model.scoring.correlation import correlation

# Keeps the logarithm of the Poisson loss finite where the rate is 0, as in neuralpredictors.
LOG_OFFSET = 1e-12


class FitError(RuntimeError):
    """A fit that cannot go on."""


def fit(
    recording: Recording,
    config: EncoderConfig,
    fit_config: FitConfig | None = None,
    seed: int = 0,
    *,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    progress: Callable[[FitEpoch], None] | None = None,
) -> FittedEncoder:
    """Fit an encoder to one recording and return it in its best state.

    See :func:`fit_jointly` for parameters and errors.

    Examples
    --------
    >>> from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
    >>> from predictive_model.recordings.stimuli import natural_stimuli
    >>> cortex = SimulatedCortex(SimulatedCortexConfig(n_neurons=50), seed=1)  # doctest: +SKIP
    >>> scan = cortex.record(natural_stimuli(500), n_repeated=50, n_repeats=10, seed=2, name="a")
    ... # doctest: +SKIP
    >>> fitted = fit(scan, EncoderConfig(), seed=3)  # doctest: +SKIP
    """
    (fitted,) = fit_jointly(
        [recording],
        config,
        fit_config,
        seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )
    return fitted


def fit_jointly(
    recordings: Sequence[Recording],
    config: EncoderConfig,
    fit_config: FitConfig | None = None,
    seed: int = 0,
    *,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    progress: Callable[[FitEpoch], None] | None = None,
) -> list[FittedEncoder]:
    """Fit encoders that share one core, and return them in their best common state.

    Each step takes a batch of images and all scans that saw them; scans with the same images and
    tiers share each pass of the core, others take turns. Early stopping goes by the mean
    validation correlation over the neurons of all scans.

    Parameters
    ----------
    recordings : sequence of Recording
        With distinct names and images of one shape.
    config : EncoderConfig
    fit_config : FitConfig, optional
    seed : int
        Of initial weights, order of trials and sampled readout positions.
    device : torch.device or str
    checkpoint : Path, optional
        Written after each epoch; a fit that finds its own checkpoint there goes on from it, and
        ends, on a CPU, with the same weights as if it had never stopped.
    progress : callable, optional
        Called with each finished :class:`FitEpoch`.

    Returns
    -------
    list of FittedEncoder
        One for each recording, in order.

    Raises
    ------
    ValueError
        If the encoder asks for inputs that a recording lacks, or the recordings do not go
        together.
    CheckpointError
        If the checkpoint was written by another fit.
    FitError
        If the loss is no longer finite, or a recording has too few trials to validate on.

    Examples
    --------
    >>> a, b = fit_jointly([scan_a, scan_b], EncoderConfig())  # doctest: +SKIP
    """
    check_recordings(recordings)
    return _Fit(recordings, config, fit_config or FitConfig(), seed, torch.device(device)).run(
        checkpoint, progress
    )


def check_recordings(recordings: Sequence[Recording]) -> None:
    """Refuse recordings that no encoder could be fitted to, whatever its settings.

    Raises
    ------
    ValueError
        If they do not go together; see :func:`~predictive_model.fits.trials.check_together`.
    FitError
        If one has too few trials to validate on.
    """
    check_together(recordings)
    for recording in recordings:
        n = len(recording.trials_of("validation"))
        if n < 2:
            raise FitError(
                f"recording {recording.name!r} has {n} validation trials, expected at least 2: "
                "early stopping goes by them"
            )


def _check_loss(recordings: Sequence[Recording], config: FitConfig) -> None:
    """Refuse the Poisson loss for responses that no count or rate can be."""
    for recording in recordings:
        negative = int((recording.responses < 0).sum())
        if negative and config.loss == "poisson":
            raise FitError(
                f"recording {recording.name!r} has {negative} negative responses, which the "
                'Poisson loss cannot take; fit it with the loss "mse" (fit.loss), or import it '
                "with `--option negative=clip`"
            )


def _train_images(recording: Recording, downsampled: int) -> Tensor:
    images = recording.images[recording.images_of("train")]
    return downsample(torch.from_numpy(recording.normalisation.images(images)), downsampled)


class _Fit:
    """State of one fit."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        config: EncoderConfig,
        fit_config: FitConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        _check_loss(recordings, fit_config)
        self.recordings, self.config, self.fit_config = recordings, config, fit_config
        self.seed, self.device = seed, device
        self.encoder = build_encoder(
            config,
            {data_key(r.name): population_of(r, config) for r in recordings},
            image_shape=recordings[0].image_shape,
            seed=seed,
        )
        if self.encoder.front_end is not None:
            self.encoder.front_end.standardise(
                _train_images(recording, config.downsample) for recording in recordings
            )
        self.encoder.to(device, memory_format=memory_format(config))
        self.train = stimulus_groups(self.encoder, recordings, "train", merge=True, device=device)
        self.validation = stimulus_groups(self.encoder, recordings, "validation", device=device)
        self.optimizer = torch.optim.AdamW(
            self.encoder.parameters(),
            lr=fit_config.learning_rate,
            weight_decay=fit_config.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        self.draws = Draws(seed, device)
        self.epoch = self.decays = self.waited = 0
        self.best = -np.inf
        self.best_of_scans: dict[str, float] = {}
        self.best_state = self._copy_of_weights()
        self.history: list[FitEpoch] = []

    def run(
        self, checkpoint: Path | None, progress: Callable[[FitEpoch], None] | None
    ) -> list[FittedEncoder]:
        belongs_to = self._fingerprint() if checkpoint else ""
        # The readout samples positions from the global generator.
        with self.draws.own():
            saved = load_checkpoint(checkpoint, belongs_to=belongs_to) if checkpoint else None
            if saved:
                self._restore(saved)
            while self.decays < self.fit_config.decay_steps and (
                self.epoch < self.fit_config.max_epochs
            ):
                record = self._one_epoch()
                if checkpoint:
                    save_checkpoint(checkpoint, self._state(), belongs_to=belongs_to)
                if progress:
                    progress(record)
        self.encoder.load_state_dict(self.best_state)
        return [self._fitted(recording) for recording in self.recordings]

    def _fitted(self, recording: Recording) -> FittedEncoder:
        """The encoder of one scan: the common core and the scan's own parts."""
        key = data_key(recording.name)
        others = [f".{other}." for other in self.encoder.data_keys if other != key]
        return FittedEncoder(
            config=self.config,
            data_key=key,
            image_shape=recording.image_shape,
            n_neurons=recording.n_neurons,
            normalisation=recording.normalisation,
            state={
                name: value.cpu().contiguous()
                for name, value in self.best_state.items()
                if not any(other in name for other in others)
            },
            fit_config=self.fit_config,
            seed=self.seed,
            history=tuple(self.history),
            validation_correlation=self.best_of_scans.get(key, float("nan")),
        )

    def _one_epoch(self) -> FitEpoch:
        started = time.perf_counter()
        self.encoder.train()
        sums = torch.zeros(3, device=self.device)  # a GPU is waited for at the end only
        for group, inputs in self._batches():
            loss, penalty = self._losses(group, inputs)
            self.optimizer.zero_grad(set_to_none=True)
            (loss + penalty).backward()
            self.optimizer.step()
            one = torch.ones_like(loss)
            sums += torch.stack((loss.detach(), penalty.detach(), one)) * len(inputs)
        self.epoch += 1
        loss_sum, penalty_sum, count = sums.tolist()
        if not np.isfinite(loss_sum):
            raise self._diverged(f"the loss is {loss_sum / count}")
        rate = self.optimizer.param_groups[0]["lr"]
        score = self._validate()
        record = FitEpoch(
            epoch=self.epoch,
            loss=loss_sum / count,
            penalty=penalty_sum / count,
            validation_correlation=score,
            learning_rate=rate,
            seconds=time.perf_counter() - started,
        )
        self.history.append(record)
        return record

    def _batches(self) -> list[tuple[StimulusGroup, Tensor]]:
        """All training inputs in random order, groups mixed."""
        batches = [
            (group, inputs)
            for group in self.train
            for inputs in torch.randperm(len(group))
            .to(self.device)
            .split(self.fit_config.batch_size)
        ]
        if len(self.train) == 1:
            return batches
        return [batches[i] for i in torch.randperm(len(batches)).tolist()]

    def _losses(self, group: StimulusGroup, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, a mean over the scans that saw these inputs, and penalty."""
        with torch.autocast(
            self.device.type,
            dtype=torch.bfloat16,
            enabled=self.fit_config.precision == "bfloat16",
        ):
            features = group.features(self.encoder, inputs)
        features = features.float()
        losses, present = [], []
        for scan in group.scans:
            rows, where = scan.of(inputs)
            if len(rows) == 0:
                continue
            present.append(scan.data_key)
            predicted = rates(self.encoder, scan, rows, where, features)
            recorded, weight = scan.responses[rows], scan.weight[rows, None]
            losses.append((self._loss(predicted, recorded) * weight).mean())
        return torch.stack(losses).mean(), self.encoder.penalty(present)

    def _loss(self, predicted: Tensor, recorded: Tensor) -> Tensor:
        # neuralpredictors' Poisson loss takes no weights, which merged repeats need.
        if self.fit_config.loss == "poisson":
            return predicted - recorded * torch.log(predicted + LOG_OFFSET)
        return (predicted - recorded).square()

    def _validate(self) -> float:
        """Mean validation correlation; keeps the best state, or decays the rate where none is."""
        predicted = predict_trials(self.encoder, self.validation)
        # A last step can ruin the weights after all losses were computed.
        if not all(np.isfinite(values).all() for values in predicted.values()):
            raise self._diverged("predictions are not finite")
        each = {
            scan.data_key: correlation(predicted[scan.data_key], scan.responses.cpu().numpy())
            for group in self.validation
            for scan in group.scans
        }
        score = float(np.concatenate(list(each.values())).mean())
        if score > self.best + self.fit_config.tolerance:
            self.best, self.waited = score, 0
            self.best_of_scans = {key: float(values.mean()) for key, values in each.items()}
            self.best_state = self._copy_of_weights()
            return score
        self.waited += 1
        if self.waited >= self.fit_config.patience:
            self.waited = 0
            self.decays += 1
            self.encoder.load_state_dict(self.best_state)
            for group in self.optimizer.param_groups:
                group["lr"] *= self.fit_config.decay
        return score

    def _diverged(self, how: str) -> FitError:
        return FitError(
            f"{how} in epoch {self.epoch}; lower fit.learning_rate, now "
            f"{self.fit_config.learning_rate}"
        )

    def _copy_of_weights(self) -> dict[str, Tensor]:
        return {k: v.detach().clone() for k, v in self.encoder.state_dict().items()}

    def _fingerprint(self) -> str:
        return fingerprint(
            what="encoder fit",
            encoder=self.config.described(),
            fit=self.fit_config.described(),
            seed=self.seed,
            names=[r.name for r in self.recordings],
            data=[
                array_digest(
                    r.images,
                    r.image_index,
                    r.responses,
                    r.behaviour,
                    r.pupil,
                    r.tier,
                    r.cortical_positions,
                )
                for r in self.recordings
            ],
        )

    def _state(self) -> dict[str, Any]:
        return {
            "weights": self.encoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": float(self.best),
            "best_of_scans": self.best_of_scans,
            "best_state": self.best_state,
            "epoch": self.epoch,
            "decays": self.decays,
            "waited": self.waited,
            "history": [asdict(record) for record in self.history],
            "draws": self.draws.state(),
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        self.encoder.load_state_dict(saved["weights"])
        self.optimizer.load_state_dict(copy.deepcopy(saved["optimizer"]))
        self.best, self.best_state = saved["best"], saved["best_state"]
        self.best_of_scans = saved["best_of_scans"]
        self.epoch, self.decays, self.waited = saved["epoch"], saved["decays"], saved["waited"]
        self.history = [FitEpoch(**record) for record in saved["history"]]
        # Checkpoints of earlier versions keep the state of each generator by itself.
        earlier = [saved[name] for name in ("rng", "cuda_rng") if name in saved]
        self.draws.restore(saved.get("draws", earlier))
