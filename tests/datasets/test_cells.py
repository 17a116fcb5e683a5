"""The blood cells, read from the scanpy package."""

import sys

import numpy as np
import pytest

from geomstats_vae.datasets import load_pbmc68k


def test_cells_of_ten_types():
    pytest.importorskip("scanpy")
    cells = load_pbmc68k()
    assert cells.data.shape == (700, 765)
    assert cells.data.dtype == np.float64
    assert cells.data.min() == 0.0
    assert len(cells.target_names) == 10
    assert set(cells.target) == set(range(10))
    assert len(set(cells.feature_names)) == 765


def test_genes_and_types_are_in_the_order_of_the_data():
    """Of all types, each expresses its well-known marker most."""
    pytest.importorskip("scanpy")
    cells = load_pbmc68k()
    markers = {"CD79A": "CD19+ B", "GNLY": "CD56+ NK", "S100A8": "CD14+ Monocyte"}
    for gene, name in markers.items():
        expression = cells.data[:, cells.feature_names.index(gene)]
        means = [expression[cells.target == k].mean() for k in range(10)]
        assert cells.target_names[int(np.argmax(means))] == name


def test_without_scanpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scanpy.datasets", None)
    with pytest.raises(ImportError, match=r"geomstats_vae\[cells\]"):
        load_pbmc68k()
