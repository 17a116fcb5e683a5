"""Brownian motion on a manifold, and the walk of the study that leaves the drift out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.geometry.protocol import Floats, Geometry, Ints
from geomstats_vae.sampling.coefficients import Coefficients, times
from geomstats_vae.sampling.compiled import CompiledEuler
from geomstats_vae.sampling.domains import Box, Region, resolve_domain
from geomstats_vae.sampling.track import Track
from geomstats_vae.sampling.walk import (
    MOVE_COST,
    Seed,
    Walkers,
    WalkSampler,
    WalkStatus,
    is_everywhere,
)

METHODS = ("euler", "geodesic")
BOUNDARIES = ("reflect", "absorb")
# Geodesics between points that cost as much as a short one from a point.
_EXP_COST = 1 / 15


class BrownianMotion(WalkSampler):
    r"""Brownian motion: the diffusion that half the Laplace-Beltrami operator generates.

    Parameters
    ----------
    space : Manifold
        Equipped space in intrinsic coordinates: a `LatentSpace`, or any space of geomstats whose
        metric has `metric_matrix` and `christoffels`.
    method : {'euler', 'geodesic'}
        How a step is taken. 'euler' is Euler and Maruyama's scheme in coordinates,
        :math:`z \leftarrow z + b(z) h + \sqrt{h} \sum_a s_a \epsilon_a`, with the drift
        :math:`b^i = -\tfrac12 M^{jk} \Gamma^i_{jk}`, an orthonormal frame s_a and standard normal
        numbers. 'geodesic' is the geodesic random walk ([2]_),
        :math:`z \leftarrow \exp_z(\sqrt{h} \sum_a s_a \epsilon_a)`, which needs no drift and does
        not depend on the coordinates, at the price of an exponential map a step. The distribution
        of both is that of Brownian motion as steps become short, to first order in h.
    drift : bool
        Whether Euler's scheme has the drift. Without it the walk is no Brownian motion: its
        distribution depends on the coordinates, and Riemannian volume is not invariant. Such walks
        are in use because the drift takes second derivatives of the decoder; this is for comparison
        with them.
    domain : array-like, shape=[2, dim], or callable, optional
        Where walkers may go: lower and upper corner of a box (infinite where there is no face), or
        a function that maps points, shape=[n_points, dim], to whether they are inside.
    boundary : {'reflect', 'absorb'}
        What happens at the edge of the domain. 'reflect' needs a box, and reflects along the
        Riemannian normal of the face, M^{-1} e_i, so that Riemannian volume stays invariant. By
        'absorb' a walker stops where its step crosses the edge; walkers that cross and come back
        within one step are missed, so absorption is late by a time of the order of sqrt(h).
    max_change : float or None
        Where the metric changes so fast that it would change by more than this, relative to itself
        and to first order, over the length sqrt(h) of a step, Euler's scheme takes shorter steps
        until the time of the step is over. None takes every step at once.
    max_substeps : int
        Steps are not divided into more parts than that.
    rtol : float
        Relative error that a geodesic step may have. The error of the walk in steps is far larger.
    random_state : int, numpy.random.RandomState or None
        Seed of the noise. With an integer every call gives the same paths.
    max_seconds : float, optional
        Seconds after which a call returns: walkers that are under way stop where they are, with the
        status ``OUT_OF_TIME``. The move that is under way is finished.
    verbose : bool
        Show a progress bar that counts steps of walkers.

    Raises
    ------
    ValueError
        If the space has no metric or is not in intrinsic coordinates, or options are not as
        described.

    See Also
    --------
    geomstats.distributions.brownian_motion.BrownianMotion : The same by geomstats, for one walker.

    Notes
    -----
    Time is in units of squared distance in the decoder's data space: in a time t a walker gets
    about sqrt(t dim) away. Walkers are independent and moved all at once.

    In two and three dimensions a walk of many moves on a `LatentSpace` with codes, by default of
    150,000, builds a table of the metric, unless the space has one (see `PullbackDecoderMetric`).
    Walkers ask it where its relative error is at most 3e-3, by tests on its meshes, and the decoder
    elsewhere. By it Euler's scheme is compiled. Its noise comes in another order, so one seed gives
    other paths with a table and without.

    Brownian motion does not seek the data. Its distribution in the long run, where there is one, is
    uniform for the Riemannian volume, which is largest where the decoder is uncertain. A wall of
    the metric is thick in units of distance, and keeps walkers away for as long as it takes to
    cross it. Where a decoder becomes constant beyond its walls infinity is near, and a domain is
    needed.

    References
    ----------
    .. [1] Hsu. "Stochastic Analysis on Manifolds." American Mathematical Society 2002.
    .. [2] Jørgensen. "The Central Limit Problem for Geodesic Random Walks." Zeitschrift für
       Wahrscheinlichkeitstheorie 32 (1975).
    .. [3] Bossy, Gobet, Talay. "A Symmetrized Euler Scheme for an Efficient Approximation of
       Reflected Diffusions." Journal of Applied Probability 41 (2004).

    Examples
    --------
    >>> motion = BrownianMotion(space, domain=[codes.min(0), codes.max(0)], random_state=0)
    >>> paths = motion.sample_path(end_time=1.0, n_steps=1000, initial_point=codes[:100])
    """

    def __init__(
        self,
        space: Any,
        *,
        method: str = "euler",
        drift: bool = True,
        domain: Any = None,
        boundary: str = "reflect",
        max_change: float | None = 1.0,
        max_substeps: int = 4,
        rtol: float = 1e-5,
        random_state: Seed = None,
        max_seconds: float | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(space, random_state, max_seconds, verbose)
        for name, value, known in (("method", method, METHODS), ("boundary", boundary, BOUNDARIES)):
            if value not in known:
                raise ValueError(
                    f"Expected {name} to be one of {', '.join(map(repr, known))}, got {value!r}."
                )
        if method == "geodesic" and not drift:
            raise ValueError(
                "Expected drift=True for method='geodesic', got False; geodesics bring the drift "
                "about by themselves, and method='euler' can leave it out."
            )
        if max_change is not None and not max_change > 0.0:
            raise ValueError(f"Expected max_change > 0 or None, got {max_change}.")
        if max_substeps < 1:
            raise ValueError(f"Expected max_substeps >= 1, got {max_substeps}.")
        if not 0.0 < rtol < 1.0:
            raise ValueError(f"Expected rtol between 0 and 1, got {rtol}.")
        self._domain = resolve_domain(domain, space.dim)
        if isinstance(self._domain, Region) and boundary == "reflect":
            raise ValueError(
                "Expected a box as domain for boundary='reflect', got a callable, which has no "
                "normals; pass boundary='absorb', or the corners of a box."
            )
        self.method, self.drift, self.domain, self.boundary = method, drift, domain, boundary
        self.max_change, self.max_substeps, self.rtol = max_change, max_substeps, rtol

    @property
    def _geodesics_per_move(self) -> float:
        """Geodesics between points that cost as much as a move; see `WalkSampler`."""
        return MOVE_COST if self.method == "euler" else _EXP_COST

    def _walkers(
        self,
        geometry: Geometry,
        z: Floats,
        random_state: np.random.RandomState,
        device: torch.device | None,
        table: MetricTable | None,
    ) -> Walkers:
        return _BrownianWalkers(self, geometry, z, random_state, device, table)


class _BrownianWalkers(Walkers):
    def __init__(
        self,
        motion: BrownianMotion,
        geometry: Geometry,
        z: Floats,
        random_state: np.random.RandomState,
        device: torch.device | None,
        table: MetricTable | None,
    ) -> None:
        super().__init__(geometry, motion.space, z, random_state, device, table)
        self.motion = motion
        self.domain = None if motion._domain is None else motion._domain.on(device)
        self.spent = np.zeros(len(z))  # of the time step that is under way
        self.compiled = self._compiled()
        if self.domain is not None:
            n_outside = int((~self.domain.contains(z)).sum())
            if n_outside:
                raise ValueError(
                    f"Expected initial points in the domain, got {n_outside} of {len(z)} outside; "
                    "widen the domain or drop these walkers."
                )

    def _compiled(self) -> CompiledEuler | None:
        """Choose what moves walkers many steps at a time; None where moves have to be looked at."""
        motion, box = self.motion, self.domain
        if self.table is None or motion.method != "euler" or not is_everywhere(self.space):
            return None
        if isinstance(box, Region):
            return None
        limits = motion.max_change, motion.max_substeps
        return CompiledEuler(self.table, box, motion.drift, *limits)

    def move(self, rows: Ints, track: Track) -> None:
        """Move walkers on the table as long as they are well inside; see `Walkers.move`."""
        if self.compiled is None:
            super().move(rows, track)
            return
        stuck, noise = self.compiled.move(rows, track, self, self.spent)
        if len(stuck):
            track.record(self.advance(stuck, track.step, noise), self.z)

    def advance(self, rows: Ints, step: float, noise: Floats | None = None) -> Ints:
        """Move by as much of a step as the metric's change allows; see `Walkers.advance`.

        The noise, shape=[n_rows, dim], is drawn if none is given.
        """
        start = self.z[rows]
        coefficients = self.coefficients(start)
        regular = self.stop_irregular(rows, coefficients)
        if not regular.all():
            rows, start = rows[regular], start[regular]
            coefficients = coefficients.take(regular)
            noise = None if noise is None else noise[regular]
        if noise is None:
            noise = self.noise(len(rows))
        left = step - self.spent[rows]
        part = self._part(step, left, coefficients.roughness)
        self._arrive(rows, start, self._move(start, part, coefficients, noise))
        self.n_substeps[rows] += 1
        over = part == left
        self.spent[rows] = np.where(over, 0.0, self.spent[rows] + part)
        return rows[over & (self.status[rows] == 0)]

    def _part(self, step: float, left: Floats, roughness: Floats) -> Floats:
        """Choose the times of the next moves; they depend on the present, not on the noise."""
        if self.motion.max_change is None or self.motion.method == "geodesic":
            return left
        # In flat space there is no limit.
        with np.errstate(divide="ignore"):
            part = self.motion.max_change**2 / roughness
        part = np.maximum(part, step / self.motion.max_substeps)
        return np.where(part < left, part, left)

    @np.errstate(invalid="ignore", over="ignore")
    def _move(
        self, start: Floats, part: Floats, coefficients: Coefficients, noise: Floats
    ) -> Floats:
        move = times(coefficients.root, np.sqrt(part)[:, None] * noise)
        if self.motion.method == "geodesic":
            return self.geometry.exps(start, move, rtol=self.motion.rtol)
        if self.motion.drift:
            move = move + part[:, None] * coefficients.drift
        return start + move

    def _arrive(self, rows: Ints, start: Floats, end: Floats) -> None:
        """Put walkers where they went, or where the domain lets them, or leave them."""
        finite = np.all(np.isfinite(end), axis=1)
        lost = WalkStatus.LOST if self.motion.method == "geodesic" else WalkStatus.NON_FINITE
        status = np.where(finite, WalkStatus.COMPLETED, lost)
        if self.domain is not None:
            self._meet_edge(self.domain, start, end, status)
        belongs = self.in_space(np.where(finite[:, None], end, start))
        status = np.where((status == 0) & ~belongs, WalkStatus.OUTSIDE, status)
        moved = (status == WalkStatus.COMPLETED) | (status == WalkStatus.ABSORBED)
        self.z[rows] = np.where(moved[:, None], end, start)
        self.status[rows] = status

    def _meet_edge(self, domain: Box | Region, start: Floats, end: Floats, status: Ints) -> None:
        """Write where walkers that leave the domain end, and how."""
        sound = np.flatnonzero(status == 0)
        leaving = sound[~domain.contains(end[sound])]
        if not len(leaving):
            return
        segment = start[leaving], end[leaving]
        if isinstance(domain, Box) and self.motion.boundary == "reflect":
            end[leaving] = domain.reflect(*segment, self.geometry.metrics)
        else:
            end[leaving] = domain.edge(*segment)
            status[leaving] = WalkStatus.ABSORBED
