"""Functions of one number, smooth or with kinks, and what rounds the kinks.

A kinked function is a smooth one plus multiples of ReLU, each at its corner. So all of them are
rounded in one way, by a softplus in the place of each ReLU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from geomstats_vae.immersions.kinks import smooth_relu

# Value, first derivative, and a function that evaluates the second one, for only jets need it.
Formula: TypeAlias = tuple[torch.Tensor, torch.Tensor, Callable[[], torch.Tensor]]
Number: TypeAlias = float | torch.Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Activation:
    """A smooth function of one number.

    Parameters
    ----------
    value : callable
        Maps inputs u to f(u), of any shape.
    derivatives : callable
        Maps inputs to f(u), f'(u), and a function that evaluates f''(u).
    recipe : tuple, optional
        A function and its arguments that build this again; what is pickled in its place.
    curvature_jumps : bool
        Whether f'' jumps somewhere, as that of ELU does.
    """

    value: Callable[[torch.Tensor], torch.Tensor]
    derivatives: Callable[[torch.Tensor], Formula]
    recipe: tuple[Any, ...] = (None,)
    curvature_jumps: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        return self.recipe

    @property
    def smooth(self) -> bool:
        """Whether the function has no kinks."""
        return True


@dataclasses.dataclass(frozen=True, eq=False)
class Kinked(Activation):
    """A smooth function plus some ReLUs: f(u) = g(u) + sum_k s_k relu(u - c_k).

    Parameters
    ----------
    value, derivatives : callable
        As of `Activation`, off the kinks.
    recipe : tuple, optional
        As of `Activation`.
    base : Activation or None
        g; None stands for 0.
    corners : tuple of pairs
        Positions c_k of the kinks, and by how much the slope jumps there, s_k; each a number or
        one for every input.
    is_guard : bool
        Whether the corners only keep the function's input away from where another fails, such as
        0 of a logarithm. A guard that no code reaches is not rounded.
    """

    base: Activation | None = None
    corners: tuple[tuple[Number, Number], ...] = ()
    is_guard: bool = False

    @property
    def smooth(self) -> bool:
        """Whether the function has no kinks."""
        return not self.corners

    def rounded(self, width: Number) -> Activation:
        """Replace each ReLU by a softplus.

        Parameters
        ----------
        width : float or torch.Tensor
            Positive width w of every softplus w log(1 + exp(u / w)), or one for every input.

        Returns
        -------
        activation : Activation
            The smooth function.
        """

        def derivatives(u: torch.Tensor) -> Formula:
            parts = [_softplus_part(u - c, s, width) for c, s in self.corners]
            if self.base is not None:
                parts.append(self.base.derivatives(u))
            return _total(parts)

        return Activation(lambda u: derivatives(u)[0], derivatives, (Kinked.rounded, (self, width)))


def kinked(
    value: Callable[[torch.Tensor], torch.Tensor],
    base: Activation | None,
    *corners: tuple[Number, Number],
    is_guard: bool = False,
) -> Kinked:
    """Build a function with kinks from its smooth part and its corners.

    Parameters
    ----------
    value : callable
        f, by torch.
    base : Activation or None
        The smooth part g.
    *corners : tuple
        Position and jump of each kink.
    is_guard : bool
        As of `Kinked`.

    Returns
    -------
    activation : Kinked
        The function with its derivatives.
    """

    def derivatives(u: torch.Tensor) -> Formula:
        slope = curve = None
        if base is not None:
            _, slope, curve = base.derivatives(u)
        for position, jump in corners:
            step = (u > position).to(u.dtype)
            step = step if isinstance(jump, float) and jump == 1.0 else jump * step
            slope = step if slope is None else slope + step
        assert slope is not None
        return value(u), slope, (lambda: torch.zeros_like(u)) if curve is None else curve

    return Kinked(value, derivatives, base=base, corners=corners, is_guard=is_guard)


def _softplus_part(u: torch.Tensor, jump: Number, width: Number) -> Formula:
    share = torch.sigmoid(u / width)
    return (
        jump * smooth_relu(u, width),
        jump * share,
        lambda: (jump / width) * share * (1.0 - share),
    )


def _total(parts: list[Formula]) -> Formula:
    (value, slope, first), *others = parts
    for more, rise, _ in others:
        value, slope = value + more, slope + rise

    def curvature() -> torch.Tensor:
        total = first()
        for _, _, curve in others:
            total = total + curve()
        return total

    return value, slope, curvature
