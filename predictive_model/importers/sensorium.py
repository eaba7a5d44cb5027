"""Recordings from file trees as neuralpredictors reads them and the Sensorium competition has them.

A tree is a folder, or a zip archive of one, of

``data/images/N.npy``
    (channels, height, width) or (height, width), the image shown in trial N = 0, 1, ...;
``data/responses/N.npy``
    (neuron,), not negative;
``data/behavior/N.npy``
    (k,), optional; three columns are pupil dilation, its derivative and running speed;
``data/pupil_center/N.npy``
    (2,), optional;
``meta/trials/tiers.npy``
    (trial,) text: ``train``, ``validation``, ``test``. Trials of other test tiers, such as
    ``final_test`` and ``live_test``, are left out, since published trees withhold their
    responses; so is a validation or test tier without a single response that is not 0;
``meta/trials/frame_image_id.npy``
    (trial,), optional; with ``frame_image_class`` beside it, the two name an image together. Trials
    that show the same image become one image with several trials. Without it, images are told
    apart by their pixels; :class:`SensoriumOptions` chooses other names, or pixels;
``meta/neurons/unit_ids.npy``, ``meta/neurons/cell_motor_coordinates.npy``
    (neuron,) and (neuron, 3) micrometres, optional; ``meta/neurons/area.npy`` if it is one area;
``meta/scan.json``
    optional, what the format has no other room for: ``species``, ``area``, ``simulated``,
    ``behaviour_names`` and the type of the ``images``. Our own exporter writes it.

``meta/statistics`` is not used: normalisation comes from the train tier alone. Images of floats are
kept as uint8 where that loses nothing, and may be averaged over squares of pixels while they are
read: published ones have 144 x 256 pixels, and models see 36 x 64 of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from predictive_model.digest import image_keys
from predictive_model.importers import pixels
from predictive_model.importers.import_options import ImportOptions
from predictive_model.importers.importer import DEFAULTS, Common, Importer
from predictive_model.importers.npy import require_numbers
from predictive_model.importers.recorded import Recorded
from predictive_model.importers.report import ScanReport, count_tiers
from predictive_model.importers.sensorium_layout import Layout, read_layout
from predictive_model.importers.tree import Tree, open_tree
from predictive_model.importers.usable import usable_recording
from predictive_model.recordings.recording import Recording, RecordingError


class SensoriumOptions(ImportOptions):
    """What else to do with a file tree.

    Attributes
    ----------
    image_ids : str, optional
        Name of the array in ``meta/trials`` that says which image a trial showed, without its
        ending, or ``pixels``: images are told apart by these alone.
    """

    image_ids: str | None = None


def read_sensorium(
    path: Path | str,
    *,
    options: SensoriumOptions | None = None,
    **common: Unpack[Common],
) -> Recording:
    """Read a recording from a Sensorium file tree; the module's docstring describes it.

    Parameters
    ----------
    path : Path or str
        A folder, or a zip archive that holds the tree at its top or in one folder.
    options : SensoriumOptions, optional
    **common
        See :class:`~predictive_model.importers.importer.Common`.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    RecordingError
        If a file is missing, damaged or contradicts another; the message names it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from predictive_model.exporters.sensorium import write_sensorium
    >>> rng = np.random.default_rng(0)
    >>> images = rng.integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    >>> scan = Recording("toy", images, np.r_[:20, 0, 1], rng.random((22, 5), np.float32))
    >>> with TemporaryDirectory() as folder:
    ...     tree = write_sensorium(scan, Path(folder) / "toy.zip")
    ...     read_sensorium(tree, downsample=4).image_shape
    (1, 2, 2)
    """
    return scan_sensorium(path, options=options, **common)[0]


def describe_sensorium(path: Path | str, *, options: SensoriumOptions | None = None) -> ScanReport:
    """What is in a tree by its ``meta`` and the headers of trial 0; no ``data`` are read."""
    path = Path(path)
    options = options or SensoriumOptions()
    with open_tree(path) as tree:
        layout = read_layout(tree, options.image_ids, new_tiers=options.new_tiers)
    labels = layout.image_labels
    counts = None if labels is None else np.unique(labels, return_counts=True)[1]
    return ScanReport(
        format="sensorium",
        name=path.absolute().name.removesuffix(".zip"),
        image_shape=layout.image_shape,
        n_images=None if counts is None else len(counts),
        n_trials=len(layout.kept),
        n_neurons=layout.n_neurons,
        tiers=count_tiers(layout.tier),
        n_repeated=None if counts is None else int((counts > 1).sum()),
        behaviour=layout.behaviour_names,
        pupil=layout.has_pupil,
        positions=layout.positions is not None,
        simulated=layout.simulated,
        notes=layout.notes,
    )


def scan_sensorium(
    path: Path | str,
    *,
    options: SensoriumOptions | None = None,
    **common: Unpack[Common],
) -> tuple[Recording, tuple[str, ...]]:
    """As :func:`read_sensorium`, with notes on what was left out or is unusual."""
    path = Path(path)
    downsample = common.get("downsample", 1)
    options = options or SensoriumOptions()
    with open_tree(path) as tree:
        layout = read_layout(tree, options.image_ids, new_tiers=options.new_tiers)
        pixels.check_downsample(downsample, layout.image_shape)
        responses = _rows(tree, "responses", layout.kept, layout.n_neurons)
        answered, notes = _answered(responses, layout.tier)
        kept = layout.kept[answered]
        labels = None if layout.image_labels is None else layout.image_labels[answered]
        images, index, merged = _images(tree, layout, kept, labels, downsample)
        found = Recorded(
            images=images,
            image_index=index,
            responses=responses[answered],
            tier=None if layout.tier is None else layout.tier[answered],
            neuron_ids=layout.neuron_ids,
            behaviour_names=layout.behaviour_names or None,
            cortical_positions=layout.positions,
            notes=[*layout.notes, *notes, *merged],
        )
        if layout.behaviour_names:
            found.behaviour = _rows(tree, "behavior", kept, len(layout.behaviour_names))
        if layout.has_pupil:
            found.pupil = _rows(tree, "pupil_center", kept, 2)
    return usable_recording(
        found,
        name=path.absolute().name.removesuffix(".zip"),
        species=layout.species,
        area=layout.area,
        simulated=layout.simulated,
        options=options,
        asked=common,
    )


def _rows(tree: Tree, kind: str, trials: NDArray[np.int64], width: int) -> NDArray[np.float32]:
    """(trial, width) values of the files of ``data/kind``, one read after the other."""
    out = np.empty((len(trials), width), np.float32)
    for row, trial in enumerate(trials):
        file = f"data/{kind}/{trial}.npy"
        values = tree.array(file)
        if values.shape != (width,):
            raise RecordingError(
                f"{tree.label(file)}: shape {values.shape}, expected ({width},) as the tree's "
                "other files and `meta` have it"
            )
        require_numbers(values.dtype, tree.label(file))
        with np.errstate(over="ignore"):
            out[row] = values
    return out


def _answered(
    responses: NDArray[np.float32], tier: NDArray[np.str_] | None
) -> tuple[NDArray[np.bool_], list[str]]:
    """Trials but those of held-out tiers in which no neuron ever responds: these are withheld."""
    answered = np.ones(len(responses), bool)
    notes: list[str] = []
    if tier is None:
        return answered, notes
    for held_out in ("validation", "test"):
        trials = tier == held_out
        if trials.any() and not np.nan_to_num(responses[trials]).any():
            answered[trials] = False
            notes.append(
                f"{int(trials.sum())} trials of the {held_out} tier are left out: no neuron "
                "responds in any of them, so their responses are taken as withheld"
            )
    return answered, notes


def _images(
    tree: Tree,
    layout: Layout,
    trials: NDArray[np.int64],
    labels: NDArray[np.str_] | None,
    downsample: int,
) -> tuple[NDArray, NDArray[np.int64], list[str]]:
    """Distinct images in order of their labels or of appearance, and which each trial showed.

    Two labels of one content are one image, in whatever type its files hold it.
    """
    if labels is None:
        wanted = np.full(len(trials), -1)
        n_most = len(trials)
    else:
        distinct, wanted = np.unique(labels, return_inverse=True)
        n_most = len(distinct)
    c, h, w = layout.image_shape
    images = _Stack((n_most, c, h // downsample, w // downsample), layout, downsample)
    owner: dict[bytes, int] = {}  # image of each content
    content_of: dict[int, bytes] = {}  # content of each label
    index = np.empty(len(trials), np.int64)
    for row, trial in enumerate(trials):
        file = f"data/images/{trial}.npy"
        picture = _picture(tree, file, layout)
        (content,) = image_keys(picture[None])
        label = int(wanted[row])
        if labels is not None and content_of.setdefault(label, content) != content:
            raise RecordingError(
                f"{tree.label(file)}: another picture than that of another trial, though both are "
                f"image {labels[row]} by `meta/trials`; one of them is wrong. If it is the name, "
                "`--option image_ids=pixels` tells images apart by their pixels alone"
            )
        image = owner.setdefault(content, label if labels is not None else len(owner))
        index[row] = image
        images.put(image, picture)
    shown, index = np.unique(index, return_inverse=True)
    merged = n_most - len(shown) if labels is not None else 0
    notes = [f"{merged} images had the pixels of another image and were merged with it"]
    return images.of(shown), index, notes if merged else []


def _picture(tree: Tree, file: str, layout: Layout) -> NDArray:
    picture = tree.array(file)
    if picture.ndim == 2:
        picture = picture[None]
    if picture.shape != layout.image_shape:
        raise RecordingError(
            f"{tree.label(file)}: shape {picture.shape}, expected {layout.image_shape} as the "
            "tree's other images"
        )
    require_numbers(picture.dtype, tree.label(file))
    return picture


class _Stack:
    """Images as they come, uint8 for as long as that loses nothing and is wanted."""

    def __init__(self, shape: tuple[int, ...], layout: Layout, downsample: int) -> None:
        small = downsample == 1 and not layout.keep_floats
        self._images = np.zeros(shape, np.uint8 if small else np.float32)
        self._downsample = downsample
        self._there: set[int] = set()

    def put(self, image: int, picture: NDArray) -> None:
        if image in self._there:
            return
        self._there.add(image)
        picture = pixels.downsample(picture, self._downsample)
        if self._images.dtype == np.uint8 and not pixels.are_grey_values(picture):
            self._images = self._images.astype(np.float32)
        with np.errstate(over="ignore"):
            self._images[image] = picture

    def of(self, numbers: NDArray[np.int64]) -> NDArray:
        return self._images if len(numbers) == len(self._images) else self._images[numbers]


def _scan(path: Path, **arguments: Any) -> tuple[Recording, tuple[str, ...]]:
    common: Any = {n: arguments.pop(n) for n in DEFAULTS}
    return scan_sensorium(path, options=SensoriumOptions.of(arguments), **common)


def _describe(path: Path, **options: Any) -> ScanReport:
    return describe_sensorium(path, options=SensoriumOptions.of(options))


IMPORTER = Importer(_scan, _describe)
