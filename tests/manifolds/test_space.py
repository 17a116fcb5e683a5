"""The latent space as a geomstats manifold and as a parameter of estimators."""

import copy
import pickle

import numpy as np
import pytest
import torch
from geomstats.geometry.euclidean import Euclidean
from sklearn.base import BaseEstimator, clone

from geomstats_vae.immersions.protocol import DecoderError
from geomstats_vae.manifolds import LatentSpace, PullbackDecoderMetric
from tests.manifolds import spaces
from tests.manifolds.spaces import array, draw, host


@pytest.fixture
def codes():
    return draw(50, 2, scale=np.array([1.0, 0.1]))


@pytest.fixture
def space(codes):
    return LatentSpace(spaces.vae_like_decoder(), 2, points=array(codes))


def test_belongs_and_projection(space):
    assert host(space.belongs(array([0.0, 1.0])))
    points = array([[0.0, 1.0], [np.nan, 0.0], [np.inf, 0.0]])
    np.testing.assert_array_equal(host(space.belongs(points)), [True, False, False])
    np.testing.assert_array_equal(host(space.belongs(array(np.zeros((4, 3))))), [False] * 4)
    z = array(draw(3, 2))
    projected = space.projection(z)
    np.testing.assert_array_equal(host(projected), host(z))
    projected[:] = 0.0
    assert host(z).all()
    with pytest.raises(ValueError, match="finite"):
        space.projection(points)
    with pytest.raises(ValueError, match="latent codes, not data"):
        space.projection(array(np.zeros((4, 3))))


def test_tangent_vectors(space):
    z = array(draw(3, 2))
    assert host(space.is_tangent(z, z)).all()
    np.testing.assert_array_equal(host(space.to_tangent(z, z)), host(z))
    assert space.random_tangent_vec(z).shape == (3, 2)


def test_random_points_look_like_the_codes(space, codes):
    points = host(space.random_point(2000))
    assert points.shape == (2000, 2)
    np.testing.assert_allclose(points.mean(axis=0), codes.mean(axis=0), atol=0.1)
    spread = codes.std(axis=0)
    assert (points.std(axis=0) < 1.4 * spread).all()
    assert (points.std(axis=0) > 0.8 * spread).all()
    assert space.random_point().shape == (2,)


def test_random_points_without_codes_are_standard_normal():
    points = host(LatentSpace(spaces.network(), 2).random_point(2000, bound=2.0))
    np.testing.assert_allclose(points.std(axis=0), 2.0, rtol=0.1)


def test_geomstats_idiom():
    space = Euclidean(2, equip=False)
    space.equip_with_metric(PullbackDecoderMetric, decoder=spaces.network())
    ours = LatentSpace(spaces.network(), 2)
    z = array(draw(3, 2))
    for method in ("metric_matrix", "volume_density"):
        theirs = getattr(space.metric, method)(z)
        np.testing.assert_array_equal(host(theirs), host(getattr(ours.metric, method)(z)))


@pytest.mark.parametrize(
    "duplicate",
    [
        pytest.param(copy.deepcopy, marks=pytest.mark.long),
        lambda s: pickle.loads(pickle.dumps(s)),
    ],
)
@pytest.mark.long
def test_copies_give_the_same_numbers(space, duplicate):
    a, b = array(draw(2, 2, scale=0.5)), array(draw(2, 2, scale=0.5, seed=1))
    expected = host(space.metric.dist(a, b))
    other = duplicate(space)
    assert other is not space
    assert other.metric._space is other
    np.testing.assert_array_equal(host(other.metric.dist(a, b)), expected)


def test_clones_of_estimators_share_the_space(space):
    class Estimator(BaseEstimator):
        def __init__(self, space=None):
            self.space = space

    assert clone(Estimator(space)).space is space


def test_codes_of_the_data_are_looked_at():
    """The std is positive near the origin, and where the codes are it is not."""
    codes = array(5.0 + draw(3, 2))

    def decode(z):
        return z, 20.0 - z.square()

    LatentSpace(decode, 2, points=array(draw(3, 2)))
    with pytest.raises(DecoderError, match=r"(?s)positive standard deviations.*0\.5 \* out\[1\]"):
        LatentSpace(decode, 2, points=codes)


def test_likelihood_and_latent_shape_reach_the_decoder():
    def decode(z):
        assert z.shape[1:] == (1, 2)
        return torch.distributions.Poisson(z.flatten(1).exp())

    z = array(draw(3, 2))
    fisher = LatentSpace(decode, 2, latent_shape=(1, 2)).metric
    study = LatentSpace(decode, 2, latent_shape=(1, 2), likelihood="expected").metric
    # With the rate m = e^z: m for Fisher-Rao, and m^2 + m / 4 for mean and standard deviation.
    rate = np.exp(draw(3, 2))
    expected = np.einsum("ni,ij->nij", rate, np.eye(2))
    np.testing.assert_allclose(host(fisher.metric_matrix(z)), expected, atol=1e-12)
    expected = np.einsum("ni,ij->nij", rate**2 + rate / 4.0, np.eye(2))
    np.testing.assert_allclose(host(study.metric_matrix(z)), expected, atol=1e-12)


def test_the_decoder_is_a_frozen_copy():
    decoder = spaces.network()
    metric = LatentSpace(decoder, 2).metric
    z = array(draw(2, 2))
    before = host(metric.metric_matrix(z))
    decoder[0].weight.data.zero_()
    np.testing.assert_array_equal(host(metric.metric_matrix(z)), before)
    assert decoder[0].weight.requires_grad


def test_wrong_options_are_refused():
    network = spaces.network()
    with pytest.raises(ValueError, match="on_failure"):
        LatentSpace(network, 2, on_failure="loud")
    with pytest.raises(ValueError, match=r"\[\.\.\., 2\], got \[5, 3\]"):
        LatentSpace(network, 2, points=array(np.zeros((5, 3))))
    with pytest.raises(ValueError, match="finite"):
        LatentSpace(network, 2, points=array([[np.nan, 0.0]]))
    with pytest.raises(ValueError, match="n_points > 0"):
        LatentSpace(network, 2, points=array(np.zeros((0, 2))))
    with pytest.raises(DecoderError, match="evaluation mode"):
        LatentSpace(torch.nn.Sequential(network, torch.nn.Dropout()), 2)
