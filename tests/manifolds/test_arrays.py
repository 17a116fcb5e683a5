"""What may come in, in which shapes and types it comes out, and what is refused."""

import geomstats.backend as gs
import numpy as np
import pytest
import torch

from geomstats_vae.manifolds import LatentSpace
from tests import surfaces
from tests.manifolds import spaces
from tests.manifolds.spaces import array, draw, host

PAIRS = ("dist", "squared_dist", "log", "exp")
POINTS = ("metric_matrix", "cometric_matrix", "christoffels", "volume_density")


@pytest.fixture(scope="module")
def metric():
    return LatentSpace(surfaces.sphere, 2, on_failure="raise").metric


@pytest.mark.parametrize(
    ("first", "second", "batch"),
    [
        ((2,), (2,), ()),
        ((3, 2), (2,), (3,)),
        ((2,), (3, 2), (3,)),
        ((3, 2), (3, 2), (3,)),
        ((1, 2), (3, 2), (3,)),
        ((1, 2), (2,), (1,)),
        ((0, 2), (2,), (0,)),
        ((0, 2), (0, 2), (0,)),
        ((2, 1, 2), (3, 2), (2, 3)),
    ],
)
def test_broadcasting(metric, first, second, batch):
    a, b = array(draw(*first, scale=0.4)), array(draw(*second, scale=0.4, seed=1))
    for name in PAIRS:
        values = getattr(metric, name)(a, b)
        assert values.shape == batch + ((2,) if name in ("log", "exp") else ())
        if 0 not in batch:
            p, q = (array(row.reshape(-1, 2)[-1]) for row in np.broadcast_arrays(host(a), host(b)))
            last = host(values).reshape(-1, *values.shape[len(batch) :])[-1]
            np.testing.assert_allclose(last, host(getattr(metric, name)(p, q)), rtol=1e-5)
    for path in (metric.geodesic(a, b), metric.geodesic(a, initial_tangent_vec=b)):
        assert path(array([0.0, 0.5, 1.0])).shape == (*batch, 3, 2)
        assert path(0.5).shape == (*batch, 1, 2)


@pytest.mark.parametrize("shape", [(2,), (4, 2), (0, 2), (2, 3, 2)])
def test_local_methods_keep_the_batch(metric, shape):
    z = array(draw(*shape))
    assert metric.metric_matrix(z).shape == (*shape[:-1], 2, 2)
    assert metric.christoffels(z).shape == (*shape[:-1], 2, 2, 2)
    assert metric.inner_product_derivative_matrix(z).shape == (*shape[:-1], 2, 2, 2)
    assert metric.riemann_tensor(z).shape == (*shape[:-1], 2, 2, 2, 2)
    assert metric.volume_density(z).shape == shape[:-1]
    radius = host(metric.injectivity_radius(z, n_directions=1, max_radius=0.1))
    np.testing.assert_array_equal(radius, np.full(shape[:-1], np.inf))


def test_empty_batches_of_a_network():
    metric = LatentSpace(spaces.vae_like_decoder(), 2).metric
    empty = array(np.zeros((0, 2)))
    assert metric.metric_matrix(empty).shape == (0, 2, 2)
    assert metric.dist_pairwise(empty).shape == (0, 0)
    assert metric.solve_geodesic(empty, empty).length.shape == (0,)


@pytest.mark.parametrize("name", [*POINTS, "injectivity_radius", "dist_pairwise"])
def test_wrong_points_are_refused(metric, name):
    method = getattr(metric, name)
    with pytest.raises(
        ValueError, match=r"\[\.\.\., 2\], got \[5, 3\]; pass latent codes, not data"
    ):
        method(array(np.zeros((5, 3))))
    with pytest.raises(ValueError, match="Expected finite points, got NaN or infinity"):
        method(array([[0.0, np.nan]]))
    with pytest.raises(ValueError, match="Expected finite points"):
        method(array([[0.0, np.inf]]))
    with pytest.raises(ValueError, match="Expected real numbers"):
        method(None)
    with pytest.raises(ValueError, match="Expected real numbers"):
        method([["a", "b"]])


@pytest.mark.parametrize("name", [*PAIRS, "solve_geodesic", "geodesic"])
def test_wrong_pairs_are_refused(metric, name):
    method = getattr(metric, name)
    good = array(np.zeros((5, 2)))
    for bad, message in [
        (np.zeros((5, 3)), r"got \[5, 3\]"),
        (np.full(2, np.nan), "finite"),
        (np.zeros((4, 2)), r"broadcast, got \[., 2\] and \[., 2\]"),
        (0.0, r"got \[\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            method(array(bad), good)
        with pytest.raises(ValueError, match=message):
            method(good, array(bad))


def test_other_arguments_are_refused(metric):
    z = array(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="one row per point"):
        metric.dist_pairwise(z[0])
    with pytest.raises(ValueError, match="neighbors"):
        metric.closest_neighbor_index(z, z[:0])
    with pytest.raises(ValueError, match="end point or an initial tangent"):
        metric.geodesic(z)
    with pytest.raises(ValueError, match="both an end point"):
        metric.geodesic(z, z, z)
    with pytest.raises(ValueError, match="times"):
        metric.geodesic(z, z)(array(np.zeros((2, 2))))


def test_integers_lists_and_single_precision(metric):
    expected = host(metric.dist(array([1.0, 0.0]), array([0.0, 1.0])))
    for integers in ([1, 0], (1, 0), np.array([1, 0]), gs.array([1, 0])):
        found = metric.dist(integers, [0, 1])
        np.testing.assert_allclose(host(found), expected)
        assert host(found).dtype == np.float64
    single = gs.cast(array([1.0, 0.0]), gs.float32)
    found = metric.dist(single, gs.cast(array([0.0, 1.0]), gs.float32))
    np.testing.assert_allclose(host(found), expected, rtol=1e-6)
    assert host(found).dtype == (np.float32 if spaces.ON_TORCH else np.float64)
    log = metric.log(single, array([0.0, 1.0]))  # the wider type wins
    assert host(log).dtype == np.float64


def test_inputs_are_not_changed_and_may_be_read_only(metric):
    z = draw(4, 2)[::-1]
    z.setflags(write=False)
    before = z.copy()
    for name in POINTS:
        getattr(metric, name)(z)
    metric.dist_pairwise(z)
    np.testing.assert_array_equal(z, before)


def test_results_belong_to_the_backend(metric):
    kind = torch.Tensor if spaces.ON_TORCH else np.ndarray
    z = array(draw(3, 2, scale=0.3))
    for name in POINTS:
        assert isinstance(getattr(metric, name)(z), kind)
    for name in PAIRS:
        assert isinstance(getattr(metric, name)(z, z[0]), kind)
    assert isinstance(metric.geodesic(z, z[0])([0.0, 1.0]), kind)
