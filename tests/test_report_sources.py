"""Data beside arrays and text: columns of classes by name, Parquet tables, folders of images."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from geomstats_vae.report import ReportError, read_inputs
from geomstats_vae.report.reading import parquet, read_labels, read_samples


class TestLabelsColumn:
    @pytest.fixture
    def table(self, tmp_path):
        path = tmp_path / "t.csv"
        rows = [f"{k},{k / 7:.3f},{'xy'[k % 2]},{['good', 'bad'][k % 2]}" for k in range(12)]
        path.write_text("\n".join(["stage,size,kind,note", *rows]))
        return path

    @pytest.mark.parametrize("name", ["kind", "3", "-2"])
    def test_by_name_or_number(self, table, name):
        samples = read_samples(table, labels_column=name)
        assert samples.labels.tolist() == list("xy") * 6
        assert samples.X.shape == (12, 2)
        assert samples.names == ("column 'stage'", "column 'size'")
        assert samples.headers == ("stage", "size")
        assert any("'note' are left out" in said for said in samples.assumptions)

    def test_of_numbers(self, table):
        samples = read_samples(table, labels_column="stage")
        assert samples.labels.tolist() == list(range(12))
        assert samples.X.shape == (12, 1)

    @pytest.mark.parametrize("name", ["colour", "0", "5", "-5", "1.0"])
    def test_that_is_not_there(self, table, name):
        with pytest.raises(ReportError, match=r"from 1 to 4.*'stage', 'size'"):
            read_samples(table, labels_column=name)

    def test_with_missing_classes(self, table):
        table.write_text(table.read_text().replace("11,1.571,y", "11,1.571,NA"))
        with pytest.raises(ReportError, match=r"1 missing in column 'kind', the first in line 13"):
            read_samples(table, labels_column="kind")

    def test_twice(self, table):
        with pytest.raises(ReportError, match="leave one out"):
            read_inputs(table, "y.npy", labels_column="kind")

    def test_of_arrays(self, tmp_path):
        np.save(tmp_path / "X.npy", np.eye(3))
        with pytest.raises(ReportError, match="Expected a table with --labels-column"):
            read_inputs(tmp_path / "X.npy", labels_column="kind")

    def test_several_columns_of_words_name_the_option(self, table):
        with pytest.raises(ReportError, match="--labels-column"):
            read_samples(table)


class TestParquet:
    """pandas needs a package of its own for such files, which may not be there."""

    frame = pd.DataFrame(
        {
            "a": np.array([0.1, 0.2, 0.3], dtype=np.float32),
            "b": [1 / 3, 2.0, 1e-300],
            "1": [1, 2, 3],
            "kind": ["u, v", "w", "u, v"],
            "flag": [True, False, True],
        }
    )

    def read(self, tmp_path, monkeypatch, frame):
        monkeypatch.setattr(parquet.pandas, "read_parquet", lambda path: frame)
        (tmp_path / "t.parquet").write_bytes(b"PAR1")
        return read_samples(tmp_path / "t.parquet")

    @pytest.mark.parametrize("index", [None, ["r", "s", "t"]])
    def test_columns(self, tmp_path, monkeypatch, index):
        frame = self.frame if index is None else self.frame.set_axis(index)
        samples = self.read(tmp_path, monkeypatch, frame)
        numbers = self.frame[["a", "b", "1", "flag"]].astype(float).to_numpy()
        np.testing.assert_array_equal(samples.X, numbers)
        assert samples.labels.tolist() == ["u, v", "w", "u, v"]

    def test_missing_values(self, tmp_path, monkeypatch):
        frame = self.frame.assign(b=[1.0, np.nan, 2.0])
        with pytest.raises(ReportError, match=r"column 'b' \(1\)"):
            self.read(tmp_path, monkeypatch, frame)

    def test_empty(self, tmp_path, monkeypatch):
        with pytest.raises(ReportError, match="empty table"):
            self.read(tmp_path, monkeypatch, pd.DataFrame())

    def test_labels(self, tmp_path, monkeypatch):
        monkeypatch.setattr(parquet.pandas, "read_parquet", lambda path: self.frame[["kind"]])
        (tmp_path / "y.parquet").write_bytes(b"PAR1")
        labels, _ = read_labels(tmp_path / "y.parquet", 3)
        assert labels.tolist() == ["u, v", "w", "u, v"]

    @pytest.mark.parametrize(
        ("error", "message"),
        [(ImportError("no engine"), "pip install pyarrow"), (OSError("magic"), "to_parquet")],
    )
    def test_that_cannot_be_read(self, tmp_path, monkeypatch, error, message):
        def fails(path):
            raise error

        monkeypatch.setattr(parquet.pandas, "read_parquet", fails)
        (tmp_path / "t.parquet").write_bytes(b"nothing")
        with pytest.raises(ReportError, match=message):
            read_samples(tmp_path / "t.parquet")

    def test_without_pandas(self, tmp_path, monkeypatch):
        monkeypatch.setattr(parquet, "pandas", None)
        (tmp_path / "t.parquet").write_bytes(b"PAR1")
        with pytest.raises(ReportError, match=r"pip install pandas.*\.csv"):
            read_samples(tmp_path / "t.parquet")


class TestImages:
    @pytest.fixture
    def save(self, tmp_path):
        def write(name, pixels, mode=None):
            path = tmp_path / "pictures" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(np.asarray(pixels))
            (image if mode is None else image.convert(mode)).save(path)
            return tmp_path / "pictures"

        return write

    def test_in_folders_of_their_classes(self, save):
        pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 5), dtype=np.uint8)
        for k, image in enumerate(pixels):
            folder = save(f"{'ab'[k % 2]}/{k}.png", image)
        inputs = read_inputs(folder)
        np.testing.assert_allclose(inputs.X, pixels[[0, 2, 1, 3]].reshape(4, -1) / 255.0)
        assert inputs.labels.tolist() == ["a", "a", "b", "b"]
        assert inputs.layout.shape == (3, 5)
        assert inputs.name == "pictures"
        assert "names of their folders as classes" in inputs.assumptions[0]

    def test_in_colours_and_in_grey(self, save):
        colours = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
        save("0.png", colours)
        folder = save("1.PNG", colours[..., 0])
        inputs = read_inputs(folder)
        assert inputs.layout.shape == (3, 5, 3)
        assert inputs.labels is None
        np.testing.assert_allclose(inputs.X[0], colours.ravel() / 255.0)
        np.testing.assert_allclose(inputs.X[1], colours[..., 0].repeat(3) / 255.0)

    @pytest.mark.parametrize("mode", ["1", "P", "RGBA", "LA", "I;16"])
    def test_of_other_kinds_are_between_0_and_1(self, save, mode):
        grey = np.array([[0, 255], [255, 0]], dtype=np.uint8)
        deep = grey.astype(np.uint16) * 257
        for name in ("0.png", "1.png"):
            folder = save(name, deep if mode == "I;16" else grey, None if mode == "I;16" else mode)
        X = read_inputs(folder).X
        np.testing.assert_array_equal(X.reshape(2, 2, 2, -1)[..., 0], 2 * [[[0, 1], [1, 0]]])

    def test_of_other_sizes(self, save):
        for k, shape in enumerate([(4, 4), (4, 4), (4, 5)]):
            folder = save(f"{k}.png", np.zeros(shape, dtype=np.uint8))
        with pytest.raises(ReportError, match=r"2 of 4 x 4 pixels and 1 .*2\.png of 4 x 5"):
            read_inputs(folder)

    def test_that_cannot_be_read(self, save):
        folder = save("0.png", np.zeros((2, 2), dtype=np.uint8))
        with pytest.raises(ReportError, match="at least two images"):
            read_inputs(folder)
        (folder / "1.png").write_bytes(b"no image")
        with pytest.raises(ReportError, match=r"1\.png, got a file that cannot be read"):
            read_inputs(folder)

    def test_beside_folders(self, save):
        for name in ("0.png", "a/1.png", "a/2.png"):
            folder = save(name, np.zeros((2, 2), dtype=np.uint8))
        with pytest.raises(ReportError, match="got both: 1 and 2"):
            read_inputs(folder)
