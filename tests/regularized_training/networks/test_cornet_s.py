"""CORnet-S as published, its variants, and what its steps share."""

from __future__ import annotations

import pytest
import torch
from pydantic import JsonValue
from torch import Tensor, nn

from predictive_model.randomness import seeded
from regularized_training.networks.architectures import build_network
from regularized_training.networks.compared import compared_layers
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.layer_reader import LayerReader

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def config(width: int = 4, **options: JsonValue) -> NetworkConfig:
    return NetworkConfig(architecture="cornet_s", width=width, options=options)


def built(**options: JsonValue) -> nn.Module:
    return build_network(config(**options), 3, 10, seed=0).eval()


def features(network: nn.Module, *layers: str, images: Tensor = IMAGES) -> list[Tensor]:
    with torch.no_grad():
        return LayerReader(network, layers)(images)


def n_parameters(part: str = "", **options: JsonValue) -> int:
    with torch.device("meta"):
        network = build_network(config(width=64, **options), 3, 1000, seed=0)
    return sum(p.numel() for p in network.get_submodule(part).parameters())


def test_it_has_the_published_number_of_parameters() -> None:
    """Layer by layer as well: of an area of n channels with 4 n within, in t steps."""

    def area(n: int, t: int) -> int:
        within = n * 4 * n + 9 * (4 * n) ** 2 + 4 * n * n
        return n // 2 * n + (n * n + 2 * n) + within + t * 2 * (4 * n + 4 * n + n)

    v1 = 3 * 49 * 64 + 64 * 9 * 64 + 4 * 64
    total = v1 + area(128, 2) + area(256, 4) + area(512, 2) + 513_000
    assert total == n_parameters() == 53_416_616
    # What all steps share is not counted again, and norms are.
    assert n_parameters(steps=[4, 8, 4]) - total == 2 * 9 * 2 * 128 + 4 * 18 * 256 + 2 * 18 * 512


@pytest.mark.parametrize(
    ("stride", "size", "places"),
    [
        (4, 224, [56, 28, 14, 7]),  # as published
        (4, 32, [8, 4, 2, 1]),
        (2, 64, [32, 16, 8, 4]),
        (1, 32, [32, 16, 8, 4]),
    ],
)
def test_areas_halve_what_v1_leaves(stride: int, size: int, places: list[int]) -> None:
    network = built(v1_stride=stride)
    found = features(network, "V1", "V2", "V4", "IT", images=torch.rand(1, 3, size, size))
    assert [f.shape[1:] for f in found] == [
        (4 * 2**number, n, n) for number, n in enumerate(places)
    ]


def test_an_area_is_its_literal_self() -> None:
    """V4 written out, with convolutions that have a stride of 2 of their own."""
    network = built()
    with seeded(0), torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):  # that no two may be taken for each other
                module.weight.uniform_(0.5, 2)
                module.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
    v2, expected = features(network, "V2", "V4")
    state = network.state_dict()

    def conv(name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        return nn.functional.conv2d(x, state[f"V4.{name}.weight"], None, stride, padding)

    def norm(name: str, x: Tensor) -> Tensor:
        of = [state[f"V4.{name}.{p}"][:, None, None] for p in ("running_mean", "running_var")]
        scale = [state[f"V4.{name}.{p}"][:, None, None] for p in ("weight", "bias")]
        return (x - of[0]) / (of[1] + 1e-5).sqrt() * scale[0] + scale[1]

    x = conv("entry", v2)
    for step in range(4):
        stride = 1 if step else 2
        kept = x if step else norm("skip.1", conv("skip.0", x, 2))
        x = norm(f"{step}.norms.0", conv("convolutions.0", x)).relu()
        x = norm(f"{step}.norms.1", conv("convolutions.1", x, stride, 1)).relu()
        x = (norm(f"{step}.norms.2", conv("convolutions.2", x)) + kept).relu()
    torch.testing.assert_close(x, expected, rtol=1e-3, atol=1e-4)


def test_steps_share_weights_and_not_norms() -> None:
    network = built()
    before = features(network, "V4.0", "V4.1", "V4.2", "V4")

    def changed(name: str) -> list[bool]:
        parameter = network.get_parameter(name)
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.mul_(1.5)
            found = features(network, "V4.0", "V4.1", "V4.2", "V4")
            parameter.copy_(kept)
        return [not torch.equal(a, b) for a, b in zip(before, found, strict=True)]

    assert changed("V4.convolutions.1.weight") == [True] * 4
    assert changed("V4.2.norms.1.weight") == [False, False, True, True]
    shared = built(norm="shared")
    assert "V4.norms.1.weight" in shared.state_dict()
    assert not any(name.startswith("V4.2.") for name in shared.state_dict())


def test_an_area_is_its_last_step_and_steps_can_be_chosen_to_be_compared() -> None:
    network = built()
    area, last = features(network, "V4", "V4.3")
    assert torch.equal(area, last)
    assert compared_layers(config()) == ("V1", "V2", "V4", "IT")
    assert compared_layers(config(), ("IT.0", "V4", "V4.1")) == ("V4.1", "V4", "IT.0")
    with pytest.raises(ValueError, match=r"V4.2 are not among .*: V1, V2.0, V2, V4.0, V4.1, V4, "):
        compared_layers(config(steps=[1, 2, 1]), ("V4.2",))


def test_without_recurrence_there_is_the_first_step() -> None:
    whole, once = built(), built(steps=[1, 1, 1])
    state = whole.state_dict()
    once.load_state_dict({name: state[name] for name in once.state_dict()})
    (first,) = features(whole, "V2.0")
    (only,) = features(once, "V2")
    assert torch.equal(first, only)


def test_a_variant_has_the_layers_it_says() -> None:
    n = 128
    norms = 2 * 2 * (4 * n + 4 * n + n)  # of both steps of V2
    v2 = {
        "published": n_parameters("V2"),
        "no bottleneck": n_parameters("V2", bottleneck=1),
        "two convolutions": n_parameters("V2", convolutions=2),
        "no skip": n_parameters("V2", skip=False),
        "shared": n_parameters("V2", norm="shared"),
        "group": n_parameters("V2", norm="group"),
        "none": n_parameters("V2", norm="none"),
    }
    published = v2["published"]
    wide = n * 4 * n + 9 * (4 * n) ** 2 + 4 * n * n
    narrow = n * n + 9 * n * n + n * n
    assert published - v2["no bottleneck"] == wide - narrow + norms - 2 * 2 * 3 * n
    assert published - v2["two convolutions"] == (wide - 9 * n * 4 * n - 4 * n * n) + 2 * 2 * 4 * n
    assert published - v2["no skip"] == n * n + 2 * n
    assert published - v2["shared"] == published - v2["group"] == norms // 2
    # A bias for each channel of the entry, of the skip and of three convolutions.
    assert published - v2["none"] == norms + 2 * n - (n + n + 4 * n + 4 * n + n)


def test_a_soft_gate_sees_the_input_again() -> None:
    """Of the first step it makes nothing, of the second state + sigmoid(input + state) input."""
    hard, soft = built(), built(gate="soft")
    soft.load_state_dict(hard.state_dict())
    (a0, a1), (b0, b1) = (features(network, "V2.0", "V2.1") for network in (hard, soft))
    assert torch.equal(a0, b0)
    seen = features(hard, "V2.entry")[0][:, :, ::2, ::2]
    area = hard.get_submodule("V2")
    state = b0 + torch.sigmoid(seen + b0) * seen
    convolutions, norms = area.get_submodule("convolutions"), area.get_submodule("norms")
    with torch.no_grad():
        expected = area.get_submodule("1")(state, state, convolutions, norms)
    torch.testing.assert_close(b1, expected)
    assert not torch.equal(a1, b1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": [2, 4]}, r"steps: \[2, 4\], expected three numbers of at least 1"),
        ({"steps": [2, 0, 2]}, r"steps: \[2, 0, 2\]"),
        ({"v1_stride": 3}, "v1_stride: 3, expected one of 1, 2, 4"),
        ({"bottleneck": 0}, "bottleneck: 0, expected at least 1"),
        ({"convolutions": 4}, "convolutions: 4, expected one of 2, 3"),
        ({"gate": "lstm"}, "gate: 'lstm', expected one of hard, soft"),
        ({"norm": "layer"}, "norm: 'layer', expected one of step, shared, group, none"),
    ],
)
def test_impossible_variants_are_refused(options: dict[str, JsonValue], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(**options)
