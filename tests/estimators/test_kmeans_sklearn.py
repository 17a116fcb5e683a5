"""scikit-learn's own checks of the estimator."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from geomstats_vae import GeodesicKMeans


# Two checks give all rows one of four values, and KMeans, too, warns that eight clusters are many.
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@parametrize_with_checks([GeodesicKMeans()])
def test_scikit_learn_check(estimator, check):
    check(estimator)
