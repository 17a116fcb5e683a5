"""A likelihood from outside the package: counts, by an entry for the type or by an argument."""

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Poisson

from geomstats_vae import LatentSpace
from geomstats_vae.immersions import embedding
from tests.manifolds.spaces import array, host

CODES = np.random.default_rng(0).normal(size=(60, 2))


def rate_of(z):
    return torch.stack((2.0 + z[:, 0].sin(), (0.5 * z[:, 1]).exp(), 1.0 + (z * z).sum(1)), dim=1)


class Counts(Poisson):
    """The user's own distribution."""


@embedding.register
def _(distribution: Counts) -> torch.Tensor:
    return 2.0 * distribution.rate.sqrt()


def by_entry():
    return LatentSpace(lambda z: Independent(Counts(rate_of(z)), 1), dim=2, points=array(CODES))


def by_argument():
    return LatentSpace(
        lambda z: Poisson(rate_of(z)),
        dim=2,
        points=array(CODES),
        likelihood=lambda distribution: 2.0 * distribution.rate.sqrt(),
    )


def fisher_information(z):
    """sum_j (dm_j dm_j') / m_j, the slopes of the rates written out."""
    slopes = np.zeros((len(z), 3, 2))
    slopes[:, 0, 0] = np.cos(z[:, 0])
    slopes[:, 1, 1] = 0.5 * np.exp(0.5 * z[:, 1])
    slopes[:, 2] = 2.0 * z
    return np.einsum("nji,nj,njk->nik", slopes, 1.0 / rate_of(torch.as_tensor(z)).numpy(), slopes)


@pytest.mark.parametrize("build", [by_entry, by_argument])
def test_the_metric_is_fisher_information(build):
    metric = build().metric
    found = host(metric.metric_matrix(array(CODES)))
    np.testing.assert_allclose(found, fisher_information(CODES), rtol=1e-10, atol=1e-10)
    mean, std = metric.decoder.mean_std(torch.as_tensor(CODES))
    torch.testing.assert_close(mean, rate_of(torch.as_tensor(CODES)))
    torch.testing.assert_close(std, mean.sqrt())
