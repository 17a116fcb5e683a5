"""Ensembles: the mean of the members' metrics, the moments of their mixture, what is refused."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal

from geomstats_vae import EnsembleDecoder, GaussianDecoder, RBFPrecision
from geomstats_vae.immersions import AutodiffImmersion, Decoder, DecoderError, ScaledImmersion


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


Z = draw(20, 2)


def network(seed, n_outputs=5, dim=2):
    module = nn.Sequential(nn.Linear(dim, 8), nn.Tanh(), nn.Linear(8, n_outputs)).double()
    for k, part in enumerate(module.parameters()):
        part.data = draw(*part.shape, seed=100 * seed + k)
    return module.eval()


def gaussian(seed):
    weights = draw(5, 6, seed=seed).abs() + 0.1
    precision = RBFPrecision(draw(6, 2, seed=seed + 1), torch.ones(6), weights, 0.1)
    return GaussianDecoder(network(seed), precision).eval()


def surface(z):
    return torch.stack((z[:, 0], z[:, 1], z.prod(dim=1)), dim=1)


def bernoulli(z):
    return Independent(Bernoulli(logits=surface(z)), 1)


def metric_of(decoder, z=Z):
    return Decoder(decoder, 2).immersion().metric(z)


MEMBERS = {
    "networks": [network(0), network(1), network(2)],
    "gaussian decoders": [gaussian(0), gaussian(1)],
    "one": [gaussian(0)],
    "functions": [surface, lambda z: (surface(z), 1.0 + surface(z) ** 2)],
    "distributions": [bernoulli, lambda z: Normal(surface(z), 1.0 + z[:, :1] ** 2)],
    "several kinds, of several widths": [gaussian(0), surface, network(1, n_outputs=4), bernoulli],
    "an immersion": [Decoder(gaussian(0), 2).immersion(), network(1)],
}


@pytest.mark.parametrize("kind", MEMBERS)
def test_the_metric_is_the_mean_of_the_members(kind):
    members = MEMBERS[kind]
    mean = torch.stack([metric_of(member) for member in members]).mean(dim=0)
    torch.testing.assert_close(metric_of(EnsembleDecoder(members)), mean, rtol=1e-12, atol=1e-12)


def test_members_may_read_their_outputs_by_themselves():
    def wrapped(z):
        return {"image": surface(z)}

    def scaled(output):
        return 3.0 * output["image"]

    first = Decoder(wrapped, 2, output=lambda out: out["image"])
    second = Decoder(wrapped, 2, likelihood=scaled)
    expected = 0.5 * (1.0 + 3.0**2) * metric_of(surface)
    torch.testing.assert_close(metric_of(EnsembleDecoder([first, second])), expected)
    # What is given with the ensemble is for the members that do not say it themselves.
    ensemble = EnsembleDecoder([wrapped, first])
    metric = Decoder(ensemble, 2, likelihood=scaled).immersion().metric(Z)
    torch.testing.assert_close(metric, expected)


def test_an_ensemble_may_be_a_member():
    inner = EnsembleDecoder([network(0), network(1)])
    metric = metric_of(EnsembleDecoder([inner, network(2)]))
    expected = 0.5 * (metric_of(inner) + metric_of(network(2)))
    torch.testing.assert_close(metric, expected, rtol=1e-12, atol=1e-12)


def test_members_keep_their_fast_immersions():
    parts = Decoder(EnsembleDecoder([network(0), gaussian(1)]), 2).immersion().parts
    assert len(parts) == 3  # a mean, and a mean with its standard deviation
    for part in parts:
        assert isinstance(part, ScaledImmersion)
        assert not isinstance(part.immersion, AutodiffImmersion)


@pytest.mark.parametrize("of", [lambda e, z: Decoder(e, 2).mean_std(z), lambda e, z: e(z)])
def test_moments_are_those_of_the_mixture(of):
    """Of the density's grid sums: E x and E x^2 - (E x)^2 of the mean of two normal densities."""
    means, stds = torch.tensor([[-1.0], [0.5]]), torch.tensor([[0.3], [0.8]])
    members = [
        lambda z, m=m, s=s: Normal(m + 0.0 * z[:, :1], s + 0.0 * z[:, :1])
        for m, s in zip(means.double(), stds.double(), strict=True)
    ]
    mean, std = of(EnsembleDecoder(members), Z)
    x = torch.linspace(-12.0, 12.0, 20001, dtype=torch.float64)
    density = Normal(means.double(), stds.double()).log_prob(x).exp().mean(dim=0)
    weight = density / density.sum()
    expected = (weight * x).sum()
    variance = (weight * (x - expected) ** 2).sum()
    torch.testing.assert_close(mean, expected.expand(20, 1), rtol=1e-9, atol=0.0)
    torch.testing.assert_close(std, variance.sqrt().expand(20, 1), rtol=1e-9, atol=0.0)


def test_deterministic_members_have_the_deviation_of_their_disagreement():
    members = [network(seed) for seed in range(3)]
    decoded = torch.stack([member(Z) for member in members])
    mean, std = Decoder(EnsembleDecoder(members), 2).mean_std(Z)
    torch.testing.assert_close(mean, decoded.mean(dim=0))
    torch.testing.assert_close(std, decoded.std(dim=0, correction=0))
    assert not Decoder(EnsembleDecoder([members[0]] * 2), 2).mean_std(Z)[1].any()
    assert Decoder(EnsembleDecoder(members[:1]), 2).mean_std(Z)[1] is None
    assert torch.equal(EnsembleDecoder(members[:1])(Z), members[0](Z))
    torch.testing.assert_close(EnsembleDecoder(members).mean(Z), mean)


def test_members_are_frozen_copies():
    members = [network(0), gaussian(1)]
    ensemble = EnsembleDecoder(members)
    decoder = Decoder(ensemble, 2)
    before = decoder.immersion().metric(Z)
    assert all(member.requires_grad for member in ensemble.parameters())
    with torch.no_grad():
        for parameter in ensemble.parameters():
            parameter.mul_(2.0)
    assert torch.equal(decoder.immersion().metric(Z), before)
    assert not torch.allclose(metric_of(ensemble), before)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda part: pickle.loads(pickle.dumps(part))])
def test_copies_and_pickles_are_the_same(copied):
    ensemble = EnsembleDecoder([gaussian(0), surface, Decoder(network(1, n_outputs=3), 2)])
    before = metric_of(ensemble)
    assert torch.equal(metric_of(copied(ensemble)), before)
    assert torch.equal(copied(Decoder(ensemble, 2)).immersion().metric(Z), before)


def test_single_precision():
    decoder = Decoder(EnsembleDecoder([gaussian(0), surface]), 2)
    single = decoder.immersion(torch.float32, "cpu")
    assert single.dtype == torch.float32
    assert single.metric(Z.float()).dtype == torch.float32
    double = decoder.immersion().metric(Z)
    torch.testing.assert_close(single.metric(Z.float()).double(), double, rtol=1e-4, atol=1e-4)
    assert decoder.immersion() is decoder.immersion(torch.float64)


def test_state_dict_and_mode_are_those_of_the_modules():
    ensemble = EnsembleDecoder([network(0), surface, network(1)])
    assert not ensemble.training
    assert ensemble.members[1] is surface
    other = EnsembleDecoder([network(2), surface, network(3)])
    other.load_state_dict(ensemble.state_dict())
    assert torch.equal(metric_of(other), metric_of(ensemble))
    assert EnsembleDecoder([network(0), network(1).train()]).training
    assert EnsembleDecoder(nn.ModuleList([network(0), network(1)])).members[0](Z).shape == (20, 5)


@pytest.mark.parametrize(
    ("decoders", "message"),
    [
        ([], r"at least one decoder .*, got none"),
        (network(0), r"a list of decoders, got Sequential; pass EnsembleDecoder\(\["),
        (3, "a list of decoders, got int"),
        ([surface, "decoder"], "got str at index 1; pass modules"),
    ],
)
def test_no_decoders_are_refused(decoders, message):
    with pytest.raises(DecoderError, match=message):
        EnsembleDecoder(decoders)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            nn.Sequential(network(1), nn.Dropout()).train(),
            "Decoder 1 of the ensemble.*evaluation mode, got training mode",
        ),
        (network(1, dim=3), "Decoder 1 of the ensemble, counted from 0: .*dim=2"),
        (Decoder(network(1, dim=3), 3), "dim=2, got decoder 1 of the ensemble.* of dim=3"),
        (lambda z: torch.rand(len(z), 2), "Decoder 1 of the ensemble.*random"),
        (
            Decoder(network(1, dim=3), 3).immersion(),
            "Decoder 1 of the ensemble.*dim=2, got one of dimension 3",
        ),
    ],
)
def test_the_member_at_fault_is_named(second, message):
    with pytest.raises(DecoderError, match=message):
        Decoder(EnsembleDecoder([network(0), second]), 2)


def test_means_need_one_number_of_outputs():
    ensemble = EnsembleDecoder([network(0), network(1, n_outputs=4)])
    with pytest.raises(DecoderError, match="got 5, 4 outputs; distances need no such mean"):
        Decoder(ensemble, 2).mean_std(Z)
    immersions = EnsembleDecoder([Decoder(network(0), 2).immersion(), network(0)])
    for mean_std in (immersions, Decoder(immersions, 2).mean_std):
        with pytest.raises(DecoderError, match=r"decoders? to take the mean of"):
            mean_std(Z)
