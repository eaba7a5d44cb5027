"""What all tasks have, wherever their images are: classes, a label for each image, and parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from predictive_model.digest import array_digest


class TaskError(ValueError):
    """Images or labels that cannot be used: says which, what was found and what to do."""


class LabelledTask:
    """A base of frozen dataclasses, whose fields ``train_labels`` and ``train_HELD`` go together.

    Attributes
    ----------
    held : str
        What a task holds for each of its images, as its fields are named.
    label_sets : mapping of str to (n_train,) int64
        Other labels of the training images, by name: see :meth:`with_labels`.
    """

    held: ClassVar[str]

    name: str
    classes: tuple[str, ...]
    superclasses: tuple[str, ...]
    train_labels: NDArray[np.int64]
    test_labels: NDArray[np.int64]
    validation_labels: NDArray[np.int64] | None
    label_sets: Mapping[str, NDArray[np.int64]]

    def _check_classes(self) -> None:
        if not self.name:
            raise TaskError("name: empty, expected a name for the set")
        classes = tuple(self.classes)
        if len(classes) < 2 or len(set(classes)) != len(classes):
            raise TaskError(
                f"classes: {len(set(classes))} distinct names among {len(classes)}, expected at "
                "least 2 and every name once"
            )
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "superclasses", tuple(self.superclasses))
        if self.superclasses and len(self.superclasses) != len(classes):
            raise TaskError(
                f"superclasses: {len(self.superclasses)}, expected one for each of the "
                f"{len(classes)} classes"
            )

    def _check_labels(self, split: str, n_images: int) -> None:
        """Refuse labels that do not fit, and have those that do as int64."""
        field = f"{split}_labels"
        labels = np.asarray(getattr(self, field))
        check_labels(field, labels, n_images, len(self.classes))
        object.__setattr__(self, field, labels.astype(np.int64))

    @property
    def splits(self) -> tuple[str, ...]:
        """The parts that it has, the test part and perhaps the validation part among them."""
        return ("train", "test") + (() if self.validation_labels is None else ("validation",))

    def _validation_indices(self) -> NDArray[np.int64]:
        """Which training images the validation part would have."""
        raise NotImplementedError(f"{type(self).__name__} lacks _validation_indices()")

    def _arrays(self, split: str, index: NDArray[np.int64]) -> dict[str, NDArray]:
        """Some of the images of a part, and their labels."""
        names = (f"{split}_{self.held}", f"{split}_labels")
        return {name: getattr(self, name)[index] for name in names}

    def _picked(self, split: str, index: NDArray[np.int64]) -> dict[str, Any]:
        """Fields of a part that has only some of its images."""
        found: dict[str, Any] = self._arrays(split, index)
        if split == "train" and self.label_sets:
            sets = self.label_sets.items()
            found["label_sets"] = {name: np.asarray(values)[index] for name, values in sets}
        return found

    def _with(self, **changes: Any) -> Self:
        return cast(Self, replace(cast(Any, self), **changes))

    def of_superclasses(self) -> Self:
        """The coarser task: the same images, to tell apart their superclasses.

        Raises
        ------
        TaskError
            If the classes have no superclasses.
        """
        if not self.superclasses:
            raise TaskError(f"superclasses: {self.name!r} has none; give every class its own")
        names = tuple(sorted(set(self.superclasses)))
        place = np.array([names.index(name) for name in self.superclasses], np.int64)
        labels = {
            f"{split}_labels": place[getattr(self, f"{split}_labels")] for split in self.splits
        }
        return self._with(
            name=f"{self.name}-superclasses",
            classes=names,
            superclasses=(),
            label_sets={name: place[np.asarray(v)] for name, v in self.label_sets.items()},
            **labels,
        )

    def with_validation(self) -> Self:
        """The same task, its validation part taken out of the training images.

        To choose settings by and to stop by: which pictures it has is decided by
        :func:`~regularized_training.tasks.validation.validation_indices`, for good.

        Raises
        ------
        TaskError
            If it was taken out already, or the images are too few to have one.
        """
        if self.validation_labels is not None:
            raise TaskError(f"{self.name!r}: the validation part was taken out already")
        held_out = self._validation_indices()
        if not len(held_out):
            raise TaskError(
                f"train_{self.held}: {len(self.train_labels)} of {self.name!r}, no class with two "
                "different pictures, so that none can be held out; give it more, or train without "
                "hold_out_validation"
            )
        rest = np.setdiff1d(np.arange(len(self.train_labels)), held_out)
        held_out_ones = self._arrays("train", held_out)
        return self._with(
            **self._picked("train", rest),
            **{name.replace("train", "validation"): kept for name, kept in held_out_ones.items()},
        )

    def subset(self, n_train: int | None, n_test: int | None, seed: int = 0) -> Self:
        """The same task with fewer images, as evenly over the classes as they allow.

        Parameters
        ----------
        n_train, n_test : int or None
            How many images to keep; None keeps all. The validation part is kept whole.
        seed : int
            Chooses the images.

        Raises
        ------
        TaskError
            If there are fewer images than asked for.
        """
        kept = self
        for split, n in (("train", n_train), ("test", n_test)):
            if n is not None:
                labels = getattr(self, f"{split}_labels")
                if not 1 <= n <= len(labels):
                    raise TaskError(
                        f"n_{split}: {n}, expected 1 to {len(labels)}, the number of {split} "
                        f"images of {self.name!r}"
                    )
                kept = kept._with(**self._picked(split, balanced_indices(labels, n, seed)))
        return kept

    def with_label_sets(self, label_sets: Mapping[str, NDArray[np.int64]]) -> Self:
        """The same task with other labels of its training images at hand, in their order."""
        return self._with(label_sets=dict(label_sets))

    def knowing(self, name: str | None, digest: str | None = None) -> Self:
        """The same task with one of its label sets, or none, in memory and checked.

        Parameters
        ----------
        name : str or None
        digest : str, optional
            That it must have, as of :func:`labels_digest`, of all training images.

        Raises
        ------
        TaskError
            If there is none of this name, or it has other labels.
        """
        if name is None:
            return self._with(label_sets={}) if self.label_sets else self
        if name not in self.label_sets:
            raise TaskError(
                f"labels: {name!r}, but the label sets of {self.name!r} are "
                f"{', '.join(sorted(self.label_sets)) or 'none'}; import it with `neuroteach "
                "import labels`, or give the task with_label_sets()"
            )
        labels = np.asarray(self.label_sets[name])
        check_labels(f"labels {name}", labels, len(self.train_labels), len(self.classes))
        if digest is not None and labels_digest(labels) != digest:
            raise TaskError(
                f"labels: {name!r} of {self.name!r} are others than when this training was "
                "planned; import those again, or remove the experiment and add it anew"
            )
        return self._with(label_sets={name: labels.astype(np.int64)})

    def with_labels(self, name: str | None) -> Self:
        """The same task, of whose training images other labels are learned, right or wrong.

        As people gave them, for instance; None leaves the right ones. Those of the test and the
        validation part stay right.

        Raises
        ------
        TaskError
            If there is no label set of this name, or it is not of these images.
        """
        if name is None:
            return self
        return self._with(train_labels=self.knowing(name).label_sets[name], label_sets={})

    def with_shuffled_labels(self, fraction: float, seed: int = 0) -> Self:
        """The same task with the labels of a fraction of the training images shuffled.

        Label corruption of Federer et al. 2020: every class keeps its number of labels. By chance
        an image may get its own label back, so that fewer than `fraction` are wrong.

        Parameters
        ----------
        fraction : float
            Of the training images, 0 to 1.
        seed : int

        Raises
        ------
        TaskError
            If `fraction` is not from 0 to 1.
        """
        if not 0 <= fraction <= 1:
            raise TaskError(f"fraction: {fraction:g}, expected 0 to 1")
        rng = np.random.default_rng(seed)
        n = len(self.train_labels)
        chosen = rng.permutation(n)[: round(fraction * n)]
        labels = self.train_labels.copy()
        labels[chosen] = labels[rng.permutation(chosen)]
        return self._with(train_labels=labels)


Task = TypeVar("Task", bound=LabelledTask)


def without_tested(task: Task, same: NDArray[np.int64], what: str) -> tuple[Task, tuple[str, ...]]:
    """The task without the training images that are test images too, and notes on equal images.

    Parameters
    ----------
    task : LabelledTask
    same : (n_test + n_train,) int64
        Number of the first image that is equal to each, the test images before the training ones.
    what : str
        What equal images have in common, for the notes.

    Raises
    ------
    TaskError
        If a class has no other training images.
    """
    notes = []
    n_train, n_test = len(task.train_labels), len(task.test_labels)
    first = same[n_test:]
    tested = first < n_test
    if tested.any():
        left = task.train_labels[~tested]
        if len(gone := np.setdiff1d(task.train_labels, left)):
            raise TaskError(
                f"train_{task.held}: all those of {task.classes[gone[0]]!r} are test images too; "
                "give the class other images to train on, or to be tested with"
            )
        other = task.train_labels[tested] != task.test_labels[first[tested]]
        notes.append(
            f"{int(tested.sum())} of {n_train} training images have {what} of test images"
            f"{_labelled_otherwise(other)}, and are left out"
        )
        task = task._with(**task._picked("train", np.flatnonzero(~tested)))
    _, once, group = np.unique(first[~tested], return_index=True, return_inverse=True)
    if len(once) < len(group):
        other = task.train_labels != task.train_labels[once][group]
        notes.append(
            f"{len(group) - len(once)} training images have {what} of another training image"
            f"{_labelled_otherwise(other)}"
        )
    return task, tuple(notes)


def _labelled_otherwise(contradicted: NDArray[np.bool_]) -> str:
    n = int(contradicted.sum())
    return f" ({n} with another label)" if n else ""


def superclasses_of(classes: Sequence[str], groups: Mapping[str, str]) -> tuple[str, ...]:
    """The superclass of each class, in the order of the classes.

    Parameters
    ----------
    classes : sequence of str
    groups : mapping of str to str
        The superclass of each class, by its name.

    Raises
    ------
    TaskError
        If a class has none, or one is named that is not among the classes.

    Examples
    --------
    >>> superclasses_of(["maple", "train"], {"train": "vehicle", "maple": "tree"})
    ('tree', 'vehicle')
    """
    missing, unknown = sorted(set(classes) - set(groups)), sorted(set(groups) - set(classes))
    if missing:
        raise TaskError(
            f"superclasses: none for {len(missing)} of {len(classes)} classes, such as "
            f"{missing[0]!r}; give every class one"
        )
    if unknown:
        raise TaskError(
            f"superclasses: of {len(unknown)} classes that the images do not have, such as "
            f"{unknown[0]!r}; expected {classes[0]!r} and the other names of classes"
        )
    wrong = [group for group in groups.values() if not isinstance(group, str) or not group]
    if wrong:
        raise TaskError(f"superclasses: {wrong[0]!r}, expected names")
    return tuple(groups[name] for name in classes)


def balanced_indices(labels: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """Sorted indices of `n` random items, as evenly over the classes as they allow.

    Parameters
    ----------
    labels : (m,) int64
    n : int
        Number of items to choose, 0 to m.
    seed : int

    Returns
    -------
    (n,) int64
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = labels[order]
    # Deal out one item of each class, then a second one of each, and so on.
    by_class = np.argsort(shuffled, kind="stable")
    _, first, counts = np.unique(shuffled[by_class], return_index=True, return_counts=True)
    place_in_class = np.empty(len(labels), np.int64)
    place_in_class[by_class] = np.arange(len(labels)) - np.repeat(first, counts)
    return np.sort(order[np.argsort(place_in_class, kind="stable")[:n]])


def labels_digest(labels: NDArray[np.integer]) -> str:
    """SHA-256 of the labels of images, in their order."""
    return array_digest(np.asarray(labels, np.int64))


def check_labels(field: str, labels: NDArray, n_images: int, n_classes: int) -> None:
    """Refuse labels that are no index into the classes, one for each image.

    Raises
    ------
    TaskError
        Begins with the name of the field.
    """
    if labels.shape != (n_images,):
        raise TaskError(
            f"{field}: shape {labels.shape}, expected ({n_images},), one label for each image"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise TaskError(f"{field}: type {labels.dtype}, expected integers, an index into classes")
    if n_images and (labels.min() < 0 or labels.max() >= n_classes):
        raise TaskError(
            f"{field}: values from {labels.min()} to {labels.max()}, expected 0 to "
            f"{n_classes - 1} for {n_classes} classes"
        )
