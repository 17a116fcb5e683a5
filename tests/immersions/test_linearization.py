"""Jacobian-free products against Jacobians and second derivatives of torch."""

import pytest
import torch
from torch import nn

from geomstats_vae.immersions.autodiff import AutodiffImmersion
from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.immersions.immersion import Immersion
from geomstats_vae.immersions.linearization import AutodiffLinearization
from geomstats_vae.immersions.network import compile_immersion
from geomstats_vae.immersions.network.linearization import ChainLinearization
from geomstats_vae.immersions.rbf import RBFPrecision
from tests import surfaces
from tests.immersions.activations import ACTIVATIONS
from tests.immersions.comparisons import assert_linearizes

N_POINTS, DIM = 5, 3


def drawn(*layers, seed=4):
    """A chain in evaluation mode, with all of its numbers drawn."""
    module = nn.Sequential(*layers).double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, part in (*module.named_parameters(), *module.named_buffers()):
        if part.is_floating_point():
            part.copy_(0.7 * torch.randn(part.shape, generator=generator))
            if name.endswith("running_var"):
                part.abs_().add_(0.1)
    return module


def smooth_net(n_outputs=4):
    return drawn(nn.Linear(DIM, 6), nn.Tanh(), nn.Linear(6, n_outputs), nn.SiLU())


def precision(zeta=1e-2):
    generator = torch.Generator().manual_seed(5)
    return RBFPrecision(
        torch.randn(7, DIM, generator=generator).double(),
        torch.rand(7, generator=generator).double() + 0.2,
        torch.rand(4, 7, generator=generator).double() + 0.1,
        zeta,
    )


def images():
    return drawn(
        nn.Linear(DIM, 8),
        nn.BatchNorm1d(8),
        nn.ELU(),
        nn.Unflatten(1, (2, 2, 2)),
        nn.ConvTranspose2d(2, 4, 3, stride=2, output_padding=1),
        nn.BatchNorm2d(4),
        nn.Sigmoid(),
        nn.Conv2d(4, 2, 2, stride=2),
        nn.Softplus(),
    )


DECODERS = {
    **{
        f"{name}": lambda act=act: drawn(nn.Linear(DIM, 6), act, nn.Linear(6, 4), act)
        for name, act in ACTIVATIONS.items()
    },
    "activation first": lambda: drawn(nn.Tanh(), nn.Linear(DIM, 4)),
    "linear": lambda: drawn(nn.Linear(DIM, 4)),
    "images": images,
    "precision": lambda: GaussianDecoder(smooth_net(), precision()).eval(),
    "high walls": lambda: GaussianDecoder(smooth_net(), precision(1e-6)).eval(),
    "two networks": lambda: GaussianDecoder(smooth_net(), drawn(nn.Linear(DIM, 2), nn.Softplus())),
}


def function_of(decoder):
    def function(z):
        out = decoder(z)
        parts = out if isinstance(out, tuple) else (out,)
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    return function


def draw(dim=DIM, n_outputs=4, seed=0):
    """Points, directions, variations of both, weights and covectors."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(4, N_POINTS, dim, generator=generator, dtype=torch.float64)
    weight = torch.rand(N_POINTS, generator=generator, dtype=torch.float64)
    return *rows, weight, torch.randn(N_POINTS, n_outputs, generator=generator).double()


@pytest.mark.parametrize("name", DECODERS)
def test_chains(name):
    decoder = DECODERS[name]()
    z, v, *_ = draw()
    moving = compile_immersion(decoder, DIM).linearize(z, v)
    assert not isinstance(moving, AutodiffLinearization)
    assert_linearizes(moving, function_of(decoder), z, v)


@pytest.mark.parametrize("name", DECODERS)
def test_condensed_chains_have_the_same_second_variation(name):
    decoder = DECODERS[name]()
    immersion = compile_immersion(decoder, DIM)
    z, v, dz, dv, weight, _ = draw()
    full, short = (
        part.linearize(z, v).quadratic(weight)(dz, dv)
        for part in (immersion, immersion.condensed())
    )
    for a, b in zip(full, short, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * float(a.abs().max()))


@pytest.mark.parametrize("forward_mode", [True, False], ids=["forward", "reverse"])
@pytest.mark.parametrize("name", ["tanh", "silu", "relu", "images", "precision", "linear"])
def test_autodiff(name, forward_mode):
    function = function_of(DECODERS[name]())
    z, v, *_ = draw()
    moving = AutodiffLinearization(function, z, v, forward_mode=forward_mode)
    assert_linearizes(moving, function, z, v)


@pytest.mark.parametrize("forward_mode", [True, False], ids=["forward", "reverse"])
@pytest.mark.parametrize("name", surfaces.SURFACES)
def test_surfaces_with_gradients_off(name, forward_mode):
    z, v = (part[:, :2] for part in draw()[:2])
    function = surfaces.SURFACES[name]
    immersion = surfaces.immersion_of(function, forward_mode=forward_mode)
    with torch.no_grad():
        assert_linearizes(immersion.linearize(z, v), function, z, v)


def test_any_immersion_linearizes():
    class Bare(AutodiffImmersion):
        linearize = Immersion.linearize

    z, v = (part[:, :2] for part in draw()[:2])
    assert_linearizes(Bare(surfaces.torus, 2).linearize(z, v), surfaces.torus, z, v)


@pytest.mark.parametrize("name", ["tanh", "elu", "softplus", "silu", "images", "precision"])
def test_products_are_derivatives_of_what_they_say(name):
    """By finite differences: of <q, dF(v)>, and of the quadratic model itself."""
    immersion = compile_immersion(DECODERS[name](), DIM)
    z, v, dz, dv, weight, _ = draw()
    moving, h = immersion.linearize(z, v), 1e-5
    covector = torch.cos(torch.arange(moving.pushed.numel())).double().view(N_POINTS, -1)
    slope = (immersion.push(z + h * dz, v + h * dv) - immersion.push(z - h * dz, v - h * dv)) / 2
    slope = slope / h
    gz, gv = moving.pull(covector)
    expected = (covector * slope).sum(1)
    torch.testing.assert_close((gz * dz + gv * dv).sum(1), expected, rtol=1e-6, atol=1e-7)
    value = immersion(z + h * dz) + immersion(z - h * dz) - 2.0 * immersion(z)
    expected = weight * (slope**2).sum(1) + (covector * value).sum(1) / h**2
    gz, gv = moving.quadratic(weight, covector)(dz, dv)
    torch.testing.assert_close((gz * dz + gv * dv).sum(1), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", DECODERS)
def test_float32(name):
    decoder = DECODERS[name]()
    z, v, dz, dv, weight, _ = draw()
    exact = compile_immersion(decoder, DIM).linearize(z, v)
    moving = compile_immersion(decoder.float(), DIM).linearize(z.float(), v.float())
    covector = torch.ones_like(exact.pushed)
    found = (
        moving.pushed,
        *moving.pull(covector.float()),
        *moving.quadratic(weight.float(), covector.float())(dz.float(), dv.float()),
    )
    expected = (
        exact.pushed,
        *exact.pull(covector),
        *exact.quadratic(weight, covector)(dz, dv),
    )
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


@pytest.mark.parametrize("kind", ["chain", "autodiff"])
def test_arguments_are_left_as_they_are(kind):
    decoder = DECODERS["precision"]()
    immersion = compile_immersion(decoder, DIM)
    given = draw(n_outputs=8)
    z, v, dz, dv, weight, covector = (part.clone() for part in given)
    if kind == "chain":
        moving = immersion.linearize(z, v)
    else:
        moving = AutodiffLinearization(function_of(decoder), z, v)
    moving.pull(covector)
    moving.quadratic(weight, covector)(dz, dv)
    for old, new in zip(given, (z, v, dz, dv, weight, covector), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("name", ["tanh", "precision", "images"])
def test_points_are_independent(name):
    immersion = compile_immersion(DECODERS[name](), DIM)
    z, v, dz, dv, weight, _ = draw()
    whole = immersion.linearize(z, v)
    covector = torch.cos(torch.arange(whole.pushed.numel())).double().view(N_POINTS, -1)
    together = whole.quadratic(weight, covector)(dz, dv)
    for k in range(N_POINTS):
        row = slice(k, k + 1)
        alone = immersion.linearize(z[row], v[row]).quadratic(weight[row], covector[row])
        for a, b in zip(alone(dz[row], dv[row]), together, strict=True):
            torch.testing.assert_close(a, b[row], rtol=1e-11, atol=1e-12)


def test_memory_grows_with_the_points():
    immersion = compile_immersion(DECODERS["precision"](), DIM)
    z, v, *_ = draw()
    moving = immersion.linearize(z, v), immersion.linearize(z.repeat(3, 1), v.repeat(3, 1))
    assert moving[1].nbytes == 3 * moving[0].nbytes > 0
    assert ChainLinearization(z, []).nbytes == 0


def test_softplus_past_its_threshold():
    """Torch has it linear there, in whatever precision is asked for."""
    decoder = drawn(nn.Linear(DIM, 6), nn.Softplus(threshold=1.0), nn.Linear(6, 4))
    z, v, *_ = draw()
    moving = compile_immersion(decoder, DIM).linearize(z, v)
    assert_linearizes(moving, function_of(decoder), z, v)
