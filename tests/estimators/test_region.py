"""Rows that were scaled are told from latent codes."""

import numpy as np
import pytest
from geomstats.geometry.euclidean import Euclidean
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from geomstats_vae import LAND, GeodesicKMeans, LatentSpace
from geomstats_vae.estimators.region import share_outside, warn_outside
from tests import surfaces
from tests.manifolds import spaces


def clusters(rng, n, dim):
    """Three elongated clusters, with heavy tails."""
    mix = np.random.default_rng(dim).standard_normal((dim, dim))
    centers = 3.0 * np.random.default_rng(dim).standard_normal((3, dim))
    return (centers[rng.integers(3, size=n)] + rng.standard_t(4, (n, dim))) @ mix


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize("n_codes", [50, 1500])
def test_rows_of_the_same_distribution_are_inside(dim, n_codes):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        codes, rows = clusters(rng, n_codes, dim), clusters(rng, 300, dim)
        assert share_outside(codes, rows) < (0.05 if n_codes > 1000 else 0.3)
        assert share_outside(codes, codes) < 0.05
        # Codes to the precision of float32, and codes that are given twice, are the same codes.
        assert share_outside(np.repeat(codes, 2, axis=0), rows.astype(np.float32)) < 0.3


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 8, 16])
def test_rows_elsewhere_are_outside(dim):
    rng = np.random.default_rng(0)
    codes = 0.1 * rng.standard_normal((500, dim)) + 1.0
    assert share_outside(codes, StandardScaler().fit_transform(codes)) > 0.6
    # A collapsed dimension that became one of unit variance.
    codes = rng.standard_normal((500, dim)) * np.r_[[1e-2], np.ones(dim - 1)] + 3.0
    assert share_outside(codes, StandardScaler().fit_transform(codes)) > 0.6


CODES = 0.1 * spaces.draw(60, 2) + 1.0


@pytest.mark.parametrize("estimator", [GeodesicKMeans, LAND])
def test_a_scaler_in_front_is_told_of(estimator):
    space = LatentSpace(surfaces.plane_network(), 2, points=spaces.array(CODES))
    scaled = StandardScaler().fit_transform(CODES)
    fitted = estimator(space, 1, random_state=0)
    with pytest.warns(UserWarning, match="leave that out") as caught:
        fitted._check_fit(scaled)
    assert len(caught) == 1
    fitted._check_fit(CODES)  # in silence


@pytest.mark.long
def test_fit_and_predict_warn_once():
    space = spaces.coarse_space(surfaces.plane_network(), CODES)
    pipeline = make_pipeline(StandardScaler(), GeodesicKMeans(space, 1, max_iter=1))
    with pytest.warns(UserWarning, match="region of the space's codes") as caught:
        pipeline.fit(CODES[:6])
    assert [warning.filename for warning in caught] == [__file__]
    bare = GeodesicKMeans(space, 1, max_iter=1).fit(CODES[:6])
    bare.predict(CODES[:6])
    with pytest.warns(UserWarning, match="100% lie outside") as caught:
        bare.predict(CODES[:6] + 5.0)
    assert len(caught) == 1


def test_spaces_without_codes_say_nothing():
    warn_outside(Euclidean(2), CODES, 0.5)
    warn_outside(LatentSpace(surfaces.plane_network(), 2), CODES, 0.5)
