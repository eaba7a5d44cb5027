"""The commands that bring labelled images into the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from pipeline.cli.database import shown_progress
from pipeline.cli.printing import err, plain, shown_notes
from pipeline.cli.session import Session, reporting_errors
from pipeline.database.settings import load_settings

if TYPE_CHECKING:
    from regularized_training.tasks.evaluation_set import EvaluationSet


@reporting_errors
def import_images(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder or archive of {train,test}/CLASS/IMAGE; an .npz file of arrays; "
            "`digits`; or one of torchvision's: CIFAR10, CIFAR100, MNIST, FashionMNIST, SVHN."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the image set.")] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Convert colour to grey.")] = False,
    size: Annotated[
        int | None, typer.Option(min=8, help="Height and width to resize to, in pixels.")
    ] = None,
    by_reference: Annotated[
        bool,
        typer.Option(
            "--by-reference",
            help="Leave the pictures of a folder in their files, which are read as they are "
            "needed: for sets that memory cannot hold. The folder is below the setting `images`. "
            "Of --size, 224 by default, are random crops to train on and centres to test on.",
        ),
    ] = False,
    resize: Annotated[
        int | None,
        typer.Option(
            min=8,
            help="With --by-reference: pixels of a test picture's shorter side, before its centre "
            "is taken; 8/7 of the size by default.",
        ),
    ] = None,
    test_only: Annotated[
        bool,
        typer.Option(
            "--test-only",
            help="Take the test images alone, of a folder or archive that may have no others: for "
            "imported networks, since none can be trained on them.",
        ),
    ] = False,
    root: Annotated[Path | None, typer.Option(help="Where torchvision keeps its sets.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Let torchvision fetch it.")] = False,
    superclasses: Annotated[
        Path | None,
        typer.Option(
            help="JSON object with the superclass of each class; by default superclasses.json of "
            "the folder or archive, if it has one."
        ),
    ] = None,
    coarse: Annotated[
        bool, typer.Option("--coarse", help="Tell apart the superclasses instead of the classes.")
    ] = False,
) -> None:
    """Import labelled images.

    Example: `neuroteach import images cifar10.tar.xz --name cifar10-grey --grey`
    """
    from dataclasses import replace

    from predictive_model.recordings.recording import check_name
    from regularized_training.tasks import image_files
    from schemas.images import ImageSet

    task: Any
    if resize is not None and not by_reference:
        raise typer.BadParameter("is for --by-reference", param_hint="--resize")
    of_torchvision = source in get_args(image_files.TorchvisionName) and not by_reference
    if (root is not None or download) and not of_torchvision:
        raise typer.BadParameter("is for torchvision's sets", param_hint="--root, --download")
    of_arrays = source.lower().endswith(".npz") and not by_reference
    if test_only and (by_reference or of_torchvision or of_arrays or source == "digits"):
        raise typer.BadParameter(
            "is for a folder or archive that is read into memory", param_hint="--test-only"
        )
    if of_arrays and size is not None:
        raise typer.BadParameter("is not for arrays; resize them", param_hint="--size")
    if by_reference:
        task = _pictures_in_place(source, {"grey": grey, "size": size or 224, "resize": resize})
    elif source == "digits":
        task = image_files.digits(size or 32)
    elif of_torchvision:
        folder = root or load_settings().home / "torchvision"
        set_name = cast("image_files.TorchvisionName", source)
        with shown_notes():
            task = image_files.read_torchvision(set_name, folder, grey=grey, download=download)
    elif of_arrays:
        from regularized_training.tasks.image_arrays import read_image_arrays

        with shown_notes():
            task = read_image_arrays(Path(source), grey=grey)
    else:
        with shown_notes():
            task = image_files.read_image_folder(source, grey=grey, size=size, test_only=test_only)
    if superclasses is not None:
        if not superclasses.is_file():
            raise FileNotFoundError(f"{superclasses}: no such file; expected a JSON object")
        found = image_files.read_superclasses(superclasses.read_bytes(), superclasses, task.classes)
        task = replace(task, superclasses=found)
    if coarse:
        task = task.of_superclasses()
    task = replace(task, name=name or task.name)
    check_name(task.name)
    err.print(
        f"{task.name}: {len(task.train_labels)} training and {len(task.test_labels)} test images "
        f"of {' x '.join(map(str, task.image_shape))}, {len(task.classes)} classes"
        + (f" in {len(set(task.superclasses))} superclasses" if task.superclasses else "")
    )
    with Session():
        added = ImageSet.add(task, source=Path(source).name)
    err.print("imported" if added else "was there already")


@reporting_errors
def import_evaluation(
    source: Annotated[
        Path, typer.Argument(help="A folder or archive of LABEL/IMAGE, to test networks on.")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the evaluation set.")] = None,
    size: Annotated[
        int | None, typer.Option(min=8, help="Height and width to resize to, in pixels.")
    ] = None,
    outputs: Annotated[
        Path | None,
        typer.Option(
            help="JSON object with the list of a network's classes that mean each label; by "
            "default outputs.json of the folder or archive, or else classes by the labels' names."
        ),
    ] = None,
    classes_of: Annotated[
        str | None,
        typer.Option(
            help="For networks that learned this image set: labels are among the 16 categories of "
            "Geirhos et al. 2018, and images of categories that none of its classes means are left "
            "out."
        ),
    ] = None,
    trials: Annotated[
        str | None,
        typer.Option(help="Imported trials of people who saw these very images, by their names."),
    ] = None,
    condition: Annotated[
        str | None, typer.Option(help="Of these trials, if they have several.")
    ] = None,
) -> None:
    """Import labelled images for networks that were trained on others. They are kept in colour.

    Example: `neuroteach import evaluation-set sketches.zip --size 224 --outputs categories.json`
    """
    from predictive_model.recordings.recording import check_name
    from regularized_training.tasks.evaluation_files import read_evaluation_set
    from schemas.base import transaction
    from schemas.evaluation_set import EvaluationSet, ShownImages

    if classes_of is not None and outputs is not None:
        raise typer.BadParameter("says what --classes-of says", param_hint="--outputs")
    if condition is not None and trials is None:
        raise typer.BadParameter("is for --trials", param_hint="--condition")
    with shown_notes():
        found = read_evaluation_set(source, name=name, size=size, outputs=outputs)
    check_name(found.name)
    if classes_of is not None:
        found = _answerable(found, classes_of)
    n_classes = sum(map(len, found.outputs.values()))
    err.print(
        f"{found.name}: {len(found.images)} images of "
        f"{' x '.join(map(str, found.images.shape[1:]))}, {len(found.label_names)} labels"
        + (f", meant by {n_classes} classes of networks" if n_classes else "")
        + f"; named as {found.image_names[0]}"
    )
    with Session() as database, transaction(database.connection):
        if trials is not None:  # first: what does not go together is not written
            shown = [found.label_names[i] for i in found.labels]
            condition = ShownImages.condition_of(found.image_names, shown, trials, condition)
        added = EvaluationSet.add(found, source=source.name)
        if trials is not None and ShownImages.add(found.name, trials, condition):
            err.print(plain(f"shown to people in {trials}"))
    err.print("imported" if added else "was there already")


def _answerable(found: EvaluationSet, image_set: str) -> EvaluationSet:
    """Images of the categories that classes of an image set mean."""
    from regularized_training.behaviour.categories import outputs_among
    from schemas.images import ImageSet

    with Session():
        classes = ImageSet.named(image_set).fetch1("classes")
    few = found.answerable(outputs_among(classes))
    n_left, n_categories = len(found.images) - len(few.images), len(found.label_names)
    err.print(
        plain(
            f"{n_left} of {len(found.images)} images are left out, of "
            f"{n_categories - len(few.label_names)} of {n_categories} categories that no class of "
            f"{image_set} means"
        )
    )
    return few


@reporting_errors
def import_corrupted(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Arrays as of CIFAR-10-C, CORRUPTION.npy beside labels.npy, or folders as of "
            "ImageNet-C, CORRUPTION/SEVERITY/LABEL/IMAGE."
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of all of the sets, for `corruptions.set`.")],
    size: Annotated[
        int | None, typer.Option(min=8, help="Height and width to resize to, in pixels.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="What the numbers in labels.npy stand for, separated by commas; CIFAR-10's "
            "classes by default."
        ),
    ] = None,
) -> None:
    """Import corrupted images that others made, a set for each corruption and severity.

    Example: `neuroteach import corrupted-images CIFAR-10-C --name cifar-10-c`
    """
    from predictive_model.recordings.recording import check_name
    from regularized_training.behaviour.published_labels import CIFAR10
    from regularized_training.robustness.corruptions.stored import read_corrupted_sets
    from schemas.evaluation_set import EvaluationSet

    check_name(name)
    names = [one.strip() for one in labels.split(",")] if labels else CIFAR10
    n_added, n_known = 0, 0
    with Session(), shown_notes():
        for found in read_corrupted_sets(folder, name=name, size=size, label_names=names):
            check_name(found.name)
            added = EvaluationSet.add(found, source=folder.name)
            n_added, n_known = n_added + added, n_known + (not added)
    err.print(f"{name}: {n_added} sets imported, {n_known} were there already")


def _pictures_in_place(source: str, shape: dict[str, Any]) -> Any:
    """A task of pictures that stay in their files, of which those that are known are not read."""
    from regularized_training.tasks.image_files import TorchvisionName
    from regularized_training.tasks.picture_files import find_pictures
    from regularized_training.tasks.picture_task import PictureShape
    from schemas.images import ReferencedImages

    folder = Path(source)
    if source in ("digits", *get_args(TorchvisionName)) or folder.is_file():
        raise typer.BadParameter(
            f"{source} is no folder; unpack an archive, or leave the option out",
            param_hint="--by-reference",
        )
    checked = PictureShape.model_validate(shape)
    with Session():  # first: whether the folder can be referred to is known before it is read
        known = ReferencedImages.known(folder)
    with shown_notes(), shown_progress() as progress:
        return find_pictures(
            folder,
            shape=checked,
            known=known,
            progress=lambda done, total: progress("pictures", done, total),
        )
