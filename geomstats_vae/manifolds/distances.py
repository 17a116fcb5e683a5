"""Distances of a decoder's metric, pair by pair and for all pairs of many points."""

from __future__ import annotations

from dataclasses import replace

import geomstats.backend as gs
import numpy as np
import torch

from geomstats_vae.geodesics.curves.path import GeodesicStatus
from geomstats_vae.geometry import gradients
from geomstats_vae.geometry.pairs import graph_lengths, solve_ends
from geomstats_vae.manifolds.arrays import to_tensor
from geomstats_vae.manifolds.geodesic_metric import GeodesicMetric

METHODS = ("exact", "graph")


class DistanceMetric(GeodesicMetric):
    """Distances: the lengths of geodesics; parameters as of `PullbackDecoderMetric`."""

    def _lengths(self, start, end, origin, *, method="exact", squared=False, **options):
        """Lengths of geodesics between rows, shape=[n_pairs]."""
        if method not in METHODS:
            raise ValueError(
                f"Expected method to be one of {', '.join(map(repr, METHODS))}, got {method!r}."
            )
        with torch.no_grad():
            landscape = self._start_landscape()  # once, and not in every worker
        if method == "graph":
            return self._graph_lengths(landscape, start, end, options)
        ends = solve_ends(self._solve, start, end, **options)
        self._report_paths(ends.status)
        if origin.requires_grad:
            return gradients.differentiable_length(
                self._immersion(start), start, end, ends, squared=squared
            )
        length = torch.as_tensor(ends.length, device=start.device)
        return length**2 if squared else length

    @torch.no_grad()
    def _graph_lengths(self, landscape, start, end, options):
        if landscape is None:
            raise ValueError(
                "Expected latent codes for method='graph', got a metric without points; pass the "
                "codes of the data as points, or method='exact'."
            )
        length = graph_lengths(landscape, start, end, **options)
        lost = np.where(np.isfinite(length), GeodesicStatus.CONVERGED, GeodesicStatus.NON_FINITE)
        self._report_paths(lost)
        return torch.as_tensor(length, device=start.device)

    def dist(self, point_a, point_b):
        """Geodesic distance: the length of the curve, not the norm of its logarithm.

        Parameters
        ----------
        point_a, point_b : array-like, shape=[..., dim]
            Points in latent space.

        Returns
        -------
        dist : array-like, shape=[...]
            Distances, in the units of the data.
        """
        (a, b), origin = self._enter(points=point_a, other_points=point_b)
        return origin.give(self._lengths(a, b, origin))

    def squared_dist(self, point_a, point_b):
        """Squared geodesic distance.

        Parameters
        ----------
        point_a, point_b : array-like, shape=[..., dim]
            Points in latent space.

        Returns
        -------
        squared_dist : array-like, shape=[...]
            Squared distances; differentiable also where the points coincide.
        """
        (a, b), origin = self._enter(points=point_a, other_points=point_b)
        return origin.give(self._lengths(a, b, origin, squared=True))

    def dist_pairwise(self, points, n_jobs=1, *, method="exact", verbose=False, **joblib_kwargs):
        """Distances between all pairs of points, each pair solved once.

        Parameters
        ----------
        points : array-like, shape=[n_points, dim]
            Points in latent space.
        n_jobs : int, optional
            Blocks of pairs solved at a time, as joblib understands it; 1 works in this process.
        method : str, {'exact', 'graph'}
            Solve for geodesics, or take the shortest ways on the graph of global starts, or
            straight lines where they are shorter; the metric must have points. See the notes.
        verbose : bool
            Show a progress bar.
        **joblib_kwargs : dict
            Further arguments of `joblib.Parallel`.

        Returns
        -------
        dist : array-like, shape=[n_points, n_points]
            Symmetric matrix of distances.

        Raises
        ------
        ValueError
            If points are no rows, method is neither, or there is no graph.

        Notes
        -----
        How far graph distances are from exact ones, measured on random pairs of the 1,797 digits
        of 8 x 8 pixels: 0.5 % in the median and 1.4 % at the 90th percentile in two latent
        dimensions; 6.0 % and 11 % in four and 8.2 % and 14 % in eight, all too large. In more than
        three dimensions the graph joins the codes themselves, and ways go from code to code. Graph
        distances are not differentiable.
        """
        (z,), origin = self._enter(points=points)
        if len(origin.batch_shape) != 1:
            raise ValueError(
                f"Expected points of shape [n_points, {self._space.dim}], got "
                f"{[*origin.batch_shape, self._space.dim]}; pass one row per point."
            )
        rows, columns = torch.triu_indices(len(z), len(z), 1, device=z.device)
        lengths = self._lengths(
            z[rows],
            z[columns],
            origin,
            method=method,
            n_jobs=n_jobs,
            verbose=verbose,
            **joblib_kwargs,
        )
        upper = z.new_zeros(len(z), len(z)).index_put((rows, columns), lengths)
        return origin.give(upper + upper.T)

    def dist_broadcast(
        self, point_a, point_b, n_jobs=1, *, method="exact", verbose=False, **joblib_kwargs
    ):
        """Distances between points of the same index, or all pairs if the numbers differ.

        Parameters
        ----------
        point_a : array-like, shape=[n_points_a, dim] or [dim]
            Points in latent space.
        point_b : array-like, shape=[n_points_b, dim] or [dim]
            Points in latent space.
        n_jobs : int, optional
            Blocks of pairs solved at a time, as of `dist_pairwise`.
        method : str, {'exact', 'graph'}
            As of `dist_pairwise`.
        verbose : bool
            Show a progress bar.
        **joblib_kwargs : dict
            Further arguments of `joblib.Parallel`.

        Returns
        -------
        dist : array-like, shape=[n_points] or [n_points_a, n_points_b]
            Distances.
        """
        a, b = to_tensor(point_a, "points"), to_tensor(point_b, "other_points")
        if a.ndim == b.ndim == 2 and len(a) != len(b) and 1 not in (len(a), len(b)):
            a = a[:, None]
        (a, b), origin = self._enter(points=a, other_points=b)
        options = joblib_kwargs | {"method": method, "n_jobs": n_jobs, "verbose": verbose}
        return origin.give(self._lengths(a, b, origin, **options))

    def diameter(self, points):
        """Largest distance between two of some points.

        Parameters
        ----------
        points : array-like, shape=[n_points, dim]
            Points in latent space.

        Returns
        -------
        diameter : float
            Distance of the two that are farthest apart; zero of fewer than two points.
        """
        (z,), origin = self._enter(points=points)
        rows, columns = torch.triu_indices(len(z), len(z), 1, device=z.device)
        lengths = self._lengths(z[rows], z[columns], origin)
        largest = lengths.max() if len(lengths) else z.sum() * 0.0
        return replace(origin, batch_shape=()).give(largest[None])

    def closest_neighbor_index(self, point, neighbors):
        """Index of the closest neighbor of each point.

        Parameters
        ----------
        point : array-like, shape=[..., dim]
            Points in latent space.
        neighbors : array-like, shape=[n_neighbors, dim]
            Points to choose from.

        Returns
        -------
        index : array-like of int, shape=[...]
            Rows of neighbors.

        Raises
        ------
        ValueError
            If there are no neighbors.
        """
        point, neighbors = to_tensor(point, "points"), to_tensor(neighbors, "neighbors")
        if neighbors.ndim != 2 or len(neighbors) == 0:
            raise ValueError(
                f"Expected neighbors of shape [n_neighbors > 0, {self._space.dim}], got "
                f"{list(neighbors.shape)}; pass one row per neighbor."
            )
        dist = self.dist(point.detach()[..., None, :], neighbors.detach())
        return gs.argmin(dist, axis=-1)
