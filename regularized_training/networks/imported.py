"""Networks that others trained: checked, and asked for the classes of an image set alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from predictive_model.digest import array_digest, fingerprint
from regularized_training.networks.architectures import load_network, outline
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.registry import library_of

SIZES = (32, 224, 64, 28, 96, 128, 160, 299)  # of images that are tried, where nothing says it
FEW = 3  # names that an error lists


@dataclass(frozen=True, eq=False)
class ImportedNetwork:
    """A network that others trained.

    Parameters
    ----------
    config : NetworkConfig
        How it is built, and how its images are normalised; it names no weights.
    state : dict of str to Tensor
        All its weights, float32 unless they are counts.
    classes : tuple of str
        What each output means, in order.
    image_size : int, optional
        Of a side of its images, in pixels; tried out if it is not known.

    Raises
    ------
    ValueError
        If weights are missing, of another shape or not finite, if there are not as many outputs as
        classes, or if it cannot be run.
    """

    config: NetworkConfig
    state: Mapping[str, Tensor]
    classes: tuple[str, ...]
    image_size: int | None = None

    def __post_init__(self) -> None:
        bad = [n for n, value in self.state.items() if not value.isfinite().all()]
        if bad:
            raise ValueError(
                f"weights: {_listed(bad)} are not all finite numbers; the file is damaged, or the "
                "training diverged"
            )
        n, n_channels = len(self.classes), self.n_channels  # which refuses weights that do not fit
        if n != self.n_outputs:
            background = "; name the background, too, perhaps in a first line"
            raise ValueError(
                f"classes: {n} names, but the network has {self.n_outputs} outputs; expected a "
                f"name for each, in their order{background if n == self.n_outputs - 1 else ''}"
            )
        if self.image_size is None:
            object.__setattr__(self, "image_size", self._size_that_runs())
        else:
            self._run(self._whole, (n_channels, self.image_size, self.image_size), n)

    @cached_property
    def n_outputs(self) -> int:
        """How many outputs it has."""
        return _n_outputs(self.config, self.state)

    @cached_property
    def n_channels(self) -> int:
        """Of its images: 3, or 1 where the weights are those of a network for grey ones."""
        misfits = {n: self._misfit(n, self.n_outputs) for n in (3, 1)}
        fits = [n for n, why in misfits.items() if not why]
        if not fits:
            raise ValueError(
                f"weights: do not fit {self.config.architecture} with {self.n_outputs} outputs: "
                f"{misfits[3]}; give the architecture, width and options they were trained with"
            )
        return fits[0]

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides what it answers."""
        names = sorted(self.state)
        return fingerprint(
            network=self.config.described(),
            names=names,
            weights=array_digest(*(self.state[name].numpy() for name in names)),
            classes=self.classes,
        )

    def for_task(
        self, classes: Sequence[str], image_shape: tuple[int, int, int], image_set: str
    ) -> nn.Module:
        """The network as one for an image set, whose classes are found among its own by name.

        Parameters
        ----------
        classes : sequence of str
            Of the image set, in order.
        image_shape : (channels, height, width)
        image_set : str
            Its name, for messages.

        Returns
        -------
        nn.Module
            In evaluation mode: takes images (batch, channels, height, width) in [0, 1], returns
            logits (batch, class) of these classes alone, in their order.

        Raises
        ------
        ValueError
            If a class is not among its own, or it cannot take the images.
        """
        index = self._outputs_of(classes, image_set)
        n_channels = image_shape[0]
        if why := self._misfit(n_channels, self.n_outputs):
            kinds = {1: "grey", 3: "colour"}
            raise ValueError(
                f"image set {image_set!r}: {kinds[n_channels]} images, but the network takes "
                f"{kinds[self.n_channels]} ones ({why}); import the images "
                f"{'with' if self.n_channels == 1 else 'without'} --grey"
            )
        state = dict(self.state)
        for name in _of_classes(self.config, n_channels):
            state[name] = state[name][index]
        network = load_network(self.config, n_channels, len(index), state)
        try:
            self._run(network, image_shape, len(index))
        except ValueError as error:
            raise ValueError(
                f"image set {image_set!r}: {error}; import the images with --size "
                f"{self.image_size}, which it takes"
            ) from error
        return network

    def _outputs_of(self, classes: Sequence[str], image_set: str) -> list[int]:
        """Which output gives each class."""
        places: dict[str, list[int]] = {}
        for place, name in enumerate(self.classes):
            places.setdefault(name, []).append(place)
        missing = [name for name in classes if name not in places]
        if missing:
            raise ValueError(
                f"image set {image_set!r}: {len(missing)} of its {len(classes)} classes, such as "
                f"{missing[0]!r}, are none of the network's {len(self.classes)}, such as "
                f"{self.classes[0]!r}; import the network with its classes by the names that the "
                "image set has"
            )
        if twice := [name for name in classes if len(places[name]) > 1]:
            raise ValueError(
                f"image set {image_set!r}: its class {twice[0]!r} is {len(places[twice[0]])} of "
                "the network's outputs; expected one; import the network with other names"
            )
        return [places[name][0] for name in classes]

    @property
    def _whole(self) -> nn.Module:
        return load_network(self.config, self.n_channels, self.n_outputs, self.state)

    def _size_that_runs(self) -> int:
        """The first usual size of images that it can take."""
        whole, errors = self._whole, []
        sizes = SIZES if not library_of(self.config.architecture) else (224, *SIZES)
        for size in sizes:
            try:
                self._run(whole, (self.n_channels, size, size), self.n_outputs)
            except ValueError as error:
                errors.append(str(error))
            else:
                return size
        raise ValueError(f"{errors[0]}, nor of {', '.join(map(str, sizes[1:]))}; give its size")

    @staticmethod
    def _run(network: nn.Module, image_shape: tuple[int, int, int], n_classes: int) -> None:
        """Raise a ValueError if a network does not answer to images of a shape."""
        shape = " x ".join(map(str, image_shape))
        try:
            with torch.inference_mode():
                logits = network(torch.full((2, *image_shape), 0.5))
        except Exception as error:  # anyone's network may raise anything
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"the network cannot take images of {shape} ({why})") from error
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if found != (2, n_classes):
            raise ValueError(
                f"the network cannot take images of {shape} (its answer to two of them is {found}, "
                f"expected {(2, n_classes)})"
            )
        if not logits.isfinite().all():
            raise ValueError(f"the network's answer to a grey image of {shape} is not finite")

    def _misfit(self, n_channels: int, n_outputs: int) -> str:
        """Why the weights are not those of the architecture; nothing if they are."""
        try:
            own = _shapes(self.config, n_channels, n_outputs)
        except ValueError as error:
            return str(error)
        return why_unlike(own, {name: tuple(value.shape) for name, value in self.state.items()})


def why_unlike(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> str:
    """How weights differ from those that a network has; nothing if they fit."""
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    other = [n for n in expected if n in found and found[n] != expected[n]]
    said = [
        *([f"{_listed(missing)} missing"] if missing else []),
        *([f"{_listed(unknown)} unknown to it"] if unknown else []),
        *(f"{n} is {found[n]}, expected {expected[n]}" for n in other[:1]),
        *([f"{len(other) - 1} more have another shape"] if len(other) > 1 else []),
    ]
    return "; ".join(said)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


def _shapes(config: NetworkConfig, n_channels: int, n_classes: int) -> dict[str, tuple[int, ...]]:
    state = outline(config, n_channels, n_classes).state_dict()
    return {name: tuple(value.shape) for name, value in state.items()}


def _of_classes(config: NetworkConfig, n_channels: int) -> list[str]:
    """Names of the weights that have a row for each class: those that follow their number.

    Raises
    ------
    ValueError
        If there are none, or they are laid out in another way.
    """
    few, more = (_shapes(config, n_channels, n) for n in (2, 3))
    names = [name for name in few if few[name] != more.get(name)]
    by_row = [more.get(n) == (3, *few[n][1:]) and few[n][0] == 2 for n in names]
    if not names or not all(by_row):
        raise ValueError(
            f"{config.architecture}: expected weights with a row for each of n_classes, found "
            f"{_listed(names) or 'none'}"
        )
    return names


def _n_outputs(config: NetworkConfig, state: Mapping[str, Tensor]) -> int:
    names = _of_classes(config, 1 if config.mean and len(config.mean) == 1 else 3)
    present = [state[name] for name in names if name in state and state[name].ndim]
    if not present:
        raise ValueError(
            f"weights: {_listed(names)} of {config.architecture} missing, which give the classes; "
            f"the weights have {_listed(sorted(state)) or 'no tensor'}"
        )
    return len(present[0])
