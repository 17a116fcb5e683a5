r"""What a diffusion needs to know of a metric: a frame, and the drift of Brownian motion.

With the columns s_a of a root of M^{-1}, :math:`M^{-1} = \sum_a s_a s_a'`, half the
Laplace-Beltrami operator is the generator of

.. math:: dz = \tfrac12 \sum_a a(z, s_a) dt + \sum_a s_a dW_a, \quad a(z, v) = -\Gamma(v, v),

in Ito's form ([1]_, example 3.3.5): the drift is the mean of the accelerations that the
exponential map integrates.

References
----------
.. [1] Hsu. "Stochastic Analysis on Manifolds." American Mathematical Society 2002.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from geomstats_vae.geodesics import positive_definite
from geomstats_vae.geodesics.table.frames import frames_at
from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.geometry.protocol import Bools, Floats, Geometry


class Coefficients(NamedTuple):
    """A metric at points; NaN where it is singular or not finite.

    Parameters
    ----------
    factor : numpy.ndarray, shape=[n_points, dim, dim]
        Cholesky factor L of the metric, M = L L'.
    root : numpy.ndarray, shape=[n_points, dim, dim]
        Columns s_a, an orthonormal frame: root = L'^{-1}, so that M^{-1} = root root'.
    drift : numpy.ndarray, shape=[n_points, dim]
        Drift of Brownian motion, -1/2 sum_a Gamma(s_a, s_a).
    roughness : numpy.ndarray, shape=[n_points]
        sum_abc (Gamma^c_ab)^2 in the frame, in units of one over squared distance. Over a distance
        r the metric changes by about r sqrt(roughness), relative to itself.
    """

    factor: Floats
    root: Floats
    drift: Floats
    roughness: Floats

    @property
    def regular(self) -> Bools:
        """Whether the metric is regular, shape=[n_points]."""
        return np.all(np.isfinite(self.root), axis=(1, 2)) & np.all(np.isfinite(self.drift), axis=1)

    @property
    def log_volume(self) -> Floats:
        """Logarithm of sqrt(det M), shape=[n_points]."""
        return np.log(self.factor.diagonal(axis1=1, axis2=2)).sum(axis=1)

    def take(self, rows: np.ndarray) -> Coefficients:
        """Coefficients at some of the points, by a mask or by indices."""
        return Coefficients(*(part[rows] for part in self))


def coefficients_at(
    geometry: Geometry, points: Floats, table: MetricTable | None = None
) -> Coefficients:
    """Evaluate a geometry's coefficients.

    Parameters
    ----------
    geometry : Geometry
        Geometry of a space in intrinsic coordinates.
    points : numpy.ndarray, shape=[n_points, dim]
        Points.
    table : MetricTable, optional
        Table of the geometry's metric. Where it knows the metric it is asked instead.

    Returns
    -------
    coefficients : Coefficients
        Coefficients at the points.
    """
    if table is None:
        return from_symbols(*geometry.connections(points))
    n, dim = points.shape
    found = Coefficients(
        np.empty((n, dim, dim)), np.empty((n, dim, dim)), np.empty((n, dim)), np.empty(n)
    )
    known = np.empty(n, dtype=bool)
    frames_at(table.tree, np.ascontiguousarray(points), *found, known)
    if not known.all():
        rest = from_symbols(*geometry.connections(points[~known]))
        for mine, theirs in zip(found, rest, strict=True):
            mine[~known] = theirs
    return found


@np.errstate(invalid="ignore", over="ignore")  # a walker stops where numbers are not finite
def from_symbols(metric: Floats, symbols: Floats) -> Coefficients:
    """Compute coefficients.

    Parameters
    ----------
    metric : numpy.ndarray, shape=[n_points, dim, dim]
        Metric matrices.
    symbols : numpy.ndarray, shape=[n_points, dim, dim, dim]
        Christoffel symbols of the first kind, M(Gamma(e_i, e_j), e_k), the index k first.

    Returns
    -------
    coefficients : Coefficients
        Coefficients at the points.
    """
    n, dim, _ = metric.shape
    factor = positive_definite.cholesky(torch.from_numpy(metric))
    eye = torch.eye(dim, dtype=factor.dtype).expand_as(factor)
    root = torch.linalg.solve_triangular(factor.mT, eye, upper=True).numpy()
    half = (symbols.reshape(n, -1, dim) @ root).reshape(n, dim, dim, dim)  # k, i, b
    framed = (half.swapaxes(2, 3).reshape(n, -1, dim) @ root).reshape(n, dim, -1)  # k, b a
    framed = root.swapaxes(1, 2) @ framed
    bend = framed[:, :, :: dim + 1].sum(axis=2)
    return Coefficients(
        factor=factor.numpy(),
        root=root,
        drift=-0.5 * times(root, bend),
        roughness=np.square(framed).sum(axis=(1, 2)),
    )


@np.errstate(invalid="ignore", over="ignore")
def times(matrix: Floats, vector: Floats) -> Floats:
    """Matrices times vectors, row by row, shape=[n, dim]."""
    return (matrix @ vector[:, :, None])[:, :, 0]
