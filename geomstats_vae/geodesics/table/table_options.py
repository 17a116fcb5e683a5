"""How fine a table is, and when it is built."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TableOptions:
    """How fine a table is, and when it is built.

    Parameters
    ----------
    cells : int
        Cells of a leaf along each axis.
    blocks : dict
        Blocks along each axis before any is halved, by dimension.
    cuts : dict
        By how much smaller leaves and blocks are, along each axis, as long as all can be good: less
        is halved then that is good. Where there are walls, it is at the seams of leaves that steps
        end, and leaves are of the full size.
    rtol : float
        Relative error of the metric, as a quadratic form, up to which a leaf is not halved.
    trusted : float
        The same up to which a leaf is used at all.
    most_halvings : int
        Halvings of a block.
    most_points : int
        Points at which the metric is evaluated, about. The worst leaves are halved first.
    most_wanted : int
        The same for leaves that hold places where the table is to be fine: before all others, those
        that hold most of them first.
    tried : float
        If after this share of `most_wanted` no such leaf can be used, no more are halved.
    few_points : int
        As long as no more are needed, every leaf that is not good is halved, and it is not asked
        where those places are.
    stride : int
        A leaf is tested in the middle of every so many cells along each axis.
    margin : float
        Share of the codes' box by which the table's box is larger on each side.
    piece : int
        Points of meshes whose splines are made at once.
    pairs : int
        Geodesics of one call for which a table is worth its building, if it is not asked for.
    """

    cells: int = 32
    blocks: dict[int, int] = field(default_factory=lambda: {2: 8, 3: 2})
    cuts: dict[int, int] = field(default_factory=lambda: {2: 2, 3: 1})
    rtol: float = 1e-4
    trusted: float = 3e-3
    most_halvings: int = 4
    most_points: int = 600_000
    most_wanted: int = 2_000_000
    tried: float = 0.4
    few_points: int = 450_000
    stride: int = 3
    margin: float = 0.08
    piece: int = 2**18
    pairs: int = 500
