"""scikit-learn's checks of data, which here always return arrays of numpy.

On its pytorch backend geomstats needs ``sklearn.set_config(array_api_dispatch=True)``. With this
setting scikit-learn's checks return tensors for tensors, so it is switched off around them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data


def validate_rows(estimator: BaseEstimator, X: ArrayLike, **options: Any) -> np.ndarray:
    """Validate data of an estimator; options as of `sklearn.utils.validation.validate_data`.

    Parameters
    ----------
    estimator : sklearn.base.BaseEstimator
        Estimator.
    X : array-like, shape=[n_samples, n_features]
        Data.
    **options : dict
        Options of scikit-learn's check.

    Returns
    -------
    X : numpy.ndarray, shape=[n_samples, n_features]
        The data.
    """
    with sklearn.config_context(array_api_dispatch=False):
        return validate_data(estimator, X, **options)


def check_rows(X: ArrayLike, **options: Any) -> np.ndarray:
    """Validate an array; options as of `sklearn.utils.check_array`.

    Parameters
    ----------
    X : array-like, shape=[n_samples, n_features]
        Array.
    **options : dict
        Options of scikit-learn's check.

    Returns
    -------
    X : numpy.ndarray, shape=[n_samples, n_features]
        The array.
    """
    with sklearn.config_context(array_api_dispatch=False):
        return check_array(X, **options)


def check_enough_rows(X: np.ndarray, n_centers: int) -> None:
    """Check that there is a row for every centre.

    Parameters
    ----------
    X : numpy.ndarray, shape=[n_samples, n_features]
        Data.
    n_centers : int
        Number of centres.

    Raises
    ------
    ValueError
        If there are fewer rows.
    """
    if X.shape[0] < n_centers:
        raise ValueError(
            f"Expected at least n_centers={n_centers} rows, got n_samples={X.shape[0]}; "
            "reduce n_centers or pass more data."
        )
