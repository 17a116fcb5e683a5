"""Tangent PCA: components and variances are those of the metric, whatever the coordinates."""

import geomstats.backend as gs
import numpy as np
import pytest
import sklearn
import torch
from geomstats.geometry.hypersphere import Hypersphere
from geomstats.geometry.spd_matrices import SPDMatrices
from geomstats.learning import pca as geomstats_pca
from sklearn.decomposition import PCA

from geomstats_vae import LatentSpace, TangentPCA
from geomstats_vae.datasets import load_digits_vae
from geomstats_vae.manifolds.arrays import USES_TORCH, to_host
from tests import surfaces
from tests.manifolds import spaces

CODES = spaces.draw(20, 2) * np.array([1.0, 0.1])
STRETCH = torch.tensor([[1.0, 0.0], [0.0, 100.0]], dtype=torch.float64)


def stretched(z):
    """A plane of the metric dx^2 + 1e4 dy^2."""
    return z @ STRETCH.to(z).T


STRETCHED = LatentSpace(stretched, dim=2)


def fit_theirs(space, points, **options):
    with sklearn.config_context(array_api_dispatch=USES_TORCH):
        return geomstats_pca.TangentPCA(space).fit(points, **options)


def array(values):
    return gs.array(np.asarray(values))


def test_axes_are_ranked_by_the_metric():
    ours = TangentPCA(STRETCHED).fit(array(CODES))
    expected = PCA().fit(CODES * np.array([1.0, 100.0]))
    np.testing.assert_allclose(to_host(ours.explained_variance_), expected.explained_variance_)
    ratio = to_host(ours.explained_variance_ratio_)
    np.testing.assert_allclose(ratio, expected.explained_variance_ratio_)
    theirs = fit_theirs(STRETCHED, array(CODES), base_point=ours.base_point_)
    assert np.abs(to_host(theirs.components_)[0, 0]) > 0.9
    first = to_host(ours.components_)[0]
    assert np.abs(first[1]) == pytest.approx(0.01, rel=1e-2)  # of length 1 along y
    assert np.abs(first[0]) < 0.1


def test_scores_are_those_of_the_data():
    ours = TangentPCA(STRETCHED, n_components=1).fit(array(CODES))
    expected = PCA(n_components=1).fit(CODES * np.array([1.0, 100.0]))
    scores, theirs = to_host(ours.transform(array(CODES))), expected.transform(CODES * [1.0, 100.0])
    np.testing.assert_allclose(scores * np.sign(scores[0] * theirs[0]), theirs, atol=1e-6)
    again = to_host(TangentPCA(STRETCHED, n_components=1).fit_transform(array(CODES)))
    np.testing.assert_allclose(np.abs(again), np.abs(scores), atol=1e-6)
    back = to_host(ours.inverse_transform(array(scores)))
    np.testing.assert_allclose(
        back * np.array([1.0, 100.0]), expected.inverse_transform(theirs), atol=1e-6
    )


def test_coordinates_do_not_matter():
    """The sphere in a chart and in R^3 has the same components."""
    codes = spaces.draw(12, 2, shift=np.array([0.4, 0.1]), scale=0.3)
    points = to_host(surfaces.sphere(torch.as_tensor(codes)))
    chart, sphere = LatentSpace(surfaces.sphere, dim=2), Hypersphere(2)
    ours, closed = TangentPCA(chart).fit(array(codes)), TangentPCA(sphere).fit(array(points))
    variance = to_host(closed.explained_variance_)
    np.testing.assert_allclose(to_host(ours.explained_variance_), variance, rtol=1e-5)
    assert closed.components_.shape == (2, 3)
    gram = to_host(chart.metric.metric_matrix(ours.base_point_))
    components = to_host(ours.components_)
    np.testing.assert_allclose(components @ gram @ components.T, np.eye(2), atol=1e-10)
    scores = np.abs(to_host(ours.transform(array(codes))))
    np.testing.assert_allclose(np.abs(to_host(closed.transform(array(points)))), scores, atol=1e-4)
    returned = to_host(closed.inverse_transform(closed.transform(array(points))))
    np.testing.assert_allclose(returned, points, atol=1e-7)


@pytest.mark.long
def test_digits_come_back():
    vae = load_digits_vae()
    codes = vae.codes_[:8]
    pca = TangentPCA(vae.latent_space_).fit(array(codes), base_point=array(codes.mean(axis=0)))
    metric = to_host(vae.latent_space_.metric.metric_matrix(pca.base_point_))
    components, values = to_host(pca.components_), to_host(pca.explained_variance_)
    logs = to_host(vae.latent_space_.metric.log(array(codes), pca.base_point_))
    covariance = np.cov(logs.T) @ metric
    np.testing.assert_allclose(covariance @ components.T, components.T * values, rtol=1e-8)
    assert values[0] > values[1] > 0.0


def test_spaces_of_matrices_are_left_to_geomstats():
    space = SPDMatrices(2)
    points = array([np.eye(2) * k for k in (1.0, 2.0, 3.0)])
    ours, theirs = TangentPCA(space).fit(points), fit_theirs(space, points)
    np.testing.assert_allclose(to_host(ours.components_), to_host(theirs.components_))
    np.testing.assert_allclose(to_host(ours.transform(points)), to_host(theirs.transform(points)))
