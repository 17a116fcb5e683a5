"""Derivatives under pytorch, against finite differences."""

import pytest
import torch

from geomstats_vae.manifolds import LatentSpace
from tests import surfaces
from tests.manifolds import spaces
from tests.manifolds.spaces import draw

pytestmark = pytest.mark.skipif(not spaces.ON_TORCH, reason="numpy arrays have no derivatives")
TOLERANCES = {"eps": 1e-4, "atol": 1e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def metric():
    return LatentSpace(spaces.vae_like_decoder(), 2, on_failure="raise", **spaces.TIGHT).metric


def leaves(*shapes):
    return [
        torch.from_numpy(draw(*shape, scale=0.5, seed=seed)).requires_grad_()
        for seed, shape in enumerate(shapes)
    ]


@pytest.mark.parametrize(
    "name",
    [
        "dist",
        "squared_dist",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("log", "exp")),
    ],
)
def test_pairs(metric, name):
    for shapes in ([(2, 2), (2, 2)], [(2,), (2, 2)]):
        assert torch.autograd.gradcheck(getattr(metric, name), leaves(*shapes), **TOLERANCES)


@pytest.mark.parametrize("name", ["metric_matrix", "cometric_matrix", "volume_density"])
def test_points(metric, name):
    assert torch.autograd.gradcheck(getattr(metric, name), leaves((3, 2)))


def test_pairwise(metric):
    assert torch.autograd.gradcheck(metric.dist_pairwise, leaves((3, 2)), **TOLERANCES)


@pytest.mark.long
def test_one_end_only(metric):
    point, base = leaves((2,), (2,))
    for name in ("dist", "log", "exp"):
        assert torch.autograd.gradcheck(
            lambda p, name=name: getattr(metric, name)(p, base.detach()), [point], **TOLERANCES
        )


def test_distance_at_coincident_points(metric):
    (z,) = leaves((2, 2))
    for value in (metric.dist(z, z.detach()), metric.squared_dist(z, z.detach())):
        (slope,) = torch.autograd.grad(value.sum(), z)
        assert torch.equal(slope, torch.zeros_like(slope))


def test_norms_at_the_zero_vector(metric):
    (base,) = leaves((3, 2))
    vector = torch.zeros(3, 2, dtype=torch.float64)
    vector[1] = 1.0
    for name in ("norm", "squared_norm", "normalize"):
        v = vector.clone().requires_grad_()
        value = getattr(metric, name)(v, base)
        slopes = torch.autograd.grad(value.square().sum() + value.sum(), [v, base])
        for slope in slopes:
            assert slope.isfinite().all()
            assert torch.equal(slope[[0, 2]], torch.zeros_like(slope[[0, 2]]))
        assert slopes[0][1].abs().max() > 0.0
        assert torch.equal(value[0], torch.zeros_like(value[0]))


def test_maps_at_coincident_points(metric):
    (z,) = leaves((2, 2))
    eye = torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    for function, sign in (
        (lambda a: metric.log(a, z.detach()), 1.0),
        (lambda a: metric.log(z.detach(), a), -1.0),
        (lambda a: metric.exp(torch.zeros_like(z), a), 1.0),
        (lambda a: metric.exp(a - z.detach(), z.detach()), 1.0),
    ):
        jacobian = torch.autograd.functional.jacobian(lambda a, f=function: f(a).sum(0), z)
        torch.testing.assert_close(jacobian.transpose(0, 1), sign * eye, rtol=1e-6, atol=1e-6)
    (slope,) = torch.autograd.grad(metric.dist_pairwise(z[[0, 0, 1]]).sum(), z)
    assert slope.isfinite().all()


@pytest.mark.parametrize("name", ["norm", "squared_norm", "normalize"])
def test_norms(metric, name):
    for shapes in ([(2, 2), (2, 2)], [(3, 2), (2,)], [(2,), (3, 2)]):
        assert torch.autograd.gradcheck(getattr(metric, name), leaves(*shapes))
    assert torch.autograd.gradcheck(metric.inner_product, leaves((2,), (3, 2), (2,)))


def test_second_derivatives_are_refused_rather_than_wrong(metric):
    a, b = leaves((2,), (2,))
    (slope,) = torch.autograd.grad(metric.dist(a, b), a, create_graph=True)
    with pytest.raises(RuntimeError, match="grad"):
        torch.autograd.grad(slope.sum(), a)


def test_detached_unless_an_input_asks(metric):
    a, b = leaves((2,), (2,))
    assert metric.dist(a, b).requires_grad
    assert not metric.dist(a.detach(), b.detach()).requires_grad
    with torch.no_grad():
        assert not metric.dist(a, b).requires_grad
        assert not metric.metric_matrix(a).requires_grad


def test_parameters_of_a_function_do_not_leak():
    scale = torch.ones(3, dtype=torch.float64, requires_grad=True)
    metric = LatentSpace(lambda z: scale * surfaces.sphere(z), 2).metric
    assert not metric.metric_matrix(torch.zeros(2, dtype=torch.float64)).requires_grad


def test_single_precision_gradients(metric):
    a, b = (leaf.detach().float().requires_grad_() for leaf in leaves((2,), (2,)))
    metric.dist(a, b).backward()
    assert a.grad.dtype == torch.float32


def test_what_a_metric_keeps_from_inference_mode_is_differentiable_later():
    with torch.inference_mode():
        a, b = (leaf.detach() for leaf in leaves((2, 2), (2, 2)))
        metric = LatentSpace(spaces.vae_like_decoder(), 2).metric
        inside = [metric.dist(a, b), metric.metric_matrix(a), metric.jacobian_christoffels(a)]
    for leaf in (a.clone().requires_grad_(), a):
        dist, matrix = metric.dist(leaf, b), metric.metric_matrix(leaf)
        torch.testing.assert_close(dist.detach(), inside[0])
        torch.testing.assert_close(matrix.detach(), inside[1])
        torch.testing.assert_close(metric.jacobian_christoffels(leaf).detach(), inside[2])
    leaf = a.clone().requires_grad_()
    assert torch.autograd.gradcheck(metric.metric_matrix, [leaf])
