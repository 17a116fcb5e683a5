"""Data for examples and tests, without a network connection unless a loader says so."""

from geomstats_vae.datasets.cells import load_pbmc68k
from geomstats_vae.datasets.graphs import make_bell, make_hyperboloid
from geomstats_vae.datasets.images import (
    load_digits,
    load_fashion_mnist,
    load_mnist,
    load_mnist_subset,
)
from geomstats_vae.datasets.planar import make_moons, make_strip_with_gap, make_two_gaussians
from geomstats_vae.datasets.pretrained import load_digits_vae
from geomstats_vae.datasets.rotations import make_rotated_digit, make_rotated_pair
from geomstats_vae.datasets.surfaces import make_s_curve, make_sphere, make_swiss_roll

__all__ = [
    "load_digits",
    "load_digits_vae",
    "load_fashion_mnist",
    "load_mnist",
    "load_mnist_subset",
    "load_pbmc68k",
    "make_bell",
    "make_hyperboloid",
    "make_moons",
    "make_rotated_digit",
    "make_rotated_pair",
    "make_s_curve",
    "make_sphere",
    "make_strip_with_gap",
    "make_swiss_roll",
    "make_two_gaussians",
]
