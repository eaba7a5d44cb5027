"""The commands that bring people's labels of images into the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.printing import err, plain
from pipeline.cli.session import Session, reporting_errors

ImageSetOption = Annotated[
    str, typer.Option("--image-set", help="The imported images that people labelled.")
]
ByClass = Annotated[
    bool,
    typer.Option(
        "--by-class",
        help="The images of each class are in the official order, whatever is between them, as in "
        "folders of classes with numbered files.",
    ),
]
Licence = Annotated[str, typer.Option(help="A note of the terms of the data.")]


@reporting_errors
def import_soft_labels(
    source: Annotated[
        Path,
        typer.Argument(
            help="An .npz file of counts (image, class) and labels (image,), as of CIFAR-10H; or "
            "an .npy file of counts alone."
        ),
    ],
    image_set: ImageSetOption,
    by_class: ByClass = False,
    licence: Licence = "",
) -> None:
    """Import how often people answered each class to the test images of an image set.

    Example: `neuroteach import soft-labels cifar10h.npz --image-set cifar10 --by-class`
    """
    from regularized_training.behaviour.published_labels import soft_labels_of_set
    from schemas.soft_labels import SoftLabels

    with Session():
        labels, classes = _of_set(image_set, "test")
        found = soft_labels_of_set(source, labels, classes, by_class=by_class)
        unanimous = int((found.entropy == 0).sum())
        err.print(
            plain(
                f"{image_set}: {found.counts.sum():,} answers to {len(labels)} test images; "
                f"{found.accuracy:.3f} right, all agree on {unanimous}"
            )
        )
        added = SoftLabels.add(image_set, found, source=source.name, licence=licence)
    err.print("imported" if added else "was there already")


@reporting_errors
def import_labels(
    source: Annotated[
        Path,
        typer.Argument(
            help="An .npz file of label sets (image,) and of clean_label, the right ones, as of "
            "CIFAR-10N."
        ),
    ],
    image_set: ImageSetOption,
    labels: Annotated[
        list[str] | None,
        typer.Option(help="Only this label set; repeat it for several. All by default."),
    ] = None,
    by_class: ByClass = False,
    licence: Licence = "",
) -> None:
    """Import labels that people gave to the training images of an image set, right or wrong.

    Networks learn them by `training.labels` in an experiment file.

    Example: `neuroteach import labels cifar10n.npz --image-set cifar10 --by-class --labels worst`
    """
    from regularized_training.behaviour.published_labels import label_sets_of_set
    from regularized_training.behaviour.soft_labels import error_rate
    from schemas.images import LabelSet

    with Session():
        right, classes = _of_set(image_set, "train")
        found = label_sets_of_set(source, right, classes, by_class=by_class)
        if missing := sorted(set(labels or ()) - set(found)):
            raise ValueError(
                f"labels: {missing[0]!r} is not in {source}, which has {', '.join(sorted(found))}"
            )
        found = {name: found[name] for name in labels or found}
        added = LabelSet.add(image_set, found, source=source.name, licence=licence)
    for name, values in found.items():
        said = "imported" if name in added else "was there already"
        err.print(plain(f"{name}: {error_rate(values, right):.2%} are wrong; {said}"))


def _of_set(image_set: str, part: str) -> tuple[Any, tuple[str, ...]]:
    """Right labels of the training or the test images of a set, and its classes."""
    import numpy as np

    from schemas.images import ImageSet

    labels, classes = ImageSet.named(image_set).fetch1(f"{part}_labels", "classes")
    return np.asarray(labels), tuple(classes)
