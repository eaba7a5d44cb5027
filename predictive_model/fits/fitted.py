"""FittedEncoder: the denoiser. Predicts every neuron's response to any image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictive_model.encoders.config import EncoderConfig
from predictive_model.encoders.encoder import Encoder, Population, build_encoder, memory_format
from predictive_model.recordings.recording import Normalisation, Recording, Tier, check_images
from predictive_model.tensor_file import metadata_of, tensors_to_bytes

if TYPE_CHECKING:
    from predictive_model.fits.config import FitConfig, FitEpoch

FORMAT = "neuroteach encoder 1"
_STATISTICS = (
    "response_scale",
    "behaviour_mean",
    "behaviour_std",
    "pupil_mean",
    "pupil_std",
)


@dataclass(frozen=True, eq=False)
class FittedEncoder:
    """An encoder in its best state, with the statistics that turn rates into responses.

    Attributes
    ----------
    config : EncoderConfig
    data_key : str
        Name of the scan it was fitted to.
    image_shape : (channels, height, width)
        Of the images it was fitted to, and the only ones it predicts.
    n_neurons : int
    normalisation : Normalisation
    state : dict of str to tensor
        The encoder's state dict.
    validation_correlation : float
        Mean over neurons, single trials.
    fit_config, seed, history
        How it came about; empty for an encoder read from a file.
    """

    config: EncoderConfig
    data_key: str
    image_shape: tuple[int, int, int]
    n_neurons: int
    normalisation: Normalisation
    state: dict[str, Tensor]
    validation_correlation: float = float("nan")
    fit_config: FitConfig | None = None
    seed: int | None = None
    history: Sequence[FitEpoch] = field(default=(), repr=False)

    @cached_property
    def encoder(self) -> Encoder:
        """The network itself, in evaluation mode."""
        encoder = self._built()
        encoder.load_state_dict(self.state)
        return encoder.eval().to(memory_format=memory_format(self.config))

    def _built(self, seed: int = 0) -> Encoder:
        behaviour = self.normalisation.behaviour_std
        source_grid = self.state.get(f"readout.{self.data_key}.source_grid")
        population = Population(
            self.n_neurons,
            n_behaviour=0 if behaviour is None else len(behaviour),
            cortical_positions=None if source_grid is None else source_grid.numpy(),
        )
        return build_encoder(
            self.config, {self.data_key: population}, image_shape=self.image_shape, seed=seed
        )

    def untrained(self, seed: int = 0) -> FittedEncoder:
        """The same encoder with random weights, as a fit begins with: a control."""
        return replace(
            self,
            state=self._built(seed).state_dict(),
            validation_correlation=float("nan"),
            fit_config=None,
            seed=seed,
            history=(),
        )

    def predict(
        self,
        images: NDArray,
        *,
        pupil: NDArray[np.float32] | None = None,
        behaviour: NDArray[np.float32] | None = None,
        batch_size: int = 64,
        device: torch.device | str = "cpu",
    ) -> NDArray[np.float32]:
        """Predicted responses, in the units of the recording.

        Parameters
        ----------
        images : (n, channels, height, width) uint8 or float32
            On the scale of the recording's images.
        pupil : (n, 2), optional
        behaviour : (n, k), optional
            Held at their means over the train tier where they are not given, so that only the
            image drives the response.

        Returns
        -------
        (n, neuron) float32

        Raises
        ------
        ValueError
            If the images have another shape or scale than those the encoder was fitted to, or
            pupil or behaviour do not have one row for each image.
        """
        out = np.empty((len(images), self.n_neurons), np.float32)
        start = 0
        for part in self.predict_parts(
            images, pupil=pupil, behaviour=behaviour, batch_size=batch_size, device=device
        ):
            out[start : start + len(part)] = part
            start += len(part)
        return out

    def predict_parts(
        self,
        images: NDArray,
        *,
        pupil: NDArray[np.float32] | None = None,
        behaviour: NDArray[np.float32] | None = None,
        batch_size: int = 64,
        device: torch.device | str = "cpu",
    ) -> Iterator[NDArray[np.float32]]:
        """What :meth:`predict` returns, a batch at a time, so that all of it is never in memory.

        Images are looked at before the first batch is predicted.

        Yields
        ------
        (batch, neuron) float32

        Raises
        ------
        ValueError
            As :meth:`predict`.
        """
        check_images(images)
        if images.shape[1:] != self.image_shape:
            raise ValueError(
                f"images: shape {images.shape[1:]}, expected {self.image_shape}, the shape of the "
                "images this encoder was fitted to; crop or resize them"
            )
        norm, n = self.normalisation, len(images)
        norm.check_scale(images)
        encoder = self.encoder.to(device)
        shifter_input = behaviour_input = None
        if encoder.shifter is not None:
            assert norm.pupil_mean is not None
            values = _per_image("pupil", pupil, norm.pupil_mean, n)
            shifter_input = torch.from_numpy(norm.pupil(values))
        if self.config.uses_behaviour:
            assert norm.behaviour_mean is not None
            values = _per_image("behaviour", behaviour, norm.behaviour_mean, n)
            behaviour_input = torch.from_numpy(norm.behaviour(values))

        # Not inference_mode: the encoder's gradients may be wanted later.
        @torch.no_grad()
        def predicted(part: slice) -> NDArray[np.float32]:
            batch = torch.from_numpy(norm.images(images[part])).to(device)
            responses = encoder(
                batch,
                pupil=None if shifter_input is None else shifter_input[part].to(device),
                behaviour=None if behaviour_input is None else behaviour_input[part].to(device),
            )
            in_units: NDArray[np.float32] = responses.cpu().numpy() * norm.response_scale
            return in_units

        return (predicted(slice(k, k + batch_size)) for k in range(0, n, batch_size))

    # -- file ------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The encoder as a safetensors file that holds its settings too."""
        tensors = {f"encoder.{k}": v for k, v in self.state.items()}
        for name in _STATISTICS:
            value = getattr(self.normalisation, name)
            if value is not None:
                tensors[f"normalisation.{name}"] = torch.from_numpy(np.ascontiguousarray(value))
        metadata = {
            "format": FORMAT,
            "config": self.config.model_dump_json(),
            "about": json.dumps(
                {
                    "data_key": self.data_key,
                    "image_shape": self.image_shape,
                    "n_neurons": self.n_neurons,
                    "image_mean": self.normalisation.image_mean,
                    "image_std": self.normalisation.image_std,
                    "validation_correlation": self.validation_correlation,
                    "seed": self.seed,
                }
            ),
        }
        return tensors_to_bytes(tensors, metadata)

    @classmethod
    def from_bytes(cls, content: bytes) -> FittedEncoder:
        """The encoder that :meth:`to_bytes` wrote.

        Raises
        ------
        ValueError
            If the bytes are something else.
        """
        metadata = metadata_of(content)
        if metadata.get("format") != FORMAT:
            raise ValueError(
                f"format: found {metadata.get('format')!r}, expected {FORMAT!r}; this is not an "
                "encoder that neuroteach wrote"
            )
        try:
            tensors = safetensors.torch.load(content)
        except safetensors.SafetensorError as error:
            raise ValueError(f"the bytes of this encoder are damaged ({error})") from error
        about = json.loads(metadata["about"])
        statistics = {
            name: tensors[f"normalisation.{name}"].numpy()
            for name in _STATISTICS
            if f"normalisation.{name}" in tensors
        }
        return cls(
            config=EncoderConfig.model_validate_json(metadata["config"]),
            data_key=about["data_key"],
            image_shape=tuple(about["image_shape"]),
            n_neurons=about["n_neurons"],
            normalisation=Normalisation(
                image_mean=about["image_mean"], image_std=about["image_std"], **statistics
            ),
            state={
                k.removeprefix("encoder."): v
                for k, v in tensors.items()
                if k.startswith("encoder.")
            },
            validation_correlation=about["validation_correlation"],
            seed=about["seed"],
        )


def predict_recording(
    fitted: FittedEncoder, recording: Recording, tier: Tier, *, device: torch.device | str = "cpu"
) -> NDArray[np.float32]:
    """Predicted responses of a tier's trials, each under its own pupil position and behaviour.

    Returns
    -------
    (trial, neuron) float32
        In the units of the recording and the order of ``recording.trials_of(tier)``.
    """
    for name, needed in (
        ("pupil", fitted.config.shifter is not None),
        ("behaviour", fitted.config.uses_behaviour),
    ):
        if needed and getattr(recording, name) is None:
            raise ValueError(
                f"{name}: recording {recording.name!r} has none, but the encoder goes by it; use "
                "predict, which holds it at its mean"
            )
    rows = recording.trials_of(tier)
    index = recording.image_index[rows]
    if fitted.config.shifter is None and not fitted.config.uses_behaviour:
        shown, where = np.unique(index, return_inverse=True)
        return fitted.predict(recording.images[shown], device=device)[where]
    return fitted.predict(
        recording.images[index],
        pupil=None if recording.pupil is None else recording.pupil[rows],
        behaviour=None if recording.behaviour is None else recording.behaviour[rows],
        device=device,
    )


def _per_image(
    field: str, values: NDArray | None, mean: NDArray[np.float32], n: int
) -> NDArray[np.float32]:
    """Pupil or behaviour of each image, the mean where it is not given."""
    expected = (n, len(mean))
    if values is None:
        return np.broadcast_to(mean, expected)
    values = np.asarray(values, np.float32)
    if values.shape != expected:
        raise ValueError(f"{field}: shape {values.shape}, expected {expected}, one row per image")
    return values
