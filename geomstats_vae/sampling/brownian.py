"""Brownian motion on a manifold, and the walk of the study that leaves the drift out."""

from __future__ import annotations

import torch

from geomstats_vae.sampling.domains import Region, resolve_domain
from geomstats_vae.sampling.walk import Walkers, WalkSampler, WalkStatus

METHODS = ("euler", "geodesic")
BOUNDARIES = ("reflect", "absorb")


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
        not depend on the coordinates, at the price of an exponential map a step. The law of both
        is that of Brownian motion as steps become short, to first order in h.
    drift : bool
        Whether Euler's scheme has the drift. Without it the walk is no Brownian motion: its law
        depends on the coordinates, and Riemannian volume is not invariant. Such walks are in use
        because the drift takes second derivatives of the decoder; this is for comparison with them.
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
    random_state : int, numpy.random.RandomState or None
        Seed of the noise. With an integer every call gives the same paths.

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

    Brownian motion does not seek the data. Its long-run law, where it has one, is uniform for the
    Riemannian volume, which is largest where the decoder is uncertain. Walls of the metric are
    long ways, and keep walkers away for as long as these take; where a decoder becomes constant
    beyond them the way to infinity is short, and a domain is needed.

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
        space,
        *,
        method="euler",
        drift=True,
        domain=None,
        boundary="reflect",
        max_change=1.0,
        max_substeps=4,
        random_state=None,
    ):
        super().__init__(space, random_state)
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
        self._region = resolve_domain(domain, space.dim)
        if isinstance(self._region, Region) and boundary == "reflect":
            raise ValueError(
                "Expected a box as domain for boundary='reflect', got a callable, which has no "
                "normals; pass boundary='absorb', or the corners of a box."
            )
        self.method, self.drift, self.domain, self.boundary = method, drift, domain, boundary
        self.max_change, self.max_substeps = max_change, max_substeps

    def _walkers(self, geometry, z, random_state):
        if self._region is not None:
            n_outside = int((~self._region.contains(z)).sum())
            if n_outside:
                raise ValueError(
                    f"Expected initial points in the domain, got {n_outside} of {len(z)} outside; "
                    "widen the domain or drop these walkers."
                )
        return _BrownianWalkers(self, geometry, z, random_state)


class _BrownianWalkers(Walkers):
    def __init__(self, motion, geometry, z, random_state):
        super().__init__(geometry, z, random_state)
        self.motion, self.region = motion, motion._region
        self.spent = torch.zeros_like(z[:, 0])  # of the time step that is under way

    def advance(self, rows, step):
        """Move by as much of a step as the metric's change allows; see `Walkers.advance`."""
        start = self.z[rows]
        coefficients = self.geometry.coefficients(start)
        regular = self.stop_irregular(rows, coefficients)
        if not regular.all():
            rows, start = rows[regular], start[regular]
            coefficients = coefficients.take(regular)
        left = step - self.spent[rows]
        part = self._part(step, left, coefficients.roughness)
        end, followed = self._move(start, part, coefficients)
        self._arrive(rows, start, end, followed)
        self.n_substeps[rows] += 1
        over = part == left
        self.spent[rows] = torch.where(over, 0.0, self.spent[rows] + part)
        return rows[over & (self.status[rows] == 0)]

    def _part(self, step, left, roughness):
        """Choose the times of the next moves; they depend on the present, not on the noise."""
        if self.motion.max_change is None or self.motion.method == "geodesic":
            return left
        part = self.motion.max_change**2 / roughness
        part = part.clamp_min(step / self.motion.max_substeps)
        return torch.where(part < left, part, left)

    def _move(self, start, part, coefficients):
        noise = part.sqrt()[:, None] * self.noise(len(start))
        move = (coefficients.root @ noise[:, :, None])[:, :, 0]
        if self.motion.method == "geodesic":
            return self.geometry.exp(start, move)
        if self.motion.drift:
            move = torch.addcmul(move, part[:, None], coefficients.drift)
        return start + move, None

    def _arrive(self, rows, start, end, followed):
        """Put walkers where they went, or where the domain lets them, or leave them."""
        finite = end.isfinite().all(1)
        status = torch.where(finite, WalkStatus.COMPLETED, WalkStatus.NON_FINITE)
        if followed is not None:
            status = torch.where(finite & ~followed, WalkStatus.LOST, status)
        if self.region is not None:
            end, status = self._meet_edge(start, end, status)
        belongs = self.motion._belongs(torch.where(finite[:, None], end, start))
        status = torch.where((status == 0) & ~belongs, WalkStatus.OUTSIDE, status)
        moved = (status == WalkStatus.COMPLETED) | (status == WalkStatus.ABSORBED)
        self.z[rows] = torch.where(moved[:, None], end, start)
        self.status[rows] = status

    def _meet_edge(self, start, end, status):
        sound = (status == 0).nonzero()[:, 0]
        leaving = sound[~self.region.contains(end[sound])]
        if not len(leaving):
            return end, status
        segment = start[leaving], end[leaving]
        if self.motion.boundary == "reflect":
            end[leaving] = self.region.reflect(*segment, self.geometry.metric)
        else:
            end[leaving] = self.region.edge(*segment)
            status[leaving] = WalkStatus.ABSORBED
        return end, status
