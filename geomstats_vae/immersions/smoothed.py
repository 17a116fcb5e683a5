"""Functions whose kinks are rounded: torch's kinked functions are replaced while they run.

What a function calls is watched by a mode of torch, whatever the function is made of. A limit that
no code reaches, as of ``sigma.clamp(min=1e-300)``, stays as it is: rounded, it would be felt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from geomstats_vae.immersions.kinks import RULES, Function, smooth_relu, spread_over_codes

# Functions whose ``inplace`` may come as the last of so many positional arguments.
_INPLACE_LAST = {
    "relu": 2, "relu6": 2, "selu": 2, "hardsigmoid": 2, "hardswish": 2,
    "leaky_relu": 3, "elu": 3, "threshold": 4, "_threshold": 4, "hardtanh": 4, "rrelu": 5,
}  # fmt: skip
# Functions that often keep only numbers such as 1e-300 away, at a corner that no code reaches.
_GUARDS = {"clamp", "clip", "clamp_min", "clamp_max", "hardtanh"}


# Functions whose second derivatives jump.
_CURVATURE_JUMPS = {"elu", "elu_", "celu", "celu_"}


def has_curvature_jumps(function: Function, z: Tensor) -> bool:
    """Tell whether a function calls any function of torch whose second derivatives jump.

    Parameters
    ----------
    function : callable
        Maps shape=[n_points, dim] to shape=[n_points, n_outputs].
    z : torch.Tensor, shape=[n_points, dim]
        Where to evaluate it.

    Returns
    -------
    jumps : bool
        Whether it calls ELU or CELU.
    """
    called = _Called()
    with torch.no_grad(), called:
        function(z)
    return not called.names.isdisjoint(_CURVATURE_JUMPS)


class _Called(TorchFunctionMode):
    """Notes the names of the functions of torch that are called meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.names.add(getattr(func, "__name__", "").partition(".")[0])
        return func(*args, **(kwargs or {}))


class _ReplacedReLUs(TorchFunctionMode):
    """Evaluates the kinked functions that are called meanwhile by a ReLU that is given.

    Parameters
    ----------
    relu : callable
        Takes arguments of ReLUs, in the order of their calls, and whether they belong to a guard.
    """

    def __init__(self, relu: Callable[[Tensor, bool], Tensor]) -> None:
        super().__init__()
        self._relu = relu

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        # Exported programs call overloads, such as relu.default.
        name = getattr(func, "__name__", "").partition(".")[0]
        rule = RULES.get(name.rstrip("_") or name, RULES.get(name))
        if rule is None or not args or not isinstance(args[0], Tensor):
            return func(*args, **options)
        if not args[0].is_floating_point() or options.get("out") is not None:
            return func(*args, **options)
        in_place = (name.endswith("_") and name[0] != "_") or options.pop("inplace", False)
        positional = args
        if name in _INPLACE_LAST and len(args) == _INPLACE_LAST[name]:
            positional, in_place = args[:-1], bool(args[-1])
        is_guard = name.rstrip("_") in _GUARDS
        replaced = rule(lambda u: self._relu(u, is_guard), *positional, **options)
        if replaced is None:
            return func(*args, **dict(kwargs or {}))
        return args[0].copy_(replaced) if in_place else replaced


def has_kinks(function: Function, z: Tensor) -> bool:
    """Tell whether a function calls any kinked function of torch.

    Parameters
    ----------
    function : callable
        Maps shape=[n_points, dim] to shape=[n_points, n_outputs].
    z : torch.Tensor, shape=[n_points, dim]
        Where to evaluate it.

    Returns
    -------
    kinked : bool
        Whether a rule of `RULES` was needed. Kinks made otherwise, as by `torch.where`, are not
        seen.
    """
    return bool(kink_spreads(function, z))


def kink_spreads(function: Function, codes: Tensor) -> list[Tensor]:
    """Measure the spreads of the inputs of a function's kinks, in the order of the calls.

    Parameters
    ----------
    function : callable
        Maps shape=[n_points, dim] to shape=[n_points, n_outputs].
    codes : torch.Tensor, shape=[n_codes, dim]
        Latent codes.

    Returns
    -------
    spreads : list of torch.Tensor
        See `spread_over_codes`; zero for limits of `torch.clamp` and its like that no code
        reaches. Empty if the function has no kinks that are seen.
    """
    spreads = []

    def relu(u: Tensor, is_guard: bool) -> Tensor:
        spread = spread_over_codes(u, len(codes))
        spreads.append(torch.where((u > 0.0).all(), 0.0, spread) if is_guard else spread)
        return torch.relu(u)

    with torch.no_grad(), _ReplacedReLUs(relu):
        function(codes)
    return spreads


class SmoothedFunction:
    """A torch function whose kinks are rounded.

    Parameters
    ----------
    function : callable
        Maps shape=[n_points, dim] to shape=[n_points, n_outputs], row by row.
    widths : list of torch.Tensor
        Widths of its kinks, in the order of the calls; as `kink_spreads` returns spreads. A kink
        of width zero stays as it is.
    """

    def __init__(self, function: Function, widths: list[Tensor]) -> None:
        self.function, self.widths = function, widths
        self._rounded = [bool((width > 0.0).any()) for width in widths]

    def __call__(self, z: Tensor) -> Tensor:
        """Evaluate the smooth function.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Points.

        Returns
        -------
        value : torch.Tensor, shape=[n_points, n_outputs]
            Values.

        Raises
        ------
        RuntimeError
            If the function calls other kinked functions than where widths were measured.
        """
        n_kinks = 0

        def relu(u: Tensor, is_guard: bool) -> Tensor:
            nonlocal n_kinks
            n_kinks += 1
            if n_kinks > len(self.widths):
                raise self._error("more")
            k = n_kinks - 1
            return smooth_relu(u, self.widths[k]) if self._rounded[k] else torch.relu(u)

        with _ReplacedReLUs(relu):
            value = self.function(z)
        if n_kinks < len(self.widths):
            raise self._error(str(n_kinks))
        return value

    def _error(self, got: str) -> RuntimeError:
        return RuntimeError(
            f"Expected {len(self.widths)} kinks, as at the codes, got {got}; let the decoder call "
            "the same functions at every point."
        )
