"""Measure how long each public solver needs to reach the same length error.

Run: ``GEOMSTATS_BACKEND=pytorch OMP_NUM_THREADS=1 python benchmarks/peers.py [--pairs 20]``,
on the packaged digits, or ``... --study CHECKPOINT.npz [--rows 0 5 6]`` on a decoder of the study.
``--peers finslerax --only TEXT`` leaves out other peers, and settings whose line has no such text.

Error first, then time: all solve for the same pairs on the same decoder, in float64 on one
thread. Every curve is measured by one routine, chords of F on 2,000 points and more; its error is
relative to the shortest curve of its pair that anyone found, ours at tol = 1e-10 among them. Time
is the processor's, so that other work on the machine does not count; a solver's first run, the
sampling and the measuring are excluded. A curve that misses an end is led there on a straight
line. The time of a solver for a target error is the least mean time over its settings for which
90 % of the pairs reach the target; a setting is given up when more than 10 % exceed the time limit.

All peers start from straight lines, so some of their curves are geodesics, but not the shortest:
"ours, from lines" shows how many at least. finslerax starts from our graph paths, too.

The peers, each with its defaults and a small sweep around them:

- geomstats: shooting, boundary value problem and path straightening. Its metric is ours, for
  matrices and Christoffel symbols: that is faster than its own differentiation of a decoder.
  The derivative of the symbols, which its own Jacobian asks for, is by autodiff.
- stochman: `geodesic_minimizing_energy` on cubic splines and on discrete curves, with F as
  embedding. It works on batches too.
- latent-geometry: `BVPLogarithmSolver` on its metric. Its mapping computes in float32; ours and
  its own in float64 stand in for that.
- GEORCE: see `georce.py`. It works on batches too.
- finslerax: `GaussNewtonGeodesic` on 64 segments and on 256, see `finslerax_curves.py`; the digits
  only. It returns no flag of success: what its own test says of an answer stands there.
"""

import argparse
import functools
import logging
import math
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from georce import Georce, piecewise_linear
from scipy.interpolate import CubicHermiteSpline
from study_decoders import load_checkpoint
from threadpoolctl import threadpool_limits

from geomstats_vae import GeodesicSolver
from geomstats_vae.datasets import load_digits_vae
from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.geometry import local
from geomstats_vae.immersions import Decoder, Immersion
from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.manifolds.arrays import USES_TORCH
from geomstats_vae.manifolds.metric import PullbackDecoderMetric
from geomstats_vae.manifolds.space import LatentSpace

TARGETS = (1e-2, 1e-3, 1e-4)
SHARE = 0.9
LONGER = 1e-3  # of a curve, by which it may be longer than those of all peers
_TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-6)
_CLOSURE = np.linspace(0.0, 1.0, 65)[:, None]
_FAILURES = (ArithmeticError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Problem:
    """Pairs of points on one decoder."""

    decoder: Callable
    immersion: Immersion
    start: np.ndarray
    end: np.ndarray
    graph: LatentGraph | None = None


@dataclass(frozen=True)
class Setting:
    """One way to call one solver.

    `solve` maps ends to curves, callables of times in [0, 1]; `succeeded` tells of a curve what
    the solver itself says of it.
    """

    solver: str
    label: str
    solve: Callable
    batch: bool = False
    succeeded: Callable | None = None

    @property
    def name(self):
        """Solver, and whether it works on all pairs at once."""
        return self.solver + (", batch" if self.batch else "")


@dataclass
class Result:
    """Lengths (infinite after a failure) and seconds of the pairs that were tried.

    `succeeded` is the share of them that the solver itself calls solved; None where it is not
    asked.
    """

    setting: Setting
    length: np.ndarray
    seconds: np.ndarray
    succeeded: float | None = None

    @property
    def name(self):
        """Solver, and whether it worked on all pairs at once."""
        return self.setting.name


# -- solvers -----------------------------------------------------------------------------------


def our_settings(problem):
    """List this package's settings: with the graph, and from straight lines only."""

    def solve(tol, graph, start, end):
        path = GeodesicSolver(tol=tol).solve(problem.immersion, start, end, graph)
        return [path.map(lambda a, k=k: a[k]) for k in range(len(start))]

    cases = [(tol, batch, problem.graph) for batch in (False, True) for tol in _TOLERANCES]
    cases += [(tol, False, None) for tol in _TOLERANCES]
    return [
        Setting(
            "ours" if graph is not None else "ours, from lines",
            f"tol={tol:g}",
            functools.partial(solve, tol, graph),
            batch,
        )
        for tol, batch, graph in cases
    ]


def georce_settings(problem):
    """List settings of GEORCE; the first is its authors' default."""

    def solve(solver, start, end):
        return piecewise_linear(solver.solve(problem.immersion, start, end))

    cases = [(100, 1e-4, False), (50, 1e-1, False), (100, 1e-2, False), (200, 1e-3, False)]
    cases += [(400, 1e-2, False), (100, 1e-2, True), (400, 1e-2, True)]
    return [
        Setting(
            "GEORCE",
            f"T={n_steps}, tol={tol:g}",
            functools.partial(solve, Georce(n_steps, tol)),
            batch,
        )
        for n_steps, tol, batch in cases
    ]


class _GeomstatsMetric(PullbackDecoderMetric):
    """Our local geometry under geomstats' solvers."""

    def christoffels(self, base_point):
        """Christoffel symbols; NaN, not an error, where an optimizer steps too far."""
        z = base_point.reshape(-1, base_point.shape[-1])
        symbols = local.evaluate(local.christoffels, self.decoder.immersion(), z)
        return symbols.reshape(*base_point.shape[:-1], *symbols.shape[1:])

    def jacobian_christoffels(self, base_point):
        """Differentiate the Christoffel symbols, index of the derivation last."""
        point = base_point.detach().requires_grad_()
        with torch.enable_grad():
            symbols = self.christoffels(point)
            rows = [
                torch.autograd.grad(symbol.sum(), point, retain_graph=True)[0]
                for symbol in symbols.flatten(1).unbind(1)
            ]
        return torch.stack(rows, dim=1).unflatten(1, symbols.shape[1:])


def _geomstats_space(problem):
    if not USES_TORCH:
        raise ImportError("run with GEOMSTATS_BACKEND=pytorch")
    space = LatentSpace(problem.decoder, problem.start.shape[1])
    space.equip_with_metric(_GeomstatsMetric, decoder=problem.decoder)
    return space


def _one_by_one(solve):
    """Let a solver of one pair, tensors of shape=[dim], take rows."""
    return lambda start, end: [
        solve(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(start, end, strict=True)
    ]


def shooting_settings(problem):
    """List settings of geomstats' shooting."""
    from geomstats.numerics.geodesic import ExpODESolver, LogShootingSolver
    from geomstats.numerics.ivp import GSIVPIntegrator
    from geomstats.numerics.optimization import ScipyMinimize

    space = _geomstats_space(problem)

    def solve(n_steps, step, autodiff, start, end):
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


def bvp_settings(problem):
    """List settings of geomstats' boundary value problems."""
    from geomstats.numerics.bvp import ScipySolveBVP
    from geomstats.numerics.geodesic import LogODESolver

    space = _geomstats_space(problem)

    def solve(n_nodes, tol, use_jac, start, end):
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


def straightening_settings(problem):
    """List settings of geomstats' path straightening."""
    from geomstats.numerics.geodesic import PathStraightening

    space = _geomstats_space(problem)

    def solve(n_nodes, start, end):
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


def stochman_settings(problem):
    """List settings of stochman's curves."""
    from stochman.curves import CubicSpline, DiscreteCurve
    from stochman.geodesic import geodesic_minimizing_energy
    from stochman.manifold import EmbeddedManifold

    class Image(EmbeddedManifold):
        def embed(self, points, jacobian=False):
            return problem.immersion(points.flatten(0, 1)).unflatten(0, points.shape[:2])

    def optimizer(name, rate):
        if name == "Adam":
            return lambda parameters, lr: torch.optim.Adam(parameters, lr=rate)
        return lambda parameters, lr: torch.optim.LBFGS(
            parameters, lr=rate, line_search_fn="strong_wolfe"
        )

    def solve(family, n_nodes, n_points, name, rate, n_iter, start, end):
        curve = family(torch.as_tensor(start), torch.as_tensor(end), num_nodes=n_nodes)
        geodesic_minimizing_energy(
            curve, Image(), optimizer(name, rate), max_iter=n_iter, eval_grid=n_points
        )
        curves = [curve[[k]] for k in range(len(start))] if len(start) > 1 else [curve]
        return [lambda t, c=c: c(torch.as_tensor(t)).detach().numpy() for c in curves]

    spline = [
        (5, 20, "Adam", 0.1, 150),
        (10, 50, "Adam", 0.1, 500),
        (10, 50, "LBFGS", 1.0, 5),
        (20, 100, "LBFGS", 1.0, 20),
        (40, 200, "LBFGS", 1.0, 20),
    ]
    discrete = [
        (5, 20, "Adam", 0.1, 150),
        (50, 50, "LBFGS", 1.0, 20),
        (100, 100, "LBFGS", 1.0, 20),
        (200, 200, "LBFGS", 1.0, 20),
    ]
    cases = [("spline", CubicSpline, case, batch) for batch in (False, True) for case in spline]
    cases += [("discrete", DiscreteCurve, case, False) for case in discrete]
    return [
        Setting(
            f"stochman {name}",
            "{} nodes, {} points, {} {:g}, {} steps".format(*case),
            functools.partial(solve, family, *case),
            batch,
        )
        for name, family, case, batch in cases
    ]


def latent_geometry_settings(problem):
    """List settings of latent-geometry."""
    from latent_geometry.mapping import EuclideanMatrixMapping, TorchModelMapping
    from latent_geometry.metric import EuclideanMetric, ManifoldMetric
    from latent_geometry.solver import BVPLogarithmSolver, SolverFailedException

    immersion, dim = problem.immersion, problem.start.shape[1]
    n_outputs = immersion(torch.zeros(1, dim, dtype=torch.float64)).shape[1]

    class OurDerivatives(EuclideanMatrixMapping):
        in_dim, out_dim = dim, n_outputs

        def __call__(self, zs):
            return immersion(torch.as_tensor(zs)).numpy()

        def jacobian(self, zs):
            return immersion.jacobian(torch.as_tensor(zs))[1].transpose(1, 2).numpy()

        def euclidean_metric_matrix_derivative(self, zs):
            return local.metric_derivative(immersion, torch.as_tensor(zs)).numpy()

    class Doubles(TorchModelMapping):
        def _to_torch(self, x):
            return torch.as_tensor(x)

    class Image(torch.nn.Module):
        def forward(self, z):
            return immersion(z)

    mappings = {"our": OurDerivatives(), "its": Doubles(Image(), (dim,), (n_outputs,))}

    def solve(n_nodes, tol, whose, start, end):
        metric = ManifoldMetric(mappings[whose], EuclideanMetric())
        solver = BVPLogarithmSolver(n_mesh_nodes=n_nodes, tolerance=tol)
        try:
            path = solver.find_path(start[0], end[0], metric.acceleration)
        except SolverFailedException as error:
            raise RuntimeError(str(error)) from error
        return [lambda t: np.stack([path(s) for s in t])]

    cases = [(2, 1e-3, "its"), (2, 1e-3, "our"), (10, 1e-3, "our"), (50, 1e-2, "our")]
    cases += [(10, 1e-1, "our")]
    return [
        Setting(
            "latent-geometry",
            f"{n_nodes} nodes, tol={tol:g}, {whose} derivatives",
            functools.partial(solve, n_nodes, tol, whose),
        )
        for n_nodes, tol, whose in cases
    ]


def finslerax_settings(problem):
    """List settings of finslerax; 40 iterations are its default, and suffice."""
    import jax

    jax.config.update("jax_enable_x64", True)  # before finslerax reads it
    from finslerax_curves import FinslerGeodesics, Polyline, along, ported, straight

    if type(problem.decoder) is not GaussianDecoder:
        raise ImportError("only the digits' decoder is ported to JAX")
    function = ported(problem.decoder, problem.immersion, problem.start)

    def paths(start, end, segments):
        found = problem.graph.paths(start, end)[0]
        return np.stack([along(path, problem.immersion, segments) for path in found])

    def solve(geodesics, begin, start, end):
        nodes = geodesics.solve(begin(start, end, geodesics.n_segments))
        return [Polyline(points) for points in nodes]

    settings = []
    for segments in (64, 256):
        geodesics = FinslerGeodesics(function, problem.start.shape[1], segments, iterations=40)
        geodesics.solve(straight(problem.start[:1], problem.end[:1], segments))  # compiles
        for name, begin in (("from lines", straight), ("from our graph", paths)):
            settings.append(
                Setting(
                    f"finslerax, {name}",
                    f"{segments} segments",
                    functools.partial(solve, geodesics, begin),
                    succeeded=lambda curve, g=geodesics: g.ended(curve.nodes),
                )
            )
    return settings


PEERS = {
    "georce": georce_settings,
    "geomstats-shooting": shooting_settings,
    "geomstats-bvp": bvp_settings,
    "geomstats-straightening": straightening_settings,
    "stochman": stochman_settings,
    "latent-geometry": latent_geometry_settings,
    "finslerax": finslerax_settings,
}


# -- measuring ---------------------------------------------------------------------------------


def fine_length(immersion, curve, start, end, n_points=2001, rtol=3e-5, max_doublings=4):
    """Length of a curve by chords of F, on twice as many points until it changes little.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    curve : callable
        Maps times in [0, 1] to points, shape=[n_times, dim].
    start, end : array, shape=[dim]
        Where the curve should run from and to; straight lines lead from and to its own ends.
    n_points : int
        Points to begin with.
    rtol : float
        Relative change that is little.
    max_doublings : int
        Doublings at most.

    Returns
    -------
    length : float
        The length; infinite if the curve is not finite.
    """
    length = np.inf
    for doubling in range(max_doublings + 1):
        inner = curve(np.linspace(0.0, 1.0, (n_points - 1) * 2**doubling + 1))
        if not np.isfinite(inner).all():
            return np.inf
        way_in = start + _CLOSURE * (inner[0] - start)
        points = np.concatenate((way_in[:-1], inner, inner[-1] + _CLOSURE[1:] * (end - inner[-1])))
        with torch.no_grad():
            value = torch.cat([immersion(z) for z in torch.as_tensor(points).split(256)])
        before, length = length, float((value[1:] - value[:-1]).norm(dim=1).sum())
        if abs(length - before) <= rtol * length:
            break
    return length


def _expire(*_):
    raise TimeoutError


def timed(function, limit):
    """Call a function; stop it after a time.

    Parameters
    ----------
    function : callable
        Takes nothing.
    limit : float
        Seconds of processor time.

    Returns
    -------
    value : object or None
        What the function returns; None if it failed or was stopped.
    seconds : float
        Processor time it took.
    late : bool
        Whether it was stopped.
    """
    value, late = None, False
    signal.signal(signal.SIGPROF, _expire)
    begin = time.process_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, limit)
        try:
            value = function()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
    except TimeoutError:
        late = True
    except _FAILURES:
        pass
    return value, time.process_time() - begin, late


def run(problem, setting, limit):
    """Solve all pairs; stop when so many exceed the limit that the setting has failed.

    Parameters
    ----------
    problem : Problem
        Decoder and pairs.
    setting : Setting
        Solver.
    limit : float
        Seconds per pair.

    Returns
    -------
    result : Result
        Lengths and times of the pairs tried.
    """
    n_pairs = len(problem.start)
    n_spare = n_pairs - math.ceil(SHARE * n_pairs)
    size = n_pairs if setting.batch else 1
    length, seconds, flags, n_late = [], [], [], 0
    for k in range(0, n_pairs, size):
        start, end = problem.start[k : k + size], problem.end[k : k + size]
        solve = functools.partial(setting.solve, start, end)
        curves, spent, late = timed(solve, limit * size)
        seconds += [spent / size] * size
        if curves is None:
            length += [np.inf] * size
            flags += [False] * size
        else:
            ends = zip(curves, start, end, strict=True)
            length += [fine_length(problem.immersion, curve, a, b) for curve, a, b in ends]
            flags += [setting.succeeded(curve) for curve in curves] if setting.succeeded else []
        n_late += size * late
        if n_late > n_spare:
            break
    succeeded = float(np.mean(flags)) if setting.succeeded else None
    return Result(setting, np.array(length), np.array(seconds), succeeded)


# -- tables ------------------------------------------------------------------------------------


def shares(result, reference):
    """Share of the pairs tried whose error is within each target, and the median error.

    Parameters
    ----------
    result : Result
        Of one setting.
    reference : array, shape=[n_pairs]
        Length of the shortest curves.

    Returns
    -------
    within : list of float
        One share per target.
    median : float
        Median error.
    """
    error = result.length / reference[: len(result.length)] - 1.0
    return [float((error <= target).mean()) for target in TARGETS], float(np.median(error))


def best_times(results, reference):
    """Least mean time of each solver at which enough pairs reach each target.

    Parameters
    ----------
    results : list of Result
        Of all settings.
    reference : array, shape=[n_pairs]
        Length of the shortest curves.

    Returns
    -------
    best : dict
        Per name and target: seconds (None where no setting reaches it), the largest share, and
        the setting's label.
    """
    best = {}
    for result in results:
        within, _ = shares(result, reference)
        n_tried, label = len(result.length), result.setting.label
        if n_tried < len(reference):
            label += f" ({n_tried} tried)"
        for target, share in zip(TARGETS, within, strict=True):
            reached = share >= SHARE and n_tried == len(reference)
            entry = (float(result.seconds.mean()) if reached else None, share, label)
            held = best.get((result.name, target))
            if held is None or _rank(entry) < _rank(held):
                best[result.name, target] = entry
    return best


def _rank(entry):
    seconds, share, _ = entry
    return (0, seconds) if seconds is not None else (1, -share)


def print_settings(results, reference):
    """One line per setting."""
    heads = "".join(f"{f'within {target:g}':>14}" for target in TARGETS)
    tail = f"{'median error':>14}{'s per pair':>12}{'tried':>7}{'own flag':>10}"
    print(f"{'solver':26}{'setting':46}{heads}{tail}")
    for result in results:
        within, median = shares(result, reference)
        columns = "".join(f"{share:14.0%}" for share in within)
        flag = "" if result.succeeded is None else f"{result.succeeded:.0%}"
        print(
            f"{result.name:26}{result.setting.label:46}{columns}{median:14.1e}"
            f"{result.seconds.mean():12.3f}{len(result.length):7d}{flag:>10}"
        )


def print_summary(results, reference):
    """Per target and solver: time to reach it, and the ratios to our times."""
    best = best_times(results, reference)
    for target in TARGETS:
        print(f"\nSeconds per pair until {SHARE:.0%} of the pairs are within {target:g}:")
        print(f"{'solver':26}{'seconds':>9}{'/ ours':>9}{'/ ours, batch':>15}  setting")
        ours = [best.get((name, target), (None,))[0] for name in ("ours", "ours, batch")]
        for name in dict.fromkeys(result.name for result in results):
            seconds, share, label = best[name, target]
            if seconds is None:
                print(f"{name:26}{'never':>9}{'':24}  at best {share:.0%}: {label}")
                continue
            ratios = ["" if own is None else f"{seconds / own:.2g}" for own in ours]
            print(f"{name:26}{seconds:9.3f}{ratios[0]:>9}{ratios[1]:>15}  {label}")


def print_longer(problem, results):
    """Per peer: on how many pairs our answer at the default tolerance is longer, and by how much.

    A peer's curve of a pair is the shortest of all its settings.
    """
    ours = lengths_at(problem, GeodesicSolver().tol)
    print(f"\nOurs at the default tol against the shortest of each peer; longer by {LONGER:g}:")
    for name in dict.fromkeys(result.setting.solver for result in results):
        if name.startswith("ours"):
            continue
        theirs = np.full(len(ours), np.inf)
        for result in results:
            if result.setting.solver == name:
                tried = slice(len(result.length))
                theirs[tried] = np.minimum(theirs[tried], result.length)
        tried = np.isfinite(theirs)
        excess = ours[tried] / theirs[tried] - 1.0
        most = f", at most {excess.max():.1e}" if len(excess) else ""
        print(f"{name:26} {(excess > LONGER).sum()} of {tried.sum()} pairs{most}")


# -- decoders ----------------------------------------------------------------------------------


def digits_problem(n_pairs):
    """Random pairs of codes under the packaged VAE of the digits."""
    vae = load_digits_vae()
    codes = vae.codes_
    generator = np.random.default_rng(1)
    start, end = codes[generator.integers(len(codes), size=(2, n_pairs))]
    immersion = Decoder(vae.decoder_, 2).immersion()
    return Problem(vae.decoder_, immersion, start, end), codes


def study_problem(path, n_pairs, rows):
    """Pairs of a checkpoint of the study: the first, or the given rows."""
    decoder, arrays = load_checkpoint(path)
    rows = np.arange(min(n_pairs, len(arrays["z0"]))) if rows is None else np.array(rows)
    cover = np.concatenate((arrays["codes"], arrays["z0"], arrays["z1"]))
    pairs = arrays["z0"][rows], arrays["z1"][rows]
    return Problem(decoder.mean_std, decoder.immersion(), *pairs), cover


def with_graph(problem, codes):
    """Add the graph, which is built once per decoder."""
    begin = time.process_time()
    graph = LatentGraph(problem.immersion, codes)
    print(f"our graph: {time.process_time() - begin:.1f} s once per decoder, not in the times")
    return replace(problem, graph=graph)


def collect(problem, names, only):
    """Gather our settings and those of the peers that are installed, or some of them."""
    settings = our_settings(problem)
    for name in names:
        try:
            settings += PEERS[name](problem)
        except ImportError as error:
            print(f"{name} left out: {error}")
    lines = [f"{setting.name}, {setting.label}" for setting in settings]
    chosen = [not only or any(text in line for text in only) for line in lines]
    return [setting for setting, wanted in zip(settings, chosen, strict=True) if wanted]


def run_all(problem, settings, limit):
    """Run all settings, and each solver once before."""
    results, warm = [], set()
    for setting in settings:
        if setting.solver not in warm:
            warm.add(setting.solver)
            timed(functools.partial(setting.solve, problem.start[:1], problem.end[:1]), limit)
        results.append(run(problem, setting, limit))
        spent = results[-1].seconds.sum()
        print(f"{results[-1].name}, {setting.label}: {spent:.1f} s", file=sys.stderr, flush=True)
    return results


def lengths_at(problem, tol):
    """Lengths of our curves at a tolerance, shape=[n_pairs]."""
    solver = GeodesicSolver(tol=tol)
    path = solver.solve(problem.immersion, problem.start, problem.end, problem.graph)
    ends = zip(problem.start, problem.end, strict=True)
    return np.array(
        [
            fine_length(problem.immersion, path.map(lambda a, k=k: a[k]), *pair)
            for k, pair in enumerate(ends)
        ]
    )


def shortest(own, results):
    """Length of the shortest curve of each pair.

    Parameters
    ----------
    own : array, shape=[n_pairs]
        Lengths at our tightest tolerance.
    results : list of Result
        Of all settings.

    Returns
    -------
    reference : array, shape=[n_pairs]
        The least lengths.
    """
    reference = own.copy()
    for result in results:
        n_tried = len(result.length)
        reference[:n_tried] = np.minimum(reference[:n_tried], result.length)
    return reference


def main():
    """Print a line per setting, and the times to the target errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", metavar="CHECKPOINT", help="decoder; default: the digits")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--rows", type=int, nargs="+", help="pairs of the checkpoint")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--only", nargs="+", metavar="TEXT", default=[], help="settings with it")
    parser.add_argument("--time-limit", type=float, default=10.0, help="seconds per pair")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    threadpool_limits(options.threads)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if options.study:
        problem, codes = study_problem(options.study, options.pairs, options.rows)
    else:
        problem, codes = digits_problem(options.pairs)
    problem = with_graph(problem, codes)
    own = lengths_at(problem, 1e-10)
    settings = collect(problem, options.peers, options.only)
    results = run_all(problem, settings, options.time_limit)
    reference = shortest(own, results)
    print_settings(results, reference)
    print_summary(results, reference)
    print_longer(problem, results)
    excess = own / reference - 1.0
    print(f"\nours at tol=1e-10 against the shortest of all: at most {excess.max():.1e} longer")
    print("load of the machine: " + " ".join(f"{load:.1f}" for load in os.getloadavg()))


if __name__ == "__main__":
    main()
