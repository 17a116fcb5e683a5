"""Immersions with rounded kinks: what they converge to, and how they are differentiated."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli

from geomstats_vae.immersions import (
    AutodiffImmersion,
    ConcatenatedImmersion,
    GaussianDecoder,
    RBFPrecision,
    ScaledImmersion,
    compile_immersion,
)
from tests.immersions.comparisons import assert_same_derivatives, draw

DIM = 3
KINKED = {
    "relu": nn.ReLU(),
    "leaky relu": nn.LeakyReLU(0.2),
    "prelu": nn.PReLU(8),
    "elu": nn.ELU(0.7),
    "selu": nn.SELU(),
    "hardtanh": nn.Hardtanh(-0.4, 0.6),
    "relu6": nn.ReLU6(),
    "hardsigmoid": nn.Hardsigmoid(),
    "hardswish": nn.Hardswish(),
    "softsign": nn.Softsign(),
}


def network(activation, scale=1.5):
    module = nn.Sequential(nn.Linear(DIM, 8), activation, nn.Linear(8, 5))
    module = module.double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(2)
    for part in (module[0], module[2]):
        part.weight.copy_(scale * torch.randn(part.weight.shape, generator=generator))
    return module


def codes():
    return torch.randn(200, DIM, generator=torch.Generator().manual_seed(3)).double()


@pytest.mark.parametrize("name", KINKED)
def test_derivatives_equal_finite_differences(name):
    kinked = compile_immersion(network(KINKED[name]), DIM)
    immersion = kinked.smoothed(0.3, codes())
    assert immersion.smooth
    assert not kinked.smooth
    (z, v), h = draw(6, DIM), 1e-5
    slope = (immersion(z + h * v) - immersion(z - h * v)) / (2.0 * h)
    torch.testing.assert_close(immersion.push(z, v), slope, rtol=1e-7, atol=1e-7)
    change = (immersion.jacobian(z + h * v)[1] - immersion.jacobian(z - h * v)[1]) / (2.0 * h)
    torch.testing.assert_close(immersion.jet(z, v).derivatives, change, rtol=1e-6, atol=1e-6)
    assert change.abs().max() > 0.1
    assert_same_derivatives(immersion, AutodiffImmersion(immersion, DIM), z, v, rtol=1e-9)


@pytest.mark.parametrize("name", KINKED)
def test_narrow_kinks_are_those_of_the_network(name):
    """A ReLU of width w is off by w log 2 at most, at its kink."""
    kinked, z = compile_immersion(network(KINKED[name]), DIM), codes()
    errors = [
        float((kinked.smoothed(width, z)(z) - kinked(z)).abs().max()) for width in (0.1, 0.01, 1e-4)
    ]
    assert errors[0] > errors[1] > errors[2] > 0.0
    assert errors[2] < 2e-2 * errors[0]


def test_relu_becomes_softplus_of_the_spread_of_its_input():
    module, z, width = network(nn.ReLU()), codes(), 0.2
    spread = width * module[0](z).std(dim=0, correction=0)
    expected = module[2](spread * nn.functional.softplus(module[0](z) / spread))
    found = compile_immersion(module, DIM).smoothed(width, z)(z)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    at_kink = spread * math.log(2.0)
    assert (found - module(z)).abs().max() < (module[2].weight.abs() @ at_kink).max()


def test_units_that_do_not_vary_keep_a_width():
    module = network(nn.ReLU())
    module[0].weight[:3] = 0.0
    module[0].bias[:3] = 0.0
    immersion = compile_immersion(module, DIM).smoothed(0.1, codes())
    z, v = draw(4, DIM)
    jet = immersion.jet(z, v)
    assert all(part.isfinite().all() for part in (immersion(z), jet.tangents, jet.derivatives))
    # Even if no unit varies, as at a single code.
    assert immersion(z[:1]).isfinite().all()
    single = compile_immersion(module, DIM).smoothed(0.1, z[:1])
    assert single.jet(z, v).derivatives.isfinite().all()


def test_smooth_networks_stay_as_they_are():
    for activation in (nn.Tanh(), nn.ELU(), nn.GELU()):
        immersion = compile_immersion(network(activation), DIM)
        assert immersion.smooth
        assert immersion.smoothed(0.1, codes()) is immersion


def test_guards_that_no_code_reaches_are_not_rounded():
    module = network(nn.Sigmoid())
    guarded = compile_immersion(lambda z: torch.log(module(z).exp().clamp(min=1e-300)), DIM)
    assert not guarded.smooth
    rounded, z = guarded.smoothed(0.3, codes()), codes()
    assert rounded.smooth
    assert torch.equal(rounded(z), guarded(z))
    # Torch keeps probabilities off 0 and 1 by one rounding error.
    probabilities = compile_immersion(lambda z: Bernoulli(probs=torch.sigmoid(module(z))), DIM)
    assert probabilities.smooth


def test_composed_immersions_round_their_parts():
    kinked = compile_immersion(network(nn.ReLU()), DIM)
    smooth = compile_immersion(network(nn.Tanh()), DIM)
    z, rounded = codes(), kinked.smoothed(0.1, codes())
    scaled = ScaledImmersion(kinked, 3.0).smoothed(0.1, z)
    assert scaled.smooth
    assert torch.equal(scaled(z), 3.0 * rounded(z))
    pair = ConcatenatedImmersion([smooth, kinked]).smoothed(0.1, z)
    assert pair.smooth
    assert torch.equal(pair(z), torch.cat((smooth(z), rounded(z)), dim=1))
    for same in (ScaledImmersion(smooth, 2.0), ConcatenatedImmersion([smooth, smooth])):
        assert same.smoothed(0.1, z) is same


def test_beside_an_rbf_precision():
    rbf = RBFPrecision(torch.zeros(2, DIM), torch.ones(2), torch.ones(5, 2), 0.1).double()
    decoder = GaussianDecoder(network(nn.ReLU()), rbf).eval()
    immersion = compile_immersion(decoder, DIM).smoothed(0.1, codes())
    assert immersion.smooth
    assert immersion.has_std


def test_codes_in_another_precision():
    module = network(nn.ReLU()).float()
    immersion = compile_immersion(module, DIM).smoothed(0.1, codes())
    assert immersion(codes().float()).dtype == torch.float32
