"""The search for Frechet means: few and loose geodesics first, exact ones at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeGuard

import numpy as np
import torch

from geomstats_vae.estimators.assignment import Labels
from geomstats_vae.estimators.base import between_steps, valleys_move
from geomstats_vae.estimators.frechet import (
    NEWTON_DIM,
    FrechetMeans,
    frechet_steps,
    newton_ahead,
)
from geomstats_vae.estimators.seeding import gather
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.fans import (
    FIRST_STAGE,
    LAST_STAGES,
    ROUGH_STAGE,
    descend_fans,
    fans_of,
    keep_fans,
    look_around,
)
from geomstats_vae.geometry.protocol import Floats, Geometry, KeptCurves, no_curves
from geomstats_vae.geometry.rows import host
from geomstats_vae.immersions.immersion import gram

# The first geodesics: their tolerance, and the residual relative to the spread up to which they
# serve. Averages of logarithms are right to about a tenth of the tolerance.
_LOOSE_TOL, _LOOSE_RESIDUAL = 1e-3, 1e-3
# The residuals before Newton steps whose ends are not looked at, by a table.
_NEAR, _NEARER = 3e-3, 3e-4
# Tolerance of the last geodesics, in units of that of the mean, and between these.
_SHARE, _FINEST = 0.1, 1e-6
# Steps to the first mean, and images that are taken at once.
_IMAGE_STEPS, _CHUNK = 20, 256
# Points whose curves descend at once, about; as many stand for the points of a larger group.
_POINTS = 1000


def search_means(
    geometry: Geometry,
    X: Floats,
    labels: Labels,
    weights: Floats,
    start: Floats,
    *,
    rtol: float,
    max_iter: int,
    guess: KeptCurves | None = None,
) -> Iterator[FrechetMeans]:
    """Descend to Frechet means of groups, from loose geodesics to exact ones.

    Parameters
    ----------
    geometry : Geometry
        Finds and follows geodesics.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    labels : numpy.ndarray of int, shape=[n_samples]
        Groups of the points.
    weights : numpy.ndarray, shape=[n_samples]
        Nonnegative weights.
    start : numpy.ndarray, shape=[n_groups, n_features]
        Where each mean starts.
    rtol : float
        Residual at which a mean is found, relative to the root of its variance.
    max_iter : int
        Largest number of steps tried.
    guess : numpy.ndarray of object, shape=[n_samples], optional
        Curves from the starts, or from points near them; see `Geometry.logs`.

    Yields
    ------
    means : FrechetMeans
        The best so far; `converged` only where the geodesics are as exact as `rtol` asks for.
    """
    n_before, stages, newton = 0, _stages(geometry, rtol), geometry.dim <= NEWTON_DIM
    for number, (working, share, afresh) in enumerate(stages):
        last = number == len(stages) - 1
        steps = frechet_steps(
            working,
            X,
            labels,
            weights,
            start,
            guess=None if afresh else guess,
            rtol=share,
            max_iter=max_iter - n_before,
            newton=newton,
        )
        for means in steps:
            found = means.converged & last
            yield means._replace(converged=found, n_iter=n_before + means.n_iter)
        start, guess = means.points, means.geodesics.curves
        n_before += means.n_iter
        if not last and newton and n_before < max_iter and _by_table(working):
            # The step squares a small residual. Whether it did is seen in the next stage.
            start, n_before = newton_ahead(working, labels, weights, means), n_before + 1


def _stages(geometry: Geometry, rtol: float) -> list[tuple[Geometry, float, bool]]:
    """Geometries to descend by one after the other, residuals, and whether all curves are new.

    Geodesics are loose at first. By a table the mean is then found in its metric, and at last in
    that of the decoder.
    """
    exact = geometry.with_tol(min(_LOOSE_TOL, max(_SHARE * rtol, _FINEST)))
    if geometry.bounds is None or rtol >= _LOOSE_RESIDUAL:
        return [(exact, rtol, False)]
    loose = geometry.with_tol(_LOOSE_TOL)
    if not _by_table(geometry):
        return [(loose, _LOOSE_RESIDUAL, False), (exact, rtol, valleys_move(geometry))]
    # Between steps curves stay in their valleys: once more all valleys are looked at.
    rough, fine = between_steps(loose), between_steps(exact)
    finer = max(rtol, _NEARER)
    return [(rough, _NEAR, False), (fine, finer, True), (exact, rtol, False)]


def _by_table(geometry: Geometry) -> TypeGuard[DecoderGeometry]:
    return isinstance(geometry, DecoderGeometry) and geometry.tabulated


def near_means(
    geometry: DecoderGeometry, X: Floats, labels: Labels, weights: Floats, start: Floats
) -> tuple[Floats, KeptCurves]:
    """Descend next to Frechet means of groups without a geodesic.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of a latent space of many dimensions.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    labels : numpy.ndarray of int, shape=[n_samples]
        Groups of the points.
    weights : numpy.ndarray, shape=[n_samples]
        Nonnegative weights.
    start : numpy.ndarray, shape=[n_groups, n_features]
        Where each mean starts; that of a group without weight stays there.

    Returns
    -------
    means : numpy.ndarray, shape=[n_groups, n_features]
        Points next to the means; see `descend_fans`.
    guess : numpy.ndarray of object, shape=[n_samples]
        Curves from the means to the points, not certified; None of some.

    Raises
    ------
    OutOfTimeError
        If the geometry's deadline passes.
    """
    means, guess = start.copy(), no_curves(len(X))
    sizes = np.cumsum(np.bincount(labels, minlength=len(start)))
    for block in np.split(np.arange(len(start)), np.flatnonzero(np.diff(sizes // _POINTS)) + 1):
        rows = np.flatnonzero(np.isin(labels, block) & (weights > 0.0))
        if not len(rows):
            continue
        points, mass, group = X[rows], weights[rows], labels[rows] - block[0]
        several = len(block) > 1 or len(rows) <= _POINTS
        if not several:  # fewer points stand for many
            points, mass, _ = gather(points, mass, _POINTS // 2)
            group = np.zeros(len(points), dtype=int)
        fans = fans_of(points, group, start[block])
        fans = descend_fans(geometry, fans, group, mass, (FIRST_STAGE, ROUGH_STAGE))
        fans = look_around(geometry, fans, ROUGH_STAGE)
        fans = descend_fans(geometry, fans, group, mass, LAST_STAGES)
        means[block] = fans.means
        if several:
            guess[rows] = keep_fans(geometry, fans)
    return means, guess


def first_means(
    geometry: Geometry,
    X: Floats,
    labels: Labels,
    weights: Floats,
    n_groups: int,
    to_space: Callable[[Floats], Floats | None],
) -> Floats:
    """Find where means start: next to the mean of the coordinates, where that is among the data.

    Parameters
    ----------
    geometry : Geometry
        The geometry.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    labels : numpy.ndarray of int, shape=[n_samples]
        Groups of the points; one without weight starts anywhere.
    weights : numpy.ndarray, shape=[n_samples]
        Nonnegative weights.
    n_groups : int
        Number of groups.
    to_space : callable
        Puts a mean of coordinates on the space; None if it cannot.

    Returns
    -------
    start : numpy.ndarray, shape=[n_groups, n_features]
        With a decoder the code whose image is next to the mean of the images of each group, which
        minimises the sum of squared chords, unless graph paths say that it lies apart; else the
        mean of the coordinates, or the point next to it where that is not on the space.
    """
    start = np.empty((n_groups, X.shape[1]))
    for group in range(n_groups):
        rows = (labels == group) & (weights > 0.0)
        if not rows.any():
            start[group] = X[0]
            continue
        points, mass = X[rows], weights[rows]
        center = np.average(points, axis=0, weights=mass)
        nearest = points[((points - center) ** 2).sum(axis=1).argmin()]
        mean = to_space(center)
        if mean is None or np.ptp(points, axis=0).max() == 0.0:
            start[group] = nearest
        elif isinstance(geometry, DecoderGeometry):
            tries = np.stack((mean, nearest))
            start[group] = _best_start(geometry, points, mass, tries)
        else:
            start[group] = mean
    return start


def _best_start(geometry: DecoderGeometry, X: Floats, weights: Floats, tries: Floats) -> Floats:
    """Take the code next to the mean image, or a try that has shorter graph paths to the points."""
    image_mean = _image_mean(geometry, X, weights, tries)
    if geometry.codes is None:
        return image_mean
    tries = np.concatenate((image_mean[None], tries))
    squares = geometry.bounds.graph_lengths(X, tries) ** 2
    total = weights @ np.where(np.isfinite(squares), squares, np.nan)
    return tries[np.nan_to_num(total, nan=np.inf).argmin()]


def _image_mean(geometry: DecoderGeometry, X: Floats, weights: Floats, tries: Floats) -> Floats:
    """Find the code whose image is next to the mean image, by Levenberg and Marquardt's method."""
    immersion, z = geometry.tensors(tries)
    codes, mass = torch.as_tensor(X).to(z), torch.as_tensor(weights / weights.sum()).to(z)
    with torch.no_grad():
        pairs = zip(codes.split(_CHUNK), mass.split(_CHUNK), strict=True)
        target = sum(share @ immersion(part) for part, share in pairs)
        value, tangents = immersion.jacobian(z)
        damping = torch.full((len(z), 1, 1), 1e-3).to(z)
        for _ in range(_IMAGE_STEPS):
            metric = gram(tangents)
            slope = tangents @ (target - value)[:, :, None]
            scale = metric.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
            eye = torch.eye(z.shape[1]).to(z)
            step, _ = torch.linalg.solve_ex(metric + damping * scale * eye, slope)
            tried = z + step[:, :, 0]
            new_value, new_tangents = immersion.jacobian(tried)
            better = (target - new_value).norm(dim=1) < (target - value).norm(dim=1)
            z = torch.where(better[:, None], tried, z)
            value = torch.where(better[:, None], new_value, value)
            tangents = torch.where(better[:, None, None], new_tangents, tangents)
            damping = torch.where(better[:, None, None], 0.1 * damping, 10.0 * damping)
        return host(z[(target - value).norm(dim=1).nan_to_num(torch.inf).argmin()])
