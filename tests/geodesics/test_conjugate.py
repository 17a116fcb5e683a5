"""Steihaug's path against dense linear algebra."""

import math

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics.chains import Chains
from geomstats_vae.geodesics.conjugate import SteihaugPaths
from geomstats_vae.geodesics.model_options import MatrixFreeOptions

SIZE = 8


def problem(eigenvalues, seed=0, precondition=True):
    """Symmetric matrix, preconditioner's inverse and right-hand side, shaped as a curve's nodes.

    The eigenvalues are those relative to the preconditioner's inverse.
    """
    generator = np.random.default_rng(seed)
    root = np.eye(SIZE)
    if precondition:
        root = root + 0.3 * generator.standard_normal((SIZE, SIZE))
    basis, _ = np.linalg.qr(generator.standard_normal((SIZE, SIZE)))
    matrix = root @ (basis * eigenvalues) @ basis.T @ root.T
    right = root @ basis @ (1.0 + generator.uniform(size=SIZE))
    return matrix, root @ root.T, right


def shaped(vector):
    return torch.as_tensor(vector).reshape(SIZE // 2, 2)


class Dense:
    """Dense matrices of chains of as many nodes, as a problem."""

    def __init__(self, matrices, inverses, dtype=torch.float64, calls=None):
        self.matrices, self.inverses = matrices, inverses
        self.dtype, self.calls = dtype, [] if calls is None else calls
        counts = np.full(len(matrices), SIZE // 2 - 1)
        self.chains = Chains(counts, 1, torch.device("cpu"))

    def _multiply(self, matrices, x):
        matrix = torch.tensor(np.stack(matrices), dtype=self.dtype)
        return (matrix @ x.reshape(len(matrices), SIZE, 1)).reshape(-1, 2)

    def product(self, x):
        self.calls.append(len(self.chains))
        return self._multiply(self.matrices, x)

    def precondition(self, x):
        return self._multiply([np.linalg.inv(inverse) for inverse in self.inverses], x)

    def take(self, chains):
        matrices, inverses = ([part[k] for k in chains] for part in (self.matrices, self.inverses))
        return Dense(matrices, inverses, self.dtype, self.calls)


class OnePath:
    """The only path of a batch of one."""

    def __init__(self, paths):
        self._paths = paths
        self.decrement, self.softest = float(paths.decrement[0]), float(paths.softest[0])
        self.definite, self.n_products = bool(paths.definite[0]), int(paths.n_products[0])

    def within(self, radius):
        x, decrease, size = self._paths.within(np.array([radius]))
        return x, float(decrease[0]), float(size[0])


def path_of(matrix, inverse, right, rtol=1e-12, radius=math.inf, dtype=torch.float64):
    problem, bounds = Dense([matrix], [inverse], dtype), (np.array([rtol]), np.array([radius]))
    paths = SteihaugPaths(problem, shaped(right).to(dtype), *bounds, MatrixFreeOptions())
    assert paths.n_products[0] == len(problem.calls)
    return OnePath(paths)


def flat(x):
    return x.flatten().double().numpy()


def model(matrix, right, x):
    return right @ x - 0.5 * x @ matrix @ x


def trust_region(matrix, inverse, right, radius):
    """The exact minimiser within the bound, by the secular equation."""
    root = np.linalg.cholesky(inverse)
    inner = np.linalg.solve(root, np.linalg.solve(root, matrix).T)
    values, vectors = np.linalg.eigh(0.5 * (inner + inner.T))
    load = vectors.T @ np.linalg.solve(root, right)
    low, high = max(0.0, -values[0]), max(0.0, -values[0]) + np.linalg.norm(load) / radius
    if values[0] > 0.0 and np.linalg.norm(load / values) <= radius:
        high = 0.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        with np.errstate(divide="ignore"):
            outside = np.linalg.norm(load / (values + middle)) > radius
        low, high = (middle, high) if outside else (low, middle)
    return np.linalg.solve(root.T, vectors @ (load / (values + high)))


DEFINITE = {
    "mild": np.linspace(0.5, 2.0, SIZE),
    "spread": np.geomspace(1e-3, 1e2, SIZE),
    "two values": np.array([1.0] * 5 + [3.0] * 3),
    "identity": np.ones(SIZE),
}


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("name", DEFINITE)
def test_definite_matrices(name, precondition):
    matrix, inverse, right = problem(DEFINITE[name], precondition=precondition)
    path = path_of(matrix, inverse, right)
    exact = np.linalg.solve(matrix, right)
    x, decrease, size = path.within(math.inf)
    np.testing.assert_allclose(flat(x), exact, rtol=1e-7, atol=1e-9)
    assert path.definite
    assert path.decrement == pytest.approx(right @ exact, rel=1e-9)
    assert decrease == pytest.approx(0.5 * right @ exact, rel=1e-9)
    assert size == pytest.approx((exact @ inverse @ exact) ** 0.5, rel=1e-7)
    assert path.softest >= DEFINITE[name].min() * (1.0 - 1e-9)
    # Conjugate gradients end after as many products as there are distinct eigenvalues.
    if name in ("two values", "identity"):
        assert path.n_products == len(np.unique(DEFINITE[name]))


@pytest.mark.parametrize("rtol", [0.5, 0.1, 1e-3])
def test_decrement_bounds_that_of_the_exact_solution(rtol):
    for seed in range(10):
        matrix, inverse, right = problem(np.geomspace(0.1, 10.0, SIZE), seed)
        path = path_of(matrix, inverse, right, rtol)
        exact = right @ np.linalg.solve(matrix, right)
        x, decrease, _ = path.within(math.inf)
        assert 2.0 * decrease <= exact * (1.0 + 1e-12)
        assert path.decrement >= 2.0 * decrease * (1.0 - 1e-12)
        residual = right - matrix @ flat(x)
        left = residual @ np.linalg.solve(inverse, residual)
        assert left <= rtol**2 * (right @ np.linalg.solve(inverse, right))
        # What is missing is bounded by the residual and the softest curvature that was met.
        assert path.decrement == pytest.approx(2.0 * decrease + left / path.softest, rel=1e-9)


@pytest.mark.parametrize("kind", ["definite", "indefinite"])
def test_every_bound_gives_a_point_on_it(kind):
    values = np.linspace(-0.5 if kind == "indefinite" else 0.2, 3.0, SIZE)
    matrix, inverse, right = problem(values)
    path = path_of(matrix, inverse, right, radius=3.0)
    last, decreases = None, []
    for radius in np.linspace(0.01, 3.0, 40):
        x, decrease, size = path.within(radius)
        x = flat(x)
        assert decrease == pytest.approx(model(matrix, right, x), rel=1e-8, abs=1e-12)
        assert size == pytest.approx((x @ inverse @ x) ** 0.5, rel=1e-8)
        assert size == pytest.approx(radius, rel=1e-9) or kind == "definite"
        assert size <= radius * (1.0 + 1e-9)
        if last is not None:  # the path is continuous
            step = x - last
            assert (step @ inverse @ step) ** 0.5 < 0.5
        last = x
        decreases.append(decrease)
    assert (np.diff(decreases) >= -1e-12).all()


@pytest.mark.parametrize("radius", [0.05, 0.5, 2.0, 10.0])
@pytest.mark.parametrize(
    "values",
    [np.linspace(0.2, 3.0, SIZE), np.linspace(-1.0, 3.0, SIZE), -np.linspace(1.0, 2.0, SIZE)],
    ids=["definite", "indefinite", "negative"],
)
def test_steps_within_a_bound_gain_a_share_of_the_best(values, radius):
    for seed in range(5):
        matrix, inverse, right = problem(values, seed)
        path = path_of(matrix, inverse, right, 1e-8, radius)
        x, decrease, size = path.within(radius)
        assert size <= radius * (1.0 + 1e-9)
        assert decrease == pytest.approx(model(matrix, right, flat(x)), rel=1e-8)
        best = model(matrix, right, trust_region(matrix, inverse, right, radius))
        assert decrease <= best * (1.0 + 1e-6)
        # Half of it where the model is convex, by a theorem of Yuan; else at least Cauchy's point.
        cauchy = np.linalg.solve(inverse, right)
        norm, bend = right @ cauchy, cauchy @ matrix @ cauchy
        reach = radius / norm**0.5
        reach = min(reach, norm / bend) if bend > 0.0 else reach
        least = model(matrix, right, reach * cauchy)
        assert decrease >= (0.5 * best if values[0] > 0.0 else least) * (1.0 - 1e-9)


@pytest.mark.parametrize("radius", [1e3, math.inf])
def test_negative_curvature_is_told(radius):
    values = np.array([-0.5, 0.5, 0.7, 1.0, 1.0, 1.5, 2.0, 3.0])
    matrix, inverse, right = problem(values, 2)
    path = path_of(matrix, inverse, right, radius=radius)
    assert not path.definite
    assert -0.5 - 1e-9 <= path.softest < 0.0
    assert path.decrement == math.inf
    x, decrease, size = path.within(min(radius, 1e6))
    assert torch.isfinite(x).all()
    assert decrease > 0.0
    assert size == pytest.approx(min(radius, 1e6), rel=1e-9)


@pytest.mark.parametrize("radius", [1.0, math.inf])
def test_negative_curvature_in_the_first_direction(radius):
    matrix, inverse, right = problem(-np.linspace(1.0, 2.0, SIZE))
    path = path_of(matrix, inverse, right, radius=radius)
    assert not path.definite
    assert path.decrement == math.inf
    assert path.n_products == 1
    x, _, size = path.within(0.7)
    descent = np.linalg.solve(inverse, right)
    expected = 0.7 * descent / (descent @ inverse @ descent) ** 0.5
    np.testing.assert_allclose(flat(x), expected, rtol=1e-9)
    assert size == pytest.approx(0.7)


def test_a_bound_that_cuts_the_path_leaves_the_decrement_open():
    matrix, inverse, right = problem(np.linspace(0.2, 3.0, SIZE))
    whole = path_of(matrix, inverse, right)
    radius = 0.5 * whole.within(math.inf)[2]
    path = path_of(matrix, inverse, right, radius=radius)
    assert path.definite
    assert path.decrement == math.inf
    for a, b in zip(path.within(radius), whole.within(radius), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("n_null", [1, 4])
def test_singular_matrices_whose_null_space_is_not_loaded(n_null):
    values = np.linspace(0.5, 2.0, SIZE)
    values[:n_null] = 0.0
    matrix, inverse, _ = problem(values)
    right = matrix @ np.cos(np.arange(SIZE))
    path = path_of(matrix, inverse, right, 1e-8)
    x, decrease, _ = path.within(math.inf)
    assert path.definite
    expected = right @ np.linalg.lstsq(matrix, right, rcond=1e-10)[0]
    assert path.decrement == pytest.approx(expected, rel=1e-9)
    assert decrease == pytest.approx(0.5 * expected, rel=1e-9)
    np.testing.assert_allclose(matrix @ flat(x), right, atol=1e-7)


@pytest.mark.parametrize("matrix", [np.zeros((SIZE, SIZE)), np.eye(SIZE)], ids=["zero", "one"])
def test_nothing_to_gain(matrix):
    path = path_of(matrix, np.eye(SIZE), np.zeros(SIZE))
    x, decrease, size = path.within(1.0)
    assert (path.definite, path.decrement, path.n_products) == (True, 0.0, 0)
    assert (flat(x) == 0.0).all()
    assert decrease == size == 0.0


def test_float32():
    matrix, inverse, right = problem(np.geomspace(0.1, 10.0, SIZE))
    path = path_of(matrix, inverse, right, 1e-4, dtype=torch.float32)
    x, decrease, _ = path.within(math.inf)
    exact = np.linalg.solve(matrix, right)
    assert x.dtype == torch.float32
    np.testing.assert_allclose(flat(x), exact, rtol=1e-2, atol=1e-3)
    assert decrease == pytest.approx(0.5 * right @ exact, rel=1e-4)


def test_the_right_hand_side_is_left_as_it_is():
    matrix, inverse, right = problem(np.linspace(0.2, 3.0, SIZE))
    given = shaped(right.copy())
    bounds = np.array([1e-8]), np.array([math.inf])
    SteihaugPaths(Dense([matrix], [inverse]), given, *bounds, MatrixFreeOptions())
    np.testing.assert_array_equal(flat(given), right)


SPECTRA = {
    "easy": np.ones(SIZE),
    "hard": np.geomspace(1e-3, 1e2, SIZE),
    "indefinite": np.linspace(-1.0, 3.0, SIZE),
    "negative": -np.linspace(1.0, 2.0, SIZE),
    "mild": np.linspace(0.5, 2.0, SIZE),
}


@pytest.mark.parametrize("leave", [0.0, 0.5, 1.0])
def test_a_batch_is_its_chains_one_by_one(leave):
    """Whoever leaves: matrices that take from one product to as many as there are unknowns."""
    parts = [problem(values, seed) for seed, values in enumerate(SPECTRA.values())]
    matrices, inverses, rights = zip(*parts, strict=True)
    rtol, radius = np.array([1e-8, 1e-10, 1e-4, 1e-8, 0.3]), np.array([9.0, 9e3, 2.0, 1.0, 0.4])
    right = torch.cat([shaped(part) for part in rights])
    batch, options = Dense(matrices, inverses), MatrixFreeOptions(leave=leave)
    paths = SteihaugPaths(batch, right, rtol, radius, options)
    bounds = 0.7 * radius
    x, decrease, size = paths.within(bounds)
    for k, (matrix, inverse, load) in enumerate(parts):
        alone = path_of(matrix, inverse, load, rtol[k], radius[k])
        assert paths.definite[k] == alone.definite
        assert paths.n_products[k] == alone.n_products
        assert paths.decrement[k] == pytest.approx(alone.decrement, rel=1e-9)
        assert paths.softest[k] == pytest.approx(alone.softest, rel=1e-6)
        expected = alone.within(bounds[k])
        rows = slice(k * SIZE // 2, (k + 1) * SIZE // 2)
        np.testing.assert_allclose(x[rows], expected[0], rtol=1e-7, atol=1e-9)
        assert (decrease[k], size[k]) == pytest.approx(expected[1:], rel=1e-9)
    # Those that are done are left out of the products, once they make up the share.
    assert batch.calls[0] == len(parts)
    assert (batch.calls[-1] == len(parts)) == (leave == 0.0)


def test_directions_of_negative_curvature():
    parts = [problem(values, seed) for seed, values in enumerate(SPECTRA.values())]
    matrices, inverses, rights = zip(*parts, strict=True)
    right, n_chains = torch.cat([shaped(part) for part in rights]), len(parts)
    bounds = np.full(n_chains, 1e-8), np.full(n_chains, math.inf)
    paths = SteihaugPaths(Dense(matrices, inverses), right, *bounds, MatrixFreeOptions())
    for k, (matrix, inverse) in enumerate(zip(matrices, inverses, strict=True)):
        descent = flat(paths.descent[k * SIZE // 2 : (k + 1) * SIZE // 2])
        if paths.definite[k]:
            np.testing.assert_array_equal(descent, 0.0)
        else:
            assert descent @ inverse @ descent == pytest.approx(1.0)
            assert descent @ matrix @ descent < 0.0
