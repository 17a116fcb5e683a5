"""A first descent: curves as chords, shortened by a quasi-Newton method in single precision.

From a straight line or a graph path it takes Newton's method tens of steps to a geodesic of a large
decoder, and each costs as much as dozens of gradients. Here the energy of many chords of F is
minimised by L-BFGS (see `lbfgs`), whose step costs one gradient. The unknowns are amplitudes of
sine waves between the straight line and the curve, divided by their frequencies, in coordinates in
which a mean of the metric is the identity. In these the energy's matrix is close to the identity,
so resolution and anisotropy do not slow the method down. All curves of a batch move at once, and
each at its own pace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from geomstats_vae.geodesics import lbfgs
from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.curves.reference import reference_element
from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline
from geomstats_vae.geodesics.options import DescentOptions
from geomstats_vae.immersions.immersion import Immersion


@dataclass(frozen=True)
class SineCurves:
    """Curves as straight lines plus sine waves.

    Parameters
    ----------
    start, end : array, shape=[n_curves, dim]
        End points.
    amplitudes : array, shape=[n_curves, n_modes, dim]
        Amplitudes of sin(k pi t), k = 1 ... n_modes.
    """

    start: Floats
    end: Floats
    amplitudes: Floats

    def __len__(self) -> int:
        return len(self.start)

    def take(self, which: Ints) -> SineCurves:
        """Take some of the curves."""
        return SineCurves(self.start[which], self.end[which], self.amplitudes[which])

    def put(self, which: Ints, part: SineCurves) -> SineCurves:
        """Replace the amplitudes of some of the curves."""
        amplitudes = self.amplitudes.copy()
        amplitudes[which] = part.amplitudes
        return SineCurves(self.start, self.end, amplitudes)

    def finer(self, n_modes: int) -> SineCurves:
        """Add waves of amplitude zero, up to a number of waves."""
        missing = n_modes - self.amplitudes.shape[1]
        amplitudes = np.pad(self.amplitudes, ((0, 0), (0, missing), (0, 0)))
        return SineCurves(self.start, self.end, amplitudes)

    def __call__(self, t: Floats) -> Floats:
        """Evaluate the curves at times in [0, 1], shape=[n_times]; [n_curves, n_times, dim]."""
        frequency = np.pi * np.arange(1, self.amplitudes.shape[1] + 1)
        line = self.start[:, None] + t[:, None] * (self.end - self.start)[:, None]
        return line + np.sin(t[:, None] * frequency) @ self.amplitudes

    def elements(self, n_elements: int, degree: int) -> Curves:
        """Interpolate the curves by polynomial elements of equal times."""
        inside = 0.5 * (reference_element(degree).nodes + 1.0)
        t = (np.arange(n_elements)[:, None] + inside) / n_elements
        nodes = self(t.ravel()).reshape(-1, degree + 1, self.start.shape[1])
        first, last = nodes[::n_elements], nodes[n_elements - 1 :: n_elements]
        first[:, 0], last[:, -1] = self.start, self.end
        return Curves(nodes, np.full(len(self), n_elements))


def sine_curves(
    vertices: Sequence[Floats], n_modes: int, times: Sequence[Floats] | None = None
) -> SineCurves:
    """Make sine waves of polylines.

    Parameters
    ----------
    vertices : sequence of array, shape=[n_vertices, dim]
        Vertices of each polyline, from end to end.
    n_modes : int
        Number of waves.
    times : sequence of array, shape=[n_vertices], optional
        Times from 0 to 1 at the vertices; by default those of constant speed in latent space.

    Returns
    -------
    curves : SineCurves
        Curves through n_modes points of each polyline.
    """
    t = np.arange(1, n_modes + 1) / (n_modes + 1)
    waves = np.sin(np.pi * t[:, None] * np.arange(1, n_modes + 1))
    start, end = (np.stack([path[k] for path in vertices]) for k in (0, -1))
    amplitudes = np.zeros((len(vertices), n_modes, start.shape[1]))
    for k, path in enumerate(vertices):
        if len(path) == 2:
            continue
        where = _times(path) if times is None else times[k]
        points = np.stack([np.interp(t, where, column) for column in path.T], axis=1)
        off = points - (start[k] + t[:, None] * (end[k] - start[k]))
        # The waves are orthogonal at these points.
        amplitudes[k] = 2.0 / (n_modes + 1) * waves @ off
    return SineCurves(start, end, amplitudes)


def moved_sines(
    nodes: Sequence[Floats | None], first: Floats, last: Floats, n_modes: int
) -> SineCurves:
    """Make sine waves of the elements of curves, displaced along with their ends.

    Parameters
    ----------
    nodes : sequence of array, shape=[n_elements, degree + 1, dim]
        Nodes of the elements of each curve.
    first, last : array, shape=[n_curves, dim]
        Displacements of their ends. Those of the points between are in proportion to their times.
    n_modes : int
        Number of waves.

    Returns
    -------
    curves : SineCurves
        The displaced curves.
    """
    polylines, times = [], []
    for k, part in enumerate(nodes):
        assert part is not None
        inside = 0.5 * (reference_element(part.shape[1] - 1).nodes[:-1] + 1.0)
        t = (np.arange(len(part))[:, None] + inside).ravel() / len(part)
        t = np.append(t, 1.0)
        line = np.concatenate((part[:, :-1].reshape(-1, part.shape[2]), part[-1, -1:]))
        polylines.append(line + (1.0 - t)[:, None] * first[k] + t[:, None] * last[k])
        times.append(t)
    return sine_curves(polylines, n_modes, times)


def _times(path: Floats) -> Floats:
    where = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))))
    return where / max(where[-1], np.finfo(float).tiny)


@dataclass(frozen=True)
class Descended:
    """Curves after a descent.

    Parameters
    ----------
    curves : SineCurves
        Curves with no more energy. Those along which F is not finite are what they were.
    length : array, shape=[n_curves]
        Square roots of twice their energies: lengths by chords, if the speed is constant. Not
        finite where F is not.
    residual : array, shape=[n_curves]
        Squared norms of the gradients of the energy in the inverse matrix that the steps have
        taught, relative to twice the energy. Half of it estimates by what share the curve is longer
        than the one it tends to, as the residual of `GeodesicPath` does.
    n_iter : array of int, shape=[n_curves]
        Steps taken.
    """

    curves: SineCurves
    length: Floats
    residual: Floats
    n_iter: Ints

    def take(self, which: Ints) -> Descended:
        """Take some of the curves."""
        rows = (getattr(self, name)[which] for name in ("length", "residual", "n_iter"))
        return Descended(self.curves.take(which), *rows)


def descend(
    immersion: Immersion, curves: SineCurves, options: DescentOptions, deadline: Deadline = NO_LIMIT
) -> Descended:
    """Shorten curves.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F; single precision is enough.
    curves : SineCurves
        Where to start.
    options : DescentOptions
        Numbers of chords and steps.
    deadline : Deadline, optional
        When to take no more steps.

    Returns
    -------
    descended : Descended
        The curves.
    """
    block = options.block if immersion.device.type == "cpu" else options.device_block
    parts: list[tuple[Floats, Floats, Floats, Ints]] = []
    begin = 0
    while begin < len(curves):
        rows = np.arange(begin, min(begin + block, len(curves)))
        try:
            parts.append(_descend(immersion, curves.take(rows), options, deadline))
        except torch.cuda.OutOfMemoryError:
            if block == 1:
                raise
            block //= 2
        else:
            begin += len(rows)
    amplitudes, energy, residual, n_iter = map(np.concatenate, zip(*parts, strict=True))
    moved = SineCurves(curves.start, curves.end, amplitudes)
    return Descended(moved, np.sqrt(2.0 * energy), residual, n_iter)


def first_descent(
    immersion: Immersion,
    polylines: Sequence[Floats],
    owner: Ints,
    options: DescentOptions,
    deadline: Deadline = NO_LIMIT,
) -> Descended:
    """Shorten several curves for each of some pairs, and take the shortest of each.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F; single precision is enough.
    polylines : sequence of array, shape=[n_vertices, dim]
        Where to start.
    owner : array of int, shape=[n_polylines]
        Pairs 0, 1, ... that the polylines join; each has at least one.
    options : DescentOptions
        Numbers of chords and steps.
    deadline : Deadline, optional
        When to take no more steps.

    Returns
    -------
    descended : Descended
        One curve for each pair.
    """
    coarse = options
    if options.coarse_chords:
        coarse = replace(
            options,
            chords=options.coarse_chords,
            modes=options.coarse_modes,
            rtol=options.coarse_rtol,
        )
    found = descend(immersion, sine_curves(polylines, coarse.modes), coarse, deadline)
    length = np.where(np.isfinite(found.length), found.length, np.inf)
    order = np.lexsort((length, owner))
    found = found.take(order[np.unique(owner[order], return_index=True)[1]])
    if not options.coarse_chords:
        return found
    fine = descend(immersion, found.curves.finer(options.modes), options, deadline)
    return replace(fine, n_iter=found.n_iter + fine.n_iter)


def _descend(
    immersion: Immersion, curves: SineCurves, options: DescentOptions, deadline: Deadline
) -> tuple[Floats, Floats, Floats, Ints]:
    """Shorten a block of curves; amplitudes, energies, residuals, and numbers of steps."""
    with torch.no_grad():
        function = _ChordEnergy(immersion, curves, options)
        found = lbfgs.run(function, function.first, options, deadline)
        falls = -(found.direction * found.gradient).sum(dim=(1, 2)) / (2.0 * found.value)
        moved = (found.n_iter > 0).cpu().numpy()
        amplitudes = function.amplitudes(found.y)
    # Scaling to and fro rounds: what did not move is what it was.
    amplitudes = np.where(moved[:, None, None], amplitudes, curves.amplitudes)
    energy, residual = (part.double().cpu().numpy() for part in (found.value, falls))
    return amplitudes, energy, residual, found.n_iter.cpu().numpy()


class _ChordEnergy:
    """Energies of some curves by chords, of scaled amplitudes y.

    For a constant metric M the energy is L^2 / 2 + |y|^2 / 2, where the amplitude of sin(k pi t) is
    sqrt(2) / (k pi) M^(-1/2) y_k.
    """

    def __init__(self, immersion: Immersion, curves: SineCurves, options: DescentOptions) -> None:
        self.immersion, self._options = immersion, options
        on_cpu = immersion.device.type == "cpu"
        self._points = options.points if on_cpu else options.device_points
        like = torch.empty(0, dtype=immersion.dtype, device=immersion.device)
        t = torch.arange(1, options.chords).to(like) / options.chords
        frequency = torch.pi * torch.arange(1, curves.amplitudes.shape[1] + 1).to(like)
        self._waves = torch.sin(t[:, None] * frequency) * (2.0**0.5 / frequency)
        self._scale = (2.0**0.5 / frequency)[:, None]
        start, end = (torch.as_tensor(part).to(like) for part in (curves.start, curves.end))
        self._line = start[:, None] + t[:, None] * (end - start)[:, None]
        self._ends = immersion(torch.cat((start, end))).unflatten(0, (2, -1)).detach()
        self.root = self._inverse_root(curves)
        amplitudes = torch.as_tensor(curves.amplitudes).to(like)
        self.first = torch.linalg.solve(self.root, (amplitudes / self._scale).mT).mT

    def _inverse_root(self, curves: SineCurves) -> Tensor:
        """M^(-1/2) of metrics averaged along the curves, shape=[n_curves, dim, dim]."""
        n = self._options.metrics
        points = torch.as_tensor(curves((np.arange(n) + 0.5) / n)).to(self._line)
        metric = self.immersion.metric(points.flatten(0, 1)).unflatten(0, (-1, n)).mean(dim=1)
        metric = torch.where(metric.isfinite().all(-1).all(-1)[:, None, None], metric, 0.0)
        # Accelerators find eigenvalues of small matrices one matrix after the other.
        values, vectors = (part.to(metric) for part in torch.linalg.eigh(metric.cpu()))
        floor = self._options.ridge * values[:, -1:]
        values = torch.where(floor > 0.0, torch.maximum(values, floor), 1.0)
        return (vectors * values.rsqrt()[:, None]) @ vectors.mT

    def amplitudes(self, y: Tensor) -> Floats:
        """Amplitudes of scaled ones, shape=[n_curves, n_modes, dim]."""
        return (self._scale * (y @ self.root)).double().cpu().numpy()

    def __call__(self, y: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Energies of some of the curves and their gradients by y."""
        while True:
            each = max(1, self._points // self._options.chords)
            try:
                parts = [
                    self._block(*rows)
                    for rows in zip(y.split(each), which.split(each), strict=True)
                ]
                break
            except torch.cuda.OutOfMemoryError:
                if each == 1:
                    raise
                self._points //= 2
        energy, gradient = (torch.cat(part) for part in zip(*parts, strict=True))
        return energy, gradient

    def _block(self, y: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        points = self._line[which] + (self._waves @ y) @ self.root[which]
        flat = points.flatten(0, 1).requires_grad_()
        with torch.enable_grad():
            inner = self.immersion(flat).unflatten(0, (len(y), -1))
            first, last = self._ends[:, which, None].unbind(0)
            chords = torch.cat((first, inner, last), dim=1).diff(dim=1)
            energy = 0.5 * self._options.chords * chords.square().sum(dim=(1, 2))
            (slope,) = torch.autograd.grad(energy.sum(), flat)
        slope = self._waves.T @ (slope.view_as(points) @ self.root[which])
        return energy.detach(), slope
