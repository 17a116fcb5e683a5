"""What geomstats builds on a metric: products, bundles, Brownian motion, solvers and ladders."""

import geomstats.backend as gs
import numpy as np
import pytest
from geomstats.distributions.brownian_motion import BrownianMotion
from geomstats.geometry.hypersphere import Hypersphere
from geomstats.geometry.nfold_manifold import NFoldManifold
from geomstats.geometry.product_manifold import ProductManifold
from geomstats.geometry.sasaki_metric import SasakiMetric, TangentBundle
from geomstats.learning.frechet_mean import FrechetMean
from geomstats.numerics.bvp import ScipySolveBVP
from geomstats.numerics.geodesic import (
    ExpODESolver,
    LogODESolver,
    LogShootingSolver,
    MultiresPathStraightening,
    PathStraightening,
)
from geomstats.numerics.ivp import GSIVPIntegrator, ScipySolveIVP
from geomstats.numerics.optimization import ScipyMinimize

from tests.manifolds import spaces
from tests.manifolds.charts import (
    FLAT,
    SPHERE,
    VAE,
    close,
    on_plane,
    on_sphere,
    push_to_plane,
    push_to_sphere,
    straight,
)
from tests.manifolds.spaces import array, draw, host

A, B = (array(draw(2, 2, scale=0.5, seed=seed)) for seed in (1, 2))


def order_of_convergence(counts, errors):
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]


# -- products --------------------------------------------------------------------------------------


def test_product_has_the_geodesics_of_its_factors():
    product = ProductManifold((VAE, FLAT))
    a, b = array(draw(2, 2, 2, scale=0.5, seed=1)), array(draw(2, 2, 2, scale=0.5, seed=2))
    dist = np.hypot(host(VAE.metric.dist(a[:, 0], b[:, 0])), straight(a[:, 1], b[:, 1]))
    close(product.metric.dist(a, b), dist)
    log = product.metric.log(b, a)
    close(product.metric.norm(log, a), dist)
    close(product.metric.exp(log, a), b)
    middle = product.metric.geodesic(a, end_point=b)(0.5)[:, 0]
    close(product.metric.dist(middle, a), 0.5 * dist)
    close(product.metric.dist(middle, b), 0.5 * dist)
    close(on_plane(middle[:, 1]), 0.5 * (on_plane(a[:, 1]) + on_plane(b[:, 1])))


def test_nfold_manifold_is_the_space_n_times():
    nfold = NFoldManifold(FLAT, 3)
    a, b = array(draw(2, 3, 2, scale=0.4)), array(draw(2, 3, 2, scale=0.4, seed=1))
    close(nfold.metric.dist(a, b), np.linalg.norm(straight(a, b), axis=-1))
    log = nfold.metric.log(b, a)
    close(push_to_plane(log, a), on_plane(b) - on_plane(a))
    close(nfold.metric.exp(log, a), b)
    assert host(nfold.belongs(a)).all()


def test_mean_on_nfold_manifold_is_the_mean_of_every_copy():
    points = array(draw(5, 3, 2, scale=0.4))
    mean = FrechetMean(NFoldManifold(FLAT, 3)).set(epsilon=1e-12).fit(points).estimate_
    close(on_plane(mean), on_plane(points).mean(axis=0))


# -- tangent bundle --------------------------------------------------------------------------------


@pytest.mark.long
def test_tangent_bundle_of_the_plane_is_flat():
    bundle, steps = TangentBundle(FLAT), array(draw(2, 2, scale=0.3, seed=3))
    a, b = gs.stack((A, steps), axis=1), gs.stack((B, 0.5 * steps), axis=1)
    log = bundle.metric.log(b, a)
    close(push_to_plane(log[:, 0], A), on_plane(B) - on_plane(A))
    change = push_to_plane(0.5 * steps, B) - push_to_plane(steps, A)
    close(push_to_plane(log[:, 1], A), change)
    close(bundle.metric.exp(log, a), b)
    moves = np.stack((on_plane(B) - on_plane(A), change))
    close(bundle.metric.norm(log, a), np.linalg.norm(moves, axis=(0, 2)))


def test_exponential_of_the_tangent_bundle_is_that_of_the_sphere():
    z, u, v, w = draw(4, 2, seed=4) * np.array([[0.4], [1.0], [0.1], [1.0]])
    ends = []
    for space, image, push in (
        (SPHERE, lambda z: z, lambda v, z: v),
        (Hypersphere(2), on_sphere, push_to_sphere),
    ):
        bundle = TangentBundle(space, equip=False)
        bundle.equip_with_metric(SasakiMetric, n_steps=2)
        base = array(np.stack((image(z), push(u, z))))
        ends.append(bundle.metric.exp(array(np.stack((push(v, z), push(w, z)))), base))
    (point, vector), (their_point, their_vector) = map(host, ends)
    close(on_sphere(point), their_point)
    close(push_to_sphere(vector, point), their_vector)


# -- Brownian motion -------------------------------------------------------------------------------


def test_brownian_motion_on_the_sphere_forgets_its_start():
    """Half the Laplacian multiplies the coordinates of space by -1: their means decay."""
    gs.random.seed(0)
    n_paths, n_steps, end_time = 1000, 6, 0.6
    start = np.array([0.3, -0.2])
    motion = BrownianMotion(SPHERE)
    path = motion.sample_path(end_time, n_steps, array(np.tile(start, (n_paths, 1))))
    # The first of the points is the start.
    times = end_time * np.arange(n_steps) / n_steps
    expected = np.exp(-times)[:, None] * on_sphere(start)
    close(on_sphere(path).mean(axis=1), expected, atol=3.0 / np.sqrt(n_paths))


# -- solvers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step_type", "order"), [("euler", 1), ("rk2", 2), ("rk4", 4)])
def test_integrators_converge_to_the_exponential_at_their_order(step_type, order):
    vector, counts, errors = VAE.metric.log(B, A), (8, 16, 32), []
    for n_steps in counts:
        integrator = GSIVPIntegrator(n_steps=n_steps, step_type=step_type)
        end = ExpODESolver(VAE, integrator=integrator).exp(vector, A)
        errors.append(np.abs(host(end) - host(B)).max())
    assert order - 0.3 < order_of_convergence(counts, errors) < order + 0.6


def test_integrated_geodesic_is_the_geodesic():
    vector, times = VAE.metric.log(B, A), array([0.0, 0.5, 1.0])
    solver = ExpODESolver(VAE, integrator=ScipySolveIVP(rtol=1e-9, atol=1e-10))
    close(solver.geodesic_ivp(vector, A)(times), VAE.metric.geodesic(A, B)(times))


@pytest.mark.parametrize("use_jac", [False, True])
def test_boundary_value_problem_gives_the_logarithm(use_jac):
    solver = LogODESolver(VAE, integrator=ScipySolveBVP(tol=1e-7), use_jac=use_jac)
    close(solver.log(B, A), VAE.metric.log(B, A))
    times = array([0.25, 0.75])
    close(solver.geodesic_bvp(B, A)(times), VAE.metric.geodesic(A, B)(times))


@pytest.mark.parametrize("flatten", [False, True])
def test_shooting_gives_the_logarithm(flatten):
    optimizer = ScipyMinimize(autodiff_jac=spaces.ON_TORCH, tol=1e-12)
    solver = LogShootingSolver(VAE, optimizer=optimizer, flatten=flatten)
    close(solver.log(B[:1], A[:1]), VAE.metric.log(B[:1], A[:1]))


def path_errors(counts, symmetric):
    """How far straightened paths of so many nodes are from the geodesic."""
    for n_nodes in counts:
        optimizer = ScipyMinimize(autodiff_jac=spaces.ON_TORCH, tol=1e-12)
        solver = PathStraightening(VAE, n_nodes=n_nodes, optimizer=optimizer, symmetric=symmetric)
        path = solver.discrete_geodesic_bvp(B[0], A[0])
        exact = VAE.metric.geodesic(A[0], B[0])(array(np.linspace(0.0, 1.0, n_nodes)))
        yield np.abs(host(path) - host(exact)).max()


@pytest.mark.parametrize(("symmetric", "order"), [(False, 1), (True, 2)])
def test_straightened_paths_converge_to_the_geodesic(symmetric, order):
    counts = np.array([2, 4, 8])
    found = order_of_convergence(counts, list(path_errors(counts + 1, symmetric)))
    assert order - 0.3 < found < order + 0.3


def test_path_straightened_on_finer_and_finer_meshes_is_the_last_one():
    optimizer = ScipyMinimize(autodiff_jac=spaces.ON_TORCH, tol=1e-12)
    finest, finer = (
        solver(VAE, n_nodes=nodes, optimizer=optimizer).discrete_geodesic_bvp(B[0], A[0])
        for solver, nodes in ((PathStraightening, 9), (MultiresPathStraightening, [3, 5, 9]))
    )
    close(finer, finest)


# -- parallel transport ----------------------------------------------------------------------------


LADDER = tuple(
    array(v) for v in ([0.1, -0.25], [0.3, -0.2], [0.6, 0.4])
)  # vector, point, direction


@pytest.mark.long
@pytest.mark.parametrize(("scheme", "order"), [("schild", 1), ("pole", 2)])
def test_ladders_converge_to_parallel_transport_at_their_order(scheme, order):
    exact = host(VAE.metric.parallel_transport(*LADDER))
    errors = []
    for n_rungs in (2, 4, 8):
        ladder = VAE.metric.ladder_parallel_transport(*LADDER, n_rungs=n_rungs, scheme=scheme)
        errors.append(np.abs(host(ladder["transported_tangent_vec"]) - exact).max())
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2.0**order, rtol=0.1)
