"""Estimators of degenerate data on degenerate decoders: a fit with an end, or a named error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geomstats_vae import LAND, FrechetMean, GeodesicKMeans, TangentPCA
from tests.manifolds.spaces import array, host
from tests.properties import codes
from tests.properties.decoders import decoded
from tests.properties.watching import call

SECONDS = 0.3  # of each call of the solver, of which a fit has some
DIMS = (1, 2, 3)
N_CLUSTERS = 2


def kmeans(space, rows, weights):
    model = GeodesicKMeans(space, N_CLUSTERS, n_init=1, max_iter=2, random_state=0)
    if call(model.fit, rows, None, weights) is None:
        return
    assert np.isfinite(model.cluster_centers_).all()
    assert model.inertia_ >= 0.0
    assert set(model.labels_) <= {-1, *range(N_CLUSTERS)}
    distance = call(model.transform, rows)
    assert distance.shape == (len(rows), N_CLUSTERS)
    assert (distance >= 0.0).all()


def land(space, rows, weights):
    model = LAND(space, N_CLUSTERS, max_iter=1, n_normalizer_samples=8, random_state=0)
    if call(model.fit, rows, None, weights, seconds=120.0) is None:  # of many rays
        return
    assert np.isfinite(model.means_).all()
    assert model.weights_.sum() == pytest.approx(1.0)
    assert not np.isnan(call(model.score_samples, rows)).any()


def mean(space, rows, weights):
    model = FrechetMean(space, max_iter=2, max_seconds=5.0 * SECONDS)
    if call(model.fit, array(rows), None, None if weights is None else array(weights)) is None:
        return
    assert np.isfinite(host(model.estimate_)).all()
    if (rows == rows[0]).all():
        np.testing.assert_array_equal(host(model.estimate_), rows[0])


def components(space, rows, weights):
    model = TangentPCA(space, n_components=1)
    model.mean_estimator.set(max_iter=2, max_seconds=5.0 * SECONDS)
    if call(model.fit, array(rows)) is None:
        return
    assert (host(model.explained_variance_) >= 0.0).all()
    assert np.isfinite(host(model.components_)).all()
    assert call(model.transform, array(rows)).shape == (len(rows), 1)


MODELS = (kmeans, land, mean, components)


def any_fit(data):
    case = data.draw(decoded(dims=DIMS, seconds=SECONDS))
    rows, weights = data.draw(codes.data(case.dim)), None
    if data.draw(st.booleans()):
        weights = np.arange(len(rows), dtype=float)  # the first row has none
    data.draw(st.sampled_from(MODELS))(case.space, rows, weights)


@settings(max_examples=20)
@given(data=st.data())
def test_fits(data):
    any_fit(data)


@pytest.mark.long
@settings(max_examples=200)
@given(data=st.data())
def test_many_fits(data):
    any_fit(data)
