"""Attention and layer normalisation by their formulas, where torch's own derivatives fail.

Torch's fused kernels of attention have neither forward nor second derivatives. Its layer
normalisation has wrong second derivatives in nested forward mode and in reverse mode taken thrice,
without an error (seen in torch 2.13).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Generic, TypeVar

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

Result = TypeVar("Result")


@contextmanager
def by_formula() -> Iterator[None]:
    """Let torch compute attention and layer normalisation by elementary operations, in a block.

    Torch's switches of attention are those of the process. Blocks may be nested and may overlap in
    several threads: the first to be entered sets the switches, the last to be left restores them.
    """
    _SWITCHES.enter()
    try:
        with _LayerNorms():
            yield
    finally:
        _SWITCHES.leave()


class ByFormula(Generic[Result]):
    """A function whose attention and layer normalisation are computed by their formulas.

    Parameters
    ----------
    function : callable
        Any function.
    """

    def __init__(self, function: Callable[..., Result]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Result:
        """Evaluate the function within `by_formula`."""
        with by_formula():
            return self.function(*args)


def layer_norm(
    input: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> torch.Tensor:
    """Normalise the last dimensions, as `torch.nn.functional.layer_norm` does.

    Parameters
    ----------
    input : torch.Tensor, shape=[..., *normalized_shape]
        Values.
    normalized_shape : sequence of int
        Shape of what is normalised together.
    weight, bias : torch.Tensor, shape=normalized_shape, or None
        Factor and shift of the result.
    eps : float
        Added to the variance.
    *_ : object
        Torch's choice of a kernel, not used.

    Returns
    -------
    normalised : torch.Tensor, shape=[..., *normalized_shape]
        Values of mean 0 and variance 1, times weight, plus bias.
    """
    dims = tuple(range(-len(normalized_shape), 0))
    centered = input - input.mean(dim=dims, keepdim=True)
    normalised = centered * torch.rsqrt(centered.square().mean(dim=dims, keepdim=True) + eps)
    normalised = normalised if weight is None else normalised * weight
    return normalised if bias is None else normalised + bias


def needs_formula(function: Callable[..., Any], *args: Any) -> bool:
    """Whether a function calls attention or layer normalisation.

    Which kernel torch takes for attention depends on shapes and strides, so that derivatives may
    exist for some codes and not for others.

    Parameters
    ----------
    function : callable
        Any function.
    *args : object
        Its arguments.

    Returns
    -------
    needs_formula : bool
        True if it does, unless TorchScript hides it.
    """
    with _Calls() as calls:
        function(*args)
    return not calls.names.isdisjoint(_FUSED)


_FUSED = (
    "layer_norm",
    "layer_norm.default",
    "multi_head_attention_forward",
    "scaled_dot_product_attention",
    "scaled_dot_product_attention.default",
)


class _Calls(TorchFunctionMode):
    """Records the names of torch's functions that are called in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.names.add(getattr(function, "__name__", ""))
        return function(*args, **(kwargs or {}))


# Functions of torch that normalise layers: of modules, of tensors and of exported programs.
_LAYER_NORMS = frozenset(
    (torch.nn.functional.layer_norm, torch.layer_norm, torch.ops.aten.layer_norm.default)
)


_GROUP_NORMS = frozenset((torch.nn.functional.group_norm, torch.group_norm))


class _LayerNorms(TorchFunctionMode):
    """Replaces layer normalisation, in this thread."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function in _LAYER_NORMS:
            function = layer_norm
        elif function in _GROUP_NORMS:
            # Nested derivatives of torch 2.13 view the input without asking for its layout.
            args = (args[0].contiguous(), *args[1:])
        return function(*args, **(kwargs or {}))


class _Switches:
    """Torch's choice of attention kernels, and how many blocks want the formula now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_blocks = 0
        self._restore = ExitStack()

    def enter(self) -> None:
        with self._lock:
            if self._n_blocks == 0:
                fused = torch.backends.mha.get_fastpath_enabled()
                self._restore.callback(torch.backends.mha.set_fastpath_enabled, fused)
                torch.backends.mha.set_fastpath_enabled(False)
                self._restore.enter_context(sdpa_kernel(SDPBackend.MATH))
            self._n_blocks += 1

    def leave(self) -> None:
        with self._lock:
            self._n_blocks -= 1
            if self._n_blocks == 0:
                self._restore.close()


_SWITCHES = _Switches()
