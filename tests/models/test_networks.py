"""The networks: shapes, scaling folded into weights, initial weights from their own generator."""

import pytest
import torch
from torch import nn

from geomstats_vae.models.networks import (
    ACTIVATIONS,
    StdNetwork,
    absorb_input_scaling,
    absorb_output_scaling,
    build_decoder,
    build_encoder,
    freeze,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_shapes_and_mirrored_layers(generator, activation):
    options = {"dtype": torch.float64, "generator": generator}
    mean, std = build_encoder(7, 2, (5, 3), activation, **options)(normal(4, 7))
    assert mean.shape == std.shape == (4, 2)
    assert (std > 0).all()
    decoder = build_decoder(7, 2, (5, 3), activation, bounded=True, **options)
    widths = [layer.out_features for layer in decoder if isinstance(layer, nn.Linear)]
    assert widths == [3, 5, 7]
    x = decoder(10.0 * normal(4, 2))
    assert x.shape == (4, 7)
    assert ((x >= 0) & (x <= 1)).all()


def test_no_hidden_layer_is_a_linear_map(generator):
    decoder = build_decoder(7, 2, (), "tanh", dtype=torch.float64, generator=generator)
    a, b = normal(2, 4, 2)
    torch.testing.assert_close(decoder(a + b), decoder(a) + decoder(b))


def test_initial_weights_come_from_the_generator_alone():
    before = torch.random.get_rng_state()
    first, second, other = (
        build_decoder(
            7, 2, (5,), "tanh", dtype=torch.float32, generator=torch.Generator().manual_seed(seed)
        )
        for seed in (0, 0, 1)
    )
    assert torch.equal(first[0].weight, second[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_without_generator_parameters_are_on_the_meta_device():
    decoder = build_decoder(7, 2, (5,), "tanh", dtype=torch.float64)
    assert {p.device.type for p in decoder.parameters()} == {"meta"}


def test_absorbed_scaling_is_the_same_function(generator):
    network = build_decoder(7, 7, (5,), "tanh", dtype=torch.float64, generator=generator)
    x, shift = normal(4, 7), normal(7)
    expected = shift + 3.0 * network((x - shift) / 0.5)
    absorb_input_scaling(network[0], shift, 0.5)
    absorb_output_scaling(network[-1], shift, 3.0)
    torch.testing.assert_close(network(x), expected)


def test_std_network_has_a_floor(generator):
    network = build_decoder(7, 2, (5,), "tanh", dtype=torch.float64, generator=generator)
    head = StdNetwork(network, floor=0.04)
    z = normal(4, 2)
    torch.testing.assert_close(head(z) ** 2, torch.exp(network(z)) + 0.04)
    with torch.no_grad():
        network[-1].bias.fill_(-1e4)
    torch.testing.assert_close(head(z), torch.full((4, 7), 0.2, dtype=torch.float64))


def test_frozen_module_is_in_evaluation_mode_without_gradients(generator):
    module = freeze(build_encoder(7, 2, (), "tanh", dtype=torch.float64, generator=generator))
    assert not any(part.training for part in module.modules())
    assert not any(p.requires_grad for p in module.parameters())
