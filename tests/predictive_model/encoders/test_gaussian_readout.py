"""The readout that fits and predictions use gives the numbers of neuralpredictors' own."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from predictive_model.encoders import gaussian_readout
from predictive_model.encoders.gaussian_readout import GaussianReadout, neighbours, seen_of
from predictive_model.encoders.neuralpredictors_compat import FullGaussian2d

SHAPE = (6, 9, 13)
NEURONS = 20


def pair(gauss_type: str = "full", **settings: object) -> tuple[FullGaussian2d, GaussianReadout]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = FullGaussian2d(
            SHAPE,
            NEURONS,
            True,
            init_mu_range=0.9,
            init_sigma=0.3,
            gauss_type=gauss_type,
            **settings,
        )
        for parameter in (theirs._features, theirs.bias):
            torch.nn.init.normal_(parameter)
    ours = GaussianReadout(SHAPE, NEURONS, True, gauss_type=gauss_type, **settings)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def maps(n: int = 8, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, *SHAPE, generator=rng)


@pytest.mark.parametrize("gauss_type", ["full", "uncorrelated", "isotropic"])
@pytest.mark.parametrize("shift", [None, torch.full((8, 2), 0.3), maps(8)[:, 0, 0, :2] / 2])
def test_responses_are_those_of_neuralpredictors(gauss_type, shift):
    """Also where a shift takes neurons off the map, which is 0 there."""
    theirs, ours = pair(gauss_type)
    for readout in (theirs, ours):
        readout.eval()
    for x in (maps(), maps().to(memory_format=torch.channels_last)):
        torch.testing.assert_close(ours(x, shift=shift), theirs(x, shift=shift))


@pytest.mark.parametrize("shift", [None, maps(8)[:, 0, 0, :2] / 2])
def test_gradients_of_a_fit_are_those_of_neuralpredictors(shift, monkeypatch):
    monkeypatch.setattr(gaussian_readout, "PART_BYTES", 4 * 6 * NEURONS * 3)  # three images
    found = []
    for readout in pair():
        x = maps().requires_grad_()
        moved = None if shift is None else shift.clone().requires_grad_()
        with torch.random.fork_rng():
            torch.manual_seed(1)  # positions are drawn
            readout(x, shift=moved).pow(3).sum().backward()
        found.append([x.grad, *(p.grad for p in readout.parameters())])
        found[-1] += [] if moved is None else [moved.grad]
    for theirs, ours in zip(*found, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def test_maps_that_do_not_learn_leave_a_readout_its_gradients():
    """As of a core that another recording has taught."""
    found = []
    for readout in pair():
        with torch.random.fork_rng():
            torch.manual_seed(1)
            readout(maps()).pow(3).sum().backward()
        found.append([p.grad for p in readout.parameters()])
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def test_what_neurons_see_is_not_kept_for_the_gradient():
    """It is as large as their features, for each image."""
    readout, n = GaussianReadout((256, 4, 5), NEURONS, True), 50
    x = torch.randn(n, 256, 4, 5, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes), lambda t: t):
        readout(x)
    assert sum(kept) - x.nbytes < n * readout.features.nbytes / 2


def test_positions_may_come_from_the_cortex():
    source = np.random.default_rng(0).normal(size=(NEURONS, 2))
    predictor = {"hidden_layers": 1, "hidden_features": 5, "final_tanh": True}
    theirs, ours = pair(source_grid=source, grid_mean_predictor=predictor)
    torch.testing.assert_close(ours.eval()(maps()), theirs.eval()(maps()))


def test_a_point_between_pixels_sees_what_grid_sample_does():
    grid = torch.rand(8, 50, 2, generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    corners = torch.tensor([[-1.0, -1], [1, 1], [-1, 1], [0, 0], [1, 0.5]])
    grid[:, :5] = corners
    x = maps()
    theirs = F.grid_sample(x, grid[:, :, None], align_corners=True)[..., 0]
    maps_last = x.permute(0, 2, 3, 1).flatten(1, 2)
    ours = seen_of(maps_last, *neighbours(grid, *SHAPE[1:]))
    torch.testing.assert_close(ours, theirs.transpose(1, 2))


def test_maps_of_another_size_are_refused():
    _, ours = pair()
    with pytest.raises(ValueError, match=r"features: shape \(6, 9, 12\), expected \(6, 9, 13\)"):
        ours(maps()[..., :12])


def test_a_part_of_the_neurons_is_read_as_neuralpredictors_reads_it():
    theirs, ours = pair()
    index = np.array([3, 1, 7])
    theirs, ours = theirs.eval(), copy.deepcopy(ours).eval()
    torch.testing.assert_close(ours(maps(), out_idx=index), theirs(maps(), out_idx=index))
