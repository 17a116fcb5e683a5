"""The decoder metric's own solvers in the form that geomstats swaps them."""

from __future__ import annotations

from geomstats.numerics.geodesic import ExpSolver, LogSolver


class DecoderExpSolver(ExpSolver):
    """Exponential map of a decoder's metric, by its `ExponentialSolver`.

    Parameters
    ----------
    metric : PullbackDecoderMetric
        The metric.
    """

    def __init__(self, metric):
        super().__init__(solves_ivp=True)
        self._metric = metric

    def exp(self, tangent_vec, base_point):
        """Exponential map; see `PullbackDecoderMetric.exp`."""
        return self._metric._exp(tangent_vec, base_point)

    def geodesic_ivp(self, tangent_vec, base_point):
        """Geodesics by initial points and velocities; see `PullbackDecoderMetric.geodesic`."""
        return self._metric._geodesic_by_velocity(base_point, tangent_vec)


class DecoderLogSolver(LogSolver):
    """Logarithm of a decoder's metric, by its `GeodesicSolver`.

    Parameters
    ----------
    metric : PullbackDecoderMetric
        The metric.
    """

    def __init__(self, metric):
        super().__init__(solves_bvp=True)
        self._metric = metric

    def log(self, point, base_point):
        """Riemannian logarithm; see `PullbackDecoderMetric.log`."""
        return self._metric._log(point, base_point)

    def geodesic_bvp(self, point, base_point):
        """Geodesics by end points; see `PullbackDecoderMetric.geodesic`."""
        return self._metric._geodesic_by_ends(base_point, point)
