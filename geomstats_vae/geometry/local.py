"""Local geometry of an immersion: metric, its derivatives and curvature, on tensors.

With J the Jacobian of F: M = J'J; the Christoffel symbols of the first kind are <d^2 F_ij, J_k>;
the curvature follows from the second fundamental form by Gauss' equation ([1]_, Theorem 8.5).
Where the metric is singular, what needs its inverse is NaN at that point only.

References
----------
.. [1] Lee. "Introduction to Riemannian Manifolds." 2nd edition, Springer 2018.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch

from geomstats_vae.geodesics import positive_definite
from geomstats_vae.geodesics.flow.systems import derivatives
from geomstats_vae.immersions.immersion import Immersion, Jet, gram

# Takes the immersion and points, shape=[n_points, dim]; returns one row per point.
LocalFunction = Callable[[Immersion, torch.Tensor], torch.Tensor]

# Bounds the memory of a map of many points; larger chunks are no faster.
CHUNK_SIZE = 512
# Entries of F's values at the points of a chunk, where few outputs let chunks be larger.
_CHUNK_ENTRIES = 2**18


def chunk_size(immersion: Immersion) -> int:
    """Count the points whose second derivatives are evaluated at once.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.

    Returns
    -------
    size : int
        Number of points: more where F has few outputs.
    """
    return max(CHUNK_SIZE, _CHUNK_ENTRIES // immersion.n_outputs)


def evaluate(function: LocalFunction, immersion: Immersion, z: torch.Tensor) -> torch.Tensor:
    """Evaluate a function of points in chunks of bounded memory.

    Parameters
    ----------
    function : callable
        Takes the immersion and points, shape=[n_chunk, dim]; returns one row per point.
    immersion : Immersion
        The decoder's F.
    z : torch.Tensor, shape=[n_points, dim]
        Latent codes.

    Returns
    -------
    values : torch.Tensor, shape=[n_points, ...]
        All rows.
    """
    if not len(z):
        # Not every decoder takes an empty batch; a row of one point knows the result's shape.
        return function(immersion, z.new_zeros(1, z.shape[1]))[:0]
    return torch.cat([function(immersion, part) for part in z.split(CHUNK_SIZE)])


def metric_matrix(immersion: Immersion, z: torch.Tensor) -> torch.Tensor:
    """Metric matrix M = J'J, symmetric and positive semi-definite, shape=[n_points, dim, dim]."""
    return immersion.metric(z)


def cometric_matrix(immersion: Immersion, z: torch.Tensor) -> torch.Tensor:
    """Inverse of the metric matrix, shape=[n_points, dim, dim]; NaN where it is singular."""
    metric = immersion.metric(z)
    eye = torch.eye(metric.shape[-1], dtype=z.dtype, device=z.device)
    return positive_definite.solve(metric, eye.expand_as(metric))


def volume_density(immersion: Immersion, z: torch.Tensor) -> torch.Tensor:
    """Volume density sqrt(det M), Riemannian volume per latent volume, shape=[n_points].

    From the triangular factor of J, whose condition is the root of the metric's: exact zeros and
    thin volumes survive that a determinant of M would lose to rounding.
    """
    columns = immersion.jacobian(z)[1].transpose(-1, -2)
    if columns.shape[1] < columns.shape[2]:  # fewer outputs than latent dimensions
        return columns.sum(dim=(1, 2)) * 0.0
    triangle = torch.linalg.qr(columns).R
    return triangle.diagonal(dim1=-2, dim2=-1).prod(dim=-1).abs()


# Functions that need no second derivatives.
OF_FIRST_DERIVATIVES = (metric_matrix, cometric_matrix, volume_density)


def _first_kind(jet: Jet) -> torch.Tensor:
    """Christoffel symbols of the first kind <d^2F_ij, J_k>, shape=[n, k, i, j]."""
    return torch.stack([jet.hessian(tangent) for tangent in jet.tangents.unbind(1)], dim=1)


def _connection(jet: Jet) -> tuple[torch.Tensor, torch.Tensor]:
    return gram(jet.tangents), _first_kind(jet)


def connections(immersion: Immersion, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Metric matrices, and Christoffel symbols of the first kind.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    z : torch.Tensor, shape=[n_points, dim]
        Latent codes.

    Returns
    -------
    metric : torch.Tensor, shape=[n_points, dim, dim]
        Metric matrices.
    symbols : torch.Tensor, shape=[n_points, dim, dim, dim]
        Symbols <d_i d_j F, d_k F>, the index k first.
    """
    if not len(z):
        metric, symbols = connections(immersion, z.new_zeros(1, z.shape[1]))
        return metric[:0], symbols[:0]
    size = CHUNK_SIZE if len(z) <= CHUNK_SIZE else chunk_size(immersion)
    parts = [_connection(immersion.jet(part)) for part in z.split(size)]
    if len(parts) == 1:
        return parts[0]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def christoffels(immersion: Immersion, z: torch.Tensor) -> torch.Tensor:
    """Christoffel symbols Gamma^k_ij, the upper index first, shape=[n_points, dim, dim, dim].

    NaN where the metric is singular.
    """
    jet = immersion.jet(z)
    first = _first_kind(jet)
    return positive_definite.solve(gram(jet.tangents), first.flatten(2)).view_as(first)


def metric_derivative(immersion: Immersion, z: torch.Tensor) -> torch.Tensor:
    """Return d_k M_ij of the metric matrix, index k last, shape=[n_points, dim, dim, dim]."""
    first = _first_kind(immersion.jet(z))
    return first.permute(0, 3, 1, 2) + first.permute(0, 1, 3, 2)


def christoffel_derivative(immersion: Immersion, z: torch.Tensor) -> torch.Tensor:
    """Return d_l Gamma^k_ij, derivatives of the Christoffel symbols, index k first and l last.

    Shape=[n_points, dim, dim, dim, dim]; NaN where the metric is singular.

    With C the symbols of the first kind, M Gamma = C, so M d Gamma = d C - d M Gamma.
    """
    n_points, dim = z.shape
    record = torch.is_grad_enabled()
    with torch.enable_grad():
        z = z if z.requires_grad else z.detach().requires_grad_()
        jet = immersion.jet(z)
        first, metric = _first_kind(jet), gram(jet.tangents)
        slopes: dict[tuple[int, int, int], torch.Tensor] = {}
        for k, i, j in itertools.product(range(dim), repeat=3):
            # The sum over points has the derivative of each in its row.
            slopes[k, i, j] = slopes[k, j, i] if j < i else _slope(first[:, k, i, j], z, record)
        slope = torch.stack(list(slopes.values()), dim=1).view(n_points, dim, dim, dim, dim)
    metric_slope = first.permute(0, 3, 1, 2) + first.permute(0, 1, 3, 2)
    gamma = positive_definite.solve(metric, first.flatten(2)).view_as(first)
    right = slope - torch.einsum("nkml,nmij->nkijl", metric_slope, gamma)
    solved = positive_definite.solve(metric, right.flatten(2)).view_as(right)
    return solved if record else solved.detach()


def _slope(values: torch.Tensor, z: torch.Tensor, record: bool) -> torch.Tensor:
    """Differentiate values of points by these points; zero where they do not depend on them."""
    if not values.requires_grad:
        return torch.zeros_like(z)
    (slope,) = torch.autograd.grad(
        values.sum(), z, create_graph=record, retain_graph=True, allow_unused=True
    )
    return torch.zeros_like(z) if slope is None else slope


def riemann_tensor(immersion: Immersion, z: torch.Tensor) -> torch.Tensor:
    """Curvature tensor R_ijk^l with R(e_j, e_k) e_i = R_ijk^l e_l; NaN where M is singular.

    Shape=[n_points, dim, dim, dim, dim], in geomstats' order of indices. By Gauss' equation,
    <R(X, Y) Z, W> = <B(X, W), B(Y, Z)> - <B(X, Z), B(Y, W)> with the second fundamental form B, the
    normal part of d^2 F.
    """
    n_points, dim = z.shape
    metric, products = _second_form_products(immersion, z)
    lowered = torch.einsum("njmki->nijkm", products) - torch.einsum("njikm->nijkm", products)
    raised = positive_definite.solve(metric, lowered.reshape(n_points, -1, dim).transpose(1, 2))
    return raised.transpose(1, 2).reshape(n_points, dim, dim, dim, dim)


def riemann_derivative(
    immersion: Immersion, z: torch.Tensor, direction: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Riemann tensor and its derivative along directions, by coordinates, shape=[n, dim^4] each.

    Two reverse passes make a forward one: the gradient of <u, R> is linear in u.
    """
    record = torch.is_grad_enabled()
    with torch.enable_grad():
        z = z if z.requires_grad else z.detach().requires_grad_()
        riemann = riemann_tensor(immersion, z)
        dual = torch.zeros_like(riemann, requires_grad=True)
        options = {"create_graph": True, "allow_unused": True}
        if riemann.requires_grad:
            (slope,) = torch.autograd.grad(riemann, z, dual, **options)
            (along,) = torch.autograd.grad(slope, dual, direction, create_graph=record)
        else:
            along = torch.zeros_like(riemann)
    return (riemann, along) if record else (riemann.detach(), along.detach())


def curvature_derivative(
    immersion: Immersion,
    z: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    d: torch.Tensor,
) -> torch.Tensor:
    """Covariant derivative (nabla_a R)(b, c) d of the curvature, shape=[n, dim].

    With constant components b, c and d, nabla_a b is Gamma(a, b), and so on.
    """
    gamma = christoffels(immersion, z)
    riemann, slope = riemann_derivative(immersion, z, a)

    def turn(vector: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nkij,ni,nj->nk", gamma, a, vector)

    def curve(
        tensor: torch.Tensor, x: torch.Tensor, y: torch.Tensor, w: torch.Tensor
    ) -> torch.Tensor:
        return torch.einsum("nijkl,nj,nk,ni->nl", tensor, x, y, w)

    moved = curve(riemann, turn(b), c, d) + curve(riemann, b, turn(c), d)
    moved = moved + curve(riemann, b, c, turn(d))
    return curve(slope, b, c, d) + turn(curve(riemann, b, c, d)) - moved


def gaussian_curvature(immersion: Immersion, z: torch.Tensor) -> torch.Tensor:
    """Gaussian curvature of a surface, by the equation of Gauss, shape=[n_points].

    The sectional curvature of the only plane there is, in units of one over squared data distance;
    NaN where the metric is singular. ValueError in another dimension than 2.
    """
    if immersion.dim != 2:
        raise ValueError(
            "Expected a latent space of dimension 2 for the Gaussian curvature, got dimension "
            f"{immersion.dim}; sectional_curvature and scalar_curvature have any."
        )
    metric, products = _second_form_products(immersion, z)
    bend = products[:, 0, 0, 1, 1] - products[:, 0, 1, 0, 1]
    factor = positive_definite.cholesky(metric)
    return bend / factor.diagonal(dim1=1, dim2=2).prod(dim=1) ** 2


def _second_form_products(
    immersion: Immersion, z: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Metric, and inner products <B(e_j, e_k), B(e_l, e_m)> of the second fundamental form B."""
    n_points, dim = z.shape
    eye = torch.eye(dim, dtype=z.dtype, device=z.device)
    jets = [immersion.jet(z, direction.expand_as(z)) for direction in eye]
    tangents = jets[0].tangents
    second = torch.cat([derivatives(jet) for jet in jets], dim=1)
    metric = gram(tangents)
    along = positive_definite.solve(metric, tangents @ second.transpose(1, 2))
    normal = second - along.transpose(1, 2) @ tangents
    return metric, gram(normal).view(n_points, dim, dim, dim, dim)
