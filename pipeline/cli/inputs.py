"""The commands that bring scans, images and archives into the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.database import print_brought, shown_progress
from pipeline.cli.encoders import import_encoder, import_rsm, import_stimuli
from pipeline.cli.images import import_corrupted, import_evaluation, import_images
from pipeline.cli.networks import import_network
from pipeline.cli.options import CheckOnly, named_values
from pipeline.cli.people_labels import import_labels, import_soft_labels
from pipeline.cli.printing import err, plain
from pipeline.cli.session import Session, reporting_errors
from pipeline.cli.trials import import_trials

import_app = typer.Typer(help="Bring recordings, encoders, images and networks into the database.")
import_app.command("encoder")(import_encoder)
import_app.command("stimuli")(import_stimuli)
import_app.command("rsm")(import_rsm)
import_app.command("images")(import_images)
import_app.command("evaluation-set")(import_evaluation)
import_app.command("corrupted-images")(import_corrupted)
import_app.command("trials")(import_trials)
import_app.command("network")(import_network)
import_app.command("soft-labels")(import_soft_labels)
import_app.command("labels")(import_labels)


@import_app.command("scan")
@reporting_errors
def import_scan(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="An .npz file of arrays, a Sensorium file tree (folder or .zip), an .nwb file, an "
            "assembly (.nc), or a folder of such; several at once if you like. With --format of an "
            "installed package, each is one scan."
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the scan; the file's by default.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            help="npz, sensorium, nwb, assembly, or that of an installed package; what it looks "
            "like by default.",
        ),
    ] = None,
    test_images: Annotated[
        int | None,
        typer.Option(help="Images to hold out for testing, where all were repeated, or few."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Chooses test and validation images.")] = 0,
    downsample: Annotated[
        int, typer.Option(min=1, help="Average blocks of this many pixels a side.")
    ] = 1,
    species: Annotated[str, typer.Option(help="For instance: macaque.")] = "",
    area: Annotated[str, typer.Option(help="For instance: V4.")] = "",
    degrees: Annotated[
        float | None, typer.Option(help="Degrees of visual angle that the images are wide.")
    ] = None,
    responses: Annotated[
        str | None, typer.Option(help="NWB: take the responses of this name, or `units`.")
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="NWB: take the stimulus template of this name.")
    ] = None,
    presentations: Annotated[
        str | None, typer.Option(help="NWB: take the trials of this name.")
    ] = None,
    window_start: Annotated[
        float,
        typer.Option(
            min=-10, max=10, help="NWB: seconds from onset to the window of the response."
        ),
    ] = 0.05,
    window_length: Annotated[
        float,
        typer.Option(
            min=0.001, max=60, help="NWB: seconds that the window of the response is long."
        ),
    ] = 0.5,
    width_first: Annotated[
        bool, typer.Option("--width-first", help="NWB: images are stored width first.")
    ] = False,
    clip_negative: Annotated[
        bool, typer.Option("--clip-negative", help="Set negative responses to 0.")
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="Further argument of the format's importer, as NAME=VALUE: a number, true, false, "
            "other JSON, or else text; repeat it for several. Of npz, sensorium, nwb and assembly: "
            "most_missing, negative, new_tiers, and more in docs/recordings.md."
        ),
    ] = None,
    dry_run: CheckOnly = False,
) -> None:
    """Import recordings. All are read and checked before any is written.

    Example: `neuroteach import scan session.npz --name v4-210325 --test-images 100`
    """
    from predictive_model.importers import NwbOptions, scan_recording

    paths = _scans_among(files, format)
    if name is not None and len(paths) > 1:
        raise typer.BadParameter(
            f"{len(paths)} scans cannot share one name; leave it to their files",
            param_hint="--name",
        )
    options = named_values(option or ()) | ({"negative": "clip"} if clip_negative else {})
    nwb = NwbOptions(
        window_start=window_start,
        window_length=window_length,
        responses=responses,
        images=images,
        presentations=presentations,
        width_first=width_first,
    )

    def read(path: Path) -> tuple[Any, Any]:
        return scan_recording(
            path,
            format=format,
            name=name,
            test_images=test_images,
            seed=seed,
            downsample=downsample,
            species=species,
            area=area,
            nwb=nwb,
            options=options,
            degrees=degrees,
        )

    checked = _check_all(paths, read)
    if not dry_run:
        _add_all(paths, checked, read)


@import_app.command("archive")
@reporting_errors
def import_archive(
    file: Annotated[
        Path,
        typer.Argument(help="What `neuroteach export experiment` or `database backup` wrote."),
    ],
    keep_existing: Annotated[
        bool,
        typer.Option(
            "--keep-existing",
            help="Leave what was computed here with another outcome as it is, and bring the rest.",
        ),
    ] = False,
) -> None:
    """Add an experiment from another database, with its results and all that they were made from.

    Rows that are here with the same content are left as they are. The file is read whole and
    checked before anything is written.

    Example: `neuroteach import archive li2019.zip`
    """
    from pipeline.transfer import operations

    with Session() as database, shown_progress() as progress:
        result = operations.import_archive(
            database, file, keep_existing=keep_existing, on_progress=progress
        )
    print_brought("imported", result)


@reporting_errors
def simulate(
    name: Annotated[str, typer.Option(help="Name of the scan.")] = "simulated",
    neurons: Annotated[int, typer.Option(min=1)] = 100,
    images: Annotated[int, typer.Option(min=20, help="Distinct images.")] = 1000,
    repeated: Annotated[int, typer.Option(min=3, help="How many of them are repeated.")] = 60,
    repeats: Annotated[int, typer.Option(min=2, help="How often.")] = 10,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    height: Annotated[int, typer.Option(min=16)] = 36,
    width: Annotated[int, typer.Option(min=16)] = 64,
) -> None:
    """Simulate a recording of visual cortex: Gabor-energy neurons, gaze, running, Poisson noise.

    Example: `neuroteach simulate --name sim-a --neurons 200 --images 2000 --seed 1`
    """
    from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
    from predictive_model.recordings.stimuli import natural_stimuli

    if repeated >= images:
        raise typer.BadParameter(
            "expected fewer repeated images than images", param_hint="--repeated"
        )
    config = SimulatedCortexConfig(n_neurons=neurons, image_shape=(height, width))
    cortex = SimulatedCortex(config, seed=seed)
    # The stimuli do not depend on the scan's seed: scans of the same size share them.
    stimuli = natural_stimuli(images, (height, width), seed=0)
    recording = cortex.record(stimuli, n_repeated=repeated, n_repeats=repeats, seed=seed, name=name)
    _describe(recording)
    _add_scan(recording, source=f"SimulatedCortex, seed {seed}: {config.model_dump_json()}")


def _scans_among(files: list[Path], format: str | None) -> list[Path]:
    """The paths given, and what is in those that are folders of scans."""
    from predictive_model.importers import is_recording
    from predictive_model.importers.archives import LISTS, is_litter, read_file
    from predictive_model.importers.importer import IMPORTERS

    # Of what another package calls a scan, a folder too, nothing is known here.
    as_they_are = format is not None and format not in IMPORTERS.built_in
    paths: list[Path] = []
    for file in files:
        if as_they_are or not file.is_dir() or is_recording(file):
            paths.append(file)
            continue
        there = [path for path in sorted(file.iterdir()) if not is_litter(path.name)]
        found = [path for path in there if is_recording(path)]
        others = [path for path in there if path not in found and path.suffix not in LISTS]
        for path in others:
            if path.is_symlink() and not path.exists():
                read_file(path)  # says where the link leads
        if found and others:
            said = f"{len(others)} are no recordings and passed over, such as {others[0].name}"
            err.print(plain(f"note: {file}: {said}"))
        if not found:
            raise ValueError(
                f"{file}: holds neither a file tree of `data` and `meta` nor .npz, .zip or .nwb "
                "files"
            )
        paths += found
    names: dict[str, Path] = {}
    for path in paths:
        name = path.name.removesuffix(path.suffix) if path.is_file() else path.name
        if name in names:
            raise ValueError(
                f"{path}: would have the same name as {names[name]}; import them one by one, each "
                "with its --name"
            )
        names[name] = path
    return paths


def _check_all(paths: list[Path], read: Callable[[Path], tuple[Any, Any]]) -> Any:
    """Read and report all scans. Returns the only one; of several, memory holds one at a time."""
    only = None
    failed = 0
    for path in paths:
        try:
            recording, report = read(path)
            only = recording if len(paths) == 1 else None
            del recording
        except (ValueError, OSError) as error:
            if len(paths) == 1:
                raise
            failed += 1
            err.print(f"[red]error:[/red] {plain(str(error))}")
        else:
            err.print(plain(str(report)))
    if failed:
        raise ValueError(
            f"{failed} of {len(paths)} scans cannot be imported, so none was; mend or omit them"
        )
    return only


def _add_all(paths: list[Path], only: Any, read: Callable[[Path], tuple[Any, Any]]) -> None:
    """Insert scans, each whole or not at all. Several are read once more, one after the other."""
    from schemas.recording import Scan

    failed = 0
    with Session():
        for path in paths:
            try:
                recording = read(path)[0] if only is None else only
                added = Scan.add(recording, source=path.name)
                del recording
            except (ValueError, OSError) as error:
                if only is not None:
                    raise
                failed += 1
                err.print(f"[red]error:[/red] {plain(f'{path}: {error}')}")
            else:
                said = "imported" if added else "was there already"
                err.print(said if only is not None else plain(f"{path.name}: {said}"))
    if failed:
        raise ValueError(f"{failed} of {len(paths)} scans were not imported")


def _describe(recording: Any) -> None:
    from predictive_model.importers.report import report_of

    err.print(plain(str(report_of(recording))))


def _add_scan(recording: Any, *, source: str) -> None:
    from schemas.recording import Scan

    with Session():
        added = Scan.add(recording, source=source)
    err.print("imported" if added else "was there already")
