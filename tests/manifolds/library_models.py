"""Small models with the interfaces of pythae, scvi-tools and diffusers."""

from types import SimpleNamespace

import numpy as np
import torch
from torch.distributions import Poisson

from tests.manifolds.spaces import draw


def network(n_in, n_out):
    generator = torch.Generator().manual_seed(n_in)
    layers = [
        torch.nn.Linear(n_in, 8),
        torch.nn.Tanh(),
        torch.nn.Dropout(),
        torch.nn.Linear(8, n_out),
    ]
    for parameter in torch.nn.Sequential(*layers).parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return layers


class WithField(torch.nn.Module):
    """A network that returns its output as a field of an object."""

    def __init__(self, n_in, n_out, field):
        super().__init__()
        self.layers = torch.nn.ModuleList(network(n_in, n_out))
        self.field = field

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return SimpleNamespace(**{self.field: x})


class Pythae(torch.nn.Module):
    """An autoencoder of 6 values with 2 latent dimensions."""

    latent_dim, model_name = 2, "VAE"

    def __init__(self):
        super().__init__()
        self.encoder = WithField(6, 2, "embedding")
        self.decoder = WithField(2, 6, "reconstruction")
        self.float()  # whatever the default type


class Diffusers(torch.nn.Module):
    """An autoencoder of 2 x 4 x 4 images whose codes are 2 x 2 x 2."""

    use_slicing, use_tiling = False, True

    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.Conv2d(2, 2, 2, stride=2)
        self.decoder = torch.nn.Sequential(
            torch.nn.ConvTranspose2d(2, 2, 2, stride=2), torch.nn.Tanh()
        )
        self.float()

    def encode(self, images):
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=self.encoder(images)))

    def decode(self, z):
        assert z.shape[1:] == (2, 2, 2)
        assert not self.use_tiling
        return SimpleNamespace(sample=self.decoder(z))


class ScviModule(torch.nn.Module):
    """Decodes 2 latent dimensions to 5 genes; the batch shifts the logits."""

    n_latent, dispersion, use_size_factor_key = 2, "gene-batch", False

    def __init__(self):
        super().__init__()
        self.z_encoder = torch.nn.Sequential(*network(5, 2))
        self.decoder = torch.nn.Sequential(*network(2, 5))
        self.effects = torch.nn.Parameter(torch.arange(5.0)[:, None] * torch.arange(2.0))
        self.px_r = torch.nn.Parameter(torch.ones(5, 2))
        self.float()

    def generative(self, z, library, batch_index, cont_covs=None, cat_covs=None, size_factor=None):
        logits = self.decoder(z) + self.effects.T[batch_index[:, 0]]
        if cont_covs is not None:
            logits = logits + cont_covs * cat_covs * torch.arange(5.0).to(z)
        shape = self.px_r.exp() if self.dispersion == "gene" else self.px_r.exp()[:, 0]
        return {"px": Poisson(torch.exp(library) * logits.softmax(-1) * shape)}


class Scvi:
    """A model of 40 cells, 25 of them in the batch "b"."""

    is_trained = True

    def __init__(self, covariates=False):
        self.module = ScviModule()
        counts = 1.0 + np.abs(draw(40, 5, scale=20.0)).round()
        fields = {"X": counts, "batch": (np.arange(40) >= 15)[:, None].astype(int)}
        states = {"X": {}, "batch": {"categorical_mapping": np.array(["a", "b"], dtype=object)}}
        if covariates:
            states["extra_categorical_covs"] = {"mappings": {"sex": np.array(["f", "m"])}}
            states["extra_continuous_covs"] = {"columns": np.array(["age"])}
        self.adata_manager = SimpleNamespace(
            data_registry=states, get_state_registry=states.get, get_from_registry=fields.get
        )

    def get_latent_representation(self, adata=None, indices=None):
        assert not self.module.training
        counts = torch.as_tensor(self.adata_manager.get_from_registry("X"), dtype=torch.float32)
        counts = counts if indices is None else counts[indices]
        return self.module.z_encoder(counts.log1p()).detach().numpy()
