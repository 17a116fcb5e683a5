"""L-BFGS on a batch of functions at once, each with its own history and step length.

All arithmetic is on whole batches, and masks tell which functions a step is for. So nothing on an
accelerator waits for the CPU but a look at how many are done, and a step can be recorded once and
replayed ([2]_): its hundred small kernels then start without the CPU. Functions that are done leave
the batch when there are many of them.

References
----------
.. [1] Liu, Nocedal. "On the limited memory BFGS method for large scale optimization."
   Mathematical Programming 45, 1989, algorithm 2.1.
.. [2] NVIDIA. "CUDA C++ Programming Guide", section "CUDA Graphs".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.options import DescentOptions

# Takes unknowns, shape=[n_rows, ...], and which functions they are of; values and gradients.
Function = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass
class Descent:
    """What is known of some functions, row by row.

    Parameters
    ----------
    rows : torch.Tensor of int, shape=[n_rows]
        Which functions they are.
    active : torch.Tensor of bool, shape=[n_rows]
        Which go on.
    y, gradient, direction : torch.Tensor, shape=[n_rows, ...]
        Unknowns, the gradients there, and where the next steps go.
    value, step : torch.Tensor, shape=[n_rows]
        Values, and lengths of the next steps.
    n_iter : torch.Tensor of int, shape=[n_rows]
        Steps taken.
    falls : torch.Tensor, shape=[n_rows, patience]
        By what shares the last steps lowered the value; infinite for those not taken.
    moves, changes : torch.Tensor, shape=[n_rows, memory, ...]
        Last steps that are remembered, and changes of the gradients.
    inverse : torch.Tensor, shape=[n_rows, memory]
        One over their products; zero where there is no step yet.
    gamma : torch.Tensor, shape=[n_rows]
        Scale of the inverse matrix.
    """

    rows: Tensor
    active: Tensor
    y: Tensor
    gradient: Tensor
    direction: Tensor
    value: Tensor
    step: Tensor
    n_iter: Tensor
    falls: Tensor
    moves: Tensor
    changes: Tensor
    inverse: Tensor
    gamma: Tensor

    def take(self, which: Tensor) -> Descent:
        """Copy some rows."""
        return Descent(*(getattr(self, field.name)[which] for field in fields(self)))

    def put(self, part: Descent) -> None:
        """Write what a part has come to; histories are no longer needed."""
        for name in ("active", "y", "gradient", "direction", "value", "n_iter"):
            getattr(self, name)[part.rows] = getattr(part, name)


def first_state(function: Function, y: Tensor, options: DescentOptions) -> Descent:
    """Evaluate functions where they begin.

    Parameters
    ----------
    function : callable
        Takes unknowns and rows, and returns values, shape=[n_rows], and gradients.
    y : torch.Tensor, shape=[n_rows, ...]
        Unknowns.
    options : DescentOptions
        Length of the history.

    Returns
    -------
    state : Descent
        Functions whose values are not finite are not active.
    """
    rows = torch.arange(len(y), device=y.device)
    value, gradient = function(y, rows)
    history = y.new_zeros(len(y), options.memory, *y.shape[1:])
    return Descent(
        rows=rows,
        active=value.isfinite(),
        y=y.clone(),
        gradient=gradient,
        direction=-gradient,
        value=value,
        step=torch.ones_like(value),
        n_iter=torch.zeros_like(rows),
        falls=value.new_full((len(y), options.patience), torch.inf),
        moves=history,
        changes=history.clone(),
        inverse=value.new_zeros(len(y), options.memory),
        gamma=torch.ones_like(value),
    )


def run(function: Function, y: Tensor, options: DescentOptions, deadline: Deadline) -> Descent:
    """Descend.

    Parameters
    ----------
    function : callable
        Takes unknowns and rows, and returns values, shape=[n_rows], and gradients.
    y : torch.Tensor, shape=[n_rows, ...]
        Unknowns.
    options : DescentOptions
        When steps are taken, and when functions are done.
    deadline : Deadline
        When to take no more steps.

    Returns
    -------
    state : Descent
        What the functions have come to.
    """
    whole = first_state(function, y, options)
    part, recorded, count = whole, None, 0
    on_cpu, pool = y.device.type == "cpu", None
    look, crowd = (1, options.crowd) if on_cpu else (options.look, options.device_crowd)
    while count < options.max_iter and not deadline.passed:
        n_active = int(part.active.sum())
        if not n_active:
            break
        if n_active < crowd * len(part.rows):
            if part is not whole:
                whole.put(part)
            part, recorded = part.take(part.active.nonzero()[:, 0]), None
        if recorded is None:
            # All recordings take their memory from one place: none is replayed after the next.
            if y.device.type == "cuda" and pool is None:
                pool = torch.cuda.graph_pool_handle()
            recorded = _Recorded(function, part, options, pool)
        for _ in range(min(look, options.max_iter - count)):
            recorded.step()
            count += 1
    if part is not whole:
        whole.put(part)
    return whole


def take_step(function: Function, state: Descent, options: DescentOptions) -> None:
    """Try one step of each active function; everything is changed in place.

    Parameters
    ----------
    function : callable
        As that of `run`.
    state : Descent
        The functions.
    options : DescentOptions
        When steps are taken, and when functions are done.
    """
    move = _times(state.step, state.direction)
    trial, limit = state.y + move, state.value + options.accept * _dot(state.gradient, move)
    value, gradient = function(trial, state.rows)
    good = state.active & (value <= limit)
    fall = torch.where(good, 1.0 - value / state.value, torch.inf)
    state.falls.copy_(torch.cat((state.falls[:, 1:], fall[:, None]), dim=1))
    _remember(state, good, move, gradient - state.gradient, options)
    for old, new in ((state.y, trial), (state.gradient, gradient), (state.value, value)):
        old.copy_(_where(good, new, old))
    state.n_iter += good
    shorter = torch.where(state.active, options.shorten, 1.0) * state.step
    state.step.copy_(torch.where(good, 1.0, shorter))
    going = (state.falls.sum(dim=1) > options.rtol) & (state.step > options.shortest)
    state.active.logical_and_(going)
    state.direction.copy_(_directions(state))


class _Recorded:
    """Steps of some functions; on a CUDA device recorded, and then replayed."""

    def __init__(
        self,
        function: Function,
        state: Descent,
        options: DescentOptions,
        pool: Any,
    ) -> None:
        self._parts, self._pool = (function, state, options), pool
        self._left = -1 if pool is None else options.warm_up
        self._graph: torch.cuda.CUDAGraph | None = None

    def step(self) -> None:
        """Take one step."""
        if self._graph is not None:
            self._graph.replay()
            return
        if self._left == 0:
            self._record()
        self._left -= 1
        if self._graph is not None:
            self._graph.replay()
        else:
            take_step(*self._parts)

    def _record(self) -> None:
        """Record a step, which does not take it; a decoder that waits for the CPU has none."""
        device = self._parts[1].y.device
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
        torch.cuda.synchronize(device)
        try:
            with torch.cuda.stream(stream):
                graph.capture_begin(self._pool, capture_error_mode="thread_local")
                try:
                    self._parts[1].step.mul_(1.0)  # torch warns of recordings of nothing
                    take_step(*self._parts)
                finally:
                    graph.capture_end()
        except RuntimeError:
            return
        self._graph = graph


def _remember(
    state: Descent, good: Tensor, move: Tensor, change: Tensor, options: DescentOptions
) -> None:
    product, square = _dot(move, change), _dot(change, change)
    convex = good & (product > options.convex * square)
    for column, new in (
        (state.moves, move),
        (state.changes, change),
        (state.inverse, 1.0 / product),
    ):
        column.copy_(_where(convex, torch.cat((column[:, 1:], new[:, None]), dim=1), column))
    state.gamma.copy_(torch.where(convex, product / square, state.gamma))


def _directions(state: Descent) -> Tensor:
    """Directions of descent: minus the inverse matrices times the gradients."""
    q, shares = state.gradient, []
    history = [part.unbind(dim=1) for part in (state.moves, state.changes, state.inverse)]
    steps = list(zip(*history, strict=True))
    for move, change, inverse in reversed(steps):
        shares.append(inverse * _dot(move, q))
        q = q - _times(shares[-1], change)
    q = _times(state.gamma, q)
    for (move, change, inverse), share in zip(steps, reversed(shares), strict=True):
        q = q + _times(share - inverse * _dot(change, q), move)
    return -_where(_dot(q, state.gradient) > 0.0, q, state.gradient)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar product of each row, shape=[n_rows]."""
    return (a * b).flatten(1).sum(dim=1)


def _times(factor: Tensor, rows: Tensor) -> Tensor:
    """Multiply each row by its factor."""
    return factor.view(-1, *[1] * (rows.ndim - 1)) * rows


def _where(good: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Choose row by row."""
    return torch.where(good.view(-1, *[1] * (old.ndim - 1)), new, old)
