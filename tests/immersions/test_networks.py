"""Decoders that are more than a sequence of layers, against derivatives of torch."""

import pickle

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Categorical, Independent, NegativeBinomial, Normal
from torch.nn import functional

from geomstats_vae.immersions.autodiff import AutodiffImmersion
from geomstats_vae.immersions.decoder import Decoder
from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.immersions.network import ChainImmersion, compile_immersion
from geomstats_vae.immersions.protocol import read_embedding
from tests.immersions.comparisons import assert_linearizes, assert_same_derivatives, draw

DIM = 3


class Network(nn.Module):
    """Some layers, and a forward that is given as a function of them."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self._forward = forward

    def forward(self, z):
        return self._forward(z, **self.layers)

    def by_hand(self, z):
        """The same, without layers whose second derivatives torch has wrong or lacks."""
        return self._forward(z, **{name: by_hand(part) for name, part in self.layers.items()})


def by_hand(layer):
    if isinstance(layer, nn.LayerNorm):
        return lambda h: layer.weight * normalised(h, layer.eps) + layer.bias
    if isinstance(layer, nn.GroupNorm):
        return lambda h: (
            normalised(h.unflatten(1, (layer.num_groups, -1)).flatten(2), layer.eps).view_as(h)
            * layer.weight.view(-1, 1, 1)
            + layer.bias.view(-1, 1, 1)
        )
    if isinstance(layer, nn.PReLU):
        return lambda h: torch.where(h > 0, h, layer.weight * h)
    return layer


def normalised(h, eps=1e-5):
    h = h - h.mean(-1, keepdim=True)
    return h * (h.square().mean(-1, keepdim=True) + eps) ** -0.5


def drawn(module, seed=0):
    """The module in evaluation mode, all of its numbers drawn."""
    module = module.double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, part in (*module.named_parameters(), *module.named_buffers()):
        if part.is_floating_point():
            part.copy_(
                torch.randn(part.shape, generator=generator) / max(part.shape[-1:] or [1]) ** 0.5
            )
            if name.endswith("running_var"):
                part.abs_().add_(0.5)
    return module


def network(forward, **layers):
    return lambda: drawn(Network(forward, **layers))


def rms_norm(h):
    return h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6)


def lin(n_inputs=DIM, n_outputs=8):
    return nn.Linear(n_inputs, n_outputs)


FUNCTIONS = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": functional.relu,
    "relu in place": lambda h: functional.relu(h + 0.0, inplace=True),
    "leaky relu": lambda h: functional.leaky_relu(h, 0.2),
    "elu": functional.elu,
    "elu, alpha": lambda h: functional.elu(h, 0.7),
    "selu": functional.selu,
    "celu": lambda h: functional.celu(h, 1.7),
    "gelu": functional.gelu,
    "gelu by tanh": lambda h: functional.gelu(h, approximate="tanh"),
    "silu": functional.silu,
    "silu by hand": lambda h: h * torch.sigmoid(h),
    "mish": functional.mish,
    "softplus": lambda h: functional.softplus(h, beta=2.0),
    "logsigmoid": functional.logsigmoid,
    "softsign": functional.softsign,
    "tanhshrink": functional.tanhshrink,
    "hardtanh": lambda h: functional.hardtanh(h, -0.4, 0.6),
    "relu6": lambda h: functional.relu6(4.0 * h),
    "clamp": lambda h: h.clamp(min=-0.3),
    "clamp max": lambda h: h.clamp(max=0.3),
    "maximum": lambda h: torch.maximum(torch.full_like(h, 0.2), h),
    "hardsigmoid": lambda h: functional.hardsigmoid(3.0 * h),
    "hardswish": lambda h: functional.hardswish(3.0 * h),
    "abs": torch.abs,
    "exp": torch.exp,
    "expm1, log1p": lambda h: torch.log1p(torch.expm1(h).square()),
    "log, sqrt": lambda h: torch.log(h.abs() + 1.0) + torch.sqrt(h * h + 1.0),
    "rsqrt": lambda h: torch.rsqrt(h * h + 1.0),
    "sin, cos": lambda h: torch.sin(h) + torch.cos(2.0 * h),
    "sinh, cosh": lambda h: torch.sinh(h) - torch.cosh(h),
    "asinh, atan, erf": lambda h: torch.asinh(h) - torch.atan(h) + torch.erf(h),
    "powers": lambda h: h**2 + h**3 - (h.exp()) ** 1.5,
    "arithmetic": lambda h: (2.0 - h) / 3.0 + -h * 0.5 + torch.sub(h, h.exp(), alpha=2.0),
    "constants first": lambda h: 1.0 - (1.0 / (1.0 + h * h)),
    "product of itself": lambda h: h * h + (h + h),
    "quotient": lambda h: h / (1.0 + h.abs()),
    "softmax": lambda h: torch.softmax(h, -1),
    "log softmax": lambda h: functional.log_softmax(h, dim=1),
    "logsumexp": lambda h: h - torch.logsumexp(h, dim=-1, keepdim=True),
    "normalize": lambda h: functional.normalize(h, dim=-1),
    "rms norm": lambda h: functional.rms_norm(h, (8,)),
    "rms norm by hand": rms_norm,
    "layer norm": lambda h: functional.layer_norm(h, (8,)),
    "group norm": lambda h: functional.group_norm(h, 2),
    "glu": lambda h: functional.glu(h, -1),
    "pieces": lambda h: torch.cat((h[:, 4:], torch.ones_like(h[:, :1]), 2.0 * h[:, ::2]), 1),
    "stacked": lambda h: torch.stack((h, h.exp()), dim=-1).flatten(1),
    "chunks": lambda h: torch.mul(*h.chunk(2, -1)),
    "flipped": lambda h: h.flip(-1).roll(1, -1) * h,
    "indexed": lambda h: h[:, [0, 2, 2, 5]] + h.mean(1, keepdim=True),
    "written into": lambda h: torch.nn.functional.pad(h, (1, 2)).add_(1.0),
    "mean and sum": lambda h: h.sum(-1, keepdim=True) * h - h.mean(-1, keepdim=True),
    "attention": lambda h: (
        torch.softmax(h.view(-1, 4, 2) @ h.view(-1, 2, 4), -1) @ h.view(-1, 4, 2)
    ),
    "mixer": lambda h: torch.arange(8.0).view(2, 4).to(h) @ h.view(-1, 4, 2),
}


# What torch differentiates twice wrongly, or not at all.
BY_HAND = {
    "layer norm": normalised,
    "celu": lambda h: torch.where(h > 0, h, 1.7 * torch.expm1(h / 1.7)),  # torch rounds 1 / 1.7
    "glu": lambda h: h[:, :4] * torch.sigmoid(h[:, 4:]),
    "group norm": lambda h: normalised(h.view(-1, 2, 4)).flatten(1),
    "hardsigmoid": lambda h: torch.clamp(3.0 * h / 6.0 + 0.5, 0.0, 1.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    def decoder(inner):
        return network(lambda z, a, b: b(inner(a(z)).flatten(1)), a=lin(), b=lin(width, 5))()

    width = FUNCTIONS[name](torch.zeros(1, 8).double()).flatten(1).shape[1]
    reference = decoder(BY_HAND.get(name, FUNCTIONS[name]))
    assert_compiled(decoder(FUNCTIONS[name]), reference)


IMAGES = {
    "first": nn.Linear(DIM, 8),
    "up": nn.ConvTranspose2d(2, 4, 2),
    "norm": nn.BatchNorm2d(4),
}


def images(tail, **layers):
    """A stack of transposed convolution and norm, and what comes behind."""

    def forward(z, first, up, norm, **others):
        h = first(z).view(z.shape[0], 2, 2, 2)
        return tail(torch.tanh(norm(up(h))), **others)

    return network(forward, **IMAGES, **layers)


STRUCTURES = {
    "class": network(lambda z, a, b: b(torch.relu(a(z))), a=lin(), b=lin(8, 5)),
    "dropout and identity": network(
        lambda z, a, d: functional.dropout(d(a(z)), training=False), a=lin(), d=nn.Dropout()
    ),
    "residual": network(
        lambda z, a, b, c: c((h := torch.tanh(a(z))) + functional.silu(b(h))),
        a=lin(),
        b=lin(8, 8),
        c=lin(8, 5),
    ),
    "residual of the code": network(lambda z, a, b: z + b(torch.tanh(a(z))), a=lin(), b=lin(8, 3)),
    "skip connection": network(
        lambda z, a, b: b(torch.cat((torch.tanh(a(z)), z), dim=-1)), a=lin(), b=lin(11, 5)
    ),
    "condition": network(
        lambda z, a: torch.tanh(a(torch.cat((z, torch.ones(len(z), 2).to(z)), dim=1))), a=lin(5)
    ),
    "two heads": network(
        lambda z, a, b, c: (b(h := torch.tanh(a(z))), functional.softplus(c(h))),
        a=lin(),
        b=lin(8, 10),
        c=lin(8, 10),
    ),
    "heads of one map": network(
        lambda z, a: ((parts := a(z).chunk(2, dim=-1))[0], torch.exp(0.5 * parts[1])), a=lin()
    ),
    "constant std": network(
        lambda z, a: (a(z).tanh(), torch.full((1, 8), 0.3).to(z).expand(len(z), 8)), a=lin()
    ),
    "gate": network(lambda z, a, b: torch.sigmoid(a(z)) * torch.tanh(b(z)), a=lin(), b=lin()),
    "normal": network(
        lambda z, a, b: Independent(Normal(a(z).tanh(), b(z).exp()), 1), a=lin(), b=lin()
    ),
    "bernoulli": network(lambda z, a: Bernoulli(logits=a(z)), a=lin()),
    "bernoulli by probabilities": network(
        lambda z, a: Bernoulli(probs=torch.sigmoid(a(z))), a=lin()
    ),
    "categorical": network(lambda z, a: Categorical(logits=a(z).view(-1, 2, 4)), a=lin()),
    "negative binomial": network(
        lambda z, a: NegativeBinomial(torch.full((8,), 3.0).to(z), logits=a(z)), a=lin()
    ),
    "layer norms": network(
        lambda z, a, n, b: b(functional.gelu(n(a(z)))), a=lin(), n=nn.LayerNorm(8), b=lin(8, 5)
    ),
    "prelu": network(lambda z, a, p: p(a(z)), a=lin(), p=nn.PReLU(8)),
    "batch norms": network(
        lambda z, a, n, b: b(n(torch.relu(a(z)))), a=lin(), n=nn.BatchNorm1d(8), b=lin(8, 5)
    ),
    "affine maps in a row": network(
        lambda z, a, b, c: c(b(torch.tanh(a(z)))), a=lin(), b=lin(8, 2), c=lin(2, 5)
    ),
    "tokens": network(
        lambda z, a, n, b: b(torch.tanh(n(a(z).view(-1, 4, 2)))).flatten(1),
        a=lin(),
        n=nn.LayerNorm(2),
        b=nn.Linear(2, 3),
    ),
    "images": images(lambda h: h),
    "images, upsampled": images(
        lambda h, c: c(functional.interpolate(h, scale_factor=2)), c=nn.Conv2d(4, 2, 3, padding=1)
    ),
    "images, bilinear": images(
        lambda h: functional.interpolate(h, size=(4, 5), mode="bilinear", align_corners=False)
    ),
    "images, shuffled": images(lambda h: functional.pixel_shuffle(h, 2)),
    "images, reflected": images(
        lambda h, c: c(h), c=nn.Conv2d(4, 2, 3, padding=1, padding_mode="reflect")
    ),
    "images, pooled": images(lambda h: functional.avg_pool2d(h, 2) * h.mean((2, 3), keepdim=True)),
    "images, group norm": images(lambda h, n: torch.sigmoid(n(h)), n=nn.GroupNorm(2, 4)),
    "images, residual": images(
        lambda h, c, n: h + functional.elu(n(c(h))),
        c=nn.Conv2d(4, 4, 3, padding="same"),
        n=nn.BatchNorm2d(4),
    ),
    "images, norm of channels": images(lambda h: torch.softmax(h, dim=1)),
    "signals": network(
        lambda z, a, c: c(a(z).view(-1, 2, 4)).tanh(), a=lin(), c=nn.ConvTranspose1d(2, 3, 3, 2)
    ),
    "volumes": network(
        lambda z, a, c: c(a(z).view(-1, 1, 2, 2, 2)).tanh(), a=lin(), c=nn.Conv3d(1, 2, 2)
    ),
}


def embedding_of(decoder):
    def function(z):
        mean, std = read_embedding(decoder(z))
        return mean if std is None else torch.cat((mean, std), dim=-1)

    return function


def assert_compiled(decoder, reference, rtol=1e-10):
    immersion = compile_immersion(decoder, DIM)
    assert isinstance(immersion, ChainImmersion)
    function, (z, v) = embedding_of(reference), draw(4, DIM)
    assert_same_derivatives(immersion, AutodiffImmersion(function, DIM), z, v, rtol=rtol)
    assert_linearizes(immersion.linearize(z, v), function, z, v)
    assert_condensed(immersion, z, v)
    return immersion


def assert_condensed(immersion, z, v):
    condensed = immersion.condensed()
    torch.testing.assert_close(condensed.metric(z), immersion.metric(z), rtol=1e-9, atol=1e-11)
    short, full = condensed.push(z, v), immersion.push(z, v)
    torch.testing.assert_close(short.norm(dim=1), full.norm(dim=1), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(immersion.split_outputs(full)[1], condensed.split_outputs(short)[1])


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures(name):
    decoder = STRUCTURES[name]()
    assert_compiled(decoder, decoder.by_hand)


def test_maps_in_a_row_become_one():
    def names(key):
        layers = compile_immersion(STRUCTURES[key](), DIM).layers
        return [type(layer).__name__ for layer in layers]

    assert names("class") == ["Affine", "ElementwiseLayer", "Affine"]
    assert names("dropout and identity") == ["Affine"]
    # Norms, scales, and selections of outputs go into the maps beside them.
    assert names("batch norms") == ["Affine", "ElementwiseLayer", "Affine"]
    assert names("images") == ["Affine", "Convolution", "ElementwiseLayer"]
    # 8 -> 2 -> 5 takes 26 products, 8 -> 5 takes 40.
    assert names("affine maps in a row").count("Affine") == 3


def test_heads_and_residuals_are_condensed():
    two_heads = drawn(
        Network(
            lambda z, a, b, c: (b(h := torch.tanh(a(z))), functional.softplus(c(h))),
            a=lin(),
            b=lin(8, 20),
            c=lin(8, 20),
        )
    )
    short = compile_immersion(two_heads, DIM).condensed()
    assert (short.n_mean, short.n_outputs) == (8, 28)
    residual = drawn(
        Network(
            lambda z, a, b, c: c(z) - 2.0 * b(torch.tanh(a(z))), a=lin(), b=lin(8, 20), c=lin(3, 20)
        )
    )
    immersion = assert_compiled(residual, residual)
    assert immersion.condensed().n_outputs == 11


@pytest.mark.parametrize("n_points", [0, 1, 3, 7, 8])
@pytest.mark.parametrize("name", ["tokens", "images, pooled", "skip connection", "condition"])
def test_any_number_of_points(name, n_points):
    """Also 8, the width of layers, and 3, the number of points of the recording."""
    decoder = STRUCTURES[name]()
    immersion = compile_immersion(decoder, DIM)
    z, v = draw(n_points, DIM)
    if n_points:
        torch.testing.assert_close(immersion(z), embedding_of(decoder)(z))
    assert immersion.jet(z, v).derivatives.shape == (n_points, DIM, immersion.n_outputs)
    assert immersion.metric(z).shape == (n_points, DIM, DIM)


@pytest.mark.parametrize("name", ["residual", "heads of one map", "images, group norm", "gate"])
def test_float32(name):
    decoder = Decoder(STRUCTURES[name](), DIM)
    exact, single = decoder.immersion(), decoder.immersion(torch.float32)
    assert isinstance(single, ChainImmersion)
    z, v = draw(5, DIM)
    jet = single.jet(z.float(), v.float())
    assert jet.derivatives.dtype == torch.float32
    expected = exact.jet(z, v).derivatives
    torch.testing.assert_close(jet.derivatives.double(), expected, rtol=1e-3, atol=1e-3)


def test_the_caller_s_reading_is_compiled():
    def likelihood(output):
        return torch.exp(output[1]), output[0].tanh()

    decoder = Decoder(
        STRUCTURES["heads of one map"](), DIM, output=lambda out: out[::-1], likelihood=likelihood
    )
    immersion = decoder.immersion()
    assert isinstance(immersion, ChainImmersion)
    assert immersion.n_mean == 4
    z, v = draw(4, DIM)
    assert_same_derivatives(immersion, AutodiffImmersion(decoder._embed, DIM), z, v)


def test_a_mean_of_any_kind_beside_a_standard_deviation():
    mean, std = STRUCTURES["residual"](), STRUCTURES["class"]()
    decoder = GaussianDecoder(mean, lambda z: torch.exp(std(z)))
    immersion = compile_immersion(decoder, DIM)
    z, v = draw(4, DIM)
    function = embedding_of(decoder)
    assert_same_derivatives(immersion, AutodiffImmersion(function, DIM), z, v)
    assert immersion.split_outputs(immersion(z))[1].shape == (4, 5)


class StraightThrough(torch.autograd.Function):
    """z, with a derivative that is not its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z):
        return z * 1.0

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, grad):
        return 2.0 * grad


UNKNOWN = {
    "operation": lambda z: torch.cumsum(z, dim=1),
    "decision": lambda z: z.sin() if z.sum() > 1.0 else z.cos(),
    "number": lambda z: z * float(z.abs().max()),
    "numpy": lambda z: torch.as_tensor(z.detach().numpy().copy()) * 2.0,
    "constant": lambda z: torch.ones_like(z),
    "derivative of its own": StraightThrough.apply,
    "pairs of points": lambda z: z + z.flip(0),
    "statistics": lambda z: z - z.mean(0),
    "maximum over pixels": lambda z: functional.max_pool1d(z[:, None], 2)[:, 0],
    "random": lambda z: z + torch.randn_like(z),
    "failing": lambda z: z[:, 7],
    "unreadable": lambda z: "z",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_unknown_is_left_to_autodiff(name):
    assert compile_immersion(UNKNOWN[name], DIM) is None


@pytest.mark.parametrize("name", ["residual", "images, pooled", "layer norms", "prelu"])
def test_pickling(name):
    immersion = compile_immersion(STRUCTURES[name](), DIM)
    z, v = draw(4, DIM)
    immersion = immersion.smoothed(0.1, z)
    again = pickle.loads(pickle.dumps(immersion))
    assert torch.equal(again.push(z, v), immersion.push(z, v))
