"""Arrays, labels and images: how files of them are read, or why they are refused."""

import numpy as np
import pytest

from geomstats_vae.report import ReportError, read_inputs
from geomstats_vae.report.reading import (
    ImageLayout,
    layout_of,
    parse_image_shape,
    read_labels,
    read_samples,
)

X = np.random.default_rng(0).normal(size=(12, 3)).round(3)
SPECIES = ["cat", "dog", "T cell"] * 4


@pytest.fixture
def text(tmp_path):
    """Write a text to a file."""

    def text(content, name="X.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return text


@pytest.fixture
def save(tmp_path):
    """Write an array to a file."""

    def save(array, name="X.npy"):
        np.save(tmp_path / name, array)
        return tmp_path / name

    return save


def assumed(samples, word):
    """Whether exactly one assumption has the word."""
    return sum(word in assumption for assumption in samples.assumptions) == 1


class TestArrays:
    def test_npy(self, save):
        samples = read_samples(save(np.arange(6).reshape(3, 2)))
        assert samples.X.dtype == np.float64
        np.testing.assert_array_equal(samples.X, [[0, 1], [2, 3], [4, 5]])
        assert samples.assumptions == ()

    def test_npz_of_one_array(self, tmp_path):
        np.savez(tmp_path / "X.npz", anything=X)
        np.testing.assert_array_equal(read_samples(tmp_path / "X.npz").X, X)

    def test_npz_with_labels(self, tmp_path):
        np.savez(tmp_path / "X.npz", y=np.arange(12) % 3, X=X, other=np.zeros(2))
        samples = read_samples(tmp_path / "X.npz")
        np.testing.assert_array_equal(samples.X, X)
        np.testing.assert_array_equal(samples.labels, np.arange(12) % 3)
        assert assumed(samples, "'X' is read as the samples, array 'y'")

    def test_npz_with_what_are_no_classes(self, tmp_path):
        np.savez(tmp_path / "X.npz", X=X, y=np.zeros(5))
        samples = read_samples(tmp_path / "X.npz")
        assert samples.labels is None
        assert assumed(samples, "left out: Expected 12 labels")

    def test_npz_of_other_names(self, tmp_path):
        np.savez(tmp_path / "X.npz", a=X, b=X)
        with pytest.raises(ReportError, match=r"Expected one array.*'a', 'b'"):
            read_samples(tmp_path / "X.npz")

    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (np.array([[1.0, np.nan], [1.0, 2.0]]), "Expected finite numbers.*sample 1"),
            (np.array([[1.0, 2.0], [1.0, np.inf]]), "1 missing.* in 1 features.*sample 2"),
            (np.zeros(3), "at least two samples"),
            (np.zeros((1, 3)), "at least two samples"),
            (np.zeros((3, 0)), "at least two samples"),
            (np.zeros((3, 1, 2, 3, 4)), "at least two samples"),
            (np.array([["a", "b"], ["c", "d"]]), "Expected real numbers"),
            (np.zeros((3, 2), dtype=complex), "Expected real numbers"),
        ],
    )
    def test_that_are_no_samples(self, save, array, message):
        with pytest.raises(ReportError, match=message):
            read_samples(save(array))

    def test_pickle_is_refused(self, tmp_path):
        np.save(tmp_path / "X.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
        np.savez(tmp_path / "X.npz", X=np.array([{}, {}], dtype=object))
        for name in ("X.npy", "X.npz"):
            with pytest.raises(ReportError, match="without pickle"):
                read_samples(tmp_path / name)

    @pytest.mark.parametrize(
        "content", [b"", b"not an array", b"\x93NUMPY\x01\x00", b"PK\x03\x04" + bytes(30)]
    )
    @pytest.mark.parametrize("name", ["X.npy", "X.npz"])
    def test_that_are_none(self, text, content, name):
        with pytest.raises(ReportError, match="Expected an array"):
            read_samples(text(content, name))

    def test_other_files(self, tmp_path):
        with pytest.raises(ReportError, match=r"\.npy, \.npz, \.csv.*got.*X\.pkl"):
            read_samples(tmp_path / "X.pkl")
        with pytest.raises(ReportError, match="does not exist"):
            read_samples(tmp_path / "none.npy")


class TestLabels:
    def test_numbers_become_whole(self, save):
        labels, _ = read_labels(save(np.array([[1.0], [0.0]])), 2)
        assert labels.dtype.kind == "i"
        np.testing.assert_array_equal(labels, [1, 0])

    @pytest.mark.parametrize("head", ["", "species\n"])
    def test_text(self, text, head):
        labels, assumptions = read_labels(text(head + 'cat\n"dog"\nT cell, old\n'), 3)
        np.testing.assert_array_equal(labels, ["cat", "dog", "T cell, old"])
        assert len(assumptions) == bool(head)

    @pytest.mark.parametrize("head", ["", ",species\n", ",0\n"])
    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_after_an_index(self, text, head, delimiter):
        rows = [f"{k},{kind}" for k, kind in enumerate(SPECIES)]
        path = text((head + "\n".join(rows)).replace(",", delimiter))
        labels, assumptions = read_labels(path, 12)
        np.testing.assert_array_equal(labels, SPECIES)
        assert "index" in assumptions[-1]

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (np.zeros(4), r"Expected 3 labels .* got shape \[4\]"),
            (np.array([0.0, np.nan, 1.0]), "got NaN"),
            (np.zeros(3, dtype=complex), "Expected numbers or text"),
        ],
    )
    def test_that_do_not_fit(self, save, labels, message):
        with pytest.raises(ReportError, match=message):
            read_labels(save(labels), 3)

    def test_measurements_are_no_classes(self, save):
        with pytest.raises(ReportError, match="at most 50 classes"):
            read_labels(save(np.arange(100.0)), 100)


class TestImages:
    @pytest.mark.parametrize(
        ("axes", "shape", "channels_first"),
        [
            ((28, 28), (28, 28), False),
            ((1, 28, 20), (28, 20), True),
            ((28, 20, 1), (28, 20), False),
            ((3, 32, 20), (32, 20, 3), True),
            ((32, 20, 3), (32, 20, 3), False),
            ((4, 32, 20), (32, 20, 4), True),
            # Both axes could be channels: squares first.
            ((3, 4, 4), (4, 4, 3), True),
            ((4, 4, 3), (4, 4, 3), False),
            ((3, 20, 3), (3, 20, 3), False),
        ],
    )
    def test_layout(self, axes, shape, channels_first):
        layout = layout_of(axes)
        assert layout.shape == shape
        assert layout.channels_first == channels_first

    @pytest.mark.parametrize("axes", [(5,), (5, 6, 7), (2, 8, 8), (1, 2, 3, 4)])
    def test_other_shapes_are_none(self, axes):
        assert layout_of(axes) is None

    def test_pixels_are_drawn_where_they_are(self):
        stored = np.random.default_rng(0).random((2, 7, 3, 4, 5))
        flat = stored.reshape(2, 7, -1)
        drawn = layout_of((3, 4, 5)).images(flat).reshape(2, 7, 4, 5, 3)
        for channel in range(3):
            np.testing.assert_array_equal(drawn[..., channel], stored[:, :, channel])
        np.testing.assert_array_equal(layout_of((4, 5, 3)).images(flat), flat)

    @pytest.mark.parametrize("axes", [(4, 6), (3, 4, 6), (1, 4, 6), (4, 6, 3)])
    def test_features_keep_their_order(self, save, axes):
        """A model that was trained on the same file must see the same features."""
        array = np.random.default_rng(0).random((5, *axes))
        samples = read_samples(save(array))
        np.testing.assert_array_equal(samples.X, array.reshape(5, -1))
        assert samples.layout == layout_of(axes)
        assert assumed(samples, "images of 4 x 6 pixels")

    def test_bytes_become_pixels_from_0_to_1(self, save):
        array = np.random.default_rng(0).integers(256, size=(5, 4, 6)).astype(np.uint8)
        samples = read_samples(save(array))
        np.testing.assert_array_equal(samples.X, array.reshape(5, -1) / 255.0)
        assert assumed(samples, "divided by 255")

    @pytest.mark.parametrize(
        "array",
        [
            np.eye(4, dtype=np.uint8)[None].repeat(3, 0),  # masks
            np.full((3, 4, 4), 200.0),  # a unit that its owner chose
            np.full((3, 16), 200, dtype=np.uint8),  # counts
        ],
    )
    def test_other_numbers_keep_their_unit(self, save, array):
        samples = read_samples(save(array))
        np.testing.assert_array_equal(samples.X, array.reshape(3, -1))
        assert not any("divided" in text for text in samples.assumptions)

    def test_other_shapes_are_refused(self, save):
        with pytest.raises(ReportError, match=r"images of 1, 3 or 4 channels.*5 x 6 x 7"):
            read_samples(save(np.zeros((5, 5, 6, 7))))

    @pytest.mark.parametrize("axes", [(1, 30), (30, 1), (1, 1, 30)])
    def test_sequences(self, save, axes):
        samples = read_samples(save(np.zeros((5, *axes))))
        assert samples.layout is None
        assert assumed(samples, "sequences")

    def test_digits_by_default(self):
        inputs = read_inputs()
        assert inputs.X.shape == (1797, 64)
        assert inputs.X.max() == 1.0
        assert inputs.layout == ImageLayout((8, 8))

    def test_shape_in_words(self):
        assert parse_image_shape("8x6").shape == (8, 6)
        assert parse_image_shape("8x6x3") == ImageLayout((8, 6, 3))
        assert parse_image_shape("3x8x6") == ImageLayout((3, 8, 6), channels_first=True)

    @pytest.mark.parametrize("text", ["", "8", "8x", "8x0", "8 x 8", "8x8x2", "axb", "8x8x3x3"])
    def test_words_that_are_no_shape(self, text):
        with pytest.raises(ReportError, match="Expected an image shape such as 8x8"):
            parse_image_shape(text)

    def test_shape_that_does_not_fit_the_data(self, save):
        with pytest.raises(ReportError, match=r"image shape of 12 values.*8x8 = 64"):
            read_inputs(save(np.zeros((5, 12))), image_shape="8x8")

    def test_the_file_knows_the_order_of_its_axes(self, save):
        path = save(np.zeros((5, 3, 4, 6)))
        assert read_inputs(path, image_shape="4x6x3").layout == ImageLayout((3, 4, 6), True)
        other = read_inputs(path, image_shape="6x12")
        assert other.layout == ImageLayout((6, 12))
        assert assumed(other, "drawn as grey images of 6 x 12 pixels")
