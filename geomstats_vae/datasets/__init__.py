"""Data for examples and tests, without a network connection."""

from geomstats_vae.datasets.images import load_digits, load_mnist_subset

__all__ = ["load_digits", "load_mnist_subset"]
