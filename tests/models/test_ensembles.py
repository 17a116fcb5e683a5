"""A VAE with several decoders: what each learns, and what they are together."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from geomstats_vae import EnsembleDecoder, GaussianDecoder, LatentSpace
from geomstats_vae.immersions import Decoder
from geomstats_vae.models import VAE
from geomstats_vae.models.objectives import NegativeElbo
from geomstats_vae.models.training import TrainingOptions, train
from tests.models.test_persistence import assert_same_model, rewrite

QUICK = {
    "hidden_dims": (8,),
    "n_centers": 5,
    "variance_head": True,
    "max_epochs": 4,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def ensemble(plane):
    return VAE(n_decoders=3, **QUICK).fit(plane)


def metric_of(vae):
    """The metric without a graph, which takes a second per member."""
    return LatentSpace(vae.decoder_, vae.latent_dim, on_failure="raise").metric


def test_members_differ_in_their_means_and_precisions(ensemble):
    assert isinstance(ensemble.decoder_, EnsembleDecoder)
    z, members = torch.as_tensor(ensemble.codes_[:10]), ensemble.decoder_.members
    assert all(isinstance(member, GaussianDecoder) for member in members)
    for part in (0, 1):
        values = torch.stack([member(z)[part] for member in members])
        assert (values.std(dim=0) > 1e-6 * values.mean(dim=0).abs()).all()
    for tensor in ensemble.decoder_.state_dict(keep_vars=True).values():
        assert not tensor.requires_grad
        assert tensor.dtype == torch.float64
    assert not any(part.training for part in ensemble.decoder_.modules())


def test_one_decoder_is_no_ensemble(quick_vae):
    assert quick_vae.n_decoders == 1
    assert isinstance(quick_vae.decoder_, GaussianDecoder)


def test_each_member_learns_as_much_as_one_alone(plane):
    """A rank-two plane with noise 0.05: every member's residuals come near those of one decoder."""
    options = {"hidden_dims": (16,), "n_centers": 5, "max_epochs": 30, "random_state": 0}
    one, three = (VAE(n_decoders=n, **options).fit(plane) for n in (1, 3))
    z = torch.as_tensor(three.codes_)
    with torch.no_grad():
        residuals = [plane - member.mean(z).numpy() for member in three.decoder_.members]
    errors = np.sqrt([(part**2).mean() for part in residuals])
    assert (errors < 1.5 * one.noise_std_).all()
    # The mean of several is nearer to the data than they are in the root mean square.
    assert three.noise_std_ < np.sqrt((errors**2).mean())


def test_distances_have_a_spread(ensemble):
    distances = metric_of(ensemble).dist_members(ensemble.codes_[:4], ensemble.codes_[4:8])
    assert distances.shape == (4, 3)
    variation = distances.std(axis=1) / distances.mean(axis=1)
    assert (variation > 1e-6).all()
    assert (variation < np.sqrt(2.0)).all()  # the largest that three positive numbers may have


def test_the_latent_space_is_that_of_the_ensemble(ensemble):
    z = ensemble.codes_[:5]
    metric = ensemble.latent_space_.metric
    assert len(metric.decoder.members) == 3
    singles = [Decoder(member, 2) for member in ensemble.decoder_.members]
    expected = torch.stack([part.immersion().metric(torch.as_tensor(z)) for part in singles])
    np.testing.assert_allclose(metric.metric_matrix(z), expected.mean(dim=0), rtol=1e-12)


def test_reconstructions_are_means_over_the_members(ensemble, plane):
    z = ensemble.codes_[:7]
    with torch.no_grad():
        decoded = [member.mean(torch.as_tensor(z)) for member in ensemble.decoder_.members]
    np.testing.assert_allclose(ensemble.inverse_transform(z), torch.stack(decoded).mean(dim=0))
    residuals = plane - ensemble.inverse_transform(ensemble.transform(plane))
    np.testing.assert_allclose(ensemble.noise_std_, np.sqrt((residuals**2).mean()))


def mixture_of(vae, z):
    """The decoder's distribution at codes, by torch's own mixture."""
    means, stds = zip(*[member(z) for member in vae.decoder_.members], strict=True)
    parts = Independent(Normal(torch.stack(means, dim=-2), torch.stack(stds, dim=-2)), 1)
    return MixtureSameFamily(Categorical(torch.ones(len(z), len(means))), parts)


@torch.no_grad()
def test_likelihood_is_that_of_the_mixture(ensemble, plane):
    """With nearly no spread of the codes, E_q log p is log p of the mixture at the code."""
    vae, x = pickle.loads(pickle.dumps(ensemble)), torch.as_tensor(plane[:6])
    narrow = 1e-7

    class Narrow(nn.Module):
        def forward(self, x):
            mean, _ = ensemble.encoder_(x)
            return mean, torch.full_like(mean, narrow)

    vae.encoder_ = Narrow()
    mean, _ = vae.encoder_(x)
    divergence = (0.5 * (mean**2 + narrow**2 - 1.0) - np.log(narrow)).sum(dim=1)
    expected = mixture_of(vae, mean).log_prob(x) - divergence
    np.testing.assert_allclose(vae.score_samples(plane[:6]), expected, rtol=1e-5)


def test_samples_are_of_the_mixture(ensemble):
    """First two moments of 20,000 samples, against those of codes of the prior."""
    X = ensemble.sample(20000, random_state=0)
    z = torch.randn(20000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, std = Decoder(ensemble.decoder_, 2).mean_std(z)
    second = (mean**2 + std**2).mean(dim=0) - mean.mean(dim=0) ** 2
    error = 5.0 * X.std(axis=0) * np.sqrt(2.0 / len(X))  # five standard errors of a difference
    assert (np.abs(X.mean(axis=0) - mean.mean(dim=0).numpy()) < error).all()
    np.testing.assert_allclose(X.var(axis=0), second, rtol=0.15)


def test_equal_seeds_give_equal_ensembles(ensemble, plane):
    assert_same_model(clone(ensemble).fit(plane), ensemble, plane)
    other = clone(ensemble).set_params(random_state=1).fit(plane)
    assert not np.allclose(other.transform(plane), ensemble.transform(plane))


def test_saved_ensembles_are_the_same(ensemble, plane, tmp_path):
    ensemble.save(tmp_path / "model.vae")
    loaded = VAE.load(tmp_path / "model.vae")
    assert_same_model(loaded, ensemble, plane)
    assert loaded.n_decoders == len(loaded.decoder_.members) == 3
    a, b = ensemble.codes_[:3], ensemble.codes_[3:6]
    first, second = (metric_of(vae).dist_members(a, b) for vae in (ensemble, loaded))
    np.testing.assert_array_equal(first, second)


def test_files_without_the_number_of_decoders_have_one(quick_vae, plane, tmp_path):
    path = tmp_path / "old.vae"
    quick_vae.save(path)
    rewrite(path, lambda header: header["params"].pop("n_decoders"))
    assert_same_model(VAE.load(path), quick_vae, plane)


@pytest.mark.parametrize("n_decoders", [1, 2, 4])
def test_files_with_another_number_of_decoders_are_refused(ensemble, n_decoders, tmp_path):
    path = tmp_path / "model.vae"
    ensemble.save(path)
    rewrite(path, lambda header: header["params"].update(n_decoders=n_decoders))
    with pytest.raises(ValueError, match=r"a file written by VAE\.save"):
        VAE.load(path)


@pytest.mark.parametrize("n_decoders", [0, -1, 1.5, None, "two"])
def test_bad_numbers_of_decoders_are_refused(plane, n_decoders):
    with pytest.raises(
        ValueError, match=r"'n_decoders' parameter of VAE must be an int .*\[1, inf"
    ):
        VAE(n_decoders=n_decoders, **QUICK).fit(plane)


class Autoencoder(nn.Module):
    """The codes are the data; each decoder is a matrix."""

    def __init__(self, n_decoders):
        super().__init__()
        matrices = [nn.Linear(2, 2, bias=False).double() for _ in range(n_decoders)]
        self.decoders = nn.ModuleList(matrices)
        for matrix in matrices:
            matrix.weight.data = torch.eye(2, dtype=torch.float64)

    def encoder(self, x):
        return x, torch.full_like(x, 1e-9)


def test_decoders_get_the_weight_decay_of_one_alone():
    """Equal members take equal steps, whatever their number: prior and likelihood keep their share.

    Adam divides by the size of the gradient, so only the proportion of the two matters.
    """
    x = torch.randn(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    options = TrainingOptions(5, 40, 1e-2, weight_decay=10.0, patience=9)
    found = []
    for n in (1, 4):
        model, generator = Autoencoder(n), torch.Generator().manual_seed(0)
        settings = {"warmup_epochs": 1, "variance_floor": 1.0, "unit": 1.0, "generator": generator}
        objective = NegativeElbo(model, x, 2.0 * x, (x, 2.0 * x), **settings)
        train(model, objective, 40, options, generator, shares={"decoders": 1.0 / n})
        found += [decoder.weight.detach() for decoder in model.decoders]
    for weight in found[1:]:
        torch.testing.assert_close(weight, found[0], rtol=1e-6, atol=1e-7)
