"""Recording: one scan's images, trials, responses and behaviour, checked when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from predictive_model.digest import equal_pictures
from predictive_model.recordings.checks import (
    RecordingError,
    check_distinct,
    check_images,
    check_name,
    checked_degrees,
    checked_groups,
    float_array,
)
from predictive_model.recordings.repeats import Repeats
from predictive_model.recordings.tiers import TIERS, Tier, assign_tiers, check_tiers

__all__ = [
    "TIERS",
    "Normalisation",
    "Recording",
    "RecordingError",
    "Tier",
    "assign_tiers",
    "check_images",
    "check_name",
]

# A neuron that hardly ever responds would be blown up by dividing by its standard deviation:
# below this fraction of the population's mean standard deviation it is left as it is.
QUIET_NEURON_FRACTION = 0.01
# Of standard deviations: pixels from 0 to 1 differ from those from 0 to 255 by 255, those of 12
# bits by 16. Within one scale images may be much fainter than others, but not much stronger.
SCALES = (1 / 32, 8)


@dataclass(frozen=True)
class Normalisation:
    """Statistics of the train tier that bring a recording to the encoder's scale.

    Images and pupil positions are z-scored, responses and behaviour are divided by their
    standard deviation and not centred, as in the static models of Walker et al. 2019.

    Attributes
    ----------
    image_mean, image_std : float
        Over all pixels of the images shown in the train tier.
    response_scale : (neuron,) float32
        Standard deviation of each neuron; 1 for neurons that hardly respond.
    behaviour_mean, behaviour_std : (k,) float32, or None
    pupil_mean, pupil_std : (2,) float32, or None
    """

    image_mean: float
    image_std: float
    response_scale: NDArray[np.float32]
    behaviour_mean: NDArray[np.float32] | None = None
    behaviour_std: NDArray[np.float32] | None = None
    pupil_mean: NDArray[np.float32] | None = None
    pupil_std: NDArray[np.float32] | None = None

    def images(self, images: NDArray) -> NDArray[np.float32]:
        """Z-scored images, (n, channels, height, width) float32."""
        return (images.astype(np.float32) - self.image_mean) / self.image_std

    def check_scale(self, images: NDArray) -> None:
        """Refuse images on another scale, such as 0 to 1 where the train tier's were 0 to 255.

        Raises
        ------
        RecordingError
            If their standard deviation is out of :data:`SCALES` times that of the train tier's,
            and their mean is elsewhere too.
        """
        mean = float(images.mean(dtype=np.float64))
        squares = 0.0
        for start in range(0, len(images), 256):  # bounds the memory of the floats
            squares += float(np.square(images[start : start + 256] - mean).sum())
        std = (squares / images.size) ** 0.5
        ratio = std / self.image_std
        elsewhere = abs(mean - self.image_mean) > self.image_std
        if elsewhere and not SCALES[0] <= ratio <= SCALES[1]:
            raise RecordingError(
                f"images: mean {mean:.3g} and standard deviation {std:.3g}, expected the scale of "
                f"the images that the encoder was fitted to, of mean {self.image_mean:.3g} and "
                f"standard deviation {self.image_std:.3g}; bring them to it: `neuroteach import "
                "stimuli` takes 0 to 1 to 0 to 255, and with --keep-values leaves them"
            )

    def responses(self, responses: NDArray[np.float32]) -> NDArray[np.float32]:
        """Responses in units of each neuron's standard deviation, (trial, neuron)."""
        return responses / self.response_scale

    def behaviour(self, behaviour: NDArray[np.float32]) -> NDArray[np.float32]:
        """Behaviour in units of its standard deviation, (trial, k)."""
        if self.behaviour_std is None:
            raise RecordingError("behaviour: the recording these statistics came from has none")
        return behaviour / self.behaviour_std

    def pupil(self, pupil: NDArray[np.float32]) -> NDArray[np.float32]:
        """Z-scored pupil position, (trial, 2)."""
        if self.pupil_mean is None or self.pupil_std is None:
            raise RecordingError("pupil: the recording these statistics came from has none")
        return (pupil - self.pupil_mean) / self.pupil_std


@dataclass(frozen=True, eq=False)
class Recording:
    """One scan: what was shown, what each neuron did, and what the animal did meanwhile.

    Parameters
    ----------
    name : str
        Name of the scan, unique in a database: letters, digits, ``_``, ``-`` and ``.``.
    images : (n, channels, height, width) uint8 or float32
        Every distinct image once.
    image_index : (trial,) int
        Which image was shown in each trial.
    responses : (trial, neuron) float32
        Spike counts, rates, deconvolved or raw fluorescence; finite. Encoders with the Poisson loss
        cannot be fitted to negative ones.
    behaviour : (trial, k) float32, optional
        For instance pupil size and running speed.
    pupil : (trial, 2) float32, optional
        Position of the pupil's centre, horizontal and vertical.
    tier : (trial,) str, optional
        ``train``, ``validation`` or ``test``, the same for all trials that showed the same pixels,
        be it under two numbers. Without it :func:`assign_tiers` makes the repeated images the test
        tier.
    neuron_ids : (neuron,) int, optional
        Distinct names of the neurons; 0, 1, ... by default.
    behaviour_names : sequence of str, optional
        Distinct names of the behaviour columns.
    cortical_positions : (neuron, 2 or 3) float32, optional
        Where each neuron lies in the cortex, micrometres; the third column is depth. Neighbours
        look at neighbouring places, so a readout can start from it.
    species, area : str
        Where the neurons are, free text.
    simulated : bool
        True when no animal was involved. It follows every number made from this recording.
    image_groups : (n,) str, optional
        What each image shows, such as an object or a category, to draw images evenly from all.
    degrees : float, optional
        Of visual angle, that the images are wide.

    Raises
    ------
    RecordingError
        If an array has the wrong shape, holds values that cannot be used, or contradicts another.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> recording = Recording(
    ...     name="toy",
    ...     images=rng.integers(0, 256, (20, 1, 8, 8)).astype(np.uint8),
    ...     image_index=np.r_[np.arange(20), 0, 0, 1, 1],
    ...     responses=rng.poisson(2.0, (24, 5)).astype(np.float32),
    ... )
    >>> recording.n_neurons, int((recording.tier == "test").sum())
    (5, 6)
    """

    name: str
    images: NDArray
    image_index: NDArray[np.int64]
    responses: NDArray[np.float32]
    behaviour: NDArray[np.float32] | None = None
    pupil: NDArray[np.float32] | None = None
    tier: NDArray[np.str_] | None = None
    neuron_ids: NDArray[np.int64] | None = None
    behaviour_names: Sequence[str] | None = None
    cortical_positions: NDArray[np.float32] | None = None
    species: str = ""
    area: str = ""
    simulated: bool = False
    image_groups: NDArray[np.str_] | None = None
    degrees: float | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        set_ = object.__setattr__  # the dataclass is frozen; this is where it is filled
        images = np.asarray(self.images)
        check_images(images)
        set_(self, "images", images)
        responses = float_array("responses", self.responses, 2)
        n_trials, n_neurons = responses.shape
        if n_trials == 0 or n_neurons == 0:
            raise RecordingError(
                f"responses: shape {responses.shape} holds no data; expected (trial, neuron)"
            )
        set_(self, "responses", responses)
        index = np.asarray(self.image_index)
        if index.shape != (n_trials,):
            hint = "; is `responses` transposed?" if index.shape == (n_neurons,) else ""
            raise RecordingError(
                f"image_index: shape {index.shape}, expected ({n_trials},), one entry for each "
                f"row of responses{hint}"
            )
        if not np.issubdtype(index.dtype, np.integer):
            raise RecordingError(f"image_index: type {index.dtype}, expected integers")
        if index.min() < 0 or index.max() >= len(images):
            raise RecordingError(
                f"image_index: values from {index.min()} to {index.max()}, expected 0 to "
                f"{len(images) - 1} for {len(images)} images{_hint_on_index(index, images)}"
            )
        set_(self, "image_index", index.astype(np.int64))
        for field, width in (("behaviour", None), ("pupil", 2)):
            if getattr(self, field) is not None:
                values = float_array(field, getattr(self, field), 2)
                expected = (n_trials, width or "k")
                if len(values) != n_trials or (width and values.shape[1] != width):
                    raise RecordingError(
                        f"{field}: shape {values.shape}, expected {expected}, one row for each "
                        "row of responses"
                    )
                set_(self, field, values)
        ids = np.arange(n_neurons) if self.neuron_ids is None else np.asarray(self.neuron_ids)
        if ids.shape != (n_neurons,):
            raise RecordingError(
                f"neuron_ids: shape {ids.shape}, expected ({n_neurons},), one for each column of "
                "responses"
            )
        check_distinct("neuron_ids", ids)
        set_(self, "neuron_ids", ids)
        k = 0 if self.behaviour is None else self.behaviour.shape[1]
        names = tuple(self.behaviour_names or (f"behaviour_{i}" for i in range(k)))
        if len(names) != k:
            raise RecordingError(
                f"behaviour_names: {len(names)} names for {k} columns of behaviour; give one each"
            )
        check_distinct("behaviour_names", np.array(names, dtype=str))
        set_(self, "behaviour_names", names)
        if self.cortical_positions is not None:
            positions = np.asarray(self.cortical_positions)
            if positions.ndim != 2 or positions.shape not in ((n_neurons, 2), (n_neurons, 3)):
                raise RecordingError(
                    f"cortical_positions: shape {positions.shape}, expected ({n_neurons}, 2) or "
                    f"({n_neurons}, 3), one row for each column of responses"
                )
            positions = float_array("cortical_positions", positions, 2, rows="neurons")
            set_(self, "cortical_positions", positions)
        if self.image_groups is not None:
            set_(self, "image_groups", checked_groups(self.image_groups, len(images)))
        if self.degrees is not None:
            set_(self, "degrees", checked_degrees(self.degrees))
        # An image under two numbers is one image to the tiers.
        picture = equal_pictures(images)[self.image_index]
        tier = assign_tiers(picture) if self.tier is None else np.asarray(self.tier).astype(str)
        check_tiers(tier, self.image_index, picture)
        set_(self, "tier", tier)

    # -- sizes -----------------------------------------------------------------------------

    @property
    def n_images(self) -> int:
        """Number of distinct images."""
        return len(self.images)

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.responses)

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return self.responses.shape[1]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        c, h, w = self.images.shape[1:]
        return c, h, w

    # -- trials ----------------------------------------------------------------------------

    def trials_of(self, tier: Tier) -> NDArray[np.int64]:
        """Trial numbers of a tier, in order."""
        if tier not in TIERS:
            raise RecordingError(f"tier: {tier!r}, expected one of {', '.join(TIERS)}")
        return np.flatnonzero(np.asarray(self.tier) == tier)

    def images_of(self, *tiers: Tier) -> NDArray[np.int64]:
        """Image numbers shown in the tiers, sorted."""
        return np.unique(self.image_index[np.isin(np.asarray(self.tier), tiers)])

    @cached_property
    def repeats(self) -> NDArray[np.int64]:
        """(n,) number of trials of each image."""
        return np.bincount(self.image_index, minlength=self.n_images)

    def require_repeats(self, images: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Images shown at least twice, or a RecordingError if there are fewer than two of them."""
        repeated = np.flatnonzero(self.repeats >= 2)
        if images is not None:
            repeated = np.intersect1d(repeated, images)
        if len(repeated) < 2:
            raise RecordingError(
                f"image_index: {len(repeated)} images of {self.name!r} were shown more than once; "
                "this estimate compares repeats, so it needs at least two repeated images"
            )
        return repeated

    def grouped_trials(self, images: NDArray[np.int64] | None = None) -> Repeats:
        """Responses by image, whatever their numbers of repeats.

        Parameters
        ----------
        images : (m,) int, optional
            Which images, in this order; all repeated ones by default.

        Returns
        -------
        Repeats
            float32; of an image that was never shown no trial.
        """
        if images is None:
            images = self.require_repeats()
        place = np.full(self.n_images, -1)
        place[images] = np.arange(len(images))
        rows = place[self.image_index]
        order = np.argsort(rows, kind="stable")
        return Repeats(self.responses[order[(rows < 0).sum() :]], self.repeats[images])

    def repeated_trials(self, images: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """The same by image and repeat, NaN where an image has fewer repeats than another.

        Returns
        -------
        (m, repeat, neuron) float32
            As large as if all images had the most repeats.
        """
        return self.grouped_trials(images).padded()

    @cached_property
    def normalisation(self) -> Normalisation:
        """Statistics of the train tier only."""
        train = self.trials_of("train")
        if len(train) < 2:
            raise RecordingError(
                f"tier: {len(train)} trials of {self.name!r} are in the train tier, expected at "
                "least 2; normalisation is estimated there"
            )
        pixels = self.images[self.images_of("train")].astype(np.float64)
        std = self.responses[train].astype(np.float64).std(0, ddof=1)
        quiet = std <= QUIET_NEURON_FRACTION * std.mean()
        scale = np.where(quiet, 1.0, std).astype(np.float32)
        behaviour_mean = behaviour_std = pupil_mean = pupil_std = None
        if self.behaviour is not None:
            behaviour_mean, behaviour_std = _mean_and_std(self.behaviour[train])
        if self.pupil is not None:
            pupil_mean, pupil_std = _mean_and_std(self.pupil[train])
        return Normalisation(
            image_mean=float(pixels.mean()),
            image_std=float(pixels.std()),
            response_scale=scale,
            behaviour_mean=behaviour_mean,
            behaviour_std=behaviour_std,
            pupil_mean=pupil_mean,
            pupil_std=pupil_std,
        )

    def with_tiers(self, tier: NDArray[np.str_]) -> Recording:
        """The same recording with another division into tiers."""
        return replace(self, tier=tier)


def _hint_on_index(index: NDArray[np.integer], images: NDArray) -> str:
    """Why an index may be out of range, where another reading of the arrays fits."""
    if index.min() >= 1 and index.max() == len(images):
        return "; count from 0, or say where it starts (`--option first_image=1`)"
    if index.min() >= 0 and index.max() < images.shape[-1]:
        return f"; does the last axis of `images`, of length {images.shape[-1]}, count them?"
    return ""


def _mean_and_std(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    std = values.astype(np.float64).std(0, ddof=1)
    std = np.where(std > 0, std, 1.0)  # a constant channel carries nothing; leave its scale
    return values.mean(0), std.astype(np.float32)
