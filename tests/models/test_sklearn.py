"""scikit-learn's own checks of estimators."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from geomstats_vae.models import VAE


@parametrize_with_checks([VAE(hidden_dims=(8,), n_centers=3, max_epochs=2)])
def test_scikit_learn_check(estimator, check):
    check(estimator)
