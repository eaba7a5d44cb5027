"""SimulatedCortex: neurons with known receptive fields, the ground truth that tests recover."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.fft import irfft2, rfft2
from scipy.signal import lfilter
from scipy.stats import norm

from predictive_model.config import Config
from predictive_model.recordings.gabor import gabor_pairs
from predictive_model.recordings.recording import Recording
from predictive_model.recordings.stimuli import natural_stimuli

GREY = 127.5  # what surrounds an image on the screen, and what a Gabor does not respond to

CALIBRATION_IMAGES = 500
FARTHEST_GAZE = 2.5  # in standard deviations; farther draws are put on this circle
FINEST_FREQUENCY = 0.35  # cycles per pixel, below the 0.5 that pixels can show
SMALLEST_WIDTH = 4.0  # pixels; a narrower Gabor cannot be moved by a fraction of a pixel

# Running speed in cm/s is 10 (exp(0.5 u) - 1) while the latent u is above 0, and 0 otherwise.
RUNNING_SCALE, RUNNING_GROWTH = 10.0, 0.5
PUPIL_SIZE_MEAN, PUPIL_SIZE_STD = 30.0, 6.0  # pixels of the eye camera
PUPIL_SIZE_AND_RUNNING = 0.5  # correlation of the latents: a running mouse has wide pupils
PUPIL_MEAN, PUPIL_STD = (80.0, 60.0), 4.0  # position in pixels of the eye camera

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Range = tuple[Positive, Positive]


class SimulatedCortexConfig(Config):
    """What a simulated population is like; ranges are (lowest, highest) of a uniform draw.

    Receptive fields have two or three stripes, like the Gabors fitted to neurons of mouse V1 (Niell
    and Stryker 2008), and a scale that suits images of 36 x 64 pixels. With the defaults, a trial
    correlates by about 0.5 with the mean of the other trials of the same images (the oracle
    correlation); lower ``mean_rate`` for noisier neurons.

    Parameters
    ----------
    n_neurons : int
    image_shape : (height, width) in pixels
    centre_range : float
        Receptive fields lie in the central rectangle of this fraction of height and width. With
        0.7 their centres stay inside the output of an unpadded 9-pixel kernel.
    width : range, pixels
        Four standard deviations of the Gaussian envelope, across the stripes.
    cycles : range
        Of the grating within the width: the spatial frequency is cycles / width. Below about 1.2
        the even and the odd Gabor are no longer alike in size, and complex cells not invariant.
    aspect : range
        Length of the envelope along the stripes, divided by its width.
    fraction_complex : float
        Of neurons that are complex cells; the others are simple.
    saturation : float
        Energy at half of the maximal response, in units of the neuron's mean energy for natural
        images. Keeps the heavy-tailed energies of natural images from giving a few huge responses.
    mean_rate : float
        Mean over neurons of the mean expected response to natural images, spikes per trial. With
        Poisson noise the signal-to-noise ratio is proportional to it.
    rate_spread : float
        Standard deviation over neurons of the logarithm of the mean response.
    baseline_fraction : float
        Part of the mean response that does not depend on the image; lowers the signal.
    gaze_amplitude : float, pixels
        Standard deviation of the shift of all receptive fields along the eye's main axis. With 0
        recordings have no pupil position.
    running_gain, pupil_size_gain : float
        Mean over neurons of the change in log response per standard deviation of running speed
        and of pupil size. With both 0 recordings have no behaviour.
    gain_spread : float
        Standard deviation over neurons of these changes, relative to their mean.
    autocorrelation : float
        Correlation from one trial to the next of gaze and of what drives behaviour.
    """

    n_neurons: int = Field(1000, ge=1)
    image_shape: tuple[int, int] = (36, 64)
    centre_range: float = Field(0.7, ge=0, le=1)
    width: Range = (6.0, 14.0)
    cycles: Range = (1.2, 1.6)
    aspect: Range = (1.0, 1.5)
    fraction_complex: float = Field(0.5, ge=0, le=1)
    saturation: Positive = 2.0
    mean_rate: Positive = 1.0
    rate_spread: NonNegative = 0.5
    baseline_fraction: float = Field(0.2, ge=0, lt=1)
    gaze_amplitude: NonNegative = 1.5
    running_gain: float = Field(0.15, ge=-1, le=1)
    pupil_size_gain: float = Field(0.1, ge=-1, le=1)
    gain_spread: NonNegative = 0.5
    autocorrelation: float = Field(0.9, ge=0, lt=1)

    @model_validator(mode="after")
    def _possible(self) -> SimulatedCortexConfig:
        for name in ("width", "cycles", "aspect"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: ({low}, {high}), expected (lowest, highest)")
        smallest = min(self.image_shape)
        if self.width[0] < SMALLEST_WIDTH or self.width[1] > smallest:
            raise ValueError(
                f"width: {self.width} pixels, expected {SMALLEST_WIDTH:g} to {smallest}, so that "
                f"receptive fields fit into images of {self.image_shape}"
            )
        finest = self.cycles[1] / self.width[0]
        if finest > FINEST_FREQUENCY:
            raise ValueError(
                f"cycles: {self.cycles[1]:g} within {self.width[0]:g} pixels are {finest:.2f} "
                f"cycles per pixel, expected at most {FINEST_FREQUENCY}; allow fewer cycles or "
                "only wider receptive fields"
            )
        if self.gaze_amplitude > smallest / 4:
            raise ValueError(
                f"gaze_amplitude: {self.gaze_amplitude} pixels, expected at most {smallest / 4}, "
                f"a quarter of the shorter side of {self.image_shape}"
            )
        return self


class SimulatedCortex:
    """A population of Gabor-energy neurons in an animal that looks around and runs.

    A simple cell's energy is the half-rectified, squared product of its Gabor with the image; a
    complex cell's is the sum of the squares for a quadrature pair (Adelson and Bergen 1985).
    The expected response of neuron a to image i is

        gain_a * mean_a * (b + (1 - b) * s_ai),   s_ai proportional to e_ai / (e_ai + saturation),

    a contrast response with exponent 2 (Albrecht and Hamilton 1982), e in units of its mean and
    s scaled to mean 1 over natural images, b the baseline fraction. The gaze shifts all Gabors
    by ``gaze_matrix @ (pupil - pupil_mean)`` pixels; what they see beyond the image is grey.
    Behaviour multiplies: ``gain_a = exp(gain_coefficients[a] @ z)`` with z the running speed and
    pupil size in standard deviations from their mean. Responses are Poisson counts.

    Parameters
    ----------
    config : SimulatedCortexConfig
    seed : int
        Chooses the neurons and the eye: the same seed is the same scan, another is another scan.

    Attributes
    ----------
    centres : (neuron, 2)
        Horizontal and vertical position of the receptive fields; the first pixel is at (0, 0).
    orientation : (neuron,)
        Direction across the stripes in radians from 0 to pi: 0 prefers vertical stripes.
    frequency : (neuron,) cycles per pixel
    phase : (neuron,) radians
    sigma : (neuron, 2) pixels
        Standard deviation of the envelope across and along the stripes.
    is_complex : (neuron,) bool
    mean_rates : (neuron,)
        Mean expected response to natural images at mean gaze and behaviour, spikes per trial.
    gaze_matrix : (2, 2)
        Pixels of the image per pixel of the eye camera.
    pupil_mean, pupil_std : (2,)
    gain_coefficients : (neuron, 2)
    behaviour_mean, behaviour_std : (2,)

    Examples
    --------
    >>> cortex = SimulatedCortex(SimulatedCortexConfig(n_neurons=20), seed=1)
    >>> images = natural_stimuli(50)
    >>> recording = cortex.record(images, n_repeated=10, n_repeats=4, seed=0, name="scan1")
    >>> recording.n_trials, recording.behaviour_names
    (80, ('running speed', 'pupil size'))
    """

    behaviour_names = ("running speed", "pupil size")

    def __init__(self, config: SimulatedCortexConfig, seed: int = 0) -> None:
        self.config = config
        self.seed = seed
        rng = np.random.default_rng([seed, 0])
        self._draw_receptive_fields(rng)
        self._draw_behaviour(rng)
        self._margin = int(np.ceil(FARTHEST_GAZE * config.gaze_amplitude))
        self._filters = self._gabors()
        self._calibrate()

    # -- ground truth ----------------------------------------------------------------------

    def _draw_receptive_fields(self, rng: np.random.Generator) -> None:
        config, n = self.config, self.config.n_neurons
        middle = (np.array(config.image_shape[::-1]) - 1) / 2
        self.centres = middle * (1 + config.centre_range * rng.uniform(-1, 1, (n, 2)))
        self.orientation = rng.uniform(0, np.pi, n)
        self.phase = rng.uniform(0, 2 * np.pi, n)
        width = rng.uniform(*config.width, n)
        self.frequency = rng.uniform(*config.cycles, n) / width
        self.sigma = np.stack([width, width * rng.uniform(*config.aspect, n)], 1) / 4
        self.is_complex = rng.permutation(n) < round(config.fraction_complex * n)
        self.mean_rates = config.mean_rate * rng.lognormal(
            -(config.rate_spread**2) / 2, config.rate_spread, n
        )

    def _draw_behaviour(self, rng: np.random.Generator) -> None:
        config = self.config
        self.pupil_mean, self.pupil_std = np.array(PUPIL_MEAN), np.full(2, PUPIL_STD)
        turn = rng.uniform(-np.pi / 6, np.pi / 6)  # of the eye camera
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        # Mice move their eyes more along the horizon than across it.
        self.gaze_matrix = config.gaze_amplitude / PUPIL_STD * np.diag([1, 0.7]) @ rotation
        strength = np.array([config.running_gain, config.pupil_size_gain])
        spread = rng.standard_normal((config.n_neurons, 2))
        self.gain_coefficients = strength * (1 + config.gain_spread * spread)
        # Moments of exp(c u) - 1 where u > 0, and of 0 elsewhere, for u standard normal.
        c = RUNNING_GROWTH
        first, second = (np.exp((k * c) ** 2 / 2) * norm.cdf(k * c) for k in (1, 2))
        mean, square = first - 0.5, second - 2 * first + 0.5
        running = RUNNING_SCALE * np.array([mean, np.sqrt(square - mean**2)])
        self.behaviour_mean = np.array([running[0], PUPIL_SIZE_MEAN])
        self.behaviour_std = np.array([running[1], PUPIL_SIZE_STD])

    def grid_centres(self, trimmed: int = 0) -> NDArray[np.float64]:
        """Receptive field centres as ``grid_sample(..., align_corners=True)`` counts.

        Parameters
        ----------
        trimmed : int
            Pixels that an unpadded convolution took off each side of the map that is sampled, 4
            for a kernel of 9. With 0, the grid of the image itself.

        Returns
        -------
        (neuron, 2)
            Horizontal and vertical, -1 and 1 on the centres of the outermost pixels.
        """
        half = (np.array(self.config.image_shape[::-1]) - 1) / 2
        if not 0 <= trimmed < half.min():
            raise ValueError(f"trimmed: {trimmed}, expected 0 to {int(np.ceil(half.min())) - 1}")
        return (self.centres - half) / (half - trimmed)

    # -- responses -------------------------------------------------------------------------

    def rates(
        self,
        images: NDArray,
        pupil: NDArray | None = None,
        behaviour: NDArray | None = None,
    ) -> NDArray[np.float32]:
        """Expected responses without noise, in spikes per trial.

        Parameters
        ----------
        images : (n, 1, height, width)
            Grey values from 0 to 255.
        pupil : (n, 2), optional
            Pupil position in each trial; at its mean by default.
        behaviour : (n, 2), optional
            Running speed and pupil size in each trial; at their mean by default.

        Returns
        -------
        (n, neuron) float32
        """
        images = np.asarray(images)
        h, w = self.config.image_shape
        if images.shape[1:] != (1, h, w):
            raise ValueError(f"images: shape {images.shape}, expected (n, 1, {h}, {w})")
        shift = None
        if pupil is not None:
            pupil = _trial_array("pupil", pupil, len(images))
            shift = (pupil - self.pupil_mean) @ self.gaze_matrix.T
        b = self.config.baseline_fraction
        rates = self._energies(images, shift)
        rates /= rates + self._half_energy
        rates *= ((1 - b) * self.mean_rates * self._scale).astype(np.float32)
        rates += (b * self.mean_rates).astype(np.float32)
        if behaviour is not None:
            z = _trial_array("behaviour", behaviour, len(images)) - self.behaviour_mean
            log_gain = (z / self.behaviour_std) @ self.gain_coefficients.T
            rates *= np.exp(log_gain, dtype=np.float32)
        return rates

    def record(
        self, images: NDArray, *, n_repeated: int, n_repeats: int, seed: int, name: str
    ) -> Recording:
        """One scan: the first images repeatedly, the others once, in random order, with noise.

        Parameters
        ----------
        images : (n, 1, height, width) uint8
        n_repeated : int
            How many images, counted from the first, are shown more than once.
        n_repeats : int
            How often those are shown.
        seed : int
            Chooses order, gaze, behaviour and noise.
        name : str
            Name of the scan.

        Returns
        -------
        Recording
            ``simulated``; ``rates(images[image_index], pupil, behaviour)`` is what its responses
            would be without noise.
        """
        if not 0 <= n_repeated <= len(images) - 2:
            raise ValueError(
                f"n_repeated: {n_repeated}, expected 0 to {len(images) - 2} of {len(images)} "
                "images, since the repeated ones are for testing and the others for training"
            )
        if n_repeats < 1:
            raise ValueError(f"n_repeats: {n_repeats}, expected at least 1")
        rng = np.random.default_rng([self.seed, seed, 1])
        times = np.where(np.arange(len(images)) < n_repeated, n_repeats, 1)
        index = rng.permutation(np.repeat(np.arange(len(images)), times))
        pupil, behaviour = self._behave(len(index), rng)
        expected = self.rates(images[index], pupil, behaviour)
        return Recording(
            name=name,
            images=images,
            image_index=index,
            responses=rng.poisson(expected).astype(np.float32),
            behaviour=behaviour,
            pupil=pupil,
            behaviour_names=None if behaviour is None else self.behaviour_names,
            species="simulated",
            area="V1",
            simulated=True,
        )

    def _behave(
        self, n: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
        """Pupil position and behaviour in ``n`` successive trials."""
        gaze, latent = np.split(self._latents(n, 4, rng), 2, axis=1)
        distance = np.linalg.norm(gaze, axis=1, keepdims=True)
        gaze *= np.minimum(1, FARTHEST_GAZE / np.maximum(distance, FARTHEST_GAZE))
        pupil = self.pupil_mean + self.pupil_std * gaze
        running = RUNNING_SCALE * np.expm1(RUNNING_GROWTH * latent[:, 0].clip(0))
        rho = PUPIL_SIZE_AND_RUNNING
        arousal = rho * latent[:, 0] + np.sqrt(1 - rho**2) * latent[:, 1]
        behaviour = np.stack([running, PUPIL_SIZE_MEAN + PUPIL_SIZE_STD * arousal], axis=1)
        return (
            pupil.astype(np.float32) if self.gaze_matrix.any() else None,
            behaviour.astype(np.float32) if self.gain_coefficients.any() else None,
        )

    def _latents(self, n: int, k: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(n, k) independent stationary autoregressive series of mean 0 and variance 1."""
        rho = self.config.autocorrelation
        innovations = rng.standard_normal((n, k))
        innovations[1:] *= np.sqrt(1 - rho**2)
        return lfilter([1], [1, -rho], innovations, axis=0)

    # -- Gabor energies --------------------------------------------------------------------

    def _gabors(self) -> NDArray[np.float32]:
        """Gabors of all neurons, then their quadrature partners, those of complex cells only.

        (neuron + complex neuron, pixel); the pixels are those of the image and a margin around.
        Each is blind to uniform light and has norm 1.
        """
        m = self._margin
        y, x = (np.arange(-m, s + m, dtype=np.float32) for s in self.config.image_shape)
        dx = x - self.centres[:, :1].astype(np.float32)
        dy = y - self.centres[:, 1:].astype(np.float32)
        even, odd = gabor_pairs(
            dx, dy, orientation=self.orientation, frequency=self.frequency, sigma=self.sigma
        )
        cos, sin = (f(self.phase).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
        partner = (cos * odd - sin * even)[self.is_complex]
        pairs = np.concatenate([cos * even + sin * odd, partner])
        return pairs.reshape(len(pairs), -1)

    def _energies(
        self, images: NDArray, shift: NDArray[np.float64] | None = None
    ) -> NDArray[np.float32]:
        """(n, neuron) energies, receptive fields shifted by ``shift`` (n, 2) pixels."""
        if shift is not None and np.abs(shift).max(initial=0) > self._margin + 1e-6:
            raise ValueError(
                f"pupil: moves receptive fields by {np.abs(shift).max():.1f} pixels, expected at "
                f"most {self._margin} with gaze_amplitude {self.config.gaze_amplitude}"
            )
        n, n_neurons = len(images), self.config.n_neurons
        energies = np.empty((n, n_neurons), np.float32)
        for start in range(0, n, 1000):  # bounds the memory
            batch = slice(start, start + 1000)
            drive = self._seen(images[batch], None if shift is None else shift[batch])
            drive = drive @ self._filters.T
            first, partner = drive[:, :n_neurons], drive[:, n_neurons:]
            first[:, ~self.is_complex] = first[:, ~self.is_complex].clip(0)
            first **= 2
            first[:, self.is_complex] += partner**2
            energies[batch] = first
        return energies

    def _seen(self, images: NDArray, shift: NDArray[np.float64] | None) -> NDArray[np.float32]:
        """(n, pixel) contrast of image and grey margin as it meets receptive fields at rest.

        Shifting receptive fields is shifting images the other way, here in the Fourier domain:
        exact for Gabors, which hold no frequency that pixels could not show.
        """
        m = self._margin
        contrast = ((images[:, 0] - np.float32(GREY)) / np.float32(GREY)).astype(np.float32)
        seen = np.pad(contrast, ((0, 0), (m, m), (m, m)))
        if shift is not None and shift.any():
            shape = seen.shape[1:]
            x = np.exp(2j * np.pi * np.fft.rfftfreq(shape[1]) * shift[:, :1])
            y = np.exp(2j * np.pi * np.fft.fftfreq(shape[0]) * shift[:, 1:])
            spectrum = rfft2(seen)
            spectrum *= x.astype(np.complex64)[:, None, :]
            spectrum *= y.astype(np.complex64)[:, :, None]
            seen = irfft2(spectrum, s=shape)
        return seen.reshape(len(seen), -1)

    def _calibrate(self) -> None:
        """Find each neuron's scale of energy and of response from natural images."""
        images = natural_stimuli(CALIBRATION_IMAGES, self.config.image_shape, seed=0)
        energy = self._energies(images)
        self._half_energy = self.config.saturation * energy.mean(0)
        self._scale = 1 / (energy / (energy + self._half_energy)).mean(0)


def _trial_array(field: str, values: NDArray, n: int) -> NDArray[np.float64]:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (n, 2) or not np.isfinite(values).all():
        raise ValueError(
            f"{field}: shape {values.shape}, expected ({n}, 2) finite values, one row per image"
        )
    return values
