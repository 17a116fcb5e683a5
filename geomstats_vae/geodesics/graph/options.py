"""Options of the graph over a latent space."""

from __future__ import annotations

from dataclasses import dataclass, field

from geomstats_vae.geodesics.table.table_options import TableOptions


@dataclass(frozen=True)
class SearchOptions:
    """The search for shortest paths on the graph.

    Parameters
    ----------
    shared : int
        One search for all pairs with a common node is faster than one for each from this many
        pairs on.
    small_graph : int
        Graphs of fewer nodes are searched without landmarks.
    unaimed : int
        So many searches for few pairs are made without landmarks, too.
    n_landmarks : int
        Nodes whose distances to all others are known.
    slack : float
        Share by which bounds are loosened, because they are kept in single precision.
    bounding : int
        Most searches whose distances bound those from other points; one for so many points.
    repeated : int
        The trees of nodes are kept that are ends of at least so many pairs in each process.
    trees_bytes : int
        Bytes that trees may take.
    """

    shared: int = 24
    small_graph: int = 5000
    unaimed: int = 8
    n_landmarks: int = 16
    slack: float = 1e-5
    bounding: int = 8
    repeated: int = 32
    trees_bytes: int = 2**27


@dataclass(frozen=True)
class RivalOptions:
    """Second paths, around the other sides of hills.

    Parameters
    ----------
    longer : float
        Share by which second paths may be longer than the first.
    apart : float
        They are farther from it, and from each other, somewhere than so many nodes of the grid.
    shortest : int
        Nodes of a plateau at least, where the shortest paths from both ends agree.
    share : float
        Share of the nodes off the first path that are to be on the plateau.
    most : int
        Second paths of a pair.
    """

    longer: float = 0.015
    apart: float = 3.0
    shortest: int = 4
    share: float = 0.25
    most: int = 6


@dataclass(frozen=True)
class GraphOptions:
    """The graph over the latent space.

    Parameters
    ----------
    grid_sizes : dict
        Nodes per side of the grid, by dimension. In other dimensions the graph is over the codes.
    reach : dict
        Most steps along each axis from a node of the grid to a neighbour, by dimension.
    margin : float
        Share of the codes' box by which the grid's box is larger on each side.
    farthest, stride : float
        Farthest that a node is moved from its place in all and by one step, in spacings.
    wall_codes : int
        Codes whose distances bound how high a norm of sigma a shortest curve can climb.
    level_stride : float
        Farthest that a node of a curve is moved by one step onto its level, in elements.
    max_codes : int
        Codes that are nodes of a graph over the codes.
    n_neighbors : int
        Nearest neighbours that a code is joined to.
    edge_chords : int
        Chords by which an edge between codes is measured.
    line_chords, line_chords_max : int
        A straight line is measured by the first number of chords and by twice that, and by the
        second number if these two differ.
    line_rtol : float
        Relative difference from which on they differ.
    few_line_chords : int
        Where the graph is over the codes and no output is a standard deviation, there are no high
        walls: a line is first measured by this number of chords and by twice that.
    lazy_edges : int
        Edges of a graph over the codes that the search for one path is expected to measure. All
        are measured at once if the paths asked for need as many.
    tie_share : float
        Lengths of edges between codes are multiplied by fixed random factors between 1 and 1 plus
        this share, so that of two paths of the same length always the same is found.
    single_rtol : float
        Single precision measures a graph over the codes if its rounding, as seen at some codes,
        changes a typical edge by at most this share.
    single_probes : int
        Number of these codes.
    memory_limit : int
        Bytes that the values of F at the codes may take.
    tables : dict
        Rough tables of the metric, which measure the edges of a grid where they know it, by
        dimension. A cell is as wide as two of the grid's.
    bulge : float
        Factor by which one may find an edge longer than what is known at both ends tells. Longer
        ones lead across the bulge of a wall's level, which a curve can follow, and are kept.
    alternative_reach : float
        For a second path, edges within this share of the box of the first one are made dearer.
    alternative_factor : float
        Factor of their lengths.
    search : SearchOptions
        How paths are searched.
    rivals : RivalOptions
        Which second paths are looked for on the way.
    """

    grid_sizes: dict[int, int] = field(default_factory=lambda: {2: 256, 3: 48})
    reach: dict[int, int] = field(default_factory=lambda: {2: 3, 3: 2})
    margin: float = 0.08
    farthest: float = 0.7
    stride: float = 0.6
    wall_codes: int = 200
    level_stride: float = 0.1
    max_codes: int = 2000
    n_neighbors: int = 12
    edge_chords: int = 8
    line_chords: int = 64
    line_chords_max: int = 512
    line_rtol: float = 3e-3
    few_line_chords: int = 16
    lazy_edges: int = 16
    tie_share: float = 1e-9
    single_rtol: float = 1e-3
    single_probes: int = 16
    memory_limit: int = 2**28
    tables: dict[int, TableOptions] = field(
        default_factory=lambda: {
            2: TableOptions(
                cuts={2: 1}, rtol=0.01, trusted=0.03, most_halvings=1, most_points=100_000
            )
        }
    )
    bulge: float = 1.25
    alternative_reach: float = 0.01
    alternative_factor: float = 1.5
    search: SearchOptions = field(default_factory=SearchOptions)
    rivals: RivalOptions = field(default_factory=RivalOptions)
