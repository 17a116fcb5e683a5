"""Matrices of distances: symmetric, with zeros on the diagonal, and the distances of pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.manifolds.spaces import array, host
from tests.properties import codes
from tests.properties.decoders import LOOSE, decoded
from tests.properties.watching import call


def any_matrix(data):
    case = data.draw(decoded(dims=(1, 2, 3, 4)))
    rows = data.draw(codes.data(case.dim, 4))[data.draw(st.integers(0, 1)) :]
    method = data.draw(st.sampled_from(("exact", "graph")))
    matrix = call(case.metric.dist_pairwise, array(rows), 1, method=method)
    if matrix is None:
        assert (method, case.graph) == ("graph", False)
        return
    matrix, (first, second) = host(matrix), np.triu_indices(len(rows), 1)
    assert matrix.shape == (len(rows), len(rows))
    np.testing.assert_array_equal(matrix, matrix.T)
    assert (np.diag(matrix) == 0.0).all()
    assert (matrix >= 0.0).all()
    if method == "exact" and len(first):
        dist = call(case.metric.dist, array(rows[first]), array(rows[second]))
        np.testing.assert_allclose(matrix[first, second], host(dist), rtol=LOOSE.rtol)


@settings(max_examples=25)
@given(data=st.data())
def test_matrices(data):
    any_matrix(data)


@pytest.mark.long
@settings(max_examples=200)
@given(data=st.data())
def test_many_matrices(data):
    any_matrix(data)
