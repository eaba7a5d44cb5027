"""Labelled images: kept in the store, or left where they are and referred to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datajoint as dj
import numpy as np
from numpy.typing import NDArray

from predictive_model.digest import array_digest
from regularized_training.tasks.config import ImagePart
from regularized_training.tasks.image_task import ImageTask, require_no_test_images
from regularized_training.tasks.labelled_task import TaskError, check_labels, labels_digest
from regularized_training.tasks.validation import validation_indices
from schemas.base import computing, insert_rows, schema, transaction
from schemas.stored import Attached, read_attached

if TYPE_CHECKING:
    from regularized_training.tasks.manifest import Manifest
    from regularized_training.tasks.picture_task import PictureTask


@schema
class ImageSet(dj.Manual):
    """Labelled images of one size, in the store or in files that stay where they are."""

    definition = """
        image_set    : varchar(64)
        ---
        n_train      : int32
        n_test       : int32
        channels     : int16
        height       : int16
        width        : int16
        classes      : json
        source       : varchar(255)
        digest       : char(64)      # of all arrays and the classes
        train_images : <npy@main>    # (n, channels, height, width) uint8; none if referred to
        train_labels : <npy@main>    # (n,)
        test_images  : <npy@main>
        test_labels  : <npy@main>
    """

    @classmethod
    def add(cls, task: ImageTask | PictureTask, *, source: str) -> bool:
        """Insert an image set and its superclasses; False if the very same is there already.

        Of a task whose pictures stay in their files, only the reference to them is stored.

        Raises
        ------
        TaskError
            If another image set has this name, or this one other superclasses, if an image stands
            in its training and in its test part, or if files are not below the setting `images`.
        """
        arrays: tuple[NDArray, ...]
        if isinstance(task, ImageTask):
            arrays = (task.train_images, task.train_labels, task.test_images, task.test_labels)
            digest = array_digest(*arrays, np.array(task.classes))
        else:
            none = np.empty((0, *task.image_shape), np.uint8)
            arrays = (none, task.train_labels, none, task.test_labels)
            digest = task.digest
        present = (cls & {"image_set": task.name}).to_arrays("digest")
        if len(present):
            if present[0] == digest:
                return Superclasses.add(task)
            raise TaskError(
                f"name: the database has another image set named {task.name!r}; choose another "
                "name, or delete it and all that was made of it: "
                f"(ImageSet & {{'image_set': {task.name!r}}}).delete()"
            )
        reference = None
        if isinstance(task, ImageTask):
            require_no_test_images(task)
        else:
            reference = ReferencedImages.row(task)
        channels, height, width = task.image_shape
        names = ("train_images", "train_labels", "test_images", "test_labels")
        with transaction(cls.connection):
            cls.insert1(
                dict(
                    image_set=task.name,
                    n_train=len(task.train_labels),
                    n_test=len(task.test_labels),
                    channels=channels,
                    height=height,
                    width=width,
                    classes=list(task.classes),
                    source=source[:255],
                    digest=digest,
                    **dict(zip(names, arrays, strict=True)),
                )
            )
            if reference is not None:
                insert_rows(ReferencedImages(), [reference])
            Superclasses.add(task)
        return True

    @classmethod
    def named(cls, image_set: str) -> Any:
        """The row of an image set, as a query.

        Raises
        ------
        LookupError
            If there is no such image set.
        """
        row = cls & {"image_set": image_set}
        if not row:
            known = ", ".join(sorted(cls.to_arrays("image_set"))) or "none"
            raise LookupError(
                f"image set: {image_set} is not in the database, which has {known}; add it with "
                "`neuroteach import images`"
            )
        return row

    @classmethod
    def images_of(
        cls, key: Mapping[str, Any], part: ImagePart
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Images of the test or the validation part, and their classes; no others are kept.

        Nothing is read for the test part but its own arrays. The validation part is among the
        training images, which have to be read to know it; where they stay in files, only those of
        the part are.

        Raises
        ------
        TaskError
            If the images stay in files that have changed, or are more than memory can hold.
        """
        row = cls & {"image_set": key["image_set"]}
        if ReferencedImages & row.proj():
            return _in_memory(cls.load(dict(key)), part)
        split = "test" if part == "test" else "train"
        images, labels = map(np.asarray, row.fetch1(f"{split}_images", f"{split}_labels"))
        if part == "test":
            return images, labels
        chosen = validation_indices(images, labels)
        return images[chosen], labels[chosen]

    @classmethod
    def labels_of(cls, key: Mapping[str, Any], part: ImagePart) -> NDArray[np.int64]:
        """Their classes alone, for which no test image is read, and no picture in a file."""
        row = cls & {"image_set": key["image_set"]}
        if part == "test":
            return np.asarray(row.fetch1("test_labels"))
        if ReferencedImages & row.proj():
            labels = cls.load(dict(key), check=False).with_validation().validation_labels
            return np.asarray(labels)
        return cls.images_of(key, part)[1]

    @classmethod
    def load(cls, key: dict[str, Any], *, check: bool = True) -> ImageTask | PictureTask:
        """The image set: in memory, or as a task whose pictures are read as they are needed.

        Parameters
        ----------
        key : dict
        check : bool
            Refuse files that are missing or have another size than when they were imported; their
            contents are checked when they are read.

        Raises
        ------
        TaskError
            If the files are elsewhere, or have changed.
        """
        row = (cls & {"image_set": key["image_set"]}).fetch1()
        image_set = row["image_set"]
        superclasses = Superclasses.of(image_set)
        if ReferencedImages & {"image_set": image_set}:
            task = ReferencedImages.task(row, superclasses, check=check)
            return task.with_label_sets(LabelSet.of(image_set))
        return ImageTask(
            name=row["image_set"],
            train_images=np.asarray(row["train_images"]),
            train_labels=np.asarray(row["train_labels"]),
            test_images=np.asarray(row["test_images"]),
            test_labels=np.asarray(row["test_labels"]),
            classes=tuple(row["classes"]),
            superclasses=superclasses,
            label_sets=LabelSet.of(image_set),
        )


@schema
class Superclasses(dj.Manual):
    """Superclasses of an image set: which of its errors are the smaller ones."""

    extends = "ImageSet"  # goes wherever its image set goes

    definition = """
        -> ImageSet
        ---
        superclasses : json    # of each class, in the order of the classes
    """

    @classmethod
    def add(cls, task: ImageTask | PictureTask) -> bool:
        """Insert those of a task; False if it has none, or the very same are there already.

        Raises
        ------
        TaskError
            If the image set has others.
        """
        if not task.superclasses:
            return False
        present = cls.of(task.name)
        if not present:
            cls.insert1({"image_set": task.name, "superclasses": list(task.superclasses)})
        elif present != task.superclasses:
            raise TaskError(
                f"superclasses: image set {task.name!r} has others in the database; choose another "
                "name, or delete them and all that was made of them: "
                f"(Superclasses & {{'image_set': {task.name!r}}}).delete()"
            )
        return not present

    @classmethod
    def of(cls, image_set: str) -> tuple[str, ...]:
        """Superclass of each class; empty where there are none."""
        found = (cls & {"image_set": image_set}).to_dicts()
        return tuple(found[0]["superclasses"]) if found else ()


@schema
class LabelSet(dj.Manual):
    """Other labels of the training images of an image set, right or wrong, as people gave them."""

    extends = "ImageSet"  # goes wherever its image set goes

    definition = """
        -> ImageSet
        label_set    : varchar(32)   # as `training.labels` asks for it
        ---
        error_rate   : float64       # fraction that are not the right label
        source       : varchar(255)
        licence = "" : varchar(255)  # what whoever imported it noted of its terms
        digest       : char(64)      # of the labels
        labels       : <npy@main>    # (n_train,) in the order of the training images
    """

    @classmethod
    def add(
        cls,
        image_set: str,
        label_sets: Mapping[str, NDArray[np.int64]],
        *,
        source: str,
        licence: str = "",
    ) -> list[str]:
        """Insert label sets; returns the names of those that were not there already.

        Raises
        ------
        LookupError
            If there is no such image set.
        TaskError
            If labels are not of its training images, or it has others of a name.
        """
        right, classes = ImageSet.named(image_set).fetch1("train_labels", "classes")
        right = np.asarray(right)
        present = cls.digests(image_set)
        rows = []
        for name, labels in label_sets.items():
            check_labels(f"labels {name}", labels, len(right), len(classes))
            digest = labels_digest(labels)
            if present.get(name, digest) != digest:
                raise TaskError(
                    f"labels: {image_set!r} has other labels named {name!r}; `neuroteach delete "
                    f"labels {image_set} {name}` deletes them with the networks that learned them"
                )
            if name not in present:
                rows.append(
                    {
                        "image_set": image_set,
                        "label_set": name,
                        "error_rate": float((labels != right).mean()),
                        "source": source[:255],
                        "licence": licence[:255],
                        "digest": digest,
                        "labels": np.asarray(labels, np.int64),
                    }
                )
        with transaction(cls.connection):
            cls.insert(rows)
        return [str(row["label_set"]) for row in rows]

    @classmethod
    def digests(cls, image_set: str) -> dict[str, str]:
        """Digest of each label set of an image set, by its name."""
        rows = (cls & {"image_set": image_set}).proj("digest").to_dicts()
        return {row["label_set"]: row["digest"] for row in rows}

    @classmethod
    def of(cls, image_set: str) -> dict[str, Any]:
        """Label sets by their names, as arrays that are read when they are used."""
        rows = (cls & {"image_set": image_set}).proj("labels").to_dicts()
        return {row["label_set"]: row["labels"] for row in rows}


@schema
class ReferencedImages(dj.Manual):
    """Where the pictures of an image set are that stay in their files."""

    extends = "ImageSet"  # goes wherever its image set goes

    definition = """
        -> ImageSet
        ---
        folder         : varchar(255) # below the setting `images`, / between its parts
        n_pictures     : int32
        n_bytes        : int64        # of all their files
        resize         : int32        # pixels of the shorter side, before the centre is taken
        manifest       : <attach@main> # .npz: names, places, sizes and SHA-256 of the files
        train_pictures : <npy@main>   # (n,) places in the manifest
        test_pictures  : <npy@main>
    """

    @classmethod
    def row(cls, task: PictureTask) -> dict[str, Any]:
        """The row of a task.

        Raises
        ------
        TaskError
            If its folder is not below the setting `images`, or it trains on test pictures.
        """
        from regularized_training.tasks.picture_task import without_test_pictures

        kept, notes = without_test_pictures(task)
        if len(kept.train_labels) < len(task.train_labels):
            raise TaskError(
                f"train_pictures: {notes[0].rpartition(',')[0]}; leave them out with "
                "regularized_training.tasks.picture_task.without_test_pictures"
            )
        return {
            "image_set": task.name,
            "folder": cls.relative(task.folder),
            "n_pictures": len(task.manifest),
            "n_bytes": int(task.manifest.size.sum()),
            "resize": task.shape.shorter_side,
            "manifest": Attached("manifest.npz", task.manifest.to_bytes()),
            "train_pictures": task.train_pictures,
            "test_pictures": task.test_pictures,
        }

    @classmethod
    def relative(cls, folder: Path) -> str:
        """A folder as rows have it, which is the same on all machines.

        Raises
        ------
        TaskError
            If it is not below the setting `images`, or too deep.
        """
        root = _root()
        places = [(folder.resolve(), root.resolve())]
        if ".." not in folder.parts:  # else what is below by name may be elsewhere
            places.insert(0, (folder.absolute(), root))
        for below, above in places:
            if below.is_relative_to(above):
                name = below.relative_to(above).as_posix()
                if len(name) > LONGEST_FOLDER:
                    raise TaskError(
                        f"{folder}: {len(name)} characters below {root}, expected at most "
                        f"{LONGEST_FOLDER}; move it up, or link to it there"
                    )
                return name
        raise TaskError(
            f"{folder}: not below {root}, the setting `images`, which images have to be that are "
            "not copied into the store; move or link the folder there, or set NEUROTEACH_IMAGES, "
            "on all machines, to the folder that all such images are below"
        )

    @classmethod
    def known(cls, folder: Path) -> Manifest | None:
        """What is known of a folder's files, so that they need not be read again; None if nothing.

        Raises
        ------
        TaskError
            As of :meth:`relative`.
        """
        from regularized_training.tasks.manifest import Manifest

        found = (cls & {"folder": cls.relative(folder)}).keys()
        if not found:
            return None
        return Manifest.from_bytes(read_attached(cls & found[0], "manifest"))

    @classmethod
    def task(
        cls, image_set: Mapping[str, Any], superclasses: tuple[str, ...], *, check: bool = True
    ) -> PictureTask:
        """The task of a row of :class:`ImageSet`.

        Raises
        ------
        TaskError
            If `check`, and its files are elsewhere, missing or of another size.
        """
        from regularized_training.tasks.manifest import Manifest
        from regularized_training.tasks.picture_task import PictureShape, PictureTask

        name = image_set["image_set"]
        row = cls & {"image_set": name}
        below, resize, *arrays = row.fetch1("folder", "resize", "train_pictures", "test_pictures")
        manifest = Manifest.from_bytes(read_attached(row, "manifest"))
        root = _root()
        folder = root / below
        if check and not folder.is_dir():
            raise TaskError(
                f"{folder}: no such folder; the pictures of image set {name!r} were in "
                f"{below!r} below the setting `images`, which is {root} here; move them "
                "back, or set NEUROTEACH_IMAGES to the folder that has them on this machine"
            )
        if check:
            manifest.check(folder)
        return PictureTask(
            name=name,
            folder=folder,
            manifest=manifest,
            train_pictures=np.asarray(arrays[0]),
            train_labels=np.asarray(image_set["train_labels"]),
            test_pictures=np.asarray(arrays[1]),
            test_labels=np.asarray(image_set["test_labels"]),
            classes=tuple(image_set["classes"]),
            superclasses=superclasses,
            shape=PictureShape(
                size=image_set["height"], resize=resize, grey=image_set["channels"] == 1
            ),
        )


LONGEST_FOLDER = 255
MOST_OF_MEMORY = 0.5  # that the images of one part may take


def _root() -> Path:
    root = computing().images
    if root is None:
        raise TaskError("images: not set; open a database, whose settings say where images are")
    return root


def _in_memory(
    task: ImageTask | PictureTask, part: ImagePart
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images of a part and their classes, read from their files."""
    import psutil

    from regularized_training.tasks.source import image_source

    if part == "validation":
        task = task.with_validation()
    source = image_source(task)
    labels = source.labels(part)
    assert labels is not None
    images_shape = (len(labels), *source.image_shape)
    needed, there = int(np.prod(images_shape)), psutil.virtual_memory().available
    if needed > MOST_OF_MEMORY * there:
        raise TaskError(
            f"{task.name}: its {len(labels):,} {part} images of {images_shape[1:]} would take "
            f"{needed / 1e9:.1f} GB of the {there / 1e9:.1f} that are free; use a machine with "
            "more memory, or import the images at a smaller size"
        )
    images, start = np.empty(images_shape, np.uint8), 0
    for batch, _ in source.part_batches(part, 256):
        images[start : start + len(batch)] = batch.numpy()
        start += len(batch)
    return images, labels
