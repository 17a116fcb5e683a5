"""Embeddings of distributions are Fisher-Rao's; means and standard deviations are the data's."""

import pytest
import torch
from torch.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    Laplace,
    Normal,
    OneHotCategorical,
)

from geomstats_vae.immersions import AutodiffImmersion, Decoder, DecoderError, embedding, mean_std

Z = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def logits_of(z):
    return torch.stack((z[:, 0], z[:, 1], z[:, 0] * z[:, 1], z.sum(1).sin()), dim=1)


def p_of(z):
    return torch.sigmoid(logits_of(z))


def softmax_of(z):
    return torch.softmax(logits_of(z), dim=-1)


def fisher(parameter_of, information):
    """J' diag(information) J."""
    p, slopes = AutodiffImmersion(parameter_of, 2).jacobian(Z)
    return (slopes * information(p)[:, None]) @ slopes.transpose(1, 2)


# Decoder, its mean, its standard deviation, its Fisher information matrix.
DISCRETE = {
    "bernoulli": (
        lambda z: Bernoulli(logits=logits_of(z)),
        p_of,
        lambda p: 1.0 / (p * (1.0 - p)),
    ),
    "bernoulli, probabilities": (
        lambda z: Bernoulli(probs=p_of(z)),
        p_of,
        lambda p: 1.0 / (p * (1.0 - p)),
    ),
    "independent bernoulli": (
        lambda z: Independent(Independent(Bernoulli(logits=logits_of(z)), 0), 1),
        p_of,
        lambda p: 1.0 / (p * (1.0 - p)),
    ),
    "categorical": (lambda z: Categorical(logits=logits_of(z)), softmax_of, lambda p: 1.0 / p),
    "one-hot": (lambda z: OneHotCategorical(logits=logits_of(z)), softmax_of, lambda p: 1.0 / p),
    "independent categorical": (
        lambda z: Independent(Categorical(logits=logits_of(z)[:, None]), 1),
        softmax_of,
        lambda p: 1.0 / p,
    ),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_the_metric_is_fisher_information(name):
    decode, parameter_of, information = DISCRETE[name]
    immersion = Decoder(decode, 2).immersion()
    expected = fisher(parameter_of, information)
    torch.testing.assert_close(immersion.metric(Z), expected, rtol=1e-10, atol=1e-12)
    assert not immersion.has_std


@pytest.mark.parametrize("name", DISCRETE)
def test_the_mean_and_std_are_those_of_the_data(name):
    decode, parameter_of, _ = DISCRETE[name]
    mean, std = Decoder(decode, 2).mean_std(Z)
    p = parameter_of(Z)
    torch.testing.assert_close(mean, p)
    torch.testing.assert_close(std, (p * (1.0 - p)).sqrt())


@pytest.mark.parametrize(("kind", "likelihood"), [(Normal, None), (Laplace, "expected")])
def test_other_distributions_give_mean_and_std(kind, likelihood):
    def decode(z):
        return Independent(kind(logits_of(z), 1.0 + z[:, :1] ** 2), 1)

    decoder = Decoder(decode, 2, likelihood=likelihood)
    mean, std = logits_of(Z), (1.0 + Z[:, :1] ** 2).expand(-1, 4)
    std = std * (2.0**0.5 if kind is Laplace else 1.0)
    for found, expected in zip(decoder.mean_std(Z), (mean, std), strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(decoder.immersion()(Z), torch.cat((mean, std), dim=1))
    torch.testing.assert_close(decoder.immersion().std_norm(Z)[0], std.norm(dim=1))


def test_bernoulli_s_embedding_is_twice_the_arc_sine():
    expected = 2.0 * torch.asin(p_of(Z).sqrt())
    torch.testing.assert_close(embedding(Bernoulli(probs=p_of(Z))), expected, rtol=1e-6, atol=1e-6)


def test_saturated_outputs_keep_a_finite_metric():
    for kind in (Bernoulli, Categorical):
        decoder = Decoder(lambda z, kind=kind: kind(logits=200.0 * logits_of(z)), 2)
        assert decoder.immersion().metric(Z).isfinite().all()
        assert all(part.isfinite().all() for part in decoder.mean_std(Z))


class Blurred(Normal):
    """A distribution of one's own."""


def test_an_entry_of_one_s_own_serves_its_type_and_subtypes_alone():
    def decode(z):
        return Blurred(logits_of(z), 2.0)

    before = Decoder(decode, 2).immersion()(Z)
    torch.testing.assert_close(before, torch.cat((logits_of(Z), torch.full((4, 4), 2.0)), dim=1))

    @embedding.register
    def _(distribution: Blurred) -> torch.Tensor:
        return distribution.loc / distribution.scale

    after = Decoder(decode, 2).immersion()(Z)
    torch.testing.assert_close(after, logits_of(Z) / 2.0)
    nested = Decoder(lambda z: Independent(decode(z), 1), 2).immersion()(Z)
    torch.testing.assert_close(nested, after)
    assert Decoder(lambda z: Normal(logits_of(z), 2.0), 2).immersion()(Z).shape == (4, 8)
    # The data's mean and standard deviation are not touched.
    torch.testing.assert_close(mean_std(decode(Z))[1], torch.full((4, 4), 2.0).double())


def test_a_likelihood_overrides_the_entries():
    def decode(z):
        return Bernoulli(logits=logits_of(z))

    def halved(distribution):
        return 0.5 * distribution.probs

    decoder = Decoder(decode, 2, likelihood=halved)
    torch.testing.assert_close(decoder.immersion()(Z), 0.5 * p_of(Z))
    torch.testing.assert_close(decoder.mean_std(Z)[0], p_of(Z))


def test_a_likelihood_may_have_a_standard_deviation():
    """Of another width than the mean, and of whatever the decoder returns."""
    decoder = Decoder(
        lambda z: {"loc": logits_of(z), "scale": 1.0 + z[:, :1] ** 2},
        2,
        likelihood=lambda out: (out["loc"], out["scale"]),
    )
    immersion = decoder.immersion()
    assert immersion(Z).shape == (4, 5)
    norm, gradient = immersion.std_norm(Z)
    torch.testing.assert_close(norm, 1.0 + Z[:, 0] ** 2)
    torch.testing.assert_close(gradient, torch.stack((2.0 * Z[:, 0], 0.0 * Z[:, 1]), dim=1))
    # Nothing says what the mean of the data is.
    with pytest.raises(DecoderError, match=r"got dict\. Say how to read it: pass output="):
        decoder.mean_std(Z)


def test_a_likelihood_reads_what_output_returns():
    decoder = Decoder(
        lambda z: {"logits": logits_of(z)},
        2,
        output=lambda out: Bernoulli(logits=out["logits"]),
        likelihood=lambda distribution: distribution.logits,
    )
    torch.testing.assert_close(decoder.immersion()(Z), logits_of(Z))
    torch.testing.assert_close(decoder.mean_std(Z)[0], p_of(Z))


def test_a_likelihood_applies_to_networks_that_would_be_compiled():
    network = torch.nn.Linear(2, 3).eval()
    plain = Decoder(network, 2).immersion()(Z)
    embedded = Decoder(network, 2, likelihood=torch.exp).immersion()
    torch.testing.assert_close(embedded(Z), plain.exp())


@pytest.mark.parametrize(
    ("likelihood", "message"),
    [
        (3, "Expected a callable as likelihood, 'expected' or None, got int"),
        ("expekted", "Expected a callable as likelihood, 'expected' or None, got 'expekted'"),
        (lambda out: "text", "likelihood to return a tensor or a pair of tensors, got str"),
        (lambda out: (out.probs,) * 3, "likelihood to return .*, got tuple"),
    ],
)
def test_bad_likelihoods_are_refused(likelihood, message):
    with pytest.raises(DecoderError, match=message):
        Decoder(lambda z: Bernoulli(logits=logits_of(z)), 2, likelihood=likelihood)
