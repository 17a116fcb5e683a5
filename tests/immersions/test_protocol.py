"""What a decoder may be and return, what is refused; the caller's module stays as it is."""

import copy
import pickle
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from geomstats_vae.immersions.autodiff import AutodiffImmersion
from geomstats_vae.immersions.decoder import Decoder
from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.immersions.protocol import DecoderError
from geomstats_vae.immersions.rbf import RBFPrecision

Z = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def mean_of(z):
    return torch.stack((z[:, 0], z[:, 1], z[:, 0] * z[:, 1], z.sum(1).sin()), dim=1)


def std_of(z):
    return 1.0 + mean_of(z) ** 2


def image(tensor):
    return tensor.reshape(len(tensor), 1, 2, 2)


def distribution(z):
    return Normal(mean_of(z), std_of(z))


READABLE = {
    "tensor": (mean_of, False),
    "image": (lambda z: image(mean_of(z)), False),
    "tuple": (lambda z: (mean_of(z), std_of(z)), True),
    "list of images": (lambda z: [image(mean_of(z)), image(std_of(z))], True),
    "normal": (distribution, True),
    "independent": (lambda z: Independent(distribution(z), 1), True),
    "image distribution": (
        lambda z: Independent(Normal(image(mean_of(z)), image(std_of(z))), 3),
        True,
    ),
    "reconstruction": (lambda z: SimpleNamespace(reconstruction=image(mean_of(z))), False),
    "sample": (lambda z: SimpleNamespace(sample=mean_of(z)), False),
    "mean": (lambda z: SimpleNamespace(mean=mean_of(z)), False),
    "sample that is a method": (
        lambda z: SimpleNamespace(sample=lambda: None, mean=mean_of(z)),
        False,
    ),
    "gaussian decoder": (GaussianDecoder(mean_of, std_of).eval(), True),
}


@pytest.mark.parametrize("kind", READABLE)
def test_every_output_is_read(kind):
    function, has_std = READABLE[kind]
    decoder = Decoder(function, 2)
    mean, std = decoder.mean_std(Z)
    torch.testing.assert_close(mean, mean_of(Z))
    assert (std is not None) == has_std
    if has_std:
        torch.testing.assert_close(std, std_of(Z))
    value = decoder.immersion()(Z)
    torch.testing.assert_close(value, mean if std is None else torch.cat((mean, std), dim=1))
    assert decoder.immersion().metric(Z).shape == (4, 2, 2)


def test_output_overrides_the_rules():
    decoder = Decoder(
        lambda z: {"mu": mean_of(z), "scale": std_of(z)},
        2,
        output=lambda out: (out["mu"], out["scale"]),
    )
    mean, std = decoder.mean_std(Z)
    torch.testing.assert_close(mean, mean_of(Z))
    torch.testing.assert_close(std, std_of(Z))
    # Also on a module that would be compiled without it.
    linear = nn.Linear(2, 3).eval()
    doubled = Decoder(linear, 2, output=lambda out: 2.0 * out)
    plain = Decoder(linear, 2).immersion()(Z)
    torch.testing.assert_close(doubled.immersion()(Z), 2.0 * plain)


class Model(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, z):
        return self.layers(z)


REFUSED = {
    "dropout left on": (
        lambda: nn.Sequential(nn.Linear(2, 3), nn.Dropout()),
        "evaluation mode.*decoder.eval",
    ),
    "one part in training mode": (
        lambda: nn.Sequential(nn.Linear(2, 3)).eval().append(nn.Dropout()),
        "evaluation mode",
    ),
    "batch statistics": (
        lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, track_running_stats=False)).eval(),
        "track_running_stats",
    ),
    "functional dropout": (
        lambda: lambda z: nn.functional.dropout(mean_of(z), training=True),
        "random",
    ),
    "a sample": (lambda: lambda z: distribution(z).sample(), "random"),
    "functional batch statistics": (lambda: lambda z: mean_of(z) - mean_of(z).mean(0), "mixes"),
    "a string": (lambda: lambda z: "text", "Expected the decoder to return.*got str.*output="),
    "a triple": (lambda: lambda z: (z, z, z), "Expected the decoder to return.*got tuple"),
    "integers": (lambda: lambda z: mean_of(z).long(), "floating-point"),
    "another number of rows": (lambda: lambda z: mean_of(z)[:1], "one output per"),
    "not callable": (lambda: 3, "callable"),
    "another dimension": (lambda: nn.Linear(5, 3).eval(), "dim=2"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refusals(kind):
    build, message = REFUSED[kind]
    with pytest.raises(DecoderError, match=f"(?s){message}"):
        Decoder(build(), 2)


@pytest.mark.parametrize("dim", [0, -1, 1.5])
def test_bad_dimensions_are_refused(dim):
    with pytest.raises(DecoderError, match="positive integer"):
        Decoder(mean_of, dim)


def test_a_decoder_error_is_a_value_error():
    assert issubclass(DecoderError, ValueError)


def test_pair_of_different_widths_is_refused():
    """A scalar scale must not silently become one more output."""
    with pytest.raises(DecoderError, match="same shape"):
        Decoder(lambda z: (mean_of(z), z[:, :1].exp()), 2)


def test_the_callers_module_is_untouched():
    module = Model(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.Dropout(), nn.Linear(5, 3)).eval()
    module.layers[0].weight.requires_grad_(False)
    before = copy.deepcopy(module.state_dict())
    flags = [p.requires_grad for p in module.parameters()]
    decoder = Decoder(module, 2)
    decoder.immersion().jet(Z, Z)
    decoder.immersion(torch.float32)(Z.float())
    assert [p.requires_grad for p in module.parameters()] == flags
    assert not any(part.training for part in module.modules())
    assert all(p.grad is None for p in module.parameters())
    assert all(p.dtype == torch.float32 for p in module.parameters())
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    # And the other way round: later changes of the module do not reach the copy.
    value = decoder.mean_std(Z)[0]
    with torch.no_grad():
        module.layers[3].weight.zero_()
    torch.testing.assert_close(decoder.mean_std(Z)[0], value)


def test_no_global_state_is_touched():
    state, dtype = torch.random.get_rng_state(), torch.get_default_dtype()
    Decoder(mean_of, 2).immersion().jet(Z, Z)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_default_dtype() == dtype
    assert torch.is_grad_enabled()


def test_precision_is_that_of_the_codes():
    decoder = Decoder(nn.Sequential(nn.Linear(2, 3), nn.Tanh()).eval(), 2)
    assert decoder.mean_std(Z)[0].dtype == torch.float64
    assert decoder.mean_std(Z.float())[0].dtype == torch.float32
    assert decoder.immersion(torch.float32).metric(Z.float()).dtype == torch.float32


def test_known_layers_are_compiled_and_others_differentiated():
    rbf = RBFPrecision([[0.0, 0.0], [1.0, 1.0]], [1.0, 2.0], [[1.0, 2.0]] * 3, 0.1)
    known = Decoder(GaussianDecoder(nn.Linear(2, 3), rbf).eval(), 2)
    assert not isinstance(known.immersion(), AutodiffImmersion)
    assert known.immersion() is known.immersion()
    other = Decoder(lambda z: torch.cumsum(z, dim=1), 2)
    assert isinstance(other.immersion(), AutodiffImmersion)


def test_operations_without_a_forward_rule_are_differentiated_in_reverse():
    class Square(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(z):
            return z * z

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, grad):
            (z,) = ctx.saved_tensors
            return 2.0 * z * grad

    immersion = Decoder(Square.apply, 2).immersion()
    torch.testing.assert_close(immersion.metric(Z), torch.diag_embed(4.0 * Z * Z))
    jet = immersion.jet(Z, Z)
    torch.testing.assert_close(jet.derivatives, torch.diag_embed(2.0 * Z))


def test_pickling_and_an_empty_batch():
    decoder = Decoder(nn.Sequential(nn.Linear(2, 3), nn.Tanh()).eval(), 2)
    decoder.immersion()
    again = pickle.loads(pickle.dumps(decoder))
    torch.testing.assert_close(again.immersion()(Z), decoder.immersion()(Z))
    assert decoder.mean_std(Z[:0])[0].shape == (0, 3)
    assert decoder.immersion().metric(Z[:0]).shape == (0, 2, 2)


def test_a_decoder_that_changes_its_output_shape_later_is_refused():
    changed = []

    def changing(z):
        # Cumulated sums are left to automatic derivatives, which ask the decoder every time.
        mean = torch.cumsum(mean_of(z), dim=1)
        return z[:, :1].expand(-1, 7) if changed else mean

    decoder = Decoder(changing, 2)
    changed.append(True)
    with pytest.raises(DecoderError, match="must not change its output shape"):
        decoder.immersion()(Z)


def test_an_immersion_is_used_as_it_is():
    given = AutodiffImmersion(lambda z: torch.cat((mean_of(z), std_of(z)), dim=1), 2, n_mean=4)
    decoder = Decoder(given, 2)
    assert decoder.immersion() is given
    assert decoder.immersion(torch.float64, "cpu") is given
    assert decoder.device == torch.device("cpu")
    again = pickle.loads(pickle.dumps(Decoder(Decoder(nn.Linear(2, 3).eval(), 2).immersion(), 2)))
    assert again.immersion()(Z).shape == (4, 3)


def test_an_immersion_of_another_kind_is_refused():
    given = AutodiffImmersion(mean_of, 2)
    with pytest.raises(DecoderError, match="dimension dim=3, got one of dimension 2"):
        Decoder(given, 3)
    for options in ({"output": abs}, {"likelihood": "expected"}, {"latent_shape": (2,)}):
        with pytest.raises(DecoderError, match="Expected an immersion alone"):
            Decoder(given, 2, **options)
    message = r"(?s)in torch.float32 on cpu, as asked for, got one in torch.float64.*not cast"
    with pytest.raises(DecoderError, match=message):
        Decoder(given, 2).immersion(torch.float32)
    with pytest.raises(DecoderError, match=r"on meta, as asked for, got one in .* on cpu"):
        Decoder(given, 2).immersion(device="meta")
    with pytest.raises(DecoderError, match="decoder to take the mean of, got an immersion"):
        Decoder(given, 2).mean_std(Z)


@pytest.mark.parametrize(
    ("function", "message"),
    [(lambda z: mean_of(z) - mean_of(z).mean(0), "mixes"), (lambda z: mean_of(z)[0], "one output")],
)
def test_immersions_are_checked_as_decoders_are(function, message):
    with pytest.raises(DecoderError, match=message):
        Decoder(AutodiffImmersion(function, 2), 2)


def test_an_immersion_in_single_precision_serves_it():
    module = nn.Sequential(nn.Linear(2, 3), nn.Tanh()).eval()
    single = Decoder(module, 2).immersion(torch.float32)
    assert single.dtype == torch.float32
    assert Decoder(single, 2).immersion(torch.float32) is single
    with pytest.raises(DecoderError, match=r"got one in torch\.float32"):
        Decoder(single, 2).immersion()


def test_layers_without_parameters_compute_in_the_type_asked_for():
    decoder = Decoder(nn.Sequential(nn.Tanh(), nn.SiLU()).eval(), 2)
    for dtype in (torch.float32, torch.float64):
        assert decoder.immersion(dtype).dtype == dtype
        assert decoder.immersion(dtype).metric(Z.to(dtype)).dtype == dtype


class TestRemedies:
    """What is refused says what to do, in code that works."""

    def refusal(self, decoder, dim=2):
        with pytest.raises(DecoderError) as refused:
            Decoder(decoder, dim)
        return str(refused.value)

    @pytest.mark.parametrize(
        "output",
        [
            lambda z: {"loss": 0.0, "reconstruction": mean_of(z)},
            lambda z: (mean_of(z), std_of(z), z),
            lambda z: (3, mean_of(z)),
            lambda z: SimpleNamespace(loss=0.0, x_hat=mean_of(z)),
            lambda z: (mean_of(z), torch.ones(len(z), 1).to(z)),
        ],
    )
    def test_outputs_are_read_as_the_message_says(self, output):
        message = self.refusal(output)
        code = message.split("pass output=")[1].split(" to repeat")[0].rstrip(".")
        read = Decoder(output, 2, output=eval(code))
        torch.testing.assert_close(read.mean_std(Z)[0], mean_of(Z))

    def test_parts_of_a_tuple_are_named(self):
        assert "tuple of 3 (Tensor, Tensor, Tensor)" in self.refusal(lambda z: (z, z, z))

    @pytest.mark.parametrize(
        ("decoder", "remedy"),
        [
            (nn.Linear(2, 3).state_dict(), "load_state_dict(weights)"),
            ("decoder.pt", "load the file"),
            (SimpleNamespace(decoder_=nn.Linear(2, 3)), "model.latent_space_"),
            (SimpleNamespace(decoder=nn.Linear(2, 3)), "model.decoder"),
            (3, "torch module"),
        ],
    )
    def test_what_is_no_decoder(self, decoder, remedy):
        assert remedy in self.refusal(decoder)

    @pytest.mark.parametrize("dim", [0, 1.5, "two", None, float("nan"), float("inf")])
    def test_dimensions(self, dim):
        assert "dim=codes.shape[1]" in self.refusal(mean_of, dim)

    @pytest.mark.parametrize(
        ("decoder", "remedy"),
        [
            (lambda z: mean_of(z).argmax(dim=1, keepdim=True), "torch.softmax"),
            (lambda z: mean_of(z) + torch.randn(len(z), 4).to(z), "torch.randn_like"),
            (lambda z: mean_of(z) - mean_of(z).mean(dim=0), "decoder.eval()"),
            (lambda z: mean_of(z).mean(dim=0), "flatten(1)"),
            (lambda z: torch.ones(5, 3).to(z) @ z, "model.decoder"),
        ],
    )
    def test_outputs_that_define_no_metric(self, decoder, remedy):
        assert remedy in self.refusal(decoder)
