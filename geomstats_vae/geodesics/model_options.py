"""Options of the curve models: how steps are found, in few dimensions and in many."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class AssembledOptions:
    """Damped Newton steps with assembled matrices, for few dimensions.

    Parameters
    ----------
    line_elements : int
        Elements that a straight line starts with.
    growth : float
        The first trial step is this multiple of the share of the Newton step that was taken last,
        and at most the whole step. It is the whole step at first, and after a failure.
    shorten : float
        Factor of the trial step after every third failure. Other failures add damping only.
    reach : float
        Farthest that a step moves a node, in extents of the largest element, times the number of
        elements.
    fading, slow_fading : float
        Share of the damping of a step that the next step starts with, where the step gained nearly
        all that its slope promised, and where it did not.
    promised : float
        This share is nearly all.
    rise : float
        After a step that gained nearly all, damping that proves too little grows by this factor at
        a time, up to that of the step before.
    forget : float
        Damping below this share of the matrices' mean diagonal is dropped.
    sure : float
        A full Newton step from a decrement this small ends so near that it is done without asking.
    fall : float
        This is believed where the decrement has fallen by this factor at least.
    ridge : float
        Share of the mean diagonal that is added where a metric is singular.
    near : float
        Decrement below which a matrix that is not positive definite is shifted by a multiple of
        the mass. Farther away the majoriser alone is used.
    first_shift : float
        The smallest such multiple, in units of 1 / length^2.
    n_shifts : int
        Multiples that are tried. Each is ten times the one before.
    clear : float
        The least multiple that makes the matrix definite is taken this many times.
    mode_bisections, mode_iterations : int
        Steps of the search for the lowest eigenvalue, and of the inverse iteration for its mode.
    """

    line_elements: int = 2
    growth: float = 4.0
    shorten: float = 0.4
    reach: float = 4.0
    fading: float = 0.1
    slow_fading: float = 0.3
    promised: float = 0.85
    rise: float = 3.2
    forget: float = 1e-5
    sure: float = 1e-3
    fall: float = 0.1
    ridge: float = 1e-8
    near: float = 1e-2
    first_shift: float = 0.1
    n_shifts: int = 8
    clear: float = 3.0
    mode_bisections: int = 8
    mode_iterations: int = 6


@dataclass(frozen=True)
class FrameOptions:
    """Parallel frames, the preconditioner of the matrix-free model.

    Parameters
    ----------
    ridge : float
        Share of the mean square that each latent coordinate adds to the metric. So null directions
        of a singular metric stay null along the curve.
    null : float
        The least that a coordinate counts, as a share of the mean of all.
    degrees : tuple of (int, int)
        Pairs (most elements, degree): degree of the frames on each element, which vary slowly, of
        curves up to that many elements.
    far : float
        Frames are built anew after moves whose squared sizes, relative to the length, add up to
        this.
    many_products : int
        They are built anew after conjugate gradients with more products than this.
    """

    ridge: float = 1e-3
    null: float = 1e-6
    degrees: tuple[tuple[int, int], ...] = ((16, 4), (64, 2), (2**62, 1))
    far: float = 1e-3
    many_products: int = 10


@dataclass(frozen=True)
class MatrixFreeOptions:
    """Trust regions and conjugate gradients without matrices, for many dimensions.

    Sizes of steps are int |Du|^2 / |c'|, about five times a bump's squared height over the length.

    Parameters
    ----------
    line_elements : int
        Elements that a straight line starts with. Frames on two elements are poor, and cost more
        products than small meshes save.
    loose, tight : float
        Largest and smallest reduction of the residual asked of conjugate gradients. A decrement is
        quadratic in it: by the tight one it is right to a few percent.
    sharp : float
        The reduction for Newton steps of the polish.
    sign : float
        The reduction that leaves no doubt about signs of the curvature.
    rough_sign : float
        The reduction for the signs of curves that are nearly stationary.
    single : float
        Products with second variations are in single precision if the solver's ``tol`` is at least
        this.
    spare : float
        Share of the tolerance that inexact steps may leave.
    settled : float
        A whole step is the last one if what it leaves is expected to be at most this share of the
        tolerance.
    first_radius : float
        First bound on the size of steps, over the root of the length.
    poor, good : float
        Shares of the expected decrease below which the bound is made smaller, and above which it is
        made larger.
    shrink, grow : float
        Factors by which that is done, applied to the size of the step.
    sure, leap : float
        The bound grows by the second factor instead where the decrease is that expected, up to the
        first share of it.
    extent : float
        Farthest that a step moves a node, in extents of the largest element, times the number of
        elements.
    max_products : int
        Products of one run of conjugate gradients.
    leave : float
        Conjugate gradients of a batch go on without the curves that are done, once the others are
        at most this share of it.
    flat : float
        Curvature, relative to the preconditioner's, of directions that change nothing.
    wild : float
        Curvature so negative that Newton's model says nothing. The majoriser is used instead.
    frames : FrameOptions
        The preconditioner.
    """

    line_elements: int = 4
    loose: float = 0.3
    tight: float = 0.1
    sharp: float = 1e-8
    sign: float = 1e-6
    rough_sign: float = 1e-2
    single: float = 1e-7
    spare: float = 0.03
    settled: float = 0.3
    first_radius: float = 0.5
    poor: float = 0.25
    good: float = 0.75
    shrink: float = 0.4
    grow: float = 2.0
    sure: float = 0.1
    leap: float = 8.0
    extent: float = 4.0
    max_products: int = 100
    leave: float = 0.5
    flat: float = 1e-10
    wild: float = -10.0
    frames: FrameOptions = field(default_factory=FrameOptions)
