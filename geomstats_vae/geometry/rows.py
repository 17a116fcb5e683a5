"""Rows of numpy, and what geodesics between them come down to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from geomstats_vae.geodesics import GeodesicPath
from geomstats_vae.geometry.protocol import Bools, Floats, Ints


@dataclass(frozen=True)
class Ends:
    """What distances need of geodesics: no curves, which take most of the memory.

    Parameters
    ----------
    length : numpy.ndarray, shape=[n_pairs]
        Lengths.
    initial_velocity, final_velocity : numpy.ndarray, shape=[n_pairs, dim]
        Velocities at the ends.
    status : numpy.ndarray of int, shape=[n_pairs]
        Codes of `GeodesicStatus`.
    """

    length: Floats
    initial_velocity: Floats
    final_velocity: Floats
    status: Ints

    @classmethod
    def of(cls, path: GeodesicPath) -> Ends:
        """Leave the curves out."""
        return cls(path.length, path.initial_velocity, path.final_velocity, path.status)

    @property
    def known_length(self) -> Floats:
        """Lengths; infinite where there is none."""
        return np.where(np.isfinite(self.length), self.length, np.inf)

    @property
    def found(self) -> Bools:
        """Whether each geodesic was found."""
        return (self.status == 0) & np.isfinite(self.length)


@dataclass(frozen=True)
class Box:
    """Points whose coordinates are within bounds.

    Parameters
    ----------
    low, high : numpy.ndarray, shape=[dim]
        Bounds.
    """

    low: Floats
    high: Floats

    @classmethod
    def around(cls, codes: Floats | None, dim: int) -> Box:
        """Make the box of codes wider, at each side by the widest range of a coordinate.

        Parameters
        ----------
        codes : numpy.ndarray, shape=[n_codes, dim], or None
            Latent codes; without them the box is everything.
        dim : int
            Number of coordinates.

        Returns
        -------
        box : Box
            The box.
        """
        if codes is None:
            return cls(np.full(dim, -np.inf), np.full(dim, np.inf))
        low, high = codes.min(axis=0), codes.max(axis=0)
        width = (high - low).max() or np.inf
        return cls(low - width, high + width)

    def misses(self, points: Floats) -> Bools:
        """Tell which points lie outside, shape=[n_points]."""
        return np.asarray(((points < self.low) | (points > self.high)).any(axis=1))


def rows(*arrays: ArrayLike) -> tuple[Floats, ...]:
    """Make float64 rows of arrays, which broadcast against each other.

    Parameters
    ----------
    *arrays : array-like, shape=[n, n_features] or [n_features]
        Arrays.

    Returns
    -------
    rows : tuple of numpy.ndarray, shape=[n, n_features]
        Fresh rows in C order: torch refuses negative strides and warns of read-only arrays.
    """
    given = [np.atleast_2d(np.asarray(array, dtype=float)) for array in arrays]
    shape = np.broadcast_shapes(*(array.shape for array in given))
    return tuple(np.array(np.broadcast_to(array, shape), order="C") for array in given)


def host(tensor: torch.Tensor) -> Floats:
    """Copy a tensor to a float64 array, without its derivatives."""
    return tensor.detach().cpu().double().numpy()
