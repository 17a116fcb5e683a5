"""Geodesic solvers on geomstats' own metrics, against closed forms and geomstats' solvers."""

import pickle
from types import SimpleNamespace

import geomstats.backend as gs
import numpy as np
import pytest
from geomstats.geometry.base import VectorSpaceOpenSet
from geomstats.geometry.euclidean import Euclidean
from geomstats.geometry.hypersphere import Hypersphere
from geomstats.geometry.poincare_ball import PoincareBall
from geomstats.geometry.poincare_half_space import PoincareHalfSpace, PoincareHalfSpaceMetric
from geomstats.geometry.riemannian_metric import RiemannianMetric
from geomstats.geometry.spd_matrices import SPDMatrices
from geomstats.information_geometry.beta import BetaDistributions
from geomstats.information_geometry.dirichlet import DirichletDistributions
from geomstats.information_geometry.gamma import GammaDistributions
from geomstats.information_geometry.normal import UnivariateNormalDistributions
from geomstats.learning.frechet_mean import FrechetMean
from geomstats.numerics.bvp import ScipySolveBVP
from geomstats.numerics.geodesic import LogODESolver

from geomstats_vae.geodesics import (
    GeodesicConvergenceError,
    GeodesicConvergenceWarning,
    GeodesicStatus,
)
from geomstats_vae.geodesics.flow import ExponentialSolver
from geomstats_vae.manifolds import AdaptiveExpSolver, CollocationLogSolver, LatentSpace
from tests.manifolds import spaces
from tests.manifolds.spaces import array, host

# Coarser than by default: every step asks geomstats for symbols, and takes its time.
EXPONENTIAL = ExponentialSolver(rtol=1e-7, atol=1e-9)
needs_autodiff = pytest.mark.skipif(
    not spaces.ON_TORCH, reason="geomstats derives these symbols automatically"
)


def stack(rows):
    """Symbols from their entries by upper index, row and column."""
    return gs.stack([gs.stack([gs.stack(r, axis=-1) for r in k], axis=-2) for k in rows], axis=-3)


class HalfPlaneMetric(PoincareHalfSpaceMetric):
    """With the symbols that geomstats' metric lacks."""

    def christoffels(self, base_point):
        y = base_point[..., 1]
        zero, slope = 0.0 * y, 1.0 / y
        return stack([[[zero, -slope], [-slope, zero]], [[slope, zero], [zero, -slope]]])


class PolarMetric(RiemannianMetric):
    """The plane's, in polar coordinates; geodesics that meet the origin end there."""

    def metric_matrix(self, base_point):
        radius = base_point[..., 0]
        rows = [[1.0 + 0.0 * radius, 0.0 * radius], [0.0 * radius, radius**2]]
        return gs.stack([gs.stack(row, axis=-1) for row in rows], axis=-2)

    def christoffels(self, base_point):
        radius = base_point[..., 0]
        zero = 0.0 * radius
        return stack(
            [[[zero, zero], [zero, -radius]], [[zero, 1.0 / radius], [1.0 / radius, zero]]]
        )


class PolarPlane(VectorSpaceOpenSet):
    def __init__(self):
        super().__init__(dim=2, embedding_space=Euclidean(2, equip=False), equip=False)
        self.equip_with_metric(PolarMetric)

    def belongs(self, point, atol=gs.atol):
        return point[..., 0] > -atol

    def projection(self, point):
        return point


def half_plane():
    return PoincareHalfSpace(2, equip=False).equip_with_metric(HalfPlaneMetric)


def pairs(n, low, high, seed=0):
    return np.random.default_rng(seed).uniform(low, high, (2, n, len(low)))


def both(space, **options):
    return AdaptiveExpSolver(space, EXPONENTIAL, **options), CollocationLogSolver(space, **options)


# Space, and where points lie.
CLOSED_FORMS = {
    "half plane": (half_plane, (-1.0, 0.5), (1.0, 2.0)),
    "flat": (lambda: Euclidean(3), (-1.0,) * 3, (1.0,) * 3),
    "ball": (lambda: PoincareBall(2), (-0.4, -0.4), (0.4, 0.4)),
    "normal distributions": (UnivariateNormalDistributions, (-0.5, 1.0), (0.5, 2.0)),
}
AUTOMATIC = ("ball", "normal distributions")
STATISTICAL = {
    "beta": (BetaDistributions, 2),
    "gamma": (GammaDistributions, 2),
    "dirichlet": (lambda: DirichletDistributions(3), 3),
}


@pytest.mark.parametrize(
    "name", [pytest.param(k, marks=needs_autodiff if k in AUTOMATIC else ()) for k in CLOSED_FORMS]
)
def test_exp_and_log_of_closed_forms(name):
    make, low, high = CLOSED_FORMS[name]
    space = make()
    start, end = map(array, pairs(2, low, high))
    exp_solver, log_solver = both(space)
    log = space.metric.log(end, start)
    np.testing.assert_allclose(host(log_solver.log(end, start)), host(log), atol=1e-7)
    times = array([0.3, 1.0])
    exact = host(space.metric.geodesic(start, initial_tangent_vec=log)(times))
    for path in (log_solver.geodesic_bvp(end, start), exp_solver.geodesic_ivp(log, start)):
        np.testing.assert_allclose(host(path(times)), exact, atol=1e-6)


def test_the_sphere_in_spherical_coordinates():
    space, ambient = Hypersphere(2, intrinsic=True), Hypersphere(2)
    start, end = pairs(4, (0.6, 0.0), (2.0, 1.5))
    exp_solver, log_solver = both(space)
    log = log_solver.log(array(end), array(start))
    outer = [space.intrinsic_to_extrinsic_coords(array(z)) for z in (start, end)]
    length = np.hypot(host(log)[:, 0], np.sin(start[:, 0]) * host(log)[:, 1])
    np.testing.assert_allclose(length, host(ambient.metric.dist(*outer)), rtol=1e-7)
    np.testing.assert_allclose(host(exp_solver.exp(log, array(start))), end, atol=1e-6)


@pytest.mark.parametrize("name", STATISTICAL)
def test_exp_inverts_log_on_distributions(name):
    make, dim = STATISTICAL[name]
    space = make()
    start, end = map(array, pairs(4, (0.4,) * dim, (3.0,) * dim))
    exp_solver, log_solver = both(space, on_failure="raise")
    log = log_solver.log(end, start)
    np.testing.assert_allclose(host(exp_solver.exp(log, start)), host(end), atol=1e-6)
    speed = space.metric.norm(log_solver.solve_geodesic(start, end).final_velocity, end)
    np.testing.assert_allclose(host(speed), host(space.metric.norm(log, start)), rtol=1e-7)


@pytest.mark.parametrize("name", ["beta", "gamma"])
def test_logs_agree_with_those_of_geomstats(name):
    space = STATISTICAL[name][0]()
    start, end = map(array, pairs(2, (0.8, 0.8), (2.0, 2.0)))
    theirs = LogODESolver(space, integrator=ScipySolveBVP(tol=1e-7)).log(end, start)
    ours = CollocationLogSolver(space).log(end, start)
    np.testing.assert_allclose(host(ours), host(theirs), atol=1e-6)


def test_symbols_are_differentiated_by_the_metric_or_by_differences():
    kind, calls = type(GammaDistributions().metric), []

    class Recording(kind):
        def jacobian_christoffels(self, base_point):
            calls.append(len(base_point))
            return super().jacobian_christoffels(base_point)

    class Without(kind):
        jacobian_christoffels = None

    start, end = map(array, pairs(3, (0.4, 0.4), (2.0, 2.0)))
    by_formula, by_differences = (
        CollocationLogSolver(GammaDistributions(equip=False).equip_with_metric(metric))
        for metric in (Recording, Without)
    )
    log = host(by_formula.log(end, start))
    assert calls
    np.testing.assert_allclose(host(by_differences.log(end, start)), log, atol=1e-9)


def test_frechet_mean_of_beta_distributions():
    space = BetaDistributions()
    space.metric.exp_solver, space.metric.log_solver = both(space, on_failure="raise")
    points = array(pairs(4, (0.5, 0.5), (3.0, 3.0))[0])
    mean = FrechetMean(space).set(epsilon=1e-12).fit(points).estimate_
    gradient = host(space.metric.log(points, mean)).mean(axis=0)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-5)


def test_geodesics_of_geomstats_metrics_use_them():
    space = GammaDistributions()
    space.metric.exp_solver, space.metric.log_solver = both(space)
    start, end = map(array, pairs(3, (0.5, 0.5), (2.0, 2.0)))
    by_ends = space.metric.geodesic(start, end_point=end)
    by_velocity = space.metric.geodesic(start, initial_tangent_vec=space.metric.log(end, start))
    times = array([0.0, 0.25, 1.0])
    assert by_ends(times).shape == by_velocity(times).shape == (3, 3, 2)
    np.testing.assert_allclose(host(by_ends(times)), host(by_velocity(times)), atol=1e-6)
    np.testing.assert_allclose(host(by_ends(1.0))[:, 0], host(end), atol=1e-14)
    single = space.metric.geodesic(start[0], end_point=end[0])
    assert single(0.5).shape == (1, 2)
    assert single(times).shape == (3, 2)
    beyond = space.metric.geodesic(start[0], initial_tangent_vec=end[0])(array([-0.1, 1.5]))
    assert np.isfinite(host(beyond)).all()


def test_a_scaled_metric_has_the_same_geodesics():
    space = half_plane()
    start, end = map(array, pairs(2, (-1.0, 0.3), (1.0, 2.0)))
    log = CollocationLogSolver(space).log(end, start)
    space.equip_with_metric(4.0 * space.metric)
    exp_solver, log_solver = both(space)
    np.testing.assert_allclose(host(log_solver.log(end, start)), host(log), atol=1e-12)
    np.testing.assert_allclose(host(exp_solver.exp(log, start)), host(end), atol=1e-6)


def test_decoder_metrics_agree_with_their_own_solvers():
    space = LatentSpace(spaces.vae_like_decoder(), 2, on_failure="raise", **spaces.TIGHT)
    start, end = (array(spaces.draw(3, 2, scale=0.5, seed=seed)) for seed in (0, 1))
    exp_solver, log_solver = both(space, on_failure="raise")
    log = space.metric.log(end, start, polish=True)
    np.testing.assert_allclose(host(log_solver.log(end, start)), host(log), atol=1e-7)
    moved = space.metric.exp(log, start)
    np.testing.assert_allclose(host(exp_solver.exp(log, start)), host(moved), atol=1e-6)


def test_a_connection_without_a_metric_is_enough():
    """As spaces have it on geomstats' main branch."""
    space, equipped = PoincareHalfSpace(2, equip=False), half_plane()
    space.connection = SimpleNamespace(
        geodesic_equation=equipped.metric.geodesic_equation,
        christoffels=equipped.metric.christoffels,
    )
    start, end = map(array, pairs(2, (-1.0, 0.3), (1.0, 2.0)))
    exp_solver, log_solver = both(space)
    log = log_solver.log(end, start)
    np.testing.assert_allclose(host(log), host(equipped.metric.log(end, start)), atol=1e-7)
    np.testing.assert_allclose(host(exp_solver.exp(log, start)), host(end), atol=1e-6)


# -- arrays -------------------------------------------------------------------------------------


def test_batches_broadcast_both_ways_and_may_be_empty():
    start, end = map(array, pairs(3, (-1.0, 0.3), (1.0, 2.0)))
    exp_solver, log_solver = both(half_plane())
    for function in (lambda v, z: exp_solver.exp(0.3 * v, z), log_solver.log):
        table = host(function(end[:, None], start))
        assert table.shape == (3, 3, 2)
        np.testing.assert_allclose(host(function(end, start[0])), table[:, 0], rtol=1e-9)
        np.testing.assert_allclose(host(function(end[0], start)), table[0], rtol=1e-9)
        np.testing.assert_allclose(host(function(end[0], start[0])), table[0, 0], rtol=1e-9)
        assert function(end[:0], start[0]).shape == (0, 2)
    assert log_solver.geodesic_bvp(end[:0], start[0])(array([0.0, 1.0])).shape == (0, 2, 2)
    assert exp_solver.geodesic_ivp(end[:0], start[0])(array([0.0, 1.0])).shape == (0, 2, 2)


def test_results_are_fresh_arrays_of_the_backend():
    start, end = map(array, pairs(2, (-1.0, 0.3), (1.0, 2.0)))
    exp_solver, log_solver = both(half_plane())
    log = log_solver.log(end, start)
    assert isinstance(log, type(start))
    kept = host(log).copy()
    moved = exp_solver.exp(log, start)
    moved[0, 0] = 7.0
    np.testing.assert_array_equal(host(log), kept)
    result = log_solver.solve_geodesic(start[:, None], end)
    assert result.status.shape == result.error.shape == result.n_iter.shape == (2, 2)
    assert host(result.converged).all()
    assert isinstance(result.path(0.5), type(start))
    np.testing.assert_allclose(host(result.initial_velocity)[[0, 1], [0, 1]], kept, rtol=1e-12)


@pytest.mark.skipif(not spaces.ON_TORCH, reason="only tensors have a type to keep")
def test_tensors_keep_their_type_and_carry_no_derivatives():
    start, end = (array(z) for z in pairs(2, (-1.0, 0.3), (1.0, 2.0)))
    for solver, name in zip(both(half_plane()), ("exp", "log"), strict=True):
        function = getattr(solver, name)
        exact = function(end, start)
        single = function(end.float(), start.float().requires_grad_())
        assert single.dtype == start.float().dtype
        assert not single.requires_grad
        np.testing.assert_allclose(host(single), host(exact), rtol=1e-5, atol=1e-6)


def test_solvers_are_pickled_with_their_space():
    start, end = map(array, pairs(2, (0.5, 0.5), (2.0, 2.0)))
    for solver in both(GammaDistributions()):
        again = pickle.loads(pickle.dumps(solver))
        name = "exp" if isinstance(solver, AdaptiveExpSolver) else "log"
        vector = 0.1 * end if name == "exp" else end
        expected = host(getattr(solver, name)(vector, start))
        np.testing.assert_array_equal(host(getattr(again, name)(vector, start)), expected)


# -- failures -----------------------------------------------------------------------------------


def test_a_log_that_does_not_exist_is_told_and_no_line():
    # No straight line around the origin turns by more than half of a circle.
    start, end = array([1.0, 0.0]), array([[1.0, 1.0], [1.0, 4.0]])
    options = {"max_iter": 20}
    warn = CollocationLogSolver(PolarPlane(), **options)
    for call in (warn.log, warn.geodesic_bvp):
        with pytest.warns(GeodesicConvergenceWarning, match="1 of 2 geodesics") as record:
            result = call(end, start)
        assert len(record) == 1
        assert record[0].filename == __file__
    assert np.isnan(host(result(0.5))[1]).all()
    assert np.isfinite(host(result(0.5))[0]).all()
    with pytest.raises(GeodesicConvergenceError, match="1 of 2"):
        CollocationLogSolver(PolarPlane(), on_failure="raise", **options).log(end, start)
    silent = CollocationLogSolver(PolarPlane(), on_failure="ignore", **options)
    assert np.isnan(host(silent.log(end, start))[1]).all()
    status = host(warn.solve_geodesic(start, end).status)
    assert status[0] == GeodesicStatus.CONVERGED
    assert status[1] != GeodesicStatus.CONVERGED


def test_an_exp_that_leaves_the_space_is_told_and_stays_inside():
    start, vector = array([1.0, 0.0]), array([[-2.0, 0.0], [1.0, 0.0]])
    with pytest.warns(GeodesicConvergenceWarning, match="1 of 2 exponentials") as record:
        point = host(AdaptiveExpSolver(PolarPlane()).exp(vector, start))
    assert len(record) == 1
    assert record[0].filename == __file__
    assert 0.0 <= point[0, 0] < 0.01
    np.testing.assert_allclose(point[1], [2.0, 0.0], atol=1e-8)
    with pytest.raises(GeodesicConvergenceError, match="1 of 2"):
        AdaptiveExpSolver(PolarPlane(), on_failure="raise").exp(vector, start)


def test_curves_stay_in_the_space():
    """Parameters of distributions are positive, and some logs come close to the boundary."""
    space = GammaDistributions()
    seen = []

    class Metric(type(space.metric)):
        def christoffels(self, base_point):
            seen.append(host(base_point).min())
            return super().christoffels(base_point)

    space.equip_with_metric(Metric)
    start, end = array([[0.2, 15.0], [0.1, 0.1]]), array([[15.0, 0.3], [2.0, 9.0]])
    log_solver = CollocationLogSolver(space, on_failure="raise")
    path = host(log_solver.geodesic_bvp(end, start)(np.linspace(0.0, 1.0, 201)))
    assert path.min() > 0.0
    assert min(seen) > 0.0


@pytest.mark.parametrize("kind", [AdaptiveExpSolver, CollocationLogSolver])
def test_bad_input_is_refused(kind):
    for space in (Hypersphere(2), SPDMatrices(2)):
        with pytest.raises(ValueError, match="intrinsic coordinates"):
            kind(space)
    with pytest.raises(ValueError, match="on_failure"):
        kind(half_plane(), on_failure="stop")
    solver = kind(half_plane())
    function = solver.exp if kind is AdaptiveExpSolver else solver.log
    with pytest.raises(ValueError, match="base_points in the PoincareHalfSpace, got 1 of 2"):
        function(array([0.0, 1.0]), array([[0.0, 1.0], [0.0, -1.0]]))
    with pytest.raises(ValueError, match=r"shape \[\.\.\., 2\]"):
        function(array([0.0, 1.0, 2.0]), array([0.0, 1.0]))
    with pytest.raises(ValueError, match="broadcast"):
        function(array([[0.0, 1.0]] * 2), array([[0.0, 1.0]] * 3))
    with pytest.raises(ValueError, match="finite"):
        function(array([0.0, np.nan]), array([0.0, 1.0]))
    path = getattr(solver, "geodesic_ivp", getattr(solver, "geodesic_bvp", None))
    with pytest.raises(ValueError, match="times"):
        path(array([0.0, 1.0]), array([0.0, 2.0]))(array([[0.0, 1.0]]))
    bare = getattr(kind(PoincareHalfSpace(2, equip=False)), function.__name__)
    with pytest.raises(ValueError, match="whose metric has"):
        bare(array([0.0, 1.0]), array([0.5, 2.0]))
