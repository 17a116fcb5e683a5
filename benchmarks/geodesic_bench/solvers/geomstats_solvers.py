"""The solvers of geomstats: shooting, boundary value problem and path straightening.

Its metric is ours, for matrices and Christoffel symbols: that is faster than its own
differentiation of a decoder. The derivative of the symbols, which its own Jacobian asks for, is by
autodiff. Their flags of success are not passed on to the caller.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from georce import piecewise_linear
from scipy.interpolate import CubicHermiteSpline

from geodesic_bench.problem import Curve, Floats, Problem, Setting
from geomstats_vae.geometry import local
from geomstats_vae.manifolds.arrays import USES_TORCH
from geomstats_vae.manifolds.metric import PullbackDecoderMetric
from geomstats_vae.manifolds.space import LatentSpace


class _Metric(PullbackDecoderMetric):
    """Our local geometry under geomstats' solvers."""

    def christoffels(self, base_point: torch.Tensor) -> torch.Tensor:
        """Christoffel symbols; NaN, not an error, where an optimizer steps too far."""
        z = base_point.reshape(-1, base_point.shape[-1])
        symbols = local.evaluate(local.christoffels, self.decoder.immersion(), z)
        return symbols.reshape(*base_point.shape[:-1], *symbols.shape[1:])

    def jacobian_christoffels(self, base_point: torch.Tensor) -> torch.Tensor:
        """Differentiate the Christoffel symbols, index of the derivation last."""
        point = base_point.detach().requires_grad_()
        with torch.enable_grad():
            symbols = self.christoffels(point)
            rows = [
                torch.autograd.grad(symbol.sum(), point, retain_graph=True)[0]
                for symbol in symbols.flatten(1).unbind(1)
            ]
        return torch.stack(rows, dim=1).unflatten(1, symbols.shape[1:])


def settings(problem: Problem) -> list[Setting]:
    """List the settings of all three."""
    if not USES_TORCH:
        raise ImportError("run with GEOMSTATS_BACKEND=pytorch")
    options = {"likelihood": getattr(problem.decoder, "likelihood", None)}
    dim = problem.start.shape[1]
    space = LatentSpace(problem.decoder, dim, **options)
    space.equip_with_metric(_Metric, decoder=problem.decoder, **options)
    return [*_straightening(space), *_boundary_values(space), *_shooting(space)]


def _one_by_one(solve: Callable[[Any, Any], Curve]) -> Callable[[Floats, Floats], list[Curve]]:
    """Let a solver of one pair, tensors of shape=[dim], take rows."""
    return lambda start, end: [
        solve(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(start, end, strict=True)
    ]


def _shooting(space: LatentSpace) -> list[Setting]:
    from geomstats.numerics.geodesic import ExpODESolver, LogShootingSolver
    from geomstats.numerics.ivp import GSIVPIntegrator
    from geomstats.numerics.optimization import ScipyMinimize

    def solve(n_steps: int, step: str, autodiff: bool, start: Any, end: Any) -> Curve:
        integrator = GSIVPIntegrator(n_steps=n_steps, step_type=step)
        space.metric.exp_solver = ExpODESolver(space, integrator)
        optimizer = ScipyMinimize(autodiff_jac=autodiff)
        velocity = LogShootingSolver(space, optimizer=optimizer).log(end, start)
        states = integrator.integrate(
            lambda state, _: space.metric.geodesic_equation(state), torch.stack((start, velocity))
        ).y.numpy()
        times = np.linspace(0.0, 1.0, n_steps + 1)
        return CubicHermiteSpline(times, states[:, 0], states[:, 1])

    cases = [(10, "euler", True), (10, "rk4", True), (10, "rk4", False), (30, "rk4", False)]
    return [
        Setting(
            "geomstats shooting",
            f"{n_steps} {step}, {'autodiff' if autodiff else 'differences'}",
            _one_by_one(functools.partial(solve, n_steps, step, autodiff)),
        )
        for n_steps, step, autodiff in cases
    ]


def _boundary_values(space: LatentSpace) -> list[Setting]:
    from geomstats.numerics.bvp import ScipySolveBVP
    from geomstats.numerics.geodesic import LogODESolver

    def solve(n_nodes: int, tol: float, use_jac: bool, start: Any, end: Any) -> Curve:
        integrator = ScipySolveBVP(tol=tol)
        solver = LogODESolver(space, n_nodes, integrator=integrator, use_jac=use_jac)
        path = solver.geodesic_bvp(end, start)
        return lambda t: path(torch.as_tensor(t)).numpy()

    cases = [(10, 1e-3, True), (10, 1e-3, False), (50, 1e-2, False), (10, 1e-1, False)]
    return [
        Setting(
            "geomstats BVP",
            f"{n_nodes} nodes, tol={tol:g}, {'autodiff' if use_jac else 'differences'}",
            _one_by_one(functools.partial(solve, n_nodes, tol, use_jac)),
        )
        for n_nodes, tol, use_jac in cases
    ]


def _straightening(space: LatentSpace) -> list[Setting]:
    from geomstats.numerics.geodesic import PathStraightening

    def solve(n_nodes: int, start: Any, end: Any) -> Curve:
        nodes = PathStraightening(space, n_nodes=n_nodes).discrete_geodesic_bvp(end, start)
        return piecewise_linear(nodes.detach().numpy()[None])[0]

    return [
        Setting(
            "geomstats straightening",
            f"{n_nodes} nodes",
            _one_by_one(functools.partial(solve, n_nodes)),
        )
        for n_nodes in (100, 20, 50, 200)
    ]
