"""How much a report measures and draws."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReportOptions:
    """How much a report measures and draws; by default a few minutes' worth.

    Attributes
    ----------
    n_matrix : int
        Codes in the matrix of distances, about: every class has one at least.
    n_mean : int
        Codes that the Frechet mean of a class is computed of, at most.
    mean_max_iter : int
        Iterations of a Frechet mean, at most.
    n_sensitivity : int
        Pairs of codes whose distances the diagnosis compares: with straight lines, and for other
        kernels of the precision.
    n_cells : int
        Cells of a map along its longer side.
    dpi : int
        Resolution of the pictures in dots per inch.
    max_seconds : float
        Limit of time of the diagnosis' geodesics, and of the random pairs. The matrix and the means
        have as long as the training took, each; if a model was loaded, as long as this.
        What there was no time for is left out, and the page says so.
    """

    n_matrix: int = 60
    n_mean: int = 20
    mean_max_iter: int = 12
    n_sensitivity: int = 50
    n_cells: int = 200
    dpi: int = 200
    max_seconds: float = 30.0
