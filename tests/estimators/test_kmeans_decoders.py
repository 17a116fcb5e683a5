"""k-means on decoders' metrics: what is spared changes no answer."""

import copy

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from geomstats_vae import GeodesicKMeans, LatentSpace
from geomstats_vae.estimators import kmeans_start, lloyd
from geomstats_vae.estimators.assignment import Assigner
from geomstats_vae.estimators.rows import distinct_rows
from geomstats_vae.estimators.seeding import GraphKMeans, gather, kmeans_plus_plus
from geomstats_vae.manifolds.geometries import geometry_of
from tests import surfaces
from tests.estimators.counter import Counter
from tests.manifolds import spaces

pytestmark = spaces.on_numpy_alone  # all of it lies within the border

CODES = spaces.draw(60, 2)


@pytest.fixture(scope="module", params=["graph", "no graph"])
def space(request):
    decoder = spaces.vae_like_decoder()
    if request.param == "graph":
        return spaces.coarse_space(decoder, spaces.draw(150, 2), on_failure="raise")
    return LatentSpace(decoder, 2, on_failure="raise")


@pytest.fixture(scope="module")
def geometry(space):
    return geometry_of(space).with_tol(1e-4)


@pytest.fixture(scope="module")
def plane():
    codes = spaces.draw(420, 2)  # more than twice as many as cells
    return codes, spaces.coarse_space(surfaces.plane_network(), codes, on_failure="raise")


@pytest.fixture(scope="module")
def cells(plane):
    return gather(plane[0], np.ones(len(plane[0])), 80)


@pytest.fixture(scope="module")
def graph(plane, cells):
    codes, space = plane
    return GraphKMeans(space.metric.build_graph(), codes, cells)


@pytest.mark.long
def test_sparing_changes_nothing_but_the_number_of_geodesics(geometry):
    runs = {}
    X = CODES[:16]
    for sparing in (True, False):
        counter = Counter()
        *_, partition = lloyd.lloyd(
            geometry.working(progress=counter),
            X,
            np.ones(16),
            X[:4],
            max_iter=2,
            tol=1e-4,
            sparing=sparing,
        )
        runs[sparing] = partition, counter.n
    (spared, n_spared), (full, n_full) = runs[True], runs[False]
    np.testing.assert_array_equal(spared.assignment.labels, full.assignment.labels)
    np.testing.assert_allclose(spared.assignment.centers, full.assignment.centers, atol=1e-9)
    np.testing.assert_allclose(spared.inertia, full.inertia, rtol=1e-9)
    assert n_spared < n_full


@pytest.fixture(scope="module")
def fitted(space):
    return GeodesicKMeans(space, 3, random_state=0, max_iter=1).fit(CODES[:16])


def test_labels_are_those_of_all_distances(fitted):
    codes = CODES[:16]
    distances = fitted.transform(codes)
    np.testing.assert_array_equal(fitted.labels_, distances.argmin(axis=1))
    np.testing.assert_array_equal(fitted.predict(codes), fitted.labels_)
    inertia = (distances.min(axis=1) ** 2).sum()
    np.testing.assert_allclose(fitted.inertia_, inertia, rtol=1e-6)
    np.testing.assert_allclose(fitted.score(codes), -inertia, rtol=1e-6)


@pytest.mark.long
def test_sparing_changes_no_label_of_a_fit(fitted, monkeypatch):
    spared_elsewhere = fitted.predict(CODES[16:24])
    monkeypatch.setattr(GeodesicKMeans, "_sparing", False)
    full = clone(fitted).fit(CODES[:16])
    np.testing.assert_array_equal(full.labels_, fitted.labels_)
    np.testing.assert_allclose(full.cluster_centers_, fitted.cluster_centers_, atol=1e-9)
    np.testing.assert_array_equal(full.predict(CODES[16:24]), spared_elsewhere)


def test_runs_are_identical_and_rows_have_no_order(fitted):
    order = np.random.default_rng(0).permutation(16)
    again = clone(fitted).fit(CODES[order])
    np.testing.assert_array_equal(again.labels_, fitted.labels_[order])
    for name in ("cluster_centers_", "inertia_", "n_iter_"):
        np.testing.assert_array_equal(getattr(again, name), getattr(fitted, name))


def test_fits_scale_with_the_metric(fitted, space):
    scaled = copy.copy(space)
    scaled.metric = 4.0 * space.metric
    fourfold = clone(fitted).set_params(space=scaled).fit(CODES[:16])
    np.testing.assert_array_equal(fourfold.labels_, fitted.labels_)
    np.testing.assert_allclose(fourfold.cluster_centers_, fitted.cluster_centers_, atol=1e-9)
    np.testing.assert_allclose(fourfold.inertia_, 4.0 * fitted.inertia_, rtol=1e-9)


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


def test_order_of_distinct_rows_is_one_of_embeddings(geometry):
    rows, place = distinct_rows(geometry, np.concatenate((CODES[:9], CODES[4:12])))
    np.testing.assert_array_equal(rows[place], np.concatenate((CODES[:9], CODES[4:12])))
    np.testing.assert_array_equal(rows, distinct_rows(geometry, CODES[11::-1])[0])


def test_assignment_does_not_depend_on_the_guess(geometry):
    X, centers = CODES[:40], CODES[[5, 17, 30]]
    fresh = Assigner(geometry, X)(centers)
    wrong = (fresh.labels + 1) % 3
    guessed = Assigner(geometry, X)(centers, wrong, geometry.logs(centers[wrong], X))
    np.testing.assert_array_equal(guessed.labels, fresh.labels)
    np.testing.assert_allclose(guessed.geodesics.length, fresh.geodesics.length, rtol=1e-9)


@pytest.mark.long
def test_bounds_follow_centers_that_move(geometry):
    X = CODES[:31]
    assign = Assigner(geometry, X)
    for shift in (0.0, 0.05, 0.5):
        centers = X[[5, 17, 30]] + shift
        assert (assign(centers).labels == Assigner(geometry, X)(centers).labels).all()


def test_bounds_are_bounds_and_scale(geometry):
    X, centers = CODES[:10], CODES[20:22]
    start, end = np.tile(centers, (10, 1)), np.repeat(X, 2, axis=0)
    exact = geometry.lengths(start, end).length.reshape(10, 2)
    bounds, doubled = geometry.bounds, geometry.scaled(4.0).bounds
    chord = bounds.chords(X, centers)
    assert (chord <= exact * (1.0 + 1e-6)).all()
    np.testing.assert_allclose(doubled.chords(X, centers), 2.0 * chord, rtol=1e-12)
    if geometry.codes is None:
        with pytest.raises(ValueError, match="Expected latent codes"):
            bounds.graph_lengths(X, centers)
        return
    paths = bounds.graph_lengths(X, centers)
    np.testing.assert_allclose(paths, exact, rtol=0.1)
    np.testing.assert_allclose(doubled.graph_lengths(X, centers), 2.0 * paths, rtol=1e-12)


def test_variance_of_many_blocks(plane):
    codes, space = plane
    X = np.concatenate((codes, codes + 1.0, codes - 1.0))
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(X))
    embedded = X @ surfaces.PLANE.numpy().T
    mean = np.average(embedded, axis=0, weights=weights)
    expected = np.average(((embedded - mean) ** 2).sum(axis=1), weights=weights)
    bounds = geometry_of(space).bounds
    np.testing.assert_allclose(bounds.variance(X, weights), expected, rtol=1e-12)
    without = geometry_of(LatentSpace(surfaces.plane_network(), 2))
    np.testing.assert_allclose(lloyd.mean_variance(without, X, weights), 0.5 * expected, rtol=1e-12)


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


@pytest.mark.long
def test_plane_in_skew_coordinates_is_kmeans_of_its_embedding(plane, monkeypatch):
    """All of it: the start on the graph, the cells, and the exact end."""
    monkeypatch.setattr(kmeans_start, "_GRAPH_CELLS", 50)
    monkeypatch.setattr(lloyd, "_N_CELLS", 50)
    codes, space = plane
    kmeans = GeodesicKMeans(space, 3, random_state=0).fit(codes[:150])
    embedded = codes[:150] @ surfaces.PLANE.numpy().T
    start = kmeans.cluster_centers_ @ surfaces.PLANE.numpy().T
    flat = GeodesicKMeans(n_clusters=3, init=start).fit(embedded)
    # It ends within its tolerance of a fixed point: 1 % of the root of the variance.
    scale = np.sqrt(embedded.var(axis=0).sum())
    moved = np.linalg.norm(flat.cluster_centers_ - start, axis=1)
    assert moved.max() < 0.05 * scale
    assert kmeans.inertia_ < 1.002 * flat.inertia_


def test_jobs_do_not_matter():
    space = LatentSpace(spaces.network(), 2)
    codes = CODES[:33]  # as many as are worth jobs
    alone = GeodesicKMeans(space, 3, init=codes[:3], max_iter=1).fit(codes)
    with joblib.parallel_config("threading"):
        jobs = GeodesicKMeans(space, 3, init=codes[:3], max_iter=1, n_jobs=2).fit(codes)
    np.testing.assert_array_equal(jobs.labels_, alone.labels_)
    np.testing.assert_allclose(jobs.cluster_centers_, alone.cluster_centers_, atol=1e-9)
