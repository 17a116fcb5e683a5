"""Locally adaptive normal distributions: densities of mass one, and EM that finds them."""

import copy
import pickle

import geomstats.backend as gs
import numpy as np
import pytest
from geomstats.geometry.euclidean import Euclidean
from geomstats.geometry.hypersphere import Hypersphere
from geomstats.geometry.poincare_ball import PoincareBall
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from geomstats_vae import LAND
from geomstats_vae.estimators.em import TangentEM
from geomstats_vae.estimators.mixture import DegenerateError
from tests.estimators.densities import component_and_logs, sphere_quadrature
from tests.manifolds import spaces

SPHERE = Hypersphere(2)
TYPES = ["full", "diag", "spherical"]


@parametrize_with_checks([LAND()])
def test_scikit_learn_check(estimator, check):
    check(estimator)


def blobs(n=80):
    rng = np.random.default_rng(0)
    centers, stds = [[0.0, 0.0], [4.0, 1.0], [1.0, 5.0]], [1.0, 0.7, 1.2]
    rows = [c + s * rng.standard_normal((n, 2)) for c, s in zip(centers, stds, strict=True)]
    return np.concatenate(rows) @ np.array([[1.0, 0.4], [0.0, 1.3]])


def on_sphere(mean, std, n, seed=0):
    """Tangent normal rows about a point of the sphere."""
    mean = np.asarray(mean, dtype=float)
    vectors = std * np.random.default_rng(seed).standard_normal((n, 3))
    vectors -= (vectors @ mean)[:, None] * mean
    radius = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.cos(radius) * mean + np.sinc(radius / np.pi) * vectors


@pytest.fixture(scope="module")
def two_groups():
    return np.concatenate((on_sphere([0, 0, 1], 0.5, 120), on_sphere([1, 0, 0], 0.3, 80, seed=1)))


@pytest.fixture(scope="module")
def fitted(two_groups):
    return LAND(SPHERE, 2, random_state=0).fit(two_groups)


# -- Euclidean space -------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", TYPES)
def test_gaussian_mixture_in_euclidean_space(covariance_type):
    X = blobs()
    options = {"covariance_type": covariance_type, "tol": 1e-8, "max_iter": 1000, "random_state": 0}
    theirs = GaussianMixture(3, n_init=3, **options).fit(X)
    ours = LAND(n_components=3, **options).fit(X)
    order, other = np.argsort(ours.means_[:, 0]), np.argsort(theirs.means_[:, 0])
    for name in ("means_", "covariances_", "precisions_", "weights_"):
        np.testing.assert_allclose(
            getattr(ours, name)[order], getattr(theirs, name)[other], atol=1e-3, err_msg=name
        )
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), atol=1e-3)
    np.testing.assert_allclose(ours.score_samples(X, "lebesgue"), ours.score_samples(X))
    for criterion in ("bic", "aic"):
        np.testing.assert_allclose(
            getattr(ours, criterion)(X), getattr(theirs, criterion)(X), rtol=1e-5
        )
    assert (np.argsort(order)[ours.predict(X)] == np.argsort(other)[theirs.predict(X)]).all()


@spaces.on_numpy_alone
def test_euclidean_space_is_the_default():
    X = blobs()
    default, explicit = (
        LAND(space, 2, random_state=0).fit(X).score_samples(X) for space in (None, Euclidean(2))
    )
    np.testing.assert_array_equal(default, explicit)


@pytest.fixture(scope="module")
def best_bound():
    options = {"tol": 1e-5, "random_state": 0}
    return LAND(n_components=3, **options).fit(blobs()).lower_bound_


@spaces.on_numpy_alone
@pytest.mark.parametrize(
    ("init_params", "n_init"),
    [
        ("k-means++", 1),
        pytest.param("random", 2, marks=pytest.mark.long),
        ("random_from_data", 2),
    ],
)
@pytest.mark.long
def test_other_starts(init_params, n_init, best_bound):
    options = {"tol": 1e-5, "random_state": 0}
    land = LAND(n_components=3, init_params=init_params, n_init=n_init, **options).fit(blobs())
    np.testing.assert_allclose(land.lower_bound_, best_bound, atol=1e-3)


# -- mass ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", ["full", "spherical"])
@pytest.mark.parametrize("std", [0.4, 1.2])
@pytest.mark.long
def test_mass_on_the_sphere(covariance_type, std):
    # Of the wide distribution a good part would lie behind the antipode: E|w| is about half of pi.
    X = on_sphere([0, 0.6, 0.8], std, 200)
    land = LAND(SPHERE, covariance_type=covariance_type, random_state=0).fit(X)
    points, weights = sphere_quadrature()
    mass = weights @ np.exp(land.score_samples(points))
    # The quadrature itself: the density has a ridge at the cut locus, where it is not smooth.
    np.testing.assert_allclose(mass, 1.0, atol=3.0 * land.log_normalizer_std_[0] + 2e-3)


def test_mass_on_the_hyperbolic_plane():
    X = 0.25 * np.random.default_rng(0).standard_normal((100, 2))
    land = LAND(PoincareBall(2), random_state=0).fit(X)
    axis = np.linspace(-0.995, 0.995, 200)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    grid = grid[(grid**2).sum(axis=1) < 0.99]
    mass = np.exp(land.score_samples(grid, "lebesgue")).sum() * (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(mass, 1.0, atol=1e-4)


# -- samples ---------------------------------------------------------------------------------------


def masses_of_cells(land, heights, angles, n=8):
    """Integrals over cells of the sphere, [n_heights, n_angles], by Gauss' rule within each."""
    node, weight = np.polynomial.legendre.leggauss(n)
    node, weight = 0.5 * (node + 1.0), 0.5 * weight
    height = (heights[:-1, None] + np.diff(heights)[:, None] * node).ravel()
    angle = (angles[:-1, None] + np.diff(angles)[:, None] * node).ravel()
    height, angle = np.meshgrid(height, angle, indexing="ij")
    ring = np.sqrt(1.0 - height**2)
    points = np.stack((ring * np.cos(angle), ring * np.sin(angle), height), axis=-1)
    density = np.exp(land.score_samples(points.reshape(-1, 3)))
    density = density.reshape(len(heights) - 1, n, len(angles) - 1, n)
    area = (heights[1] - heights[0]) * (angles[1] - angles[0])
    return area * np.einsum("injm,n,m->ij", density, weight, weight)


def test_samples_follow_the_density(fitted):
    X, labels = fitted.sample(20000)
    np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1.0, atol=1e-8)
    n_heights, n_angles = 8, 12
    edges = np.linspace(-1.0, 1.0, n_heights + 1), np.linspace(-np.pi, np.pi, n_angles + 1)
    counts, *_ = np.histogram2d(X[:, 2], np.arctan2(X[:, 1], X[:, 0]), bins=edges)
    mass = masses_of_cells(fitted, *edges)
    # The density is known up to the error of its normalisers, and so is the mass of all cells.
    np.testing.assert_allclose(mass.sum(), 1.0, atol=3.0 * fitted.lower_bound_std_ + 1e-3)
    expected = mass.ravel() / mass.sum() * len(X)
    kept = expected > 20.0
    statistic = ((counts.ravel()[kept] - expected[kept]) ** 2 / expected[kept]).sum()
    # The seed is fixed; a wrong density by 5 % in one cell of 2,000 alone adds 5.
    assert stats.chi2.sf(statistic, kept.sum() - 1) > 1e-2
    np.testing.assert_allclose(np.bincount(labels) / len(X), fitted.weights_, atol=0.015)


def test_one_sample(fitted):
    X, labels = fitted.sample()
    assert X.shape == (1, 3)
    assert labels.shape == (1,)
    with pytest.raises(ValueError, match="n_samples"):
        fitted.sample(0)


# -- EM --------------------------------------------------------------------------------------------


def test_components_are_found(fitted, two_groups):
    order = np.argsort(fitted.means_[:, 0])
    # Means of 120 and 80 rows: standard errors of 0.05 and 0.03 in each direction.
    np.testing.assert_allclose(fitted.means_[order], [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], atol=0.2)
    labels = fitted.predict(two_groups)
    assert (labels[:120] == order[0]).mean() > 0.9
    assert (labels[120:] == order[1]).mean() > 0.9
    np.testing.assert_allclose(fitted.predict_proba(two_groups).sum(axis=1), 1.0)
    np.testing.assert_allclose(fitted.lower_bound_, fitted.score(two_groups), rtol=1e-10)
    np.testing.assert_array_equal(clone(fitted).fit_predict(two_groups), labels)


@spaces.on_numpy_alone
@pytest.mark.filterwarnings("ignore:Best performing")  # it need not converge to be monotone
@pytest.mark.parametrize(
    "covariance_type", [pytest.param("full", marks=pytest.mark.long), "spherical"]
)
@pytest.mark.long
def test_bound_does_not_fall(covariance_type, two_groups):
    land = LAND(
        SPHERE,
        3,
        covariance_type=covariance_type,
        init_params="random_from_data",
        tol=1e-6,
        max_iter=5,
        n_normalizer_samples=128,
        random_state=0,
    ).fit(two_groups)
    assert len(land.lower_bounds_) == land.n_iter_ + 1 > 3
    assert np.diff(land.lower_bounds_).min() >= -land.lower_bound_std_
    assert land.lower_bounds_[-1] > land.lower_bounds_[0]


@spaces.on_numpy_alone
def test_likelihood_is_stationary(two_groups):
    # Maximum likelihood matches moments: E[w w'] of the density is that of the rows.
    X = two_groups[:120]
    land = LAND(SPHERE, tol=1e-10, reg_covar=0.0, random_state=0).fit(X)
    component, logs = component_and_logs(land, X)
    np.testing.assert_allclose(component.moments.second, logs.T @ logs / len(X), atol=1e-6)
    # The direction that means move in takes the derivative of Log for -1, which it is up to
    # curvature: where no step along it helps, 3 rows in 10,000 standard deviations are left.
    np.testing.assert_allclose(component.moments.mean, logs.mean(axis=0), atol=2e-3)


@spaces.on_numpy_alone
def test_fits_are_reproducible_and_know_no_order(fitted, two_groups):
    again = clone(fitted).fit(two_groups)
    order = np.random.default_rng(0).permutation(len(two_groups))
    shuffled = clone(fitted).fit(two_groups[order])
    for name in ("means_", "covariances_", "weights_", "lower_bound_", "log_normalizer_"):
        np.testing.assert_array_equal(getattr(again, name), getattr(fitted, name))
        np.testing.assert_array_equal(getattr(shuffled, name), getattr(fitted, name))
    np.testing.assert_array_equal(again.sample(5)[0], fitted.sample(5)[0])


@spaces.on_numpy_alone
def test_warm_start_goes_on(two_groups):
    land = LAND(SPHERE, warm_start=True, max_iter=0, random_state=0)
    bounds = [land.fit(two_groups).lower_bound_]
    land.set_params(max_iter=20, tol=1e-8)
    bounds.append(land.fit(two_groups).lower_bound_)
    bounds.append(land.fit(two_groups).lower_bound_)
    assert bounds[0] <= bounds[1] + 1e-9
    np.testing.assert_allclose(bounds[2], bounds[1], atol=1e-7)


# -- things that go wrong --------------------------------------------------------------------------


@spaces.on_numpy_alone
def test_interrupt_keeps_the_best_state(two_groups, monkeypatch):
    moves, move = [], TangentEM.move

    def interrupted(self, *args):
        if moves:
            raise KeyboardInterrupt
        moves.append(1)
        return move(self, *args)

    monkeypatch.setattr(TangentEM, "move", interrupted)
    land = LAND(SPHERE, 3, init_params="random", tol=1e-9, n_normalizer_samples=128, random_state=0)
    with pytest.warns(ConvergenceWarning, match="interrupted after 1 moves"):
        land.fit(two_groups)
    assert not land.converged_
    assert land.n_iter_ == 1
    np.testing.assert_allclose(land.score(two_groups), land.lower_bound_, rtol=1e-10)


@spaces.on_numpy_alone
@pytest.mark.long
def test_degenerate_starts_are_given_up(two_groups, monkeypatch):
    starts, begin = [], TangentEM.start

    def once(self, responsibilities):
        starts.append(1)
        if len(starts) == 1:
            raise DegenerateError("a mean left the data")
        return begin(self, responsibilities)

    monkeypatch.setattr(TangentEM, "start", once)
    with pytest.warns(ConvergenceWarning, match=r"A mean left the data\. EM starts again"):
        land = LAND(SPHERE, 2, n_normalizer_samples=128, random_state=0).fit(two_groups)
    assert land.converged_


@spaces.on_numpy_alone
@pytest.mark.filterwarnings("ignore:Best performing")
def test_collapsed_components_are_reported():
    X = np.concatenate((np.zeros((30, 2)), np.random.default_rng(0).normal(5.0, 1.0, (30, 2))))
    with pytest.warns(ConvergenceWarning, match="1 components collapsed on a point"):
        land = LAND(n_components=2, random_state=0).fit(X)
    assert np.isfinite(land.score(X))


@spaces.on_numpy_alone
@pytest.mark.parametrize("covariance_type", TYPES)
def test_constant_columns_and_duplicates(covariance_type):
    X = np.repeat(np.random.default_rng(0).standard_normal((10, 2)), 3, axis=0)
    X[:, 1] = 2.0
    land = LAND(covariance_type=covariance_type, random_state=0).fit(X)
    theirs = GaussianMixture(covariance_type=covariance_type).fit(X)
    np.testing.assert_allclose(land.score(X), theirs.score(X), atol=1e-3)


class Unreachable(Euclidean):
    """A plane with a point that no geodesic goes to."""

    def __init__(self):
        super().__init__(2)
        dist = self.metric.dist
        self.metric.dist = lambda a, b: gs.where(b[..., 0] == 9.0, np.nan, dist(a, b))


def test_rows_that_cannot_be_reached_are_data():
    X = np.random.default_rng(0).standard_normal((50, 2))
    far = np.concatenate((X, [[9.0, 0.0]]))
    with pytest.warns(UserWarning, match="1 geodesics did not converge"):
        land = LAND(Unreachable(), random_state=0).fit(far)
    assert land.n_failed_ == 1
    np.testing.assert_allclose(land.means_[0], X.mean(axis=0), atol=0.3)
    with pytest.warns(UserWarning, match="1 geodesics did not converge"):
        assert land.score_samples(far)[-1] == -np.inf


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        (np.array([[0.0, np.nan], [1.0, 1.0]]), {}, "NaN"),
        (np.zeros((1, 2)), {}, "minimum of 2 is required"),
        (np.eye(2), {"n_components": 3}, "n_samples >= n_components.*fewer components"),
        (np.eye(2), {"space": SPHERE}, "data with 2 features"),
        (np.zeros((4, 3)), {"space": SPHERE}, "rows off it"),
        (np.eye(3), {"space": SPHERE, "covariance_type": "diag"}, "'full' or 'spherical'"),
        (np.eye(2), {"covariance_type": "tied"}, "covariance_type"),
    ],
)
def test_bad_input(X, options, message):
    with pytest.raises(ValueError, match=message):
        LAND(**options).fit(X)


def test_unfitted_use_and_wrong_measures(fitted, two_groups):
    with pytest.raises(NotFittedError):
        LAND(SPHERE).predict(two_groups)
    with pytest.raises(NotFittedError):
        LAND(SPHERE).sample()
    with pytest.raises(ValueError, match="measure to be one of"):
        fitted.score_samples(two_groups, "counting")
    with pytest.raises(ValueError, match="no Lebesgue measure"):
        fitted.score_samples(two_groups, "lebesgue")


# -- scikit-learn ----------------------------------------------------------------------------------


@pytest.mark.long
@spaces.on_numpy_alone
def test_grid_search_picks_by_likelihood(two_groups):
    land = LAND(SPHERE, n_normalizer_samples=128, tol=1e-2, random_state=0)
    search = GridSearchCV(land, {"n_components": [1, 2]}, cv=2)
    search.fit(two_groups[np.random.default_rng(0).permutation(len(two_groups))[:100]])
    assert search.best_params_ == {"n_components": 2}
    assert search.best_estimator_.space_ is SPHERE


def test_clones_share_the_space(fitted):
    assert clone(fitted).space is SPHERE


def test_pipeline_and_pickle(two_groups):
    X = blobs()
    pipeline = make_pipeline(StandardScaler(), LAND(n_components=3, random_state=0)).fit(X)
    restored = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(restored.predict(X), pipeline.predict(X))
    np.testing.assert_array_equal(restored[-1].sample(3)[0], pipeline[-1].sample(3)[0])
    copied = copy.deepcopy(pipeline)
    np.testing.assert_array_equal(copied.score_samples(X), pipeline.score_samples(X))


def test_progress(two_groups, capsys):
    LAND(SPHERE, random_state=0, verbose=1).fit(two_groups)
    assert "bound" in capsys.readouterr().err
