"""The commands that bring scans and images into the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from pipeline.cli_session import Session, reporting_errors
from pipeline.printing import err
from pipeline.settings import load_settings

import_app = typer.Typer(help="Bring recordings and images into the database.")


@import_app.command("scan")
@reporting_errors
def import_scan(
    file: Annotated[Path, typer.Argument(help="An .npz file of arrays.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the scan; the file's by default.")
    ] = None,
    test_images: Annotated[
        int | None,
        typer.Option(help="Hold out so many repeated images, where every image was repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Chooses test and validation images.")] = 0,
    species: Annotated[str, typer.Option(help="For instance: macaque.")] = "",
    area: Annotated[str, typer.Option(help="For instance: V4.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and report only.")] = False,
) -> None:
    """Import a recording.

    Example: `neuroteach import scan session.npz --name v4-210325 --test-images 100`
    """
    from predictive_model.importers.arrays import read_arrays

    recording = read_arrays(
        file, name=name, test_images=test_images, seed=seed, species=species, area=area
    )
    _describe(recording)
    if not dry_run:
        _add_scan(recording, source=file.name)


@import_app.command("images")
@reporting_errors
def import_images(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder or archive of {train,test}/CLASS/IMAGE; `digits`; or one of "
            "torchvision's: CIFAR10, CIFAR100, MNIST, FashionMNIST, SVHN."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the image set.")] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Convert colour to grey.")] = False,
    size: Annotated[
        int | None, typer.Option(min=8, help="Resize to so many pixels a side.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Where torchvision keeps its sets.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Let torchvision fetch it.")] = False,
) -> None:
    """Import labelled images.

    Example: `neuroteach import images cifar10.tar.xz --name cifar10-grey --grey`
    """
    from dataclasses import replace

    from predictive_model.recording import check_name
    from regularized_training import tasks
    from schemas import training

    if source == "digits":
        task = tasks.digits(size or 32)
    elif source in get_args(tasks.TorchvisionName):
        folder = root or load_settings().home / "torchvision"
        set_name = cast("tasks.TorchvisionName", source)
        task = tasks.read_torchvision(set_name, folder, grey=grey, download=download)
    else:
        task = tasks.read_image_folder(source, grey=grey, size=size)
    task = replace(task, name=name or task.name)
    check_name(task.name)
    err.print(
        f"{task.name}: {len(task.train_images)} training and {len(task.test_images)} test images "
        f"of {' x '.join(map(str, task.image_shape))}, {len(task.classes)} classes"
    )
    with Session():
        added = training.ImageSet.add(task, source=Path(source).name)
    err.print("imported" if added else "was there already")


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
    from predictive_model.simulation import SimulatedCortex, SimulatedCortexConfig
    from predictive_model.stimuli import natural_stimuli

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


def _describe(recording: Any) -> None:
    tiers = ", ".join(f"{len(recording.trials_of(t))} {t}" for t in ("train", "validation", "test"))
    extras = [x for x in ("behaviour", "pupil") if getattr(recording, x) is not None]
    err.print(
        f"{recording.name}: {recording.n_images} images of "
        f"{' x '.join(map(str, recording.image_shape))}, {recording.n_trials} trials ({tiers}), "
        f"{recording.n_neurons} neurons, {int((recording.repeats > 1).sum())} images repeated"
        + "".join(f", {extra}" for extra in extras)
        + (", simulated" if recording.simulated else "")
    )


def _add_scan(recording: Any, *, source: str) -> None:
    from schemas.recording import Scan

    with Session():
        added = Scan.add(recording, source=source)
    err.print("imported" if added else "was there already")
