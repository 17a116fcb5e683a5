"""Options of the geodesic solver: the numbers that steer it, with what each of them does.

The defaults were found by measuring, on decoders with high walls of the standard deviation and on
smooth ones. Lengths, decrements and errors are relative to the length of the curve unless another
unit is said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from geomstats_vae.geodesics.arrays import Floats
from geomstats_vae.geodesics.deadline import Deadline


@dataclass(frozen=True)
class Limits:
    """What is asked of each curve.

    Parameters
    ----------
    tol : float
        Stop when a curve's Newton decrement, twice the shortening still expected, is at most this.
    rtol : float
        Certificate: largest residual, and largest difference between two measures of the length.
    max_iter : int
        Newton steps of a curve, at each resolution.
    max_elements : int
        Elements of a curve. Past it no element is bisected.
    deadline : Deadline
        When to give the curves back as they are.
    """

    tol: float = 1e-6
    rtol: float = 1e-3
    max_iter: int = 60
    max_elements: int = 1000
    deadline: Deadline = field(default_factory=Deadline)


@dataclass(frozen=True)
class RaceOptions:
    """When curves between the same points are given up for shorter ones.

    Parameters
    ----------
    rounds : tuple of (int, float)
        After so many Newton steps more, curves that are longer than the shortest one by more than
        this factor are given up.
    last_steps : int
        Newton steps of the others after the shortest one has come to its end. They are given up if
        they are not shorter then.
    """

    rounds: tuple[tuple[int, float], ...] = ((5, 1.3), (5, 1.1), (10, 1.01))
    last_steps: int = 30


@dataclass(frozen=True)
class StartOptions:
    """Where the search for a geodesic starts.

    Parameters
    ----------
    line_degree : int
        Degree of the elements of straight lines.
    path_degree : int
        Degree of the polynomials of the returned paths. At least the other degrees.
    gentle_degree, gentle_elements : int
        Degree of the elements on gentle graph paths, and their number across the graph's box.
    steep_degree, steep_elements : int
        The same on steep graph paths, along walls.
    steep : float
        A pair is steep if its straight line is longer than its graph path by this factor.
    line_on_grid, line_on_codes : float
        The straight line is tried if it is longer than the graph path by at most this factor. A
        grid knows lengths to a few percent, a graph of codes does not.
    graph_limit : float
        Graph paths are searched up to this multiple of the line's length.
    alternative : float
        Of steep pairs the next graph path is tried, too, if it is longer than the first by at most
        this factor: on walls the graph's error is as large as what tells two valleys apart.
    aside, astray : float
        On a grid, a path is tried beside the line, too, if it is longer than the line's curve by at
        most the first factor, and farther from it somewhere than so many spacings of the grid.
    rivals : int
        So many second paths of a pair are tried on a grid, the shortest ones.
    trial_steps : int
        Newton steps after which the curve from a second graph path is compared with the first.
    gentle_trial : float
        It is pursued if it is longer by at most this factor.
    race : RaceOptions
        What is done on steep pairs.
    margin : float
        A converged curve is replaced only by one that is shorter by more than this share.
    """

    line_degree: int = 8
    path_degree: int = 8
    gentle_degree: int = 5
    gentle_elements: int = 8
    steep_degree: int = 4
    steep_elements: int = 85
    steep: float = 2.0
    line_on_grid: float = 1.02
    line_on_codes: float = 1.5
    graph_limit: float = 1.05
    alternative: float = 1.15
    aside: float = 1.03
    astray: float = 2.5
    rivals: int = 2
    trial_steps: int = 5
    gentle_trial: float = 0.9999
    race: RaceOptions = field(default_factory=RaceOptions)
    margin: float = 1e-4


@dataclass(frozen=True)
class GuessOptions:
    """How an initial guess, a geodesic between nearby points, is used.

    Parameters
    ----------
    farthest : float
        Share of its length by which the ends of a curve may move. Others start afresh.
    farthest_descent : float
        The same where curves descend by chords first, which leads back from farther.
    unsteady : float
        Share of its length from which on a curve takes Newton steps before it is looked at: its
        ends have moved so far that it is not stationary.
    hopeless : float
        Residual from which on Newton's method is not tried, and the pair starts afresh.
    same_valley : float
        Factor by which a curve may become longer in proportion to the graph path. The graph's
        lengths are off by a few percent, and at points nearby by about as much.
    max_looks : int
        Looks at a curve on a finer mesh, after which it starts afresh.
    """

    farthest: float = 0.05
    farthest_descent: float = 0.5
    unsteady: float = 3e-4
    hopeless: float = 0.1
    same_valley: float = 1.005
    max_looks: int = 4


@dataclass(frozen=True)
class MinimiseOptions:
    """The loop that steps, refines and certifies.

    Parameters
    ----------
    attempts : int
        Trial steps before a curve is called stalled.
    accept : float
        A step is taken if the length falls by this share of what the model expects.
    rounding : float
        Units in the last place by which a length may grow by rounding.
    turning_per_degree : float
        Angle in radians, per degree of the element, by which a curve may turn on one element in
        the decoder's target. Elements that turn more are bisected.
    mismatch : float
        Share of an element's length by which its two measures, on the quadrature points and on
        twice as many, may differ.
    mismatch_of_mean : float
        The same as a share of the curve's mean element; the two are added.
    mismatch_of_decrement : float
        The mismatch need not be smaller than this share of the decrement, spread over the elements.
    mismatch_spread : float
        An element may have this multiple of its share of what the whole curve may be off.
    vanishing : float
        Share of a length that its rounding may be. A curve shorter than this share of what its ends
        are apart is as good as none.
    max_looks : int
        Looks at a curve on a finer mesh.
    near_miss, closer : float
        A curve whose residual on a finer mesh misses the tolerance by at most the first factor goes
        on to a decrement smaller by the second.
    longest_slide : float
        Largest displacement tried from a saddle, root mean square, as a share of the length.
    n_slides : int
        Displacements tried to each side of a saddle. Each is twice the one before.
    """

    attempts: int = 14
    accept: float = 0.1
    rounding: float = 16.0
    turning_per_degree: float = 0.5
    mismatch: float = 0.02
    mismatch_of_mean: float = 1e-4
    mismatch_of_decrement: float = 0.1
    mismatch_spread: float = 3.0
    vanishing: float = 1e-11
    max_looks: int = 6
    near_miss: float = 3.0
    closer: float = 0.5
    longest_slide: float = 0.25
    n_slides: int = 14


@dataclass(frozen=True)
class CertificateOptions:
    """The look at a curve on a finer mesh.

    Parameters
    ----------
    chords_per_element : int
        Least number of chords of F by which an element is measured.
    chords_per_curve : int
        Least number of chords of a curve. Long elements get more of them: what lies between
        quadrature points shows in them. A place where the decoder is not finite, or steps, is not
        seen if the curve passes it on less than a chord.
    trusted : float
        Decrement up to which the Newton step leads to a better velocity, and saddles are looked
        for. Farther from a geodesic the step may lead anywhere.
    bulk : float
        The fewest elements are refined that bear this share of the error (Doerfler's marking).
    """

    chords_per_element: int = 20
    chords_per_curve: int = 512
    trusted: float = 1e-3
    bulk: float = 0.8


@dataclass(frozen=True)
class DescentOptions:
    """The first descent of curves in many dimensions, by chords.

    Parameters
    ----------
    min_dim : int
        Fewest dimensions in which curves descend before Newton's method takes over. In fewer
        dimensions the paths on a fine grid are good enough.
    chords, modes : int
        Chords of a curve, and sine waves that it is made of.
    coarse_chords, coarse_modes, coarse_rtol : int, int, float
        The same of a descent before, to a looser ``rtol``, that all curves of a pair take part in;
        the shortest goes on. Without chords there is none.
    max_iter : int
        Most steps of each of the two.
    newton_chords, newton_modes, newton_max_iter : int
        The same where Newton's method goes on: it needs no more than a start, and takes fewer steps
        along the flat valleys in which gradients crawl.
    n_elements : int
        Elements that curves have afterwards.
    rtol, patience : float, int
        A curve is done when the last so many steps together lowered its energy by less than this
        share.
    share : float
        The same in units of the solver's ``tol``; the larger counts.
    alone, alone_elements : float, int
        Solver's ``tol`` from which on a descent is all there is: Newton's method is left out for
        curves whose residual is small enough. They are of so many elements.
    memory : int
        Steps that the inverse matrix is made of.
    accept, shorten, shortest : float
        A step is taken if the energy falls by this share of what the slope promises. Otherwise it
        is shortened by this factor. A curve is done when its steps are this short.
    convex : float
        Least curvature, in units of the reciprocal, of steps that are remembered.
    metrics : int
        Points at which the metric is averaged, for the coordinates.
    ridge : float
        Least eigenvalue of that mean, relative to the largest.
    block, points : int
        Curves that descend at once, and points evaluated at once.
    device_block, device_points : int
        The same on an accelerator; fewer points where its memory does not hold what they need.
    crowd, device_crowd : float
        Curves that are done leave the others when less than this share is not, here and there.
    look, warm_up : int
        On an accelerator steps are taken without a look at how many curves are done, so many at
        once. They are recorded after so many.
    """

    min_dim: int = 4
    chords: int = 64
    modes: int = 48
    coarse_chords: int = 16
    coarse_modes: int = 12
    coarse_rtol: float = 1e-4
    max_iter: int = 600
    newton_chords: int = 32
    newton_modes: int = 24
    newton_max_iter: int = 200
    n_elements: int = 4
    rtol: float = 1e-5
    patience: int = 5
    share: float = 0.01
    alone: float = 1e-3
    alone_elements: int = 8
    memory: int = 10
    accept: float = 1e-4
    shorten: float = 0.4
    shortest: float = 1e-4
    convex: float = 1e-6
    metrics: int = 4
    ridge: float = 1e-4
    block: int = 256
    points: int = 2048
    device_block: int = 2**14
    device_points: int = 2**16
    crowd: float = 0.95
    device_crowd: float = 0.6
    look: int = 8
    warm_up: int = 2

    def with_tol(self, tol: float) -> DescentOptions:
        """Descend no farther than a tolerance of the solver makes use of."""
        coarse, fine = (max(rtol, self.share * tol) for rtol in (self.coarse_rtol, self.rtol))
        options = replace(self, coarse_rtol=coarse, rtol=fine)
        if tol >= self.alone:
            return options
        mesh = {"chords": self.newton_chords, "modes": self.newton_modes}
        return replace(options, **mesh, max_iter=min(self.max_iter, self.newton_max_iter))


@dataclass(frozen=True)
class KinkOptions:
    """Decoders with kinks, such as those of ReLUs: a sequence of smoothed ones.

    Parameters
    ----------
    widths : tuple of float
        Widths at which the kinks are rounded, one after the other, in units of the standard
        deviation of each kinked function's input over the codes.
    first_tol, tol : float
        Tolerances with which the first, which is only a start for the others, and these are
        solved, unless that of the solver is larger. Curves on the smoothed decoder are farther
        than that from those on the decoder itself.
    certificate : CertificateOptions
        The look at a finer mesh. Lengths are measured on the decoder itself, too.
    n_codes : int
        Most codes that these deviations are taken over. Without a graph they are points of the
        standard normal distribution, the prior of most models.
    chords : int
        Chords by which lengths on the decoder itself are compared.
    chords_max : int
        Chords of the curves that are returned are doubled until the length changes by at most half
        of ``rtol``, up to so many.
    margin : float
        A curve gives way to that of a smaller width unless that is longer by more than this share.
    rtol : float
        That of the descents in many dimensions, in place of the solver's: the next width moves the
        curve anyway.
    finish : DescentOptions
        The last descent in many dimensions, by more chords.
    """

    widths: tuple[float, ...] = (0.3, 0.1, 0.05, 0.02, 0.01)
    first_tol: float = 1e-3
    tol: float = 1e-4
    certificate: CertificateOptions = field(
        default_factory=lambda: CertificateOptions(chords_per_element=4, chords_per_curve=128)
    )
    n_codes: int = 256
    chords: int = 256
    chords_max: int = 4096
    margin: float = 1e-4
    rtol: float = 1e-3
    finish: DescentOptions = field(
        default_factory=lambda: DescentOptions(
            chords=128, modes=96, n_elements=16, rtol=2e-4, max_iter=100
        )
    )


@dataclass(frozen=True)
class Task:
    """How curves are to be minimised.

    Parameters
    ----------
    limits : Limits
        What is asked of each curve.
    options : MinimiseOptions
        Options of the loop.
    certificate : CertificateOptions
        Options of the look at a finer mesh.
    look_first : bool
        Certify the curves before they take steps.
    length_error : array, shape=[n_curves], optional
        What is known of the errors of their lengths, for the first look: spares the chords.
    hopeless : float
        Residual from which on a curve is given up.
    max_looks : int, optional
        Looks at a curve on a finer mesh; by default that of the options.
    trial_steps : int, optional
        Steps after which curves not shorter than ``trial_length`` are given up.
    trial_length : array, shape=[n_curves], optional
        These lengths.
    """

    limits: Limits
    options: MinimiseOptions
    certificate: CertificateOptions
    look_first: bool = False
    length_error: Floats | None = None
    hopeless: float = math.inf
    max_looks: int | None = None
    trial_steps: int | None = None
    trial_length: Floats | None = None
