"""k-means on decoders' metrics: what is spared changes no answer."""

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from tests.geometry.test_backends import run_on_pytorch

from geomstats_vae import GeodesicKMeans, LatentSpace
from geomstats_vae.estimators.assignment import Assigner
from geomstats_vae.estimators.estimates import chords, graph_distances, image_variance
from geomstats_vae.estimators.lloyd import lloyd
from geomstats_vae.estimators.seeding import GraphKMeans, gather, kmeans_plus_plus
from geomstats_vae.manifolds.rows import RowGeometry
from tests import surfaces
from tests.manifolds import spaces
from tests.manifolds.spaces import array

CODES = spaces.draw(60, 2)


@pytest.fixture(scope="module", params=["graph", "no graph"])
def space(request):
    points = array(spaces.draw(150, 2)) if request.param == "graph" else None
    return LatentSpace(spaces.vae_like_decoder(), 2, points=points, on_failure="raise")


@pytest.fixture(scope="module")
def plane():
    codes = spaces.draw(420, 2)  # more than twice as many as cells
    return codes, LatentSpace(surfaces.plane, 2, points=array(codes), on_failure="raise")


@pytest.fixture(scope="module")
def cells(plane):
    return gather(plane[0], np.ones(len(plane[0])), 80)


@pytest.fixture(scope="module")
def graph(plane, cells):
    codes, space = plane
    return GraphKMeans(space.metric._start_landscape(), codes, cells)


@spaces.on_numpy_alone
def test_sparing_changes_nothing_but_the_number_of_geodesics(space):
    runs = {}
    for sparing in (True, False):
        geometry = RowGeometry(space)
        options = {"max_iter": 3, "tol": 1e-4, "sparing": sparing}
        *_, partition = lloyd(geometry, CODES, np.ones(60), CODES[:4], **options)
        runs[sparing] = partition, geometry.n_pairs
    (spared, n_spared), (full, n_full) = runs[True], runs[False]
    np.testing.assert_array_equal(spared.assignment.labels, full.assignment.labels)
    np.testing.assert_allclose(spared.assignment.centers, full.assignment.centers, atol=1e-9)
    np.testing.assert_allclose(spared.inertia, full.inertia, rtol=1e-9)
    assert n_spared < n_full


@spaces.on_numpy_alone
def test_labels_are_those_of_all_distances(space):
    kmeans = GeodesicKMeans(space, 3, init=CODES[:3], max_iter=2).fit(CODES)
    distances = kmeans.transform(CODES)
    np.testing.assert_array_equal(kmeans.labels_, distances.argmin(axis=1))
    np.testing.assert_array_equal(kmeans.predict(CODES), kmeans.labels_)
    inertia = (distances.min(axis=1) ** 2).sum()
    np.testing.assert_allclose(kmeans.inertia_, inertia, rtol=1e-6)
    np.testing.assert_allclose(kmeans.score(CODES), -inertia, rtol=1e-6)


@spaces.on_numpy_alone
def test_sparing_changes_no_label_of_a_fit(space, monkeypatch):
    kmeans = GeodesicKMeans(space, 3, random_state=0, max_iter=3)
    spared = clone(kmeans).fit(CODES[:30])
    monkeypatch.setattr(GeodesicKMeans, "_sparing", False)
    full = clone(kmeans).fit(CODES[:30])
    np.testing.assert_array_equal(full.labels_, spared.labels_)
    np.testing.assert_allclose(full.cluster_centers_, spared.cluster_centers_, atol=1e-9)
    np.testing.assert_array_equal(full.predict(CODES), spared.predict(CODES))


@spaces.on_numpy_alone
def test_runs_are_identical_and_rows_have_no_order(space):
    kmeans = GeodesicKMeans(space, 3, random_state=0, max_iter=2)
    order = np.random.default_rng(0).permutation(20)
    first, again, permuted = (clone(kmeans).fit(z) for z in (CODES[:20], CODES[:20], CODES[order]))
    for name in ("labels_", "cluster_centers_", "inertia_", "n_iter_"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    np.testing.assert_array_equal(permuted.labels_, first.labels_[order])
    np.testing.assert_array_equal(permuted.cluster_centers_, first.cluster_centers_)


def test_degenerate_codes_are_clustered(space):
    """One code, equal codes, and codes on a line."""
    one = GeodesicKMeans(space, 1, random_state=0).fit(CODES[:1])
    np.testing.assert_array_equal(one.cluster_centers_, CODES[:1])
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\)"):
        equal = GeodesicKMeans(space, 3, random_state=0).fit(np.repeat(CODES[:2], 4, axis=0))
    assert one.inertia_ == equal.inertia_ == 0.0
    line = CODES[:16] * [1.0, 0.0]
    labels = GeodesicKMeans(space, 2, random_state=0).fit_predict(line)
    # Geodesics between near codes nearly keep to the line, and its clusters are its halves.
    assert (np.diff(labels[np.argsort(line[:, 0])]) != 0).sum() == 1


def test_cells_follow_a_linear_change_of_coordinates():
    codes, mass = spaces.draw(500, 2), np.ones(500)
    mix = np.array([[0.5, 1.0], [-2.0, 0.25]])
    ours, theirs = gather(codes, mass, 60), gather(codes @ mix.T, mass, 60)
    np.testing.assert_array_equal(theirs.place, ours.place)
    np.testing.assert_allclose(theirs.points, ours.points @ mix.T, atol=1e-12)
    # Codes on a line are codes in one dimension.
    flat = gather(codes * [1.0, 0.0], mass, 60)
    np.testing.assert_array_equal(flat.place, gather(codes[:, :1], mass, 60).place)


def test_assignment_does_not_depend_on_the_guess(space):
    geometry = RowGeometry(space)
    centers = CODES[[5, 17, 40]]
    fresh = Assigner(geometry, CODES)(centers)
    wrong = (fresh.labels + 1) % 3
    guessed = Assigner(geometry, CODES)(centers, wrong, geometry.connect(centers[wrong], CODES))
    np.testing.assert_array_equal(guessed.labels, fresh.labels)
    np.testing.assert_allclose(guessed.geodesics.length, fresh.geodesics.length, rtol=1e-9)


@spaces.on_numpy_alone
def test_bounds_follow_centers_that_move(space):
    geometry = RowGeometry(space)
    assign = Assigner(geometry, CODES)
    for shift in (0.0, 0.05, 0.5):
        centers = CODES[[5, 17, 40]] + shift
        assert (assign(centers).labels == Assigner(geometry, CODES)(centers).labels).all()


def test_chords_and_scaled_metrics(space):
    geometry = RowGeometry(space)
    X, centers = CODES[:10], CODES[20:22]
    start, end = np.tile(centers, (10, 1)), np.repeat(X, 2, axis=0)
    exact = geometry.dist(start, end)[0].reshape(10, 2)
    chord = chords(space.metric, X, centers)
    assert (chord <= exact * (1.0 + 1e-6)).all()
    scaled = 4.0 * space.metric
    np.testing.assert_allclose(chords(scaled, X, centers), 2.0 * chord, rtol=1e-12)
    graph = graph_distances(space.metric, X, centers)
    if graph is not None:
        doubled = graph_distances(scaled, X, centers)
        np.testing.assert_allclose(doubled, 2.0 * graph, rtol=1e-12)


def test_image_variance_of_many_blocks(plane):
    codes, space = plane
    X = np.concatenate((codes, codes + 1.0))
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(X))
    image = X @ surfaces.PLANE.numpy().T
    mean = np.average(image, axis=0, weights=weights)
    expected = np.average(((image - mean) ** 2).sum(axis=1), weights=weights)
    np.testing.assert_allclose(image_variance(space.metric, X, weights), expected, rtol=1e-12)


def test_graph_knows_the_plane(plane, cells, graph):
    """Distances of cells on the graph are those of the plane, to the graph's percents."""
    codes, _ = plane
    np.testing.assert_allclose(cells.weights.sum(), len(codes))
    average = np.stack([codes[cells.place == k].mean(axis=0) for k in range(5)])
    np.testing.assert_allclose(cells.points[:5], average, atol=1e-12)
    rows = np.arange(0, len(codes), 80)
    between = graph.rows(rows)
    nodes = graph.nodes[graph.sources[graph.place]]
    exact = np.linalg.norm((nodes[rows, None] - nodes) @ surfaces.PLANE.numpy().T, axis=2)
    far = exact > 1.0
    np.testing.assert_allclose(between[far], exact[far], rtol=0.05)


def test_descent_on_the_graph_lowers_the_inertia(plane, graph):
    rows = kmeans_plus_plus(graph.rows, np.ones(len(plane[0])), 4, np.random.RandomState(0))
    inertia = [graph.descend(rows, max_iter)[1] for max_iter in (1, 2, 50)]
    assert inertia[0] > inertia[1] >= inertia[2]


@spaces.on_numpy_alone
def test_plane_in_skew_coordinates_is_kmeans_of_its_image(plane):
    """The whole way, with its start on the graph, its cells and its exact end."""
    codes, space = plane
    kmeans = GeodesicKMeans(space, 3, random_state=0).fit(codes)
    image = codes @ surfaces.PLANE.numpy().T
    start = kmeans.cluster_centers_ @ surfaces.PLANE.numpy().T
    flat = GeodesicKMeans(n_clusters=3, init=start).fit(image)
    # It ends within its tolerance of a fixed point: 1 % of the root of the variance.
    scale = np.sqrt(image.var(axis=0).sum())
    moved = np.linalg.norm(flat.cluster_centers_ - start, axis=1)
    assert moved.max() < 0.05 * scale
    assert kmeans.inertia_ < 1.002 * flat.inertia_


def test_jobs_do_not_matter(space):
    codes = CODES[:33]  # as many as are worth jobs
    alone = GeodesicKMeans(space, 3, init=codes[:3], max_iter=1).fit(codes)
    with joblib.parallel_config("threading"):
        jobs = GeodesicKMeans(space, 3, init=codes[:3], max_iter=1, n_jobs=2).fit(codes)
    np.testing.assert_array_equal(jobs.labels_, alone.labels_)
    np.testing.assert_allclose(jobs.cluster_centers_, alone.cluster_centers_, atol=1e-9)


@pytest.mark.skipif(spaces.ON_TORCH, reason="this is the other process")
def test_same_tests_pass_on_pytorch():
    files = ["kmeans", "kmeans_decoders", "kmeans_sklearn", "frechet"]
    paths = [f"tests/estimators/test_{name}.py" for name in files]
    out = run_on_pytorch("-m", "pytest", "-q", "-p", "no:cacheprovider", *paths)
    assert " passed" in out
