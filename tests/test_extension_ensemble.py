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
    immersion = ConcatenatedImmersion(members, weight=len(members) ** -0.5)
    return LatentSpace(immersion, dim=2, points=array(CODES))


def metric_of(space):
    return host(space.metric.metric_matrix(array(CODES)))


def test_the_metric_is_the_mean_of_the_members():
    decoders = [member(seed) for seed in range(3)]
    alone = [metric_of(LatentSpace(decoder, 2, points=array(CODES))) for decoder in decoders]
    np.testing.assert_allclose(
        metric_of(ensemble(decoders)), np.mean(alone, axis=0), rtol=1e-12, atol=1e-12
    )


def test_two_copies_of_a_decoder_are_that_decoder():
    single, double = LatentSpace(member(0), 2, points=array(CODES)), ensemble([member(0)] * 2)
    np.testing.assert_allclose(metric_of(double), metric_of(single), rtol=1e-12, atol=1e-12)
    lengths = [host(s.metric.dist(array(START), array(END))) for s in (single, double)]
    np.testing.assert_allclose(*lengths, rtol=1e-6)


def test_geodesics_are_found():
    path = ensemble([member(seed) for seed in range(3)]).metric.solve_geodesic(
        array(START), array(END)
    )
    assert host(path.converged).all()
    assert (host(path.length) > 0.0).all()
