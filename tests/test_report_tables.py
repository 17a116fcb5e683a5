"""Tables in text files: each is read as its writer meant it, with a note, or refused."""

import csv

import numpy as np
import pytest

from geomstats_vae.report import ReportError, read_inputs
from geomstats_vae.report.reading import read_samples

X = np.random.default_rng(0).normal(size=(12, 3)).round(3)
ROWS = [[str(value) for value in row] for row in X]
SPECIES = ["cat", "dog", "T cell"] * 4


@pytest.fixture
def write(tmp_path):
    """Write rows to a file, with columns before and after those of X."""

    def write(head=None, before=(), after=(), rows=ROWS, delimiter=",", name="X.csv"):
        path = tmp_path / name
        columns = [*before, *zip(*rows, strict=True), *after]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerows([head] if head is not None else [])
            writer.writerows(zip(*columns, strict=True))
        return path

    return write


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


class TestIndex:
    counted = tuple(str(k) for k in range(12))

    @pytest.mark.parametrize("name", ["", "Unnamed: 0", "index", "Index", "id"])
    @pytest.mark.parametrize(
        "values",
        [
            counted,
            tuple(str(k) for k in range(1, 13)),
            tuple(str((7 * k + 3) % 12) for k in range(12)),  # rows of a table that was shuffled
            tuple(f"cell_{k}" for k in range(12)),
        ],
    )
    def test_is_left_out_and_said(self, write, name, values):
        samples = read_samples(write([name, "a", "b", "c"], before=[values]))
        np.testing.assert_array_equal(samples.X, X)
        assert assumed(samples, "index of the rows and left out")
        assert samples.labels is None

    def test_two(self, write):
        head = ["Unnamed: 0.1", "Unnamed: 0", "a", "b", "c"]
        samples = read_samples(write(head, before=[self.counted] * 2))
        np.testing.assert_array_equal(samples.X, X)
        assert len(samples.assumptions) == 2

    def test_without_header(self, write):
        samples = read_samples(write(before=[self.counted]))
        np.testing.assert_array_equal(samples.X, X)
        assert assumed(samples, "index")

    @pytest.mark.parametrize("column", [0, 2])
    def test_of_words_anywhere(self, write, column):
        words = [[f"a_{k}" for k in range(12)]]
        head = ["x", "y", "z"]
        head.insert(3 * (column > 0), "barcode")
        place = {"before": words} if column == 0 else {"after": words}
        samples = read_samples(write(head, **place))
        np.testing.assert_array_equal(samples.X, X)
        assert assumed(samples, "'barcode'")

    def test_a_named_feature_that_counts_is_a_feature(self, write):
        samples = read_samples(write(["time", "a", "b", "c"], before=[self.counted]))
        assert samples.X.shape == (12, 4)

    def test_measurements_named_index_are_features(self, write):
        values = [str(value) for value in X[:, 0]]
        assert read_samples(write(["index", "a", "b", "c"], before=[values])).X.shape == (12, 4)


class TestHeader:
    @pytest.mark.parametrize("head", ["", "a,b\n", '"a","b"\n', "\ufeffa,b\n", "# a,b\n"])
    def test_of_words_or_none(self, text, head):
        samples = read_samples(text(head + "1,2\n3,4.5\n"))
        np.testing.assert_array_equal(samples.X, [[1, 2], [3, 4.5]])
        # A comment gives no names.
        assert assumed(samples, "read as a sample") == (head in ("", "# a,b\n"))

    @pytest.mark.parametrize("head", [["0", "1", "2"], ["1", "2", "3"]])
    def test_of_column_numbers(self, write, head):
        samples = read_samples(write(head))
        np.testing.assert_array_equal(samples.X, X)
        assert assumed(samples, f"{head[0]} to {head[-1]}; it is read as names")

    @pytest.mark.parametrize("head", [["", "0", "1", "2"], ["", "2019", "2020", "2024"]])
    @pytest.mark.parametrize("pattern", ["{}", "cell_{}"])
    def test_of_numbers_after_an_index(self, write, head, pattern):
        index = [pattern.format(k) for k in range(12)]
        samples = read_samples(write(head, before=[index]))
        np.testing.assert_array_equal(samples.X, X)
        assert assumed(samples, "names of the columns")
        assert assumed(samples, "index")

    def test_of_numbers_over_pixels(self, write):
        pixels = np.random.default_rng(0).integers(0, 256, (6, 8))
        rows = [[str(value) for value in row] for row in pixels]
        samples = read_samples(write([str(k) for k in range(8)], rows=rows))
        np.testing.assert_array_equal(samples.X, pixels)

    @pytest.mark.parametrize(
        "array", [np.arange(60).reshape(6, 10), np.array([[1, 2], [5, 4], [0, 3]])]
    )
    def test_samples_that_look_like_one(self, write, array):
        samples = read_samples(write(rows=[[str(value) for value in row] for row in array]))
        np.testing.assert_array_equal(samples.X, array)
        assert assumed(samples, "read as a sample")

    def test_of_words_and_numbers(self, write):
        np.testing.assert_array_equal(read_samples(write(["age", "2019", "2020"])).X, X)

    def test_of_r(self, text):
        rows = "".join(f'"{k}" {" ".join(row)}\n' for k, row in enumerate(ROWS, start=1))
        samples = read_samples(text('"a" "b" "c"\n' + rows, "X.txt"))
        np.testing.assert_array_equal(samples.X, X)
        assert assumed(samples, "names all columns but the first")


class TestSeparators:
    @pytest.mark.parametrize("delimiter", [";", "\t", "|", " "])
    @pytest.mark.parametrize("head", [None, ["a", "b", "c"]])
    def test_are_found(self, write, delimiter, head):
        samples = read_samples(write(head, delimiter=delimiter))
        np.testing.assert_array_equal(samples.X, X)
        assert assumed(samples, "separated by")

    @pytest.mark.parametrize("delimiter", [";", "\t"])
    @pytest.mark.parametrize("head", [None, ["a", "b", "c"]])
    def test_decimal_commas(self, write, delimiter, head):
        rows = [[field.replace(".", ",") for field in row] for row in ROWS]
        samples = read_samples(write(head, rows=rows, delimiter=delimiter))
        np.testing.assert_array_equal(samples.X, X)
        assert assumed(samples, "decimal signs")

    def test_signs_between_thousands_are_refused(self, text):
        with pytest.raises(ReportError, match=r"one decimal sign.*got 1,234 and 0\.5"):
            read_samples(text("a;b\n1,234;0.5\n2,345;0.7\n"))

    def test_savetxt(self, tmp_path):
        np.savetxt(tmp_path / "X.txt", X)
        np.testing.assert_array_equal(read_samples(tmp_path / "X.txt").X, X)

    @pytest.mark.parametrize("head", ["a,b,c,\n", "a,b,c\n"])
    def test_at_the_ends_of_lines(self, text, head):
        samples = read_samples(text(head + "".join(",".join(row) + ",\n" for row in ROWS)))
        np.testing.assert_array_equal(samples.X, X)

    def test_ends_of_lines_and_quotes(self, text):
        content = 'a,"b\nb",c\r\n\r\n' + "".join(", ".join(row) + "\r\n" for row in ROWS)
        np.testing.assert_array_equal(read_samples(text(content)).X, X)


class TestWords:
    def test_of_few_kinds_are_classes(self, write):
        samples = read_samples(write(["a", "b", "c", "Kind"], after=[SPECIES]))
        np.testing.assert_array_equal(samples.X, X)
        np.testing.assert_array_equal(samples.labels, SPECIES)
        assert assumed(samples, "classes, 3 different ones: column 'Kind'")

    def test_beside_an_index(self, write):
        names = [f"cell {k}" for k in range(12)]
        samples = read_samples(write(before=[names], after=[SPECIES]))
        np.testing.assert_array_equal(samples.X, X)
        np.testing.assert_array_equal(samples.labels, SPECIES)

    @pytest.mark.parametrize("name", ["label", "Class", "target"])
    def test_numbers_of_classes(self, write, name):
        samples = read_samples(write([name, "a", "b", "c"], before=[["0", "1", "2"] * 4]))
        np.testing.assert_array_equal(samples.X, X)
        np.testing.assert_array_equal(samples.labels, [0, 1, 2] * 4)

    def test_other_labels_come_first(self, write, save):
        labels = save(np.arange(12) % 2, "y.npy")
        inputs = read_inputs(write(["a", "b", "c", "kind"], after=[SPECIES]), labels)
        np.testing.assert_array_equal(inputs.X, X)
        np.testing.assert_array_equal(inputs.labels, np.arange(12) % 2)
        assert assumed(inputs, "'kind' are left out")

    def test_true_and_false_are_numbers(self, write):
        flags = ["True", "False"] * 6
        samples = read_samples(write(["a", "b", "c", "f"], after=[flags]))
        np.testing.assert_array_equal(samples.X[:, 3], [1, 0] * 6)
        assert assumed(samples, "'f', true is read as 1")

    def test_names_with_underscores_are_no_numbers(self, write):
        samples = read_samples(write(before=[[f"{k}_1" for k in range(12)]]))
        np.testing.assert_array_equal(samples.X, X)

    def test_two_columns_of_classes(self, write):
        with pytest.raises(ReportError, match=r"one column of classes.*'k', column 'm'"):
            read_samples(write(["a", "b", "c", "k", "m"], after=[SPECIES, SPECIES]))

    def test_of_many_kinds(self, text):
        rows = "".join(f"{k},{k / 3},word{k % 60}\n" for k in range(120))
        with pytest.raises(
            ReportError, match=r"column 'w'.*got 60 different values such as 'word0'"
        ):
            read_samples(text("a,b,w\n" + rows))

    def test_among_numbers(self, write):
        rows = [list(row) for row in ROWS]
        rows[3][1], rows[7][1] = "12 kg", "oops"
        with pytest.raises(ReportError, match=r"column 'b'.*got 2.*'12 kg', 'oops'.*in line 5"):
            read_samples(write(["a", "b", "c"], rows=rows))

    def test_alone(self, text):
        with pytest.raises(ReportError, match="Expected columns of numbers"):
            read_samples(text("a,b\nx,y\nz,y\n"))


class TestMissing:
    @pytest.mark.parametrize("sign", ["", "NA", "nan", "NaN", "null", "?", "inf"])
    def test_values_are_counted_by_column(self, write, sign):
        rows = [list(row) for row in ROWS]
        rows[2][0] = rows[4][2] = rows[5][2] = sign
        message = r"'c' \(2\), column 'a' \(1\), the first in line 4.*3 of 12 rows"
        with pytest.raises(ReportError, match=message):
            read_samples(write(["a", "b", "c"], rows=rows))

    def test_of_columns_without_names(self, text):
        with pytest.raises(ReportError, match=r"column 2 \(1\), the first in line 2"):
            read_samples(text("1,2.5\n3,\n5,6\n"))

    def test_many_columns_are_not_all_named(self, text):
        with pytest.raises(ReportError, match="and 4 more columns"):
            read_samples(
                text(",".join("abcdefghi") + "\n" + "1,2,3,4,5,6,7,8,9\n" + 8 * "NA," + "NA")
            )

    def test_classes(self, write):
        kinds = ["cat", "dog", ""] * 4
        with pytest.raises(ReportError, match=r"got 4 missing in column 'k', the first in line 4"):
            read_samples(write(["a", "b", "c", "k"], after=[kinds]))


class TestText:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "empty file"),
            (b"# only a comment\n", "empty file"),
            (b"1,2\n3\n", "1 fields in line 2 after 2 in line 1"),
            (b"a,b\n1,2\n3,x\n", "Expected numbers in column 'b'.*'x'"),
            (b"\xff\xfe\x00", "Expected text.*UTF-8"),
            (b"a,b\n1,2\n", "at least two samples"),
        ],
    )
    def test_that_is_no_table(self, text, content, message):
        with pytest.raises(ReportError, match=message):
            read_samples(text(content))
