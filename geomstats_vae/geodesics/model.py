"""What the solver's loop asks of a model of curves.

A model knows the decoder and one degree of elements. It measures chains of elements and proposes
steps that shorten them. The loop in `minimise` works with any model: it measures each trial step,
takes it or refuses it, and refines the mesh.

To write a model of your own, derive it from `ElementModel` of `element_model` and define
`newton_step`: all else has a default there. Whatever has the attributes and methods of
`CurveModel` will do, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.curves.reference import ReferenceElement
from geomstats_vae.immersions.immersion import Immersion

# Displacements of the nodes, decrements, and whether the second variations are definite.
Step = tuple[Floats, Floats, Bools]


class Variation(Protocol):
    """Length of each element and its derivative by the element's nodes.

    Attributes
    ----------
    length : array, shape=[n_elements]
        Lengths, on the quadrature points.
    gradient : array, shape=[n_elements, (degree + 1) * dim]
        Derivatives of the lengths.
    turning : array, shape=[n_elements]
        Angle in radians by which the curve turns in the decoder's target.
    finite : array of bool, shape=[n_elements]
        Whether all that a step needs is finite.
    """

    length: Floats
    gradient: Floats
    turning: Floats

    @property
    def finite(self) -> Bools:
        """Whether all that a step needs is finite, shape=[n_elements]."""

    def __getitem__(self, rows: Any) -> Variation:
        """Take elements."""

    def __setitem__(self, rows: Any, other: Variation) -> None:
        """Write elements."""

    def repeat(self, repeats: Ints) -> Variation:
        """Repeat elements; repeats shape=[n_elements]."""


class Memory(Protocol):
    """What a model learns of curves from step to step."""

    def take(self, which: Ints, rows: Ints) -> Any:
        """Copy what is known of some curves, and of their elements."""

    def put(self, which: Ints, rows: Ints, part: Any) -> None:
        """Write what `take` copied."""

    def split(self, curves: Curves, marked: Bools) -> None:
        """Follow a bisection of marked elements; curves are those before it."""

    def moved(self, which: Ints) -> None:
        """Note that curves were put elsewhere."""


class Proposal(Protocol):
    """Steps for a batch of curves, to be tried one after the other until each is taken.

    Attributes
    ----------
    decrement : array, shape=[n_curves]
        Twice the shortening that is still expected.
    done : array of bool, shape=[n_curves]
        Whether the curves are good as they are. They try a single step.
    open : array of bool, shape=[n_curves]
        Whether there is a step to try.
    """

    decrement: Floats
    done: Bools
    open: Bools

    def step(self, which: Ints) -> tuple[Floats, Floats]:
        """Propose steps for some curves.

        Parameters
        ----------
        which : array of int, shape=[n_tried]
            Curves of the batch.

        Returns
        -------
        displacement : array, shape=[n_elements, degree + 1, dim]
            Displacement of the nodes of these curves; zero at their ends.
        expected : array, shape=[n_tried]
            Decrease of the length that the model expects. Infinite refuses the step.
        """

    def refuse(self, which: Ints, displacement: Floats, tried: Floats) -> None:
        """Learn that steps were too long.

        Parameters
        ----------
        which : array of int, shape=[n_refused]
            Curves of the batch.
        displacement : array, shape=[n_elements, degree + 1, dim]
            The steps.
        tried : array, shape=[n_elements]
            Lengths of the elements after them, on the finer rule.
        """

    def accept(self, taken: Bools, gained: Floats) -> Bools:
        """Learn which steps were taken, and keep for the next proposal what was learnt.

        Parameters
        ----------
        taken : array of bool, shape=[n_curves]
            Curves that took the last step proposed for them.
        gained : array, shape=[n_curves]
            By how much each became shorter.

        Returns
        -------
        settled : array of bool, shape=[n_curves]
            Curves that are sure to be done.
        """


class CurveModel(Protocol):
    """A model of curves that are chains of elements of one degree.

    Variations and memories that its methods take are those that `variation` and `memory` made.

    Attributes
    ----------
    immersion : Immersion
        The decoder's F.
    element : ReferenceElement
        The element.
    chunk_size : int
        Points that the decoder is evaluated on at once.
    eps : float
        Distance from 1 to the next number of the type that the decoder computes in.
    line_elements : int
        Elements that straight lines start with.
    misses_saddles : bool
        Whether `direction` may take a saddle for a minimum, so that `definite` is asked, roughly.
    pair_bytes : int
        Memory that a typical curve takes in a batch, in bytes.
    """

    immersion: Immersion
    element: ReferenceElement
    chunk_size: int
    line_elements: int
    misses_saddles: bool

    @property
    def eps(self) -> float:
        """Rounding unit of the decoder's type."""

    @property
    def pair_bytes(self) -> int:
        """Memory that a typical curve takes in a batch, in bytes."""

    def lengths(self, nodes: Floats) -> Floats:
        """Lengths of elements on the finer rule, shape=[n_elements]; they decide on steps."""

    def arc_lengths(self, nodes: Floats, degree: int) -> Floats:
        """Lengths from each element's start to its nodes of a degree, [n_elements, degree + 1]."""

    def chord_lengths(self, points: Floats) -> Floats:
        """Lengths of polylines by chords of F; points shape=[n_lines, n_vertices, dim]."""

    def metrics(self, points: Floats) -> Floats:
        """Metric matrices at latent codes, shape=[n_points, dim, dim]."""

    def variation(self, nodes: Floats) -> Variation:
        """Lengths of elements with what steps need; nodes shape=[n_elements, degree + 1, dim]."""

    def memory(self, curves: Curves, length: Floats) -> Memory:
        """Begin with what is known of curves before their first step."""

    def propose(
        self,
        curves: Curves,
        variation: Any,
        fine: Floats,
        enough: Floats,
        before: Floats,
        memory: Any,
    ) -> Proposal:
        """Propose steps.

        Parameters
        ----------
        curves : Curves
            Curves.
        variation : Variation
            That of their elements.
        fine : array, shape=[n_elements]
            Lengths of the elements on the finer rule.
        enough : array, shape=[n_curves]
            Decrements at which they are done.
        before : array, shape=[n_curves]
            Decrements of the last proposal; infinite for the first.
        memory : Memory
            What was learnt of them. `Proposal.accept` writes into it.

        Returns
        -------
        proposal : Proposal
            The steps.
        """

    def direction(self, halves: Curves, variation: Any, length: Floats, memory: Any) -> Step:
        """Newton's directions on meshes of halves, for the certificate.

        Parameters
        ----------
        halves : Curves
            The curves, each element bisected.
        variation : Variation
            That of the halves.
        length : array, shape=[n_curves]
            Lengths of the curves.
        memory : Memory
            What was learnt of the curves, on their own mesh.

        Returns
        -------
        direction : array, shape=[n_halves, degree + 1, dim]
            Directions; zero at the ends.
        decrement : array, shape=[n_curves]
            Newton decrements.
        definite : array of bool, shape=[n_curves]
            False for curves that are seen to be on a saddle.
        """

    def newton_step(self, curves: Curves, variation: Any) -> Step:
        """Full Newton steps, zero where the second variation is not definite; see `direction`."""

    def definite(self, curves: Curves, *, rough: bool = False) -> Bools:
        """Whether the second variations of curves are positive definite, shape=[n_curves].

        A rough answer may miss weak directions of negative curvature.
        """

    def modes(self, curves: Curves, variation: Any, length: Floats) -> tuple[Floats, Floats]:
        """Directions in which curves slide off saddles.

        Returns
        -------
        mode : array, shape=[n_elements, degree + 1, dim]
            Displacements of the nodes; zero where there is none.
        unit : array, shape=[n_curves]
            Multiple of the mode that is as large as the curve is long.
        """


# Takes an immersion, a degree and the points to evaluate at once (None chooses); makes a model.
ModelFactory = Callable[[Immersion, int, "int | None"], CurveModel]
