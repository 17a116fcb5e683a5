"""Embeddings of distributions against their Fisher information, by sums and integrals."""

import math
from types import MappingProxyType

import pytest
import torch
from torch.distributions import (
    Binomial,
    Cauchy,
    Exponential,
    Gamma,
    Geometric,
    Independent,
    Laplace,
    LogNormal,
    Multinomial,
    NegativeBinomial,
    Normal,
    Poisson,
    StudentT,
    VonMises,
)

from geomstats_vae.immersions import Decoder, DecoderError, DecoderWarning, embedding, mean_std

Z = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
T = torch.tensor([0.3, 2.0, 9.0], dtype=torch.float64)
COUNTS = torch.arange(1500.0, dtype=torch.float64)
# Points and weights of integrals over the line: x = sinh(pi / 2 sinh(s)) makes tails decay fast.
S = torch.linspace(-3.0, 3.0, 1501, dtype=torch.float64)
LINE = torch.sinh(math.pi / 2.0 * torch.sinh(S))
LINE_WEIGHTS = math.pi / 2.0 * torch.cosh(math.pi / 2.0 * torch.sinh(S)) * torch.cosh(S) * 4e-3
# The same of the positive half of the line.
HALF = LINE.exp().clamp(1e-300, 1e300)
HALF_WEIGHTS = HALF * LINE_WEIGHTS
TURN = torch.linspace(-math.pi, math.pi, 2001, dtype=torch.float64)[:-1]


def location_of(z):
    return torch.stack((z[:, 0], z[:, 0] * z[:, 1], z.sum(1).sin()), dim=1)


def positive_of(z):
    return location_of(z).exp()


def share_of(z):
    return torch.sigmoid(location_of(z))


class Scvi(torch.distributions.Distribution):
    """A negative binomial distribution with the attributes of scvi-tools' own."""

    arg_constraints = MappingProxyType({})

    def __init__(self, mu, theta, zi_logits=None):
        super().__init__(validate_args=False)
        self.mu, self.theta = torch.broadcast_tensors(mu, theta)
        if zi_logits is not None:
            self.zi_logits = zi_logits

    def log_prob(self, x):
        m, t = self.mu, self.theta
        choose = torch.lgamma(x + t) - torch.lgamma(t) - torch.lgamma(x + 1.0)
        return choose + t * (t / (t + m)).log() + x * (m / (t + m)).log()


class ScviMixture(torch.distributions.Distribution):
    """A mixture with the attributes of scvi-tools' own."""

    arg_constraints = MappingProxyType({})

    def __init__(self, mu1, mu2, theta1, mixture_logits):
        super().__init__(validate_args=False)
        self.mu1, self.mu2, self.theta1, self.mixture_logits = torch.broadcast_tensors(
            mu1, mu2, theta1, mixture_logits
        )


# Parameter of a code, distribution of parameters, points x of the data and weights of the sum.
FLAT = {
    "poisson": (positive_of, Poisson, COUNTS, 1.0),
    "negative binomial": (
        lambda z: 10.0 * share_of(z),
        lambda m: NegativeBinomial(T, logits=m.log() - T.log()),
        COUNTS,
        1.0,
    ),
    "negative binomial of mu and theta": (
        lambda z: 10.0 * share_of(z),
        lambda m: Scvi(m, T),
        COUNTS,
        1.0,
    ),
    "geometric": (share_of, Geometric, COUNTS, 1.0),
    "binomial": (share_of, lambda p: Binomial(7, probs=p), COUNTS[:8], 1.0),
    "gamma": (
        positive_of,
        lambda m: Gamma(T + 1.0, (T + 1.0) / m),
        HALF,
        HALF_WEIGHTS,
    ),
    "exponential": (
        positive_of,
        Exponential,
        HALF,
        HALF_WEIGHTS,
    ),
    "laplace": (location_of, lambda m: Laplace(m, T), HALF, 2.0 * HALF_WEIGHTS),
    "student": (location_of, lambda m: StudentT(T, m, 2.0), LINE, LINE_WEIGHTS),
    "cauchy": (location_of, lambda m: Cauchy(m, T), LINE, LINE_WEIGHTS),
    "log-normal": (
        location_of,
        lambda m: LogNormal(m, T),
        HALF,
        HALF_WEIGHTS,
    ),
    "von mises": (location_of, lambda m: VonMises(m, T), TURN, math.pi / 1000.0),
}


# Here points are relative to the location: densities have a kink there, or heavy tails.
CENTERED = ("laplace", "student", "cauchy")


def information(distribute, parameter, x, weights, centered):
    """Fisher information of each parameter: the sum or integral of p (d log p)^2."""
    leaf = parameter.detach().clone().requires_grad_()
    found = torch.empty_like(parameter)
    for i, j in torch.cartesian_prod(*map(torch.arange, parameter.shape)).tolist():
        at = x + leaf[i, j].detach() if centered else x
        values = leaf[i, j] * torch.ones_like(at)
        grid = values[:, None].expand(-1, 3)
        distribution = distribute(grid)
        distribution._validate_args = False
        log_p = distribution.log_prob(at[:, None].expand(-1, 3))[:, j]
        (slope,) = torch.autograd.grad(log_p.sum(), values)
        terms = log_p.detach().exp() * slope**2 * weights
        found[i, j] = terms.nan_to_num(0.0, 0.0, 0.0).sum()
    return found


@pytest.mark.parametrize("name", FLAT)
def test_the_metric_is_fisher_information(name):
    parameter_of, distribute, x, weights = FLAT[name]
    immersion = Decoder(lambda z: distribute(parameter_of(z)), 2).immersion()
    slopes = torch.func.vmap(torch.func.jacrev(lambda z: parameter_of(z[None])[0]))(Z)
    scale = information(distribute, parameter_of(Z), x, weights, name in CENTERED)
    expected = slopes.transpose(1, 2) @ (scale[:, :, None] * slopes)
    # Torch's density on the circle has Bessel functions that are right to 1e-7.
    torch.testing.assert_close(immersion.metric(Z), expected, rtol=1e-6, atol=1e-9)
    assert not immersion.has_std


@pytest.mark.parametrize("kind", ["total_count and logits", "total_count and probs", "mu, theta"])
def test_negative_binomial_counts_have_their_formula(kind):
    """J' diag(t / (m (t + m))) J with t = (0.3, 2, 9), whatever the parametrisation."""

    def decode(z):
        m = positive_of(z)
        if kind == "mu, theta":
            return Scvi(m, T)
        if kind == "total_count and probs":
            return NegativeBinomial(T, probs=m / (m + T))
        return NegativeBinomial(T, logits=m.log() - T.log())

    decoder = Decoder(decode, 2)
    m = positive_of(Z)
    slopes = torch.func.vmap(torch.func.jacrev(lambda z: positive_of(z[None])[0]))(Z)
    expected = slopes.transpose(1, 2) @ ((T / (m * (T + m)))[:, :, None] * slopes)
    torch.testing.assert_close(decoder.immersion().metric(Z), expected, rtol=1e-10, atol=1e-12)
    mean, std = decoder.mean_std(Z)
    torch.testing.assert_close(mean, m)
    torch.testing.assert_close(std, (m + m**2 / T).sqrt())


def test_multinomial_shares_have_n_times_the_information_of_one_trial():
    def decode(z):
        return Multinomial(7, logits=location_of(z))

    slopes = torch.func.vmap(torch.func.jacrev(lambda z: location_of(z[None])[0].softmax(0)))(Z)
    p = location_of(Z).softmax(1)
    expected = slopes.transpose(1, 2) @ ((7.0 / p)[:, :, None] * slopes)
    decoder = Decoder(decode, 2)
    torch.testing.assert_close(decoder.immersion().metric(Z), expected, rtol=1e-10, atol=1e-12)
    mean, std = decoder.mean_std(Z)
    torch.testing.assert_close(mean, 7.0 * p)
    torch.testing.assert_close(std, (7.0 * p * (1.0 - p)).sqrt())


MOMENTS = {
    "poisson": (lambda m: Poisson(m), lambda m: (m, m.sqrt())),
    "binomial": (
        lambda m: Binomial(7, logits=m.log()),
        lambda m: (7.0 * m / (1.0 + m), (7.0 * m).sqrt() / (1.0 + m)),
    ),
    "geometric": (lambda m: Geometric(1.0 / (1.0 + m)), lambda m: (m, (m + m * m).sqrt())),
    "gamma": (lambda m: Gamma(T, T / m), lambda m: (m, m / T.sqrt())),
    "exponential": (lambda m: Exponential(1.0 / m), lambda m: (m, m)),
    "laplace": (lambda m: Laplace(m, T), lambda m: (m, (2.0**0.5 * T).expand_as(m))),
    "student": (
        lambda m: StudentT(T + 3.0, m, 2.0),
        lambda m: (m, (2.0 * ((T + 3.0) / (T + 1.0)).sqrt()).expand_as(m)),
    ),
    "log-normal": (
        lambda m: LogNormal(m.log(), 0.5),
        lambda m: (m * math.exp(0.125), m * math.exp(0.125) * math.expm1(0.25) ** 0.5),
    ),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_means_and_deviations_are_those_of_the_data(name):
    distribute, moments = MOMENTS[name]
    decoder = Decoder(lambda z: Independent(distribute(positive_of(z)), 1), 2)
    for found, expected in zip(decoder.mean_std(Z), moments(positive_of(Z)), strict=True):
        torch.testing.assert_close(found, expected)
    expected = torch.cat(moments(positive_of(Z)), dim=1)
    study = Decoder(lambda z: distribute(positive_of(z)), 2, likelihood="expected").immersion()
    torch.testing.assert_close(study(Z), expected)
    assert study.has_std


def test_von_mises_deviation_is_the_circular_one():
    """sqrt(-2 log R), with R = E cos(x - m) by a sum over the circle."""
    k = torch.tensor([0.2, 1.0, 5.0, 50.0, 2000.0], dtype=torch.float64)
    density = torch.exp(k[:, None] * (TURN.cos() - 1.0))
    mean_cosine = (density * TURN.cos()).sum(1) / density.sum(1)
    _, std = mean_std(VonMises(torch.zeros_like(k), k))
    torch.testing.assert_close(std, (-2.0 * mean_cosine.log()).sqrt())
    # A narrow distribution on the circle is nearly normal, of variance 1 / k.
    torch.testing.assert_close(std[-1], k[-1] ** -0.5, rtol=1e-3, atol=0.0)


def test_zero_inflated_counts_are_the_negative_binomial_part_with_a_warning():
    def decode(z):
        return Scvi(positive_of(z), T, zi_logits=location_of(z))

    with pytest.warns(DecoderWarning, match="zero-inflated counts are embedded by the neg") as said:
        decoder = Decoder(decode, 2)
    assert len(said) == 1
    plain = Decoder(lambda z: Scvi(positive_of(z), T), 2)
    torch.testing.assert_close(decoder.immersion().metric(Z), plain.immersion().metric(Z))
    # Moments by the sum over the data.
    mean, std = decoder.mean_std(Z)
    x = COUNTS[:, None, None]
    present = torch.sigmoid(-location_of(Z))
    p = present * Scvi(positive_of(Z), T).log_prob(x).exp()
    torch.testing.assert_close(mean, (x * p).sum(0))
    torch.testing.assert_close(std, ((x * x * p).sum(0) - (x * p).sum(0) ** 2).sqrt())
    # The study's metric leaves nothing out, and says nothing.
    assert Decoder(decode, 2, likelihood="expected").immersion()(Z).shape == (4, 6)


def test_mixtures_of_counts_are_embedded_by_their_mean():
    def decode(z):
        return ScviMixture(positive_of(z), 2.0 + positive_of(z), T, location_of(z))

    with pytest.warns(DecoderWarning, match="mixture of negative binomials"):
        decoder = Decoder(decode, 2)
    first, share = positive_of(Z), torch.sigmoid(location_of(Z))
    expected = first + 2.0 * (1.0 - share)
    torch.testing.assert_close(decoder.immersion()(Z), embedding(Scvi(expected, T)))
    mean, std = decoder.mean_std(Z)
    torch.testing.assert_close(mean, expected)
    x = COUNTS[:, None, None]
    p = share * Scvi(first, T).log_prob(x).exp()
    p = p + (1.0 - share) * Scvi(first + 2.0, T).log_prob(x).exp()
    torch.testing.assert_close(std, ((x * x * p).sum(0) - mean**2).sqrt())


VARYING = {
    "Gamma": ("concentration", lambda z: Gamma(positive_of(z), 1.0)),
    "Laplace": ("scale", lambda z: Laplace(location_of(z), positive_of(z))),
    "LogNormal": ("scale", lambda z: LogNormal(location_of(z), positive_of(z))),
    "StudentT": ("df", lambda z: StudentT(2.5 + positive_of(z), location_of(z))),
    "NegativeBinomial": (
        "total_count",
        lambda z: NegativeBinomial(positive_of(z), logits=location_of(z)),
    ),
    "VonMises": ("concentration", lambda z: VonMises(location_of(z), positive_of(z))),
    "Scvi": ("theta", lambda z: Scvi(positive_of(z), positive_of(z))),
}


@pytest.mark.parametrize("kind", VARYING)
def test_parameters_that_are_not_constant_are_refused(kind):
    name, decode = VARYING[kind]
    with pytest.raises(DecoderError, match=rf"(?s)constant {name} of {kind}, got.*'expected'"):
        Decoder(decode, 2)
    study = Decoder(decode, 2, likelihood="expected")
    mean, std = study.mean_std(Z)
    torch.testing.assert_close(study.immersion()(Z), torch.cat((mean, std), dim=1))


def test_parameters_that_change_far_from_the_origin_are_refused_at_the_data():
    """At codes near 3 the scale is no longer 1; `check` is what spaces with points call."""
    decoder = Decoder(lambda z: Laplace(location_of(z), 1.0 + torch.relu(z[:, :1] - 2.9)), 2)
    decoder.check(Z)
    with pytest.raises(DecoderError, match="constant scale of Laplace"):
        decoder.check(torch.cat((Z, Z + 4.0)))


def test_rates_down_to_1e_minus_30_keep_their_metric():
    """With m = exp(c + z) the information of z is m, t m / (t + m) and m (1 - p)."""
    for log_rate in (-69.0, -300.0, 40.0):
        z = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        rate = torch.exp(log_rate + z)
        cases = [(lambda z, c=log_rate: Poisson(torch.exp(c + z)), rate)]
        cases += [
            (
                lambda z, c=log_rate: NegativeBinomial(2.0, logits=c + z - math.log(2.0)),
                rate / (1.0 + 0.5 * rate),
            ),
            (
                lambda z, c=log_rate: Scvi(torch.exp(c + z), torch.tensor(2.0).double()),
                rate / (1.0 + 0.5 * rate),
            ),
        ]
        for decode, expected in cases:
            immersion = Decoder(decode, 1).immersion()
            found = immersion.metric(z)[:, 0]
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=0.0)
            assert immersion.jet(z, z).derivatives.isfinite().all()


def test_rates_of_zero_have_a_finite_metric():
    decoder = Decoder(lambda z: Poisson(torch.relu(z)), 2)
    assert decoder.immersion().metric(torch.tensor([[-1.0, 2.0]]).double()).isfinite().all()


def test_a_distribution_without_moments_or_entry_is_refused():
    with pytest.raises(DecoderError, match=r"with an embedding, or with a mean and a stddev"):
        Decoder(lambda z: Nothing(z), 2)


class Nothing(torch.distributions.Distribution):
    arg_constraints = MappingProxyType({})

    def __init__(self, z):
        super().__init__(validate_args=False)


def test_a_gaussian_keeps_the_expected_metric_with_a_fixed_deviation():
    decoder = Decoder(lambda z: Normal(location_of(z), 2.0), 2)
    torch.testing.assert_close(decoder.immersion()(Z)[:, :3], location_of(Z))
