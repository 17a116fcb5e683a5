"""The package on geomstats' main branch, or on its double, in a process of its own."""

import ast
import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import geomstats.backend as gs
import numpy as np
import pytest
import sklearn
import torch
from geomstats._backend import BACKEND_ATTRIBUTES
from geomstats.geometry.connection import Connection
from geomstats.geometry.euclidean import Euclidean
from geomstats.geometry.hypersphere import Hypersphere
from geomstats.learning.frechet_mean import FrechetMean
from geomstats.numerics.geodesic import ExpODESolver, LogODESolver
from geomstats.numerics.ivp import ScipySolveIVP

from geomstats_vae import LAND, GeodesicKMeans, LatentSpace
from geomstats_vae.geodesics.solver import GeodesicSolver
from geomstats_vae.manifolds.solvers import AdaptiveExpSolver, CollocationLogSolver
from tests import surfaces
from tests.manifolds import geomstats_main, spaces
from tests.manifolds.spaces import array, draw, host

ROOT = Path(__file__).parents[2]
HERE = "tests/manifolds"
# What is quick and tells much: the space, geomstats' own estimators, and of the metric some of its
# local methods, geodesics, distances, shapes and derivatives.
SELECTED = (
    "test_geomstats_main.py",
    "test_space.py::test_belongs_and_projection",
    "test_space.py::test_tangent_vectors",
    "test_space.py::test_geomstats_idiom",
    "test_tools.py::test_tool[FrechetMean-frechet_mean_minimises_the_variance]",
    "test_tools.py::test_tool[TangentPCA-tangent_pca_is_that_of_the_sphere]",
    "test_tools.py::test_tool[RiemannianKMeans-kmeans_is_that_of_the_plane]",
    "test_tools.py::test_tool[KNearestNeighborsClassifier-nearest_neighbors_are_those_of_scikit_learn]",
    "../geometry/test_local.py::test_derivative_and_christoffels_are_finite_differences",
    "../geometry/test_local.py::test_curvature_of_torus_sphere_and_hyperbolic_plane",
    "test_geodesics.py::test_paths_have_constant_speed[sphere]",
    "test_geodesics.py::test_scaled_metric_scales_lengths_and_volumes",
    "test_pairs.py::test_a_batch_is_its_pairs_one_by_one[graph]",
    "test_arrays.py::test_results_belong_to_the_backend",
    "test_gradients.py::test_points",
    "test_official.py::TestSphereSpace",
)

on_main = pytest.mark.skipif(not geomstats_main.is_main(), reason="not geomstats' main branch")
START, END = array([[0.2, 0.1], [-0.6, 0.3]]), array([[0.5, -0.4], [0.4, 0.8]])
DISTANCE = host(surfaces.sphere_distance(*(torch.from_numpy(host(z)) for z in (START, END))))


@pytest.mark.long
@pytest.mark.skipif(geomstats_main.is_main(), reason="this is the other process")
def test_the_package_works_on_main():
    environment = os.environ | ({"SCIPY_ARRAY_API": "1"} if spaces.ON_TORCH else {})
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.manifolds.geomstats_main"]
    command += ["-p", "no:cacheprovider", *(f"{HERE}/{name}" for name in SELECTED)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.fixture(params=[1.0, 4.0], ids=["metric", "scaled metric"])
def scale(request):
    return request.param


@pytest.fixture
def sphere():
    return LatentSpace(surfaces.sphere, 2, on_failure="raise")


@pytest.fixture
def scaled(sphere, scale):
    return sphere if scale == 1.0 else sphere.equip_with_metric(scale * sphere.metric)


# -- the double ------------------------------------------------------------------------------------


@on_main
def test_functions_that_main_has_removed_and_added():
    assert not [name for name in geomstats_main.REMOVED if hasattr(gs, name)]
    matrices = array(draw(2, 3, 4))
    np.testing.assert_array_equal(host(gs.transpose(matrices)), host(matrices).swapaxes(1, 2))
    assert gs.permute_dims(matrices, (2, 0, 1)).shape == (4, 2, 3)
    with pytest.raises(TypeError):
        gs.transpose(matrices, (1, 0, 2))
    np.testing.assert_allclose(host(gs.trapezoid(array([0.0, 1.0, 4.0]), dx=0.5)), 1.5)


@on_main
@pytest.mark.parametrize(("solver", "method"), [(ExpODESolver, "exp"), (LogODESolver, "log")])
def test_solvers_ask_the_connection(sphere, solver, method):
    space = LatentSpace(surfaces.plane, 2)
    on_plane = host(getattr(solver(space), method)(END[0], START[0]))
    space.connection = sphere.connection
    found, expected = (host(getattr(solver(s), method)(END[0], START[0])) for s in (space, sphere))
    np.testing.assert_array_equal(found, expected)
    assert abs(found - on_plane).max() > 1e-2


@on_main
def test_geomstats_own_modules_still_work():
    points = Hypersphere(2).random_uniform(5)
    np.testing.assert_allclose(np.linalg.norm(host(points), axis=1), 1.0)


# -- connections -----------------------------------------------------------------------------------


@on_main
def test_connection_has_the_geodesics_of_the_metric(scaled, scale):
    log = scaled.connection.log(END, START)
    length = host(scaled.metric.norm(log, START))
    np.testing.assert_allclose(length, np.sqrt(scale) * DISTANCE, rtol=1e-6)
    np.testing.assert_allclose(host(scaled.connection.exp(log, START)), host(END), atol=1e-5)
    ends = host(scaled.connection.geodesic(START, end_point=END)(array([0.0, 1.0])))
    np.testing.assert_allclose(ends, np.stack((host(START), host(END)), axis=1), atol=1e-8)


@on_main
def test_connection_has_the_curvature_of_the_metric(scaled, scale):
    u, v = array(draw(2, 2, seed=3)), array([0.3, 1.0])
    # On the unit sphere R(u, v) v = <v, v> u - <u, v> v, whatever the scale.
    norm, product = (host(scaled.metric.inner_product(w, v, START)) / scale for w in (v, u))
    expected = norm[:, None] * host(u) - product[:, None] * host(v)
    curvature = scaled.connection.curvature(u, v, v, START)
    np.testing.assert_allclose(host(curvature), expected, rtol=1e-8)


@on_main
def test_connection_transports(sphere):
    vector, direction = array(draw(2, 2, scale=0.2, seed=3)), array(draw(2, 2, scale=0.2, seed=4))
    moved = sphere.connection.parallel_transport(vector, START, direction=direction)
    # The pole ladder is exact on the sphere.
    ladder = sphere.connection.ladder_parallel_transport(vector, START, direction)
    np.testing.assert_allclose(host(ladder["transported_tangent_vec"]), host(moved), atol=1e-5)


@on_main
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_copies_of_a_space_have_connections_of_their_own(sphere, duplicate):
    other = duplicate(sphere)
    other.metric.solver = GeodesicSolver(tol=1e-2)
    theirs = host(other.connection.log(END, START))
    np.testing.assert_array_equal(theirs, host(other.metric.log(END, START)))
    assert (theirs != host(sphere.connection.log(END, START))).any()


@on_main
def test_estimators_refuse_spaces_that_have_a_connection_only():
    space = Euclidean(2, equip=False).equip_with_connection(Connection)
    with pytest.raises(ValueError, match=r"without one; call space\.equip_with_metric first"):
        GeodesicKMeans(space, n_clusters=2).fit(draw(5, 2))


# -- solvers and estimators ------------------------------------------------------------------------


@on_main
def test_our_solvers_need_no_more_than_a_connection(sphere):
    space = Euclidean(2, equip=False).equip_with_connection(lambda _: sphere.connection)
    point = AdaptiveExpSolver(space).exp(END - START, START)
    np.testing.assert_allclose(host(point), host(sphere.metric.exp(END - START, START)), atol=1e-8)
    log = CollocationLogSolver(space).log(END, START)
    np.testing.assert_allclose(host(log), host(sphere.metric.log(END, START)), atol=1e-6)


@on_main
@pytest.mark.parametrize("use_jac", [False, True])
def test_log_ode_solver(sphere, use_jac):
    log = LogODESolver(sphere, n_nodes=20, use_jac=use_jac).log(END[0], START[0])
    np.testing.assert_allclose(host(log), host(sphere.metric.log(END[0], START[0])), atol=1e-4)


@on_main
def test_exp_ode_solver(sphere):
    solver = ExpODESolver(sphere, ScipySolveIVP(rtol=1e-4))
    point = solver.exp(sphere.metric.log(END, START), START)
    np.testing.assert_allclose(host(point), host(END), atol=1e-4)


@on_main
def test_frechet_mean_of_two_points_is_half_way(sphere):
    pair = gs.stack((START[0], END[0]))
    mean = FrechetMean(sphere).set(epsilon=1e-8).fit(pair).estimate_
    half = host(sphere.metric.dist(START[0], END[0])) / 2
    np.testing.assert_allclose(host(sphere.metric.dist(mean, pair)), half, rtol=1e-4)


# -- what the package may use ----------------------------------------------------------------------

SUBMODULES = {module: f"gs.{module}" if module else "gs" for module in BACKEND_ATTRIBUTES}
RELEASED = {
    f"{SUBMODULES[module]}.{name}"
    for module, names in BACKEND_ATTRIBUTES.items()
    for name in (*names, "__name__")
}
COMMON = RELEASED - {f"gs.{name}" for name in geomstats_main.REMOVED}


def backend_uses(source):
    """Names that code takes from `gs`, and whether it transposes with axes."""
    names, transposes_axes = set(), False
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "geomstats.backend":
            names.update(f"gs.{alias.name}" for alias in node.names)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in SUBMODULES.values():
            names.add(ast.unparse(node))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "gs.transpose":
            transposes_axes |= len(node.args) + len(node.keywords) > 1
    return names - set(SUBMODULES.values()), transposes_axes


def test_uses_of_the_backend_are_found():
    source = "gs.transpose(gs.trapz(gs.linalg.inv(x).y), axes=(1, 0))"
    assert backend_uses(source) == ({"gs.transpose", "gs.trapz", "gs.linalg.inv"}, True)
    assert backend_uses("from geomstats.backend import one_hot") == ({"gs.one_hot"}, False)
    assert backend_uses("gs.transpose(x)") == ({"gs.transpose"}, False)


def test_the_package_uses_what_release_and_main_both_have():
    used = {}
    for path in (*(ROOT / "geomstats_vae").rglob("*.py"), *(ROOT / "examples").rglob("*.py")):
        names, transposes_axes = backend_uses(path.read_text())
        assert not names - COMMON, path
        assert not transposes_axes, path
        used |= dict.fromkeys(names, path)
    assert {"gs.to_numpy", "gs.from_numpy", "gs.random.normal"} <= set(used)


@pytest.mark.parametrize("kind", [array, np.asarray], ids=["array", "numpy"])
def test_our_estimators_take_arrays_whatever_scikit_learn_is_told_of_other_libraries(kind):
    X = draw(12, 2, scale=0.3)
    with sklearn.config_context(array_api_dispatch=spaces.ON_TORCH):
        for estimator in (GeodesicKMeans(n_clusters=2, random_state=0), LAND()):
            labels = estimator.fit(kind(X)).predict(kind(X))
            np.testing.assert_array_equal(labels, estimator.fit(X).predict(X))
