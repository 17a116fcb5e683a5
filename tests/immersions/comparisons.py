"""Derivatives of an immersion against another's, and against those of torch."""

import torch
from torch.func import jacrev, vmap


def draw(n_points, dim, seed=0):
    """Points and directions."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, n_points, dim, dtype=torch.float64, generator=generator)


def covectors(value):
    return torch.cos(torch.arange(value.numel(), dtype=value.dtype)).view(value.shape)


def assert_same_derivatives(immersion, reference, z, v, rtol=1e-10):
    """Value, Jacobian, pushforward, jets, Hessians and metric."""

    def same(a, b):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol)

    value = immersion(z)
    same(value, reference(z))
    for a, b in zip(immersion.jacobian(z), reference.jacobian(z), strict=True):
        same(a, b)
    same(immersion.push(z, v), reference.push(z, v))
    jet, expected = immersion.jet(z, v), reference.jet(z, v)
    same(jet.tangents, expected.tangents)
    same(jet.derivatives, expected.derivatives)
    covector = covectors(value)
    hessian = expected.hessian(covector)
    same(jet.hessian(covector), hessian)
    # Hessians may be asked for again, and without a direction.
    same(jet.hessian(2.0 * covector), 2.0 * hessian)
    bare = immersion.jet(z)
    assert bare.derivatives is None
    same(bare.tangents, expected.tangents)
    same(bare.hessian(covector), hessian)
    same(immersion.metric(z), reference.metric(z))
    same(immersion.condensed().metric(z), reference.metric(z))
    assert immersion.n_outputs == value.shape[1]


def derivatives(function, z):
    """Jacobians [n_points, n_outputs, dim] and second derivatives [..., dim, dim], by torch."""

    def single(point):
        return function(point[None])[0]

    return vmap(jacrev(single))(z), vmap(jacrev(jacrev(single)))(z)


def assert_linearizes(moving, function, z, v, rtol=1e-9):
    """Pullbacks and second variations."""
    dz, dv = draw(*z.shape, seed=1).to(z)
    weight = torch.linspace(0.1, 1.0, len(z)).to(z)
    first, second = derivatives(function, z)
    covector = covectors(first[..., 0])
    change_of_slope = torch.einsum("npij,nj->npi", second, v)

    def same(actual, expected):
        torch.testing.assert_close(
            actual, expected, rtol=rtol, atol=rtol * float(first.abs().max())
        )
        assert not actual.requires_grad

    same(moving.pushed, torch.einsum("npi,ni->np", first, v))
    for found, matrix in zip(moving.pull(covector), (change_of_slope, first), strict=True):
        same(found, torch.einsum("np,npi->ni", covector, matrix))
    change = torch.einsum("npi,ni->np", first, dv) + torch.einsum("npi,ni->np", change_of_slope, dz)
    hessian = torch.einsum("np,npij,nj->ni", covector, second, dz)
    for q in (None, covector):
        product = moving.quadratic(weight, q)
        for scale in (1.0, -2.0):  # a product may be asked for again
            gz, gv = product(scale * dz, scale * dv)
            curved = 0.0 if q is None else hessian
            pulled = torch.einsum("np,npi->ni", weight[:, None] * change, change_of_slope)
            same(gz, scale * (pulled + curved))
            same(gv, scale * torch.einsum("np,npi->ni", weight[:, None] * change, first))
    assert moving.nbytes >= 0
