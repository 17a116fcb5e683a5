"""geomstats' own estimators on the latent space of a VAE-like decoder."""

import numpy as np
import pytest
import sklearn
from geomstats.learning.frechet_mean import FrechetMean
from geomstats.learning.kmeans import RiemannianKMeans
from geomstats.learning.pca import TangentPCA

from geomstats_vae.geometry import LatentSpace
from tests.geometry import spaces
from tests.geometry.spaces import array, draw, host


@pytest.fixture(scope="module")
def space():
    return LatentSpace(spaces.vae_like_decoder(), 2, on_failure="raise", **spaces.TIGHT)


@pytest.fixture(scope="module")
def codes():
    return array(draw(12, 2, scale=0.4))


# One stops by the squared norm of the gradient, the other by the norm.
@pytest.mark.parametrize(("method", "epsilon"), [("default", 1e-10), ("adaptive", 1e-5)])
def test_frechet_mean(space, codes, method, epsilon):
    mean = FrechetMean(space, method=method).set(epsilon=epsilon).fit(codes).estimate_
    residual = host(space.metric.log(codes, mean)).mean(axis=0)
    np.testing.assert_allclose(residual, 0.0, atol=1e-4)


def test_riemannian_kmeans():
    space = LatentSpace(spaces.vae_like_decoder(), 2, on_failure="raise")
    groups = draw(12, 2, scale=0.1)
    groups[6:] += 1.5
    kmeans = RiemannianKMeans(space, n_clusters=2, init="kmeans++").fit(array(groups))
    labels = host(kmeans.labels_)
    assert len(set(labels[:6])) == len(set(labels[6:])) == 1
    assert labels[0] != labels[-1]
    np.testing.assert_array_equal(host(kmeans.predict(array(groups))), labels)


def test_tangent_pca(space, codes):
    # Under pytorch scikit-learn takes tensors only if told so.
    with sklearn.config_context(array_api_dispatch=spaces.ON_TORCH):
        pca = TangentPCA(space, n_components=2).fit(codes)
        scores = pca.transform(codes)
        back = pca.inverse_transform(scores)
    np.testing.assert_allclose(host(back), host(codes), atol=1e-5)
