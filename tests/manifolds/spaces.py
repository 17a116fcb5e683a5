"""Latent spaces that the tests share, and arrays of either backend."""

import os

import geomstats.backend as gs
import numpy as np
import pytest
import torch

from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.geodesics.solver import GeodesicSolver
from geomstats_vae.immersions.decoder import Decoder
from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.immersions.rbf import RBFPrecision
from geomstats_vae.manifolds import LatentSpace
from tests import surfaces

ON_TORCH = os.environ.get("GEOMSTATS_BACKEND") == "pytorch"
# For long tests of what lies within the border; quicker ones show that pytorch crosses it.
on_numpy_alone = pytest.mark.skipif(ON_TORCH, reason="does not depend on the backend")
TIGHT = {
    "solver": GeodesicSolver(tol=1e-12),
    "exponential": ExponentialSolver(rtol=1e-10, atol=1e-12),
}


def array(values):
    """An array of the backend."""
    return gs.from_numpy(np.asarray(values, dtype=float))


def host(values):
    return values.detach().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def draw(*shape, seed=0, scale=1.0, shift=0.0):
    return shift + scale * np.random.default_rng(seed).standard_normal(shape)


def coarse_space(decoder, codes, grid_size=64, **options):
    """A space that knows codes, by a graph that is built and searched in a moment."""
    dim = np.shape(codes)[1]
    graph = LatentGraph(Decoder(decoder, dim).immersion(), codes, grid_size=grid_size)
    return LatentSpace(decoder, dim, points=array(codes), graph=graph, **options)


def network(dim=2, n_outputs=5):
    rng = np.random.default_rng(1)
    layers = (torch.nn.Linear(dim, 8), torch.nn.Tanh(), torch.nn.Linear(8, n_outputs))
    module = torch.nn.Sequential(*layers).double().eval()
    for parameter in module.parameters():
        # Not torch's own draw, which depends on the default type, and so on the backend.
        parameter.data = torch.from_numpy(0.5 * rng.standard_normal(parameter.shape))
    return module


def vae_like_decoder(dim=2, n_outputs=5):
    """A network's mean and an RBF precision: what a trained VAE gives."""
    rng = np.random.default_rng(2)
    n_centers = 6
    precision = RBFPrecision(
        centers=torch.from_numpy(rng.standard_normal((n_centers, dim))),
        lambdas=torch.full((n_centers,), 0.5, dtype=torch.float64),
        weights=torch.from_numpy(rng.uniform(0.5, 2.0, (n_outputs, n_centers))),
        zeta=torch.tensor(0.5, dtype=torch.float64),
    )
    return GaussianDecoder(network(dim, n_outputs), precision).double().eval()


def pseudosphere(z):
    """The half-plane model of the hyperbolic plane, where y > 1: M = 1 / y^2."""
    x, y = z.unbind(-1)
    height = torch.acosh(y) - torch.sqrt(y * y - 1.0) / y
    return torch.stack((x.cos() / y, x.sin() / y, height), dim=-1)


def hyperbolic_distance(start, end):
    square = ((end - start) ** 2).sum(-1)
    return torch.acosh(1.0 + 0.5 * square / (start[..., 1] * end[..., 1]))


# Decoder, distance, and where points lie: shift and scale of normal noise.
EXACT = {
    "plane": (surfaces.plane, surfaces.plane_distance, (0.0, 0.0), 1.0),
    "sphere": (surfaces.sphere, surfaces.sphere_distance, (0.0, 0.0), 0.5),
    "spherical": (surfaces.spherical, surfaces.spherical_distance, (1.5, 0.0), 0.2),
    "cylinder": (surfaces.cylinder, surfaces.cylinder_distance, (0.0, 0.0), 0.6),
    "swiss_roll": (surfaces.swiss_roll, surfaces.swiss_roll_distance, (6.0, 0.0), 0.7),
    "hyperbolic": (pseudosphere, hyperbolic_distance, (0.0, 3.0), 0.4),
}


def exact_space(name, n_pairs=4):
    """Space, pairs of points, and their distances in closed form."""
    surface, distance, shift, scale = EXACT[name]
    start, end = draw(2, n_pairs, 2, scale=scale, shift=np.array(shift))
    space = LatentSpace(surface, 2, on_failure="raise", **TIGHT)
    return space, array(start), array(end), host(distance(*map(torch.from_numpy, (start, end))))


def dump(path):
    """Save what both backends must agree on."""
    metric = LatentSpace(vae_like_decoder(), 2, on_failure="raise").metric
    start, end = array(draw(5, 2, scale=0.6)), array(draw(5, 2, scale=0.6, seed=1))
    local = ("metric_matrix", "cometric_matrix", "christoffels", "riemann_tensor")
    local += ("inner_product_derivative_matrix", "volume_density")
    results = {name: getattr(metric, name)(start) for name in local}
    results["dist"] = metric.dist(start, end)
    results["pairwise"] = metric.dist_pairwise(start)
    results["log"] = metric.log(end, start)
    results["exp"] = metric.exp(end - start, start)
    results["geodesic"] = metric.geodesic(start, end)(array([0.0, 0.3, 1.0]))
    np.savez(path, **{name: host(value) for name, value in results.items()})
