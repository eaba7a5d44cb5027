"""Features of a network's layers, read without changing the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.fx import Graph
from torchvision.models.feature_extraction import (
    NodePathTracer,
    create_feature_extractor,
    get_graph_node_names,
)

from regularized_training.networks.cornet_s import StridedConv
from regularized_training.networks.libraries import Prepared
from regularized_training.networks.normalisation import Normalise
from regularized_training.networks.stored_graph import Operation
from regularized_training.networks.v1 import V1Block, V1Cells

# A leaf is shared with the network as a whole; traced into, its constants would be copied and stay
# behind when the network moves to another device.
TRACING = {"leaf_modules": [Normalise, Operation, V1Cells, StridedConv]}


class LayerError(ValueError):
    """Layers that a network does not have, or a network whose layers cannot be read."""


class LayerReader:
    """Features of some layers, without running what comes after them.

    It shares weights, training mode and device with the network, and leaves the network's own
    ``forward`` as it is. Make one and keep it: it traces the network.

    Parameters
    ----------
    network : nn.Module
    layers : sequence of str
        Names of modules or of nodes of the traced network; of a network of torchvision or timm as
        in the library itself.

    Raises
    ------
    LayerError
        If there is no such layer, or the network cannot be traced.
    """

    def __init__(self, network: nn.Module, layers: tuple[str, ...]) -> None:
        self.layers = tuple(layers)
        names = {_prefix(network) + layer: layer for layer in self.layers}
        with keeping_modes(network):
            training = network.training
            try:
                self._extractor = create_feature_extractor(
                    network, names, tracer_kwargs=TRACING, suppress_diff_warning=True
                )
            except Exception:  # tracing runs the network's own code, which may raise anything
                require_layers(self.layers, readable_layers(network))
                raise
            self._extractor.train(training)

    @property
    def up_to(self) -> nn.Module:
        """What runs up to the layers: the network's own parts, by their names there."""
        part: nn.Module = self._extractor
        return part

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Features of each layer, (batch, channels, height, width), for images in [0, 1]."""
        features = self._extractor(images)
        return [features[layer] for layer in self.layers]


@contextmanager
def keeping_modes(network: nn.Module) -> Iterator[None]:
    """Afterwards each part of a network is in training or in evaluation mode as it came in."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


def readable_layers(network: nn.Module) -> tuple[str, ...]:
    """Names of all operations of a network that can be read, from the image on.

    Raises
    ------
    LayerError
        If the network cannot be traced.
    """
    try:
        with keeping_modes(network):
            in_training, in_evaluation = get_graph_node_names(
                network, tracer_kwargs=TRACING, suppress_diff_warning=True
            )
    except Exception as error:  # as above
        raise _untraceable(network, error) from error
    prefix, both = _prefix(network), set(in_training)
    nodes = [name for name in in_evaluation[1:] if name in both and name.startswith(prefix)]
    return tuple(name.removeprefix(prefix) for name in nodes)


def traced(network: nn.Module) -> Graph:
    """All operations of a network in evaluation mode, in their order, by its modules' names.

    Raises
    ------
    LayerError
        If the network cannot be traced.
    """
    try:
        with keeping_modes(network):
            return NodePathTracer(**TRACING).trace(network.eval())
    except Exception as error:  # as above
        raise _untraceable(network, error) from error


def _untraceable(network: nn.Module, error: Exception) -> LayerError:
    return LayerError(
        f"layers: cannot be read of {type(network).__name__}, because torch.fx cannot trace "
        f"its forward ({type(error).__name__}: {error}); layers are read by "
        "torchvision.models.feature_extraction: keep decisions on values of tensors out of "
        "forward, or put them into a function wrapped by torch.fx.wrap"
    )


def require_layers(layers: tuple[str, ...], readable: tuple[str, ...]) -> None:
    """Raise a LayerError unless all are operations, or modules with operations in them."""
    known = {"." + name for name in readable}
    unknown = [
        layer
        for layer in layers
        if "." + layer not in known and not any(n.startswith(f".{layer}.") for n in known)
    ]
    if unknown:
        raise LayerError(
            f"layers: {', '.join(unknown)} are not among those of the network: "
            f"{', '.join(readable)}"
        )


def stages(network: nn.Module, readable: tuple[str, ...]) -> tuple[str, ...]:
    """The layers to compare of a network that declares none, from the image on.

    These are its top-level modules that have weights and submodules, or, if none has submodules,
    those that have weights; in both cases without the last module with weights, which gives the
    classes. If only one is left, those of its submodules that have submodules themselves stand in
    for it.

    Raises
    ------
    LayerError
        If there are none.
    """
    inner = network.network if isinstance(network, Prepared) else network
    used = dict.fromkeys(name.partition(".")[0] for name in readable)
    children: dict[str, Any] = dict(inner.named_children())
    weighted = [n for n in used if n in children and any(True for _ in children[n].parameters())]
    trunk = weighted[:-1]
    found = [n for n in trunk if _is_composed(children[n])] or trunk
    if len(found) == 1:
        within = children[found[0]].named_children()
        found = [f"{found[0]}.{n}" for n, module in within if _is_composed(module)] or found
    if not found:
        raise LayerError(
            f"layers: none of {type(inner).__name__} are compared by default, as it has no "
            f"top-level modules before the last; name some of {', '.join(readable)}"
        )
    return tuple(found)


def _is_composed(module: nn.Module) -> bool:
    return any(True for _ in module.children()) and not isinstance(module, V1Block)


def _prefix(network: nn.Module) -> str:
    return "network." if isinstance(network, Prepared) else ""
