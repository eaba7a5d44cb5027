"""From the arrays in a file to a recording: one way for all formats.

A file may show one picture under two numbers or in two tiers, miss values, or show blanks. What can
be put right by a rule is, and reported: no trial is lost in silence, and no picture that taught an
encoder is in a tier that tests it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictive_model.digest import equal_pictures
from predictive_model.importers.import_options import ImportOptions
from predictive_model.importers.importer import DEFAULTS, Common
from predictive_model.importers.recorded import Recorded
from predictive_model.recordings.recording import Recording, RecordingError, check_images
from predictive_model.recordings.tiers import assign_tiers, one_tier_each


def usable_recording(
    found: Recorded,
    *,
    name: str,
    species: str = "",
    area: str = "",
    simulated: bool = False,
    degrees: float | None = None,
    options: ImportOptions | None = None,
    asked: Common | None = None,
) -> tuple[Recording, tuple[str, ...]]:
    """The recording in a file's arrays, and notes on what was left out, merged or moved.

    Parameters
    ----------
    found : Recorded
        The arrays; they are changed.
    name, species, area, simulated, degrees
        As of :class:`~predictive_model.recordings.recording.Recording`, by what the file says.
    options : ImportOptions, optional
    asked : Common, optional
        What goes before that, and how tiers are chosen where the file has none: see
        :func:`~predictive_model.recordings.tiers.assign_tiers`.

    Raises
    ------
    RecordingError
        If arrays do not fit together, or nothing is left that could be used.
    """
    options = options or ImportOptions()
    if unknown := (asked := asked or {}).keys() - DEFAULTS.keys():
        raise TypeError(f"{min(unknown)}: no such argument, expected {', '.join(DEFAULTS)}")
    test_images = asked.get("test_images")
    if options.new_tiers:
        found.tier = None
    if found.tier is not None and test_images is not None:
        raise RecordingError(
            "tier: the file has tiers, so test_images has nothing to choose; leave it out, or let "
            "new tiers be chosen (`--option new_tiers=true` on the command line)"
        )
    # What does not fit together is the Recording's to refuse.
    if found.fits_together():
        _bring_to_one_scale(found)
        _fill_pixels(found, options.most_missing)
        _leave_out_blanks(found)
        merge_equal_pictures(found)
        _leave_out_missing(found, options.most_missing)
        _treat_negative(found, options.negative)
        if found.tier is None:
            found.tier = assign_tiers(
                found.image_index, test_images=test_images, seed=asked.get("seed", 0)
            )
        else:
            found.tier, moved = one_tier_each(found.tier.astype(str), found.image_index)
            found.notes += moved
    names = found.behaviour_names
    recording = Recording(
        name=asked.get("name") or name,
        images=found.images,
        image_index=found.image_index,
        responses=found.responses,
        behaviour=found.behaviour,
        pupil=found.pupil,
        tier=found.tier,
        neuron_ids=found.neuron_ids,
        behaviour_names=None if names is None else tuple(str(n) for n in names),
        cortical_positions=found.cortical_positions,
        species=asked.get("species") or species,
        area=asked.get("area") or area,
        simulated=simulated,
        image_groups=found.image_groups,
        degrees=degrees,
    )
    return recording, tuple(found.notes)


def merge_equal_pictures(found: Recorded) -> None:
    """Let images of the same pixels be one image, with the trials of all of them."""
    first = equal_pictures(found.images)
    kept = first == np.arange(len(first))
    if kept.all():
        return
    groups, of_first = found.image_groups, first[~kept]
    if groups is not None and (groups[~kept] != groups[of_first]).any():
        found.notes.append(
            f"{int((groups[~kept] != groups[of_first]).sum())} images have the pixels of an image "
            "of another group, and count to that"
        )
    found.image_index = first[found.image_index]
    found.keep_images(kept)
    found.notes.append(
        f"{int((~kept).sum())} images had the pixels of another image and were merged with it: "
        "they are one image that was shown more often"
    )


def _bring_to_one_scale(found: Recorded) -> None:
    """Multiply grey values from 0 to 1 by 255 where other images of the file go up to 255."""
    images = found.images
    if images.dtype.kind != "f":
        return
    flat = images.reshape(len(images), -1)
    low, high = flat.min(1), flat.max(1)
    unit = (low >= 0) & (high <= 1)
    if not unit.any() or not (2 < high.max(initial=0) <= 255 and low.min() >= 0):
        return
    # Only what is grey values on that scale, and none on the other.
    grey = flat[unit] * np.float32(255)
    unit[unit] = (np.abs(grey - grey.round()) < 0.1).all(1) & (flat[unit] % 1 != 0).any(1)
    if unit.any():
        found.images = images.copy()
        found.images[unit] = (images[unit] * np.float32(255)).round()
        found.notes.append(
            f"{int(unit.sum())} images of values from 0 to 1 stand among images of values from 0 "
            "to 255, and were brought to that scale"
        )


def _fill_pixels(found: Recorded, most_missing: float) -> None:
    """Set pixels without a value to the mean grey; leave out images that miss too many.

    Where most images have no value, as outside a screen, none is counted as missing.
    """
    images = found.images
    if images.dtype.kind != "f" or np.isfinite(images).all():
        return
    missing = ~np.isfinite(images)
    empty = missing.reshape(len(images), -1).all(1)
    if empty.all():
        check_images(images)  # says so
    inside = missing[~empty].mean(0) <= 0.5
    if not inside.any():
        inside[:] = True
    kept = ~empty & (missing[:, inside].mean(1) <= most_missing)
    if not kept.any():
        raise RecordingError(
            f"images: each misses more than {most_missing:.0%} of its pixels; allow more with "
            "`--option most_missing=1`, and they are set to the mean grey"
        )
    there = images[kept][~missing[kept]]
    mean = there.mean(dtype=np.float64)
    grey = np.float32(mean.round() if (there == there.round()).all() else mean)
    found.images = np.where(missing, grey, images)
    filled = missing[kept]
    if filled.any():
        n = int(filled.reshape(len(filled), -1).any(1).sum())
        found.notes.append(
            f"{filled.mean():.1%} of the pixels, in {n} of {len(filled)} images, have no value, as "
            f"outside a screen, and were set to the mean grey, {grey:g}"
        )
    if not kept.all():
        trials = found.keep_images(kept)
        found.notes.append(
            f"{int((~kept).sum())} images of whose pixels more than {most_missing:.0%} have no "
            f"value are left out, with {trials} trials"
        )


def _leave_out_blanks(found: Recorded) -> None:
    """Leave out images without contrast: their similarity to others is undefined."""
    flat = found.images.reshape(len(found.images), -1)
    kept = flat.min(1) < flat.max(1)
    if kept.all():
        return
    if not kept[found.image_index].any():
        check_images(found.images)  # says so
    trials = found.keep_images(kept)
    found.notes.append(
        f"{int((~kept).sum())} blank images, of one grey throughout, are left out, with {trials} "
        "trials"
    )


def _leave_out_missing(found: Recorded, most_missing: float) -> None:
    """Leave out neurons and behaviour that miss too much, then trials that still miss anything."""
    silent = ~np.isfinite(found.responses).any(1)
    if silent.all():
        return
    if silent.any():
        found.keep("trial", ~silent)
        found.notes.append(f"{int(silent.sum())} trials without any response are left out")
    _keep_most(found, "responses", "neuron", "neurons", most_missing)
    if found.cortical_positions is not None:
        _keep_positions(found, most_missing)
    if found.behaviour is not None:
        _keep_most(found, "behaviour", "channel of behaviour", "columns of behaviour", most_missing)
    if found.pupil is not None and _is_missing(found.pupil).mean() > _share(most_missing):
        found.pupil = None
        found.notes.append(
            f"pupil positions are left out: more than {most_missing:.0%} of them are missing"
        )
    bad = np.zeros(len(found.responses), bool)
    lacking = []
    for name in ("responses", "behaviour", "pupil"):
        values = getattr(found, name)
        if values is not None and (here := _is_missing(values)).any():
            lacking.append(name)
            bad |= here
    if not lacking:
        return
    if bad.all():
        raise RecordingError(
            f"{lacking[0]}: something is missing (not finite) in every trial; leave out neurons or "
            "columns that miss fewer with a smaller `--option most_missing=SHARE`, now "
            f"{most_missing:g}"
        )
    found.keep("trial", ~bad)
    found.notes.append(
        f"{int(bad.sum())} of {len(bad)} trials are left out: {' or '.join(lacking)} are missing "
        "(not finite) in them; `--option most_missing=0` leaves out neurons instead"
    )


def _keep_most(found: Recorded, name: str, axis: str, what: str, most_missing: float) -> None:
    """Leave out what misses more than a share of the trials along the last axis of an array."""
    share = 1 - np.isfinite(getattr(found, name)).mean(0)
    kept = share <= _share(most_missing)
    if kept.all():
        return
    if not kept.any() and name == "responses":
        raise RecordingError(
            f"responses: every neuron misses more than {most_missing:.0%} of the trials; allow "
            "more with `--option most_missing=SHARE`, from 0 to 1"
        )
    if kept.any():
        found.keep(axis, kept)
    else:
        found.behaviour = found.behaviour_names = None
    found.notes.append(
        f"{int((~kept).sum())} of {len(kept)} {what} are left out: more than {most_missing:.0%} of "
        "their values are missing (not finite)"
    )


def _keep_positions(found: Recorded, most_missing: float) -> None:
    """Leave out the few neurons whose place is unknown, or all places if that is many."""
    assert found.cortical_positions is not None
    unknown = _is_missing(found.cortical_positions)
    if not unknown.any():
        return
    if unknown.mean() > _share(most_missing):
        found.cortical_positions = None
        found.notes.append(
            f"cortical positions are left out: those of {int(unknown.sum())} of {len(unknown)} "
            "neurons are missing"
        )
        return
    found.keep("neuron", ~unknown)
    found.notes.append(
        f"{int(unknown.sum())} of {len(unknown)} neurons are left out: their cortical positions "
        "are missing"
    )


def _share(most_missing: float) -> float:
    """What is missing throughout is left out in any case."""
    return min(most_missing, np.nextafter(1, 0))


def _is_missing(values: NDArray) -> NDArray[np.bool_]:
    return ~np.isfinite(values).all(1)


def _treat_negative(found: Recorded, negative: str) -> None:
    below = found.responses < 0
    n = int(below.sum())
    if n == 0 or negative == "keep":
        return
    if negative == "refuse":
        raise RecordingError(
            f"responses: {n} values are negative ({below.mean():.1%}), as dF/F can be; the Poisson "
            "loss needs counts, rates or deconvolved activity. Take deconvolved activity where "
            "there is some; else `--option negative=clip` sets them to 0, and `--option "
            "negative=keep` keeps them for encoders that are fitted with the loss `mse`"
        )
    found.responses = found.responses.clip(0)
    found.notes.append(f"{n} negative responses ({below.mean():.1%}) were set to 0")
