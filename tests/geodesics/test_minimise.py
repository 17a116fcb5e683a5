"""The loop of steps and looks at a finer mesh."""

import numpy as np
import pytest

from geomstats_vae.geodesics.assembled import AssembledModel
from geomstats_vae.geodesics.curves.chain import Curves, straight
from geomstats_vae.geodesics.minimise import Minimisation
from geomstats_vae.geodesics.options import CertificateOptions, Limits, MinimiseOptions, Task
from tests import surfaces


@pytest.fixture(scope="module")
def model():
    return AssembledModel(surfaces.immersion_of(surfaces.sphere), 4)


def bent():
    curves = straight(np.array([[-0.5, -0.1]]), np.array([[0.5, 0.1]]), 4, 4)
    bump = 0.02 * (1.0 - (curves.nodes[..., :1] / 0.5) ** 2) * np.array([0.3, 1.0])
    return Curves(curves.nodes + bump, curves.counts)


def looked_at(model, tol):
    task = Task(Limits(tol=tol), MinimiseOptions(), CertificateOptions())
    state = Minimisation(model, bent(), task)
    state.look(np.zeros(1, dtype=int))
    return state


@pytest.mark.parametrize(("share", "closer"), [(0.1, 1.0), (0.5, 0.5), (2.0, 1.0)])
def test_after_a_near_miss_curves_go_on_to_a_smaller_decrement(model, share, closer):
    residual = looked_at(model, 1e-9).residual[0]
    state = looked_at(model, share * residual)
    assert state.residual[0] == pytest.approx(residual)
    assert state.goal[0] == pytest.approx(closer * share * residual)
