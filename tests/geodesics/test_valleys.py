"""Of several valleys the solver takes the deepest that a line or two graph paths lead into."""

from dataclasses import replace

import numpy as np
import pytest

from geomstats_vae import GeodesicSolver
from geomstats_vae.datasets import load_digits_vae
from geomstats_vae.geodesics import LatentGraph

# Pairs of codes of the packaged digits, and upper bounds of their distances by `dist_bounds`.
PAIRS = np.array([[1108, 583], [1018, 1666]])
UPPER = np.array([15.2047, 14.5055])


@pytest.fixture(scope="module")
def digits():
    vae = load_digits_vae()
    codes = np.asarray(vae.codes_)
    immersion = vae.latent_space_.metric.decoder.immersion()
    return immersion, codes, LatentGraph(immersion, codes)


def solved(digits, **options):
    immersion, codes, graph = digits
    solver = GeodesicSolver(tol=1e-4)
    solver = replace(solver, start=replace(solver.start, **options))
    return solver.solve(immersion, *codes[PAIRS.T], graph)


def test_a_second_path_leads_to_shorter_curves(digits):
    first, both = solved(digits, gentle_alternative=0.0), solved(digits)
    assert both.converged.all()
    assert (both.length < first.length * (1.0 - 5e-3)).all()
    np.testing.assert_array_less(both.length, UPPER * (1.0 + 1e-4))


def test_of_equal_curves_the_first_is_kept(digits):
    immersion, codes, graph = digits
    path = GeodesicSolver(tol=1e-4).solve(immersion, codes[:6], codes[20:26], graph)
    plain = replace(GeodesicSolver().start, gentle_alternative=0.0)
    first = GeodesicSolver(tol=1e-4, start=plain).solve(immersion, codes[:6], codes[20:26], graph)
    np.testing.assert_allclose(path.length, first.length, rtol=1e-4)
    assert (path.length <= first.length * (1.0 + 1e-12)).all()
