"""Which array of an ``.npz`` file is what."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from predictive_model.importers.import_options import ImportOptions
from predictive_model.recordings.checks import RecordingError

REQUIRED = {"images"}
ONE_OF = ("trials", "responses")
OF_IMAGES = {"image_names", "image_groups", "degrees"}
OF_SCAN = {"neuron_ids", "cortical_positions", "species", "area", "simulated"} | OF_IMAGES
OPTIONAL = {"image_index", "behaviour", "behaviour_names", "pupil", "tier"} | OF_SCAN
KNOWN = REQUIRED | OPTIONAL | set(ONE_OF)


class ArrayOptions(ImportOptions):
    """What else to do with a file of arrays.

    Attributes
    ----------
    images, trials, responses, image_index, image_groups, behaviour, pupil, tier : str, optional
        Names of the arrays that hold these, where they are called something else, or where there
        are several.
    ignore : str or tuple of str
        Names of arrays that are not read; ``all`` for whatever is not known.
    first_image : int
        What ``image_index`` calls the first image: 1 where images are counted from 1.
    """

    images: str | None = None
    trials: str | None = None
    responses: str | None = None
    image_index: str | None = None
    image_groups: str | None = None
    behaviour: str | None = None
    pupil: str | None = None
    tier: str | None = None
    ignore: str | tuple[str, ...] = ()
    first_image: int = 0


def what_is_what(path: Path, options: ArrayOptions, names: Iterable[str]) -> dict[str, str]:
    """What each array of a file is to us, by its name there; those that are not read are left out.

    Raises
    ------
    RecordingError
        If they make no recording, or more than one.
    """
    names = sorted(names)
    place = _place(path, options, names)
    ours = set(place.values())
    missing = [f"`{key}`" for key in sorted(REQUIRED - ours)]
    if not ours.intersection(ONE_OF):
        missing.append("`responses` (or `trials`)")
    if missing:
        raise RecordingError(
            f"{path}: lacks {' and '.join(missing)}; it holds {names}. `--option NAME=ARRAY` says "
            "which array is what, as in `--option responses=rates`"
        )
    if ours.issuperset(ONE_OF):
        raise RecordingError(
            f"{path}: expected either `trials` or `responses`, found {names}; choose one with "
            "`--option ignore=trials` or `--option ignore=responses`"
        )
    if unknown := ours - KNOWN:
        raise RecordingError(
            f"{path}: {sorted(unknown)} are not known; expected images, trials or responses, and "
            f"any of {sorted(OPTIONAL)}. `--option ignore=all` passes over them, `--option "
            "NAME=ARRAY` says which array is what"
        )
    if "trials" in ours and (clash := ours & (OPTIONAL - OF_SCAN)):
        raise RecordingError(
            f"{path}: {sorted(clash)} go by trial and cannot stand beside `trials`; use "
            "`responses` and `image_index`, or pass over them with `--option ignore=NAME`"
        )
    return place


def _place(path: Path, options: ArrayOptions, names: list[str]) -> dict[str, str]:
    given = {our: getattr(options, our) for our in KNOWN & ArrayOptions.model_fields.keys()}
    chosen = {theirs: our for our, theirs in given.items() if theirs is not None}
    if missing := sorted(chosen.keys() - set(names)):
        raise RecordingError(f"{path}: {chosen[missing[0]]}: no array {missing[0]!r} among {names}")
    # Whoever chooses one of several leaves out the others.
    replaced = set(chosen.values())
    if replaced.intersection(ONE_OF):
        replaced.update(ONE_OF)
    ignored = {options.ignore} if isinstance(options.ignore, str) else set(options.ignore)
    place = {}
    for name in names:
        if name in chosen:
            place[name] = chosen[name]
        elif name not in ignored | replaced and (name in KNOWN or "all" not in ignored):
            place[name] = name
    return place
