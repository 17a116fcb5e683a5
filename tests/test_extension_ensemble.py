"""An ensemble of decoders from outside the package: members side by side, with the mean metric."""

import numpy as np
import torch
from torch import nn

from geomstats_vae import GaussianDecoder, LatentSpace, RBFPrecision
from geomstats_vae.immersions import ConcatenatedImmersion, Decoder
from tests.manifolds.spaces import array, host

CODES = np.random.default_rng(0).normal(size=(80, 2))
START, END = CODES[:6], CODES[6:12]


def member(seed):
    """A decoder with a variance, each with its own weights."""
    generator = torch.Generator().manual_seed(seed)
    mean = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 5)).double()
    with torch.no_grad():
        for part in mean.parameters():
            part.copy_(torch.randn(part.shape, generator=generator))
    weights = torch.rand(5, 6, generator=generator).double() + 0.1
    return GaussianDecoder(mean, RBFPrecision(CODES[:6], np.ones(6), weights, 0.1)).eval()


def ensemble(decoders):
    members = [Decoder(decoder, 2).immersion() for decoder in decoders]
    return ConcatenatedImmersion(members, weight=len(members) ** -0.5)


def metric_of(decoder):
    return host(LatentSpace(decoder, dim=2).metric.metric_matrix(array(CODES)))


def test_the_metric_is_the_mean_of_the_members():
    decoders = [member(seed) for seed in range(3)]
    mean = np.mean([metric_of(decoder) for decoder in decoders], axis=0)
    np.testing.assert_allclose(metric_of(ensemble(decoders)), mean, rtol=1e-12, atol=1e-12)


def test_two_copies_of_a_decoder_are_that_decoder():
    single, double = member(0), ensemble([member(0)] * 2)
    np.testing.assert_allclose(metric_of(double), metric_of(single), rtol=1e-12, atol=1e-12)
    ends = array(START), array(END)
    lengths = [host(LatentSpace(part, dim=2).metric.dist(*ends)) for part in (single, double)]
    np.testing.assert_allclose(*lengths, rtol=1e-6)


def test_geodesics_are_found():
    immersion = ensemble([member(seed) for seed in range(3)])
    space = LatentSpace(immersion, dim=2, points=array(CODES))
    path = space.metric.solve_geodesic(array(START), array(END))
    assert host(path.converged).all()
    line = START[:, None] + np.linspace(0.0, 1.0, 2000)[:, None] * (END - START)[:, None]
    chords = immersion(torch.as_tensor(line).flatten(0, 1)).unflatten(0, line.shape[:2]).diff(dim=1)
    assert (host(path.length) <= 1.001 * chords.norm(dim=2).sum(dim=1).detach().numpy()).all()
