"""Derivatives of immersions by autodiff: both modes against closed forms and finite differences."""

import pytest
import torch
from torch.func import jacrev, vmap

from geomstats_vae.immersions.autodiff import AutodiffImmersion
from geomstats_vae.immersions.decoder import Decoder
from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.immersions.immersion import gram
from geomstats_vae.immersions.rbf import RBFPrecision
from tests import surfaces


def draw(n=4, dim=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z, v = torch.randn(2, n, dim, dtype=torch.float64, generator=generator)
    return z, v


@pytest.fixture(params=[True, False], ids=["forward", "reverse"])
def forward_mode(request):
    return request.param


def central(function, z, direction, h=1e-5):
    return (function(z + h * direction) - function(z - h * direction)) / (2.0 * h)


@pytest.mark.parametrize("name", surfaces.SURFACES)
def test_derivatives_equal_finite_differences(name, forward_mode):
    surface = surfaces.SURFACES[name]
    immersion = AutodiffImmersion(surface, 2, forward_mode=forward_mode)
    z, v = draw()
    value, tangents = immersion.jacobian(z)
    jet = immersion.jet(z, v)
    covector = torch.sin(torch.arange(value.numel(), dtype=z.dtype)).view(value.shape)
    hessian = jet.hessian(covector)
    torch.testing.assert_close(value, surface(z), rtol=0, atol=0)
    torch.testing.assert_close(immersion.push(z, v), torch.einsum("nk,nkp->np", v, tangents))
    torch.testing.assert_close(jet.tangents, tangents)
    torch.testing.assert_close(immersion.jet(z).tangents, tangents)
    assert immersion.jet(z).derivatives is None
    for k, e in enumerate(torch.eye(2, dtype=z.dtype)):
        torch.testing.assert_close(tangents[:, k], central(surface, z, e), rtol=1e-8, atol=1e-8)
        slope = central(lambda y: immersion.jacobian(y)[1], z, e)
        torch.testing.assert_close(
            jet.derivatives[:, k], torch.einsum("nk,nkp->np", v, slope), rtol=1e-7, atol=1e-7
        )
        torch.testing.assert_close(
            hessian[:, :, k], torch.einsum("np,nkp->nk", covector, slope), rtol=1e-7, atol=1e-7
        )


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("sphere", surfaces.sphere_metric),
        ("torus", surfaces.torus_metric),
        ("paraboloid", surfaces.paraboloid_metric),
        ("plane", lambda z: (surfaces.PLANE.T @ surfaces.PLANE).expand(len(z), 2, 2)),
        ("cylinder", lambda z: torch.eye(2, dtype=z.dtype).expand(len(z), 2, 2)),
    ],
)
def test_metric_is_the_closed_form(name, metric, forward_mode):
    z, _ = draw()
    immersion = AutodiffImmersion(surfaces.SURFACES[name], 2, forward_mode=forward_mode)
    torch.testing.assert_close(immersion.metric(z), metric(z), rtol=1e-12, atol=1e-12)


def test_gram_takes_leading_dimensions():
    rows = torch.randn(2, 5, 3, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gram(rows), torch.einsum("...ip,...jp->...ij", rows, rows))


@pytest.mark.parametrize("kind", ["deterministic", "gaussian", "rbf"])
def test_metric_is_the_sum_of_both_jacobians(kind):
    """M = J_mu' J_mu + J_sigma' J_sigma, by reverse mode on the caller's own module."""
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        mean = torch.nn.Sequential(
            torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 5), torch.nn.Sigmoid()
        )
        head = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.Softplus())
    rbf = RBFPrecision(
        torch.randn(6, 2, generator=generator).double(),
        torch.rand(6, generator=generator).double() + 0.3,
        torch.rand(5, 6, generator=generator).double() + 0.1,
        1e-2,
    )
    std = {"deterministic": None, "gaussian": head, "rbf": rbf}[kind]
    module = mean if std is None else GaussianDecoder(mean, std)
    module = module.double().eval()
    z, _ = draw(n=7)
    parts = [mean] if std is None else [mean, rbf.std if kind == "rbf" else head]
    jacobians = [vmap(jacrev(part))(z) for part in parts]
    expected = sum(jacobian.transpose(1, 2) @ jacobian for jacobian in jacobians).detach()
    metric = Decoder(module, 2).immersion().metric(z)
    error = (metric - expected).norm(dim=(1, 2)) / expected.norm(dim=(1, 2))
    assert error.max() < 1e-10


def test_rows_are_independent(forward_mode):
    immersion = AutodiffImmersion(surfaces.torus, 2, forward_mode=forward_mode)
    z, v = draw()
    jet = immersion.jet(z, v)
    for k in range(len(z)):
        alone = immersion.jet(z[k : k + 1], v[k : k + 1])
        torch.testing.assert_close(alone.derivatives[0], jet.derivatives[k])
        torch.testing.assert_close(alone.tangents[0], jet.tangents[k])


def test_float32_stays_float32(forward_mode):
    immersion = AutodiffImmersion(surfaces.sphere, 2, forward_mode=forward_mode)
    z, v = (part.float() for part in draw())
    jet = immersion.jet(z, v)
    assert jet.tangents.dtype == jet.derivatives.dtype == torch.float32
    assert jet.hessian(torch.ones(4, 3)).dtype == torch.float32
    torch.testing.assert_close(immersion.metric(z), surfaces.sphere_metric(z))
