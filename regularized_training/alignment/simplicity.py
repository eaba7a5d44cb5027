"""How short a network is: Kubilius et al. 2019. Imports no torch before it is asked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import fx, nn


def simplicity(network: nn.Module) -> float:
    """Feedforward simplicity, 1 / ln(longest path); infinite for a path of a single layer.

    Parameters
    ----------
    network : nn.Module

    Raises
    ------
    ValueError
        If the network cannot be traced, or has no convolution or fully connected layer.

    Examples
    --------
    >>> from torch import nn
    >>> round(simplicity(nn.Sequential(*(nn.Linear(3, 3) for _ in range(8)))), 2)  # as AlexNet
    0.48
    """
    n = longest_path(network)
    return 1 / math.log(n) if n > 1 else math.inf


def longest_path(network: nn.Module) -> int:
    """Number of convolutions and fully connected layers on the longest path to the answer.

    Those that are used again, as recurrent ones are, count once: on the way to each operation the
    longest of the paths to what it is made of goes on, and a layer that is on it already adds
    nothing. A V1 block's Gabors are a convolution, and a blur of all images is none. What attention
    multiplies is not counted, as it has no weights of its own.

    Parameters
    ----------
    network : nn.Module
        Read by ``torch.fx`` and not run, so it may have been built without memory, on torch's
        device ``meta``.

    Raises
    ------
    ValueError
        If the network cannot be traced, or has no convolution or fully connected layer.
    """
    from regularized_training.networks.layer_reader import traced

    numbers: dict[str, int] = {}  # of layers, each of which is a bit of a path
    paths: dict[fx.Node, int] = {}
    for node in traced(network).nodes:
        path = max((paths[one] for one in node.all_input_nodes), key=int.bit_count, default=0)
        layer = _layer(node, network)
        if layer:
            path |= 1 << numbers.setdefault(layer, len(numbers))
        paths[node] = path
        if node.op == "output":
            break
    if not path:
        raise ValueError(
            f"network: {type(network).__name__} has no convolution or fully connected layer on "
            "the way to its answer, expected at least one"
        )
    return path.bit_count()


def _layer(node: fx.Node, network: nn.Module) -> str:
    """The name of the layer that an operation is; empty if it is none."""
    from torch import nn
    from torch.nn import functional as F

    from regularized_training.networks.v1 import V1Cells

    target: Any = node.target
    if node.op == "call_module":
        module = network.get_submodule(target)
        counted = isinstance(module, nn.modules.conv._ConvNd | nn.Linear | nn.Bilinear | V1Cells)
        return target if counted else ""
    layers = (F.linear, F.conv1d, F.conv2d, F.conv3d)
    if node.op == "call_function" and any(target is function for function in layers):
        weight: Any = node.kwargs.get("weight", node.args[1] if len(node.args) > 1 else None)
        # Weights that are themselves computed are another layer's in each operation.
        named = getattr(weight, "op", "") == "get_attr"
        return str(weight.target) if named else node.name
    return ""
