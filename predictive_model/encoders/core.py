"""Core: the stacked convolutions of neuralpredictors, the same numbers in less time on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from predictive_model.encoders.neuralpredictors_compat import (
    AdaptiveELU,
    Bias2DLayer,
    Scale2DLayer,
    Stacked2dCore,
)

# Memory for a tensor of 32 MiB and more comes fresh from the operating system each time, and to
# get it costs more than most layers spend on computing. Smaller parts are taken from what the
# process already has: a training step on 128 images of 36 x 64 takes about two thirds of the time.
PART_BYTES = 24 * 2**20
# oneDNN has a fast weight gradient for depthwise kernels of at most this many columns. For wider
# ones it falls back to a kernel for dense convolutions: for 128 maps of 28 x 56 with 64 channels
# and a kernel of 7 x 7, 200 ms instead of 50 ms on one core.
TILE = 3
# Of images copied at a time, for each thread: they stay in a core's own cache.
CHUNK_BYTES = 2**21


class Core(Stacked2dCore):
    """Stacked convolutions with batch normalisation and ELU.

    State dict and results are those of ``Stacked2dCore``, up to the order of summation. In
    training on a CPU large batches pass layer by layer in parts; batch normalisation takes its
    statistics from all of them.

    Parameters
    ----------
    norm : str
        ``CoreConfig.norm``. In place of three switches of ``Stacked2dCore``, which do not reach
        every combination that its versions have made.
    """

    def __init__(self, *args: Any, norm: str = "affine", **kwargs: Any) -> None:
        self.norm = norm
        super().__init__(*args, batch_norm=norm != "none", **kwargs)
        for layer in list(self.features.modules()):
            for name, child in layer.named_children():
                if isinstance(child, AdaptiveELU) and child.xshift == child.yshift == 0:
                    # It copies its input and its output to add 0.
                    setattr(layer, name, nn.ELU(inplace=True))
                elif isinstance(child, nn.Conv2d) and DepthwiseConv2d.suits(child):
                    setattr(layer, name, DepthwiseConv2d.like(child))

    def add_bn_layer(self, layer: dict[str, nn.Module]) -> None:
        """Batch normalisation of a layer, and what is learned beside it; called by the base."""
        if self.norm == "none":
            return
        layer["norm"] = nn.BatchNorm2d(
            self.hidden_channels, momentum=self.momentum, affine=self.norm == "affine"
        )
        if self.norm == "offset":
            layer["bias"] = Bias2DLayer(self.hidden_channels)
        elif self.norm == "scale":
            layer["scale"] = Scale2DLayer(self.hidden_channels)

    def regularizer(self) -> Tensor:
        """Group sparsity and smoothness; what has no weight may be undefined, and is left out."""
        penalty = self.features[0].conv.weight.new_zeros(())
        if self.gamma_hidden:
            penalty = penalty + self.gamma_hidden * self.group_sparsity()
        if self.gamma_input:
            penalty = penalty + self.gamma_input * self.laplace()
        return penalty

    def forward(self, input_: Tensor) -> Tensor:
        """Maps (batch, channels, height, width) of images of the same kind."""
        seen = max(self.skip, 1) if self.num_layers > 1 else 1
        widest = 4 * self.hidden_channels * seen * input_.shape[2] * input_.shape[3]
        n_parts = -(-len(input_) * widest // PART_BYTES)
        usual = self.norm == "affine" and self.final_nonlinearity and not self.linear
        if not self.training or input_.device.type != "cpu" or n_parts == 1 or not usual:
            return super().forward(input_)
        done: list[list[Tensor]] = []
        parts = list(input_.chunk(n_parts))
        for number, layer in enumerate(self.features):
            if number and self.skip > 1:
                parts = [torch.cat(maps, dim=1) for maps in zip(*done[-self.skip :], strict=True)]
            convolution, norm, nonlinearity = layer
            maps = joint_batch_norm(norm, [convolution(part) for part in parts])
            parts = [nonlinearity(part) for part in maps]
            done.append(parts)
        stacked = zip(*(done[number] for number in self.stack), strict=True)
        return torch.cat([torch.cat(maps, dim=1) for maps in stacked])


def joint_batch_norm(norm: nn.BatchNorm2d, parts: Sequence[Tensor]) -> Sequence[Tensor]:
    """Batch normalisation, in training, of a batch that comes in parts.

    Parameters
    ----------
    norm : BatchNorm2d
        Its running statistics are updated once.
    parts : sequence of (n, channel, height, width) tensors
    """
    assert norm.running_mean is not None and norm.running_var is not None
    assert norm.num_batches_tracked is not None and norm.momentum is not None
    with torch.no_grad():
        sizes = torch.tensor([part.numel() / part.shape[1] for part in parts])[:, None]
        each = [torch.batch_norm_update_stats(part, None, None, 0.0) for part in parts]
        means, variances = (torch.stack(values) for values in zip(*each, strict=True))
        total = sizes.sum()
        mean = (sizes * means).sum(0) / total
        variance = (sizes * (variances + (means - mean) ** 2)).sum(0) / total
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * total / (total - 1), norm.momentum)
        norm.num_batches_tracked += 1
    return _JointBatchNorm.apply(norm.weight, norm.bias, mean, variance, norm.eps, *parts)


class _JointBatchNorm(torch.autograd.Function):
    """Batch normalisation of parts by the mean and variance of all of them together."""

    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        *parts: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(weight, mean, variance, *parts)
        ctx.eps = eps
        return tuple(
            torch.native_batch_norm(part, weight, bias, mean, variance, False, 0.0, eps)[0]
            for part in parts
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, mean, variance, *parts = ctx.saved_tensors
        # With mean and variance held, and then what follows from their dependence on the maps.
        held = [
            torch.ops.aten.native_batch_norm_backward(
                grad, part, weight, mean, variance, None, None, False, ctx.eps, [True] * 3
            )
            for grad, part in zip(grads, parts, strict=True)
        ]
        of_weight, of_bias = (torch.stack([h[i] for h in held]).sum(0) for i in (1, 2))
        count = sum(part.numel() for part in parts) / len(mean)
        scale = (variance + ctx.eps).rsqrt()
        slope = weight * scale**2 * of_weight / count
        offset = weight * scale * of_bias / count - slope * mean
        of_parts = [
            h[0].addcmul_(part, slope[:, None, None], value=-1).sub_(offset[:, None, None])
            for h, part in zip(held, parts, strict=True)
        ]
        return of_weight, of_bias, None, None, None, *of_parts


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution whose weight gradient is computed a few kernel columns at a time.

    Same parameters and same results, up to the order of summation. In evaluation mode, on a GPU,
    for contiguous inputs and for narrow kernels it is an ordinary convolution.
    """

    @classmethod
    def like(cls, conv: nn.Conv2d) -> DepthwiseConv2d:
        """A convolution with the settings and the very parameters of another."""
        new = cls(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            padding=conv.padding,  # type: ignore[arg-type]
            groups=conv.groups,
            bias=conv.bias is not None,
            device="meta",
        )
        new.weight, new.bias = conv.weight, conv.bias
        return new.train(conv.training)

    @staticmethod
    def suits(module: nn.Module) -> bool:
        """Whether a module is a convolution that this one computes faster."""
        return (
            isinstance(module, nn.Conv2d)
            and module.groups == module.in_channels == module.out_channels
            and module.groups % 16 == 0
            and module.kernel_size[1] > TILE
            and set(module.stride) == set(module.dilation) == {1}
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
        )

    def forward(self, input: Tensor) -> Tensor:
        """Maps (batch, channels, height, width) of maps of the same kind."""
        if (
            self.training
            and self.weight.requires_grad
            and input.device.type == "cpu"
            and input.dtype == torch.float32
            and input.is_contiguous(memory_format=torch.channels_last)
        ):
            out = _Depthwise.apply(input, self.weight, self.padding)
            return out if self.bias is None else out + self.bias[:, None, None]
        return super().forward(input)


class _Depthwise(torch.autograd.Function):
    """Depthwise convolution of channels-last maps, with :func:`weight_gradient`."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.padding = padding
        return F.conv2d(maps, weight, padding=padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        maps, weight = ctx.saved_tensors
        of_maps = of_weight = None
        if ctx.needs_input_grad[0]:
            of_maps = _gradients(grad, maps, weight, ctx.padding, (True, False))[0]
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(grad, maps, tuple(weight.shape[2:]), ctx.padding)
        return of_maps, of_weight, None


def weight_gradient(
    grad: Tensor, maps: Tensor, kernel: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Weight gradient (channel, 1, height, width) of a depthwise convolution of stride 1.

    Tap (i, j) is the sum over pixels (y, x) of ``grad[y, x] * maps[y + i, x + j]``, so the columns
    from j on are the gradient of a narrow kernel on maps that start j pixels later. With maps
    padded in memory, channels last, that is a view: it runs into the next row only where ``grad``
    is padded with zeros.

    Parameters
    ----------
    grad : (batch, channel, height', width') tensor
        Of the convolution's result.
    maps : (batch, channel, height, width) tensor
        Its input.
    kernel, padding : (height, width)
    """
    batch, channels, height, width = maps.shape
    (rows, columns), (pad_y, pad_x) = kernel, padding
    padded = width + 2 * pad_x
    # The last narrow kernel ends with the wide one, and may overlap with the one before it.
    starts = [*range(0, columns - TILE, TILE), columns - TILE]
    image = height * padded * channels
    chunk = max(1, min(batch, torch.get_num_threads() * CHUNK_BYTES // (4 * image)))
    flat = maps.new_zeros(chunk * image + starts[-1] * channels)
    padded_grad = grad.new_zeros(chunk, grad.shape[2], padded - TILE + 1, channels)
    narrow = maps.new_empty(channels, 1, rows, TILE)
    tiles = maps.new_zeros(len(starts), *narrow.shape)
    for first in range(0, batch, chunk):
        some = maps[first : first + chunk].permute(0, 2, 3, 1)
        size, shape = len(some) * image, (len(some), height, padded, channels)
        flat[:size].view(shape)[:, :, pad_x : pad_x + width] = some
        some_grad = padded_grad[: len(some)]
        some_grad[:, :, : grad.shape[3]] = grad[first : first + chunk].permute(0, 2, 3, 1)
        for tile, start in zip(tiles, starts, strict=True):
            shifted = flat[start * channels :][:size].view(shape)
            tile += _gradients(
                some_grad.permute(0, 3, 1, 2),
                shifted.permute(0, 3, 1, 2),
                narrow,
                (pad_y, 0),
                (False, True),
            )[1]
    result = maps.new_empty(channels, 1, rows, columns)
    for tile, start in zip(tiles, starts, strict=True):
        result[..., start : start + TILE] = tile
    return result


def _gradients(
    grad: Tensor,
    maps: Tensor,
    weight: Tensor,
    padding: tuple[int, int],
    wanted: tuple[bool, bool],
) -> tuple[Tensor, Tensor]:
    """Gradients of maps and weight, those that are wanted, as PyTorch computes them."""
    return torch.ops.aten.convolution_backward(
        grad,
        maps,
        weight,
        None,
        [1, 1],
        padding,
        [1, 1],
        False,
        [0, 0],
        len(weight),
        [*wanted, False],
    )[:2]
