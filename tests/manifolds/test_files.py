"""Files of latent spaces: the same distances, no code, and clear errors."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

from geomstats_vae import VAE, EnsembleDecoder, GeodesicSolver
from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.immersions.described import describe, rebuild
from geomstats_vae.manifolds import AdaptiveExpSolver, LatentSpace
from tests.manifolds import spaces
from tests.manifolds.spaces import array, draw, host

CODES = draw(20, 2)


class Own(nn.Module):
    """A class that no file describes."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.body = spaces.network()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float64))

    def forward(self, z):
        return self.scale * self.body(z)

    def decode(self, z, factor=1.0):
        return factor * self(z)


def double(output):
    return 2.0 * output


def convolutional():
    torch.manual_seed(0)
    layers = (
        *(nn.Linear(2, 16), nn.Unflatten(1, (4, 2, 2)), nn.BatchNorm2d(4), nn.SiLU()),
        *(nn.ConvTranspose2d(4, 2, 2, stride=2, bias=False), nn.GroupNorm(2, 2), nn.GELU("tanh")),
        *(nn.Upsample(scale_factor=2), nn.Conv2d(2, 1, 3, padding=1), nn.LayerNorm(8, bias=False)),
        *(nn.Dropout(0.3), nn.Softplus(beta=2.0), nn.Flatten()),
    )
    return nn.Sequential(*layers).double().eval()


def saved(space, tmp_path):
    space.save(tmp_path / "space.safetensors")
    return tmp_path / "space.safetensors"


def assert_same(loaded, space):
    a, b = array(CODES[:3]), array(CODES[3:6])
    z = array(CODES[:2])
    for name in ("metric_matrix", "volume_density"):
        found = getattr(loaded.metric, name)(z)
        np.testing.assert_allclose(host(found), host(getattr(space.metric, name)(z)), rtol=1e-12)
    np.testing.assert_allclose(host(loaded.dist(a, b)), host(space.dist(a, b)), rtol=1e-12)
    assert loaded.metric.solver == space.metric.solver
    assert loaded.metric.exponential == space.metric.exponential
    assert loaded.metric.on_failure == space.metric.on_failure
    assert loaded.metric.decoder.latent_shape == space.metric.decoder.latent_shape


@pytest.mark.parametrize(
    ("decoder", "options"),
    [
        (spaces.vae_like_decoder(), {}),
        (convolutional(), {}),
        (EnsembleDecoder([spaces.network(), spaces.vae_like_decoder()]), {}),
        (nn.Sequential(nn.Flatten(), spaces.network()).eval(), {"latent_shape": (2, 1)}),
        (spaces.network(), {"likelihood": "expected", "on_failure": "ignore", "table": False}),
        (
            spaces.network(),
            {"solver": GeodesicSolver(tol=1e-9), "exponential": ExponentialSolver(rtol=1e-5)},
        ),
    ],
    ids=["vae", "convolutional", "ensemble", "shape", "likelihood", "solvers"],
)
def test_described_decoders(decoder, options, tmp_path):
    space = LatentSpace(decoder, 2, **options)
    loaded = LatentSpace.load(saved(space, tmp_path))
    assert_same(loaded, space)
    assert loaded.codes is None


@pytest.mark.long
def test_codes_and_what_is_found_by_them(tmp_path):
    space = LatentSpace(spaces.vae_like_decoder(), points=CODES)
    loaded = LatentSpace.load(saved(space, tmp_path))
    np.testing.assert_array_equal(host(loaded.codes), CODES)
    assert_same(loaded, space)


def test_scaled_metrics_and_tables(tmp_path):
    space = LatentSpace(spaces.network(), points=CODES, table=True)
    space.metric = 4.0 * space.metric
    loaded = LatentSpace.load(saved(space, tmp_path))
    assert loaded.metric.geometry.scale == 4.0
    assert loaded.metric.geometry.table.always
    np.testing.assert_array_equal(host(loaded.codes), CODES)
    found, expected = (one.metric.metric_matrix(array(CODES)) for one in (loaded, space))
    np.testing.assert_array_equal(host(found), host(expected))


@pytest.mark.parametrize(
    "of",
    [
        lambda own: own,
        lambda own: own.decode,
        lambda own: functools.partial(own.decode, factor=3.0),
        lambda own: EnsembleDecoder([own, spaces.network()]),
    ],
    ids=["module", "method", "partial", "ensemble"],
)
def test_other_modules_are_given_again(of, tmp_path):
    space = LatentSpace(of(Own(2.0).eval()), 2)
    path = saved(space, tmp_path)
    with pytest.raises(TypeError, match=r"Expected decoder \(.*Own.*\).*holds numbers and no code"):
        LatentSpace.load(path)
    fresh = Own().train()
    assert_same(LatentSpace.load(path, of(fresh)), space)
    # The caller's module is as it was.
    assert fresh.scale.item() == 1.0
    assert fresh.scale.requires_grad
    assert fresh.training


def test_functions_are_given_again(tmp_path):
    space = LatentSpace(torch.sin, 2, output=double)
    path = saved(space, tmp_path)
    with pytest.raises(TypeError, match=r"decoder and output \(sin\).*decoder=.*, output="):
        LatentSpace.load(path)
    assert_same(LatentSpace.load(path, torch.sin, output=double), space)
    plain = saved(LatentSpace(torch.sin, 2), tmp_path)
    assert_same(LatentSpace.load(plain, torch.sin, output=double), space)


def test_solvers_of_ones_own_are_given_again(tmp_path):
    class OwnSolver(GeodesicSolver):
        pass

    space = LatentSpace(spaces.network(), solver=OwnSolver())
    path = saved(space, tmp_path)
    with pytest.raises(TypeError, match="Expected solver, as the space was made of"):
        LatentSpace.load(path)
    assert type(LatentSpace.load(path, solver=OwnSolver()).metric.solver) is OwnSolver


def test_decoders_that_do_not_fit(tmp_path):
    path = saved(LatentSpace(Own().eval(), 2), tmp_path)
    with pytest.raises(ValueError, match=r"the space was made of \(Own\).*Missing key"):
        LatentSpace.load(path, spaces.network())
    with pytest.raises(ValueError, match=r"a module such as Own as decoder.*got builtin"):
        LatentSpace.load(path, torch.sin)
    path = saved(LatentSpace(EnsembleDecoder([Own().eval(), Own().eval()]), 2), tmp_path)
    with pytest.raises(ValueError, match="an EnsembleDecoder of 2 decoders, got Own"):
        LatentSpace.load(path, Own())


def test_what_cannot_be_stored(tmp_path):
    space = LatentSpace(spaces.network())
    space.metric.exp_solver = AdaptiveExpSolver(space)
    with pytest.raises(ValueError, match=r"own exp_solver, got AdaptiveExpSolver.*after loading"):
        space.save(tmp_path / "space")
    with pytest.raises(FileNotFoundError, match="make it first"):
        LatentSpace(spaces.network()).save(tmp_path / "nowhere" / "space")


def test_files_of_other_kinds(tmp_path):
    path = saved(LatentSpace(spaces.network()), tmp_path)
    with pytest.raises(ValueError, match=r"it holds a LatentSpace; LatentSpace\.load reads it"):
        VAE.load(path)
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    with pytest.raises(ValueError, match=r"written by LatentSpace\.save"):
        LatentSpace.load(path)
    path.write_text("no space")
    with pytest.raises(ValueError, match=r"written by LatentSpace\.save"):
        LatentSpace.load(path)
    with pytest.raises(FileNotFoundError):
        LatentSpace.load(tmp_path / "missing")


class TestDescriptions:
    def test_modules_that_do_more_than_their_layers(self):
        hooked = spaces.network()
        hooked.register_forward_hook(lambda module, args, output: 2.0 * output)
        replaced = spaces.network()
        replaced.forward = torch.sin
        normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)))

        class Chain(nn.Sequential):
            pass

        for module in (hooked, replaced, normed, Chain(nn.Linear(2, 3)), Own()):
            assert describe(module) is None
            assert describe(nn.Sequential(module)) is None

    def test_unknown_kinds_are_refused(self):
        with pytest.raises(ValueError, match="'Module' is no known layer"):
            rebuild({"kind": "Module", "options": {}}, {})

    def test_single_precision_stays(self):
        module = nn.Sequential(nn.Linear(2, 3), nn.PReLU(), nn.Hardtanh(-2.0, 2.0)).eval()
        again = rebuild(describe(module), dict(module.state_dict()))
        z = torch.randn(4, 2)
        assert torch.equal(again(z), module(z))
        assert not any(parameter.requires_grad for parameter in again.parameters())
