"""Kinds of modules and functions: which are copied and cast, which are refused, in which words."""

import copy
import functools
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from geomstats_vae.immersions import AutodiffImmersion, Decoder, DecoderError, DecoderWarning

Z = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def network(*more):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 5), *more)


def double(module):
    """Evaluate a copy of a module in double precision."""
    return copy.deepcopy(module).double().eval()(Z).detach()


class Model(nn.Module):
    """A model with a decoder, as people have them."""

    def __init__(self, *more):
        super().__init__()
        self.network = network(*more)

    def decode(self, z):
        return self.network(z)

    def forward(self, z, library):
        return self.network(z) * library


class Casting(Model):
    def forward(self, z):
        return self.network(z.float())


class Noisy(Model):
    """Random in training mode, by its own code."""

    def forward(self, z):
        value = self.network(z)
        return value + torch.randn_like(value) if self.training else value


def test_training_mode_is_accepted_where_it_changes_nothing():
    module = network()
    assert module.training
    decoder = Decoder(module, 2)
    torch.testing.assert_close(decoder.mean_std(Z)[0], double(module))
    assert module.training
    assert not any(part.training for part in decoder.source.modules())


@pytest.mark.parametrize(
    "build",
    [
        lambda: network(nn.Dropout()),
        lambda: network(nn.BatchNorm1d(5)),
        lambda: network(nn.RReLU()),
        Noisy,
        lambda: nn.TransformerEncoderLayer(2, 1, 4, dropout=0.1),
    ],
)
def test_training_mode_is_refused_where_it_matters(build):
    state = torch.random.get_rng_state()
    with torch.random.fork_rng():
        module = build()
    with pytest.raises(DecoderError, match=r"(?s)evaluation mode.*decoder\.eval\(\)"):
        Decoder(module, 2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert module.training


def test_methods_and_partials_of_modules_are_copied_with_their_module():
    model = Model().eval()
    library = torch.tensor([2.0])
    expected = double(model.network)
    for decoder, factor in (
        (model.decode, 1.0),
        (functools.partial(model, library=library), 2.0),
        (functools.partial(model.forward, library=library), 2.0),
    ):
        frozen = Decoder(decoder, 2)
        again = pickle.loads(pickle.dumps(frozen))
        with torch.no_grad():
            model.network[0].weight.add_(1.0)
        torch.testing.assert_close(frozen.immersion()(Z), factor * expected)
        torch.testing.assert_close(again.immersion()(Z), factor * expected)
        with torch.no_grad():
            model.network[0].weight.sub_(1.0)
        torch.testing.assert_close(
            frozen.immersion(torch.float32)(Z.float()), frozen.mean_std(Z.float())[0]
        )
        expected = double(model.network)
    assert library.dtype == torch.float32
    with pytest.raises(DecoderError, match="evaluation mode"):
        Decoder(Model(nn.Dropout()).decode, 2)


def test_further_arguments_are_named():
    with pytest.raises(DecoderError, match=r"(?s)also wants 'library'.*partial\(decoder, library="):
        Decoder(Model().eval(), 2)


@pytest.mark.parametrize("kind", ["function", "module"])
def test_decoders_of_single_precision_work_with_a_warning(kind):
    model = Casting().eval()
    with pytest.warns(DecoderWarning, match="single precision whatever it is given"):
        decoder = Decoder(model if kind == "module" else (lambda z: model.network(z)), 2)
    immersion, exact = decoder.immersion(), Decoder(model.network, 2).immersion()
    assert immersion(Z).dtype == decoder.mean_std(Z)[0].dtype == torch.float64
    assert immersion.metric(Z).dtype == torch.float64
    torch.testing.assert_close(immersion.metric(Z), exact.metric(Z), rtol=1e-5, atol=1e-6)
    jet, expected = immersion.jet(Z, Z), exact.jet(Z, Z)
    torch.testing.assert_close(jet.derivatives, expected.derivatives, rtol=1e-4, atol=1e-5)
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_cast(dtype):
    module = network().eval().to(dtype)
    decoder = Decoder(module, 2)
    torch.testing.assert_close(decoder.immersion()(Z), double(module))
    assert module[0].weight.dtype == dtype


def test_weight_normalisation_of_both_kinds_is_copied():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = nn.Sequential(nn.utils.weight_norm(nn.Linear(2, 8)), nn.Tanh()).eval()
    new = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 8)), nn.Tanh()).eval()
    for module in (old, new):
        expected = module(Z.float()).detach()
        decoder = Decoder(module, 2)
        torch.testing.assert_close(decoder.immersion()(Z).float(), expected)
        torch.testing.assert_close(module(Z.float()), expected)
        assert all(p.requires_grad for p in module.parameters())


@pytest.mark.parametrize("kind", ["script", "trace", "inside"])
def test_torchscript_is_refused(kind):
    """Its second derivatives are zero from the second call on, in torch 2.13."""
    module = network().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.trace(module, Z.float()) if kind == "trace" else torch.jit.script(module)
    module = nn.Sequential(module).eval() if kind == "inside" else module
    with pytest.raises(DecoderError, match=r"(?s)module of Python, got TorchScript.*Pass the mod"):
        Decoder(module, 2)


@pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")  # torch.export's own
def test_exported_programs_work_with_any_number_of_codes():
    module = network(nn.LayerNorm(5)).eval()
    size = torch.export.Dim("size", min=1, max=2**20)
    program = torch.export.export(module, (Z.float(),), dynamic_shapes=({0: size},))
    plain = Decoder(module, 2).immersion()
    for given in (program, program.module()):
        immersion = Decoder(given, 2).immersion()
        torch.testing.assert_close(immersion(Z), plain(Z))
        torch.testing.assert_close(immersion.jet(Z, Z).derivatives, plain.jet(Z, Z).derivatives)
    fixed = torch.export.export(module, (Z.float(),))
    with pytest.raises(DecoderError, match=r"(?s)Guard failed.*dynamic_shapes="):
        Decoder(fixed, 2)


WEIGHTS = np.random.default_rng(0).normal(size=(2, 5))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda z: z.numpy() @ WEIGHTS, "got a numpy array.*torch operations"),
        (lambda z: torch.as_tensor(np.tanh(z.numpy())), "Numpy has no derivatives"),
        (lambda z: torch.as_tensor(z.detach().numpy() @ WEIGHTS), "Numpy has no derivatives"),
    ],
)
def test_numpy_is_refused(function, message):
    with pytest.raises(DecoderError, match=f"(?s){message}"):
        Decoder(function, 2)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda z: z.detach().sin(),
        torch.no_grad()(lambda z: z.sin().cumsum(1)),
        torch.inference_mode()(lambda z: z.sin()),
        lambda z: torch.cat((z.sin(), z.detach().cos()), dim=1),
        torch.round,
    ],
)
def test_functions_without_their_derivatives_are_refused(wrap):
    class Straight(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(z):
            return z.round()

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, grad):
            return grad

    function = Straight.apply if wrap is torch.round else wrap
    with pytest.raises(DecoderError, match=r"(?s)derivatives are not those.*no_grad"):
        Decoder(function, 2)


def test_derivatives_of_known_operations_do_not_need_gradients():
    immersion = Decoder(torch.no_grad()(lambda z: z.sin()), 2).immersion()
    torch.testing.assert_close(immersion.push(Z, Z), Z * Z.cos())
    along = torch.einsum("nk,nkp->np", Z, immersion.jet(Z, Z).derivatives)
    torch.testing.assert_close(along, -Z.square() * Z.sin())


def test_an_operation_without_derivatives_is_named():
    class Forward(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(z):
            return z.sin()

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, grad):
            raise NotImplementedError("the adjoint of sin is not written")

    with pytest.raises(DecoderError, match=r"(?s)differentiate twice.*the adjoint of sin"):
        Decoder(Forward.apply, 2)


def test_pairs_need_positive_standard_deviations():
    def pair(z):
        return z.sin(), z

    message = r"(?s)positive standard deviations.*torch\.exp\(0\.5 \* out\[1\]\)"
    with pytest.raises(DecoderError, match=message):
        Decoder(pair, 2)
    with pytest.raises(DecoderError, match=message):
        Decoder(lambda z: (z, torch.zeros_like(z)), 2)
    decoder = Decoder(pair, 2, output=lambda out: (out[0], torch.exp(0.5 * out[1])))
    torch.testing.assert_close(decoder.mean_std(Z)[1], torch.exp(0.5 * Z))
    # Positive everywhere but around one code, which is not tried until it is asked for.
    decoder = Decoder(lambda z: (z, (z - 5.0).square().sum(1, keepdim=True) - 1.0 + 0.0 * z), 2)
    with pytest.raises(DecoderError, match=message):
        decoder.check(torch.full((1, 2), 5.0))


def test_codes_of_another_shape():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        images = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Tanh(), nn.ConvTranspose2d(3, 1, 2)).eval()
    dim, codes = 18, torch.randn(3, 18, dtype=torch.float64)
    with pytest.raises(DecoderError, match=r"pass latent_shape="):
        Decoder(images, dim)
    with pytest.raises(DecoderError, match=r"latent_shape to have dim=18 entries, got \(2, 2\)"):
        Decoder(images, dim, latent_shape=(2, 2))
    decoder = Decoder(images, dim, latent_shape=(2, 3, 3))
    expected = copy.deepcopy(images).double()(codes.reshape(3, 2, 3, 3)).flatten(1).detach()
    fast = decoder.immersion()
    assert not isinstance(fast, AutodiffImmersion)
    copied = copy.deepcopy(images).double()
    slow = AutodiffImmersion(lambda z: copied(z.view(-1, 2, 3, 3)).flatten(1), dim)
    again = pickle.loads(pickle.dumps(decoder)).immersion()
    for immersion in (fast, slow, again):
        torch.testing.assert_close(immersion(codes), expected)
        torch.testing.assert_close(immersion.metric(codes), slow.metric(codes))
    torch.testing.assert_close(decoder.mean_std(codes)[0], expected)
