"""The commands that write scans, responses, networks and experiments to files for others."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.database import print_written, shown_progress
from pipeline.cli.options import EncoderOf, EncoderScale, Overwrite, Scale
from pipeline.cli.printing import err
from pipeline.cli.session import Session, reporting_errors

export_app = typer.Typer(help="Write scans, responses, networks and experiments to files.")


class ExportFormat(enum.StrEnum):
    """Formats that recordings can be written in."""

    sensorium = "sensorium"
    nwb = "nwb"
    npz = "npz"


@export_app.command("scan")
@reporting_errors
def export_scan(
    name: Annotated[str, typer.Argument(help="Name of a scan in the database.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="A file; for Sensorium trees a folder, or a .zip file."
        ),
    ],
    format: Annotated[ExportFormat, typer.Option("--format", "-f")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there already.")
    ] = False,
) -> None:
    """Write a recording to a file that others can read. It says so if it was simulated.

    Example: `neuroteach export scan my-scan --format nwb -o my-scan.nwb`
    """
    from predictive_model.exporters import write_recording
    from schemas.recording import Scan

    with Session():
        _require_scan(name)
        recording = Scan.load({"scan": name})
    written = write_recording(recording, output, format=format.value, overwrite=overwrite)
    err.print(f"wrote {written}" + (", a simulated scan" if recording.simulated else ""))


@export_app.command("responses")
@reporting_errors
def export_responses(
    name: Annotated[str, typer.Argument(help="Name of a scan in the database.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="An .npz file.")],
    experiment: EncoderOf = None,
    scale: EncoderScale = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the denoised responses to a scan's images: what its encoder predicts.

    The file holds `images`, `responses` (image, neuron) with pupil and behaviour at their means,
    `repeats` (image,), `neuron_ids`, `weight` (neuron,), which is w_a v_a of Li et al. 2019 and NaN
    without repeated images, and `simulated`.

    Example: `neuroteach export responses my-scan -o denoised.npz`
    """
    import numpy as np

    from pipeline.experiments.selection import Selection
    from pipeline.results.arrays import denoised_responses
    from predictive_model.exporters.whole import written_whole

    if output.suffix != ".npz":
        raise ValueError(f"{output}: ending {output.suffix!r}, expected .npz")
    with Session():
        _require_scan(name)
        arrays: dict[str, Any] = denoised_responses(name, Selection(experiment, scale))
    with written_whole(output, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    images, neurons = arrays["responses"].shape
    err.print(f"wrote {output}: responses of {neurons} neurons to {images} images")


@export_app.command("experiment")
@reporting_errors
def export_experiment(
    name: Annotated[str, typer.Argument(help="Name of an experiment in the database.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .zip file.")],
    scale: Scale = None,
    overwrite: Overwrite = False,
) -> None:
    """Write an experiment with all that it was made from, for `neuroteach import archive`.

    Example: `neuroteach export experiment li2019 --scale small -o li2019.zip`
    """
    from pipeline.transfer import operations

    with Session() as database, shown_progress() as progress:
        manifest = operations.export_experiment(
            database, name, output, scale=scale, overwrite=overwrite, on_progress=progress
        )
    print_written(output, manifest)


@export_app.command("network")
@reporting_errors
def export_network(
    where: Annotated[
        list[str],
        typer.Argument(help="Conditions that one network meets, such as teacher=none seed=0."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="A file: .safetensors, .pt (TorchScript) or .onnx (ONNX)."
        ),
    ],
    overwrite: Overwrite = False,
) -> None:
    """Write a trained network to a file that is used without the database.

    Example: `neuroteach export network teacher=neural_model seed=0 -o network.safetensors`
    """
    from pipeline.query.provenance import the_one
    from predictive_model.exporters.whole import written_whole
    from regularized_training.networks.saved import SUFFIXES, network_from_bytes, write_graph
    from schemas.stored import read_attached
    from schemas.training import ImageSet, TrainedNetwork

    if output.suffix not in SUFFIXES:
        raise ValueError(
            f"{output}: ending {output.suffix!r}, expected one of {', '.join(SUFFIXES)}"
        )
    with Session():
        key = the_one(TrainedNetwork.__name__, where)
        content = read_attached(TrainedNetwork & key, "weights")
        shape = (ImageSet & key).proj("channels", "height", "width").fetch1()
    with written_whole(output, overwrite=overwrite) as temporary:
        if output.suffix == ".safetensors":
            temporary.write_bytes(content)
        else:
            image_shape = (shape["channels"], shape["height"], shape["width"])
            # The ending says which format it is.
            graph = temporary.with_suffix(output.suffix)
            write_graph(network_from_bytes(content), image_shape, graph)
            graph.replace(temporary)
    err.print(f"wrote {output}")


def _require_scan(name: str) -> None:
    from schemas.recording import Scan

    names = sorted(Scan.to_arrays("scan").tolist())
    if name not in names:
        raise LookupError(
            f"scan: {name} is not in the database, which has {', '.join(names) or 'none'}"
        )
