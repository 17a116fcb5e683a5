"""A small AutoencoderKL of diffusers, trained for a few steps on scikit-learn's digits."""

import numpy as np
import pytest
import torch

from geomstats_vae import LatentSpace

diffusers = pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def images(digits):
    values = torch.as_tensor(digits.data.reshape(-1, 1, 8, 8), dtype=torch.float32)
    values = 2.0 * values / values.max() - 1.0
    return torch.nn.functional.interpolate(values, size=(16, 16))


@pytest.fixture(scope="module", params=[False, True], ids=["convolutions", "attention"])
def autoencoder(request, images):
    """Codes are 4 x 8 x 8."""
    torch.manual_seed(0)
    model = diffusers.AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        norm_num_groups=2,
        sample_size=16,
        mid_block_add_attention=request.param,
    )
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(30):
        batch = images[torch.randint(len(images), (32,))]
        loss = ((model.decode(model.encode(batch).latent_dist.mean).sample - batch) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@pytest.fixture(scope="module")
def space(autoencoder, images):
    return LatentSpace.from_diffusers(autoencoder, images[:50])


def test_codes_are_the_means_of_the_encoder(space, autoencoder, images):
    expected = autoencoder.encode(images[:50]).latent_dist.mean.flatten(1)
    assert space.dim == 4 * 8 * 8
    np.testing.assert_allclose(space.metric.points, expected.detach(), rtol=1e-3, atol=1e-4)


def test_metric_is_that_of_the_decoder(space, autoencoder, check_metric):
    double = autoencoder.double()
    check_metric(
        space, lambda z: double.decode(z.reshape(-1, 4, 8, 8)).sample, space.metric.points[0]
    )
    autoencoder.float()


def test_distances_on_the_graph(space):
    """In 256 dimensions a geodesic or an exponential takes minutes; the graph takes seconds."""
    codes = space.metric.points[:6]
    found = space.metric.dist_pairwise(codes, method="graph")
    with torch.no_grad():
        images = space.metric.geometry.immersion(torch.device("cpu"))(torch.as_tensor(codes))
    chords = torch.cdist(images, images).numpy()
    # No curve is shorter than the chord in the data.
    assert (found >= chords * (1.0 - 1e-6)).all()
    np.testing.assert_allclose(found, found.T)


def test_latents_of_a_pipeline(autoencoder):
    latents = torch.randn(5, 4, 8, 8)
    codes = latents / autoencoder.config.scaling_factor
    space = LatentSpace.from_diffusers(autoencoder, points=codes)
    np.testing.assert_array_equal(space.metric.points, codes.flatten(1).double())


def test_tiles_are_not_decoded_one_by_one(autoencoder, images, space):
    autoencoder.enable_tiling()
    autoencoder.enable_slicing()
    z = space.metric.points[:1]
    tiled = LatentSpace.from_diffusers(autoencoder, points=z, latent_shape=(4, 8, 8))
    assert autoencoder.use_tiling
    autoencoder.disable_tiling()
    autoencoder.disable_slicing()
    np.testing.assert_allclose(
        tiled.metric.metric_matrix(z), space.metric.metric_matrix(z), rtol=1e-9, atol=1e-12
    )


def test_quantised_codes_are_refused():
    model = diffusers.VQModel(norm_num_groups=2, block_out_channels=(4,))
    with pytest.raises(ValueError, match="quantises"):
        LatentSpace.from_diffusers(model, latent_shape=(3, 8, 8))
