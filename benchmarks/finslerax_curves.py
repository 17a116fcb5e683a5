"""Curves of finslerax, a peer in JAX: decoders ported to JAX, and its solver.

`pip install finslerax==1.1` brings JAX. The solver minimises the energy of a polyline, with the
metric of each segment taken at its start, by Newton's method on block-tridiagonal matrices. It
returns no flag of success: what its own test for an end says of its answers is asked here.
"""

import functools
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import torch
from finslerax.geometry import EuclideanSpace
from finslerax.models import PullbackRiemannian
from finslerax.solvers import GaussNewtonGeodesic
from torch import nn

from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.immersions.immersion import Immersion

Function = Callable[[jax.Array], jax.Array]

ACTIVATIONS = {
    nn.Tanh: jnp.tanh,
    nn.SiLU: jax.nn.silu,
    nn.ReLU: jax.nn.relu,
    nn.Sigmoid: jax.nn.sigmoid,
}


class JaxChain(eqx.Module):
    """F of a chain of linear layers and activations.

    Parameters
    ----------
    chain : nn.Sequential
        The chain.
    """

    layers: list[tuple[jax.Array, jax.Array] | Function]

    def __init__(self, chain: nn.Sequential) -> None:
        self.layers = [
            (_array(layer.weight), _array(layer.bias))
            if isinstance(layer, nn.Linear)
            else ACTIVATIONS[type(layer)]
            for layer in chain
        ]

    def __call__(self, z: jax.Array) -> jax.Array:
        """Evaluate F at one code, shape=[dim]; shape=[n_outputs]."""
        for layer in self.layers:
            z = layer[0] @ z + layer[1] if isinstance(layer, tuple) else layer(z)
        return z


class JaxDecoder(eqx.Module):
    """F, the mean and the standard deviation, of a decoder of linear layers and an RBF precision.

    Parameters
    ----------
    decoder : GaussianDecoder
        Its mean is a chain of linear layers and activations.
    """

    mean: JaxChain
    centers: jax.Array
    lambdas: jax.Array
    weights: jax.Array
    zeta: jax.Array

    def __init__(self, decoder: GaussianDecoder) -> None:
        self.mean = JaxChain(decoder.mean)
        precision = decoder.std
        for name in ("centers", "lambdas", "weights", "zeta"):
            setattr(self, name, _array(getattr(precision, name)))

    def __call__(self, z: jax.Array) -> jax.Array:
        """Evaluate F at one code, shape=[dim]; shape=[n_outputs]."""
        mean = self.mean(z)
        kernels = jnp.exp(-self.lambdas * jnp.square(z - self.centers).sum(axis=1))
        std = 1.0 / jnp.sqrt(self.weights @ kernels + self.zeta)
        return jnp.concatenate((mean, std))


def _array(tensor: torch.Tensor) -> jax.Array:
    return jnp.asarray(tensor.detach().numpy())


def ported(decoder: nn.Module, immersion: Immersion, codes: np.ndarray) -> JaxDecoder | JaxChain:
    """Port a decoder to JAX, in double precision.

    Parameters
    ----------
    decoder : nn.Module
        A chain of linear layers and activations, or such a mean with an RBF precision.
    immersion : Immersion
        Its F, to compare with.
    codes : array, shape=[n_codes, dim]
        Where to compare.

    Returns
    -------
    function : JaxDecoder or JaxChain
        F.

    Raises
    ------
    TypeError
        If it is another decoder.
    RuntimeError
        If it differs from the immersion by more than rounding.
    """
    mean = decoder.mean if isinstance(decoder, GaussianDecoder) else decoder
    known = (nn.Linear, *ACTIVATIONS)
    if not (isinstance(mean, nn.Sequential) and all(isinstance(part, known) for part in mean)):
        raise TypeError("only chains of linear layers are ported to JAX")
    function = JaxChain(decoder) if mean is decoder else JaxDecoder(decoder)
    expected = immersion(torch.as_tensor(codes)).detach().numpy()
    found = np.asarray(jax.vmap(function)(jnp.asarray(codes)))
    difference = np.abs(found - expected).max()
    if not difference <= 1e-10 * np.abs(expected).max():
        raise RuntimeError(f"Expected the same decoder in JAX, got one that is {difference} off.")
    return function


class FinslerGeodesics:
    """finslerax' Gauss-Newton solver on a decoder.

    Parameters
    ----------
    function : JaxDecoder or JaxChain
        F.
    dim : int
        Dimension of the latent space.
    n_segments : int
        Segments of each polyline.
    iterations : int
        Most steps.
    """

    def __init__(self, function: JaxDecoder, dim: int, n_segments: int, iterations: int) -> None:
        self.n_segments = n_segments
        self._metric = PullbackRiemannian(EuclideanSpace(dim), function)
        self._solver = GaussNewtonGeodesic(iterations=iterations)
        self._run = jax.jit(self._solve)
        self._norm = jax.jit(self._gradient_norm)

    def _solve(self, start: jax.Array, end: jax.Array, path: jax.Array) -> jax.Array:
        options = {"n_steps": self.n_segments, "init_path": path, "train_mode": False}
        return self._solver.solve(self._metric, start, end, **options).xs

    def _gradient_norm(self, nodes: jax.Array) -> jax.Array:
        def energy(inner: jax.Array) -> jax.Array:
            points = jnp.concatenate((nodes[:1], inner, nodes[-1:]))
            return jax.vmap(self._metric.energy)(points[:-1], jnp.diff(points, axis=0)).sum()

        return jnp.linalg.norm(jax.grad(energy)(nodes[1:-1]))

    def solve(self, paths: Sequence[np.ndarray]) -> np.ndarray:
        """Find geodesics, one after the other.

        Parameters
        ----------
        paths : sequence of array, shape=[n_segments + 1, dim]
            Where to start.

        Returns
        -------
        nodes : array, shape=[n_pairs, n_segments + 1, dim]
            Nodes of the polylines, not finite where the solver is lost.
        """
        return np.stack([np.asarray(self._run(path[0], path[-1], path)) for path in paths])

    def ended(self, nodes: np.ndarray) -> bool:
        """Whether the norm of the energy's gradient is below the solver's ``tol``, 1e-8."""
        return bool(self._norm(nodes) <= self._solver.tol)


class Polyline:
    """The polyline through nodes, shape=[n_nodes, dim], at equal times in [0, 1]."""

    def __init__(self, nodes: np.ndarray) -> None:
        self.nodes = nodes

    def __call__(self, times: np.ndarray) -> np.ndarray:
        """Points, shape=[n_times, dim]."""
        at = np.linspace(0.0, 1.0, len(self.nodes))
        return np.stack([np.interp(times, at, column) for column in self.nodes.T], axis=1)


def straight(start: np.ndarray, end: np.ndarray, n_segments: int) -> np.ndarray:
    """Straight lines, shape=[n_pairs, n_segments + 1, dim]."""
    share = np.linspace(0.0, 1.0, n_segments + 1)[:, None]
    return start[:, None] + share * (end - start)[:, None]


def along(path: np.ndarray, immersion: Immersion, n_segments: int) -> np.ndarray:
    """Points on a polyline, equally far apart in the decoder's metric.

    Parameters
    ----------
    path : array, shape=[n_vertices, dim]
        The polyline.
    immersion : Immersion
        F.
    n_segments : int
        Number of points, less one.

    Returns
    -------
    points : array, shape=[n_segments + 1, dim]
        The points.
    """
    with torch.no_grad():
        value = immersion(torch.as_tensor(path))
        length = value.diff(dim=0).norm(dim=1).cumsum(0).numpy()
    length = np.concatenate(([0.0], length))
    at = functools.partial(np.interp, np.linspace(0.0, length[-1], n_segments + 1), length)
    return np.stack([at(column) for column in path.T], axis=1)
