"""Which function of a network takes the results of which others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

# What goes along one wire, such as a value and its tangents.
State: TypeAlias = tuple[Any, ...]


class Wiring:
    """The inputs of functions that are evaluated one after the other.

    Parameters
    ----------
    inputs : sequence of tuples of int
        Of each function the numbers of its inputs: 0 is the latent code, k what the k-th function
        returns, counted from 1. The result of the last function is that of the network.
    """

    def __init__(self, inputs: Sequence[tuple[int, ...]]) -> None:
        self.inputs = tuple(tuple(own) for own in inputs)
        last_use = {number: k for k, own in enumerate(self.inputs) for number in own}
        self._done: list[list[int]] = [[] for _ in self.inputs]
        for number, k in last_use.items():
            self._done[k].append(number)

    def forward(self, start: State, apply: Callable[..., State]) -> State:
        """Go through the functions, first to last.

        Parameters
        ----------
        start : tuple
            What is known of the latent code.
        apply : callable
            Maps the number of a function and what is known of its input, one argument for each
            member of the tuple, to the same of its result. Arguments of functions of several
            inputs are tuples.

        Returns
        -------
        end : tuple
            The same of the last function's result.
        """
        states: dict[int, State] = {0: start}
        for k, numbers in enumerate(self.inputs):
            if len(numbers) == 1:
                taken = states[numbers[0]]
            else:
                taken = tuple(zip(*(states[number] for number in numbers), strict=True))
            for number in self._done[k]:
                del states[number]
            states[k + 1] = apply(k, *taken)
        return states[len(self.inputs)]

    def backward(self, end: torch.Tensor, apply: Callable[[int, torch.Tensor], Any]) -> Any:
        """Go through the functions, last to first.

        Parameters
        ----------
        end : torch.Tensor
            Covector of the last function's result.
        apply : callable
            Maps the number of a function and the covector of its result to that of its input, or
            to a tuple of those of its inputs.

        Returns
        -------
        start : torch.Tensor
            Covector of the latent code, summed over all functions that take it.
        """
        covectors: dict[int, torch.Tensor] = {len(self.inputs): end}
        for k in reversed(range(len(self.inputs))):
            pulled = apply(k, covectors.pop(k + 1))
            numbers = self.inputs[k]
            for number, part in zip(
                numbers, pulled if len(numbers) > 1 else (pulled,), strict=True
            ):
                known = covectors.get(number)
                covectors[number] = part if known is None else known + part
        return covectors[0]
