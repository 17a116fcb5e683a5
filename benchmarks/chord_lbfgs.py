"""L-BFGS on the energy of chords, as people write it themselves around a torch decoder.

A curve is a chain of points; its energy is E = n/2 sum_i |F(x_{i+1}) - F(x_i)|^2 over its n chords.
The gradient is one backward pass of the decoder, and scipy's L-BFGS-B does the rest, pair by pair:
the 65 points of a curve are a batch that fills a core, so more curves at once gain nothing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch.distributions import Distribution

Embedding = Callable[[torch.Tensor], torch.Tensor]


def embedding(decoder: torch.nn.Module) -> Embedding:
    """Read F off a decoder without this package.

    Parameters
    ----------
    decoder : nn.Module
        Returns a tensor, a pair (mean, std), an object with ``reconstruction``, or a distribution,
        which its own ``likelihood`` embeds.

    Returns
    -------
    embed : callable
        Maps codes, shape=[n_points, dim], to rows of outputs.
    """

    def embed(z: torch.Tensor) -> torch.Tensor:
        out = decoder(z)
        if isinstance(out, Distribution):
            assert callable(decoder.likelihood)
            out = decoder.likelihood(out)
        parts = out if isinstance(out, tuple) else (getattr(out, "reconstruction", out),)
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    return embed


@dataclass(frozen=True)
class Iterate:
    """A curve on the way of the minimization.

    Parameters
    ----------
    n_iter : int
        Iterations that it was allowed.
    seconds : float
        Processor time until then, the choice of the start included.
    points : array, shape=[n_points, dim]
        The chain.
    """

    n_iter: int
    seconds: float
    points: np.ndarray

    def __call__(self, t: np.ndarray) -> np.ndarray:
        """Points at times in [0, 1], on straight pieces, shape=[n_times, dim]."""
        place = np.asarray(t) * (len(self.points) - 1)
        before = np.minimum(place.astype(int), len(self.points) - 2)
        share = (place - before)[:, None]
        return (1.0 - share) * self.points[before] + share * self.points[before + 1]


@dataclass(frozen=True)
class ChordLBFGS:
    """Minimizer of the energy of chords.

    Parameters
    ----------
    n_chords : int
        Chords of a curve.
    n_iter : sequence of int
        Numbers of iterations to report at; the last is where the minimization ends.
    ftol : float
        Relative decrease of the energy at which the minimization ends earlier.
    memory : int
        Pairs of vectors that approximate the Hessian.
    sines : bool
        Whether the unknowns are the coefficients of a sine series divided by their frequencies,
        instead of the points. In a space that is flat, all directions are then equally steep,
        however many points there are.
    """

    n_chords: int = 64
    n_iter: Sequence[int] = (15, 30, 60, 150, 300, 600)
    ftol: float = 1e-9
    memory: int = 20
    sines: bool = False

    def solve(self, embed: Embedding, starts: Sequence[np.ndarray]) -> list[Iterate]:
        """Shorten the best of several curves.

        Parameters
        ----------
        embed : callable
            The decoder's F.
        starts : sequence of array, shape=[n_vertices, dim]
            Polygons with the same ends.

        Returns
        -------
        iterates : list of Iterate
            One per number of iterations. One that was not needed repeats the last curve.
        """
        begin = time.process_time()
        curves = [self._spread(embed, vertices) for vertices in starts]
        curve = min(curves, key=lambda points: self._energy(embed, points)[0])
        basis = _sines(self.n_chords - 1) if self.sines else np.eye(self.n_chords - 1)
        found: list[Iterate] = []
        count = 0

        def points_of(x: np.ndarray) -> np.ndarray:
            points = curve.copy()
            points[1:-1] += basis @ x.reshape(len(basis), -1)
            return points

        def energy(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = self._energy(embed, points_of(x))
            return value, (basis.T @ gradient).ravel()

        def keep(x: np.ndarray) -> None:
            seconds = time.process_time() - begin
            found.append(Iterate(self.n_iter[len(found)], seconds, points_of(x)))

        def watch(x: np.ndarray) -> None:
            nonlocal count
            count += 1
            if count == self.n_iter[len(found)]:
                keep(x)
                if len(found) == len(self.n_iter):
                    raise StopIteration

        options = {"maxiter": 2 * self.n_iter[-1], "maxfun": 10 * self.n_iter[-1], "gtol": 0.0}
        options |= {"maxcor": self.memory, "ftol": self.ftol}
        guess = np.zeros(curve[1:-1].size)
        result = minimize(
            energy, guess, jac=True, method="L-BFGS-B", callback=watch, options=options
        )
        while len(found) < len(self.n_iter):
            keep(result.x)
        return found

    def _energy(self, embed: Embedding, points: np.ndarray) -> tuple[float, np.ndarray]:
        """Energy of a curve, and its gradient by the inner points."""
        inner = torch.tensor(points[1:-1], requires_grad=True)
        ends = torch.tensor(points[[0, -1]])
        value = embed(torch.cat((ends[:1], inner, ends[1:])))
        energy = 0.5 * self.n_chords * (value[1:] - value[:-1]).square().sum()
        (gradient,) = torch.autograd.grad(energy, inner)
        return float(energy.detach()), gradient.numpy()

    def _spread(self, embed: Embedding, vertices: np.ndarray) -> np.ndarray:
        """Put points on a polygon so that its chords are about equally long."""
        latent = np.linalg.norm(np.diff(vertices, axis=0), axis=1)
        places = np.concatenate(([0.0], np.cumsum(latent))) / latent.sum()
        even = np.linspace(0.0, 1.0, self.n_chords + 1)
        points = _interpolate(even, places, vertices)
        with torch.no_grad():
            value = embed(torch.as_tensor(points)).numpy()
        chords = np.linalg.norm(np.diff(value, axis=0), axis=1)
        arc = np.concatenate(([0.0], np.cumsum(chords))) / chords.sum()
        return _interpolate(np.interp(even, arc, even), places, vertices)


def _sines(size: int) -> np.ndarray:
    """Sine waves that vanish at both ends, divided by their frequencies, shape=[size, size]."""
    frequencies = np.arange(1, size + 1)
    waves = np.sin(np.pi * np.outer(frequencies, frequencies) / (size + 1))
    return waves / frequencies


def _interpolate(at: np.ndarray, places: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(at, places, column) for column in vertices.T], axis=1)
