"""What is in a recording's file, for people to read before they import it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from predictive_model.recordings.recording import TIERS, Recording

# With fewer images to train on, an encoder is hardly worth its fit.
FEW_IMAGES = 100
# With so many neurons that respond in most trials, none at all is no chance.
MANY_NEURONS = 10
# With fewer images to test on, scores say little.
FEW_TEST_IMAGES = 10


@dataclass(frozen=True)
class ScanReport:
    """Sizes and peculiarities of one scan.

    Attributes
    ----------
    format : str
        ``npz``, ``sensorium``, ``nwb``, the name of another package's importer, or empty for a
        recording that was made in memory.
    name : str
    image_shape : (channels, height, width)
    n_images, n_trials, n_repeated : int or None
        None where only reading the arrays could tell.
    n_neurons : int
    tiers : mapping of str to int
        Trials in each tier; empty where tiers are yet to be chosen.
    behaviour : tuple of str
        Names of the behaviour columns.
    pupil, positions, simulated : bool
    n_groups : int
        Groups of images; 0 where they have none.
    degrees : float, optional
        Of visual angle, that images are wide.
    notes : tuple of str
        What is left out or unusual, in whole sentences.
    """

    format: str
    name: str
    image_shape: tuple[int, int, int]
    n_images: int | None
    n_trials: int | None
    n_neurons: int
    tiers: Mapping[str, int]
    n_repeated: int | None = None
    behaviour: tuple[str, ...] = ()
    pupil: bool = False
    positions: bool = False
    simulated: bool = False
    n_groups: int = 0
    degrees: float | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line of sizes, and one for each note."""
        images, trials = ("?" if n is None else n for n in (self.n_images, self.n_trials))
        tiers = ", ".join(f"{self.tiers.get(tier, 0)} {tier}" for tier in TIERS)
        shape = " x ".join(map(str, self.image_shape))
        parts = [
            f"{images} images of {shape}",
            f"{trials} trials ({tiers if self.tiers else 'tiers to be chosen'})",
            f"{self.n_neurons} neurons",
        ]
        if self.n_repeated is not None:
            parts.append(f"{self.n_repeated} images repeated")
        if self.n_groups:
            parts.append(f"{self.n_groups} group{'s' if self.n_groups > 1 else ''} of images")
        if self.degrees is not None:
            parts.append(f"{self.degrees:g} degrees wide")
        if self.behaviour:
            parts.append(f"behaviour ({', '.join(self.behaviour)})")
        parts += [
            word
            for word, there in (
                ("pupil", self.pupil),
                ("cortical positions", self.positions),
                ("simulated", self.simulated),
            )
            if there
        ]
        notes = (*self.notes, *self._unused_inputs())
        return "\n".join((f"{self.name}: {', '.join(parts)}", *(f"  note: {n}" for n in notes)))

    def _unused_inputs(self) -> list[str]:
        """Which settings make an encoder use what was recorded beside the responses."""
        uses = {
            "pupil": (self.pupil, "pupil position by `shifter`"),
            "behaviour": (self.behaviour, "behaviour by `modulator` or `behaviour_channels`"),
        }
        there = {name: how for name, (given, how) in uses.items() if given}
        if not there:
            return []
        return [
            f"an encoder with default settings ignores {' and '.join(there)}; its settings use "
            f"{', '.join(there.values())}"
        ]


def report_of(recording: Recording, *, format: str = "", notes: tuple[str, ...] = ()) -> ScanReport:
    """The report of a recording that was read or made.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> images = rng.integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    >>> scan = Recording("toy", images, np.r_[:20, 0, 1], rng.random((22, 5), np.float32))
    >>> report = report_of(scan)
    >>> report.n_neurons, report.n_repeated, report.tiers
    (5, 2, {'test': 4, 'train': 16, 'validation': 2})
    """
    return ScanReport(
        format=format,
        name=recording.name,
        image_shape=recording.image_shape,
        n_images=recording.n_images,
        n_trials=recording.n_trials,
        n_neurons=recording.n_neurons,
        tiers=count_tiers(recording.tier),
        n_repeated=int((recording.repeats > 1).sum()),
        behaviour=tuple(recording.behaviour_names or ()),
        pupil=recording.pupil is not None,
        positions=recording.cortical_positions is not None,
        simulated=recording.simulated,
        n_groups=0 if recording.image_groups is None else len(np.unique(recording.image_groups)),
        degrees=recording.degrees,
        notes=(*notes, *_unusual(recording)),
    )


def _unusual(recording: Recording) -> list[str]:
    """What can be imported, but may not be meant."""
    notes = []
    silent = int((recording.responses.max(axis=0) == 0).sum())
    if silent:
        notes.append(f"{silent} of {recording.n_neurons} neurons never respond")
    responding = np.count_nonzero(recording.responses, axis=1)
    if (responding == 0).any() and np.median(responding) >= MANY_NEURONS:
        notes.append(
            f"in {int((responding == 0).sum())} trials no neuron responds, though "
            f"{np.median(responding):.0f} of {recording.n_neurons} do in most; was it recording?"
        )
    if recording.repeats.max() < 2:
        notes.append("no image was shown more than once, so reliability cannot be estimated")
    n_train, test = len(recording.images_of("train")), recording.images_of("test")
    n_test, n_repeated = len(test), int((recording.repeats[test] > 1).sum())
    if 0 < n_repeated < n_test:
        notes.append(
            f"only {n_repeated} of the {n_test} test images were shown more than once; noise "
            "ceilings go by these alone"
        )
    if n_test == 0:
        notes.append(
            "there is no test tier, so encoders cannot be scored; --test-images holds out as many "
            "images as it says, with --option new_tiers=true where the file has tiers of its own"
        )
    if len(recording.trials_of("validation")) < 2 <= n_train:
        notes.append(
            "there is no validation tier, so encoders cannot be fitted; `--option new_tiers=true` "
            "chooses all tiers anew"
        )
    if n_train < FEW_IMAGES:
        notes.append(f"only {n_train} images are in the train tier; expected at least {FEW_IMAGES}")
    elif 0 < n_test < FEW_TEST_IMAGES:
        notes.append(
            f"only {n_test} images are in the test tier; --test-images holds out more, also of "
            "those shown once"
        )
    if n_train < n_test:
        notes.append(f"the train tier has fewer images ({n_train}) than the test tier ({n_test})")
    return notes


def count_tiers(tier: np.ndarray | None) -> dict[str, int]:
    """Trials in each tier."""
    names, counts = np.unique(np.asarray([] if tier is None else tier), return_counts=True)
    return {str(name): int(n) for name, n in zip(names, counts, strict=True)}
