"""An SCVI of scvi-tools on the counts of 700 blood cells."""

import numpy as np
import pytest
import torch

from geomstats_vae import LatentSpace

scvi = pytest.importorskip("scvi")
anndata = pytest.importorskip("anndata")
scanpy = pytest.importorskip("scanpy")


@pytest.fixture(scope="module")
def cells():
    """Scanpy's cells with their counts, which its file holds as logarithms of shares of 10,000."""
    cells = scanpy.datasets.pbmc68k_reduced()
    shares = np.expm1(cells.raw.X.toarray().astype(float))
    counts = shares * cells.obs["n_counts"].to_numpy()[:, None] / 1e4
    # Logarithms are stored with three digits, so single counts come out as whole numbers.
    assert np.quantile(np.abs(counts - counts.round()), 0.99) < 0.02
    obs = cells.obs[["phase", "bulk_labels", "percent_mito"]].copy()
    return anndata.AnnData(np.float32(counts.round()), obs=obs)


def train(cells, setup=None, epochs=5, **options):
    cells = cells.copy()
    scvi.settings.seed = 0
    scvi.model.SCVI.setup_anndata(cells, batch_key="phase", **(setup or {}))
    model = scvi.model.SCVI(cells, n_latent=2, **options)
    model.train(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False, batch_size=64
    )
    return model


@pytest.fixture(scope="module")
def model(cells):
    return train(cells, epochs=20, gene_likelihood="nb")


@pytest.fixture(scope="module")
def space(model):
    return LatentSpace.from_scvi(model)


def embedded(model, library, batch, **inputs):
    """Fisher-Rao's embedding of the model's negative binomials, in double precision."""
    module = model.module.double()

    def function(z):
        fixed = {
            "library": torch.full((len(z), 1), library, dtype=torch.float64).log(),
            "batch_index": torch.full((len(z), 1), batch),
        }
        px = module.generative(z=z, **fixed, **inputs)["px"]
        return 2.0 * px.theta.sqrt() * torch.asinh((px.mu / px.theta).sqrt())

    return function


def test_codes_are_those_of_the_model(space, model):
    np.testing.assert_allclose(
        space.metric.points, model.get_latent_representation(), rtol=1e-4, atol=1e-5
    )


def test_metric_at_the_median_library_and_the_commonest_batch(space, model, cells, check_metric):
    phases = cells.obs["phase"]
    batch = sorted(phases.unique()).index(phases.mode()[0])
    library = float(np.median(cells.X.sum(axis=1)))
    check_metric(space, embedded(model, library, batch), space.metric.points[0])
    model.module.float()


def test_metric_at_another_library_and_batch(model, check_metric):
    space = LatentSpace.from_scvi(model, library=1e4, batch="S")
    check_metric(space, embedded(model, 1e4, 2), space.metric.points[5])
    model.module.float()


def test_geodesics(space, check_geodesics):
    a, b = space.metric.points[:2]
    check_geodesics(space, a, a + 0.02 * (b - a))


def test_covariates(cells, check_metric):
    setup = {
        "categorical_covariate_keys": ["bulk_labels"],
        "continuous_covariate_keys": ["percent_mito"],
    }
    model = train(cells, setup, gene_likelihood="nb")
    with pytest.raises(ValueError, match=r"'bulk_labels': one of \[.*'percent_mito': a number"):
        LatentSpace.from_scvi(model)
    given = {"bulk_labels": "Dendritic", "percent_mito": 0.02}
    space = LatentSpace.from_scvi(model, batch="G1", library=500.0, covariates=given)
    index = list(cells.obs["bulk_labels"].cat.categories).index("Dendritic")
    inputs = {
        "cat_covs": torch.tensor([[index]]),
        "cont_covs": torch.tensor([[0.02]], dtype=torch.float64),
    }
    check_metric(space, embedded(model, 500.0, 0, **inputs), space.metric.points[0])


@pytest.mark.parametrize(
    ("setup", "options"),
    [
        ({}, {"gene_likelihood": "zinb"}),
        ({}, {"gene_likelihood": "nb", "dispersion": "gene-batch"}),
        ({}, {"gene_likelihood": "poisson", "use_observed_lib_size": False}),
        ({"size_factor_key": "size"}, {"gene_likelihood": "nb"}),
    ],
)
def test_other_likelihoods_and_sizes(cells, setup, options):
    cells = cells.copy()
    cells.obs["size"] = cells.X.sum(axis=1) / cells.X.sum(axis=1).mean()
    model = train(cells, setup, epochs=2, **options)
    space = LatentSpace.from_scvi(model, indices=np.arange(0, 700, 7))
    assert space.metric.points.shape == (100, 2)
    assert (np.linalg.eigvalsh(space.metric.metric_matrix(space.metric.points[0])) > 0.0).all()


def moments(px):
    return px.mean, px.variance.sqrt()


def test_dispersions_of_each_cell_are_compared_by_mean_and_std(cells, check_metric):
    model = train(cells, epochs=2, gene_likelihood="nb", dispersion="gene-cell")
    space = LatentSpace.from_scvi(model, library=500.0, batch=0, likelihood=moments)
    module = model.module.double()

    def function(z):
        library = torch.full((1, 1), 500.0, dtype=torch.float64).log()
        batch = torch.zeros(1, 1, dtype=torch.long)
        return torch.cat(moments(module.generative(z=z, library=library, batch_index=batch)["px"]))

    check_metric(space, function, space.metric.points[0])


def test_scanvi(cells):
    scanvi = scvi.model.SCANVI.from_scvi_model(
        train(cells, {"labels_key": "bulk_labels"}, epochs=2),
        unlabeled_category="unknown",
    )
    scanvi.train(max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False)
    space = LatentSpace.from_scvi(scanvi)
    np.testing.assert_allclose(
        space.metric.points, scanvi.get_latent_representation(), rtol=1e-4, atol=1e-5
    )
    assert (np.linalg.eigvalsh(space.metric.metric_matrix(space.metric.points[0])) > 0.0).all()


def test_untrained_models_are_refused(cells):
    scvi.model.SCVI.setup_anndata(cells, batch_key="phase")
    with pytest.raises(ValueError, match=r"untrained SCVI; call model\.train"):
        LatentSpace.from_scvi(scvi.model.SCVI(cells))
