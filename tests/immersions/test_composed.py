"""Scaled and concatenated immersions against the functions that they stand for."""

import pickle

import pytest
import torch
from torch import nn

from geomstats_vae.immersions import (
    AutodiffImmersion,
    ConcatenatedImmersion,
    Decoder,
    GaussianDecoder,
    RBFPrecision,
    ScaledImmersion,
    compile_immersion,
)
from tests import surfaces
from tests.immersions.comparisons import assert_linearizes, assert_same_derivatives, draw

Z, V = draw(5, 2)


def network(*layers, seed=0):
    """A chain in double precision, with weights drawn."""
    module = nn.Sequential(*layers).double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for part in module.parameters():
        part.copy_(torch.randn(part.shape, generator=generator))
    return module


def mean_network(seed=0, n_outputs=4):
    """Ends in a linear map of more outputs than inputs: it can be condensed."""
    return network(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, n_outputs), seed=seed)


def precision(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return RBFPrecision(
        torch.randn(6, 2, generator=generator).double(),
        torch.rand(6, generator=generator).double() + 0.2,
        torch.rand(4, 6, generator=generator).double() + 0.1,
        1e-2,
    )


def with_std(z):
    return torch.cat((surfaces.torus(z), 1.0 + z * z), dim=1)


# Each part: an immersion, its function, and the function's standard deviations, if any.
def rbf_decoder(seed=0):
    mean, rbf = mean_network(seed), precision(seed)
    immersion = compile_immersion(GaussianDecoder(mean, rbf).eval(), 2)
    return immersion, lambda z: torch.cat((mean(z), rbf.std(z)), dim=1), rbf.std


def two_networks():
    mean, std = mean_network(1), network(nn.Linear(2, 4), nn.Softplus(), seed=2)
    immersion = compile_immersion(GaussianDecoder(mean, std).eval(), 2)
    return immersion, lambda z: torch.cat((mean(z), std(z)), dim=1), std


def mean_alone():
    mean = mean_network(3)
    return compile_immersion(mean, 2), mean, None


def autodiff(forward_mode=True):
    immersion = AutodiffImmersion(with_std, 2, n_mean=3, forward_mode=forward_mode)
    return immersion, with_std, lambda z: 1.0 + z * z


PARTS = {
    "rbf decoder": rbf_decoder,
    "two networks": two_networks,
    "mean alone": mean_alone,
    "autodiff": autodiff,
    "autodiff in reverse": lambda: autodiff(False),
}
MIXTURES = {
    "one": ["rbf decoder"],
    "two of one": ["rbf decoder", "rbf decoder"],
    "fast ones": ["rbf decoder", "mean alone", "two networks"],
    "with autodiff": ["autodiff", "mean alone", "rbf decoder"],
    "means": ["mean alone", "mean alone"],
}


def concatenated(names, weight=1.0):
    """The immersion, its function, and the function of its standard deviations."""
    immersions, functions, stds = zip(*(PARTS[name]() for name in names), strict=True)
    stds = [std for std in stds if std is not None]

    def function(z):
        return weight * torch.cat([part(z) for part in functions], dim=1)

    def std(z):
        return weight * torch.cat([part(z) for part in stds], dim=1)

    return ConcatenatedImmersion(immersions, weight=weight), function, std if stds else None


def assert_is_std_norm(found, std):
    """The norm and its gradient, by reverse mode."""
    z = Z.clone().requires_grad_()
    norm = std(z).norm(dim=1)
    (gradient,) = torch.autograd.grad(norm.sum(), z)
    torch.testing.assert_close(found[0], norm.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(found[1], gradient, rtol=1e-10, atol=1e-12)


def assert_stands_for(immersion, function, std):
    assert_same_derivatives(immersion, AutodiffImmersion(function, 2), Z, V)
    assert_linearizes(immersion.linearize(Z, V), function, Z, V)
    condensed = immersion.condensed()
    step = condensed(Z[1:]) - condensed(Z[:-1])
    expected = (function(Z[1:]) - function(Z[:-1])).norm(dim=1)
    torch.testing.assert_close(step.norm(dim=1), expected)
    metric, *norm = immersion.metric_and_std_norm(Z)
    torch.testing.assert_close(metric, immersion.metric(Z), rtol=1e-13, atol=1e-13)
    assert immersion.has_std == (std is not None)
    mean_part, std_part = immersion.split_outputs(immersion(Z))
    assert mean_part.shape[1] + std_part.shape[1] == immersion.n_outputs
    if std is None:
        assert not std_part.numel()
        for found in (norm, immersion.std_norm(Z)):
            assert torch.equal(found[0], torch.zeros(5).double())
            assert torch.equal(found[1], torch.zeros(5, 2).double())
        return
    torch.testing.assert_close(std_part, std(Z))
    for found in (norm, immersion.std_norm(Z), condensed.std_norm(Z)):
        assert_is_std_norm(found, std)
    slopes = immersion.split_outputs(immersion.jacobian(Z)[1])[1]
    torch.testing.assert_close(slopes, AutodiffImmersion(std, 2).jacobian(Z)[1])


@pytest.mark.parametrize("name", PARTS)
def test_parts(name):
    assert_stands_for(*PARTS[name]())


@pytest.mark.parametrize("factor", [1.0, 0.3])
@pytest.mark.parametrize("name", PARTS)
def test_scaled(name, factor):
    immersion, function, std = PARTS[name]()
    scaled_std = None if std is None else lambda z: factor * std(z)
    assert_stands_for(
        ScaledImmersion(immersion, factor), lambda z: factor * function(z), scaled_std
    )


@pytest.mark.parametrize("weight", [1.0, 0.3])
@pytest.mark.parametrize("name", MIXTURES)
def test_concatenated(name, weight):
    assert_stands_for(*concatenated(MIXTURES[name], weight))


def test_nested():
    """Scaled ones within concatenated ones within scaled ones."""
    inner, function, std = concatenated(["rbf decoder", "mean alone"], 0.5)
    mean, mean_function, _ = mean_alone()
    outer = ConcatenatedImmersion([ScaledImmersion(inner, 3.0), mean], weight=2.0)

    def composed(z):
        return 0.7 * 2.0 * torch.cat((3.0 * function(z), mean_function(z)), dim=1)

    assert_stands_for(ScaledImmersion(outer, 0.7), composed, lambda z: 0.7 * 6.0 * std(z))


def test_an_ensemble_has_the_mean_metric():
    decoders = [rbf_decoder(seed)[0] for seed in range(4)]
    ensemble = ConcatenatedImmersion(decoders, weight=4**-0.5)
    mean = sum(decoder.metric(Z) for decoder in decoders) / 4
    torch.testing.assert_close(ensemble.metric(Z), mean, rtol=1e-12, atol=1e-12)
    norm = torch.stack([decoder.std_norm(Z)[0] for decoder in decoders])
    torch.testing.assert_close(ensemble.std_norm(Z)[0], (norm**2).mean(0).sqrt())


def test_gradient_where_sigma_vanishes():
    """The norm has no gradient there; zero, as torch has it."""

    def vanishing(z):
        return torch.cat((z, z * z), dim=1)

    part, z = AutodiffImmersion(vanishing, 2, n_mean=2), torch.zeros(1, 2).double()
    for immersion in (part, ConcatenatedImmersion([part, part]), ScaledImmersion(part, 2.0)):
        for norm, gradient in (immersion.std_norm(z), immersion.metric_and_std_norm(z)[1:]):
            assert not norm.any()
            assert not gradient.any()


def test_smooth_is_known_from_the_parts():
    smooth = compile_immersion(network(nn.Linear(2, 3), nn.Tanh()), 2)
    kinked = compile_immersion(network(nn.Linear(2, 3), nn.ReLU()), 2)
    unknown = AutodiffImmersion(surfaces.torus, 2)
    for parts, expected in (
        ([smooth, smooth], True),
        ([smooth, kinked], False),
        ([kinked, unknown], False),
        ([smooth, unknown], None),
    ):
        assert ConcatenatedImmersion(parts).smooth is expected
    assert ScaledImmersion(kinked, 2.0).smooth is False


def test_type_and_device_are_those_of_the_parts():
    single = Decoder(mean_network(), 2).immersion(torch.float32)
    joined = ConcatenatedImmersion([single, single], weight=0.5)
    for immersion in (joined, ScaledImmersion(single, 0.5)):
        assert immersion.dtype == torch.float32
        assert immersion.device == torch.device("cpu")
        jet = immersion.jet(Z.float(), V.float())
        assert jet.tangents.dtype == jet.derivatives.dtype == torch.float32
        assert immersion(Z.float()).dtype == torch.float32
        assert immersion.metric(Z.float()).dtype == torch.float32


def test_an_empty_batch():
    immersion = ScaledImmersion(concatenated(["rbf decoder", "mean alone"], 0.5)[0], 2.0)
    assert immersion(Z[:0]).shape == (0, 12)
    assert immersion.metric(Z[:0]).shape == (0, 2, 2)
    assert immersion.jet(Z[:0], V[:0]).derivatives.shape == (0, 2, 12)
    assert immersion.std_norm(Z[:0])[1].shape == (0, 2)


def test_pickling():
    immersion = ScaledImmersion(concatenated(["rbf decoder", "mean alone"], 0.5)[0], 2.0)
    immersion.condensed()
    again = pickle.loads(pickle.dumps(immersion))
    torch.testing.assert_close(again(Z), immersion(Z), rtol=0, atol=0)


def test_refusals():
    mean = compile_immersion(mean_network(), 2)
    other = AutodiffImmersion(surfaces.paraboloid, 3)
    single = Decoder(mean_network(), 2).immersion(torch.float32)
    with pytest.raises(ValueError, match="at least one immersion"):
        ConcatenatedImmersion([])
    with pytest.raises(ValueError, match=r"got Decoder; .*immersion\(\)"):
        ConcatenatedImmersion([mean, Decoder(mean_network(), 2)])
    with pytest.raises(ValueError, match="got Sequential"):
        ScaledImmersion(mean_network(), 2.0)
    with pytest.raises(ValueError, match=r"one latent dimension.*dim=2.*dim=3"):
        ConcatenatedImmersion([mean, other])
    with pytest.raises(ValueError, match=r"floating-point type.*float32.*float64"):
        ConcatenatedImmersion([mean, single])
    for bad in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="factor > 0 and finite"):
            ScaledImmersion(mean, bad)
        with pytest.raises(ValueError, match="weight > 0 and finite"):
            ConcatenatedImmersion([mean], weight=bad)
