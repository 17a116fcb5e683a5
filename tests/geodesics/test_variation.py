"""First and second variations without matrices: against differences, and against matrices."""

import math

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics import variation as variation_module
from geomstats_vae.geodesics.assembled import AssembledModel
from geomstats_vae.geodesics.chains import Chains
from geomstats_vae.geodesics.curves.chain import Curves, concatenate, straight
from geomstats_vae.geodesics.frames import Frames
from geomstats_vae.geodesics.matrix_free import MatrixFreeModel
from geomstats_vae.geodesics.model_options import MatrixFreeOptions
from geomstats_vae.geodesics.variation import CurveVariations
from geomstats_vae.immersions import AutodiffImmersion
from tests import surfaces


class ExactFrames(Frames):
    """Orthonormal at the quadrature points as well, where other frames are interpolated."""

    @classmethod
    def of(cls, evaluator, nodes):
        frames = cls(Frames.along(evaluator.immersion, nodes).values)
        frames.evaluator, frames.nodes = evaluator, nodes
        return frames

    def at(self, points):
        where = torch.einsum("qa,ead->eqd", self.evaluator.rule("interpolate"), self.nodes)
        metric = self.evaluator.immersion.metric(where.flatten(0, 1))
        return torch.linalg.cholesky(torch.linalg.inv(metric)).unflatten(0, where.shape[:2])


def bent(dim, degree=4, n_elements=3, size=0.05, seed=3):
    generator = np.random.default_rng(seed)
    start, end = 0.5 * generator.standard_normal((2, 1, dim))
    curves = straight(start, end, n_elements, degree)
    chains = Chains(curves.counts, degree, torch.device("cpu"))
    bump = torch.tensor(size * generator.standard_normal((chains.n_nodes, dim)))
    return Curves(curves.nodes + chains.at_elements(chains.fix_ends(bump)).numpy(), curves.counts)


def vary(immersion, curves, exact=True, chunk_size=10**6):
    model = MatrixFreeModel(immersion, curves.degree, chunk_size)
    nodes, counts = model.tensor(curves.nodes), curves.counts
    frames = ExactFrames.of(model, nodes) if exact else Frames.along(immersion, nodes, counts)
    return CurveVariations(model, nodes, counts, frames, MatrixFreeOptions())


def draw(variation, seed=0):
    generator = torch.Generator().manual_seed(seed)
    right = variation.right
    random = torch.randn(right.shape, generator=generator, dtype=torch.float64).to(right)
    return variation.chains.fix_ends(random)


def assembled(matrices, local):
    """Product of element matrices with nodal values, as a chain's."""
    image = np.einsum("eab,eb->ea", matrices, local.reshape(len(local), -1))
    return gathered(image, local.shape)


def gathered(vectors, shape):
    values = vectors.reshape(shape)
    total = np.zeros(((shape[0] * (shape[1] - 1)) + 1, shape[2]))
    for k, part in enumerate(values):
        total[k * (shape[1] - 1) : (k + 1) * (shape[1] - 1) + 1] += part
    total[[0, -1]] = 0.0
    return total


CASES = {
    "sphere": (surfaces.sphere, 2),
    "sphere of three dimensions": (surfaces.sphere, 3),
    "torus": (surfaces.torus, 2),
    "paraboloid": (surfaces.paraboloid, 2),
    "swiss_roll": (surfaces.swiss_roll, 2),
    "plane": (surfaces.plane, 2),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    surface, dim = CASES[request.param]
    immersion, curves = surfaces.immersion_of(surface, dim), bent(dim)
    return immersion, curves, AssembledModel(immersion, 4).variation(curves.nodes)


def test_first_variations_equal_those_of_the_matrix_path(case):
    immersion, curves, expected = case
    found = MatrixFreeModel(immersion, 4).variation(curves.nodes)
    for name in ("length", "gradient", "turning"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-10
        )
    assert found.finite.all()
    right = -gathered(expected.gradient, curves.nodes.shape)
    np.testing.assert_allclose(vary(immersion, curves).right, right, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("curvature", [True, False])
def test_products_equal_those_of_the_matrices(case, curvature):
    immersion, curves, system = case
    variation = vary(immersion, curves)
    x = draw(variation)
    matrices = system.stiffness + system.curvature if curvature else system.stiffness
    expected = assembled(matrices, variation.chains.at_elements(x).numpy())
    found = variation.product(x, curvature=curvature)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
    # Interpolated frames say nearly the same.
    rough = vary(immersion, curves, exact=False).product(x, curvature=curvature)
    assert (rough - found).norm() <= 0.02 * found.norm()


@pytest.mark.parametrize("dim", [2, 16])
def test_the_gradient_is_the_derivative_of_the_length(dim):
    immersion, curves = surfaces.immersion_of(surfaces.sphere, dim), bent(dim)
    variation, h = vary(immersion, curves, exact=False), 1e-5
    x = draw(variation)
    step = h * variation.chains.at_elements(x).numpy()
    evaluator = MatrixFreeModel(immersion, 4)
    ahead, behind = (evaluator.variation(curves.nodes + s * step).length.sum() for s in (1, -1))
    assert -float((variation.right * x).sum()) == pytest.approx(
        (ahead - behind) / (2 * h), rel=1e-6
    )


def diameter(dim, reach, n_elements=2, degree=8):
    """A great circle through the sphere's chart."""
    end = np.full((1, dim), reach / math.sqrt(dim))
    return straight(-end, end, n_elements, degree)


@pytest.mark.parametrize("dim", [2, 16])
def test_the_second_variation_of_a_geodesic_is_the_derivative_of_the_gradient(dim):
    immersion = surfaces.immersion_of(surfaces.sphere, dim)
    curves = diameter(dim, 0.6)
    variation, h = vary(immersion, curves, exact=False), 1e-5
    # A smooth bump, normal to the curve.
    node = curves.nodes[..., :1]
    bump = (0.36 / dim - node**2) * (1.0 + node) * np.sin(1.0 + np.arange(dim))
    bump = bump - bump.mean(axis=2, keepdims=True)
    evaluator = MatrixFreeModel(immersion, 8)
    ahead, behind = (
        gathered(evaluator.variation(curves.nodes + s * h * bump).gradient, bump.shape)
        for s in (1, -1)
    )
    x = variation.chains.join(torch.tensor(bump))
    expected = (x.numpy() * (ahead - behind)).sum() / (2 * h)
    assert float((x * variation.product(x)).sum()) == pytest.approx(expected, rel=1e-3)


def network(dim, seed=0, width=12):
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(width, dim, generator=generator, dtype=torch.float64) / dim**0.5
    last = torch.randn(2 * width, width, generator=generator, dtype=torch.float64)
    return lambda z: torch.tanh(z @ first.to(z).T) @ last.to(z).T


@pytest.mark.parametrize("dim", [2, 16])
def test_products_are_symmetric_and_linear(dim):
    variation = vary(surfaces.immersion_of(network(dim, width=24), dim), bent(dim), exact=False)
    x, y = draw(variation, 1), draw(variation, 2)
    hx, hy = variation.product(x), variation.product(y)
    assert float((y * hx).sum()) == pytest.approx(float((x * hy).sum()), rel=1e-9)
    torch.testing.assert_close(variation.product(2.0 * x - y), 2.0 * hx - hy)
    assert (hx[[0, -1]] == 0.0).all()
    assert (variation.right[[0, -1]] == 0.0).all()
    # Gauss-Newton's matrix is semi-definite.
    assert float((x * variation.product(x, curvature=False)).sum()) > 0.0


@pytest.mark.parametrize("kept", [0, 2**40])
@pytest.mark.parametrize("chunk_size", [1, 11, 1000])
def test_memory_changes_nothing(kept, chunk_size, monkeypatch):
    immersion, curves = surfaces.immersion_of(network(16), 16), bent(16, n_elements=5)
    whole = vary(immersion, curves, exact=False)
    x = draw(whole)
    monkeypatch.setattr(variation_module, "_KEPT_BYTES", kept)
    variation = vary(immersion, curves, exact=False, chunk_size=chunk_size)
    torch.testing.assert_close(variation.right, whole.right, rtol=1e-10, atol=1e-11)
    for curvature in (True, False, True):
        torch.testing.assert_close(
            variation.product(x, curvature=curvature),
            whole.product(x, curvature=curvature),
            rtol=1e-10,
            atol=1e-10,
        )
    system = MatrixFreeModel(immersion, 4, chunk_size).variation(curves.nodes)
    np.testing.assert_allclose(
        system.gradient, MatrixFreeModel(immersion, 4, 10**6).variation(curves.nodes).gradient
    )


def test_float32():
    curves, function = bent(16), network(16, width=24)
    exact = vary(AutodiffImmersion(function, 16), curves, exact=False)
    x = draw(exact)
    single = AutodiffImmersion(function, 16, dtype=torch.float32)
    variation = vary(single, curves, exact=False)
    assert variation.right.dtype == torch.float32
    found = variation.product(x.float())
    assert found.dtype == torch.float32
    assert (variation.right.double() - exact.right).norm() < 1e-3 * exact.right.norm()
    assert (found.double() - exact.product(x)).norm() < 1e-3 * exact.product(x).norm()


@pytest.mark.parametrize("dim", [2, 16])
@pytest.mark.parametrize("reach", [0.5, 0.95, 1.05, 1.5])
def test_arcs_are_definite_up_to_half_the_circle(dim, reach):
    immersion = surfaces.immersion_of(surfaces.sphere, dim)
    variation = vary(immersion, diameter(dim, reach, 4), exact=False)
    assert variation.finite.all()
    assert variation.definite()[0] == (reach < 1.0)


@pytest.mark.parametrize("dim", [2, 16])
def test_few_products_suffice_in_parallel_frames(dim):
    variation = vary(
        surfaces.immersion_of(surfaces.sphere, dim), bent(dim, 8, 4, 0.01), exact=False
    )
    paths = variation.paths(np.array([1e-6]))
    assert paths.definite[0]
    assert paths.n_products[0] < 20
    x = paths.within(np.array([math.inf]))[0]
    assert (variation.product(x) - variation.right).norm() < 1e-3 * variation.right.norm()
    assert variation.expected()[0] == pytest.approx(paths.decrement[0], rel=0.5)


def test_where_the_decoder_is_not_finite_nothing_is():
    curves = straight(np.full((1, 2), -1.0), np.ones((1, 2)), 2, 4)
    immersion = surfaces.immersion_of(torch.sqrt)
    assert not vary(immersion, curves, exact=False).finite[0]
    system = MatrixFreeModel(immersion, 4).variation(curves.nodes)
    np.testing.assert_array_equal(system.finite, [False, True])


def test_a_batch_is_its_curves_one_by_one():
    """Of different numbers of elements, and one where the decoder is not finite."""
    inner = network(16, width=24)

    def function(z):
        return torch.cat((inner(z), torch.sqrt(z[:, :1] + 4.0)), dim=1)

    immersion = surfaces.immersion_of(function, 16)
    parts = [bent(16, n_elements=n, seed=k) for k, n in enumerate((3, 1, 6, 2))]
    parts[2] = Curves(parts[2].nodes - 10.0, parts[2].counts)
    whole = vary(immersion, concatenate(parts), exact=False, chunk_size=20)
    np.testing.assert_array_equal(whole.finite, [True, True, False, True])
    x, definite = draw(whole), whole.definite()
    product, paths = whole.product(x), whole.paths(np.full(4, 1e-6))
    step, decrease, size = paths.within(np.full(4, 0.1))
    for k, part in enumerate(parts):
        if k == 2:
            continue
        alone, nodes = vary(immersion, part, exact=False), slice(*whole.chains.starts[k : k + 2])
        torch.testing.assert_close(alone.right, whole.right[nodes], rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(alone.product(x[nodes]), product[nodes], rtol=1e-9, atol=1e-9)
        assert alone.definite()[0] == definite[k]
        path = alone.paths(np.array([1e-6]))
        assert path.n_products[0] == paths.n_products[k]
        assert path.decrement[0] == pytest.approx(paths.decrement[k], rel=1e-9)
        expected = path.within(np.array([0.1]))
        torch.testing.assert_close(step[nodes], expected[0], rtol=1e-7, atol=1e-9)
        assert (decrease[k], size[k]) == pytest.approx((expected[1][0], expected[2][0]), rel=1e-9)
