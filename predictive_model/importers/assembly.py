"""Recordings as Brain-Score publishes them: assemblies in netCDF (``.nc``), beside their stimuli.

An assembly has responses by ``presentation`` and ``neuroid``, and perhaps one ``time_bin``; along
the presentations the coordinate ``stimulus_id`` (or ``image_id``), and perhaps ``object_name``,
``category_name`` and ``repetition``; along the neuroids perhaps ``region`` and ``neuroid_id``.
Presentations of one stimulus are its repeats. Averages over repeats have one of each; their scan
then has no ceiling. Pictures come from elsewhere, by the names of the stimuli: see
:mod:`~predictive_model.importers.assembly_stimuli`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from predictive_model.importers import pixels
from predictive_model.importers.assembly_stimuli import find_stimuli, read_stimuli
from predictive_model.importers.import_options import ImportOptions
from predictive_model.importers.importer import DEFAULTS, Common, Importer
from predictive_model.importers.netcdf import Variable, open_netcdf
from predictive_model.importers.recorded import Recorded
from predictive_model.importers.usable import usable_recording
from predictive_model.recordings.checks import RecordingError
from predictive_model.recordings.recording import Recording

PRESENTATION, NEUROID, TIME = "presentation", "neuroid", "time_bin"
STIMULUS_IDS = ("stimulus_id", "image_id")
GROUPS = ("object_name", "category_name")
REGION = "region"


class AssemblyOptions(ImportOptions):
    """What to take from an assembly, and where its pictures are.

    Attributes
    ----------
    stimuli : str, optional
        The stimulus set: a table (``.csv``) with columns ``stimulus_id`` (or ``image_id``) and
        ``filename`` (or ``image_file_name``), or a folder or archive of pictures whose names,
        without ending, are those of the stimuli. By default what lies beside the assembly.
    pictures : str, optional
        Folder or archive of the pictures that the table names; by default where the table is.
    size : int or (int, int), optional
        Height and width, in pixels, that all pictures are brought to; needed where they differ.
    colour : bool, optional
        Keep three channels; by default if any picture has colour.
    region : str, optional
        Take the neurons of this region; needed where there are several.
    groups : str, optional
        The coordinate that says what an image shows; by default ``object_name``, else
        ``category_name``.
    negative : str
        As in files of other formats, but kept by default: published responses are normalised.
    """

    stimuli: str | None = None
    pictures: str | None = None
    size: int | tuple[int, int] | None = None
    colour: bool | None = None
    region: str | None = None
    groups: str | None = None
    negative: Literal["refuse", "clip", "keep"] = "keep"


def read_assembly(
    path: Path | str, *, options: AssemblyOptions | None = None, **common: Unpack[Common]
) -> Recording:
    """Read a recording from an assembly; the module's docstring describes it.

    Parameters
    ----------
    path : Path or str
    options : AssemblyOptions, optional
    **common
        See :class:`~predictive_model.importers.importer.Common`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    RecordingError
        If it is no assembly, or stimuli or their pictures are not known.
    """
    return scan_assembly(path, options=options, **common)[0]


def scan_assembly(
    path: Path | str, *, options: AssemblyOptions | None = None, **common: Unpack[Common]
) -> tuple[Recording, tuple[str, ...]]:
    """As :func:`read_assembly`, with notes on what was left out or is unusual."""
    path, options = Path(path), options or AssemblyOptions()
    with open_netcdf(path) as variables:
        responses = _responses(path, variables)
        shown = _stimuli_shown(path, variables, len(responses))
        groups_shown = _groups(path, variables, options.groups)
        regions = _along(variables, REGION, NEUROID)
        neuron_ids = _along(variables, "neuroid_id", NEUROID)
    notes: list[str] = []
    kept, area = _of_region(path, regions, options.region, responses.shape[1])
    responses = responses[:, kept]
    if neuron_ids is not None:
        neuron_ids = neuron_ids[kept]
        if neuron_ids.dtype.kind not in "iu":
            notes.append("neurons have names in the file, and are numbered here in its order")
            neuron_ids = None
    names, first, index = np.unique(shown, return_index=True, return_inverse=True)
    table = find_stimuli(path, options.stimuli, options.pictures)
    images, said = read_stimuli(table, names.tolist(), options.size, options.colour)
    notes += said
    if (below := int((responses < 0).sum())) and options.negative == "keep":
        notes.append(
            f"{below} responses ({below / responses.size:.1%}) are negative and kept: networks can "
            'be judged by them, encoders be fitted with `loss = "mse"`'
        )
    if (factor := common.get("downsample", 1)) != 1:
        images = pixels.downsample(images, factor)
    found = Recorded(
        images=images,
        image_index=index.astype(np.int64),
        responses=responses,
        neuron_ids=neuron_ids,
        image_groups=_group_of_each(path, groups_shown, names, first, index),
        notes=notes,
    )
    return usable_recording(
        found, name=path.stem, area=area, degrees=table.degrees, options=options, asked=common
    )


def _responses(path: Path, variables: Mapping[str, Variable]) -> NDArray:
    """(presentation, neuroid), from the one variable that has these axes."""
    wanted = {PRESENTATION, NEUROID}
    found = [v for v in variables.values() if wanted <= set(v.axes)]
    if len(found) != 1:
        there = "; ".join(f"{v.name} ({', '.join(v.axes)})" for v in variables.values())
        raise RecordingError(
            f"{path}: {len(found)} variables have the axes {PRESENTATION} and {NEUROID}, expected "
            f"one, the responses; it holds {there or 'nothing'}"
        )
    (variable,) = found
    sizes = dict(zip(variable.axes, variable.shape, strict=True))
    longer = {a: n for a, n in sizes.items() if a not in wanted and n != 1}
    if longer:
        axis, n = next(iter(longer.items()))
        raise RecordingError(
            f"{path}: {variable.name} has {n} along {axis}, expected 1; choose or average them "
            f"first, as in `assembly.isel({axis}=0)` or `assembly.mean({axis!r})`"
        )
    values = variable.read()
    order = [variable.axes.index(axis) for axis in (PRESENTATION, NEUROID)]
    rest = [i for i in range(values.ndim) if i not in order]
    return values.transpose(*order, *rest).reshape([values.shape[i] for i in order])


def _along(variables: Mapping[str, Variable], name: str, axis: str) -> NDArray | None:
    """A coordinate along an axis, if there is one."""
    variable = variables.get(name)
    return variable.read() if variable is not None and variable.axes == (axis,) else None


def _stimuli_shown(path: Path, variables: Mapping[str, Variable], n: int) -> NDArray[np.str_]:
    """(presentation,) name of the stimulus."""
    for name in STIMULUS_IDS:
        found = _along(variables, name, PRESENTATION)
        if found is not None:
            shown = found.astype(str)
            if (shown == "").any():
                raise RecordingError(
                    f"{path}: {name}: {int((shown == '').sum())} of {n} presentations have no "
                    "name; leave them out"
                )
            return shown
    there = [v.name for v in variables.values() if v.axes == (PRESENTATION,)]
    raise RecordingError(
        f"{path}: says of no presentation which stimulus it was; expected a coordinate "
        f"{' or '.join(STIMULUS_IDS)} along {PRESENTATION}, which has {', '.join(there) or 'none'}"
    )


def _groups(path: Path, variables: Mapping[str, Variable], asked: str | None) -> NDArray | None:
    """(presentation,) what it shows, if that is said."""
    for name in (asked,) if asked else GROUPS:
        found = _along(variables, name, PRESENTATION)
        if found is not None:
            return found.astype(str)
    if asked:
        there = [v.name for v in variables.values() if v.axes == (PRESENTATION,)]
        raise RecordingError(
            f"{path}: groups: no coordinate {asked!r} along {PRESENTATION}, which has "
            f"{', '.join(there) or 'none'}"
        )
    return None


def _group_of_each(
    path: Path,
    shown: NDArray | None,
    names: NDArray[np.str_],
    first: NDArray[np.int64],
    index: NDArray[np.int64],
) -> NDArray | None:
    """(n,) group of each stimulus, from those of its presentations, and its first one."""
    if shown is None:
        return None
    groups = shown[first]
    several = np.flatnonzero(groups[index] != shown)
    if len(several):
        name = names[index[several[0]]]
        raise RecordingError(
            f"{path}: stimulus {name!r} is said to show {groups[index[several[0]]]!r} and "
            f"{shown[several[0]]!r}; expected one group each, or choose another coordinate with "
            "`--option groups=NAME`"
        )
    if (groups == "").any():
        return None
    return groups


def _of_region(
    path: Path, regions: NDArray | None, asked: str | None, n: int
) -> tuple[NDArray[np.bool_], str]:
    """Which neurons to take, and where they are."""
    if regions is None:
        if asked:
            raise RecordingError(f"{path}: region: {asked!r}, but it has none; leave it out")
        return np.ones(n, bool), ""
    there = sorted(set(regions.astype(str).tolist()))
    if asked is None and len(there) > 1:
        raise RecordingError(
            f"{path}: neurons of {', '.join(there)}, expected those of one region in a scan; "
            f"choose with `--option region={there[0]}`, and import the file once for each"
        )
    if asked is not None and asked not in there:
        raise RecordingError(f"{path}: region: {asked!r}, expected one of {', '.join(there)}")
    area = asked or there[0]
    return regions.astype(str) == area, area


def _scan(path: Path, **arguments: Any) -> tuple[Recording, tuple[str, ...]]:
    common: Any = {n: arguments.pop(n) for n in DEFAULTS}
    return scan_assembly(path, options=AssemblyOptions.of(arguments), **common)


IMPORTER = Importer(_scan)
