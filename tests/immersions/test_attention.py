"""Attention and layer normalisation: derivatives against finite differences, switches restored."""

import threading

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from geomstats_vae.immersions import AutodiffImmersion, Decoder, formulas


class Tokens(nn.Module):
    """Two tokens of width 8, made of a code and given to a function."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.embed = kind, nn.Linear(2, 16)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")

    def forward(self, z):
        x = self.embed(z).view(-1, 2, 8)
        if self.kind == "encoder layer":
            return self.layer(x).flatten(1)
        if self.kind == "layer norm":
            # Fast networks have no cumulative sums, so that torch's derivatives are asked for.
            return layer_norm(x, (8,)).cumsum(2).flatten(1)
        if self.kind == "function":
            return scaled_dot_product_attention(x, x, x).flatten(1)
        return self.attention(x, x, x, need_weights=self.kind == "weights")[0].flatten(1)


def switches():
    cuda = torch.backends.cuda
    return (
        torch.backends.mha.get_fastpath_enabled(),
        cuda.flash_sdp_enabled(),
        cuda.mem_efficient_sdp_enabled(),
        cuda.math_sdp_enabled(),
        cuda.cudnn_sdp_enabled(),
    )


def draw(n):
    return torch.randn(n, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "kind", ["encoder layer", "layer norm", "function", "weights", "no weights"]
)
def test_derivatives_are_those_of_the_values(kind):
    """Torch's own second derivatives of a layer norm are wrong, and attention has none."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Tokens(kind).eval()
    before = switches()
    immersion = Decoder(module, 2).immersion()
    assert isinstance(immersion, AutodiffImmersion)
    assert isinstance(immersion.function, formulas.ByFormula)
    (z, v), h = draw(2), 1e-5
    expected = module.double()(z).detach()
    with torch.no_grad():
        torch.testing.assert_close(immersion(z), expected)
        pushed = immersion.push(z, v)
        jet = immersion.jet(z, v)
        first = (immersion(z + h * v) - immersion(z - h * v)) / (2.0 * h)
        second = (immersion.push(z + h * v, v) - immersion.push(z - h * v, v)) / (2.0 * h)
    torch.testing.assert_close(pushed, first, rtol=1e-7, atol=1e-8)
    along = torch.einsum("nk,nkp->np", v, jet.derivatives)
    torch.testing.assert_close(along, second, rtol=1e-6, atol=1e-7)
    q = torch.cos(torch.arange(z.shape[0] * expected.shape[1])).to(z).view_as(expected)
    bend = (q * second).sum(1)
    found = torch.einsum("nk,nkl,nl->n", v, jet.hessian(q), v)
    torch.testing.assert_close(found, bend, rtol=1e-6, atol=1e-6)
    linearization = immersion.linearize(z, v)
    torch.testing.assert_close((linearization.pull(q)[0] * v).sum(1), bend, rtol=1e-6, atol=1e-6)
    product = linearization.quadratic(torch.zeros(len(z), dtype=z.dtype), q)
    torch.testing.assert_close((product(v, v)[0] * v).sum(1), bend, rtol=1e-6, atol=1e-6)
    assert switches() == before


def test_layer_normalisation_is_torch_s():
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    weight, bias = x[0], x[1]
    for shape, options in (((5,), {}), ((4, 5), {"weight": weight, "bias": bias, "eps": 0.1})):
        torch.testing.assert_close(
            formulas.layer_norm(x, shape, **options), layer_norm(x, shape, **options)
        )


def test_formulas_are_for_those_who_need_them():
    plain = Decoder(lambda z: z.sin().cumsum(1), 2).immersion()
    assert isinstance(plain, AutodiffImmersion)
    assert not isinstance(plain.function, formulas.ByFormula)


def test_switches_are_restored_after_overlapping_blocks_and_errors():
    before = switches()
    entered, leave = threading.Event(), threading.Event()

    def overlap():
        with formulas.by_formula():
            entered.set()
            leave.wait(10.0)

    thread = threading.Thread(target=overlap)
    with formulas.by_formula():
        thread.start()
        assert entered.wait(10.0)
        assert not switches()[0]
    # The other thread is still inside.
    assert not switches()[0]
    leave.set()
    thread.join()
    assert switches() == before
    with pytest.raises(ZeroDivisionError), formulas.by_formula():
        raise ZeroDivisionError
    assert switches() == before
