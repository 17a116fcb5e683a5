"""The training loop: stops early by held-out data, keeps the best state, may be interrupted."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from tqdm import tqdm

from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline

# Seconds that the bar stands still in a long epoch.
_SECONDS_SHOWN = 1.0


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained.

    Attributes
    ----------
    max_epochs : int
        Maximal number of passes over the data.
    batch_size : int
        Rows per step.
    learning_rate : float
        Step of Adam; constant during the warm-up, then falling to zero along a cosine.
    weight_decay : float
        Precision of a Gaussian prior on the weights of linear maps, biases excepted: adds
        weight_decay / (2 n_rows) times their squared norm to the loss per row.
    patience : int
        Stop after this many epochs without a better held-out loss, not counting the warm-up.
    warmup_epochs : int
        Number of epochs of the warm-up.
    warmup : {'layout', 'kl'}
        What changes during the warm-up of the first stage; see `NegativeElbo`.
    """

    max_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int
    warmup_epochs: int = 0
    warmup: str = "layout"

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch.

        Parameters
        ----------
        epoch : int
            Number of the epoch, from zero.

        Returns
        -------
        learning_rate : float
            Learning rate.
        """
        cooling = max(0, epoch - self.warmup_epochs) / max(1, self.max_epochs - self.warmup_epochs)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * cooling))


@dataclass(frozen=True)
class TrainingResult:
    """Losses of a training, and how it ended.

    Attributes
    ----------
    train_loss, held_out_loss : list of float
        Loss of every epoch, in nats per row.
    best_epoch : int
        Epoch of the state that was kept, from zero.
    interrupted : bool
        Whether the user stopped the training.
    out_of_time : bool
        Whether its deadline did; the last epoch may then have fewer steps.
    """

    train_loss: list[float]
    held_out_loss: list[float]
    best_epoch: int
    interrupted: bool
    out_of_time: bool = False

    @property
    def stopped(self) -> bool:
        """Whether the training ended before its time."""
        return self.interrupted or self.out_of_time


class Objective(Protocol):
    """What is minimised.

    Attributes
    ----------
    train_loss : float
        Mean loss of the training rows over the last epoch.
    """

    train_loss: float

    def epoch_losses(self, batches: Iterable[torch.Tensor], epoch: int) -> Iterator[torch.Tensor]:
        """Generate one epoch's losses, a batch of rows each; at the end `train_loss` is theirs."""

    def held_out_loss(self) -> float:
        """Evaluate the loss of the held-out rows, by which epochs are compared."""


class _BestState:
    """The state of a module at its lowest held-out loss."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.epoch, self.loss = -1, math.inf
        self.state: dict[str, torch.Tensor] | None = None

    def keep_if_better(self, epoch: int, loss: float) -> None:
        if loss < self.loss:
            state = {name: t.detach().clone() for name, t in self.module.state_dict().items()}
            # One assignment: an interrupt leaves either the old state or the new one.
            self.epoch, self.loss, self.state = epoch, loss, state

    def restore(self) -> None:
        if self.state is not None:
            self.module.load_state_dict(self.state)


def train(
    module: torch.nn.Module,
    objective: Objective,
    n_rows: int,
    options: TrainingOptions,
    generator: torch.Generator,
    *,
    shares: Mapping[str, float] | None = None,
    deadline: Deadline = NO_LIMIT,
    desc: str = "",
    verbose: bool = False,
) -> TrainingResult:
    """Minimise an objective by Adam, and keep the best state.

    Parameters
    ----------
    module : torch.nn.Module
        What is trained; left in the state of lowest held-out loss.
    objective : Objective
        What is minimised, such as a `NegativeElbo`.
    n_rows : int
        Number of training rows.
    options : TrainingOptions
        How to train.
    generator : torch.Generator
        Source of the order of the rows.
    shares : mapping of str to float, optional
        Weight in the loss of what the named parts of the module are trained by; one for others. A
        part's weight decay gets the same weight.
    deadline : Deadline
        When the training ends, after the step that is under way; there is at least one. The epoch
        counts with the steps that it had.
    desc : str
        Label of the progress bar.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    result : TrainingResult
        Losses, and whether the training was interrupted.

    Raises
    ------
    KeyboardInterrupt
        If the user interrupts before the first epoch has ended; later interrupts end the
        training and are reported in the result.
    FloatingPointError
        If no epoch gave a finite held-out loss.
    """
    best, optimizer = _BestState(module), _optimizer(module, n_rows, options, shares or {})
    train_loss: list[float] = []
    held_out_loss: list[float] = []
    interrupted = out_of_time = False
    try:
        for epoch_train, epoch_held_out in _epochs(
            optimizer, objective, n_rows, options, generator, best, deadline, desc, verbose
        ):
            train_loss.append(epoch_train)
            held_out_loss.append(epoch_held_out)
            if deadline.passed and len(train_loss) < options.max_epochs:
                out_of_time = True
                break
    except KeyboardInterrupt:
        if best.state is None:
            raise
        interrupted = True
    if best.state is None:
        raise FloatingPointError(
            f"Expected a finite held-out loss, got {held_out_loss[-1]}: the training diverged; "
            "reduce learning_rate or check the scale of X."
        )
    best.restore()
    return TrainingResult(train_loss, held_out_loss, best.epoch, interrupted, out_of_time)


def _epochs(
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    n_rows: int,
    options: TrainingOptions,
    generator: torch.Generator,
    best: _BestState,
    deadline: Deadline,
    desc: str,
    verbose: bool,
) -> Iterator[tuple[float, float]]:
    """Train epoch by epoch; generates pairs (training loss, held-out loss)."""
    with tqdm(range(options.max_epochs), desc=desc, unit="epoch", disable=not verbose) as progress:
        for epoch in progress:
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate_at(epoch)
            batches = torch.randperm(n_rows, generator=generator).split(options.batch_size)
            in_time = _in_time(batches, deadline, progress)
            _run_epoch(objective.epoch_losses(in_time, epoch), optimizer)
            loss = objective.held_out_loss()
            best.keep_if_better(epoch, loss)
            progress.set_postfix(loss=f"{loss:.4g}", best=f"{best.loss:.4g}", refresh=False)
            yield objective.train_loss, loss
            start = max(best.epoch, options.warmup_epochs)
            if epoch - start >= options.patience or not math.isfinite(loss):
                return


def _in_time(
    batches: Sequence[torch.Tensor], deadline: Deadline, progress: tqdm
) -> Iterator[torch.Tensor]:
    """Give batches until the time is over, at least one; long epochs show how far they are."""
    shown = time.perf_counter()
    for number, rows in enumerate(batches):
        if number and deadline.passed:
            return
        if time.perf_counter() - shown > _SECONDS_SHOWN:
            progress.set_postfix(step=f"{number}/{len(batches)}")
            shown = time.perf_counter()
        yield rows


def _optimizer(
    module: torch.nn.Module, n_rows: int, options: TrainingOptions, shares: Mapping[str, float]
) -> torch.optim.Optimizer:
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        share = shares.get(name.partition(".")[0], 1.0) if parameter.ndim > 1 else 0.0
        groups.setdefault(share * options.weight_decay / n_rows, []).append(parameter)
    decayed = [{"params": part, "weight_decay": decay} for decay, part in groups.items()]
    return torch.optim.Adam(decayed, lr=options.learning_rate)


def _run_epoch(losses: Iterable[torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
    with torch.enable_grad():
        for loss in losses:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
