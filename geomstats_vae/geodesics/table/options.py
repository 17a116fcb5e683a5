"""How geodesics are found by a table."""

from __future__ import annotations

from dataclasses import dataclass, field

from geomstats_vae.geodesics.table.band import BandOptions


@dataclass(frozen=True)
class TabulatedOptions:
    """Steps in a tabulated metric.

    Parameters
    ----------
    degree : int
        Degree of the elements.
    line_elements, path_elements : int
        Elements that straight lines and graph paths start with. Curves of fewer may leave the
        valley that the path shows.
    max_elements : int
        Elements of a curve. Past it the decoder itself is asked.
    max_iter : int
        Newton steps of a curve on each mesh.
    first_lift : float
        Least share of what makes Hessians positive that is added to them; see `descend`.
    most_left : int
        Saddles that a curve leaves on each mesh.
    slide : float
        How far it moves then at first, as a share of its extent.
    max_looks : int
        Looks at a curve on a mesh twice as fine.
    most_stays : int
        Looks, the first ones, after which a curve that is out of steps goes on with its mesh as it
        is. Later ones refine it.
    first_tol : float
        Tolerance on the first mesh.
    within : float
        Share of the tolerance that curves are shortened to: the decoder sees a little more.
    below : float
        Share of the tolerance up to which steps are taken after the first look.
    share : float
        Elements are bisected that bear at least this share of the largest error of one.
    smoothing : int
        Times that a graph path is averaged with its neighbours.
    line : float
        The straight line is tried, too, if it is longer than the graph path by at most this factor.
    graph_limit : float
        Graph paths are searched up to this multiple of the line's length.
    steep, above : float
        A line that is longer than the graph path by the first factor passes a wall. If then the
        curve that was found is longer than the path by the second one, the path is shortened in
        bands, too, see `shorten_in_bands`; so are those of pairs without an answer.
    nearly : float
        Residual up to which curves that pass no wall and are no answers are left to the decoder;
        twice the tolerance if that is more.
    alternative : float
        Then the next graph path is tried, too, if it is longer by at most this factor.
    widths : tuple of float
        Widths of the bands at first; see `shorten_in_bands`.
    rival : float
        Of the polygons after that those are pursued that are longer than the shortest by no more
        than this share.
    band_elements : int
        Elements that a curve starts with after that; those are bisected on which it is longer than
        the polygon by more than their share of `fitted`.
    fitted : float
        Share of the polygon's length by which the curve may be longer.
    fine : bool
        Whether energies are taken on twice the quadrature points. Those of such curves are.
    most_band_elements, most_band_steps, most_band_looks, most_band_stays : int
        As `max_elements`, `max_iter`, `max_looks` and `most_stays`, of such curves.
    first_band_lift : float
        As `first_lift`, of such curves: along valleys steps are long with the least of them.
    band : BandOptions
        How polygons are shortened.
    valley, apart : float
        Of two curves of a pair the longer is pursued, too, after the first descent, if it is longer
        by at most this factor, and lies apart by this share of its extent.
    unrested : float
        The same factor of curves that did not come to rest, or passed a wall and so were left.
    grown : float
        A curve that became longer by this share, as seen on twice as many elements, goes back to
        where it was, and begins anew on these.
    quick : float
        Where the table is off by less than this share of the root of the tolerance, as much as its
        square is far below the tolerance: then the decoder's gradient is not asked for, unless the
        velocities are to be exact.
    exact : float
        Tolerance up to which they are.
    lengths_only : bool
        Whether lengths are all that is asked for. Velocities are NaN then.
    measured : bool
        Whether each curve is measured on the decoder. If not, the error that was seen on the
        table's leaves stands for it where that is small enough, as between the steps of an
        iteration.
    probes : int
        Most points of an element at which the decoder is measured. What is measured is by what
        share its speed differs from the table's.
    many : int
        Points of a curve that are enough. Of one of twice as many elements every second is
        measured.
    few, sure : int, float
        Points that are enough where the table was tested to be off by no more than this share of
        the root of the tolerance, and by no more than it was built for, all along the curve.
    block : int
        Pairs at once.
    """

    degree: int = 5
    line_elements: int = 8
    path_elements: int = 16
    max_elements: int = 128
    max_iter: int = 40
    first_lift: float = 1e-3
    most_left: int = 3
    slide: float = 0.05
    max_looks: int = 10
    most_stays: int = 0
    first_tol: float = 1e-4
    within: float = 0.9
    below: float = 0.25
    share: float = 0.1
    smoothing: int = 3
    line: float = 1.03
    graph_limit: float = 1.05
    steep: float = 2.0
    above: float = 1.01
    nearly: float = 1e-3
    alternative: float = 1.15
    widths: tuple[float, ...] = (0.02, 0.005)
    rival: float = 0.01
    band_elements: int = 32
    fitted: float = 0.01
    fine: bool = False
    most_band_elements: int = 4096
    most_band_steps: int = 200
    most_band_looks: int = 80
    most_band_stays: int = 70
    first_band_lift: float = 1e-5
    band: BandOptions = field(default_factory=BandOptions)
    valley: float = 1.003
    apart: float = 0.02
    unrested: float = 1.06
    grown: float = 1e-3
    quick: float = 0.1
    exact: float = 1e-5
    lengths_only: bool = False
    measured: bool = True
    probes: int = 3
    many: int = 24
    few: int = 8
    sure: float = 0.03
    block: int = 1024
