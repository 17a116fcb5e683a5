"""Products with derivatives of a chain of layers, from the last layer to the first and back."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from geomstats_vae.immersions.linearization import Linearization, Product

# Adds the product of a Hessian with a tangent to rows; see `Step.hessian`.
Hessian: TypeAlias = Callable[[Any, Any], None]


def diagonal(weights: torch.Tensor) -> Hessian:
    """Products with a diagonal Hessian, shape=[n_points, width or 1]; see `Step.hessian`."""

    def add(rows: torch.Tensor, tangent: torch.Tensor) -> None:
        rows[:, 0].addcmul_(weights, tangent)

    return add


class Step(abc.ABC):
    """One function of a chain, linearised at some points along a direction v.

    Steps of several inputs take and return tuples, one of each for every input.

    Attributes
    ----------
    nbytes : int
        Memory that it holds and that products take, in bytes.
    """

    nbytes: int = 0

    @abc.abstractmethod
    def push(self, rows: torch.Tensor) -> torch.Tensor:
        """Push tangents forward.

        Parameters
        ----------
        rows : torch.Tensor, shape=[n_points, 2, n_inputs]
            Variations of the point, and of the direction pushed as far as this step.

        Returns
        -------
        pushed : torch.Tensor, shape=[n_points, 2, n_outputs]
            The same after this step.
        """

    @abc.abstractmethod
    def pull(self, rows: torch.Tensor) -> torch.Tensor:
        """Apply the transpose of `push`; shape=[n_points, 2, n_outputs] to [..., n_inputs]."""

    @abc.abstractmethod
    def pull_covector(self, covector: torch.Tensor) -> torch.Tensor:
        """Pull a covector of the value; shape=[n_points, n_outputs] to [n_points, n_inputs]."""

    def hessian(self, covector: torch.Tensor) -> Hessian | None:
        """Prepare products with the Hessian of covector . value.

        Parameters
        ----------
        covector : torch.Tensor, shape=[n_points, n_outputs]
            Covector of the value.

        Returns
        -------
        add : callable or None
            Takes what `pull` has returned, shape=[n_points, 2, n_inputs], and a tangent of the
            point, shape=[n_points, n_inputs], and adds the Hessian times the tangent to the first
            of the two rows, in place. None for linear functions.
        """
        return None


class LinearStep(Step):
    """A linear map plus a constant.

    Parameters
    ----------
    tangents, pull : callable
        The linear map and its transpose, on the last axis.
    """

    def __init__(
        self,
        tangents: Callable[[torch.Tensor], torch.Tensor],
        pull: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        self._tangents, self._pull = tangents, pull

    def push(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Step.push`."""
        return self._tangents(rows)

    def pull(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Step.pull`."""
        return self._pull(rows)

    def pull_covector(self, covector: torch.Tensor) -> torch.Tensor:
        """See `Step.pull_covector`."""
        return self._pull(covector)


class ElementwiseStep(Step):
    """A function applied to every component.

    Parameters
    ----------
    slope, curvature : torch.Tensor, shape=[n_points, width]
        First and second derivative.
    along : torch.Tensor, shape=[n_points, width]
        The direction v, pushed as far as this step.
    """

    def __init__(self, slope: torch.Tensor, curvature: torch.Tensor, along: torch.Tensor) -> None:
        self.slope, self.curvature = slope[:, None, :], curvature
        self.slope_change = curvature * along
        # Slope, its change and curvature, the weights of products, and the tangents in between.
        self.nbytes = 6 * along.numel() * along.element_size()

    def push(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Step.push`."""
        pushed = rows * self.slope
        pushed[:, 1].addcmul_(self.slope_change, rows[:, 0])
        return pushed

    def pull(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Step.pull`."""
        pulled = rows * self.slope
        pulled[:, 0].addcmul_(self.slope_change, rows[:, 1])
        return pulled

    def pull_covector(self, covector: torch.Tensor) -> torch.Tensor:
        """See `Step.pull_covector`."""
        return covector * self.slope[:, 0]

    def hessian(self, covector: torch.Tensor) -> Hessian:
        """See `Step.hessian`; it is diagonal."""
        return diagonal(covector * self.curvature)


class SquaredDistanceStep(Step):
    """Squared distances to centres, |z - c_k|^2.

    Parameters
    ----------
    centers : torch.Tensor, shape=[n_centers, dim]
        Centres.
    z, along : torch.Tensor, shape=[n_points, dim]
        Points and the direction v.
    """

    def __init__(self, centers: torch.Tensor, z: torch.Tensor, along: torch.Tensor) -> None:
        self.centers, self.z, self.along = centers, z[:, None, :], along[:, None, :]

    def push(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Step.push`."""
        pushed = (self.z * rows).sum(2, keepdim=True) - rows @ self.centers.T
        pushed[:, 1] += (self.along[:, 0] * rows[:, 0]).sum(1, keepdim=True)
        return 2.0 * pushed

    def pull(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Step.pull`."""
        total = rows.sum(2, keepdim=True)
        pulled = total * self.z - rows @ self.centers
        pulled[:, 0] += total[:, 1] * self.along[:, 0]
        return 2.0 * pulled

    def pull_covector(self, covector: torch.Tensor) -> torch.Tensor:
        """See `Step.pull_covector`."""
        return 2.0 * (covector.sum(1, keepdim=True) * self.z[:, 0] - covector @ self.centers)

    def hessian(self, covector: torch.Tensor) -> Hessian:
        """See `Step.hessian`; it is a multiple of the identity."""
        return diagonal(2.0 * covector.sum(1, keepdim=True))


class ChainLinearization(Linearization):
    """Linearization of steps each of which takes what the one before returns.

    Parameters
    ----------
    pushed : torch.Tensor, shape=[n_points, n_outputs]
        dF(v).
    steps : sequence of Step
        First to last.
    """

    def __init__(self, pushed: torch.Tensor, steps: Sequence[Step]) -> None:
        self.pushed, self.steps = pushed, steps

    @property
    def nbytes(self) -> int:
        """Memory; see `Linearization.nbytes`."""
        return sum(step.nbytes for step in self.steps)

    def pull(self, covector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply the transpose; see `Linearization.pull`."""
        nothing = [None] * len(self.steps)
        return self._pull(covector, nothing, nothing)

    def quadratic(self, weight: torch.Tensor, covector: torch.Tensor | None = None) -> Product:
        """Prepare products; see `Linearization.quadratic`."""
        hessians = self._hessians(covector)

        def product(dz: torch.Tensor, dv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            tangents, rows = [], torch.stack((dz, dv), dim=1)
            for step, hessian in zip(self.steps, hessians, strict=True):
                tangents.append(None if hessian is None else rows[:, 0])
                rows = step.push(rows)
            return self._pull(weight[:, None] * rows[:, 1], hessians, tangents)

        return product

    def _pull(
        self, covector: torch.Tensor, hessians: Sequence[Hessian | None], tangents: Sequence[Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pull a covector of dF(v), and add the Hessians of the steps times tangents."""
        rows = torch.stack((torch.zeros_like(covector), covector), dim=1)
        for k in reversed(range(len(self.steps))):
            rows = self.steps[k].pull(rows)
            add = hessians[k]
            if add is not None:
                add(rows, tangents[k])
        return rows[:, 0], rows[:, 1]

    def _hessians(self, covector: torch.Tensor | None) -> list[Hessian | None]:
        """Hessians of the steps, contracted with a covector of the outputs."""
        hessians: list[Hessian | None] = [None] * len(self.steps)
        if covector is None:
            return hessians
        for k in reversed(range(len(self.steps))):
            hessians[k] = self.steps[k].hessian(covector)
            covector = self.steps[k].pull_covector(covector)
        return hessians
