"""Three latent spaces whose results can be checked: curved coordinates of a sphere and of a plane.

`SPHERE` has stereographic coordinates of the unit sphere, where geomstats' own `Hypersphere` and
great circles say what is right; `FLAT` has curved coordinates of a piece of the plane, where
averages and straight lines do; `VAE` is a VAE-like decoder, without closed forms.
"""

import numpy as np
import torch

from geomstats_vae.geodesics.solver import GeodesicSolver
from geomstats_vae.manifolds import LatentSpace
from tests import surfaces
from tests.manifolds import spaces
from tests.manifolds.spaces import host

BEND = torch.tensor([[0.6, 0.2], [-0.1, 0.5]], dtype=torch.float64)


def bent_plane(scale=1.0):
    """z -> scale tanh(A z), as layers, of which derivatives are fast."""
    bend, stretch = (torch.nn.Linear(2, 2, bias=False, dtype=torch.float64) for _ in range(2))
    bend.weight.data, stretch.weight.data = BEND, scale * torch.eye(2, dtype=torch.float64)
    return torch.nn.Sequential(bend, torch.nn.Tanh(), stretch).eval()


OPTIONS = {"solver": GeodesicSolver(tol=1e-12), "on_failure": "raise"}
SPHERE = LatentSpace(surfaces.sphere, 2, **OPTIONS)
FLAT = LatentSpace(bent_plane(), 2, **OPTIONS)
VAE = LatentSpace(spaces.vae_like_decoder(), 2, **OPTIONS)


def on_sphere(z):
    return surfaces.sphere(torch.as_tensor(host(z))).numpy()


def on_plane(z, scale=1.0):
    return scale * np.tanh(host(z) @ BEND.numpy().T)


def arc(a, b):
    """Lengths of great circles between codes of `SPHERE`."""
    return 2.0 * np.arcsin(0.5 * np.linalg.norm(on_sphere(a) - on_sphere(b), axis=-1))


def straight(a, b):
    """Lengths of straight lines between codes of `FLAT`."""
    return np.linalg.norm(on_plane(a) - on_plane(b), axis=-1)


def push_to_sphere(vector, z):
    """Tangent vectors of the sphere, of those at codes of `SPHERE`."""
    z, vector = np.broadcast_arrays(host(z), host(vector))
    return surfaces.sphere_push(torch.tensor(z), torch.tensor(vector)).numpy()


def push_to_plane(vector, z):
    """Tangent vectors of the plane, of those at codes of `FLAT`."""
    return (1.0 - on_plane(z) ** 2) * (host(vector) @ BEND.numpy().T)


def close(actual, expected, atol=1e-5):
    np.testing.assert_allclose(host(actual), host(expected), rtol=0.0, atol=atol)
