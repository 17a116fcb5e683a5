"""Mixtures of locally adaptive normal distributions in the latent spaces of decoders."""

import numpy as np
import pytest
import torch
from geomstats.geometry.hypersphere import Hypersphere
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from geomstats_vae import LAND, LatentSpace
from geomstats_vae.estimators.em import TangentEM
from tests import surfaces
from tests.estimators.densities import component_and_logs, sphere_quadrature
from tests.manifolds import spaces

pytestmark = spaces.on_numpy_alone  # all of it lies within the border


def normal_grid(land, n=15, width=5.0):
    """Grid of latent points around a mean: its trapezoidal rule is exact for a normal density.

    Spaced 0.7 standard deviations: by Poisson's summation the error is exp(-2 (pi / 0.7)^2).
    """
    axis = np.linspace(-width, width, n)
    scale = np.linalg.cholesky(land.covariances_[0])
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2) @ scale.T + land.means_[0]
    return grid, (axis[1] - axis[0]) ** 2 * np.linalg.det(scale)


@pytest.mark.parametrize(("factor", "scale"), [(1.0, 1.0), (100.0, 1.0), (1.0, 4.0)])
def test_mass_of_a_scaled_plane(factor, scale):
    # A normaliser without |det D_v Exp| makes this 1 / factor.
    X = np.random.default_rng(0).standard_normal((40, 2))
    decoder = torch.nn.Linear(2, 2, bias=False).double().eval()
    decoder.weight.data = factor**0.5 * torch.eye(2, dtype=torch.float64)
    space = LatentSpace(decoder, 2)
    space.metric = scale * space.metric
    land = LAND(space, n_normalizer_samples=16, random_state=0).fit(X)
    grid, cell = normal_grid(land)
    np.testing.assert_allclose(
        np.exp(land.score_samples(grid, "lebesgue")).sum() * cell, 1.0, atol=1e-4
    )
    # The metric is flat: this is the normal density of the codes, whatever the factor.
    np.testing.assert_allclose(land.covariances_[0], np.cov(X.T, bias=True), atol=1e-3)
    np.testing.assert_allclose(
        land.score(X, measure="lebesgue"), GaussianMixture().fit(X).score(X), atol=1e-3
    )


@pytest.fixture(scope="module")
def chart():
    """The sphere in a chart, as a decoder whose metric knows codes, and a fit to them."""
    X = 0.4 * np.random.default_rng(0).standard_normal((60, 2)) + 0.1
    # Next to the antipode, far from the codes, a geodesic may be given up; nothing lies there.
    space = spaces.coarse_space(surfaces.closed_sphere(), X, on_failure="ignore")
    return space, X, LAND(space, n_normalizer_samples=512, random_state=0).fit(X)


@pytest.mark.long
def test_mass_of_a_decoder(chart):
    _, _, land = chart
    points, weights = sphere_quadrature(8)
    density = np.exp(land.score_samples(surfaces.sphere_chart(points)))
    mass, std = weights @ density, land.log_normalizer_std_[0]
    assert std < 0.01
    assert abs(mass - 1.0) < min(0.01, 3.0 * std)


@pytest.mark.long
def test_decoder_agrees_with_the_sphere_itself(chart):
    _, X, land = chart
    points = surfaces.sphere(torch.from_numpy(X)).numpy()
    exact = LAND(Hypersphere(2), random_state=0).fit(points)
    # EM ends where a step promises less than tol = |step|^2 / (2 std^2), and std is about 0.7.
    np.testing.assert_allclose(
        surfaces.sphere(torch.from_numpy(land.means_)).numpy(), exact.means_, atol=0.05
    )
    # Both are maxima of the same likelihood, but for the error of one of the normalisers.
    np.testing.assert_allclose(
        land.lower_bound_, exact.lower_bound_, atol=4.0 * land.lower_bound_std_ + 1e-3
    )


def test_samples_of_a_decoder_follow_the_density(chart):
    _, _, land = chart
    X, labels = land.sample(150)
    assert X.shape == (150, 2)
    assert not labels.any()
    # Under the density, w' G w is what the normaliser's points say it is.
    component, logs = component_and_logs(land, X)
    squares = np.einsum("ni,ij,nj->n", logs, component.precision, logs)
    expected = (component.precision * component.moments.second).sum()
    assert abs(squares.mean() - expected) < 4.0 * squares.std() / np.sqrt(len(X))


@pytest.mark.filterwarnings("ignore:Best performing")  # it need not converge
@pytest.mark.parametrize(
    "covariance_type", ["full", pytest.param("spherical", marks=pytest.mark.long)]
)
@pytest.mark.long
def test_linear_change_of_latent_coordinates(covariance_type):
    change = np.array([[2.0, 0.3], [-0.5, 0.7]])
    network = spaces.network()
    back = torch.nn.Linear(2, 2, bias=False).double()
    back.weight.data = torch.from_numpy(np.linalg.inv(change))
    rng = np.random.default_rng(0)
    X = np.concatenate([c + 0.4 * rng.standard_normal((8, 2)) for c in (-1.0, 1.0)])
    land = LAND(
        LatentSpace(network, 2),
        2,
        covariance_type=covariance_type,
        max_iter=1,
        n_normalizer_samples=32,
        random_state=0,
    )
    ours = clone(land).fit(X)
    changed = LatentSpace(torch.nn.Sequential(back, *network).eval(), 2)
    theirs = land.set_params(space=changed).fit(X @ change.T)
    assert ours.n_iter_ == theirs.n_iter_ > 0
    np.testing.assert_allclose(theirs.means_, ours.means_ @ change.T, atol=1e-6)
    np.testing.assert_allclose(theirs.lower_bound_, ours.lower_bound_, atol=1e-6)
    some = X[::3]
    logs, changed_logs = ours.score_samples(some), theirs.score_samples(some @ change.T)
    np.testing.assert_allclose(changed_logs, logs, atol=1e-6)
    np.testing.assert_array_equal(theirs.predict(some @ change.T), ours.predict(some))
    lebesgue = theirs.score_samples(some @ change.T, "lebesgue") + np.log(np.linalg.det(change))
    np.testing.assert_allclose(lebesgue, ours.score_samples(some, "lebesgue"), atol=1e-6)


def test_interrupted_at_last_the_state_of_em_is_kept(chart, monkeypatch):
    _, X, fine = chart

    def interrupted(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(TangentEM, "refine", interrupted)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        land = clone(fine).set_params(n_normalizer_samples=64, max_iter=0).fit(X)
    assert land.lower_bound_ == land.lower_bounds_[-1]
    assert land.log_normalizer_std_[0] > fine.log_normalizer_std_[0]
