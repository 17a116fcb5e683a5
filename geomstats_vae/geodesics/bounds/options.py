"""Options of bounds of distances from below."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ConeOptions:
    """The interior point method.

    Parameters
    ----------
    max_iter : int
        Steps, each of which factors one sparse matrix.
    stride : float
        Share of the way to the cones' boundary that a step goes.
    smallest : float
        Steps below this share end the search.
    """

    max_iter: int = 40
    stride: float = 0.98
    smallest: float = 1e-7


@dataclass(frozen=True)
class DomainOptions:
    """The rectangle outside of which the metric is taken to be zero.

    Parameters
    ----------
    margins : tuple of float
        Margins around a curve that are tried, as shares of how far a curve of its length leads.
    way : float
        Length of the shortest way over the outside, as a share of the curve's, that is enough.
    grid_size : int
        Nodes per side of the grid on which the ways are measured.
    reach : int
        Most steps along each axis from a node to a neighbour.
    widest : float
        Largest margin, in sides of the curve's box.
    """

    margins: tuple[float, ...] = (0.03, 0.1, 0.3, 0.6, 1.0, 1.7, 3.0, 5.0)
    way: float = 1.15
    grid_size: int = 48
    reach: int = 2
    widest: float = 100.0


@dataclass(frozen=True)
class StretchOptions:
    """How functions are found whose differences bound distances from below.

    Parameters
    ----------
    cells : int
        Cells of the first mesh along each side.
    most_cells : int
        The same for ends that are so near to each other that they need more.
    most_triangles : int
        Triangles from which on a mesh is not refined.
    most_rounds : int
        Meshes.
    share : float
        Triangles are refined that hold this share of what the bound is estimated to lack.
    levels : int
        Levels of the function between the two ends; each is divided by the largest slope on it.
    remainder : float
        The largest squared slope of a triangle is that at the places that were looked at, and this
        times the largest second difference. For a quadratic function 1 / 6 is enough.
    kinked_remainder : float
        The same for decoders with kinks, whose metrics jump.
    loss : float
        Triangles where the function rises too little are refined if that is more than this share
        of the gap, and so are those that cost levels.
    most_margin : float
        Slopes between places are allowed for by making those at the places smaller: their squares
        by a factor of at most one plus this.
    light, spare : float
        Where the dual's flow is below this share of its mean, they are made smaller by more than
        is needed: by this factor.
    jump : float
        Factor between places of a triangle from which on the largest inverse metric counts at all.
    enough : float
        Share of the way over the outside at which a bound is good enough, if that is too short.
    near : float
        Relative gap below which shorter curves are looked for along meshes.
    most_tries : int
        How often.
    detour : float
        Factor of lengths where the dual's flow is small, for these.
    kept : float
        Share of this that is kept for parts of a triangle, before they are measured.
    lift : float
        Eigenvalues of the metric below this share of its median trace are raised to it.
    turns : float
        Longest way in raised metrics, in sides of the rectangle: the bound is lowered by what it
        costs.
    coarsest : float
        Relative gap up to which a cone programme is solved at first.
    finest : float
        Share of the present gap up to which one is solved.
    piece : int
        Points at which the metric is evaluated before the time is looked at.
    cone : ConeOptions
        How cone programmes are solved.
    domain : DomainOptions
        Where functions are sought.
    """

    cells: int = 32
    most_cells: int = 128
    most_triangles: int = 60_000
    most_rounds: int = 40
    share: float = 0.95
    levels: int = 4096
    remainder: float = 0.25
    kinked_remainder: float = 1.0
    loss: float = 0.2
    most_margin: float = 1e3
    light: float = 0.1
    spare: float = 1.5
    jump: float = 100.0
    enough: float = 0.9
    near: float = 0.1
    most_tries: int = 8
    detour: float = 3.0
    kept: float = 0.25
    lift: float = 1e-12
    turns: float = 8.0
    coarsest: float = 1e-2
    finest: float = 0.1
    piece: int = 4096
    cone: ConeOptions = field(default_factory=ConeOptions)
    domain: DomainOptions = field(default_factory=DomainOptions)
