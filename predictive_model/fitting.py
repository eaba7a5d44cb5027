"""Fit an encoder to a recording: in memory, early-stopped, resumable and deterministic."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from predictive_model.checkpoint import (
    array_digest,
    fingerprint,
    load_checkpoint,
    save_checkpoint,
)
from predictive_model.config import Config
from predictive_model.correlation import correlation
from predictive_model.encoder import Encoder, EncoderConfig, encoder_for, memory_format
from predictive_model.fitted import FittedEncoder
from predictive_model.recording import Recording, Tier

# Keeps the logarithm of the Poisson loss finite where the rate is 0, as in neuralpredictors.
LOG_OFFSET = 1e-12


class FitConfig(Config):
    """How an encoder is fitted.

    Adam with early stopping on the mean validation correlation. When it has not risen for
    ``patience`` epochs the best state is restored and the learning rate multiplied by ``decay``;
    after ``decay_steps`` of these the fit ends.
    """

    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(0.005, gt=0)
    max_epochs: int = Field(200, ge=1)
    patience: int = Field(5, ge=1)
    decay: float = Field(0.3, gt=0, lt=1)
    decay_steps: int = Field(3, ge=1)
    tolerance: float = Field(1e-6, ge=0, description="a rise smaller than this is none")


@dataclass(frozen=True)
class FitEpoch:
    """What one epoch did."""

    epoch: int
    loss: float
    penalty: float
    validation_correlation: float
    learning_rate: float
    seconds: float


class FitError(RuntimeError):
    """A fit that cannot go on."""


@dataclass
class Trials:
    """Trials of one tier as tensors in memory, ready to be indexed batch by batch.

    Attributes
    ----------
    images : (n, c, h, w) tensor
        All images of the recording, normalised.
    image_index : (sample,) tensor
    responses : (sample, neuron) tensor
        Normalised.
    weight : (sample,) tensor
        Number of trials that a sample stands for.
    pupil, behaviour : (sample, k) tensors or None
    """

    images: Tensor
    image_index: Tensor
    responses: Tensor
    weight: Tensor
    pupil: Tensor | None
    behaviour: Tensor | None

    def __len__(self) -> int:
        return len(self.image_index)

    def inputs(self, rows: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Images, pupil and behaviour of some samples."""
        return (
            self.images[self.image_index[rows]],
            None if self.pupil is None else self.pupil[rows],
            None if self.behaviour is None else self.behaviour[rows],
        )


def trials_in_memory(
    recording: Recording,
    tier: Tier,
    *,
    pupil: bool,
    behaviour: bool,
    merge_repeats: bool = False,
    device: torch.device | str = "cpu",
) -> Trials:
    """Normalised trials of a tier on a device.

    With ``merge_repeats``, trials of the same image become one sample with their mean response
    and their number as weight. The Poisson loss is linear in the response, so for an encoder
    that sees nothing but the image the weighted loss is the same, at a fraction of the work.
    """
    if merge_repeats and (pupil or behaviour):
        raise ValueError(
            "merge_repeats: trials of one image differ in pupil and behaviour, so they can only "
            "be merged for an encoder that uses neither"
        )
    norm = recording.normalisation
    rows = recording.trials_of(tier)
    index = recording.image_index[rows]
    responses = norm.responses(recording.responses[rows])
    weight = np.ones(len(rows), np.float32)
    if merge_repeats:
        shown, where, counts = np.unique(index, return_inverse=True, return_counts=True)
        total = np.zeros((len(shown), recording.n_neurons), np.float64)
        np.add.at(total, where, responses)
        index, responses = shown, (total / counts[:, None]).astype(np.float32)
        weight = counts.astype(np.float32)
    images = torch.from_numpy(norm.images(recording.images)).to(device)
    return Trials(
        images=images,
        image_index=torch.from_numpy(index).to(device),
        responses=torch.from_numpy(responses).to(device),
        weight=torch.from_numpy(weight).to(device),
        pupil=_rows(norm.pupil, recording.pupil, rows, device) if pupil else None,
        behaviour=_rows(norm.behaviour, recording.behaviour, rows, device) if behaviour else None,
    )


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
    """Fit an encoder and return it in its best state.

    Parameters
    ----------
    recording : Recording
    config : EncoderConfig
    fit_config : FitConfig, optional
    seed : int
        Of initial weights, order of trials and sampled readout positions.
    device : torch.device or str
    checkpoint : Path, optional
        Written after each epoch; a fit that finds its own checkpoint there goes on from it, and
        ends with the same weights as if it had never stopped.
    progress : callable, optional
        Called with each finished :class:`FitEpoch`.

    Raises
    ------
    ValueError
        If the encoder asks for inputs that the recording lacks.
    CheckpointError
        If the checkpoint was written by another fit.
    FitError
        If the loss is no longer finite.

    Examples
    --------
    >>> from predictive_model.simulation import SimulatedCortex, SimulatedCortexConfig
    >>> from predictive_model.stimuli import natural_stimuli
    >>> cortex = SimulatedCortex(SimulatedCortexConfig(n_neurons=50), seed=1)  # doctest: +SKIP
    >>> scan = cortex.record(natural_stimuli(500), n_repeated=50, n_repeats=10, seed=2, name="a")
    ... # doctest: +SKIP
    >>> fitted = fit(scan, EncoderConfig(), seed=3)  # doctest: +SKIP
    """
    return _Fit(recording, config, fit_config or FitConfig(), seed, torch.device(device)).run(
        checkpoint, progress
    )


class _Fit:
    """State of one fit."""

    def __init__(
        self,
        recording: Recording,
        config: EncoderConfig,
        fit_config: FitConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        self.recording, self.config, self.fit_config = recording, config, fit_config
        self.seed, self.device = seed, device
        uses = {"pupil": config.shifter is not None, "behaviour": config.modulator is not None}
        norm = recording.normalisation
        rows = recording.trials_of("train")
        mean = torch.from_numpy(norm.responses(recording.responses[rows]).mean(0))
        self.encoder = encoder_for(recording, config, mean_response=mean, seed=seed)
        self.encoder.to(device, memory_format=memory_format(config))
        self.train = trials_in_memory(
            recording, "train", **uses, merge_repeats=not any(uses.values()), device=device
        )
        self.validation = trials_in_memory(recording, "validation", **uses, device=device)
        # One copy of the images serves both tiers.
        self.validation = replace(self.validation, images=self.train.images)
        if len(self.validation) < 2:
            raise FitError(
                f"recording {recording.name!r} has {len(self.validation)} validation trials, "
                "expected at least 2: early stopping goes by them"
            )
        self.optimizer = torch.optim.Adam(
            self.encoder.parameters(),
            lr=fit_config.learning_rate,
            fused=device.type in ("cpu", "cuda"),
        )
        self.epoch = self.decays = self.waited = 0
        self.best = -np.inf
        self.best_state = self._copy_of_weights()
        self.history: list[FitEpoch] = []

    def run(
        self, checkpoint: Path | None, progress: Callable[[FitEpoch], None] | None
    ) -> FittedEncoder:
        belongs_to = self._fingerprint() if checkpoint else ""
        devices = [self.device] if self.device.type == "cuda" else []
        # The readout samples positions from the global generator; a fork of it keeps the seed
        # in charge inside and the caller's state untouched outside.
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.seed)
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
        return FittedEncoder(
            config=self.config,
            data_key=self.encoder.data_key,
            image_shape=self.recording.image_shape,
            n_neurons=self.recording.n_neurons,
            normalisation=self.recording.normalisation,
            state={k: v.cpu().contiguous() for k, v in self.best_state.items()},
            fit_config=self.fit_config,
            seed=self.seed,
            history=tuple(self.history),
            validation_correlation=float(self.best),
        )

    def _one_epoch(self) -> FitEpoch:
        started = time.perf_counter()
        self.encoder.train()
        sums = torch.zeros(2, device=self.device)  # a GPU is waited for at the end only
        order = torch.randperm(len(self.train)).to(self.device)
        batches = order.split(self.fit_config.batch_size)
        mean_weight = self.train.weight.mean()
        for rows in batches:
            loss, penalty = self._losses(rows, mean_weight)
            self.optimizer.zero_grad(set_to_none=True)
            (loss + penalty).backward()
            self.optimizer.step()
            sums += torch.stack((loss.detach(), penalty.detach())) * len(rows)
        self.epoch += 1
        loss_mean, penalty_mean = (sums / len(order)).tolist()
        if not np.isfinite(loss_mean):
            raise FitError(
                f"the loss is {loss_mean} in epoch {self.epoch}; lower fit.learning_rate, now "
                f"{self.fit_config.learning_rate}"
            )
        score = self._validation_correlation()
        rate = self.optimizer.param_groups[0]["lr"]
        self._note(score)
        record = FitEpoch(
            epoch=self.epoch,
            loss=loss_mean,
            penalty=penalty_mean,
            validation_correlation=score,
            learning_rate=rate,
            seconds=time.perf_counter() - started,
        )
        self.history.append(record)
        return record

    def _losses(self, rows: Tensor, mean_weight: Tensor) -> tuple[Tensor, Tensor]:
        # The Poisson loss; neuralpredictors' takes no weights, which merged repeats need.
        images, pupil, behaviour = self.train.inputs(rows)
        rates = self.encoder(images, pupil=pupil, behaviour=behaviour)
        responses = self.train.responses[rows]
        weight = (self.train.weight[rows] / mean_weight)[:, None]
        loss = ((rates - responses * torch.log(rates + LOG_OFFSET)) * weight).mean()
        return loss, self.encoder.penalty()

    def _validation_correlation(self) -> float:
        predicted = predict_trials(self.encoder, self.validation)
        return float(correlation(predicted, self.validation.responses.cpu().numpy()).mean())

    def _note(self, score: float) -> None:
        """Early stopping: keep the best state, decay the learning rate when it is not beaten."""
        if score > self.best + self.fit_config.tolerance:
            self.best, self.waited = score, 0
            self.best_state = self._copy_of_weights()
            return
        self.waited += 1
        if self.waited >= self.fit_config.patience:
            self.waited = 0
            self.decays += 1
            self.encoder.load_state_dict(self.best_state)
            for group in self.optimizer.param_groups:
                group["lr"] *= self.fit_config.decay

    def _copy_of_weights(self) -> dict[str, Tensor]:
        return {k: v.detach().clone() for k, v in self.encoder.state_dict().items()}

    def _fingerprint(self) -> str:
        recording = self.recording
        return fingerprint(
            what="encoder fit",
            encoder=self.config.model_dump(mode="json"),
            fit=self.fit_config.model_dump(mode="json"),
            seed=self.seed,
            name=recording.name,
            data=array_digest(
                recording.images,
                recording.image_index,
                recording.responses,
                recording.behaviour,
                recording.pupil,
                recording.tier,
            ),
        )

    def _state(self) -> dict[str, Any]:
        state = {
            "weights": self.encoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": float(self.best),
            "best_state": self.best_state,
            "epoch": self.epoch,
            "decays": self.decays,
            "waited": self.waited,
            "history": [asdict(record) for record in self.history],
            "rng": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        return state

    def _restore(self, saved: dict[str, Any]) -> None:
        self.encoder.load_state_dict(saved["weights"])
        self.optimizer.load_state_dict(copy.deepcopy(saved["optimizer"]))
        self.best, self.best_state = saved["best"], saved["best_state"]
        self.epoch, self.decays, self.waited = saved["epoch"], saved["decays"], saved["waited"]
        self.history = [FitEpoch(**record) for record in saved["history"]]
        torch.set_rng_state(saved["rng"])
        if "cuda_rng" in saved:
            torch.cuda.set_rng_state(saved["cuda_rng"], self.device)


@torch.inference_mode()
def predict_trials(encoder: Encoder, trials: Trials, batch_size: int = 512) -> np.ndarray:
    """Normalised predictions for every sample, (sample, neuron); each image passes the core once
    where neither pupil nor behaviour tells its trials apart.
    """
    training = encoder.training
    encoder.eval()
    try:
        if trials.pupil is None and trials.behaviour is None:
            shown, where = trials.image_index.unique(return_inverse=True)
            out = torch.cat(
                [encoder(trials.images[part]).cpu() for part in shown.split(batch_size)]
            )
            return out[where.cpu()].numpy()
        parts = []
        for rows in _split(len(trials), batch_size):
            images, pupil, behaviour = trials.inputs(rows)
            parts.append(encoder(images, pupil=pupil, behaviour=behaviour).cpu())
        return torch.cat(parts).numpy()
    finally:
        encoder.train(training)


def predict_recording(
    fitted: FittedEncoder, recording: Recording, tier: Tier, *, device: torch.device | str = "cpu"
) -> np.ndarray:
    """Predicted responses of a tier's trials, each under its own pupil position and behaviour.

    Returns
    -------
    (trial, neuron) float32
        In the units of the recording and the order of ``recording.trials_of(tier)``.
    """
    rows = recording.trials_of(tier)
    index = recording.image_index[rows]
    if fitted.config.shifter is None and fitted.config.modulator is None:
        shown, where = np.unique(index, return_inverse=True)
        return fitted.predict(recording.images[shown], device=device)[where]
    return fitted.predict(
        recording.images[index],
        pupil=None if recording.pupil is None else recording.pupil[rows],
        behaviour=None if recording.behaviour is None else recording.behaviour[rows],
        device=device,
    )


def _split(n: int, batch_size: int) -> Iterator[Tensor]:
    yield from torch.arange(n).split(batch_size)


def _rows(
    normalise: Callable[[np.ndarray], np.ndarray],
    values: np.ndarray | None,
    rows: np.ndarray,
    device: torch.device | str,
) -> Tensor:
    assert values is not None  # encoder_for refused a recording without them
    return torch.from_numpy(normalise(values[rows]).astype(np.float32)).to(device)
