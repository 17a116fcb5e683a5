"""LAND does not end with a component on a few stray rows where it would serve better elsewhere."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from geomstats_vae import LAND
from geomstats_vae.estimators.em import TangentEM
from geomstats_vae.estimators.em_run import Run

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
    X = np.concatenate([generator.standard_normal((300, 2)), few])
    land = LAND(n_components=2, random_state=0).fit(X)
    np.testing.assert_allclose(land.weights_.min(), 12 / 312, atol=1e-3)
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
