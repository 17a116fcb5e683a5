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
from safetensors import safe_open
from safetensors.numpy import save_file

from geomstats_vae import archive
from geomstats_vae.models import VAE


@pytest.fixture
def saved(quick_vae, tmp_path):
    path = tmp_path / "model.vae"
    quick_vae.save(path)
    return path


def read(path):
    """What a file holds: its metadata, and its arrays."""
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["geomstats_vae"])
        return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def rewrite(path, change_header=None, **arrays):
    """Save again with some arrays replaced, and the header changed by a function.

    The checksum is made to fit, as somebody who means harm would.
    """
    about, contents = read(path)
    contents = {k: v for k, v in {**contents, **arrays}.items() if v is not None}
    if change_header is not None:
        change_header(about["header"])
    archive.write(path, "VAE", about["header"], contents)


def rewrite_metadata(path, **changes):
    about, arrays = read(path)
    about = {k: v for k, v in {**about, **changes}.items() if v is not ...}
    save_file(arrays, path, metadata={"geomstats_vae": json.dumps(about)})


def write_version_1(path, header, arrays, save=np.savez):
    """Write a file as releases before the safetensors format did."""
    header = {"format": "VAE", "format_version": 1, **header}
    encoded = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with open(path, "wb") as file:
        save(file, header=encoded, **arrays)


def assert_same_model(a, b, x):
    """All that was fitted is the same, bit by bit."""
    assert a.get_params() == b.get_params()
    for method in ("transform", "score_samples"):
        np.testing.assert_array_equal(getattr(a, method)(x), getattr(b, method)(x))
    for part in ("encoder_", "decoder_", "variance_head_"):
        states = (getattr(vae, part).state_dict() for vae in (a, b))
        for (name, first), (other, second) in zip(*map(dict.items, states), strict=True):
            assert name == other
            assert first.dtype == second.dtype
            assert torch.equal(first, second)
    numbers = ("n_iter_", "noise_std_", "n_features_in_", "a_", "zeta_", "torn_share_")
    for name in (*numbers, "output_activation_"):
        assert getattr(a, name) == getattr(b, name)
    for name in ("codes_", "kl_per_dim_", "active_dims_"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)
    for name, values in b.history_.items():
        np.testing.assert_array_equal(a.history_[name], values, strict=True)


def test_round_trip(quick_vae, saved, plane):
    loaded = VAE.load(saved)
    assert_same_model(loaded, quick_vae, plane)
    z = torch.as_tensor(quick_vae.codes_)
    for part in ("decoder_", "variance_head_"):
        assert not getattr(loaded, part).training
    for a, b in zip(loaded.decoder_(z), quick_vae.decoder_(z), strict=True):
        assert torch.equal(a, b)


def test_files_from_before_a_and_zeta_were_chosen(quick, plane, tmp_path):
    path = tmp_path / "model.vae"
    vae = quick.set_params(a=1.5, zeta=None, warmup="kl").fit(plane)
    vae.save(path)

    def forget(header):
        for name in ("a_", "torn_share_"):
            del header["numbers"][name]
        del header["params"]["warmup"]

    rewrite(path, forget)
    loaded = VAE.load(path)
    assert loaded.get_params() == vae.get_params()
    assert (loaded.a_, loaded.zeta_, loaded.torn_share_) == (1.5, vae.zeta_, None)


def test_a_file_is_the_same_each_time(quick_vae, saved, tmp_path):
    quick_vae.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.arange(6.0)[::2],
        np.arange(3, dtype=">f8"),
        np.float32(1.1) * np.arange(3, dtype=np.float32),
        np.array(2.5),
        np.array([True, False]),
        np.zeros((0, 3)),
    ],
    ids=["transposed", "strided", "big-endian", "single", "scalar", "bool", "empty"],
)
def test_arrays_of_any_layout_and_type_survive(tmp_path, array):
    path = tmp_path / "arrays"
    archive.write(path, "test", {"pi": np.pi}, {"x": array})
    header, arrays = archive.read(path, "test", lambda *contents: contents)
    assert header == {"pi": np.pi}
    np.testing.assert_array_equal(arrays["x"], array)
    assert arrays["x"].shape == array.shape
    assert arrays["x"].dtype == array.dtype.newbyteorder("<")
    # The caller may write into what was read.
    assert arrays["x"].flags.writeable


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
    monkeypatch.setattr(
        archive, "save_file", lambda _, path, metadata: path.write_bytes(b"part") and 1 / 0
    )
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

    @pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"geomstats_vae": "{"}])
    def test_tensors_of_something_else(self, tmp_path, metadata):
        path = tmp_path / "model"
        save_file({"x": np.ones(3)}, path, metadata=metadata)
        self.check(path)

    def test_another_kind_of_file(self, tmp_path):
        path = tmp_path / "model"
        archive.write(path, "GAN", {}, {"x": np.ones(3)})
        with pytest.raises(ValueError, match="it holds a GAN"):
            VAE.load(path)

    def test_folder(self, tmp_path):
        with pytest.raises(IsADirectoryError):
            VAE.load(tmp_path)

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
                # A bit that means nothing, such as the order of names in the file's own header.
                np.testing.assert_array_equal(loaded.transform(plane), expected)
        assert n_refused >= 299

    @pytest.mark.parametrize(
        ("key", "value"),
        [
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
            ("format", "something else"),
            ("format", ...),
            ("format_version", None),
            ("format_version", ...),
            ("sha256", None),
            ("sha256", "0" * 64),
            ("sha256", ...),
            ("header", None),
            ("header", ...),
        ],
    )
    def test_wrong_metadata(self, saved, key, value):
        rewrite_metadata(saved, **{key: value})
        self.check(saved)

    @pytest.mark.parametrize("change", ["header", "arrays"])
    def test_changed_by_hand(self, saved, change):
        about, arrays = read(saved)
        if change == "header":
            about["header"]["params"]["batch_size"] += 1
        else:
            arrays["codes_"] += 1e-9
        save_file(arrays, saved, metadata={"geomstats_vae": json.dumps(about)})
        with pytest.raises(ValueError, match="changed after it was written"):
            VAE.load(saved)

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
            ("encoder_.body.0.weight", np.zeros((8, 5), dtype=np.complex64)),
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

    def test_version_is_named(self, saved):
        rewrite_metadata(saved, format_version=3)
        with pytest.raises(ValueError, match="version 3 where this release reads versions up to 2"):
            VAE.load(saved)


class TestVersion1:
    """Files of earlier releases: zip archives of arrays, the header among them."""

    @pytest.fixture
    def old(self, saved):
        about, arrays = read(saved)
        return about["header"], arrays

    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "old"

    def refused(self, path, reason=""):
        message = rf"Expected a file written by VAE.save.*{reason}.*save the model"
        with pytest.raises(ValueError, match=message):
            VAE.load(path)

    def test_is_read(self, quick_vae, old, path, plane):
        write_version_1(path, *old)
        assert_same_model(VAE.load(path), quick_vae, plane)

    @pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
    def test_truncated(self, old, path, keep):
        write_version_1(path, *old)
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * len(content))])
        self.refused(path)

    def test_damaged_bytes(self, old, path, plane):
        write_version_1(path, *old)
        content, expected = path.read_bytes(), VAE.load(path).transform(plane)
        rng = np.random.default_rng(0)
        n_refused = 0
        for position in rng.integers(len(content), size=100):
            damaged = bytearray(content)
            damaged[position] ^= 1 << rng.integers(8)
            path.write_bytes(damaged)
            try:
                loaded = VAE.load(path)
            except ValueError:
                n_refused += 1
            else:
                # A bit that means nothing, such as a date in the archive.
                np.testing.assert_array_equal(loaded.transform(plane), expected)
        assert n_refused > 65

    def test_compressed(self, old, path):
        write_version_1(path, *old, save=np.savez_compressed)
        self.refused(path, "compressed")

    def test_text_in_place_of_numbers(self, old, path):
        header, arrays = old
        write_version_1(path, header, arrays | {"codes_": np.full((200, 2), "x")})
        self.refused(path, "not an array of numbers")

    def test_member_that_is_no_array(self, old, path):
        write_version_1(path, *old)
        with zipfile.ZipFile(path, "a") as members:
            members.writestr("note.txt", "hello")
        self.refused(path, "not an array of numbers")

    def test_arrays_of_something_else(self, path):
        with open(path, "wb") as file:
            np.savez(file, x=np.ones(3))
        self.refused(path, "no header")

    def test_other_version(self, old, path):
        header, arrays = old
        write_version_1(path, header | {"format_version": 999}, arrays)
        self.refused(path, "version 999")
