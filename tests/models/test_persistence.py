"""Saving and loading without pickle; damaged, hostile and foreign files."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from geomstats_vae.models import VAE


@pytest.fixture
def saved(quick_vae, tmp_path):
    path = tmp_path / "model.vae"
    quick_vae.save(path)
    return path


def rewrite(path, change_header=None, **arrays):
    """Save again with some arrays replaced, and the header changed by a function."""
    with np.load(path) as archive:
        contents = dict(archive)
    if change_header is not None:
        header = json.loads(contents["header"].tobytes())
        change_header(header)
        contents["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    contents = {k: v for k, v in {**contents, **arrays}.items() if v is not None}
    with open(path, "wb") as file:
        np.savez(file, **contents)


def test_round_trip(quick_vae, saved, plane):
    loaded = VAE.load(saved)
    assert loaded.get_params() == quick_vae.get_params()
    for method in ("transform", "score_samples"):
        np.testing.assert_array_equal(
            getattr(loaded, method)(plane), getattr(quick_vae, method)(plane)
        )
    z = torch.as_tensor(quick_vae.codes_)
    for part in ("decoder_", "variance_head_"):
        assert not getattr(loaded, part).training
    for a, b in zip(loaded.decoder_(z), quick_vae.decoder_(z), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(loaded.variance_head_(z), quick_vae.variance_head_(z))
    for name in ("n_iter_", "noise_std_", "n_features_in_", "output_activation_"):
        assert getattr(loaded, name) == getattr(quick_vae, name)
    for name in ("codes_", "kl_per_dim_", "active_dims_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(quick_vae, name))
    for name, values in quick_vae.history_.items():
        np.testing.assert_array_equal(loaded.history_[name], values)


def test_a_loaded_estimator_can_be_saved_pickled_and_fitted_again(saved, plane, tmp_path):
    loaded = VAE.load(saved)
    loaded.save(tmp_path / "again")
    again = pickle.loads(pickle.dumps(VAE.load(tmp_path / "again")))
    np.testing.assert_array_equal(again.transform(plane), loaded.transform(plane))
    np.testing.assert_array_equal(again.fit(plane).transform(plane), loaded.transform(plane))


def test_feature_names_and_numpy_parameters_survive(quick, plane, tmp_path):
    frame = pd.DataFrame(plane, columns=list("abcde"))
    quick.set_params(
        random_state=np.random.RandomState(0),
        n_centers=np.int64(5),
        a=np.float32(1.5),
        hidden_dims=np.array([8, 4]),
        device=torch.device("cpu"),
    )
    quick.fit(frame).save(tmp_path / "model")
    loaded = VAE.load(tmp_path / "model")
    assert list(loaded.feature_names_in_) == list("abcde")
    assert loaded.hidden_dims == (8, 4)
    assert loaded.random_state is None
    np.testing.assert_array_equal(loaded.transform(frame), quick.transform(frame))


def test_saving_replaces_a_file_whole_or_not_at_all(quick_vae, saved, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr(np, "savez", lambda file, **arrays: file.write(b"part") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        quick_vae.save(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_unfitted_estimator_is_not_saved(quick, tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        quick.save(tmp_path / "model")


class Exploit:
    """Writes a file when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


class TestForeignFiles:
    def check(self, path):
        with pytest.raises(
            ValueError, match=r"Expected a file written by VAE.save.*save the model"
        ):
            VAE.load(path)

    @pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"PK\x03\x04", b"not a model"])
    def test_garbage(self, tmp_path, content):
        path = tmp_path / "model"
        path.write_bytes(content)
        self.check(path)

    def test_pickles_do_not_run(self, tmp_path):
        target = tmp_path / "exploited"
        path = tmp_path / "model"
        exploit = Exploit(target)
        path.write_bytes(pickle.dumps(exploit))
        self.check(path)
        torch.save(exploit, path)
        self.check(path)
        with open(path, "wb") as file:
            np.savez(file, header=np.array([exploit], dtype=object))
        self.check(path)
        assert not target.exists()

    def test_exploit_would_have_run(self, tmp_path):
        pickle.loads(pickle.dumps(Exploit(tmp_path / "exploited")))
        assert (tmp_path / "exploited").exists()

    def test_arrays_of_something_else(self, tmp_path):
        path = tmp_path / "model"
        with open(path, "wb") as file:
            np.savez(file, x=np.ones(3))
        self.check(path)

    def test_compressed_archive(self, saved):
        with np.load(saved) as archive:
            contents = dict(archive)
        with open(saved, "wb") as file:
            np.savez_compressed(file, **contents)
        self.check(saved)

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            VAE.load(tmp_path / "nowhere")

    @pytest.mark.parametrize("keep", np.linspace(0.0, 0.999, 40))
    def test_truncated(self, saved, keep):
        content = saved.read_bytes()
        saved.write_bytes(content[: int(keep * len(content))])
        self.check(saved)

    def test_damaged_bytes(self, saved, plane):
        content = saved.read_bytes()
        expected = VAE.load(saved).transform(plane)
        rng = np.random.default_rng(0)
        n_refused = 0
        for position in rng.integers(len(content), size=300):
            damaged = bytearray(content)
            damaged[position] ^= 1 << rng.integers(8)
            saved.write_bytes(damaged)
            try:
                loaded = VAE.load(saved)
            except ValueError:
                n_refused += 1
            else:
                # A bit that means nothing, such as a date in the archive.
                np.testing.assert_array_equal(loaded.transform(plane), expected)
        assert n_refused > 200

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("format", "something else"),
            ("format_version", 999),
            ("format_version", None),
            ("params", None),
            ("params", {"latent_dim": 2}),
            ("output_activation", "softmax"),
            ("numbers", {"n_features_in_": -1}),
            ("numbers", {"n_features_in_": 1e300, "n_iter_": 4, "noise_std_": 1.0}),
            ("numbers", {"n_features_in_": 10**15, "n_iter_": 4, "noise_std_": 1.0}),
            ("feature_names_in", ["a"]),
        ],
    )
    def test_wrong_header(self, saved, key, value):
        rewrite(saved, lambda header: header.update({key: value}))
        self.check(saved)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("latent_dim", 3),
            ("latent_dim", "2"),
            ("latent_dim", -1),
            ("hidden_dims", [9]),
            ("hidden_dims", [10**15]),
            ("hidden_dims", "abc"),
            ("activation", "__import__('os')"),
            ("unknown", 1),
        ],
    )
    def test_wrong_parameters(self, saved, key, value):
        rewrite(saved, lambda header: header["params"].update({key: value}))
        self.check(saved)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("encoder_.body.0.weight", None),
            ("encoder_.body.0.weight", np.zeros((8, 4))),
            ("encoder_.body.0.weight", np.full((8, 5), np.nan)),
            ("encoder_.body.0.weight", np.zeros((8, 5), dtype=np.float32)),
            ("encoder_.body.0.weight", np.zeros((8, 5), dtype=complex)),
            ("encoder_.body.0.weight", np.full((8, 5), "x")),
            ("encoder_.more", np.zeros(3)),
            ("decoder_.std.weights", np.zeros((5, 5))),
            ("decoder_.std.weights", np.ones((4, 5))),
            ("decoder_.std.centers", np.ones((5, 3))),
            ("decoder_.std.zeta", np.array(-1.0)),
            ("codes_", np.zeros((3, 3))),
            ("codes_", None),
            ("history_.epoch", np.arange(3)),
        ],
    )
    def test_wrong_arrays(self, saved, name, value):
        rewrite(saved, **{name: value})
        self.check(saved)

    def test_member_that_is_no_array(self, saved):
        with zipfile.ZipFile(saved, "a") as archive:
            archive.writestr("note.txt", "hello")
        self.check(saved)

    def test_version_is_named(self, saved):
        rewrite(saved, lambda header: header.update(format_version=2))
        with pytest.raises(ValueError, match="version 2 where this release reads version 1"):
            VAE.load(saved)
