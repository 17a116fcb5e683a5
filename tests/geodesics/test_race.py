"""Of curves that race the shortest of each pair is certified, and others stop when behind."""

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics import GeodesicStatus
from geomstats_vae.geodesics.assembled import AssembledModel
from geomstats_vae.geodesics.curves.chain import Curves, concatenate, straight
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.minimise import minimise
from geomstats_vae.geodesics.options import (
    CertificateOptions,
    Limits,
    MinimiseOptions,
    RaceOptions,
    Task,
)
from geomstats_vae.geodesics.race import race
from tests import surfaces

DEGREE, N_ELEMENTS = 4, 8


def hill(z):
    """A hill left of the middle: the way round its left side is the longer one."""
    square = ((z - torch.tensor([-0.2, 0.0]).to(z)) ** 2).sum(dim=-1, keepdim=True)
    return torch.cat((z, 3.0 * torch.exp(-4.0 * square)), dim=-1)


@pytest.fixture(scope="module")
def model():
    return AssembledModel(surfaces.immersion_of(hill), DEGREE)


def task(**limits):
    return Task(Limits(tol=1e-7, **limits), MinimiseOptions(), CertificateOptions())


def around(aside, height=1.0):
    """From below the hill to above it, by as much as is told to the right."""
    line = straight(*np.array([[[0.0, -height]], [[0.0, height]]]), N_ELEMENTS, DEGREE)
    bump = aside * (1.0 - (line.nodes[..., 1:] / height) ** 2) * np.array([1.0, 0.0])
    return Curves(line.nodes + bump, line.counts)


def alone(model, curves):
    return minimise(model, curves, task())


LEFT, RIGHT = around(-1.2), around(0.8)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_shortest_is_what_it_is_alone_and_the_other_is_given_up(model, order):
    curves = concatenate([(LEFT, RIGHT)[k] for k in order])
    left, right = alone(model, LEFT), alone(model, RIGHT)
    assert left.length[0] > 1.05 * right.length[0]
    found = race(model, curves, np.zeros(2, dtype=int), task(), RaceOptions())
    best = order.index(1)
    assert found.length[best] == pytest.approx(right.length[0], rel=1e-7)
    assert found.status[best] == GeodesicStatus.CONVERGED
    assert np.isinf(found.length[1 - best])
    assert found.status[1 - best] != GeodesicStatus.CONVERGED
    assert found.n_iter[1 - best] <= 20


def test_curves_of_other_pairs_do_not_matter(model):
    other = around(0.9, 1.3)
    curves, pairs = concatenate([LEFT, other, RIGHT]), np.array([4, 2, 4])
    found = race(model, curves, pairs, task(), RaceOptions())
    assert np.isinf(found.length[0])
    for k, part in ((1, other), (2, RIGHT)):
        assert found.length[k] == pytest.approx(alone(model, part).length[0], rel=1e-7)
        assert found.status[k] == GeodesicStatus.CONVERGED


def test_one_that_starts_behind_can_win(model):
    """The shorter way begins as the longer curve, and needs more steps than a round has."""
    detour = around(2.6)
    assert model.lengths(detour.nodes).sum() > 1.2 * model.lengths(LEFT.nodes).sum()
    curves, pairs = concatenate([LEFT, detour]), np.zeros(2, dtype=int)
    patient = RaceOptions(rounds=((1, 2.0),), last_steps=30)
    found = race(model, curves, pairs, task(), patient)
    assert found.length.argmin() == 1
    assert found.status[1] == GeodesicStatus.CONVERGED
    assert found.length[1] == pytest.approx(alone(model, RIGHT).length[0], rel=1e-6)
    # In a hurry it is given up.
    hasty = race(model, curves, pairs, task(), RaceOptions(rounds=((1, 1.0),)))
    assert np.isinf(hasty.length).sum() == 1


def test_curves_that_are_not_finite_lose():
    def cliff(z):
        return torch.cat((z, torch.where(z[:, :1] < -0.5, torch.nan, 0.0) * z[:, :1]), dim=-1)

    model = AssembledModel(surfaces.immersion_of(cliff), DEGREE)
    curves = concatenate([around(-1.0), around(0.3)])
    found = race(model, curves, np.zeros(2, dtype=int), task(), RaceOptions())
    assert found.status[0] == GeodesicStatus.NON_FINITE
    assert found.length[1] == pytest.approx(2.0, rel=1e-6)
    assert found.status[1] == GeodesicStatus.CONVERGED


def test_when_the_time_is_over_the_shortest_so_far_is_given(model):
    late = task(deadline=Deadline(1e-9))
    curves = concatenate([LEFT, RIGHT])
    found = race(model, curves, np.zeros(2, dtype=int), late, RaceOptions())
    best = found.length.argmin()
    assert np.isfinite(found.length[best])
    assert found.status[best] == GeodesicStatus.OUT_OF_TIME
