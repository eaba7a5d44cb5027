"""Recording: one scan's images, trials, responses and behaviour, checked when it is made."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from predictive_model.recordings.repeats import Repeats

Tier = Literal["train", "validation", "test"]
TIERS: tuple[Tier, ...] = ("train", "validation", "test")

# A neuron that hardly ever responds would be blown up by dividing by its standard deviation:
# below this fraction of the population's mean standard deviation it is left as it is.
QUIET_NEURON_FRACTION = 0.01
# Of standard deviations: pixels from 0 to 1 differ from those from 0 to 255 by 255, those of 12
# bits by 16. Within one scale images may be much fainter than others, but not much stronger.
SCALES = (1 / 32, 8)


class RecordingError(ValueError):
    """A recording that cannot be used: says which array, what was found and what to do."""


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
        mean, std = float(images.mean()), float(images.std())
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
        Spike counts, rates or deconvolved fluorescence; finite and not negative.
    behaviour : (trial, k) float32, optional
        For instance pupil size and running speed.
    pupil : (trial, 2) float32, optional
        Position of the pupil's centre, horizontal and vertical.
    tier : (trial,) str, optional
        ``train``, ``validation`` or ``test``, the same for all trials of an image. Without it
        :func:`assign_tiers` makes the repeated images the test tier.
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

    def __post_init__(self) -> None:
        check_name(self.name)
        set_ = object.__setattr__  # the dataclass is frozen; this is where it is filled
        images = np.asarray(self.images)
        check_images(images)
        set_(self, "images", images)
        responses = _float_array("responses", self.responses, 2)
        n_trials, n_neurons = responses.shape
        if n_trials == 0 or n_neurons == 0:
            raise RecordingError(
                f"responses: shape {responses.shape} holds no data; expected (trial, neuron)"
            )
        if (responses < 0).any():
            raise RecordingError(
                f"responses: {int((responses < 0).sum())} values are negative; the Poisson "
                "encoder needs counts, rates or deconvolved activity, so shift or deconvolve them"
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
                values = _float_array(field, getattr(self, field), 2)
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
        _check_distinct("neuron_ids", ids)
        set_(self, "neuron_ids", ids)
        k = 0 if self.behaviour is None else self.behaviour.shape[1]
        names = tuple(self.behaviour_names or (f"behaviour_{i}" for i in range(k)))
        if len(names) != k:
            raise RecordingError(
                f"behaviour_names: {len(names)} names for {k} columns of behaviour; give one each"
            )
        _check_distinct("behaviour_names", np.array(names, dtype=str))
        set_(self, "behaviour_names", names)
        if self.cortical_positions is not None:
            positions = np.asarray(self.cortical_positions)
            if positions.ndim != 2 or positions.shape not in ((n_neurons, 2), (n_neurons, 3)):
                raise RecordingError(
                    f"cortical_positions: shape {positions.shape}, expected ({n_neurons}, 2) or "
                    f"({n_neurons}, 3), one row for each column of responses"
                )
            positions = _float_array("cortical_positions", positions, 2, rows="neurons")
            set_(self, "cortical_positions", positions)
        tier = self.tier
        tier = assign_tiers(self.image_index) if tier is None else np.asarray(tier).astype(str)
        _check_tiers(tier, self.image_index, n_trials)
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


def assign_tiers(
    image_index: NDArray[np.int64],
    *,
    validation_fraction: float = 0.1,
    test_images: int | None = None,
    seed: int = 0,
) -> NDArray[np.str_]:
    """Tier of each trial: repeated images test, a tenth of the others validation, the rest train.

    Parameters
    ----------
    image_index : (trial,) int
    validation_fraction : float
        Fraction of the images outside the test tier that become the validation tier.
    test_images : int, optional
        Hold out this many random repeated images instead of all of them. Needed where every
        image was repeated, since nothing would be left to train on, and where none was, as in
        a recording of trial averages: there it chooses among all images.
    seed : int
        Chooses the images.

    Returns
    -------
    (trial,) str
    """
    if not 0 < validation_fraction < 1:
        raise RecordingError(
            f"validation_fraction: {validation_fraction}, expected a number between 0 and 1"
        )
    rng = np.random.default_rng(seed)
    shown, repeats = np.unique(image_index, return_counts=True)
    test = shown[repeats >= 2]
    if test_images is not None:
        held_out, most, why = test, len(test), "the number of repeated images"
        if len(test) == 0:
            held_out, most = shown, len(shown) - 2
            why = f"so that of {len(shown)} images two are left to learn from"
        if not 2 <= test_images <= most:
            raise RecordingError(f"test_images: {test_images}, expected 2 to {most}, {why}")
        test = rng.choice(held_out, test_images, replace=False)
    rest = np.setdiff1d(shown, test)
    if len(rest) < 2:
        raise RecordingError(
            f"tier: {len(test)} of {len(shown)} images are repeated and so in the test tier, "
            "which leaves nothing to train on; give `tier`, or the number of `test_images` to "
            "hold out (`--test-images` on the command line)"
        )
    n_validation = max(1, round(validation_fraction * len(rest)))
    validation = rng.choice(rest, n_validation, replace=False)
    tier = np.full(len(image_index), "train", dtype="U10")
    tier[np.isin(image_index, validation)] = "validation"
    tier[np.isin(image_index, test)] = "test"
    return tier


def image_keys(images: NDArray) -> list[bytes]:
    """A digest of each image's grey values, the same for uint8 and float32.

    Two images are equal if their digests are.
    """
    return [
        hashlib.blake2b(image.astype(np.float32).tobytes(), digest_size=16).digest()
        for image in images
    ]


def check_name(name: str) -> None:
    """Refuse a name that could not be a key, a file name and a module name part at once."""
    allowed = "letters, digits, '_', '-' and '.', at most 64, no '.' first"
    if not isinstance(name, str) or not 0 < len(name) <= 64 or name.startswith("."):
        raise RecordingError(f"name: {name!r}, expected {allowed}")
    if not all(c.isascii() and (c.isalnum() or c in "_-.") for c in name):
        raise RecordingError(f"name: {name!r}, expected only {allowed}")


def check_images(images: NDArray) -> None:
    """Refuse images that are not (n, channels, height, width) uint8 or finite float32.

    An image without any contrast is refused too: its similarity to others is undefined.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise RecordingError(
            f"images: shape {images.shape}, expected (n, channels, height, width) with 1 or 3 "
            "channels; grey images need an axis of length 1"
        )
    if images.dtype not in (np.uint8, np.float32):
        raise RecordingError(f"images: type {images.dtype}, expected uint8 or float32")
    flat = images.reshape(len(images), -1)
    if images.dtype == np.float32 and not np.isfinite(flat).all():
        bad = np.flatnonzero(~np.isfinite(flat).all(1))
        raise RecordingError(
            f"images: {len(bad)} hold values that are not finite, the first is number {bad[0]}; "
            "remove them and their trials"
        )
    constant = np.flatnonzero(flat.min(1) == flat.max(1))
    if len(constant):
        raise RecordingError(
            f"images: {len(constant)} are constant, the first is number {constant[0]}; remove "
            "blank images and their trials"
        )


def _hint_on_index(index: NDArray[np.integer], images: NDArray) -> str:
    """Why an index may be out of range, where another reading of the arrays fits."""
    if index.min() >= 1 and index.max() == len(images):
        return "; count from 0"
    if index.min() >= 0 and index.max() < images.shape[-1]:
        return f"; does the last axis of `images`, of length {images.shape[-1]}, count them?"
    return ""


def _float_array(
    field: str, values: NDArray, ndim: int, *, rows: str = "trials"
) -> NDArray[np.float32]:
    values = np.asarray(values)
    if values.ndim != ndim:
        raise RecordingError(f"{field}: shape {values.shape}, expected {ndim} dimensions")
    if not (np.issubdtype(values.dtype, np.number) and not np.iscomplexobj(values)):
        raise RecordingError(f"{field}: type {values.dtype}, expected real numbers")
    with np.errstate(over="ignore"):
        values = values.astype(np.float32, copy=False)
    bad = ~np.isfinite(values).all(axis=tuple(range(1, ndim)))
    if bad.any():
        raise RecordingError(
            f"{field}: {int(bad.sum())} {rows} hold values that are not finite, the first is "
            f"{rows[:-1]} {int(np.flatnonzero(bad)[0])}; leave those {rows} out of every array"
        )
    return values


def _check_distinct(field: str, values: NDArray) -> None:
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) != len(values):
        raise RecordingError(
            f"{field}: {distinct[counts > 1][0]} stands there {counts.max()} times; expected "
            "distinct values"
        )


def _check_tiers(tier: NDArray[np.str_], image_index: NDArray[np.int64], n_trials: int) -> None:
    if tier.shape != (n_trials,):
        raise RecordingError(
            f"tier: shape {tier.shape}, expected ({n_trials},), one entry for each row of responses"
        )
    unknown = sorted(set(tier.tolist()) - set(TIERS))
    if unknown:
        raise RecordingError(f"tier: found {unknown}, expected only {', '.join(TIERS)}")
    pairs = np.unique(np.stack([image_index.astype(str), tier]), axis=1)
    images, counts = np.unique(pairs[0], return_counts=True)
    if (counts > 1).any():
        raise RecordingError(
            f"tier: image {images[counts > 1][0]} was shown in {counts.max()} tiers; put all "
            "trials of an image into one tier, or the test would see training images"
        )


def _mean_and_std(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    std = values.astype(np.float64).std(0, ddof=1)
    std = np.where(std > 0, std, 1.0)  # a constant channel carries nothing; leave its scale
    return values.mean(0), std.astype(np.float32)
