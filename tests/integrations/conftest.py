"""What a user does with the space of another library's model."""

import pickle

import numpy as np
import pytest
import torch

from geomstats_vae import GeodesicSolver


@pytest.fixture
def check_metric():
    """Compare the metric with the pullback of a function by reverse mode."""

    def check(space, function, z, rtol=1e-6):
        jacobian = torch.autograd.functional.jacobian(function, torch.as_tensor(z)[None])
        jacobian = jacobian.reshape(-1, len(z)).numpy()
        expected = jacobian.T @ jacobian
        found = space.metric.metric_matrix(z)
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.abs(expected).max())
        again = pickle.loads(pickle.dumps(space))
        np.testing.assert_array_equal(again.metric.metric_matrix(z), found)

    return check


@pytest.fixture
def check_geodesics():
    """Distance, logarithm and exponential between two codes that are a short way apart.

    Most of these decoders have kinks, where exponentials of long logarithms miss their ends.
    """

    def check(space, a, b):
        space.metric.solver = GeodesicSolver(max_iter=10, max_elements=50)
        path = space.metric.solve_geodesic(a, b)
        line = a + np.linspace(0.0, 1.0, 201)[:, None] * (b - a)
        with torch.no_grad():
            image = space.metric.geometry.immersion(torch.device("cpu"))(torch.as_tensor(line))
        straight = float(torch.diff(image, dim=0).norm(dim=1).sum())
        chord = float((image[-1] - image[0]).norm())
        # No curve is shorter than the chord in the data, and the solver starts with the line.
        assert chord * (1 - 1e-9) <= float(path.length) <= straight * (1 + 1e-4)
        assert path.converged
        velocity = space.metric.log(b, a)
        np.testing.assert_allclose(space.metric.norm(velocity, a), path.length, rtol=1e-2)
        reached = space.metric.exp(velocity, a)
        assert np.linalg.norm(reached - b) < 0.05 * np.linalg.norm(b - a)

    return check
