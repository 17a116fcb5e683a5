"""k-means by geodesics: against KMeans, geomstats and itself."""

import pickle

import geomstats.backend as gs
import numpy as np
import pytest
import torch
from geomstats.geometry.euclidean import Euclidean
from geomstats.geometry.hypersphere import Hypersphere
from geomstats.geometry.poincare_ball import PoincareBall
from geomstats.geometry.spd_matrices import SPDMatrices
from geomstats.learning.kmeans import RiemannianKMeans
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from geomstats_vae import (
    GeodesicConvergenceError,
    GeodesicConvergenceWarning,
    GeodesicKMeans,
    GeodesicSolver,
    LatentSpace,
)
from geomstats_vae.manifolds.closed import ClosedGeometry
from geomstats_vae.manifolds.geometries import geometry_of
from tests import surfaces
from tests.manifolds import spaces

BLOBS = make_blobs(300, 4, centers=5, cluster_std=2.0, random_state=0)[0]


def on_sphere(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


SPHERE = on_sphere(
    make_blobs(
        60, centers=[[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]], cluster_std=0.3, random_state=0
    )[0]
)
DISK = (
    0.3
    * make_blobs(60, centers=[[2, 0], [-1, 1.5], [-1, -1.5]], cluster_std=0.4, random_state=0)[0]
)


# -- Euclidean space ---------------------------------------------------------------------------


# KMeans' tolerance knows no weights, and where it is large may stop one iteration away.
@pytest.mark.parametrize(
    ("weighted", "tol"), [(False, 0.0), (False, 1e-4), (False, 1e-2), (True, 0.0), (True, 1e-4)]
)
@pytest.mark.parametrize("max_iter", [1, 3, 300])
def test_reproduces_kmeans(weighted, tol, max_iter):
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(BLOBS)) if weighted else None
    options = {"init": BLOBS[:6], "n_init": 1, "tol": tol, "max_iter": max_iter}
    theirs = KMeans(6, **options).fit(BLOBS, sample_weight=weights)
    ours = GeodesicKMeans(n_clusters=6, **options).fit(BLOBS, sample_weight=weights)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-10)
    np.testing.assert_allclose(ours.inertia_, theirs.inertia_, rtol=1e-10)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.labels_.dtype == theirs.labels_.dtype
    X = BLOBS + 0.1
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), rtol=1e-10)
    np.testing.assert_allclose(ours.score(X), theirs.score(X), rtol=1e-10)
    names = [name.removeprefix("geodesic") for name in ours.get_feature_names_out()]
    assert names == list(theirs.get_feature_names_out())


def test_empty_clusters_move_to_far_points_as_in_kmeans():
    init = np.concatenate((BLOBS[:3], [[1e3] * 4, [-1e3] * 4]))
    theirs = KMeans(5, init=init, n_init=1).fit(BLOBS)
    ours = GeodesicKMeans(n_clusters=5, init=init).fit(BLOBS)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-10)


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_draws_find_separated_blobs(init):
    X, truth = make_blobs(90, centers=[[0, 0], [9, 0], [0, 9]], random_state=1)
    labels = GeodesicKMeans(n_clusters=3, init=init, random_state=0).fit_predict(X)
    assert len({tuple(pair) for pair in zip(labels, truth, strict=True)}) == 3


def test_inertia_never_rises_with_the_iterations():
    inertia = [
        GeodesicKMeans(Hypersphere(2), 4, init=SPHERE[:4], max_iter=n).fit(SPHERE).inertia_
        for n in range(1, 7)
    ]
    assert (np.diff(inertia) <= 0.0).all()


# -- other geometries --------------------------------------------------------------------------


@pytest.mark.parametrize(("space", "X"), [(Hypersphere(2), SPHERE), (PoincareBall(2), DISK)])
def test_agrees_with_geomstats(space, X):
    start = X[[0, 1, 2, 3]]
    theirs = RiemannianKMeans(space, 4, tol=1e-9)
    theirs.mean_estimator.set(epsilon=1e-14)
    theirs.init = spaces.array(start)
    theirs.fit(spaces.array(X))
    ours = GeodesicKMeans(space, 4, init=start, tol=0.0).fit(X)
    np.testing.assert_array_equal(ours.labels_, spaces.host(theirs.labels_))
    np.testing.assert_allclose(
        ours.cluster_centers_, spaces.host(theirs.cluster_centers_), atol=1e-5
    )
    np.testing.assert_allclose(ours.inertia_, float(theirs.inertia_), rtol=1e-5)


@spaces.on_numpy_alone
def test_decoder_of_the_sphere_agrees_with_the_sphere():
    # Away from the pole that the chart leaves out.
    X = SPHERE[::4] * [1.0, 1.0, -1.0]
    codes = surfaces.sphere_chart(torch.tensor(X)).numpy()
    space = LatentSpace(surfaces.closed_sphere(), 2, on_failure="raise")
    ours = GeodesicKMeans(space, 3, init=codes[:3], tol=1e-6).fit(codes)
    theirs = GeodesicKMeans(Hypersphere(2), 3, init=X[:3], tol=0.0).fit(X)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    centers = surfaces.sphere(torch.tensor(ours.cluster_centers_)).numpy()
    np.testing.assert_allclose(centers, theirs.cluster_centers_, atol=1e-3)
    np.testing.assert_allclose(ours.inertia_, theirs.inertia_, rtol=1e-4)
    np.testing.assert_allclose(ours.transform(codes), theirs.transform(X), atol=2e-3)


MIX = np.array([[0.5, 1.0], [-2.0, 0.25]])


@spaces.on_numpy_alone
def test_linear_change_of_coordinates_changes_no_label():
    """Nor what is drawn: rows come in an order that no coordinates change."""
    network, codes = spaces.network(), spaces.draw(16, 2)
    back = torch.nn.Linear(2, 2, bias=False).double()
    back.weight.data = torch.from_numpy(np.linalg.inv(MIX))
    changed = torch.nn.Sequential(back, *network).eval()
    fits = [
        GeodesicKMeans(LatentSpace(decoder, 2), 3, random_state=0).fit(z)
        for decoder, z in ((network, codes), (changed, codes @ MIX.T))
    ]
    np.testing.assert_array_equal(fits[0].labels_, fits[1].labels_)
    np.testing.assert_allclose(
        fits[1].cluster_centers_, fits[0].cluster_centers_ @ MIX.T, rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(fits[1].inertia_, fits[0].inertia_, rtol=1e-6)


# -- order, weights, randomness ----------------------------------------------------------------


def test_order_of_the_rows_does_not_matter():
    order = np.random.default_rng(0).permutation(len(SPHERE))
    kmeans = GeodesicKMeans(Hypersphere(2), 4, random_state=3)
    first, second = clone(kmeans).fit(SPHERE), clone(kmeans).fit(SPHERE[order])
    np.testing.assert_array_equal(first.labels_[order], second.labels_)
    np.testing.assert_array_equal(first.cluster_centers_, second.cluster_centers_)


def test_weights_are_repetitions():
    counts = np.random.default_rng(0).integers(0, 4, len(SPHERE))
    kmeans = GeodesicKMeans(Hypersphere(2), 4, random_state=3)
    weighted = clone(kmeans).fit(SPHERE, sample_weight=counts)
    repeated = clone(kmeans).fit(np.repeat(SPHERE, counts, axis=0))
    np.testing.assert_array_equal(weighted.cluster_centers_, repeated.cluster_centers_)
    np.testing.assert_array_equal(np.repeat(weighted.labels_, counts), repeated.labels_)
    np.testing.assert_allclose(weighted.inertia_, repeated.inertia_, rtol=1e-12)
    # Rows without weight have labels, too.
    np.testing.assert_array_equal(weighted.labels_, weighted.predict(SPHERE))


def test_equal_random_states_give_equal_fits():
    kmeans = GeodesicKMeans(Hypersphere(2), 4, random_state=0)
    first, second = clone(kmeans).fit(SPHERE), clone(kmeans).fit(SPHERE)
    np.testing.assert_array_equal(first.cluster_centers_, second.cluster_centers_)


def test_more_starts_are_no_worse():
    one, many = (
        GeodesicKMeans(n_clusters=6, init="random", n_init=n, random_state=0).fit(BLOBS).inertia_
        for n in (1, 8)
    )
    assert many <= one


def test_callable_init_is_asked_once_a_start():
    asked = []

    def init(X, n_clusters, random_state):
        asked.append(len(X))
        return X[random_state.permutation(len(X))[:n_clusters]]

    GeodesicKMeans(n_clusters=3, init=init, n_init=4, random_state=0).fit(BLOBS)
    assert asked == [len(BLOBS)] * 4


# -- scikit-learn ------------------------------------------------------------------------------


def test_clones_share_the_space():
    space = Hypersphere(2)
    search = GridSearchCV(GeodesicKMeans(space, random_state=0), {"n_clusters": [2, 3]}, cv=2)
    search.fit(SPHERE)
    assert search.best_estimator_.space_ is space
    assert search.best_params_ == {"n_clusters": 3}


def test_pipeline_gives_named_columns():
    pandas = pytest.importorskip("pandas")
    kmeans = GeodesicKMeans(Hypersphere(2), 2, random_state=0)
    pipeline = make_pipeline(Normalizer(), kmeans).set_output(transform="pandas")
    frame = pipeline.fit_transform(2.0 * SPHERE)
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == ["geodesickmeans0", "geodesickmeans1"]
    nearest = frame.to_numpy().argmin(axis=1)
    np.testing.assert_array_equal(nearest, pipeline.predict(2.0 * SPHERE))


def test_pickles():
    kmeans = GeodesicKMeans(Hypersphere(2), 3, random_state=0).fit(SPHERE)
    copy = pickle.loads(pickle.dumps(kmeans))
    np.testing.assert_array_equal(copy.predict(SPHERE), kmeans.labels_)


def test_progress_is_shown_when_asked_for(capsys):
    GeodesicKMeans(n_clusters=2, random_state=0).fit(BLOBS)
    assert capsys.readouterr().err == ""
    GeodesicKMeans(n_clusters=2, random_state=0, verbose=1).fit(BLOBS)
    assert "inertia=" in capsys.readouterr().err


# -- interruption and failure ------------------------------------------------------------------


def test_interrupted_fit_keeps_the_last_assignment(monkeypatch):
    whole = GeodesicKMeans(n_clusters=5, init=BLOBS[:5], max_iter=2).fit(BLOBS)
    calls = []
    lengths = ClosedGeometry.lengths

    def interrupted(self, start, end):
        calls.append(len(start))
        # The second movement of the centers is measured before the third assignment.
        if calls.count(5) == 3:
            raise KeyboardInterrupt
        return lengths(self, start, end)

    monkeypatch.setattr(ClosedGeometry, "lengths", interrupted)
    with pytest.warns(ConvergenceWarning, match="interrupted after 3 iterations"):
        kept = GeodesicKMeans(n_clusters=5, init=BLOBS[:5]).fit(BLOBS)
    np.testing.assert_array_equal(kept.cluster_centers_, whole.cluster_centers_)
    np.testing.assert_array_equal(kept.labels_, whole.labels_)


def test_interrupt_before_the_first_assignment_is_raised(monkeypatch):
    def interrupted(self, start, end):
        raise KeyboardInterrupt

    monkeypatch.setattr(ClosedGeometry, "lengths", interrupted)
    kmeans = GeodesicKMeans(n_clusters=5)
    with pytest.raises(KeyboardInterrupt):
        kmeans.fit(BLOBS)
    with pytest.raises(NotFittedError):
        kmeans.predict(BLOBS)


class HalfMetric(Euclidean(2).metric.__class__):
    """The plane, where points of negative first coordinate are out of reach."""

    def dist(self, point_a, point_b, **kwargs):
        lost = (point_a[..., 0] < 0.0) | (point_b[..., 0] < 0.0)
        return gs.where(lost, gs.array(np.nan), super().dist(point_a, point_b, **kwargs))


def test_points_out_of_reach_pull_no_center():
    X = spaces.draw(12, 2, scale=0.3, shift=np.array([2.0, 0.0]))
    X[:2, 0] = -1.0
    space = Euclidean(2, equip=False)
    space.equip_with_metric(HalfMetric)
    kmeans = GeodesicKMeans(space, 2, init=X[2:4])
    with pytest.warns(GeodesicConvergenceWarning, match="2 of 12 geodesics") as caught:
        kmeans.fit(X)
    assert len(caught) == 1
    assert kmeans.n_failed_ == 2
    without = KMeans(2, init=X[2:4], n_init=1).fit(X[2:])
    np.testing.assert_allclose(kmeans.cluster_centers_, without.cluster_centers_, atol=1e-12)
    np.testing.assert_allclose(kmeans.inertia_, without.inertia_, rtol=1e-12)


@spaces.on_numpy_alone
@pytest.mark.parametrize("policy", ["warn", "raise", "ignore"])
def test_geodesics_that_do_not_converge_are_counted(policy):
    codes = spaces.draw(6, 2)
    # No curve is certified to more digits than numbers have.
    solver = GeodesicSolver(rtol=1e-17, max_iter=2, max_elements=4)
    space = LatentSpace(spaces.vae_like_decoder(), 2, solver=solver, on_failure=policy)
    kmeans = GeodesicKMeans(space, 2, init=codes[:2], max_iter=2)
    if policy == "raise":
        with pytest.raises(GeodesicConvergenceError, match="of 6 geodesics"):
            kmeans.fit(codes)
        return
    if policy == "warn":
        with pytest.warns(GeodesicConvergenceWarning, match="of 6 geodesics") as caught:
            kmeans.fit(codes)
        assert len(caught) == 1
        assert caught[0].filename == __file__
    else:
        kmeans.fit(codes)
    geodesics = geometry_of(space).logs(kmeans.cluster_centers_[kmeans.labels_], codes)
    assert kmeans.n_failed_ == (~geodesics.converged).sum() > 0


# -- bad input ---------------------------------------------------------------------------------

BAD = {
    "nan": ({}, np.full((4, 2), np.nan), "NaN"),
    "infinity": ({}, np.full((4, 2), np.inf), "infinity"),
    "one_row": ({}, np.eye(3)[:1], r"n_samples=1 should be >= n_clusters=8; pass more"),
    "few_rows": ({"n_clusters": 5}, np.eye(3), r"n_samples=3 should be >= n_clusters=5; pass more"),
    "dimension": (
        {"space": Hypersphere(2), "n_clusters": 2},
        np.eye(4),
        r"shape \[3\].*4 features",
    ),
    "off_space": ({"space": Hypersphere(2), "n_clusters": 2}, 2 * np.eye(3), r"3 of 3 rows off it"),
    "matrices": ({"space": SPDMatrices(2), "n_clusters": 2}, np.eye(4), r"shape \[2, 2\]"),
    "no_metric": ({"space": Euclidean(2, equip=False), "n_clusters": 2}, BLOBS[:, :2], "equip"),
    "no_space": ({"space": 3.0, "n_clusters": 2}, BLOBS, "'space' parameter"),
    "init_shape": ({"init": BLOBS[:2], "n_clusters": 3}, BLOBS, r"shape \[3, 4\], got \[2, 4\]"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(name):
    options, X, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        GeodesicKMeans(**options).fit(X)


@pytest.mark.parametrize(("weights", "message"), [(np.zeros(300), "zero"), (-np.ones(300), "nega")])
def test_bad_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        GeodesicKMeans(n_clusters=2).fit(BLOBS, sample_weight=weights)


def test_duplicates_leave_clusters_empty():
    X = np.repeat(np.eye(2), 5, axis=0)
    with pytest.warns(
        ConvergenceWarning, match=r"clusters \(2\) found smaller than n_clusters \(3"
    ):
        kmeans = GeodesicKMeans(n_clusters=3, random_state=0).fit(X)
    assert kmeans.inertia_ == 0.0
    assert len(np.unique(kmeans.labels_)) == 2


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
def test_bad_use_is_refused(method):
    kmeans = GeodesicKMeans(Hypersphere(2), 3, random_state=0)
    with pytest.raises(NotFittedError):
        getattr(kmeans, method)(SPHERE)
    kmeans.fit(SPHERE)
    for X, message in (
        (np.full((4, 3), np.nan), "NaN"),
        (SPHERE[:, :2], "2 features, but GeodesicKMeans is expecting 3"),
        (2.0 * SPHERE, "60 of 60 rows off it"),
    ):
        with pytest.raises(ValueError, match=message):
            getattr(kmeans, method)(X)


def test_one_row_is_its_own_center():
    kmeans = GeodesicKMeans(Hypersphere(2), 1).fit(SPHERE[:1])
    np.testing.assert_array_equal(kmeans.cluster_centers_, SPHERE[:1])
    # The sphere's distance of a point to itself is the arc cosine of a rounded 1.
    np.testing.assert_allclose(kmeans.inertia_, 0.0, atol=4.0 * np.finfo(float).eps)


def test_arrays_that_torch_refuses_are_taken():
    kmeans = GeodesicKMeans(Hypersphere(2), 3, random_state=0).fit(SPHERE)
    frozen = SPHERE.copy()
    frozen.flags.writeable = False
    for X, labels in ((frozen, kmeans.labels_), (SPHERE[::-1], kmeans.labels_[::-1])):
        np.testing.assert_array_equal(clone(kmeans).fit(X).labels_, labels)
        np.testing.assert_array_equal(kmeans.predict(X), labels)
        np.testing.assert_array_equal(kmeans.transform(X).argmin(axis=1), labels)


def test_constant_columns_do_no_harm():
    X = np.column_stack((BLOBS, np.ones(len(BLOBS))))
    flat = GeodesicKMeans(n_clusters=3, random_state=0).fit(BLOBS)
    same = GeodesicKMeans(n_clusters=3, random_state=0).fit(X)
    np.testing.assert_array_equal(same.labels_, flat.labels_)
