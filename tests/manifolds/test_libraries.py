"""Latent spaces of other libraries' models, by small models with the same interfaces.

`make integrations` tries the libraries themselves.
"""

import copy
import pickle

import numpy as np
import pytest
import torch

from geomstats_vae import DecoderError, LatentSpace
from tests.manifolds.library_models import Diffusers, Pythae, Scvi
from tests.manifolds.spaces import array, draw, host

DATA = draw(12, 6)
IMAGES = draw(12, 32).reshape(12, 2, 4, 4)


def of_pythae(model, **options):
    return LatentSpace.from_pythae(model, DATA, **options)


def of_scvi(model, **options):
    return LatentSpace.from_scvi(model, **options)


def of_diffusers(model, **options):
    return LatentSpace.from_diffusers(model, IMAGES, **options)


LIBRARIES = [
    pytest.param(Pythae, of_pythae, id="pythae"),
    pytest.param(Scvi, of_scvi, id="scvi"),
    pytest.param(Diffusers, of_diffusers, id="diffusers"),
]


def module_of(model):
    return model if isinstance(model, torch.nn.Module) else model.module


def pullback(function, z):
    """J' J of a function of one code, by reverse mode."""
    jacobian = torch.autograd.functional.jacobian(function, torch.as_tensor(z))
    jacobian = jacobian.reshape(-1, len(z))
    return (jacobian.T @ jacobian).numpy()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("kind", "read"), LIBRARIES)
def test_the_callers_model_is_untouched(kind, read, training):
    model = kind()
    module = module_of(model).train(training)
    before = copy.deepcopy(module.state_dict())
    settings = dict(vars(model)), dict(vars(module))
    space = read(model)
    assert all(part.training is training for part in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert all(parameter.dtype == torch.float32 for parameter in module.parameters())
    assert (vars(model), vars(module)) == settings
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    # And the space does not follow the model.
    z = space.metric.points[:2]
    expected = host(space.metric.metric_matrix(array(z)))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(host(space.metric.metric_matrix(array(z))), expected)


@pytest.mark.parametrize(("kind", "read"), LIBRARIES)
def test_pickles_give_the_same_metric_without_the_encoder(kind, read):
    space = read(kind())
    again = pickle.loads(pickle.dumps(space))
    z = array(space.metric.points[:2])
    expected = host(space.metric.metric_matrix(z))
    np.testing.assert_array_equal(host(again.metric.metric_matrix(z)), expected)
    names = [name for name, _ in space.metric.decoder.source.named_parameters()]
    assert names
    assert not any({"encoder", "z_encoder"} & set(name.split(".")) for name in names)


@pytest.mark.parametrize(("kind", "read"), LIBRARIES)
def test_metric_options_pass_through(kind, read):
    assert read(kind(), on_failure="raise").metric.on_failure == "raise"


def test_pythae():
    model = Pythae().eval()
    space = of_pythae(model, batch_size=5)
    expected = model.encoder(torch.as_tensor(DATA, dtype=torch.float32)).embedding
    np.testing.assert_allclose(space.metric.points, expected.detach(), rtol=1e-5)
    model = model.double()
    z = space.metric.points[0]
    metric = pullback(lambda code: model.decoder(code[None]).reconstruction, z)
    np.testing.assert_allclose(host(space.metric.metric_matrix(array(z))), metric, rtol=1e-9)


def test_points_in_place_of_data():
    codes = draw(7, 2)
    assert LatentSpace.from_pythae(Pythae()).metric.points is None
    np.testing.assert_array_equal(
        LatentSpace.from_pythae(Pythae(), points=codes).metric.points, codes
    )
    np.testing.assert_array_equal(LatentSpace.from_scvi(Scvi(), points=codes).metric.points, codes)
    images = draw(7, 8)
    for points in (images, images.reshape(7, 2, 2, 2)):
        space = LatentSpace.from_diffusers(Diffusers(), points=points, latent_shape=(2, 2, 2))
        np.testing.assert_array_equal(space.metric.points, images)
    with pytest.raises(ValueError, match="data to encode or points, got both"):
        of_pythae(Pythae(), points=codes)
    with pytest.raises(ValueError, match=r"shape \[n_points, 2\] as points, got \[7, 8\]"):
        LatentSpace.from_pythae(Pythae(), points=images)


def test_scvi_decodes_at_one_library_and_one_batch():
    model = Scvi()
    model.module.eval()
    metrics = {}
    for name, options in {
        "default": {},
        "b": {"batch": "b"},
        "index": {"batch": 1},
        "a": {"batch": "a"},
        "large": {"library": 2000.0},
    }.items():
        space = of_scvi(model, likelihood=lambda px: 2.0 * px.rate.sqrt(), **options)
        z = space.metric.points[0]
        metrics[name] = host(space.metric.metric_matrix(array(z)))
    counts = model.adata_manager.get_from_registry("X")
    median = np.median(counts.sum(axis=1))
    module = model.module.double()

    def embedded(code):
        logits = module.decoder(code[None]) + module.effects[:, 1]
        return 2.0 * (median * np.e * logits.softmax(-1)).sqrt()

    np.testing.assert_allclose(metrics["default"], pullback(embedded, z), rtol=1e-6)
    np.testing.assert_array_equal(metrics["b"], metrics["default"])
    np.testing.assert_array_equal(metrics["index"], metrics["default"])
    assert not np.allclose(metrics["a"], metrics["default"])
    # Fisher-Rao's metric of Poisson counts grows with the number of counts.
    np.testing.assert_allclose(metrics["large"], metrics["default"] * 2000.0 / median, rtol=1e-9)


def test_scvi_takes_chosen_cells():
    chosen = [0, 3, 20]
    space = of_scvi(Scvi(), indices=chosen)
    everything = of_scvi(Scvi()).metric.points
    np.testing.assert_allclose(space.metric.points, everything[chosen], rtol=1e-5)
    decoder = space.metric.decoder.source
    sizes = Scvi().adata_manager.get_from_registry("X")[chosen].sum(axis=1)
    assert float(decoder.log_library.exp()) == pytest.approx(np.median(sizes))
    # Two of the three are in the first batch.
    assert int(decoder.batch) == 0


def test_scvi_asks_for_covariates_by_name():
    given = {"sex": "m", "age": 0.5}
    space = of_scvi(Scvi(covariates=True), covariates=given)
    decoder = space.metric.decoder.source
    assert decoder.categorical.tolist() == [[1]]
    assert decoder.continuous.tolist() == [[0.5]]
    other = of_scvi(Scvi(covariates=True), covariates=given | {"age": 2.0})
    z = array(space.metric.points[0])
    assert not np.allclose(host(space.metric.metric_matrix(z)), host(other.metric.metric_matrix(z)))
    with pytest.raises(ValueError, match=r"'sex': one of \['f', 'm'\], 'age': a number"):
        of_scvi(Scvi(covariates=True))
    with pytest.raises(ValueError, match="for no other"):
        of_scvi(Scvi(), covariates={"age": 0.5})
    with pytest.raises(ValueError, match=r"as 'sex' one of \['f', 'm'\], got 'x'"):
        of_scvi(Scvi(covariates=True), covariates=given | {"sex": "x"})


def test_diffusers():
    model = Diffusers()
    space = of_diffusers(model, batch_size=5)
    assert space.dim == 8
    expected = model.encoder(torch.as_tensor(IMAGES, dtype=torch.float32)).flatten(1)
    np.testing.assert_allclose(space.metric.points, expected.detach(), rtol=1e-5, atol=1e-6)
    model = model.double()
    z = space.metric.points[0]
    metric = pullback(lambda code: model.decoder(code.reshape(1, 2, 2, 2)), z)
    np.testing.assert_allclose(host(space.metric.metric_matrix(array(z))), metric, atol=1e-9)


def test_other_models_are_refused():
    module = torch.nn.Linear(2, 3)
    with pytest.raises(DecoderError, match=r"pythae with \.encoder, .* got an object of type Lin"):
        LatentSpace.from_pythae(module)
    with pytest.raises(DecoderError, match="got the class Pythae"):
        LatentSpace.from_pythae(Pythae)
    with pytest.raises(DecoderError, match=r"scvi-tools with .* \(no \.module\.generative\)"):
        LatentSpace.from_scvi(module)
    with pytest.raises(DecoderError, match=r"diffusers with \.encode, \.decode, got"):
        LatentSpace.from_diffusers(module)


def test_models_without_a_metric_are_refused():
    model = Pythae()
    model.model_name = "VQVAE"
    with pytest.raises(DecoderError, match="quantised"):
        of_pythae(model)
    model.model_name = "VAE_IAF"
    with pytest.raises(DecoderError, match=r"points=model\.embed\(data\)"):
        of_pythae(model)
    assert LatentSpace.from_pythae(model, points=draw(3, 2)).dim == 2
    autoencoder = Diffusers()
    autoencoder.quantize = torch.nn.Identity()
    with pytest.raises(DecoderError, match="quantises"):
        of_diffusers(autoencoder)
    cells = Scvi()
    cells.module.latent_distribution = "ln"
    with pytest.raises(DecoderError, match="simplex"):
        of_scvi(cells)
    cells = Scvi()
    cells.is_trained = False
    with pytest.raises(DecoderError, match=r"untrained Scvi; call model\.train\(\)"):
        of_scvi(cells)


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match=r"encoder failed on data of shape \[3, 5\]"):
        LatentSpace.from_pythae(Pythae(), np.ones((3, 5)))
    with pytest.raises(ValueError, match="finite data"):
        LatentSpace.from_pythae(Pythae(), np.full((3, 6), np.nan))
    with pytest.raises(ValueError, match="batch_size >= 1"):
        of_pythae(Pythae(), batch_size=0)
    with pytest.raises(ValueError, match="library > 0, got -3"):
        of_scvi(Scvi(), library=-3)
    with pytest.raises(ValueError, match=r"batches \['a', 'b'\], or an index below 2, got 'c'"):
        of_scvi(Scvi(), batch="c")
    with pytest.raises(ValueError, match=r"pass latent_shape="):
        LatentSpace.from_diffusers(Diffusers(), points=np.zeros((3, 8)))
    with pytest.raises(ValueError, match="leave latent_shape out"):
        of_diffusers(Diffusers(), latent_shape=(8, 1, 1))
