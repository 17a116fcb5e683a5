"""The formulas of the objectives, against torch's distributions."""

import math

import torch
from torch import nn
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from geomstats_vae.models.objectives import (
    NegativeElbo,
    ResidualLikelihood,
    gaussian_log_density,
    kl_divergence,
    sample_codes,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_kl_divergence():
    mean, std = normal(5, 2), normal(5, 2, seed=1).exp()
    expected = torch_kl(Normal(mean, std), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_divergence(mean, std), expected)


def test_gaussian_log_density():
    residuals, std = normal(5, 3), normal(5, 3, seed=1).exp()
    expected = Normal(0.0, std).log_prob(residuals).sum(-1)
    torch.testing.assert_close(gaussian_log_density(residuals**2, std), expected)


def test_sampled_codes_have_the_encoders_moments():
    x = torch.zeros(20000, 1, dtype=torch.float64)

    def encoder(x):
        return x + 3.0, torch.full_like(x, 0.5)

    z = sample_codes(encoder, x, torch.Generator().manual_seed(0))
    assert abs(z.mean().item() - 3.0) < 0.02
    assert abs(z.std().item() - 0.5) < 0.02


class Model(nn.Module):
    """Encoder and decoder with nothing to learn but a constant."""

    def __init__(self):
        super().__init__()
        self.decoders = [self.decoder]
        self.constant = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def encoder(self, x):
        return x[:, :2], 0.5 + 0.0 * x[:, :2]

    def decoder(self, z):
        return self.constant + 0.0 * z.sum(-1, keepdim=True)


def negative_elbo(x, **options):
    defaults = {"warmup_epochs": 4, "variance_floor": 1e-6, "unit": 1.0}
    generator = torch.Generator().manual_seed(0)
    return NegativeElbo(Model(), x, x, (x, x), **{**defaults, **options}, generator=generator)


class TestNegativeElbo:
    def test_is_the_likelihood_at_the_optimal_noise_plus_the_divergence(self):
        x = normal(50, 3)
        objective = negative_elbo(x)
        list(objective.epoch_losses([torch.arange(50)], 10))
        std = x.square().mean().sqrt()
        kl = kl_divergence(x[:, :2], torch.tensor(0.5, dtype=x.dtype)).sum(1)
        expected = (-Normal(0.0, std).log_prob(x).sum(1) + kl).mean().item()
        assert math.isclose(objective.train_loss, expected, rel_tol=1e-5)
        assert math.isclose(objective.held_out_loss(), expected, rel_tol=1e-5)

    def test_warm_up_raises_the_weight_of_the_divergence(self):
        x = normal(50, 3)
        losses = [
            next(negative_elbo(x).epoch_losses([torch.arange(50)], epoch)).item()
            for epoch in range(6)
        ]
        steps = torch.tensor(losses).diff()
        torch.testing.assert_close(steps[:3], steps[:1].expand(3), rtol=1e-4, atol=0)
        assert steps[0] > 0
        assert not steps[3:].any()

    def test_unit_of_the_data_shifts_the_log_density(self):
        x = normal(50, 3)
        values = []
        for unit in (1.0, 10.0):
            objective = negative_elbo(x, unit=unit)
            list(objective.epoch_losses([torch.arange(50)], 10))
            values.append(objective.held_out_loss())
        assert math.isclose(values[1] - values[0], 3 * math.log(10.0))


def test_residual_likelihood_is_lowest_at_the_true_std():
    x = 0.3 * normal(4000, 2)
    scale = nn.Parameter(torch.ones(2, dtype=torch.float64))
    module = Model()

    def std(z):
        return scale.expand(len(z), 2)

    objective = ResidualLikelihood(
        std, module.encoder, torch.zeros_like, x, x, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(objective.mean_squared_residuals(), x.square().mean(0))
    losses = []
    for value in (0.2, 0.3, 0.4):
        scale.data.fill_(value)
        losses.append(objective.held_out_loss())
        batches = torch.arange(4000).split(1000)
        epoch = [loss.item() for loss in objective.epoch_losses(batches, 0)]
        assert math.isclose(sum(epoch) / 4, losses[-1], rel_tol=1e-9)
    assert min(losses) == losses[1]
