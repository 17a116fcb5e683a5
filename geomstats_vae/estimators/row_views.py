"""Rows on a space as they are seen from means: geodesics, frames, and integrals at the means."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import linalg

from geomstats_vae.estimators.base import between_steps, valleys_move, with_row_tol
from geomstats_vae.estimators.mixture import Component, DegenerateError
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.fans import descends_first
from geomstats_vae.geometry.protocol import Bools, Floats, Geometry, KeptCurves, Logs
from geomstats_vae.geometry.time_limit import check_time
from geomstats_vae.volume.flat_quadrature import FlatQuadrature, is_flat
from geomstats_vae.volume.frames import TangentFrame, frame_at
from geomstats_vae.volume.importance_grid import ImportanceGrid
from geomstats_vae.volume.importance_quadrature import (
    ImportanceQuadrature,
    build_importance_quadrature,
    uniform_points,
)
from geomstats_vae.volume.quadrature import TangentQuadrature
from geomstats_vae.volume.ray_quadrature import build_ray_quadrature, sphere_directions

# The normalisers that are reported have as many times more samples: of latent coordinates, and in
# many dimensions of rays.
_FINER = 4
# As `ROW_TOL`, for normalisers; their errors average.
_NORMALIZER_TOL = 1e-3
# Tolerances of rays in many dimensions, where each takes a tenth of a second or more.
_RAY_RTOL, _RAY_ATOL = 1e-4, 1e-7
# Curves to the rows are kept for the next move of the means; at most so many.
_CURVES_KEPT = 20_000
# Points of a quadrature are drawn anew if fewer than this share of them count.
_LEAST_EFFICIENCY = 0.3


class View(NamedTuple):
    """The rows, seen from a mean.

    Parameters
    ----------
    frame : TangentFrame
        Frame at the mean.
    coordinates : numpy.ndarray, shape=[n_rows, dim]
        Normal coordinates of the rows' logarithms.
    reached, converged : numpy.ndarray of bool, shape=[n_rows]
        Whether there is a curve from the mean to the row, and whether it is a geodesic.
    """

    frame: TangentFrame
    coordinates: Floats
    reached: Bools
    converged: Bools


class RowViews:
    """Sees rows from means, and integrates over the tangent spaces there.

    Parameters
    ----------
    geometry : Geometry
        Finds and follows geodesics.
    X : numpy.ndarray, shape=[n_rows, n_features]
        Rows.
    n_samples : int
        Rays or points of each normaliser.
    random_state : numpy.random.RandomState
        Draws them, once: they are the same at all means.
    deadline : Deadline
        When integrals are no longer begun; that of the geometry.

    Attributes
    ----------
    geometry : Geometry
        By which the rows are seen between steps.
    finer, others : numpy.ndarray or None
        Random numbers of finer quadratures, and as many others; None where there are none.
    """

    def __init__(
        self,
        geometry: Geometry,
        X: Floats,
        n_samples: int,
        random_state: np.random.RandomState,
        deadline: Deadline,
    ) -> None:
        if ImportanceGrid.serves(geometry):
            geometry = ImportanceGrid.within_table(geometry)
        self._exact = with_row_tol(geometry)
        self._by_table = isinstance(geometry, DecoderGeometry) and geometry.tabulated
        # By a table rows are seen as roughly as points of normalisers, until the end.
        loose = between_steps(geometry.with_tol(_NORMALIZER_TOL))
        self.geometry = loose if self._by_table else self._exact
        self.X, self._deadline = X, deadline
        self._loose = loose
        if descends_first(geometry):
            exact = geometry.ray_exponential
            rays = replace(exact, rtol=max(exact.rtol, _RAY_RTOL), atol=max(exact.atol, _RAY_ATOL))
            self._loose = replace(geometry.with_tol(_NORMALIZER_TOL), ray_exponential=rays)
        self._fine = geometry.with_tol(_NORMALIZER_TOL) if self._by_table else self._exact
        self._curves: dict[bytes, KeptCurves] = {}  # to the rows, by the mean
        self.finer: Floats | None = None
        self.others: Floats | None = None
        if ImportanceGrid.serves(geometry):
            self._grid: ImportanceGrid | None = ImportanceGrid(geometry)
            self._random = uniform_points(n_samples, geometry.dim, random_state)
            self.finer = uniform_points(_FINER * n_samples, geometry.dim, random_state)
            self.others = uniform_points(_FINER * n_samples, geometry.dim, random_state)
        else:
            self._grid, before = None, copy.deepcopy(random_state)
            self._random = sphere_directions(n_samples, geometry.dim, random_state)
            if descends_first(geometry):
                self.finer = self._random
                self._random = sphere_directions(n_samples // _FINER, geometry.dim, before)

    def see(self, mean: Floats, previous: TangentFrame | None = None) -> View:
        """Frame at a mean, and the rows seen from it."""
        try:
            frame = frame_at(self.geometry, mean, previous)
        except ValueError as error:
            raise DegenerateError(f"a mean left the data: {error}") from error
        logs = self._logs(mean, previous)
        reached = np.isfinite(logs.length)
        if not logs.converged.any():
            raise DegenerateError("a mean left the data: no geodesic from it converges")
        return View(frame, frame.coordinates(logs.velocity), reached, logs.converged)

    def _logs(self, mean: Floats, previous: TangentFrame | None) -> Logs:
        """Find geodesics to the rows, without a table from those of the mean before it moved.

        Curves that are taken along may stay in valleys that have become the longer ones. By a table
        all valleys are looked at as fast.
        """
        base = mean if previous is None else previous.base
        guess = None if self._by_table else self._curves.get(base.tobytes())
        logs = self.geometry.logs(mean, self.X, guess=guess)
        self.keep(mean, logs.curves)
        return logs

    def quadrature(
        self,
        frame: TangentFrame,
        coordinates: Floats,
        covariance: Floats,
        previous: TangentQuadrature | None = None,
        finer: Floats | None = None,
    ) -> TangentQuadrature:
        """Quadrature over the tangent space for densities of about a covariance.

        Logarithms guide it: of the rows, and of the points of a previous one at the same mean. It
        may have other, finer random numbers than those of EM.
        """
        check_time(self._deadline)
        scale = linalg.cholesky(covariance, lower=True)
        if is_flat(self.geometry, frame, scale):
            return FlatQuadrature(scale)
        random = self._random if finer is None else finer
        if self._grid is None:
            return build_ray_quadrature(self._loose, frame, scale, random)
        rows = self.X
        if isinstance(previous, ImportanceQuadrature):
            known = np.isfinite(previous.log_weights)
            rows = np.concatenate((rows, previous.points[known]))
            coordinates = np.concatenate((coordinates, previous.coordinates[known]))
        geometry = self._loose if finer is None else self._fine
        return build_importance_quadrature(
            geometry, self._grid, frame, rows, coordinates, scale, random
        )

    def component(self, view: View, precision: Floats) -> Component:
        """Component of a precision, with a quadrature made for it."""
        quadrature = self.quadrature(view.frame, view.coordinates, linalg.inv(precision))
        return self._component(view, precision, quadrature)

    def _component(self, view: View, precision: Floats, quadrature: TangentQuadrature) -> Component:
        moments = quadrature.moments(precision)
        if not np.isfinite(moments.log_normalizer):
            raise DegenerateError("a mean left the data: no geodesic from it can be followed")
        return Component(*view, quadrature, precision, moments)

    def component_after(self, before: Component, view: View, precision: Floats) -> Component:
        """Component after its mean moved, by the points of the quadrature before if these serve."""
        if isinstance(before.quadrature, ImportanceQuadrature):
            seen = before.quadrature.seen_from(self._loose, view.frame, afresh=self._by_table)
            if seen.efficiency(precision) >= _LEAST_EFFICIENCY:
                return self._component(view, precision, seen)
        return self.component(view, precision)

    def seen_exactly(self, component: Component) -> Component:
        """See the rows by certified geodesics, where a component has others.

        Those of a table are certified. Those that were taken along as the mean moved, and may have
        become the longer ones, are found anew.
        """
        if not (self._by_table or valleys_move(self.geometry)):
            return component
        mean = component.frame.base
        guess = self._curves.get(mean.tobytes()) if self._by_table else None
        logs = self._exact.logs(mean, self.X, guess=guess)
        return replace(
            component,
            coordinates=component.frame.coordinates(logs.velocity),
            reached=np.isfinite(logs.length),
            converged=logs.converged,
        )

    def renewed(
        self, component: Component, finer: Floats | None = None, *, room: float = 1.0
    ) -> Component:
        """Integrate anew for the same density, by finer random numbers or with room to grow."""
        covariance = room * linalg.inv(component.precision)
        quadrature = self.quadrature(
            component.frame, component.coordinates, covariance, component.quadrature, finer
        )
        return replace(component, quadrature=quadrature).adapt(component.precision)

    def keep(self, mean: Floats, curves: KeptCurves) -> None:
        """Keep curves from a mean to the rows, for the next move of the mean."""
        self._curves[mean.tobytes()] = curves
        while len(self._curves) * len(self.X) > _CURVES_KEPT:
            del self._curves[next(iter(self._curves))]  # the oldest
