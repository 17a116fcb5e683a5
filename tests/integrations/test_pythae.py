"""A VAE of pythae, with its own networks and loss, on scikit-learn's digits."""

import logging

import numpy as np
import pytest
import torch

from geomstats_vae import LatentSpace

models = pytest.importorskip("pythae.models")
pipelines = pytest.importorskip("pythae.pipelines")
trainers = pytest.importorskip("pythae.trainers")


@pytest.fixture(scope="module")
def images(digits):
    return np.float32(digits.data.reshape(-1, 1, 8, 8) / digits.data.max())


@pytest.fixture(scope="module")
def vae(images, tmp_path_factory):
    logging.disable(logging.INFO)
    torch.manual_seed(0)
    config = models.VAEConfig(input_dim=(1, 8, 8), latent_dim=2, reconstruction_loss="bce")
    model = models.VAE(config)
    training = trainers.BaseTrainerConfig(
        output_dir=str(tmp_path_factory.mktemp("pythae")),
        num_epochs=8,
        learning_rate=1e-3,
        per_device_train_batch_size=64,
        no_cuda=True,
    )
    pipelines.TrainingPipeline(training_config=training, model=model)(images)
    logging.disable(logging.NOTSET)
    return model


@pytest.fixture(scope="module")
def space(vae, images):
    return LatentSpace.from_pythae(vae, images)


def test_codes_are_the_means_of_the_encoder(space, vae, images):
    expected = vae.encoder(torch.as_tensor(images)).embedding.detach().numpy()
    np.testing.assert_allclose(space.metric.points, expected, rtol=1e-4, atol=1e-5)
    # Digits that look alike are close to each other: the model has learnt something.
    assert space.metric.points.std(axis=0).min() > 0.1


def test_metric_is_that_of_the_decoder(space, vae, check_metric):
    decoder = vae.decoder.double()
    check_metric(space, lambda z: decoder(z).reconstruction, space.metric.points[0])
    decoder.float()


def test_geodesics(space, check_geodesics):
    a, b = space.metric.points[:2]
    check_geodesics(space, a, a + 0.02 * (b - a))


@pytest.mark.parametrize("name", ["AE", "BetaVAE", "FactorVAE"])
def test_other_autoencoders(name, images):
    config = getattr(models, f"{name}Config")(input_dim=(1, 8, 8), latent_dim=3)
    space = LatentSpace.from_pythae(getattr(models, name)(config), images[:20])
    assert space.metric.points.shape == (20, 3)
    assert (np.linalg.eigvalsh(space.metric.metric_matrix(space.metric.points[0])) > 0.0).all()
