"""Which of torch's operations lead from latent codes to outputs.

Modules, functions and methods come down to a few dozen operations of torch. They are recorded
while the decoder runs once. What the decoder does by other means, such as numpy, is not seen, so
`compile_immersion` compares before it trusts a recording.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.func import functionalize
from torch.utils._python_dispatch import TorchDispatchMode

# Operations that take no more of a tensor than its shape and type.
_OF_SHAPES = {"empty_like", "full_like", "ones_like", "zeros_like"} | {
    f"new_{name}" for name in ("empty", "empty_strided", "full", "ones", "zeros")
}


class TraceError(RuntimeError):
    """What a decoder does cannot be recorded or translated."""


@dataclasses.dataclass(frozen=True)
class Variable:
    """A tensor that depends on latent codes.

    Parameters
    ----------
    number : int
        Number of the tensor in the recording; 0 is that of the codes.
    shape : tuple of int
        Its shape there.
    """

    number: int
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Operation:
    """A call of one of torch's operations.

    Parameters
    ----------
    name : str
        Torch's name, without the underscore of operations that write into their input.
    function : callable
        The operation.
    args, kwargs : tuple, dict
        Its arguments, with a `Variable` in the place of every tensor that depends on codes.
    results : tuple of Variable
        Tensors that it returns.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[Variable, ...]


def record(
    function: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor
) -> tuple[list[Operation], Variable]:
    """Record the operations of a function.

    Parameters
    ----------
    function : callable
        Maps shape=[n_points, dim] to shape=[n_points, n_outputs].
    z : torch.Tensor, shape=[n_points, dim]
        Latent codes to run it on.

    Returns
    -------
    operations : list of Operation
        Those that the output depends on, in order.
    output : Variable
        The output.

    Raises
    ------
    TraceError
        If what the function does depends on the values of tensors, as ``if z.sum() > 0`` does, or
        its output does not depend on the codes.
    """
    recorder = _Recorder()

    def watched(z: torch.Tensor) -> torch.Tensor:
        return function(z)

    with torch.no_grad(), recorder:
        recorder.start(z)
        # Functions that write into tensors become ones that do not.
        result = functionalize(watched)(z)
    output = recorder.find(result)
    if output is None:
        raise TraceError("the output does not depend on the codes")
    return _needed(recorder.operations, output), output


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self._variables: dict[int, Variable] = {}
        self._alive: list[torch.Tensor] = []  # a number is an address: none may be given twice
        self._count = 0

    def start(self, tensor: torch.Tensor) -> Variable:
        variable = Variable(self._count, tuple(tensor.shape))
        self._count += 1
        self._alive.append(tensor)
        self._variables[id(tensor)] = variable
        return variable

    def find(self, tensor: Any) -> Variable | None:
        return self._variables.get(id(tensor)) if isinstance(tensor, torch.Tensor) else None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        results = func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        if name in _OF_SHAPES:
            return results
        marked = tuple(self._mark(part) for part in args)
        named = {key: self._mark(part) for key, part in kwargs.items()}
        if not any(_variables_of((*marked, *named.values()))):
            return results
        several = results if isinstance(results, (tuple, list)) else (results,)
        if not all(isinstance(part, torch.Tensor) for part in several):
            _refuse_decisions()
            return results
        if func._schema.is_mutable:
            name = name.removesuffix("_")
        new = tuple(self.start(part) for part in several)
        self.operations.append(Operation(name, func, marked, named, new))
        return results

    def _mark(self, part: Any) -> Any:
        if isinstance(part, (tuple, list)):
            return type(part)(self._mark(item) for item in part)
        variable = self.find(part)
        return part if variable is None else variable


def _refuse_decisions() -> None:
    """Raise unless a number was asked for by a check of torch's distributions."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("torch.distributions"):
            return
        if name != __name__ and not name.startswith("torch."):
            break
        frame = frame.f_back
    raise TraceError("what the function does depends on the values of its tensors")


def variables_of(operation: Operation) -> list[Variable]:
    """Tensors that an operation takes and that depend on the codes.

    Parameters
    ----------
    operation : Operation
        The operation.

    Returns
    -------
    variables : list of Variable
        In the order of its arguments.
    """
    return list(_variables_of((*operation.args, *operation.kwargs.values())))


def _variables_of(part: Any) -> Iterator[Variable]:
    if isinstance(part, Variable):
        yield part
    elif isinstance(part, (tuple, list)):
        for item in part:
            yield from _variables_of(item)


def _needed(operations: list[Operation], output: Variable) -> list[Operation]:
    """Operations that an output depends on, in order."""
    wanted, kept = {output.number}, []
    for operation in reversed(operations):
        if wanted.isdisjoint(result.number for result in operation.results):
            continue
        kept.append(operation)
        wanted.update(variable.number for variable in variables_of(operation))
    return kept[::-1]
