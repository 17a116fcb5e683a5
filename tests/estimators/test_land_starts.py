"""LAND does not end with a component on a few stray rows where it would serve better elsewhere."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from geomstats_vae import LAND, GaussianDecoder, LatentSpace, RBFPrecision
from geomstats_vae.estimators.base import space_geometry
from geomstats_vae.estimators.em import TangentEM
from geomstats_vae.estimators.em_run import Run
from geomstats_vae.estimators.land_start import first_mean, to_space

_STD = 0.2


def blobs_and_strays(seed, n_strays=5):
    """Three narrow groups of 150 in a row, and a few rows far from them."""
    generator = np.random.default_rng(seed)
    centers = np.repeat([[0.0, 0.0], [6.0, 0.0], [12.0, 0.0]], 150, axis=0)
    blobs = centers + _STD * generator.standard_normal((450, 2))
    strays = np.array([6.0, 30.0]) + 0.9 * generator.standard_normal((n_strays, 2))
    return np.concatenate([blobs, strays])


@pytest.mark.parametrize("seed", range(3))
def test_no_component_stays_on_stray_rows(seed):
    X = blobs_and_strays(seed)
    land = LAND(n_components=3, random_state=seed).fit(X)
    assert land.converged_
    assert (land.weights_ > 0.3).all()
    best = GaussianMixture(3, n_init=20, init_params="k-means++", random_state=0).fit(X)
    assert land.lower_bound_ > best.score(X) - 1e-2
    assert (np.diff(land.lower_bounds_) >= 0.0).all()
    assert land.n_iter_ == len(land.lower_bounds_) - 1


def test_a_component_that_collapsed_on_one_row_is_put_elsewhere():
    X = blobs_and_strays(0, n_strays=1)
    with pytest.warns(ConvergenceWarning, match="EM starts again"):
        land = LAND(n_components=3, random_state=0).fit(X)
    assert land.converged_
    assert (land.weights_ > 0.3).all()


def test_a_narrow_group_of_few_rows_keeps_its_component():
    generator = np.random.default_rng(0)
    few = np.array([0.0, 9.0]) + 1e-2 * generator.standard_normal((12, 2))
    X = np.concatenate([generator.standard_normal((150, 2)), few])
    land = LAND(n_components=2, random_state=0).fit(X)
    np.testing.assert_allclose(land.weights_.min(), 12 / 162, atol=1e-3)
    np.testing.assert_allclose(land.means_[land.weights_.argmin()], few.mean(axis=0), atol=1e-6)


def test_interrupted_while_a_component_is_put_elsewhere_the_state_before_is_kept(monkeypatch):
    X, starts, start = blobs_and_strays(0), [], TangentEM.start

    def interrupted(em, responsibilities):
        starts.append(responsibilities)
        if len(starts) > 1:
            raise KeyboardInterrupt
        return start(em, responsibilities)

    monkeypatch.setattr(Run, "follow_strays", lambda run: None)
    before = LAND(n_components=3, random_state=0).fit(X)
    monkeypatch.undo()
    monkeypatch.setattr(TangentEM, "start", interrupted)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        land = LAND(n_components=3, random_state=0).fit(X)
    np.testing.assert_allclose(starts[1].sum(axis=1), 1.0)
    assert (starts[1].sum(axis=0) > 100.0).all()
    assert land.lower_bound_ == before.lower_bound_


def arc(n_rows, seed, change=None):
    """Plane with walls around 200 degrees of a circle, maybe in other coordinates; rows on it."""
    generator = np.random.default_rng(seed)
    angle = np.radians(generator.uniform(-10.0, 190.0, n_rows))
    X = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    X += 0.05 * generator.standard_normal(X.shape)
    precision = RBFPrecision.fit(
        X, np.full_like(X, 0.05**2), n_centers=12, zeta=0.1, random_state=0
    )
    change = np.eye(2) if change is None else change
    back = torch.tensor(np.linalg.inv(change)).T
    decoder = GaussianDecoder(lambda z: z @ back, lambda z: precision.std(z @ back))
    return LatentSpace(decoder, 2, points=X @ change.T), X


def start_of(space, X, weights=None):
    weights = np.ones(len(X)) if weights is None else weights
    return first_mean(space_geometry(space), partial(to_space, space), X, weights)


def test_a_mean_starts_on_a_row_where_the_coordinate_mean_leaves_them():
    space, X = arc(80, 0)
    start = start_of(space, X)
    assert (start == X).all(axis=1).any()
    assert np.linalg.norm(X - X.mean(axis=0), axis=1).min() > 0.2


def test_the_row_does_not_depend_on_latent_coordinates():
    space, X = arc(80, 0)
    change = np.array([[5.0, 1.0], [0.0, 0.3]])
    moved = arc(80, 0, change)[0]
    np.testing.assert_allclose(start_of(moved, X @ change.T), start_of(space, X) @ change.T)


def test_a_mean_starts_at_the_coordinate_mean_among_its_rows():
    X = np.random.default_rng(0).standard_normal((40, 2))
    precision = RBFPrecision.fit(X, np.full_like(X, 0.3**2), n_centers=8, zeta=0.1, random_state=0)
    space = LatentSpace(GaussianDecoder(torch.nn.Identity(), precision), 2, points=X)
    np.testing.assert_allclose(start_of(space, X), X.mean(axis=0), atol=1e-12)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_on_an_arc_land_is_more_likely_than_one_normal_distribution(seed):
    space, X = arc(80, seed)
    rows = arc(200, seed + 100)[1]
    land = LAND(space, n_normalizer_samples=64, random_state=0).fit(X)
    normal = GaussianMixture(1, random_state=0).fit(X)
    assert land.converged_
    assert land.score(rows, measure="lebesgue") > normal.score(rows) + 0.05
