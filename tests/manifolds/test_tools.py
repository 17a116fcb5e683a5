"""Every tool of geomstats.learning on a decoder's latent space, checked by other computations.

What is right follows from closed forms on `SPHERE` and `FLAT`, from costs of the geodesic distance
minimised by brute force on `VAE`, or from scikit-learn on a matrix of distances.
"""

import copy
import importlib
import inspect
import pkgutil
import random
from functools import cache
from types import SimpleNamespace

import geomstats.backend as gs
import geomstats.learning
import geomstats.visualization
import numpy as np
import pytest
import sklearn
from geomstats.exceptions import AutodiffNotImplementedError
from geomstats.geometry.euclidean import Euclidean
from geomstats.geometry.hypersphere import Hypersphere
from geomstats.geometry.poincare_ball import PoincareBall
from geomstats.learning import radial_kernel_functions
from geomstats.learning.aac import AAC
from geomstats.learning.agglomerative_hierarchical_clustering import (
    AgglomerativeHierarchicalClustering,
)
from geomstats.learning.expectation_maximization import RiemannianEM
from geomstats.learning.exponential_barycenter import ExponentialBarycenter
from geomstats.learning.frechet_mean import FrechetMean, variance
from geomstats.learning.geodesic_regression import GeodesicRegression
from geomstats.learning.geometric_median import GeometricMedian
from geomstats.learning.incremental_frechet_mean import IncrementalFrechetMean
from geomstats.learning.kalman_filter import KalmanFilter
from geomstats.learning.kernel_density_estimation_classifier import (
    KernelDensityEstimationClassifier,
)
from geomstats.learning.kmeans import RiemannianKMeans
from geomstats.learning.kmedoids import RiemannianKMedoids
from geomstats.learning.knn import KNearestNeighborsClassifier
from geomstats.learning.mdm import RiemannianMinimumDistanceToMean
from geomstats.learning.online_kmeans import OnlineKMeans
from geomstats.learning.pca import ExactPGA, HyperbolicPlaneExactPGA, TangentPCA
from geomstats.learning.preprocessing import ToTangentSpace
from geomstats.learning.riemannian_mean_shift import RiemannianMeanShift
from geomstats.learning.wrapped_gaussian_process import WrappedGaussianProcess
from scipy.optimize import minimize
from scipy.spatial.distance import pdist
from scipy.special import expit, softmax
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.manifold import MDS
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier

from geomstats_vae.manifolds import LatentSpace
from tests.manifolds import spaces
from tests.manifolds.charts import (
    BEND,
    FLAT,
    OPTIONS,
    SPHERE,
    VAE,
    arc,
    bent_plane,
    close,
    on_plane,
    on_sphere,
    push_to_sphere,
    straight,
)
from tests.manifolds.spaces import array, draw, host

CODES = draw(10, 2, scale=0.4)
QUERIES = draw(3, 2, scale=0.4, seed=1)
WEIGHTS = np.random.default_rng(2).uniform(0.5, 2.0, len(CODES))
LABELS = np.arange(len(CODES)) % 2
# Two groups, apart from each other.
GROUPS = draw(8, 2, scale=0.2, seed=3) + np.repeat([[-0.7, 0.0], [0.7, 0.3]], 4, axis=0)
IN_GROUP = np.repeat([0, 1], 4)


def table(distance, a, b):
    """Distances of all pairs."""
    return host(distance(a[:, None], b))


def dist(a, b):
    return host(VAE.metric.dist(array(a), array(b)))


def brute_force(cost, start, step=1e-4):
    """Minimise a cost of rows of codes, its slope by differences."""

    def value_and_slope(z):
        steps = step * np.eye(len(z))
        values = cost(np.concatenate((z[None], z + steps, z - steps)))
        return values[0], (values[1 : len(z) + 1] - values[len(z) + 1 :]) / (2.0 * step)

    return minimize(value_and_slope, start, jac=True, method="BFGS", options={"gtol": 1e-6}).x


@cache
def brute_force_mean(rows, weighted=False):
    """Mean of some rows of `GROUPS`, by distances alone."""
    points = GROUPS[list(rows)]
    weights = WEIGHTS[list(rows)] if weighted else np.ones(len(points))
    return brute_force(
        lambda z: table(dist, z, points) ** 2 @ weights / weights.sum(), points.mean(axis=0)
    )


ALL, FIRST, SECOND = tuple(range(8)), tuple(range(4)), tuple(range(4, 8))


def seed():
    """Tools draw from the backend's generator, or from that of `random`."""
    gs.random.seed(0)
    random.seed(0)


# -- means -----------------------------------------------------------------------------------------


def frechet_mean_minimises_the_variance():
    # Stops by the squared norm of the gradient.
    mean = FrechetMean(VAE).set(epsilon=1e-12).fit(array(GROUPS)).estimate_
    close(mean, brute_force_mean(ALL))


def adaptive_frechet_mean_minimises_the_variance():
    mean = FrechetMean(VAE, method="adaptive").set(epsilon=1e-6).fit(array(GROUPS)).estimate_
    close(mean, brute_force_mean(ALL))


def weighted_frechet_mean_minimises_the_weighted_variance():
    estimator = FrechetMean(VAE).set(epsilon=1e-12)
    mean = estimator.fit(array(GROUPS), weights=array(WEIGHTS[:8])).estimate_
    close(mean, brute_force_mean(ALL, weighted=True))


def batch_of_frechet_means_are_the_means_of_its_groups():
    batch = np.stack((CODES[:5], CODES[5:]), axis=1)
    means = FrechetMean(FLAT, method="batch").set(epsilon=1e-12).fit(array(batch)).estimate_
    close(on_plane(means), on_plane(batch).mean(axis=0))


def variance_is_that_of_great_circles():
    expected = np.average(arc(QUERIES[0], CODES) ** 2, weights=WEIGHTS)
    close(variance(SPHERE, array(CODES), array(QUERIES[0]), array(WEIGHTS)), expected)


def incremental_mean_moves_along_great_circles():
    mean = on_sphere(CODES[0])
    for k, point in enumerate(on_sphere(CODES)[1:], start=2):
        angle = np.arccos(mean @ point)
        mean = np.sin((1.0 - 1.0 / k) * angle) * mean + np.sin(angle / k) * point
        mean /= np.sin(angle)
    close(on_sphere(IncrementalFrechetMean(SPHERE).fit(array(CODES)).estimate_), mean)


def median_minimises_the_sum_of_distances():
    expected = brute_force(lambda z: table(straight, z, CODES) @ WEIGHTS, CODES.mean(axis=0))
    estimator = GeometricMedian(FLAT, init_point=array(CODES.mean(axis=0)), epsilon=1e-4)
    weights = array(WEIGHTS / WEIGHTS.sum())
    close(estimator.fit(array(CODES), weights=weights).estimate_, expected, atol=1e-3)


# -- clusters --------------------------------------------------------------------------------------


def kmeans_is_that_of_the_plane():
    images, start = on_plane(CODES), CODES[:2].copy()  # it writes into its start
    ours = RiemannianKMeans(FLAT, 2, init=array(start), tol=1e-6)
    ours.mean_estimator.set(epsilon=1e-12)
    ours.fit(array(CODES))
    theirs = KMeans(2, init=images[:2], n_init=1, tol=1e-6).fit(images)
    np.testing.assert_array_equal(host(ours.labels_), theirs.labels_)
    close(on_plane(ours.cluster_centers_), theirs.cluster_centers_)
    close(ours.inertia_, theirs.inertia_)
    predicted = host(ours.predict(array(QUERIES)))
    np.testing.assert_array_equal(predicted, theirs.predict(on_plane(QUERIES)))


def kmeans_centers_minimise_the_variance_of_their_clusters():
    kmeans = RiemannianKMeans(VAE, 2, init=array(GROUPS[[0, -1]]))
    kmeans.mean_estimator.set(epsilon=1e-12)
    np.testing.assert_array_equal(host(kmeans.fit(array(GROUPS)).labels_), IN_GROUP)
    close(kmeans.cluster_centers_, [brute_force_mean(rows) for rows in (FIRST, SECOND)])


def online_kmeans_is_that_of_the_plane():
    fits = []
    for space, points in ((FLAT, CODES), (Euclidean(2), on_plane(CODES))):
        seed()
        fits.append(OnlineKMeans(space, 2, n_repetitions=3, max_iter=8).fit(array(points)))
    ours, theirs = fits
    close(on_plane(ours.cluster_centers_), theirs.cluster_centers_)
    np.testing.assert_array_equal(host(ours.labels_), host(theirs.labels_))
    predicted = host(ours.predict(array(QUERIES)))
    np.testing.assert_array_equal(predicted, host(theirs.predict(array(on_plane(QUERIES)))))


def kmedoids_are_the_best_pair_of_points():
    kmedoids = RiemannianKMedoids(SPHERE, 2)
    # geomstats draws them from a generator that has no seed, and may draw one point twice.
    kmedoids._initialize_medoids = lambda distances: gs.array([0, 7])
    kmedoids.fit(array(GROUPS))
    arcs = table(arc, GROUPS, GROUPS)
    cost = np.minimum(arcs[:, None], arcs).sum(axis=-1)
    best = np.unravel_index(cost.argmin(), cost.shape)
    assert set(host(kmedoids.medoid_indices_)) == set(best)
    nearest = table(arc, QUERIES, host(kmedoids.cluster_centers_)).argmin(axis=1)
    np.testing.assert_array_equal(host(kmedoids.predict(array(QUERIES))), nearest)


def agglomerative_clusters_are_those_of_scikit_learn():
    ours = AgglomerativeHierarchicalClustering(VAE, n_clusters=3)
    if spaces.ON_TORCH:
        # With SCIPY_ARRAY_API the linkage of a tensor is a tensor, which scikit-learn refuses.
        ours.metric = lambda X: gs.to_numpy(VAE.metric.dist_pairwise(gs.from_numpy(X)))
    ours.fit(CODES)
    theirs = AgglomerativeClustering(3, metric="precomputed", linkage="average")
    theirs.fit(table(dist, CODES, CODES))
    np.testing.assert_array_equal(ours.children_, theirs.children_)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)


def mean_shift_ends_at_means_of_balls():
    seed()
    radius = np.median(table(straight, GROUPS, GROUPS))
    shift = RiemannianMeanShift(FLAT, radius, n_clusters=2, tol=1e-8)
    shift.mean_estimator.set(epsilon=1e-12)
    modes = host(shift.fit(array(GROUPS)).cluster_centers_)
    inside = table(straight, modes, GROUPS) <= radius
    assert (inside.sum(axis=1) > 1).all()
    close(on_plane(modes), [on_plane(GROUPS)[rows].mean(axis=0) for rows in inside])
    nearest = table(straight, QUERIES, modes).argmin(axis=1)
    np.testing.assert_array_equal(host(shift.predict(array(QUERIES))), nearest)


# The range of its standard deviations is fixed, from 0.5 to 2: a plane that is wide to them.
SCALE = 50.0
BLOBS = draw(8, 2, scale=1.5, seed=4) + np.repeat([[-4.0, 0.0], [4.0, 1.0]], 4, axis=0)


def codes_of_plane(images):
    return np.arctanh(images / SCALE) @ np.linalg.inv(BEND.numpy()).T


@cache
def mixture():
    """A mixture on a piece of the plane; it takes long to set up."""
    space = LatentSpace(bent_plane(SCALE), 2, **OPTIONS)
    options = {"initialisation_method": "kmeans", "minimum_epochs": 1, "conv_rate": 1e-3}
    return RiemannianEM(space, n_gaussians=2, **options)


def mixture_is_that_of_scikit_learn():
    seed()
    ours = mixture().fit(array(codes_of_plane(BLOBS)))
    theirs = GaussianMixture(2, covariance_type="spherical", random_state=0).fit(BLOBS)
    order, their_order = host(ours.means_)[:, 0].argsort(), theirs.means_[:, 0].argsort()
    close(on_plane(ours.means_, SCALE)[order], theirs.means_[their_order], atol=0.02)
    close(host(ours.mixture_coefficients_)[order], theirs.weights_[their_order], atol=1e-3)
    # In steps of 0.01.
    deviations = np.sqrt(theirs.covariances_[their_order])
    close(host(ours.variances_)[order], deviations, atol=0.02)


def scaling_recovers_the_plane():
    distances = host(FLAT.metric.dist_pairwise(array(CODES)))
    scaling = MDS(2, metric="precomputed", init="classical_mds", n_init=1)
    close(pdist(scaling.fit_transform(distances)), pdist(on_plane(CODES)))


# -- classes ---------------------------------------------------------------------------------------


def nearest_neighbors_are_those_of_scikit_learn():
    options = {"n_neighbors": 3, "weights": "distance"}
    ours = KNearestNeighborsClassifier(VAE, **options).fit(GROUPS, IN_GROUP)
    theirs = KNeighborsClassifier(**options, metric="precomputed")
    theirs.fit(table(dist, GROUPS, GROUPS), IN_GROUP)
    expected = theirs.predict_proba(table(dist, QUERIES, GROUPS))
    close(ours.predict_proba(QUERIES), expected)


def kernel_density_is_that_of_the_plane():
    kernel, width = radial_kernel_functions.gaussian_radial_kernel, 0.3
    classifier = KernelDensityEstimationClassifier(FLAT, kernel=kernel, bandwidth=width)
    weight = np.exp(-0.5 * (table(straight, QUERIES, CODES) / width) ** 2)
    share = weight[:, LABELS == 1].sum(axis=1) / weight.sum(axis=1)
    close(classifier.fit(CODES, LABELS).predict_proba(QUERIES)[:, 1], share)


# In units of the bandwidth.
KERNELS = {
    "uniform_radial_kernel": lambda r: np.where(r < 1.0, 1.0, 0.0),
    "triangular_radial_kernel": lambda r: np.maximum(1.0 - r, 0.0),
    "parabolic_radial_kernel": lambda r: np.maximum(1.0 - r**2, 0.0),
    "biweight_radial_kernel": lambda r: np.maximum(1.0 - r**2, 0.0) ** 2,
    "triweight_radial_kernel": lambda r: np.maximum(1.0 - r**2, 0.0) ** 3,
    "tricube_radial_kernel": lambda r: np.maximum(1.0 - r**3, 0.0) ** 3,
    "gaussian_radial_kernel": lambda r: np.exp(-0.5 * r**2),
    "cosine_radial_kernel": lambda r: np.where(r < 1.0, np.cos(0.5 * np.pi * r), 0.0),
    "logistic_radial_kernel": lambda r: expit(r) * expit(-r),
    "sigmoid_radial_kernel": lambda r: 0.5 / np.cosh(r),
    "bump_radial_kernel": lambda r: np.where(
        r < 1.0, np.exp(1.0 / np.minimum(r**2 - 1.0, -1e-9)), 0.0
    ),
    "inverse_quadratic_radial_kernel": lambda r: 1.0 / (1.0 + r**2),
    "inverse_multiquadric_radial_kernel": lambda r: 1.0 / np.sqrt(1.0 + r**2),
    "laplacian_radial_kernel": lambda r: np.exp(-r),
}


def kernels_are_those_of_great_circles():
    distance = SPHERE.metric.dist_pairwise(array(CODES))
    for name, formula in KERNELS.items():
        weight = getattr(radial_kernel_functions, name)(distance=distance, bandwidth=0.5)
        close(weight, formula(table(arc, CODES, CODES) / 0.5))


def minimum_distance_to_mean_is_that_to_brute_force_means():
    classifier = RiemannianMinimumDistanceToMean(VAE)
    classifier.mean_estimator.set(epsilon=1e-12)
    classifier.fit(array(GROUPS), gs.array(IN_GROUP.tolist()))
    means = np.stack([brute_force_mean(rows) for rows in (FIRST, SECOND)])
    close(classifier.mean_estimates_, means)
    expected = table(dist, QUERIES, means)
    close(classifier.transform(array(QUERIES)), expected, atol=1e-4)
    close(classifier.predict_proba(array(QUERIES)), softmax(-(expected**2), axis=1), atol=1e-4)
    predicted = host(classifier.predict(array(QUERIES)))
    np.testing.assert_array_equal(predicted, expected.argmin(axis=1))


# -- tangent spaces and regression -----------------------------------------------------------------


def lift_to_tangent_space_is_the_logarithm_of_the_sphere():
    base = QUERIES[0]
    transformer = ToTangentSpace(SPHERE).fit(array(CODES), base_point=array(base))
    logs = transformer.transform(array(CODES))
    expected = Hypersphere(2).metric.log(array(on_sphere(CODES)), array(on_sphere(base)))
    close(push_to_sphere(logs, base), expected)
    close(transformer.inverse_transform(logs), CODES)


def tangent_pca_is_that_of_the_sphere():
    # Under pytorch scikit-learn takes tensors only if told so.
    with sklearn.config_context(array_api_dispatch=spaces.ON_TORCH):
        ours = TangentPCA(SPHERE, n_components=2).fit(array(CODES))
        theirs = TangentPCA(Hypersphere(2), n_components=2).fit(array(on_sphere(CODES)))
        scores, expected = ours.transform(array(CODES)), theirs.transform(array(on_sphere(CODES)))
        back = ours.inverse_transform(scores)
    mean = host(ours.base_point_)
    close(on_sphere(mean), theirs.base_point_)
    # It measures in coordinates; these are conformal, so that one factor relates all lengths.
    factor = 2.0 / (1.0 + (mean**2).sum())
    close(factor * host(ours.singular_values_), theirs.singular_values_)
    close(factor * np.abs(host(scores)), np.abs(host(expected)))
    close(ours.explained_variance_ratio_, theirs.explained_variance_ratio_)
    close(back, CODES)


def wrapped_gaussian_process_is_that_of_the_sphere():
    times = np.linspace(0.0, 3.0, 8)[:, None]
    y = 0.5 * np.concatenate((np.sin(times), np.cos(times)), axis=1)
    predicted = []
    for space, base, targets in (
        (SPHERE, QUERIES[0], y),
        (Hypersphere(2), on_sphere(QUERIES[0]), on_sphere(y)),
    ):
        process = WrappedGaussianProcess(space, lambda t, x=base: array(np.tile(x, (len(t), 1))))
        # The likelihood of kernels counts coordinates, two here and three there: one is given.
        process.set(optimizer=None).fit(times, array(targets))
        predicted.append(process.predict(times[:3] + 0.1))
    ours, theirs = predicted
    close(on_sphere(ours), theirs)


def extrinsic_regression_is_least_squares_on_the_plane():
    times = np.linspace(0.0, 1.0, 5)
    y = np.array([0.3, -0.2]) * times[:, None] + draw(5, 2, scale=0.05)
    start = array(np.stack((y.mean(axis=0), [0.3, -0.2])))
    regression = GeodesicRegression(FLAT, initialization=start)
    regression.set(tol=1e-4).fit(array(times), array(y))
    design = np.stack((np.ones(5), times), axis=1)
    line = design @ np.linalg.lstsq(design, on_plane(y), rcond=None)[0]
    close(on_plane(regression.predict(array(times))), line, atol=5e-4)


def riemannian_regression_finds_the_geodesic_of_its_data():
    times, base, vector = np.linspace(-0.5, 0.5, 4), array([0.1, 0.2]), array([0.5, -0.3])
    y = VAE.metric.exp(array(times)[:, None] * vector, base)
    start = array([[0.05, 0.15], [0.4, -0.2]])
    regression = GeodesicRegression(VAE, method="riemannian", initialization=start)
    regression.set(tol=1e-6, init_step_size=0.3).fit(array(times), y)
    close(regression.intercept_, base, atol=2e-3)
    close(regression.coef_, vector, atol=0.01)


# Estimator: what is shown of it.
TABLE = {
    "AgglomerativeHierarchicalClustering": [agglomerative_clusters_are_those_of_scikit_learn],
    "FrechetMean": [
        frechet_mean_minimises_the_variance,
        adaptive_frechet_mean_minimises_the_variance,
        weighted_frechet_mean_minimises_the_weighted_variance,
        batch_of_frechet_means_are_the_means_of_its_groups,
        variance_is_that_of_great_circles,
    ],
    "GeodesicRegression": [
        extrinsic_regression_is_least_squares_on_the_plane,
        # By automatic differentiation.
        *([riemannian_regression_finds_the_geodesic_of_its_data] if spaces.ON_TORCH else []),
    ],
    "GeometricMedian": [median_minimises_the_sum_of_distances],
    "IncrementalFrechetMean": [incremental_mean_moves_along_great_circles],
    "KNearestNeighborsClassifier": [nearest_neighbors_are_those_of_scikit_learn],
    "KernelDensityEstimationClassifier": [
        kernel_density_is_that_of_the_plane,
        kernels_are_those_of_great_circles,
    ],
    # In geomstats' next release: scikit-learn's, on distances that it takes row by row.
    "MDS": [scaling_recovers_the_plane],
    "OnlineKMeans": [online_kmeans_is_that_of_the_plane],
    "RiemannianEM": [mixture_is_that_of_scikit_learn],
    "RiemannianKMeans": [
        kmeans_is_that_of_the_plane,
        kmeans_centers_minimise_the_variance_of_their_clusters,
    ],
    "RiemannianKMedoids": [kmedoids_are_the_best_pair_of_points],
    "RiemannianMeanShift": [mean_shift_ends_at_means_of_balls],
    "RiemannianMinimumDistanceToMean": [minimum_distance_to_mean_is_that_to_brute_force_means],
    "TangentPCA": [tangent_pca_is_that_of_the_sphere],
    "ToTangentSpace": [lift_to_tangent_space_is_the_logarithm_of_the_sphere],
    "WrappedGaussianProcess": [wrapped_gaussian_process_is_that_of_the_sphere],
}

# What fails on our space as on one of geomstats' own, whose limit or fault it is: the call, their
# space, and the error.
BALL, BALL_POINTS = PoincareBall(2), draw(8, 2, scale=0.2)
FAULTS = {
    # Aligns graphs.
    "AAC": (
        lambda space, X: AAC(space, estimate="frechet_mean").fit(X),
        BALL,
        (AttributeError, "aligner"),
    ),
    # Of a group.
    "ExponentialBarycenter": (
        lambda space, X: ExponentialBarycenter(space).fit(X),
        BALL,
        (AttributeError, "inverse"),
    ),
    "KalmanFilter": (
        lambda space, X: KalmanFilter(SimpleNamespace(group=space)),
        BALL,
        (AttributeError, "identity"),
    ),
    # Of geomstats' own classes of the hyperbolic plane.
    "ExactPGA": (
        lambda space, X: ExactPGA(space),
        Euclidean(2),
        (NotImplementedError, "hyperbolic"),
    ),
    "HyperbolicPlaneExactPGA": (
        lambda space, X: HyperbolicPlaneExactPGA(space).fit(X),
        Euclidean(2),
        (AttributeError, "to_coordinates"),
    ),
    # Takes a basis of vectors for one of matrices.
    "normal_basis": (
        lambda space, X: space.metric.normal_basis(gs.eye(2), X[0]),
        Euclidean(2),
        ((RuntimeError, ValueError), "subscripts"),
    ),
    # Of the spaces that it lists by name.
    "visualization.plot": (
        lambda space, X: geomstats.visualization.plot(X, space=space),
        Euclidean(2),
        (NotImplementedError, "spaces available"),
    ),
    # It asks for the space when it is made, of which copies know nothing yet.
    "a copy of FrechetMean": (
        lambda space, X: copy.deepcopy(FrechetMean(space)),
        BALL,
        (TypeError, "'space'"),
    ),
}
if spaces.ON_TORCH:
    # The tests set SCIPY_ARRAY_API, for TangentPCA; the rows above show how either is used.
    FAULTS |= {
        "TangentPCA without array_api_dispatch": (
            lambda space, X: TangentPCA(space).fit(X),
            BALL,
            (TypeError, "data type"),
        ),
        "AgglomerativeHierarchicalClustering with SCIPY_ARRAY_API": (
            lambda space, X: AgglomerativeHierarchicalClustering(space).fit(X),
            BALL,
            (AttributeError, "astype"),
        ),
    }
else:
    FAULTS["GeodesicRegression by Riemannian gradients"] = (
        lambda space, X: GeodesicRegression(space, method="riemannian", initialization="data").fit(
            X[:, 0], X
        ),
        BALL,
        (AutodiffNotImplementedError, "numpy backend"),
    )
# Classes of geomstats.learning that are no tools of their own, and what they are.
PARTS = {
    "AdaptiveGradientDescent": "FrechetMean(method='adaptive')",
    "BaseGradientDescent": "abstract",
    "BatchGradientDescent": "FrechetMean(method='batch')",
    "CircleMean": "what FrechetMean is on the circle",
    "ElasticMean": "what FrechetMean is for elastic metrics of curves",
    "GaussianMixtureModel": "the model of RiemannianEM",
    "GradientDescent": "FrechetMean(method='default')",
    "LinearMean": "what FrechetMean is for Euclidean metrics",
    "Localization": "a model of KalmanFilter",
    "LocalizationLinear": "a model of KalmanFilter",
    "RiemannianGradientDescent": "GeodesicRegression(method='riemannian')",
}


# Others of their tools are in the short tests.
LONG = (
    adaptive_frechet_mean_minimises_the_variance,
    extrinsic_regression_is_least_squares_on_the_plane,
    kmeans_centers_minimise_the_variance_of_their_clusters,
    mixture_is_that_of_scikit_learn,
)


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(
            shown,
            id=f"{tool}-{shown.__name__}",
            marks=[pytest.mark.long] if shown in LONG else [],
        )
        for tool in TABLE
        for shown in TABLE[tool]
    ],
)
def test_tool(shown):
    shown()


# What numpy says of tensors before scikit-learn fails on them.
@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")
@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_not_ours(name):
    call, theirs, (error, message) = FAULTS[name]
    for space, points in ((theirs, BALL_POINTS), (VAE, CODES)):
        with pytest.raises(error, match=message):
            call(space, array(points))


@pytest.mark.long
def test_mixture_of_one_fails_on_their_ball_too():
    """The only mean, a row, is taken for a vector of numbers."""
    ours = copy.copy(mixture())
    ours.n_gaussians = 1
    theirs = RiemannianEM(BALL, n_gaussians=1)
    for mixture_of_one, points in ((theirs, BALL_POINTS), (ours, codes_of_plane(BLOBS))):
        with pytest.raises((RuntimeError, ValueError), match="shape"):
            mixture_of_one.fit(array(points))


def test_no_estimator_is_missing():
    found, kernels = set(), set()
    for module in pkgutil.iter_modules(geomstats.learning.__path__):
        if module.name.startswith("_"):
            continue
        module = importlib.import_module(f"geomstats.learning.{module.name}")
        members = inspect.getmembers(module)
        own = {
            name for name, member in members if getattr(member, "__module__", "") == module.__name__
        }
        found |= {name for name in own if inspect.isclass(getattr(module, name))}
        kernels |= {name for name in own if name.endswith("_radial_kernel")}
    found = {name for name in found if not name.startswith("_")}
    assert found
    assert found <= {*TABLE, *FAULTS, *PARTS}
    assert kernels == set(KERNELS)
