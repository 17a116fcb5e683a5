"""Linear layers of compiled modules against these modules, pullbacks against transposes."""

import math

import pytest
import torch
from torch import nn

from geomstats_vae.immersions.autodiff import AutodiffImmersion
from geomstats_vae.immersions.network import compile_immersion
from geomstats_vae.immersions.network.layers import Affine, Scale
from tests.immersions.comparisons import assert_same_derivatives, draw

CONVOLUTIONS = {
    "plain": {},
    "without a bias": {"bias": False},
    "padded": {"padding": (2, 1)},
    "strided": {"stride": 2},
    # Rounding down loses a row, a column or both.
    "strided, padded": {"stride": (3, 2), "padding": 1},
    "dilated": {"dilation": (2, 1)},
    "grouped": {"groups": 2},
    "all": {"stride": (2, 3), "padding": (1, 2), "dilation": (1, 2), "groups": 2, "bias": False},
    "pixels": {"kernel_size": 1},
    "strided beyond the kernel": {"kernel_size": 2, "stride": 3},
}
OUTPUT_PADDINGS = {
    "output padding": {"stride": 2, "output_padding": 1},
    "output padding of one side": {"stride": (3, 2), "padding": 1, "output_padding": (2, 0)},
    "output padding within the dilation": {"dilation": 2, "output_padding": 1},
}
MODULES = {
    **{f"convolution, {name}": (nn.Conv2d, options) for name, options in CONVOLUTIONS.items()},
    **{
        f"transposed, {name}": (nn.ConvTranspose2d, options)
        for name, options in (CONVOLUTIONS | OUTPUT_PADDINGS).items()
    },
}
SHAPE = (4, 6, 7)


def drawn(module, seed=0):
    """A module in evaluation mode, with all of its numbers drawn."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval().requires_grad_(False)
    for part in (*module.parameters(), *module.buffers()):
        if part.is_floating_point():
            part.copy_(0.5 + torch.rand(part.shape, generator=generator).double())
    return module


def batch_norm(kind, **options):
    module = drawn(kind(4, **options))
    if module.affine:
        module.weight.copy_(torch.tensor([-1.0, 0.0, 2.0, 3.0]))
    return module


def convolution(name):
    kind, options = MODULES[name]
    return drawn(kind(4, 6, **{"kernel_size": 3, **options}))


def layer_of(module, shape):
    """The one layer that a module of inputs of some shape becomes."""
    flat = nn.Sequential(nn.Unflatten(1, shape), module).eval() if len(shape) > 1 else module
    (layer,) = compile_immersion(flat, math.prod(shape)).layers
    return layer


def assert_is(layer, module, shape):
    """Value, tangents and pullback are those of the module's matrix and constant."""
    inputs = torch.randn(5, *shape, generator=torch.Generator().manual_seed(1)).double()
    rows = inputs.flatten(1)
    zero = module(torch.zeros_like(inputs)).flatten(1)
    torch.testing.assert_close(layer.value(rows), module(inputs).flatten(1))
    basis = torch.eye(rows.shape[1]).double()
    matrix = module(basis.unflatten(1, shape)).flatten(1) - zero[:1]
    torch.testing.assert_close(layer.tangents(rows), rows @ matrix)
    covector = torch.randn(5, matrix.shape[1], generator=torch.Generator().manual_seed(2)).double()
    torch.testing.assert_close(layer.pull(covector), covector @ matrix.T)
    # Any leading shape will do.
    block = torch.stack((rows, -rows), dim=0)
    for found, expected in zip(
        layer.push(rows, block), (layer.value(rows), block @ matrix), strict=True
    ):
        torch.testing.assert_close(found, expected)
    block = torch.stack((covector, 2.0 * covector), dim=0)
    torch.testing.assert_close(layer.pull(block), block @ matrix.T)
    value, along, step = layer.linearize(rows, 3.0 * rows)
    torch.testing.assert_close(value, layer.value(rows))
    torch.testing.assert_close(along, 3.0 * rows @ matrix)
    torch.testing.assert_close(step.pull_covector(covector), covector @ matrix.T)
    block = torch.stack((rows, -rows), dim=1)
    torch.testing.assert_close(step.push(block), block @ matrix)
    block = torch.stack((covector, 2.0 * covector), dim=1)
    torch.testing.assert_close(step.pull(block), block @ matrix.T)
    assert step.hessian(covector) is None


@pytest.mark.parametrize("name", MODULES)
def test_convolutions(name):
    module = convolution(name)
    assert_is(layer_of(module, SHAPE), module, SHAPE)


@pytest.mark.parametrize("bias", [True, False])
def test_affine(bias):
    module = drawn(nn.Linear(4, 6, bias=bias))
    layer = layer_of(module, (4,))
    assert isinstance(layer, Affine)
    assert_is(layer, module, (4,))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("kind", "shape"), [(nn.BatchNorm1d, (4,)), (nn.BatchNorm2d, SHAPE)], ids=["flat", "images"]
)
def test_batch_norm(kind, shape, affine):
    module = batch_norm(kind, affine=affine)
    layer = layer_of(module, shape)
    assert isinstance(layer, Scale)
    assert_is(layer, module, shape)


def test_layers_compute_in_the_module_s_type():
    module = convolution("transposed, output padding").float()
    layer = layer_of(module, SHAPE)
    rows = torch.ones(2, 3, 4 * 6 * 7)
    assert layer.value(rows[:, 0]).dtype == torch.float32
    assert layer.pull(layer.tangents(rows)).dtype == torch.float32


@pytest.mark.parametrize(
    "name", ["convolution, all", "transposed, grouped", "transposed, output padding"]
)
def test_norms_are_folded_into_convolutions(name):
    both = nn.Sequential(convolution(name), drawn(nn.BatchNorm2d(6))).eval()
    assert_is(layer_of(both, SHAPE), both, SHAPE)


def test_statistics_of_the_batch_are_left_to_autodiff():
    norm = nn.BatchNorm1d(4, track_running_stats=False).double().eval()
    assert compile_immersion(nn.Sequential(nn.Linear(3, 4).double(), norm), 3) is None


def image_decoder(unflatten=(2, 3, 3)):
    """Linear map, transposed convolutions with batch norms between, convolution, flat norm."""
    module = nn.Sequential(
        nn.Linear(3, 18),
        nn.BatchNorm1d(18),
        nn.Tanh(),
        nn.Unflatten(1, unflatten),
        nn.ConvTranspose2d(2, 4, 3, stride=2, output_padding=1),
        nn.BatchNorm2d(4),
        nn.SiLU(),
        nn.Conv2d(4, 3, 3, stride=3, padding=1),
        nn.ELU(),
        nn.Flatten(),
        nn.Linear(27, 5),
    )
    return drawn(module)


def assert_compiled(module):
    fast = compile_immersion(module, 3)
    slow = AutodiffImmersion(lambda z: module(z).flatten(1), 3)
    assert_same_derivatives(fast, slow, *draw(4, 3), rtol=1e-9)


@pytest.mark.parametrize("end", [-1, -2, -3], ids=["linear", "flatten", "images"])
def test_decoders_of_images(end):
    module = image_decoder()
    assert_compiled(module if end == -1 else module[:end])


def test_sizes_that_torch_works_out():
    assert_compiled(image_decoder((-1, 3, 3)))


def test_hessians_can_be_differentiated_again():
    """Christoffel symbols are, for curvature: the third derivative of |z|^4 / 4 is known."""

    def quartic(z):
        square = z.square().sum(1, keepdim=True)
        return torch.cat((z, 0.25 * square.square()), dim=1)

    immersion, (z, v) = compile_immersion(quartic, 3), draw(5, 3)
    z.requires_grad_()
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=z.dtype).expand(len(z), 4)
    bend = torch.einsum("nij,ni,nj->n", immersion.jet(z).hessian(last), v, v)
    (found,) = torch.autograd.grad(bend.sum(), z)
    # The Hessian is |z|^2 + 2 z z'.
    expected = 2.0 * z * (v * v).sum(1, keepdim=True) + 4.0 * v * (z * v).sum(1, keepdim=True)
    torch.testing.assert_close(found, expected.detach())
    with torch.no_grad():
        assert not immersion.jet(z.detach()).hessian(last).requires_grad
