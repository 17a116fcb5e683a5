"""What one tries first with a latent space: decode, interpolate, measure, move, and print."""

import copy
import pickle

import numpy as np
import pytest
import torch

from geomstats_vae import EnsembleDecoder
from geomstats_vae.geodesics import GeodesicConvergenceWarning, GeodesicSolver
from geomstats_vae.immersions.decoder import Decoder
from geomstats_vae.immersions.protocol import DecoderError
from geomstats_vae.manifolds import LatentSpace
from tests import surfaces
from tests.manifolds import spaces
from tests.manifolds.spaces import array, draw, host

ARRAY = torch.Tensor if spaces.ON_TORCH else np.ndarray


class Images(torch.nn.Module):
    """A decoder whose data are images, with a standard deviation."""

    latent_dim = 2

    def __init__(self):
        super().__init__()
        self.mean = spaces.network(n_outputs=12)

    def forward(self, z):
        mean = self.mean(z).unflatten(1, (3, 4))
        return mean, mean.square() + 1.0


@pytest.fixture(scope="module")
def images():
    return LatentSpace(Images().eval())


@pytest.fixture(scope="module")
def space():
    return LatentSpace(spaces.vae_like_decoder(), points=array(draw(30, 2)), table=False)


class TestDimension:
    network = spaces.network(dim=3)

    @pytest.mark.parametrize(
        ("decoder", "options"),
        [
            (network, {}),
            (Images().eval(), {}),
            (spaces.vae_like_decoder(dim=3), {}),
            (EnsembleDecoder([network, network]), {}),
            (Decoder(network, 3).immersion(), {}),
            (torch.sin, {"points": np.zeros((4, 3))}),
            (torch.sin, {"latent_shape": (3, 1)}),
            (network, {"dim": 3.0}),
        ],
        ids=["linear", "attribute", "precision", "ensemble", "immersion", "points", "shape", "dim"],
    )
    def test_is_found(self, decoder, options):
        expected = 2 if isinstance(decoder, Images) else 3
        assert LatentSpace(decoder, **options).dim == expected

    def test_is_asked_for_where_nothing_tells_it(self):
        encoder_first = torch.nn.Sequential(torch.nn.Linear(7, 2), self.network)
        for decoder in (torch.sin, encoder_first.forward, torch.nn.Conv1d(2, 2, 1).eval()):
            with pytest.raises(TypeError, match=r"does not tell it; pass points=codes.* or dim"):
                LatentSpace(decoder)

    def test_codes_in_its_place(self):
        with pytest.raises(TypeError, match=r"an array of shape \[5, 3\].*passed as points=codes"):
            LatentSpace(self.network, draw(5, 3))
        for wrong in (2.5, "two", True):
            with pytest.raises(TypeError, match="whole number as dim"):
                LatentSpace(self.network, wrong)

    def test_estimators_and_names_are_no_decoders(self):
        class Fitted:
            latent_space_ = None

        with pytest.raises(TypeError, match=r"callable as decoder, got Fitted.*latent_space_"):
            LatentSpace(Fitted())
        with pytest.raises(TypeError, match="callable as decoder, got str"):
            LatentSpace("vae.pt", points=draw(5, 2))

    def test_a_wrong_guess_is_named(self):
        class Padded(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.side, self.body = torch.nn.Linear(5, 1), spaces.network()

            def forward(self, z):
                return self.body(z)

        with pytest.raises(DecoderError, match=r"dim=5 was read off the decoder.*pass dim"):
            LatentSpace(Padded().eval())
        assert LatentSpace(Padded().eval(), 2).dim == 2


class TestDecode:
    @pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
    def test_any_batch_shape(self, images, batch):
        z = draw(*batch, 2)
        decoded = images.decode(array(z))
        assert isinstance(decoded, ARRAY)
        assert decoded.shape == (*batch, 3, 4)
        flat = Images().mean(torch.from_numpy(z.reshape(-1, 2))).detach().numpy()
        np.testing.assert_allclose(host(decoded).reshape(-1, 12), flat, rtol=1e-12)

    def test_lists(self, images):
        assert images.decode([[0.0, 1.0]]).shape == (1, 3, 4)

    def test_distributions_give_the_mean_of_the_data(self):
        def decode(z):
            return torch.distributions.Independent(torch.distributions.Poisson(z.exp()), 1)

        z = draw(4, 2)
        decoded = LatentSpace(decode, 2).decode(array(z))
        np.testing.assert_allclose(host(decoded), np.exp(z), rtol=1e-12)

    def test_ensembles_give_the_mean_of_their_means(self):
        first, second = Images().eval(), Images().eval()
        for parameter in second.parameters():
            parameter.data *= 2.0
        z = array(draw(4, 2))
        parts = [host(LatentSpace(one, 2).decode(z)) for one in (first, second)]
        decoded = LatentSpace(EnsembleDecoder([first, second]), 2).decode(z)
        np.testing.assert_allclose(host(decoded), np.mean(parts, axis=0), rtol=1e-12)

    def test_immersions_have_no_data(self, images):
        space = LatentSpace(images.metric.geometry.immersion())
        with pytest.raises(DecoderError, match="got an immersion"):
            space.decode(array(draw(4, 2)))

    def test_data_are_no_codes(self, images):
        with pytest.raises(ValueError, match=r"\[\.\.\., 2\], got \[4, 12\]; pass latent codes"):
            images.decode(array(draw(4, 12)))

    @pytest.mark.skipif(not spaces.ON_TORCH, reason="numpy arrays have no derivatives")
    def test_is_differentiable_in_the_codes(self, images):
        z = array(draw(4, 2)).requires_grad_()
        expected = torch.autograd.grad(Images().mean(z).sum(), z)
        torch.testing.assert_close(torch.autograd.grad(images.decode(z).sum(), z), expected)
        assert images.decode(z.detach().float()).dtype == torch.float32


class TestInterpolate:
    def test_steps_are_of_equal_length(self):
        space = LatentSpace(spaces.vae_like_decoder())
        a, b = array(draw(2, 2, scale=0.5)), array(draw(2, 2, scale=0.5, seed=1))
        codes, decoded, path = space.interpolate(a, b, 5)
        assert codes.shape == (2, 5, 2)
        np.testing.assert_allclose(host(codes)[:, [0, -1]], np.stack((host(a), host(b)), 1))
        np.testing.assert_array_equal(host(decoded), host(space.decode(codes)))
        steps = host(space.dist(codes[:, :-1], codes[:, 1:]))
        expected = np.repeat(host(path.length)[:, None] / 4.0, 4, axis=1)
        np.testing.assert_allclose(steps, expected, rtol=1e-3)

    def test_batches_broadcast(self, images):
        found = images.interpolate(array(draw(3, 1, 2)), array(draw(2)), 4)
        assert found.codes.shape == (3, 1, 4, 2)
        assert found.decoded.shape == (3, 1, 4, 3, 4)
        assert isinstance(found.codes, ARRAY)
        assert isinstance(found.decoded, ARRAY)
        single = images.interpolate([0.0, 0.0], [1.0, 1.0])
        assert single.codes.shape == (10, 2)
        assert repr(single).startswith("Interpolation(codes [10, 2], decoded [10, 3, 4], Geo")

    @pytest.mark.parametrize("n_points", [1, 0, 2.5, True, None])
    def test_number_of_points(self, images, n_points):
        with pytest.raises(ValueError, match="whole number n_points >= 2"):
            images.interpolate([0.0, 0.0], [1.0, 1.0], n_points)

    def test_failures_are_told_of(self):
        space = LatentSpace(surfaces.sphere, 2, solver=GeodesicSolver(max_seconds=1e-9))
        a, b = array([[0.2, 0.0]]), array([[0.0, 0.9]])
        with pytest.warns(GeodesicConvergenceWarning, match="1 of 1 geodesics") as told:
            found = space.interpolate(a, b, 3)
        assert told[0].filename == __file__
        assert found.decoded.shape == (1, 3, 3)


class TestPath:
    def test_decodes(self, images):
        path = images.metric.solve_geodesic(array(draw(3, 2)), array(draw(3, 2, seed=1)))
        np.testing.assert_array_equal(host(path.decode()), host(images.decode(path.points)))
        at = images.decode(path(array(np.linspace(0.0, 1.0, 4))))
        np.testing.assert_array_equal(host(path.decode(4)), host(at))
        assert path[1].decode(2).shape == (2, 3, 4)
        for part in (path.reshape((3, 1)), *path):
            assert part.decoder is not None

    def test_is_pickled_without_the_decoder(self, images):
        path = images.metric.solve_geodesic(array(draw(3, 2)), array(draw(3, 2, seed=1)))
        for other in (pickle.loads(pickle.dumps(path)), copy.copy(path)):
            np.testing.assert_array_equal(host(other.points), host(path.points))
            with pytest.raises(ValueError, match=r"use space\.decode\(path\.points\)"):
                other.decode()

    def test_prints_in_one_line(self, images):
        path = images.metric.solve_geodesic(array(np.zeros((2, 1, 2))), array(draw(2, 3, 2)))
        line = repr(path)
        assert line.startswith("GeodesicPath(2 x 3 pairs, 6 CONVERGED, length ")
        assert "\n" not in line
        assert repr(path[0, 0]).startswith("GeodesicPath(CONVERGED, length ")
        assert "2 x 3 pairs" in path._repr_html_()
        assert (path.status_names == "CONVERGED").all()
        assert path[0, 0].status_names == "CONVERGED"
        assert "0 pairs" in repr(path[0][:0])

    def test_a_single_one_has_no_parts(self, images):
        path = images.metric.solve_geodesic([0.0, 0.0], [1.0, 1.0])
        with pytest.raises(IndexError, match=r"batch shape \[\], got 0"):
            path[0]


def test_distances(images):
    a, b = array(draw(2, 1, 2)), array(draw(3, 2, seed=1))
    np.testing.assert_array_equal(host(images.dist(a, b)), host(images.metric.dist(a, b)))


def test_codes(space):
    codes = space.codes
    assert isinstance(codes, ARRAY)
    np.testing.assert_array_equal(host(codes), draw(30, 2))
    codes[:] = 0.0
    np.testing.assert_array_equal(host(space.codes), draw(30, 2))
    assert LatentSpace(spaces.network()).codes is None


class TestTo:
    def test_distances_stay(self, images):
        a, b = array(draw(3, 2)), array(draw(3, 2, seed=1))
        np.testing.assert_array_equal(host(images.to("cpu").dist(a, b)), host(images.dist(a, b)))

    def test_nothing_is_shared_but_the_codes(self, space):
        other = space.to("cpu")
        assert other is not space
        assert other.metric._space is other
        assert other.metric.exp_solver.metric is other.metric
        assert other.metric.geometry.graph is not space.metric.geometry.graph
        assert other.metric.decoder.source is not space.metric.decoder.source

    def test_ensembles(self):
        space = LatentSpace(EnsembleDecoder([spaces.network(), spaces.network()]))
        first, moved = space.metric.decoder.members[0], space.to("cpu").metric.decoder.members[0]
        assert moved is not first
        z = array(draw(2, 2))
        expected = host(space.metric.metric_matrix(z))
        np.testing.assert_array_equal(host(space.to("cpu").metric.metric_matrix(z)), expected)

    @pytest.mark.parametrize("device", ["nowhere", "meta", 3.5])
    def test_devices_that_are_not_there(self, space, device):
        with pytest.raises(ValueError, match="device that torch finds on this machine, got"):
            space.to(device)


class TestPrinted:
    def test_spaces_and_metrics(self, space):
        assert repr(space) == "LatentSpace(dim=2, decoder=GaussianDecoder, 30 codes)"
        line = "PullbackDecoderMetric(dim=2, decoder=GaussianDecoder, 30 codes)"
        assert repr(space.metric) == line
        assert repr(2.0 * space.metric) == f"2 * {line}"
        for shown in (space._repr_html_(), space.metric._repr_html_()):
            assert shown.startswith("<div>")
            assert "GaussianDecoder" in shown
        assert "scaled by" in (2.0 * space.metric)._repr_html_()

    def test_kinds_of_decoders(self):
        def decode(z):
            return torch.sin(z)

        network = spaces.network()
        for decoder, name in (
            (decode, "decode"),
            (lambda z: z, "<lambda>"),
            (network.forward, "Sequential.forward"),
            (EnsembleDecoder([network, network]), "EnsembleDecoder of 2 Sequential"),
        ):
            space = LatentSpace(decoder, 2)
            assert repr(space) == f"LatentSpace(dim=2, decoder={name}, no codes)"
        assert "&lt;lambda&gt;" in LatentSpace(lambda z: z, 2)._repr_html_()

    def test_spaces_without_a_decoders_metric(self):
        space = LatentSpace(spaces.network())
        del space.metric
        assert repr(space) == "LatentSpace(dim=2, NoneType)"
        assert "NoneType" in space._repr_html_()
