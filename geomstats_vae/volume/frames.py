"""Orthonormal frames of tangent spaces: where normal coordinates come from.

A tangent vector v at a base point has normal coordinates w, v = sum_a w_a b_a, in a frame b_1 ...
b_dim of orthonormal vectors. What is computed in normal coordinates does not depend on the
coordinates of the space, if the frame does not. Here it does not: the first frame turns to the data
(`lead_by`), and later ones follow from it (`frame_at` with a previous frame).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from geomstats_vae.geometry.protocol import Floats, Geometry


@dataclass(frozen=True)
class TangentFrame:
    """An orthonormal frame at a point.

    Parameters
    ----------
    base : numpy.ndarray, shape=[n_features]
        Base point, in coordinates of the space.
    basis : numpy.ndarray, shape=[n_features, dim]
        Columns are orthonormal tangent vectors.
    dual : numpy.ndarray, shape=[dim, n_features]
        Rows give the inner products with them.
    """

    base: Floats
    basis: Floats
    dual: Floats

    @property
    def dim(self) -> int:
        """Dimension of the tangent space."""
        return self.basis.shape[1]

    def coordinates(self, vectors: Floats) -> Floats:
        """Take normal coordinates of tangent vectors.

        Parameters
        ----------
        vectors : numpy.ndarray, shape=[..., n_features]
            Tangent vectors at the base point.

        Returns
        -------
        coordinates : numpy.ndarray, shape=[..., dim]
            Their normal coordinates; the Euclidean norm of these is the Riemannian one.
        """
        return vectors @ self.dual.T

    def vectors(self, coordinates: Floats) -> Floats:
        """Tangent vectors of normal coordinates.

        Parameters
        ----------
        coordinates : numpy.ndarray, shape=[..., dim]
            Normal coordinates.

        Returns
        -------
        vectors : numpy.ndarray, shape=[..., n_features]
            Tangent vectors at the base point.
        """
        return coordinates @ self.basis.T

    def rotate(self, rotation: Floats) -> TangentFrame:
        """Take other axes.

        Parameters
        ----------
        rotation : numpy.ndarray, shape=[dim, dim]
            Columns are the new axes, in old normal coordinates.

        Returns
        -------
        frame : TangentFrame
            The frame of the new axes.
        """
        return TangentFrame(self.base, self.basis @ rotation, rotation.T @ self.dual)


def frame_at(
    geometry: Geometry, base: Floats, previous: TangentFrame | None = None
) -> TangentFrame:
    """Orthonormal frame at a point.

    Parameters
    ----------
    geometry : Geometry
        Geometry of a space whose points are vectors.
    base : numpy.ndarray, shape=[n_features]
        Base point.
    previous : TangentFrame, optional
        Frame at a point nearby. The frame at the base point is the one that differs least from it
        (Loewdin's orthonormalisation), so that both follow a change of coordinates alike. Without
        it, the axes of the space are orthonormalised.

    Returns
    -------
    frame : TangentFrame
        The frame.

    Raises
    ------
    ValueError
        If the metric is singular or not finite at the base point.
    """
    gram = geometry.metrics(base[None])[0]
    candidates = np.eye(len(base)) if previous is None else previous.basis
    if geometry.dim < len(base):
        candidates = geometry.to_tangent(candidates.T, base).T
    overlap = candidates.T @ gram @ candidates
    values, vectors = linalg.eigh(0.5 * (overlap + overlap.T), check_finite=False)
    values, vectors = values[-geometry.dim :], vectors[:, -geometry.dim :]
    if not (np.isfinite(values).all() and values[0] > np.finfo(float).eps * values[-1] > 0.0):
        raise ValueError(
            f"Expected a regular metric at {base}, got one of eigenvalues {values}; keep means "
            "where the decoder's outputs depend on all latent coordinates."
        )
    if candidates.shape[1] == geometry.dim:
        basis = candidates @ (vectors / np.sqrt(values)) @ vectors.T
    else:
        basis = candidates @ (vectors / np.sqrt(values))
    return TangentFrame(base, basis, basis.T @ gram)


def lead_by(frame: TangentFrame, coordinates: Floats) -> TangentFrame:
    """Turn a frame so that its axes are those that data lead to.

    The first axis points to the farthest row, the second to the row farthest from the first axis,
    and so on: QR factorisation with pivoting. Rows that are given in another frame, or in other
    coordinates of the space, lead to the same axes.

    Parameters
    ----------
    frame : TangentFrame
        Frame.
    coordinates : numpy.ndarray, shape=[n_rows, dim]
        Normal coordinates of the rows.

    Returns
    -------
    frame : TangentFrame
        The turned frame.
    """
    axes, triangle, _ = linalg.qr(coordinates.T, mode="full", pivoting=True)
    signs = np.ones(frame.dim)
    diagonal = np.diagonal(triangle)
    signs[: len(diagonal)] = np.where(diagonal < 0.0, -1.0, 1.0)
    return frame.rotate(axes * signs)


def along_coordinates(frame: TangentFrame) -> TangentFrame:
    """Turn a frame so that its axes are those that the coordinates of the space lead to.

    The first axis points along the first coordinate, the second lies in the plane of the first two,
    and so on: Gram-Schmidt orthonormalisation of the coordinates' axes. In an embedded space, as
    far as its tangent space permits.

    Parameters
    ----------
    frame : TangentFrame
        Frame.

    Returns
    -------
    frame : TangentFrame
        The turned frame.
    """
    triangle, axes = linalg.rq(frame.basis)
    signs = np.where(np.diagonal(triangle[-frame.dim :]) < 0.0, -1.0, 1.0)
    return frame.rotate(axes.T * signs)
