"""What a Sensorium file tree holds, by its ``meta`` folder, its names and a few headers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictive_model.importers.npy import require_numbers
from predictive_model.importers.tree import Tree
from predictive_model.recordings.recording import TIERS, RecordingError

TIER_FILE = "meta/trials/tiers.npy"
IDS_FILE = "meta/neurons/unit_ids.npy"
POSITIONS_FILE = "meta/neurons/cell_motor_coordinates.npy"
AREA_FILE = "meta/neurons/area.npy"
SCAN_FILE = "meta/scan.json"

# Where trees of different years keep the names of images, and of the sets they are from.
IMAGE_IDS = ("frame_image_id", "colorframeprojector_image_id", "image_id")

CHOOSE_TIERS = "`--option new_tiers=true` on the command line chooses new tiers"

PUBLISHED_BEHAVIOUR = ("pupil_dilation", "pupil_dilation_derivative", "running_speed")


@dataclass(frozen=True)
class Layout:
    """Everything but the data themselves.

    Attributes
    ----------
    kept : (trial,) int
        Numbers, in the tree, of the trials whose responses are not withheld.
    tier : (trial,) str, or None
        None where the tree has none.
    image_labels : (trial,) str, or None
        What ``meta/trials`` calls the image of each kept trial; sorted as the images shall be.
    keep_floats : bool
        Images are float32 even if they hold whole grey values.
    """

    kept: NDArray[np.int64]
    tier: NDArray[np.str_] | None
    image_labels: NDArray[np.str_] | None
    image_shape: tuple[int, int, int]
    n_neurons: int
    behaviour_names: tuple[str, ...]
    has_pupil: bool
    neuron_ids: NDArray | None
    positions: NDArray | None
    species: str = ""
    area: str = ""
    simulated: bool = False
    keep_floats: bool = False
    notes: tuple[str, ...] = ()


def read_layout(tree: Tree, image_ids: str | None = None, *, new_tiers: bool = False) -> Layout:
    """Check a tree's names and ``meta`` folder, without reading its data.

    Parameters
    ----------
    tree : Tree
    image_ids : str, optional
        Which array of ``meta/trials`` names the images; ``pixels`` for none.
    new_tiers : bool
        The tree's tiers only say which responses are withheld.

    Raises
    ------
    RecordingError
        If files are missing or contradict each other.
    """
    if tree.folder("data/videos"):
        raise RecordingError(f"{tree.path}: holds videos; only trees of still images can be read")
    if new_tiers and TIER_FILE not in tree:
        tiers = np.full(len(tree.folder("data/images")), TIERS[0])
        there = [f"data/responses/{trial}.npy" in tree for trial in range(len(tiers))]
        kept, notes = np.flatnonzero(there), [f"the tree has no {TIER_FILE}"]
    else:
        tiers = _trial_array(tree, TIER_FILE, None)
        kept, notes = _kept(tree, tiers, new_tiers)
    for kind in ("images", "responses"):
        _check_numbering(tree, kind, len(tiers), kept)
    shape = tree.header(f"data/images/{kept[0]}.npy").shape
    if len(shape) not in (2, 3):
        raise RecordingError(
            f"{tree.label(f'data/images/{kept[0]}.npy')}: shape {shape}, expected (channels, "
            "height, width) or (height, width)"
        )
    n_neurons = _width(tree, "responses", len(tiers), kept)
    extra = _scan_file(tree)
    labels = _image_labels(tree, len(tiers), image_ids)
    tier = None if new_tiers else tiers[kept]
    labels = None if labels is None else labels[kept]
    k = _width(tree, "behavior", len(tiers), kept)
    has_pupil = bool(tree.folder("data/pupil_center"))
    if has_pupil and (width := _width(tree, "pupil_center", len(tiers), kept)) != 2:
        raise RecordingError(f"{tree.label('data/pupil_center')}: {width} values, expected 2")
    area, area_note = _area(tree, n_neurons)
    widths = {"responses": n_neurons, "behavior": k, "pupil_center": 2 if has_pupil else 0}
    notes += [*area_note, *_other_data(tree), *_statistics(tree, widths)]
    return Layout(
        kept=kept,
        tier=tier,
        image_labels=labels,
        image_shape=(1, *shape) if len(shape) == 2 else shape,  # type: ignore[arg-type]
        n_neurons=n_neurons,
        behaviour_names=_behaviour_names(tree, extra, k),
        has_pupil=has_pupil,
        neuron_ids=_neuron_array(tree, IDS_FILE, n_neurons, 1),
        positions=_neuron_array(tree, POSITIONS_FILE, n_neurons, 2),
        species=extra.get("species", ""),
        area=extra.get("area", area),
        simulated=extra.get("simulated", False),
        keep_floats=extra.get("images") == "float32",
        notes=tuple(notes),
    )


def _trial_array(tree: Tree, file: str, n_trials: int | None) -> NDArray[np.str_]:
    """An array of ``meta/trials`` as text, one entry for each trial."""
    if file not in tree:
        top = sorted({name.partition("/")[0] for name in tree.below("data") + tree.below("meta")})
        raise RecordingError(
            f"{tree.path}: lacks {file}; expected a file tree of `data` and `meta`"
            + (f", found only {top}" if len(top) < 2 else "")
            + (f". {CHOOSE_TIERS}" if file == TIER_FILE else "")
        )
    values = tree.array(file)
    if values.ndim != 1 or len(values) == 0 or n_trials not in (None, len(values)):
        raise RecordingError(
            f"{tree.label(file)}: shape {values.shape}, expected "
            f"({'trial' if n_trials is None else n_trials},), one entry for each trial"
        )
    if values.dtype.kind == "f" and (values == np.round(values)).all():
        values = values.astype(np.int64)  # as MATLAB and tables with gaps write whole numbers
    if values.dtype.kind not in "USiu":
        raise RecordingError(f"{tree.label(file)}: type {values.dtype}, expected text or integers")
    if values.dtype.kind in "iu":
        # Padded, so that text sorts as numbers do.
        digits = len(str(abs(values).max()))
        return np.array([f"{int(v):0{digits}d}" for v in values])
    try:
        return values.astype(str)
    except UnicodeDecodeError as error:
        raise RecordingError(f"{tree.label(file)}: is no text ({error})") from error


def _kept(
    tree: Tree, tiers: NDArray[np.str_], new_tiers: bool
) -> tuple[NDArray[np.int64], list[str]]:
    """Trials of tiers that have responses, and a note on the others."""
    names, counts = np.unique(tiers, return_counts=True)
    others = {str(n): int(c) for n, c in zip(names, counts, strict=True) if n not in TIERS}
    unknown = [name for name in others if "test" not in name]
    if unknown and not new_tiers:
        raise RecordingError(
            f"{tree.label(TIER_FILE)}: found {unknown}, expected only {', '.join(TIERS)}, and "
            f"further test tiers, whose responses are withheld. {CHOOSE_TIERS}"
        )
    withheld = {name: n for name, n in others.items() if name not in unknown}
    kept = np.flatnonzero(~np.isin(tiers, list(withheld)))
    if not len(kept):
        raise RecordingError(f"{tree.label(TIER_FILE)}: no trial is in {', '.join(TIERS)}")
    notes = [
        f"{n} trials of the tier {name} are left out, since its responses are withheld"
        for name, n in withheld.items()
    ]
    return kept, notes


def _check_numbering(tree: Tree, kind: str, n_trials: int, kept: NDArray[np.int64]) -> None:
    """Refuse gaps in the numbers of a ``data`` folder, and files that belong to no trial."""
    folder = f"data/{kind}"
    files = tree.folder(folder)
    if not files:
        raise RecordingError(f"{tree.path}: lacks {folder}/0.npy and so on, a file for each trial")
    names = {file.removeprefix(f"{folder}/") for file in files}
    strange = sorted(names - {f"{trial}.npy" for trial in range(n_trials)})
    if strange:
        raise RecordingError(
            f"{tree.label(f'{folder}/{strange[0]}')}: belongs to no trial; expected 0.npy to "
            f"{n_trials - 1}.npy, as {TIER_FILE} has {n_trials} entries"
        )
    missing = [trial for trial in kept.tolist() if f"{trial}.npy" not in names]
    if missing:
        raise RecordingError(
            f"{tree.label(f'{folder}/{missing[0]}.npy')}: is missing, as are {len(missing) - 1} "
            f"others; expected 0.npy to {n_trials - 1}.npy"
        )


def _width(tree: Tree, kind: str, n_trials: int, kept: NDArray[np.int64]) -> int:
    """Values for each trial in a ``data`` folder by its first file, 0 without the folder."""
    if not tree.folder(f"data/{kind}"):
        return 0
    _check_numbering(tree, kind, n_trials, kept)
    file = f"data/{kind}/{kept[0]}.npy"
    shape = tree.header(file).shape
    if len(shape) != 1 or shape[0] == 0:
        raise RecordingError(f"{tree.label(file)}: shape {shape}, expected one axis of values")
    return shape[0]


def _image_labels(tree: Tree, n_trials: int, image_ids: str | None) -> NDArray[np.str_] | None:
    if image_ids == "pixels":
        return None
    if image_ids is not None and f"meta/trials/{image_ids}.npy" not in tree:
        there = [file.removeprefix("meta/trials/") for file in tree.folder("meta/trials")]
        raise RecordingError(
            f"{tree.label('meta/trials')}: image_ids: {image_ids!r}, expected `pixels` or one of "
            f"{[file.removesuffix('.npy') for file in there]}"
        )
    for name in IMAGE_IDS if image_ids is None else (image_ids,):
        file = f"meta/trials/{name}.npy"
        if file in tree:
            labels = _trial_array(tree, file, n_trials)
            classes = f"meta/trials/{name.removesuffix('_id')}_class.npy"
            if classes in tree:
                prefix = np.char.add(_trial_array(tree, classes, n_trials), " ")
                labels = np.char.add(prefix, labels)
            return labels
    return None


def _neuron_array(tree: Tree, file: str, n_neurons: int, ndim: int) -> NDArray | None:
    if file not in tree:
        return None
    values = tree.array(file)
    if values.ndim != ndim or len(values) != n_neurons:
        raise RecordingError(
            f"{tree.label(file)}: shape {values.shape}, expected one entry for each of the "
            f"{n_neurons} neurons of data/responses"
        )
    if ndim == 2:
        require_numbers(values.dtype, tree.label(file))
    elif len(np.unique(values)) != n_neurons:
        raise RecordingError(
            f"{tree.label(file)}: names a neuron twice; expected distinct names, or no such file, "
            "and neurons are numbered"
        )
    return values


def _area(tree: Tree, n_neurons: int) -> tuple[str, list[str]]:
    if AREA_FILE not in tree:
        return "", []
    values = tree.array(AREA_FILE)
    if values.shape != (n_neurons,) or values.dtype.kind not in "US":
        return "", [f"{AREA_FILE} is not a text for each neuron, and left out"]
    areas = np.unique(values.astype(str)).tolist()
    if len(areas) == 1:
        return areas[0], []
    return "", [f"the neurons lie in several areas ({', '.join(areas)}), which are not told apart"]


def _behaviour_names(tree: Tree, extra: dict[str, Any], k: int) -> tuple[str, ...]:
    names = extra.get("behaviour_names") or ()
    if not names:
        return PUBLISHED_BEHAVIOUR if k == 3 else tuple(f"behaviour_{i}" for i in range(k))
    if len(names) != k:
        raise RecordingError(
            f"{tree.label(SCAN_FILE)}: {len(names)} behaviour_names for {k} columns of "
            "data/behavior; give one each"
        )
    return tuple(names)


def _scan_file(tree: Tree) -> dict[str, Any]:
    """What our own exporter adds to the format."""
    if SCAN_FILE not in tree:
        return {}
    try:
        found = json.loads(tree.text(SCAN_FILE))
    except json.JSONDecodeError as error:
        raise RecordingError(f"{tree.label(SCAN_FILE)}: is no JSON ({error})") from error
    kinds = {"species": str, "area": str, "simulated": bool, "images": str, "behaviour_names": list}
    if not isinstance(found, dict) or not all(
        key in kinds and isinstance(value, kinds[key]) for key, value in found.items()
    ):
        raise RecordingError(
            f"{tree.label(SCAN_FILE)}: expected an object of species, area and images (text), "
            "simulated (true or false) and behaviour_names (a list)"
        )
    if not all(isinstance(name, str) for name in found.get("behaviour_names", ())):
        raise RecordingError(f"{tree.label(SCAN_FILE)}: behaviour_names holds more than text")
    return found


def _other_data(tree: Tree) -> list[str]:
    known = {"images", "responses", "behavior", "pupil_center"}
    others = {n.split("/")[1] for n in tree.below("data") if n.count("/") > 1} - known
    return [f"data/{name} is not known and left out" for name in sorted(others)]


def _statistics(tree: Tree, widths: dict[str, int]) -> list[str]:
    """Notes on statistics that cannot be those of the data; they are not used anyway."""
    notes = []
    for file in tree.below("meta/statistics"):
        _, _, kind, *_ = file.split("/")
        if widths.get(kind) and file.endswith(".npy"):
            try:
                shape = tree.header(file).shape
            except RecordingError:
                notes.append(f"{file} cannot be read; statistics are not used")
                continue
            if shape not in ((), (1,), (widths[kind],)):
                notes.append(
                    f"{file} has shape {shape}, which contradicts data/{kind} of width "
                    f"{widths[kind]}; it is not used, but may be of another scan"
                )
    return notes
