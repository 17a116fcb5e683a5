"""Rows that no geodesic leads to: labels of -1, scores of minus infinity, and always an end."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from geomstats_vae import (
    LAND,
    GeodesicConvergenceError,
    GeodesicConvergenceWarning,
    GeodesicKMeans,
    LatentSpace,
)
from geomstats_vae.estimators.assignment import Assigner
from geomstats_vae.geometry.protocol import Logs, no_curves
from tests import surfaces
from tests.manifolds import spaces

X = spaces.draw(12, 2, scale=0.5)
BAD = np.array([[5.0, 0.0], [4.0, 1.0]])  # the decoder is not a number there
ALL = np.concatenate((X, BAD))


def cut_plane(z):
    return torch.where(z[..., :1] > 3.0, torch.nan, surfaces.plane(z))


def embedded(z):
    return surfaces.plane(torch.from_numpy(np.asarray(z))).numpy()


@pytest.fixture(scope="module", params=["graph", "no graph"])
def space(request):
    if request.param == "graph":
        return spaces.coarse_space(cut_plane, X)
    return LatentSpace(cut_plane, 2)


def test_one_center_and_a_row_out_of_reach():
    kmeans = GeodesicKMeans(LatentSpace(cut_plane, 2), 1, max_iter=1).fit(X[:3])
    with pytest.warns(
        GeodesicConvergenceWarning, match="No center reaches 1 of 2 points"
    ) as caught:
        labels = kmeans.predict([[1.0, 0.0], [5.0, 0.0]])
    assert len(caught) == 1
    np.testing.assert_array_equal(labels, [0, -1])


@pytest.mark.long
def test_a_fit_is_that_of_the_other_rows(space):
    kmeans = GeodesicKMeans(space, 2, init=X[:2])
    with pytest.warns(GeodesicConvergenceWarning, match="No center reaches 2 of 14 points") as seen:
        labels = kmeans.fit_predict(ALL)
    assert len(seen) == 1
    without = GeodesicKMeans(space, 2, init=X[:2]).fit(X)
    np.testing.assert_array_equal(kmeans.cluster_centers_, without.cluster_centers_)
    np.testing.assert_array_equal(labels, [*without.labels_, -1, -1])
    assert kmeans.inertia_ == without.inertia_
    assert (kmeans.n_failed_, without.n_failed_) == (2, 0)
    flat = KMeans(2, init=embedded(X[:2]), n_init=1).fit(embedded(X))
    np.testing.assert_allclose(kmeans.inertia_, flat.inertia_, rtol=0.01)


@pytest.mark.filterwarnings("ignore::geomstats_vae.GeodesicConvergenceWarning")
def test_distances_and_scores_are_infinite(space):
    kmeans = GeodesicKMeans(space, 2, random_state=0, max_iter=2).fit(ALL)
    distances = kmeans.transform(ALL)
    assert np.isposinf(distances[-2:]).all()
    centers = embedded(kmeans.cluster_centers_)
    exact = np.linalg.norm(embedded(X)[:, None] - centers, axis=2)
    np.testing.assert_allclose(distances[:-2], exact, rtol=1e-4)
    assert kmeans.score(ALL) == -np.inf
    weights = np.r_[np.ones(len(X)), 0.0, 0.0]
    inertia = (exact.min(axis=1) ** 2).sum()
    np.testing.assert_allclose(kmeans.score(ALL, sample_weight=weights), -inertia, rtol=1e-4)


@pytest.mark.long
def test_the_policy_of_the_metric_holds():
    raising = LatentSpace(cut_plane, 2, on_failure="raise")
    kmeans = GeodesicKMeans(raising, 1, max_iter=1).fit(X)
    for method in (kmeans.predict, kmeans.transform, kmeans.score, kmeans.fit):
        with pytest.raises(GeodesicConvergenceError, match="2 of 14"):
            method(ALL)
    ignoring = LatentSpace(cut_plane, 2, on_failure="ignore")
    silent = GeodesicKMeans(ignoring, 1, max_iter=1).fit(ALL)
    np.testing.assert_array_equal(silent.predict(ALL)[-3:], [0, -1, -1])


@pytest.mark.parametrize("estimator", [GeodesicKMeans, LAND])
def test_rows_without_a_metric_alone_are_refused(estimator):
    with pytest.raises(ValueError, match="metric to be defined at some point"):
        estimator(LatentSpace(cut_plane, 2), 1).fit(BAD)


class _Islands:
    """A line of which the parts left and right of 0 do not reach each other."""

    n_features = dim = 1
    codes = None

    class bounds:
        @staticmethod
        def chords(points, centers):
            return np.abs(points - centers.T)

    def lengths(self, start, end):
        return self.logs(start, end)

    def logs(self, start, end, *, guess=None):
        start, end = np.broadcast_arrays(start, end)
        apart = (start * end <= 0.0)[:, 0]
        length = np.where(apart, np.inf, np.abs(end - start)[:, 0])
        velocity = np.where(apart[:, None], 0.0, end - start)
        return Logs(length, velocity, ~apart, no_curves(len(end)))


def test_bounds_do_not_hide_the_center_that_reaches_a_row():
    rows = np.array([[-9.0], [-8.0], [-1.0], [1.0], [2.0], [9.0]])
    assign = Assigner(_Islands(), rows)
    for centers in ([[-7.0], [1.5]], [[-2.0], [5.0]], [[3.0], [-3.0]]):
        assignment = assign(np.array(centers))
        assert np.isfinite(assignment.geodesics.length).all()
        np.testing.assert_array_equal(np.sign(rows), np.sign(assignment.centers)[assignment.labels])
    lost = assign(np.array([[3.0], [4.0]]))
    np.testing.assert_array_equal(np.isfinite(lost.geodesics.length), rows[:, 0] > 0.0)


@pytest.mark.filterwarnings("ignore::geomstats_vae.GeodesicConvergenceWarning")
@pytest.mark.long
def test_a_density_is_zero_out_of_reach():
    space = LatentSpace(cut_plane, 2)
    land = LAND(space, max_iter=0, n_normalizer_samples=8, random_state=0)
    labels = land.fit_predict(ALL)
    np.testing.assert_array_equal(labels, [0] * len(X) + [-1, -1])
    np.testing.assert_array_equal(land.predict(ALL), labels)
    # A linear decoder: the fit is that of the other rows.
    np.testing.assert_allclose(land.means_[0], X.mean(axis=0), atol=1e-12)
    logs = land.score_samples(ALL)
    np.testing.assert_array_equal(np.isneginf(logs), labels < 0)
    assert land.score(ALL) == -np.inf
    weights = np.r_[np.ones(len(X)), 0.0, 0.0]
    np.testing.assert_allclose(land.score(ALL, sample_weight=weights), logs[:-2].mean())
    np.testing.assert_allclose(land.lower_bound_, logs[:-2].mean(), rtol=1e-6)
    assert land.n_failed_ >= 2
