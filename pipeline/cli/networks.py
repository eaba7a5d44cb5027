"""The command that imports networks that others trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.options import CheckOnly, named_values
from pipeline.cli.printing import err, plain
from pipeline.cli.session import Session, reporting_errors

LONG = 255  # characters of what is said of a network


@reporting_errors
def import_network(
    source: Annotated[
        str,
        typer.Argument(
            help="torchvision:NAME or timm:NAME; a graph, NAME.json beside NAME.safetensors, or a "
            "folder of such; what `neuroteach export network` wrote; or weights (.safetensors, "
            ".pth, .pt) of an --architecture."
        ),
    ],
    classes: Annotated[
        Path | None,
        typer.Option(
            help="Names of the outputs in their order, a line for each or a JSON list. Classes of "
            "an image set are found by name; outputs of other names, as of a background, are "
            "passed over."
        ),
    ] = None,
    image_set: Annotated[
        str | None,
        typer.Option(
            "--image-set", help="Instead: its outputs are the classes of this set, in that order."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="By which experiments ask for it; by default that of the file, or as in the "
            "library."
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            help="Whose weights a file has: resnet18 or another of ours, torchvision:NAME, "
            "timm:NAME, or module:function."
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="Of torchvision:NAME or timm:NAME: the name of published weights, which are "
            "downloaded if need be, or a file."
        ),
    ] = "",
    width: Annotated[
        int | None, typer.Option(min=1, help="With --architecture: channels of the first layer.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="Argument of the network's builder, NAME=VALUE; repeat for several."),
    ] = None,
    mean: Annotated[
        list[float] | None,
        typer.Option(
            help="Of each channel of images in [0, 1], once for each, by which it normalises them; "
            "as published by default, or as networks here do."
        ),
    ] = None,
    std: Annotated[
        list[float] | None, typer.Option(help="Likewise, what they are divided by then.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Of a side of its images; tried out if the file does not say."),
    ] = None,
    trained_on: Annotated[
        str, typer.Option("--trained-on", help="Which images it has learned, for people.")
    ] = "",
    licence: Annotated[str, typer.Option(help="Under which the weights are, for people.")] = "",
    origin: Annotated[
        str,
        typer.Option(
            "--source", help="Where it is from, for people; the name of the file by default."
        ),
    ] = "",
    dry_run: CheckOnly = False,
) -> None:
    """Import networks that others trained, to ask of them what is asked of those trained here.

    All are read and checked before any is written. An experiment file names them in
    `imported_networks`.

    Example: `neuroteach import network resnet20.json --image-set cifar10 --trained-on CIFAR-10`
    """
    from regularized_training.networks import reading

    if (classes is None) == (image_set is None) and not source.startswith("torchvision:"):
        raise typer.BadParameter("expected --classes or --image-set, one of the two")
    sources = reading.sources_in(source)
    if name is not None and len(sources) > 1:
        raise typer.BadParameter(
            f"{len(sources)} networks cannot share one name; leave it to their files",
            param_hint="--name",
        )
    settings = {
        "architecture": architecture,
        "width": width,
        "options": named_values(option or ()),
        "mean": tuple(mean or ()),
        "std": tuple(std or ()),
    }
    given: dict[str, Any] = {key: value for key, value in settings.items() if value}
    names = reading.read_classes(classes) if classes is not None else ()
    with Session():
        if image_set is not None:
            names = _classes_of(image_set)
        found = {}
        for one in sources:
            network = reading.read_imported(
                one, classes=names, weights=weights, image_size=size, **given
            )
            called = name or reading.name_of(one)
            found[called] = (network, origin or Path(one).name[-LONG:])
            n = sum(value.numel() for value in network.state.values())
            err.print(
                plain(
                    f"{called}: {network.config.architecture}, {n:,} numbers, images of "
                    f"{network.n_channels} x {network.image_size} x {network.image_size}, "
                    f"{network.n_outputs} outputs"
                )
            )
        if dry_run:
            return
        _add(found, trained_on=trained_on, licence=licence)


def _classes_of(image_set: str) -> tuple[str, ...]:
    from schemas.images import ImageSet

    found = (ImageSet & {"image_set": image_set}).proj("classes").to_dicts()
    if not found:
        known = ", ".join(sorted(ImageSet.to_arrays("image_set"))) or "none"
        raise LookupError(f"image set: {image_set} is not in the database, which has {known}")
    return tuple(found[0]["classes"])


def _add(found: dict[str, tuple[Any, str]], **said: str) -> None:
    """Insert all or none."""
    from schemas.base import schema, transaction
    from schemas.imported_network import ImportedNetwork

    with transaction(schema.connection):
        added = {
            name: ImportedNetwork.add(name, network, source=source, **said)
            for name, (network, source) in found.items()
        }
    for name, new in added.items():
        err.print(plain(f"{name}: {'imported' if new else 'was there already'}"))
