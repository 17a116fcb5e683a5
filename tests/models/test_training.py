"""The training loop: best state, early stopping, interrupts, divergence."""

import math
import signal

import numpy as np
import pytest
import torch
from torch import nn

from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.models.training import TrainingOptions, train
from tests.geodesics.test_deadline import Steps

OPTIONS = TrainingOptions(
    max_epochs=20, batch_size=4, learning_rate=0.1, weight_decay=0.0, patience=5, warmup_epochs=3
)


class Script:
    """An objective with a given held-out loss for every epoch."""

    def __init__(self, module, losses):
        self.module, self.losses = module, iter(losses)
        self.states, self.rows = [], []

    def epoch_losses(self, batches, epoch):
        for rows in batches:
            self.rows.append(rows)
            yield self.module.weight.square().sum()
        self.train_loss = 0.0

    def held_out_loss(self):
        self.states.append(self.module.weight.detach().clone())
        loss = next(self.losses)
        if loss == "interrupt":
            signal.raise_signal(signal.SIGINT)
        return loss


def run(losses, options=OPTIONS, **arguments):
    module = nn.Linear(2, 1, bias=False)
    nn.init.ones_(module.weight)
    script = Script(module, losses)
    generator = torch.Generator().manual_seed(0)
    return module, script, lambda: train(module, script, 10, options, generator, **arguments)


def test_keeps_the_best_state_and_stops_after_patience():
    module, script, fit = run([3.0, 2.0, 2.5, 1.0, 4.0, 1.5, 1.2, 1.1, 1.05, 0.1])
    result = fit()
    assert result.best_epoch == 3
    assert result.held_out_loss == [3.0, 2.0, 2.5, 1.0, 4.0, 1.5, 1.2, 1.1, 1.05]
    assert not result.interrupted
    assert torch.equal(module.weight, script.states[3])


def test_patience_does_not_run_during_the_warm_up():
    _, _, fit = run([1.0] + [2.0] * 19)
    assert len(fit().held_out_loss) == OPTIONS.warmup_epochs + OPTIONS.patience + 1


def test_every_row_once_an_epoch():
    _, script, fit = run([float(20 - i) for i in range(20)])
    assert len(fit().held_out_loss) == 20
    assert [len(rows) for rows in script.rows[:3]] == [4, 4, 2]
    for epoch in range(20):
        rows = torch.cat(script.rows[3 * epoch : 3 * epoch + 3])
        assert sorted(rows.tolist()) == list(range(10))


def test_interrupt_keeps_the_best_state():
    module, script, fit = run([3.0, 1.0, 2.0, "interrupt"])
    result = fit()
    assert result.interrupted
    assert result.best_epoch == 1
    assert torch.equal(module.weight, script.states[1])


def test_interrupt_before_the_first_epoch_ends_is_raised():
    _, _, fit = run(["interrupt"])
    with pytest.raises(KeyboardInterrupt):
        fit()


def test_divergence():
    _, _, fit = run([math.nan])
    with pytest.raises(FloatingPointError, match=r"got nan: .*reduce learning_rate"):
        fit()
    module, script, fit = run([1.0, math.inf])
    assert fit().best_epoch == 0
    assert torch.equal(module.weight, script.states[0])


def test_learning_rate_is_constant_then_falls_to_zero():
    rates = [OPTIONS.learning_rate_at(epoch) for epoch in range(21)]
    assert rates[:4] == [0.1] * 4
    assert (np.diff(rates[3:]) < 0).all()
    assert rates[-1] == 0.0


def test_weight_decay_is_a_prior_on_weights_that_fades_with_data():
    # Minimum of (w - 1)^2 + weight_decay / (2 n) w^2, and of (b - 1)^2.
    class Quadratic(Script):
        def epoch_losses(self, batches, epoch):
            for _ in batches:
                yield (self.module.weight - 1.0).square().sum() + (self.module.bias - 1.0).square()
            self.train_loss = 0.0

    options = TrainingOptions(400, 10, 0.05, weight_decay=20.0, patience=400)
    module = nn.Linear(1, 1)
    script = Quadratic(module, [float(-i) for i in range(400)])
    train(module, script, 10, options, torch.Generator().manual_seed(0))
    assert math.isclose(module.weight.item(), 0.5, rel_tol=1e-3)
    assert math.isclose(module.bias.item(), 1.0, rel_tol=1e-3)


def test_progress_bar_only_when_verbose(capsys):
    run([1.0] * 20)[2]()
    assert capsys.readouterr().err == ""
    run([1.0] * 20, desc="A stage", verbose=True)[2]()
    assert "A stage" in capsys.readouterr().err


def test_time_is_over_in_an_epoch_whose_state_counts(monkeypatch):
    monkeypatch.setattr("geomstats_vae.geodesics.deadline.time", Steps(6))
    module, script, fit = run([3.0, 1.0, 2.0], deadline=Deadline.after(1.0))
    result = fit()
    assert result.out_of_time
    assert result.stopped
    assert not result.interrupted
    assert len(result.held_out_loss) == 2
    assert result.best_epoch == 1
    assert torch.equal(module.weight, script.states[1])
    assert 3 < len(script.rows) < 6  # of three a whole epoch


def test_no_time_is_one_step(monkeypatch):
    monkeypatch.setattr("geomstats_vae.geodesics.deadline.time", Steps(2))
    module, script, fit = run([3.0, 1.0], deadline=Deadline.after(1.0))
    assert fit().best_epoch == 0
    assert len(script.rows) == 1
    assert torch.equal(module.weight, script.states[0])
