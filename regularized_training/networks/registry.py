"""Networks by name: ours, those of torchvision and timm, and other people's. Imports no torch.

An architecture is one of ``SIMILARITY_LAYERS``; ``graph``, a list of operations (see
:mod:`~regularized_training.networks.stored_graph`); ``torchvision:NAME`` or ``timm:NAME``; the name
of an entry point in the group ``neuroteach.networks``; or ``package.module:function``. The last
two lead to a builder, a function or class that is called with keywords alone::

    def mylab_net(n_channels: int, n_classes: int, *, width: int = 64, depth: int = 4) -> nn.Module:
        ...

    mylab_net.similarity_layers = ("V1", "V2")  # optional

``n_channels`` is 1 for grey images and 3 for colour. ``width`` is that of the configuration, for
builders that have such a parameter; everything else comes from its ``options``. The network takes
images (batch, channels, height, width) in [0, 1], so it normalises them itself, and returns logits
(batch, class). It is seeded from outside.

Layers are named as torchvision's ``get_graph_node_names`` names them. Those that are compared with
a teacher are the ``similarity_layers`` of the builder or else of the network, a tuple of names from
the image on. Where neither has any, every layer may be named, and by default the stages are
compared: see :func:`~regularized_training.networks.layer_reader.stages`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from predictive_model.parts import Origin, Part, Registry

LIBRARIES = ("torchvision", "timm")

# The stem and the end of each stage, all read after the nonlinearity: in ResNet18 layers 1, 5, 9,
# 13 and 17 of Li et al. 2019, counting convolutions.
RESNET_LAYERS = ("stem", "stage1", "stage2", "stage3", "stage4")

AREAS = ("V1", "V2", "V4", "IT")
CORNET_S_STEPS = (2, 4, 2)  # of recurrence in V2, V4 and IT

# All convolutions after the nonlinearity; the third is features.6.
VGG_LAYERS = tuple(f"features.{i}" for i in (1, 3, 6, 8, 11, 13, 15, 18, 20, 22, 25, 27, 29))

# The same of VGG-19 with batch normalisation. The trunk of Safarani et al. 2021 ends with the
# fifth, conv3-1: features.16.
VGG19_LAYERS = tuple(
    f"features.{i}" for i in (2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48, 51)
)

# Layers of Eq. 9 of Li et al. 2019. A new network of ours is one entry here and one below.
SIMILARITY_LAYERS: Mapping[str, tuple[str, ...]] = {
    "resnet18": RESNET_LAYERS,
    "resnet34": RESNET_LAYERS,
    "cornet_z": AREAS,
    "cornet_z_dense": AREAS,
    "cornet_s": AREAS,
    "vgg16": VGG_LAYERS,
    "vgg19_bn": VGG19_LAYERS,
}

_RESNET_STEM = ("conv1", "bn1", "relu", "maxpool")

# The first stage of a network, up to its nonlinearity or pooling, which a V1 block can stand in
# for; of others it is a setting.
STEMS: Mapping[str, tuple[str, ...]] = {
    "resnet18": ("stem",),
    "resnet34": ("stem",),
    "cornet_z": ("V1",),
    "cornet_z_dense": ("V1",),
    "cornet_s": ("V1",),
    "vgg16": ("features.0", "features.1"),
    "vgg19_bn": ("features.0", "features.1", "features.2"),
    "torchvision:alexnet": ("features.0", "features.1", "features.2"),
    **{f"torchvision:resnet{depth}": _RESNET_STEM for depth in (18, 34, 50, 101, 152)},
}

_HERE = "regularized_training.networks"
NETWORKS = Registry(
    "network",
    {
        "resnet18": f"{_HERE}.resnet:resnet18",
        "resnet34": f"{_HERE}.resnet:resnet34",
        "cornet_z": f"{_HERE}.cornet:CORnetZ",
        "cornet_z_dense": f"{_HERE}.cornet:cornet_z_dense",
        "cornet_s": f"{_HERE}.cornet_s:CORnetS",
        "vgg16": f"{_HERE}.vgg:VGG16",
        "vgg19_bn": f"{_HERE}.vgg19:VGG19BatchNorm",
        "graph": f"{_HERE}.stored_graph:GraphNetwork",  # what its option `operations` lists
    },
    hint="torchvision:NAME, timm:NAME, ",
)


def library_of(architecture: str) -> str:
    """``torchvision`` or ``timm`` for a network of theirs, else an empty string."""
    library, separator, _ = architecture.partition(":")
    return library if separator and library in LIBRARIES else ""


def check_architecture(name: str) -> str:
    """The name, if it has the form of one; whether there is such a network is not looked up.

    Raises
    ------
    ValueError
        If it has none of the forms that a name may have.
    """
    if library_of(name) and re.fullmatch(r"\w+:\w[\w.-]*", name):
        return name
    return NETWORKS.check_name(name)


def find_network(architecture: str, recorded: Origin | None = None) -> Part:
    """The builder of a network, as the module describes it, and whose it is.

    Parameters
    ----------
    architecture : str
    recorded : Origin, optional
        Where it came from when it was used before, which says what to install if it is missing.

    Raises
    ------
    PartError
        If there is no such network here.
    """
    if library_of(architecture):
        from regularized_training.networks.libraries import find

        return find(architecture)
    part = NETWORKS.find(architecture, recorded)
    if not callable(part.value):
        raise NETWORKS.error(
            architecture,
            f"is a {type(part.value).__name__}, expected a function that builds a network",
        )
    return part
