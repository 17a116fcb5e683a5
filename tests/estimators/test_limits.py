"""Limits of time of fits: wherever the time is over, what is kept is whole and no worse."""

import numpy as np
import pytest
from geomstats.geometry.hypersphere import Hypersphere
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from geomstats_vae import (
    LAND,
    FrechetMean,
    GeodesicConvergenceWarning,
    GeodesicKMeans,
    LatentSpace,
    TangentPCA,
)
from geomstats_vae.estimators.em import TangentEM
from geomstats_vae.geometry.time_limit import OutOfTimeError
from geomstats_vae.manifolds.arrays import to_host
from tests import surfaces
from tests.estimators.test_frechet_mean import array, on_sphere
from tests.geodesics.test_deadline import Steps
from tests.manifolds import spaces

X = spaces.draw(24, 2, scale=0.3)
X[12:] += np.array([1.2, 0.2])
CHART = LatentSpace(surfaces.sphere, dim=2)
WITH_GRAPH = LatentSpace(surfaces.sphere, dim=2, points=X)
SPHERE = Hypersphere(2)
# Far from good ones: k-means needs several iterations.
INIT = X[[0, 1]]
WEIGHTS = np.where(np.arange(24) % 5, 1.0, 0.0)


class Clock:
    """Lets limits pass after so many looks at the time."""

    def __init__(self, monkeypatch):
        self._monkeypatch = monkeypatch

    def allow(self, n_looks=10**9):
        clock = Steps(n_looks)
        self._monkeypatch.setattr("geomstats_vae.geodesics.deadline.time", clock)
        return clock

    def looks(self, fit):
        """Count the looks of a whole fit; the first two are no time at all."""
        clock = self.allow()
        fit()
        return 10**9 - clock.n_looks

    def shares(self, fit, *shares):
        """Allow shares of the time that a whole fit takes, from none on."""
        total = self.looks(fit)
        for n_looks in (2, *(round(share * total) for share in shares)):
            self.allow(n_looks)
            yield n_looks
            self.allow()


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def inertia(kmeans, points):
    """By all geodesics, of whatever labels."""
    length = CHART.metric.dist(array(kmeans.cluster_centers_[kmeans.labels_]), array(points))
    return float((to_host(length) ** 2).sum())


@pytest.mark.filterwarnings("ignore::geomstats_vae.GeodesicConvergenceWarning")
def test_kmeans_keeps_the_best_partition(clock):
    kmeans, reached = GeodesicKMeans(CHART, 2, init=INIT, tol=1e-2, max_seconds=1.0), []
    worst = np.inf
    for _ in clock.shares(lambda: kmeans.fit(X), 0.5, 0.9):
        with pytest.warns(ConvergenceWarning, match=r"stopped by max_seconds=1 after \d"):
            kmeans.fit(X)
        clock.allow()
        reached.append(kmeans.n_iter_)
        assert np.isin(kmeans.labels_, [0, 1]).all()
        if kmeans.n_iter_ == 0:
            np.testing.assert_array_equal(kmeans.cluster_centers_, INIT)
            assert kmeans.n_failed_ == len(X)
            worst = inertia(kmeans, X)
            continue
        assert kmeans.n_failed_ == 0
        np.testing.assert_allclose(inertia(kmeans, X), kmeans.inertia_, rtol=1e-3)
        assert kmeans.inertia_ <= worst * (1.0 + 1e-3)
    np.testing.assert_array_equal(kmeans.predict(X), kmeans.labels_)
    assert reached[0] == 0
    assert reached == sorted(reached)
    assert reached[-1] > 0


def test_kmeans_goes_on_from_where_it_was_stopped(clock):
    points = on_sphere(X)
    whole = GeodesicKMeans(SPHERE, 3, init=points[:3]).fit(points)
    part = clone(whole).set_params(max_seconds=1.0)
    clock.allow(round(0.8 * clock.looks(lambda: part.fit(points))))
    with pytest.warns(ConvergenceWarning, match="max_seconds"):
        part.fit(points)
    clock.allow()
    assert 0 < part.n_iter_ < whole.n_iter_
    on = clone(whole).set_params(init=part.cluster_centers_).fit(points)
    np.testing.assert_allclose(on.cluster_centers_, whole.cluster_centers_, atol=1e-6)


@pytest.mark.filterwarnings("ignore::geomstats_vae.GeodesicConvergenceWarning")
def test_rows_without_weight_have_labels_when_there_is_no_time(clock):
    clock.allow(2)
    kmeans = GeodesicKMeans(CHART, 2, init=X[[1, 13]], max_seconds=1.0)
    with pytest.warns(ConvergenceWarning, match="max_seconds"):
        kmeans.fit(X, sample_weight=WEIGHTS)
    # Two groups lie far apart.
    np.testing.assert_array_equal(kmeans.labels_, np.repeat([0, 1], 12))


def test_without_centers_the_remedy_is_named(clock):
    clock.allow(2)
    kmeans = GeodesicKMeans(CHART, 2, random_state=0, max_seconds=1.0)
    with pytest.raises(OutOfTimeError, match=r"first centers.*points"):
        kmeans.fit(X)
    with pytest.raises(NotFittedError):
        kmeans.predict(X)


def test_mean_keeps_the_best_step(clock):
    residuals = []
    mean = FrechetMean(CHART, init_point=X[0], max_seconds=1.0)
    for _ in clock.shares(lambda: mean.fit(array(X[:12])), 0.5, 0.7, 0.9):
        with pytest.warns(GeodesicConvergenceWarning, match="max_seconds=1") as told:
            mean.fit(array(X[:12]))
        assert len(told) == 1
        assert mean.converged_ is False
        residuals.append(float(to_host(mean.residual_)))
        if mean.n_iter_ == 0:
            np.testing.assert_array_equal(to_host(mean.estimate_), X[0])
    assert np.isnan(residuals[0])
    assert (np.diff(residuals[1:]) <= 0.0).all()
    assert residuals[-1] < 0.1


def test_start_of_a_mean_has_a_variance(clock):
    clock.allow(2)
    mean = FrechetMean(WITH_GRAPH, init_point=X[0], max_seconds=1.0)
    with pytest.warns(GeodesicConvergenceWarning, match="from its start were not done"):
        mean.fit(array(X))
    squares = np.arccos(np.clip(on_sphere(X) @ on_sphere(X[:1])[0], -1.0, 1.0)) ** 2
    np.testing.assert_allclose(to_host(mean.variance_), squares.mean(), rtol=0.1)
    assert mean.n_failed_ == len(X)
    assert mean.reached_.all()


def test_tangent_pca_limits_its_mean(clock):
    pca = TangentPCA(SPHERE, n_components=2, max_seconds=1.0)
    points = array(on_sphere(X))
    clock.allow(2)
    with pytest.warns(GeodesicConvergenceWarning, match="max_seconds=1"):
        pca.fit(points)
    clock.allow()
    whole = TangentPCA(SPHERE, n_components=2).fit(points)
    assert not np.allclose(to_host(pca.base_point_), to_host(whole.base_point_), atol=1e-6)
    assert np.isfinite(to_host(pca.transform(points))).all()


def land_out_of_time(clock, monkeypatch, method):
    """Fit until a method of EM is called the second time, or the first of `fit_fixed_means`."""
    function, calls = getattr(TangentEM, method), []

    def late(self, *args):
        calls.append(1)
        if len(calls) == 2 or method == "fit_fixed_means":
            clock.allow(0)
        return function(self, *args)

    monkeypatch.setattr(TangentEM, method, late)
    clock.allow()
    land = LAND(SPHERE, 2, random_state=0, n_normalizer_samples=8, tol=1e-9, max_seconds=1.0)
    with pytest.warns(ConvergenceWarning, match=r"stopped by max_seconds=1 after \d moves"):
        land.fit(on_sphere(X[::2]))
    assert not land.converged_
    assert len(land.lower_bounds_) == land.n_iter_ + 1
    assert np.isfinite(land.covariances_).all()
    np.testing.assert_allclose(land.score(on_sphere(X[::2])), land.lower_bound_, rtol=1e-10)
    return land


@spaces.on_numpy_alone
def test_land_keeps_the_state_of_its_start(clock, monkeypatch):
    land = land_out_of_time(clock, monkeypatch, "fit_fixed_means")
    assert land.n_iter_ == 0


@spaces.on_numpy_alone
@pytest.mark.long
def test_land_keeps_the_last_move(clock, monkeypatch):
    land = land_out_of_time(clock, monkeypatch, "move")
    assert land.n_iter_ == 1
    assert land.lower_bounds_[1] > land.lower_bounds_[0]


def test_land_without_a_state_names_the_remedy(clock):
    clock.allow(2)
    land = LAND(SPHERE, 2, random_state=0, max_seconds=1.0)
    with pytest.raises(OutOfTimeError, match="first state of EM"):
        land.fit(on_sphere(X))
    assert not hasattr(land, "means_")


@pytest.mark.parametrize("estimator", [GeodesicKMeans(max_seconds=0.0), LAND(max_seconds=-1.0)])
def test_limits_that_are_none_are_refused(estimator):
    with pytest.raises(ValueError, match="max_seconds"):
        estimator.fit(X)
