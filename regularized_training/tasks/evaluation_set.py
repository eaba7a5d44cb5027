"""Labelled images that networks are tested on which learned others, and what their answers mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from predictive_model.digest import array_digest, fingerprint
from regularized_training.tasks.labelled_task import TaskError, check_labels

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Test images with labels of their own, apart from any training images.

    Parameters
    ----------
    name : str
    images : (n, 3, height, width) uint8
        In colour, whatever a network takes; one channel where there is no colour.
    labels : (n,) int64
        Index into `label_names`.
    label_names : tuple of str
    outputs : mapping of str to tuple of str
        Names of the classes, of whatever networks, that mean each label; a class means the label
        of its own name where it is empty.
    image_names : tuple of str
        By which other observers' answers to the same images are found; empty where nobody knows.

    Raises
    ------
    TaskError
        If images, labels and names do not fit together, or a name is there twice.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    label_names: tuple[str, ...]
    outputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    image_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise TaskError("name: empty, expected a name for the set")
        names = tuple(self.label_names)
        if len(names) < 2 or len(set(names)) < len(names):
            raise TaskError(
                f"label_names: {len(set(names))} distinct names among {len(names)}, expected at "
                "least 2 and every name once"
            )
        images, labels = np.ascontiguousarray(self.images), np.asarray(self.labels)
        if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
            raise TaskError(
                f"images: shape {images.shape}, expected (n, 1 or 3, height, width), at least one"
            )
        if images.dtype != np.uint8:
            raise TaskError(f"images: type {images.dtype}, expected uint8, 0 for black")
        check_labels("labels", labels, len(images), len(names))
        outputs = {label: tuple(classes) for label, classes in self.outputs.items()}
        if outputs:
            check_outputs(outputs, names)
        if self.image_names:
            check_image_names(self.image_names, len(images))
        object.__setattr__(self, "image_names", tuple(self.image_names))
        object.__setattr__(self, "label_names", names)
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", labels.astype(np.int64))
        object.__setattr__(self, "outputs", outputs)

    @property
    def digest(self) -> str:
        """SHA-256 of images, labels and what means them; names of images do not count."""
        return fingerprint(
            arrays=array_digest(self.images, self.labels),
            label_names=self.label_names,
            outputs=self.outputs,
        )

    def answerable(self, outputs: Mapping[str, Sequence[str]]) -> EvaluationSet:
        """The images of some of the labels alone, and which classes of a network mean these.

        Parameters
        ----------
        outputs : mapping of str to sequence of str
            Classes by their label; what it does not name is left out.

        Raises
        ------
        TaskError
            If fewer than two of the labels are named.
        """
        kept = [name for name in self.label_names if name in outputs]
        if len(kept) < 2:
            raise TaskError(
                f"{self.name}: {len(kept)} of its labels {', '.join(self.label_names[:4])} ... are "
                f"among {', '.join(list(outputs)[:4])} ..., expected at least two"
            )
        place = np.array([kept.index(n) if n in kept else -1 for n in self.label_names], np.int64)
        chosen = np.flatnonzero(place[self.labels] >= 0)
        return EvaluationSet(
            name=self.name,
            images=self.images[chosen],
            labels=place[self.labels[chosen]],
            label_names=tuple(kept),
            outputs={name: tuple(outputs[name]) for name in kept},
            image_names=tuple(self.image_names[i] for i in chosen) if self.image_names else (),
        )

    def with_channels(self, n_channels: int) -> NDArray[np.uint8]:
        """The images as a network with that many input channels takes them.

        Parameters
        ----------
        n_channels : {1, 3}
            One is ITU-R 601 luma; three are a grey image three times.

        Returns
        -------
        (n, n_channels, height, width) uint8
        """
        from regularized_training.tasks.image_files import luma

        if n_channels not in (1, 3):
            raise TaskError(f"n_channels: {n_channels}, expected 1 or 3")
        if n_channels == 1:
            return luma(self.images)
        return np.repeat(self.images, 3 // self.images.shape[1], axis=1)

    def for_network(self, image_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
        """The images of a network that takes them as (channels, height, width).

        Raises
        ------
        TaskError
            If they have another size.
        """
        channels, height, width = image_shape
        found = self.images.shape[2:]
        if found != (height, width):
            raise TaskError(
                f"{self.name}: images of {found[0]} x {found[1]}, expected {height} x {width}, "
                f"what the network takes; import the set with --size {height}"
            )
        return self.with_channels(channels)

    def meaning(self, classes: Sequence[str]) -> OutputMeaning:
        """What the outputs of a network mean here that was trained on such classes.

        Parameters
        ----------
        classes : sequence of str
            Names, in the order of the network's outputs.

        Raises
        ------
        TaskError
            If a label has no class among them, and could never be answered.
        """
        outputs = self.outputs or {name: (name,) for name in self.label_names}
        label_of = {c: i for i, name in enumerate(self.label_names) for c in outputs[name]}
        index = np.array([label_of.get(name, -1) for name in classes], np.int64)
        missing = [name for i, name in enumerate(self.label_names) if not np.any(index == i)]
        if missing:
            wanted = outputs[missing[0]][0]
            raise TaskError(
                f"{self.name}: {len(missing)} of {len(self.label_names)} labels, such as "
                f"{missing[0]!r}, are meant by none of the network's {len(index)} classes, such as "
                f"{classes[0]!r}; expected {wanted!r} or the like among them: say which classes "
                "mean each label, by --outputs, or choose another network"
            )
        return OutputMeaning(self.label_names, index)


@dataclass(frozen=True, eq=False)
class OutputMeaning:
    """Which label each output of a network means: of many, one or none.

    Parameters
    ----------
    label_names : tuple of str
    label_of_output : (n_outputs,) int64
        Index into `label_names`; -1 for an output that means none of them.

    Examples
    --------
    >>> import torch
    >>> meaning = OutputMeaning(("cat", "dog"), np.array([0, 0, 1, -1]))
    >>> probabilities = torch.tensor([[0.3, 0.1, 0.15, 0.45]])
    >>> meaning.probabilities(probabilities.log())
    tensor([[0.2000, 0.1500]])
    """

    label_names: tuple[str, ...]
    label_of_output: NDArray[np.int64]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Mean of the softmax over the outputs that mean each label.

        As of Geirhos et al. 2018, who test networks of 1,000 classes of ImageNet on 16 categories:
        the softmax is over all outputs, also those that mean none.

        Parameters
        ----------
        logits : (n, n_outputs) Tensor

        Returns
        -------
        (n, n_labels) Tensor
            That do not sum to 1.

        Raises
        ------
        TaskError
            If the network has another number of outputs.
        """
        import torch

        if logits.ndim != 2 or logits.shape[1] != len(self.label_of_output):
            raise TaskError(
                f"logits: shape {tuple(logits.shape)}, expected (n, {len(self.label_of_output)})"
            )
        # A product, as sums by index are not the same to the bit each time on a GPU.
        means = self.label_of_output[:, None] == np.arange(len(self.label_names))
        share = torch.from_numpy(means / means.sum(0)).to(logits)
        return logits.softmax(1) @ share

    def answers(self, logits: Tensor) -> Tensor:
        """The most probable label of each image, (n,) int64."""
        return self.probabilities(logits).argmax(1)


LONGEST_NAME = 512  # characters, with that of its folder


def check_image_names(names: Sequence[str], n_images: int) -> None:
    """Refuse names that are not one for each image, or are there twice.

    Raises
    ------
    TaskError
    """
    if len(names) != n_images:
        raise TaskError(f"image_names: {len(names)}, expected one for each of {n_images} images")
    if wrong := [name for name in names if not 1 <= len(name) <= LONGEST_NAME]:
        raise TaskError(
            f"image_names: {wrong[0][:40]!r} of {len(wrong[0])} characters, expected 1 to "
            f"{LONGEST_NAME}"
        )
    if len(set(names)) < n_images:
        twice = next(name for name, n in Counter(names).items() if n > 1)
        raise TaskError(
            f"image_names: {twice!r} stands for several images, expected every name once; give "
            "images of each condition as a set of their own"
        )


def check_outputs(outputs: Mapping[str, Sequence[str]], label_names: Sequence[str]) -> None:
    """Refuse classes that do not mean each label, or mean two.

    Raises
    ------
    TaskError
    """
    if wrong := sorted(set(outputs) ^ set(label_names)):
        raise TaskError(
            f"outputs: {wrong[0]!r} is {'no label' if wrong[0] in outputs else 'left out'}; "
            f"expected classes for each of the {len(label_names)} labels"
        )
    label_of: dict[str, str] = {}
    for label, classes in outputs.items():
        if not classes or not all(isinstance(name, str) and name for name in classes):
            raise TaskError(f"outputs: {list(classes)!r} for {label!r}, expected names of classes")
        for name in classes:
            if label_of.setdefault(name, label) != label:
                raise TaskError(
                    f"outputs: {name!r} means {label_of[name]!r} and {label!r}; expected one label "
                    "for a class"
                )
