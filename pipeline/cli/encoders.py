"""The commands that import encoders of others, and stimuli, and predict responses to them."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import CheckOnly, EncoderOf, EncoderScale, Overwrite
from pipeline.cli.printing import err, shown_notes
from pipeline.cli.session import Session, reporting_errors

if TYPE_CHECKING:
    pass


@reporting_errors
def import_encoder(
    file: Annotated[
        Path, typer.Argument(help="A state dict (.pth, .safetensors), also in a checkpoint.")
    ],
    recipe: Annotated[
        str,
        typer.Option(
            help="What the file does not say: a name, or a TOML file; see docs/encoders.md."
        ),
    ] = "sensorium",
    name: Annotated[
        str | None, typer.Option(help="Name of the scan; as the file calls it by default.")
    ] = None,
    scan: Annotated[
        str | None, typer.Option(help="Which scan's readout, of a file with several.")
    ] = None,
    member: Annotated[
        str | None,
        typer.Option(help="How a network's names begin, in a file that holds several networks."),
    ] = None,
    linear: Annotated[
        bool | None,
        typer.Option(
            "--linear/--nonlinear",
            help="Whether the core is linear; as the file's running means tell by default.",
        ),
    ] = None,
    pad_input: Annotated[
        bool | None,
        typer.Option(help="Whether its first convolution pads images; the recipe's by default."),
    ] = None,
    height: Annotated[
        int | None, typer.Option(min=1, help="Of its images, in pixels; the recipe's by default.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Of its images, in pixels; the recipe's by default.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, help="Of its images; the recipe's by default.")
    ] = None,
    behaviour: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of an input channel beside the image, once for each, in order; the "
            "recipe's by default."
        ),
    ] = None,
    image_mean: Annotated[
        float | None, typer.Option(help="Of the images it was fitted to; the recipe's by default.")
    ] = None,
    image_std: Annotated[
        float | None, typer.Option(help="Of the images it was fitted to; the recipe's by default.")
    ] = None,
    behaviour_mean: Annotated[
        list[float] | None,
        typer.Option(
            help="What a behaviour channel is held at, once for each; from the file by default."
        ),
    ] = None,
    dry_run: CheckOnly = False,
) -> None:
    """Import an encoder that others fitted, to predict its scan's responses to any images.

    Its network is read off the file.

    Example: `neuroteach import encoder sensorium_sota_model.pth --recipe sensorium`
    """
    import hashlib

    from predictive_model.fits.published import (
        choose_scan,
        find_recipe,
        read_published,
        read_state_dict,
    )

    found = find_recipe(recipe).changed(
        height=height,
        width=width,
        channels=channels,
        pad_input=pad_input,
        behaviour_names=behaviour or None,
    )
    fitted = read_published(
        file,
        recipe=found,
        scan=scan,
        member=member,
        name=name,
        linear=linear,
        image_mean=image_mean,
        image_std=image_std,
        behaviour_mean=behaviour_mean or None,
    )
    scan = name or choose_scan(read_state_dict(file, member=member), scan)
    err.print(f"{scan}: {_described(fitted, found)}")
    if dry_run:
        return
    with Session():
        from schemas.encoding import FittedEncoder

        added = FittedEncoder.add_imported(
            scan,
            fitted,
            recipe=Path(recipe).stem,
            source=file.name,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            species=found.species,
            area=found.area,
        )
    err.print("imported" if added else "was there already")


def _described(fitted: Any, recipe: Any) -> str:
    norm = fitted.normalisation
    where = " ".join(part for part in (recipe.species, recipe.area) if part)
    parts = [
        f"{fitted.n_neurons} neurons" + (f" of {where}" if where else ""),
        _core_described(fitted.config.core),
        f"images of {' x '.join(map(str, fitted.image_shape))}, mean {norm.image_mean:g}, "
        f"standard deviation {norm.image_std:g}",
    ]
    if norm.behaviour_mean is None:
        parts.append("no behaviour")
    else:
        held = zip(recipe.behaviour_names, norm.behaviour_mean, strict=True)
        # Adding 0 makes a 0 of what is rounded to -0.
        values = (f"{what} {round(float(mean), 2) + 0.0:g}" for what, mean in held)
        parts.append("behaviour held at " + ", ".join(values))
    parts.append("no shifter" if fitted.config.shifter is None else "pupil shifter")
    return "; ".join(parts)


def _core_described(core: Any) -> str:
    """Layers, kernels and what else decides what a core computes."""
    later = core.hidden_kernel
    kernels = [core.input_kernel, *([later] if isinstance(later, int) else later)]
    kinds = [
        "linear" if core.linear else "ELU",
        *(["depth-separable"] if core.depth_separable else []),
        "padded" if core.pad_input else "not padded",
    ]
    read = core.stack if isinstance(core.stack, str) else f"last {core.stack}"
    return (
        f"{core.layers} layers of {core.hidden_channels} channels, kernels "
        f"{', '.join(map(str, kernels[: core.layers]))}, {', '.join(kinds)}, {read} read out"
    )


class Part(StrEnum):
    """Which images of a set."""

    train = "train"
    validation = "validation"


@reporting_errors
def import_stimuli(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="A folder of pictures of any sizes; an .npy file, (n, 1 or 3, height, width); or "
            "a folder or archive of {train,test}/CLASS/IMAGE, of which the training images are "
            "taken."
        ),
    ] = None,
    from_images: Annotated[
        str | None,
        typer.Option(
            "--from-images",
            help="Instead of files: the training images of this image set, in their order.",
        ),
    ] = None,
    part: Annotated[
        Part,
        typer.Option(
            help="With --from-images: its training images without the validation part, by which "
            "settings are chosen; or that part."
        ),
    ] = Part.train,
    height: Annotated[int, typer.Option(min=1, help="Of the stimuli.")] = 36,
    width: Annotated[int, typer.Option(min=1, help="Of the stimuli.")] = 64,
    number: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of stimuli to take, the first ones or evenly over the classes."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="By which experiment files may refer to them.")
    ] = None,
    keep_values: Annotated[
        bool,
        typer.Option(
            "--keep-values",
            help="Leave an .npy file's values as they are, for encoders that were fitted to images "
            "from 0 to 1 or z-scored ones; by default 0 to 1 is taken to 0 to 255.",
        ),
    ] = False,
) -> None:
    """Import grey stimuli without labels: cropped centrally and resized, never stretched.

    Prints the key of the stimulus set.

    Example: `neuroteach import stimuli photographs.tar --number 1000 --name photographs`
    """
    from predictive_model.digest import image_keys

    if (source is None) == (from_images is None):
        raise typer.BadParameter("expected SOURCE or --from-images, one of the two")
    if from_images is not None:
        if number is not None or keep_values:
            raise typer.BadParameter(
                "--number and --keep-values are for files; of an image set all images are taken, "
                "so that row i of what is predicted is image i"
            )
        with Session():
            from schemas.task_stimuli import TaskStimuli

            key = TaskStimuli.add(from_images, (height, width), part.value, name=name)
        sys.stdout.write(key + "\n")
        return
    assert source is not None
    with shown_notes():
        stimuli = _read_stimuli(source, (height, width), number, keep_values=keep_values)
    err.print(f"{len(stimuli)} images of {height} x {width}, {source.name}")
    # They are kept: row i of what is predicted is the i-th file.
    if again := len(stimuli) - len(set(image_keys(stimuli))):
        err.print(f"  note: {again} of them have the pixels of another one")
    with Session():
        from schemas.base import schema, transaction
        from schemas.recording import StimulusName, StimulusSet

        with transaction(schema.connection):
            key = StimulusSet.add(stimuli)
            if name is not None:
                StimulusName.add(name, key)
    sys.stdout.write(key + "\n")


@reporting_errors
def import_rsm(
    source: Annotated[Path, typer.Argument(help="An .npz file of stimuli and their similarity.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the RSM; the file's by default.")
    ] = None,
    images: Annotated[str, typer.Option(help="Array of the stimuli.")] = "images",
    pairs: Annotated[str, typer.Option(help="Array (pair, 2) of places in them.")] = "pairs",
    distances: Annotated[str, typer.Option(help="Array of cosine distances.")] = "distances",
    similarity: Annotated[
        str, typer.Option(help="Array of the whole matrix, where there are no pairs.")
    ] = "similarity",
) -> None:
    """Import a representational similarity matrix as a teacher, whole or of some pairs.

    Example: `neuroteach import rsm v1.npz --name v1 --pairs v1_pairs --distances v1_dissim`
    """
    from regularized_training.teachers.rsm import read_rsm

    rsm = read_rsm(source, images=images, pairs=pairs, distances=distances, similarity=similarity)
    n, known = len(rsm.stimuli), rsm.known_pairs.shape[1]
    err.print(f"{n} stimuli, {known} of {n * (n - 1) // 2} pairs known")
    with Session():
        from schemas.teaching import Rsm

        added = Rsm.add(name or source.stem, rsm, source=source.name)
    err.print("imported" if added else "was there already")


def _read_stimuli(
    source: Path, shape: tuple[int, int], number: int | None, *, keep_values: bool = False
) -> Any:
    from predictive_model.importers.pictures import (
        picture_files,
        read_image_array,
        read_pictures,
    )
    from predictive_model.recordings.stimuli import fit_images, fit_pictures
    from regularized_training.tasks.image_files import read_image_folder
    from regularized_training.tasks.labelled_task import balanced_indices

    if source.is_dir() and (files := picture_files(source)):
        return read_pictures(files[:number], shape)
    if source.suffix.lower() == ".npy":
        return read_image_array(source, shape, number, keep_values=keep_values)
    task = read_image_folder(
        source, grey=True, fit=lambda image: fit_pictures(image[None], shape)[0]
    )
    images = task.train_images
    if number is not None and number < len(images):
        images = images[balanced_indices(task.train_labels, number, seed=0)]
    return fit_images(images, shape)


@reporting_errors
def predict(
    scan: Annotated[str, typer.Argument(help="Name of a scan that has an encoder.")],
    stimuli: Annotated[str, typer.Argument(help="Name or key of stimuli.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write (image, neuron) to an .npy file.")
    ] = None,
    experiment: EncoderOf = None,
    scale: EncoderScale = None,
    overwrite: Overwrite = False,
) -> None:
    """Predict the responses of a scan's neurons to a stimulus set, and keep them.

    Example: `neuroteach predict 26872-17-20 photographs -o responses.npy`
    """
    from predictive_model.exporters.whole import written_whole

    if output is not None and output.suffix != ".npy":
        raise ValueError(f"{output}: ending {output.suffix!r}, expected .npy")
    with Session():
        from pipeline.workers.populate import compute
        from schemas.prediction import PredictedResponses, PredictionPlan
        from schemas.recording import StimulusName

        found = StimulusName.key_of(stimuli)
        if found is None:
            raise LookupError(
                f"stimuli: {stimuli} is not in the database; `neuroteach import stimuli` prints "
                "the key of what it imports and names it with --name"
            )
        wanted = {"stimulus_set": found}
        keys = _encoders_of(scan, experiment, scale)
        if output is not None and len(keys) > 1:
            described = "; ".join(_origin(key) for key in keys)
            raise ValueError(
                f"scan: {scan} has {len(keys)} encoders ({described}); say which by --experiment "
                "and --scale, or leave --output out"
            )
        for key in keys:
            PredictionPlan.add(key, found)
            compute({**key, **wanted}, PredictedResponses)
        if output is not None:
            responses = PredictedResponses.in_parts({**keys[0], **wanted})
            with (
                written_whole(output, overwrite=overwrite) as temporary,
                temporary.open("wb") as file,
            ):
                file.writelines(responses.content())
    err.print("predicted" if output is None else f"wrote {output}")


def _encoders_of(scan: str, experiment: str | None, scale: str | None) -> list[dict[str, Any]]:
    """Keys of a scan's encoders, or of those that an experiment asks for; at least one."""
    from pipeline.experiments.selection import Selection
    from schemas.encoding import FitPlan, FittedEncoder

    selection = Selection(experiment, scale)
    encoders, where = selection.of(FittedEncoder(), FitPlan), "the database"
    if not selection.everything:
        where = "experiment " + " ".join(selection.named.values())
    keys = list((encoders & {"scan": scan}).keys())
    if not keys:
        names = ", ".join(sorted(set(encoders.to_arrays("scan").tolist()))) or "none"
        raise LookupError(f"scan: no encoder of {scan}; {where} has encoders of {names}")
    return keys


def _origin(key: dict[str, Any]) -> str:
    """Which encoder it is: the experiments that ask for it, or where it is from."""
    from schemas.encoding import FitPlan, FittedEncoder

    name = key["encoder_hash"][:8]
    plans = sorted(f"{p['experiment']} at {p['scale']}" for p in (FitPlan & key).keys())  # noqa: SIM118
    if plans:
        return f"{name} of {', '.join(plans)}"
    return f"{name}, {(FittedEncoder & key).fetch1('origin')}, of no experiment"
