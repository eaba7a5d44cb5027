"""Trials in memory, arranged so that each image passes the core once however many trials show it.

Shifter, readout and modulator act on what the core makes of an image. So all trials of an image,
and all scans that saw the same images, share one pass of the core, which is most of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictive_model.digest import image_keys
from predictive_model.encoders.config import EncoderConfig
from predictive_model.encoders.encoder import Encoder, data_key
from predictive_model.recordings.recording import TIERS, Recording, Tier


@dataclass(frozen=True, eq=False)
class ScanTrials:
    """Trials of one scan in one tier, in the order of the inputs that they share.

    Attributes
    ----------
    data_key : str
    responses : (trial, neuron) tensor
        Normalised.
    weight : (trial,) tensor
        How many trials each stands for, divided by the mean over trials.
    first : (input + 1,) tensor
        Trials from ``first[i]`` up to ``first[i + 1]`` are those of input i.
    one_each : bool
        Every input has exactly one trial.
    pupil, behaviour : (trial, k) tensors or None
    """

    data_key: str
    responses: Tensor
    weight: Tensor
    first: Tensor
    one_each: bool
    pupil: Tensor | None
    behaviour: Tensor | None

    def __len__(self) -> int:
        return len(self.responses)

    def of(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Trials of some inputs, and to which of these each belongs: None if one to each."""
        if self.one_each:
            return inputs, None
        start = self.first[inputs]
        count = self.first[inputs + 1] - start
        where = torch.repeat_interleave(count)
        before = count.cumsum(0) - count  # trials of the inputs before this one
        return (start - before)[where] + torch.arange(len(where), device=where.device), where


@dataclass(frozen=True, eq=False)
class StimulusGroup:
    """Scans that saw the same images, and the distinct inputs of the core that they share.

    Attributes
    ----------
    images : (n, c, h, w) tensor
        What the core sees of each image, made once since nothing in it is learned.
    index : (input,) tensor
        Which of these each input is.
    behaviour : (input, k) tensor or None
        Channels beside the image, where the core sees behaviour: then each trial is an input.
    scans : tuple of ScanTrials
    """

    images: Tensor
    index: Tensor
    behaviour: Tensor | None
    scans: tuple[ScanTrials, ...]

    def __len__(self) -> int:
        return len(self.index)

    def features(self, encoder: Encoder, inputs: Tensor) -> Tensor:
        """What the core makes of some inputs."""
        behaviour = None if self.behaviour is None else self.behaviour[inputs]
        return encoder.features(self.images[self.index[inputs]], behaviour=behaviour)


def rates(
    encoder: Encoder, trials: ScanTrials, rows: Tensor, where: Tensor | None, features: Tensor
) -> Tensor:
    """Rates (trial, neuron) of trials whose inputs are at ``where`` among the core's features."""
    return encoder.rates(
        features if where is None else features[where],
        trials.data_key,
        pupil=None if trials.pupil is None else trials.pupil[rows],
        behaviour=None if trials.behaviour is None else trials.behaviour[rows],
    )


def stimulus_groups(
    encoder: Encoder,
    recordings: Sequence[Recording],
    tier: Tier,
    *,
    merge: bool = False,
    device: torch.device | str = "cpu",
) -> list[StimulusGroup]:
    """Trials of a tier of one or more scans on a device.

    Parameters
    ----------
    encoder : Encoder
        Says which inputs it uses; on the same device.
    recordings : sequence of Recording
    tier : str
    merge : bool
        Let trials of the same input become one, with their mean response and their number as
        weight, if the encoder sees nothing but the image. The losses' gradients are linear in
        the response, so they stay the same, at a fraction of the work.
    device : torch.device or str

    Returns
    -------
    list of StimulusGroup
        In order of the scans; those without trials in the tier are in none.
    """
    config = encoder.config
    merge = merge and config.shifter is None and not config.uses_behaviour
    alike: list[list[Recording]] = []
    for recording in recordings:
        if not len(recording.trials_of(tier)):
            continue
        for group in alike:
            if not config.behaviour_channels and _same_images(group[0], recording):
                group.append(recording)
                break
        else:
            alike.append([recording])
    return [_group(encoder, group, tier, merge, device) for group in alike]


def _same_images(a: Recording, b: Recording) -> bool:
    """Whether the core sees the same: equal images under equal normalisation."""
    norms = [(r.normalisation.image_mean, r.normalisation.image_std) for r in (a, b)]
    return norms[0] == norms[1] and (a.images is b.images or np.array_equal(a.images, b.images))


def _group(
    encoder: Encoder,
    recordings: Sequence[Recording],
    tier: Tier,
    merge: bool,
    device: torch.device | str,
) -> StimulusGroup:
    norm, config = recordings[0].normalisation, encoder.config
    behaviour = None
    if config.behaviour_channels:
        (recording,) = recordings
        rows = recording.trials_of(tier)
        index = recording.image_index[rows]
        behaviour = _normalised(norm.behaviour, recording.behaviour, rows).to(device)
        inputs = [np.arange(len(rows))]
    else:
        shown = [r.image_index[r.trials_of(tier)] for r in recordings]
        index = np.unique(np.concatenate(shown))
        inputs = [np.searchsorted(index, images) for images in shown]
    # Only the images that are shown: copies of the others would cost memory.
    distinct, place = np.unique(index, return_inverse=True)
    shown_images = recordings[0].images[distinct]
    with torch.no_grad():
        parts = [
            encoder.core_inputs(torch.from_numpy(norm.images(shown_images[part])).to(device))
            for part in np.array_split(np.arange(len(distinct)), -(-len(distinct) // 256))
        ]
    return StimulusGroup(
        images=torch.cat(parts),
        index=torch.from_numpy(place).to(device),
        behaviour=behaviour,
        scans=tuple(
            _scan_trials(config, r, tier, of, len(index), merge, device)
            for r, of in zip(recordings, inputs, strict=True)
        ),
    )


def _scan_trials(
    config: EncoderConfig,
    recording: Recording,
    tier: Tier,
    inputs: NDArray[np.int64],
    n_inputs: int,
    merge: bool,
    device: torch.device | str,
) -> ScanTrials:
    order = np.argsort(inputs, kind="stable")
    rows = recording.trials_of(tier)[order]
    norm = recording.normalisation
    responses = norm.responses(recording.responses[rows])
    count = np.bincount(inputs, minlength=n_inputs)
    weight = np.ones(len(rows), np.float32)
    if merge and (count > 1).any():
        shown = np.flatnonzero(count)
        starts = np.concatenate([[0], np.cumsum(count[shown])[:-1]])
        total = np.add.reduceat(responses, starts, axis=0, dtype=np.float64)
        responses = (total / count[shown, None]).astype(np.float32)
        weight = count[shown].astype(np.float32)
        count = (count > 0).astype(count.dtype)
    pupil = behaviour = None
    if config.shifter is not None:
        pupil = _normalised(norm.pupil, recording.pupil, rows).to(device)
    if config.uses_behaviour:
        behaviour = _normalised(norm.behaviour, recording.behaviour, rows).to(device)
    return ScanTrials(
        data_key=data_key(recording.name),
        responses=torch.from_numpy(responses).to(device),
        weight=torch.from_numpy(weight / weight.mean()).to(device),
        first=torch.from_numpy(np.concatenate([[0], np.cumsum(count)])).to(device),
        one_each=bool((count == 1).all()),
        pupil=pupil,
        behaviour=behaviour,
    )


def _normalised(
    normalise: Callable[[NDArray], NDArray], values: NDArray | None, rows: NDArray[np.int64]
) -> Tensor:
    assert values is not None  # build_encoder refused a recording without them
    return torch.from_numpy(normalise(values[rows]).astype(np.float32))


@torch.inference_mode()
def predict_trials(
    encoder: Encoder, groups: Sequence[StimulusGroup], batch_size: int = 256
) -> dict[str, NDArray[np.float32]]:
    """Normalised predictions for the trials of each scan, (trial, neuron), by data key."""
    training = encoder.training
    encoder.eval()
    out: dict[str, list[Tensor]] = {}
    try:
        for group in groups:
            for inputs in torch.arange(len(group), device=group.index.device).split(batch_size):
                features = group.features(encoder, inputs)
                for scan in group.scans:
                    rows, where = scan.of(inputs)
                    if len(rows) == 0:
                        continue
                    out.setdefault(scan.data_key, []).append(
                        rates(encoder, scan, rows, where, features).cpu()
                    )
    finally:
        encoder.train(training)
    return {key: torch.cat(parts).numpy() for key, parts in out.items()}


def check_together(recordings: Sequence[Recording]) -> None:
    """Refuse recordings whose encoders cannot share a core.

    Raises
    ------
    ValueError
        If names or shapes of images do not go together, or one scan would teach the core an image
        that another holds out.
    """
    if not recordings:
        raise ValueError("recordings: none, expected at least one")
    keys = [data_key(r.name) for r in recordings]
    if len(set(keys)) < len(keys):
        raise ValueError(
            f"recordings: names {', '.join(r.name for r in recordings)} are not distinct; '.' and "
            "'_' count as the same"
        )
    shapes = {r.image_shape for r in recordings}
    if len(shapes) > 1:
        raise ValueError(
            f"recordings: images of shapes {sorted(shapes)}, expected one shape, since the scans "
            "share a core; crop or resize them"
        )
    _check_held_out(recordings)


def _check_held_out(recordings: Sequence[Recording]) -> None:
    """No image may teach the core, or decide when it has learned enough, and be tested as well."""
    tier_of: dict[bytes, tuple[str, str]] = {}
    for recording in recordings:
        for tier in TIERS:
            images = recording.images_of(tier)
            for number, key in zip(images, image_keys(recording.images[images]), strict=True):
                before, scan = tier_of.setdefault(key, (tier, recording.name))
                if before != tier:
                    raise ValueError(
                        f"tier: image {number} of {recording.name!r} is in the {tier} tier, the "
                        f"same image in {scan!r} in the {before} tier; an image needs one tier, "
                        "in all scans that share a core. Fit them one by one, or give their files "
                        "tiers that agree"
                    )
