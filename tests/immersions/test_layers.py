"""Compiled networks against autodiff, and what is not compiled."""

import pytest
import torch
from torch import nn

from geomstats_vae.immersions.autodiff import AutodiffImmersion
from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.immersions.network import compile_immersion
from geomstats_vae.immersions.rbf import RBFPrecision
from tests.immersions.activations import ACTIVATIONS
from tests.immersions.comparisons import assert_same_derivatives, draw


def chain(*layers):
    """Layers with the same weights in every run."""
    module = nn.Sequential(*layers).double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(4)
    for part in module.modules():
        if isinstance(part, nn.Linear):
            scale = 1.5 / part.in_features**0.5
            part.weight.copy_(scale * torch.randn(part.weight.shape, generator=generator).double())
    return module


def precision(dim=3, n_outputs=5, n_centers=7, zeta=1e-2):
    generator = torch.Generator().manual_seed(5)
    return RBFPrecision(
        torch.randn(n_centers, dim, generator=generator).double(),
        torch.rand(n_centers, generator=generator).double() + 0.2,
        torch.rand(n_outputs, n_centers, generator=generator).double() + 0.1,
        zeta,
    )


def stacked(decoder):
    def function(z):
        out = decoder(z)
        return torch.cat(out, dim=-1) if isinstance(out, tuple) else out

    return function


def assert_compiled(decoder, dim=3, forward_mode=True, rtol=1e-10):
    fast = compile_immersion(decoder, dim)
    assert fast is not None
    slow = AutodiffImmersion(stacked(decoder), dim, forward_mode=forward_mode)
    assert not isinstance(fast, AutodiffImmersion)
    assert_same_derivatives(fast, slow, *draw(6, dim), rtol=rtol)


@pytest.mark.parametrize("forward_mode", [True, False], ids=["forward", "reverse"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(name, forward_mode):
    module = chain(
        nn.Linear(3, 8),
        ACTIVATIONS[name],
        nn.Sequential(nn.Linear(8, 6, bias=False), nn.Identity(), ACTIVATIONS[name]),
        nn.Linear(6, 5),
    )
    assert_compiled(module, forward_mode=forward_mode)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_first_and_last(name):
    assert_compiled(chain(ACTIVATIONS[name], nn.Linear(3, 5), ACTIVATIONS[name]))


@pytest.mark.parametrize("forward_mode", [True, False], ids=["forward", "reverse"])
def test_rbf_precision_beside_a_mean(forward_mode):
    mean = chain(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 5), nn.Sigmoid())
    assert_compiled(GaussianDecoder(mean, precision()).eval(), forward_mode=forward_mode)


def test_a_network_beside_a_mean():
    mean = chain(nn.Linear(3, 5))
    std = chain(nn.Linear(3, 4), nn.ELU(), nn.Linear(4, 5), nn.Softplus())
    assert_compiled(GaussianDecoder(mean, std).eval())


@pytest.mark.parametrize("dim", [1, 2, 6])
def test_other_dimensions(dim):
    mean = chain(nn.Linear(dim, 4), nn.SiLU(), nn.Linear(4, 5))
    assert_compiled(GaussianDecoder(mean, precision(dim)).eval(), dim)


def test_high_walls():
    """A precision that falls by six orders of magnitude keeps its relative accuracy."""
    decoder = GaussianDecoder(chain(nn.Linear(3, 5)), precision(zeta=1e-6)).eval()
    assert_compiled(decoder, rtol=1e-8)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "elu", "softplus", "silu"])
def test_derivatives_equal_finite_differences(name):
    mean = chain(nn.Linear(3, 8), ACTIVATIONS[name], nn.Linear(8, 5), ACTIVATIONS[name])
    immersion = compile_immersion(GaussianDecoder(mean, precision()).eval(), 3)
    (z, v), h = draw(6, 3), 1e-5
    jet = immersion.jet(z, v)
    covector = torch.ones(len(z), 10, dtype=z.dtype)
    hessian = jet.hessian(covector)
    for k, e in enumerate(h * torch.eye(3, dtype=z.dtype)):
        slope = (immersion(z + e) - immersion(z - e)) / (2 * h)
        torch.testing.assert_close(jet.tangents[:, k], slope, rtol=1e-7, atol=1e-8)
        change = (immersion.jacobian(z + e)[1] - immersion.jacobian(z - e)[1]) / (2 * h)
        torch.testing.assert_close(hessian[:, k], change.sum(2), rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(
            jet.derivatives[:, k], torch.einsum("nk,nkp->np", v, change), rtol=1e-7, atol=1e-7
        )


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_extreme_inputs_stay_finite(name):
    immersion = compile_immersion(chain(nn.Linear(3, 4), ACTIVATIONS[name], nn.Linear(4, 5)), 3)
    z = torch.full((2, 3), 1e4, dtype=torch.float64)
    z[1] *= -1.0
    jet = immersion.jet(z, torch.ones_like(z))
    parts = immersion(z), jet.tangents, jet.derivatives, jet.hessian(torch.ones(2, 5).double())
    assert all(part.isfinite().all() for part in parts)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_float32(name):
    module = chain(nn.Linear(3, 4), ACTIVATIONS[name], nn.Linear(4, 5))
    z, v = draw(6, 3)
    exact = compile_immersion(module, 3).jet(z, v)
    jet = compile_immersion(module.float(), 3).jet(z.float(), v.float())
    assert jet.tangents.dtype == jet.derivatives.dtype == torch.float32
    assert jet.hessian(torch.ones(6, 5)).dtype == torch.float32
    torch.testing.assert_close(jet.derivatives.double(), exact.derivatives, rtol=1e-4, atol=1e-4)


def test_smooth_is_known():
    def smooth(layer):
        return compile_immersion(chain(nn.Linear(3, 4), layer), 3).smooth

    kinked = {name for name, layer in ACTIVATIONS.items() if not smooth(layer)}
    # The slope of an ELU with alpha != 1 jumps at zero.
    assert kinked == {"relu", "leaky_relu", "elu"}
    assert smooth(nn.ELU())


class Doubled(nn.Linear):
    """A known layer with a forward of its own."""

    def forward(self, z):
        return 2.0 * super().forward(z)


def test_a_subclass_is_read_by_what_it_does():
    assert_compiled(chain(Doubled(3, 4), nn.Tanh()))


def test_hooks_are_seen():
    module = chain(nn.Linear(3, 4), nn.Tanh())
    module[0].register_forward_hook(lambda part, inputs, output: 3.0 * output)
    assert_compiled(module)


def test_an_instance_with_a_forward_of_its_own_is_seen():
    module = chain(nn.Linear(3, 4), nn.Tanh())
    module[0].forward = lambda z: z.sin()
    assert_compiled(module)


def test_parametrised_weights_are_read():
    module = chain(nn.Linear(3, 4), nn.Tanh())
    nn.utils.parametrizations.weight_norm(module[0])
    assert_compiled(module)
