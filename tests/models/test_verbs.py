"""The verbs of a fitted VAE, few rows, and the variance head that is trained if asked for."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from geomstats_vae.manifolds import LatentSpace
from geomstats_vae.models import VAE, base, stages
from geomstats_vae.models.noise import NoiseOptions


def test_encode_and_decode_in_any_batch_shape(quick_vae, plane):
    codes, data = quick_vae.transform(plane[:6]), quick_vae.inverse_transform(plane[:6, :2])
    assert quick_vae.encode(plane[0]).shape == (2,)
    np.testing.assert_array_equal(quick_vae.encode(plane[:6]), codes)
    batch = quick_vae.encode(plane[:6].reshape(2, 3, 5))
    np.testing.assert_array_equal(batch, codes.reshape(2, 3, 2))
    found = quick_vae.decode(plane[:6, :2].reshape(3, 2, 2))
    np.testing.assert_array_equal(found, data.reshape(3, 2, 5))
    again = quick_vae.inverse_transform(quick_vae.transform(plane[:4]))
    np.testing.assert_array_equal(quick_vae.reconstruct(plane[:4].reshape(2, 2, 5))[1], again[2:])
    assert quick_vae.encode(plane[:3].astype(np.float32)).dtype == np.float32


def test_encode_keeps_tables(quick, plane):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(plane, columns=list("abcde"))
    vae = quick.fit(table)
    np.testing.assert_array_equal(vae.encode(table), vae.transform(table))
    with pytest.raises(ValueError, match="feature names"):
        vae.encode(table[list("edcba")])


def test_interpolate_goes_between_codes(quick_vae, plane, monkeypatch):
    # Without codes there is no graph to be built.
    monkeypatch.setattr(base, "LatentSpace", lambda decoder, dim, points: LatentSpace(decoder, dim))
    quick_vae = pickle.loads(pickle.dumps(quick_vae))
    a, b = quick_vae.encode(plane[:2])
    codes, decoded, path = quick_vae.interpolate(a, b, 4)
    ends = [np.asarray(codes)[0], np.asarray(codes)[-1]]
    np.testing.assert_allclose(ends, [a, b], atol=1e-12)
    np.testing.assert_allclose(decoded, quick_vae.decode(codes), rtol=1e-12)
    assert path.converged
    with pytest.raises(ValueError, match=r"\[\.\.\., 2\], got \[5\]; pass latent codes, not data"):
        quick_vae.interpolate(plane[0], plane[1])


def test_unfitted(quick, plane):
    for verb in (quick.encode, quick.decode, quick.reconstruct):
        with pytest.raises(NotFittedError):
            verb(plane)
    with pytest.raises(NotFittedError):
        quick.interpolate(plane[0, :2], plane[1, :2])


@pytest.mark.parametrize(("n_rows", "kind"), [(3, np.asarray), (20, np.float32), (50, list)])
def test_few_rows(plane, n_rows, kind):
    data = kind(plane[:n_rows])
    vae = VAE(hidden_dims=(16,), max_epochs=30, random_state=0).fit(data)
    assert len(vae.decoder_.std.centers) == max(1, n_rows // 10)
    assert vae.codes_.shape == (n_rows, 2)
    assert np.isfinite(vae.score(data))
    assert np.isfinite(vae.latent_space_.metric.metric_matrix(vae.codes_)).all()


def test_one_row_is_not_enough(plane):
    with pytest.raises(ValueError, match="minimum of 2 is required by VAE"):
        VAE().fit(plane[:1])


@pytest.mark.parametrize(("n_rows", "n_centers"), [(2, 1), (19, 1), (50, 5), (640, 64), (9999, 64)])
def test_ten_rows_for_each_center(n_rows, n_centers):
    assert NoiseOptions("auto", 1.0, 1.0, False).n_centers_of(n_rows) == n_centers
    assert NoiseOptions(7, 1.0, 1.0, False).n_centers_of(n_rows) == 7


class TestVarianceHead:
    def test_is_not_trained_unless_asked_for(self, quick, plane, monkeypatch):
        with_head = quick.fit(plane)
        state = {name: t.clone() for name, t in with_head.decoder_.state_dict().items()}
        assert isinstance(with_head.variance_head_, torch.nn.Module)
        monkeypatch.setattr(stages, "train", _once(stages.train))
        without = VAE(**{**quick.get_params(), "variance_head": False}).fit(plane)
        assert without.variance_head_ is None
        # All else is the same.
        for name, tensor in without.decoder_.state_dict().items():
            assert torch.equal(tensor, state[name])

    def test_models_without_are_saved(self, quick, plane, tmp_path):
        vae = quick.set_params(variance_head=False).fit(plane)
        vae.save(tmp_path / "vae")
        again = VAE.load(tmp_path / "vae")
        assert again.variance_head_ is None
        assert again.get_params() == vae.get_params()
        np.testing.assert_array_equal(again.score_samples(plane), vae.score_samples(plane))


def _once(function):
    """Let a function be called a single time."""
    calls = []

    def called(*args, **options):
        assert not calls
        calls.append(args)
        return function(*args, **options)

    return called
