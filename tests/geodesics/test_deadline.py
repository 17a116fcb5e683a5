"""Limits of time: what is not done comes back with a status, and nothing is lost by them."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from geomstats_vae import LatentSpace
from geomstats_vae.geodesics import (
    GeodesicConvergenceWarning,
    GeodesicSolver,
    GeodesicStatus,
    LatentGraph,
)
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.flow.exponential import ExponentialSolver, ExponentialStatus
from geomstats_vae.geodesics.graph.options import GraphOptions

OUT_OF_TIME = GeodesicStatus.OUT_OF_TIME


def chain(activation, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(dim, 12), activation, torch.nn.Linear(12, 12), activation,
        torch.nn.Linear(12, 9),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def pairs(dim, n, seed=1):
    return np.random.default_rng(seed).normal(size=(2, n, dim))


CASES = [("tanh", 2), ("tanh", 6), ("relu", 2), ("relu", 6)]
ACTIVATIONS = {"tanh": torch.nn.Tanh(), "relu": torch.nn.ReLU()}


class Steps:
    """A clock by which a limit passes after so many looks at it."""

    def __init__(self, n_looks):
        self.n_looks = n_looks

    def time(self):
        """Seconds since the epoch."""
        self.n_looks -= 1
        return 0.0 if self.n_looks > 0 else 10.0


@pytest.mark.parametrize(("activation", "dim"), CASES)
def test_no_time_gives_no_curves(activation, dim):
    a, b = pairs(dim, 3)
    b[1] = a[1]
    solver = GeodesicSolver(max_seconds=0.0)
    path = LatentSpace(chain(ACTIVATIONS[activation], dim), dim=dim, solver=solver).metric
    path = path.solve_geodesic(a, b)
    assert list(path.status) == [OUT_OF_TIME, GeodesicStatus.CONVERGED, OUT_OF_TIME]
    assert list(np.isfinite(path.length)) == [False, True, False]
    assert path.length[1] == 0.0


@pytest.mark.parametrize("n_looks", [3, 5, pytest.param(9, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("activation", "dim", "with_codes"),
    [
        ("tanh", 2, True),
        ("tanh", 2, False),
        ("tanh", 6, True),
        ("relu", 2, False),
        ("relu", 6, True),
    ],
)
def test_the_best_curve_so_far_is_returned(activation, dim, with_codes, n_looks, monkeypatch):
    """Wherever the time ends: a true length, no longer than the line's, and an honest status."""
    decoder, (a, b) = chain(ACTIVATIONS[activation], dim), pairs(dim, 4)
    codes = pairs(dim, 40, seed=2)[0] if with_codes else None
    metric = LatentSpace(decoder, dim=dim, points=codes).metric
    if with_codes and dim == 2:
        options = GraphOptions(grid_sizes={2: 40})
        graph = LatentGraph(metric.decoder.immersion(), codes, options=options)
        metric = LatentSpace(decoder, dim=dim, points=codes, graph=graph).metric
    exact = metric.solve_geodesic(a, b)
    metric.solver = replace(metric.solver, max_seconds=5.0)
    clock = Steps(n_looks)
    monkeypatch.setattr("geomstats_vae.geodesics.deadline.time", clock)
    path = metric.solve_geodesic(a, b)
    assert (path.status == OUT_OF_TIME).any() or clock.n_looks > 0
    assert np.isin(path.status, [GeodesicStatus.CONVERGED, OUT_OF_TIME]).all()
    t = np.linspace(0.0, 1.0, 2001)
    line = a[:, None] + t[:, None] * (b - a)[:, None]
    measured, straight = (
        np.linalg.norm(np.diff(decoder(torch.tensor(p).float()).detach().numpy(), axis=1), axis=2)
        for p in (path(t), line)
    )
    np.testing.assert_allclose(path.length, measured.sum(axis=1), rtol=2e-3)
    assert (path.length <= 1.001 * straight.sum(axis=1)).all()
    done = path.status == GeodesicStatus.CONVERGED
    assert (path.length[done] <= 1.01 * exact.length[done]).all()


def test_enough_time_changes_nothing():
    a, b = pairs(2, 5)
    metric = LatentSpace(chain(ACTIVATIONS["tanh"], 2), dim=2).metric
    free = metric.dist(a, b)
    metric.solver = replace(metric.solver, max_seconds=1e6)
    np.testing.assert_allclose(metric.dist(a, b), free, rtol=1e-12)


def test_distances_tell_of_pairs_that_were_not_begun():
    points = pairs(2, 40)[0]
    metric = LatentSpace(chain(ACTIVATIONS["tanh"], 2), dim=2).metric
    metric.solver = replace(metric.solver, max_seconds=0.0)
    with pytest.warns(GeodesicConvergenceWarning, match="780 of 780.* raise max_seconds"):
        distances = metric.dist_pairwise(points)
    assert (distances[np.triu_indices(40, 1)] == np.inf).all()
    assert (np.diag(distances) == 0.0).all()


def test_a_limit_is_that_of_all_blocks_together(monkeypatch):
    points = pairs(2, 40)[0]
    metric = LatentSpace(chain(ACTIVATIONS["tanh"], 2), dim=2, on_failure="ignore").metric
    exact = metric.dist_pairwise(points)
    metric.solver = replace(metric.solver, max_seconds=5.0)
    monkeypatch.setattr("geomstats_vae.geodesics.deadline.time", Steps(60))
    distances = metric.dist_pairwise(points)
    begun = np.isfinite(distances)
    assert 40 < begun.sum() < 1600
    np.testing.assert_allclose(distances[begun], exact[begun], rtol=0.05)


def test_exponentials_are_given_up(monkeypatch):
    base, velocity = pairs(2, 3)
    metric = LatentSpace(
        chain(ACTIVATIONS["tanh"], 2), dim=2, exponential=ExponentialSolver(max_seconds=5.0)
    ).metric
    monkeypatch.setattr("geomstats_vae.geodesics.deadline.time", Steps(4))
    with pytest.warns(GeodesicConvergenceWarning, match="3 of 3 exponentials.* raise max_seconds"):
        point = metric.exp(velocity, base)
    assert np.isfinite(point).all()
    assert ExponentialStatus.OUT_OF_TIME.message


def test_bars_count_pairs(capsys):
    a, b = pairs(2, 30)
    metric = LatentSpace(chain(ACTIVATIONS["tanh"], 2), dim=2).metric
    path = metric.solve_geodesic(a, b, verbose=True)
    assert "30/30" in capsys.readouterr().err
    np.testing.assert_allclose(path.length, metric.dist(a, b, verbose=True), rtol=1e-10)
    assert "30/30" in capsys.readouterr().err
    again = metric.solve_geodesic(a, b, guess=path, verbose=True)
    assert again.n_iter.max() == 0


@pytest.mark.parametrize("seconds", [-1.0, np.nan])
@pytest.mark.parametrize("solver", [GeodesicSolver, ExponentialSolver])
def test_limits_are_checked(solver, seconds):
    with pytest.raises(ValueError, match="Expected max_seconds to be a number of seconds"):
        solver(max_seconds=seconds)


def test_other_processes_read_the_same_clock():
    deadline = Deadline.after(100.0)
    assert abs(deadline.time - time.time() - 100.0) < 10.0
    assert not deadline.passed
    assert Deadline.after(None).remaining is None


class TestFarPoints:
    codes = 0.1 * pairs(6, 50)[0]

    def metric(self, **options):
        decoder = chain(ACTIVATIONS["tanh"], 6)
        return LatentSpace(decoder, dim=6, points=self.codes, **options).metric

    @pytest.mark.parametrize("method", ["dist", "log", "solve_geodesic"])
    def test_are_told_of_once_in_a_call(self, method):
        far = self.codes[:3].copy()
        far[0, 1], far[2, 4] = 2.0, -2.0
        with pytest.warns(UserWarning, match="2 of 3 pairs with a point farther") as caught:
            getattr(self.metric(), method)(far, self.codes[5:8])
        assert len(caught) == 1
        assert caught[0].filename == __file__

    def test_are_not_told_of_if_failures_are_ignored(self):
        self.metric(on_failure="ignore").dist(2.0 + self.codes[:1], self.codes[1:2])

    def test_points_near_the_codes_are_none(self):
        self.metric().dist(self.codes.max(axis=0) + 0.2, self.codes[0])
