"""Distances over trainings, and intervals for a distance under one more."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from geomstats_vae.manifolds import LatentSpace
from geomstats_vae.models import VAE, distances_over_trainings, prediction_interval

rng = np.random.default_rng(0)
X = rng.normal(size=(20, 2))
START, END = [0, 1, 2], [3, 4, 5]


class Drawn(BaseEstimator):
    """A model whose codes are the data, and whose decoder is scaled by a number that is drawn."""

    def __init__(self, random_state=None, verbose=False):
        self.random_state, self.verbose = random_state, verbose

    def fit(self, X):
        self.scale_ = scale = np.random.RandomState(self.random_state).lognormal()
        self.latent_space_ = LatentSpace(lambda z: scale * z, 2)
        return self

    def transform(self, X):
        return X


def test_distances_are_those_of_separate_trainings():
    model = Drawn()
    found = distances_over_trainings(model, X, START, END, n_trainings=4, random_state=0)
    assert found.shape == (3, 4)
    scales = found / np.linalg.norm(X[START] - X[END], axis=1)[:, None]
    np.testing.assert_allclose(scales, np.broadcast_to(scales[0], (3, 4)), rtol=1e-6)
    assert len(np.unique(scales[0].round(6))) == 4
    again = distances_over_trainings(model, X, START, END, n_trainings=4, random_state=0)
    np.testing.assert_array_equal(found, again)
    assert not hasattr(model, "scale_")
    assert model.random_state is None


@pytest.mark.long
def test_a_real_model():
    data = np.random.default_rng(0).normal(size=(60, 3))
    vae = VAE(max_epochs=1, n_centers=4, hidden_dims=(4,), a=1.0, warmup="kl", zeta=None)
    found = distances_over_trainings(vae, data, [0], [1], n_trainings=2, random_state=0)
    assert (found > 0.0).all()
    assert found[0, 0] != found[0, 1]


@pytest.mark.parametrize("level", [0.5, 0.9])
@pytest.mark.parametrize("n_trainings", [3, 8])
def test_intervals_cover_as_often_as_they_say(level, n_trainings):
    draws = np.random.default_rng(0).lognormal(1.0, 0.3, size=(20000, n_trainings + 1))
    low, high = prediction_interval(draws[:, 1:], level)
    inside = ((low <= draws[:, 0]) & (draws[:, 0] <= high)).mean()
    # Four standard deviations of the share.
    assert abs(inside - level) < 4.0 * np.sqrt(level * (1.0 - level) / len(draws))


def test_intervals_have_units():
    distances = np.random.default_rng(0).lognormal(size=(2, 3, 5))
    low, high = prediction_interval(distances)
    assert low.shape == high.shape == (2, 3)
    assert (low < distances.mean(axis=-1)).all()
    np.testing.assert_allclose(prediction_interval(7.0 * distances), (7.0 * low, 7.0 * high))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (([0], [20]), "from 0 to 19"),
        (([-1], [2]), "from 0 to 19"),
        (([0, 1], [2]), "as many starts as ends"),
        (([0.5], [2]), "indices of X"),
        (([[0]], [2]), "indices of X"),
    ],
)
def test_wrong_rows(rows, expected):
    with pytest.raises(ValueError, match=expected):
        distances_over_trainings(Drawn(), X, *rows)


def test_no_trainings():
    with pytest.raises(ValueError, match="n_trainings"):
        distances_over_trainings(Drawn(), X, START, END, n_trainings=0)


@pytest.mark.parametrize(
    ("distances", "level", "expected"),
    [
        ([[1.0]], 0.9, "at least two"),
        (1.0, 0.9, "at least two"),
        ([[1.0, 0.0]], 0.9, "above zero"),
        ([[1.0, np.inf]], 0.9, "above zero"),
        ([[1.0, 2.0]], 90, "between 0 and 1"),
    ],
)
def test_wrong_distances(distances, level, expected):
    with pytest.raises(ValueError, match=expected):
        prediction_interval(distances, level)
