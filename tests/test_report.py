"""The report and the command line: good input gives a page, bad input one clear line."""

import logging
import re
import time
import warnings
from functools import partial
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from jinja2 import UndefinedError

from geomstats_vae.models import VAE
from geomstats_vae.report import (
    ReportError,
    ReportOptions,
    analysis,
    build_report,
    command,
    main,
    read_inputs,
)
from geomstats_vae.report.figures import pairs_to_draw
from geomstats_vae.report.inputs import parse_image_shape, read_data, read_labels
from geomstats_vae.report.journal import Journal
from geomstats_vae.report.page import Page

PICTURES = [
    "latent_codes.png",
    "decoded_grid.png",
    "log_sigma.png",
    "volume_density.png",
    "gaussian_curvature.png",
    "decoded_strips.png",
    "distance_matrix.png",
    "frechet_means.png",
]


class TestData:
    def test_npy(self, tmp_path):
        np.save(tmp_path / "X.npy", np.arange(6).reshape(3, 2))
        X = read_data(tmp_path / "X.npy")
        assert X.dtype == np.float64
        np.testing.assert_array_equal(X, [[0, 1], [2, 3], [4, 5]])

    @pytest.mark.parametrize("header", ["", "a,b\n", '"a","b"\n', "\ufeffa,b\n"])
    def test_csv_with_and_without_header(self, tmp_path, header):
        (tmp_path / "X.csv").write_text(header + "1,2\n3,4.5\n", encoding="utf-8")
        np.testing.assert_array_equal(read_data(tmp_path / "X.csv"), [[1, 2], [3, 4.5]])

    def test_images_bring_their_shape(self, tmp_path):
        np.save(tmp_path / "X.npy", np.zeros((5, 4, 3)))
        inputs = read_inputs(tmp_path / "X.npy")
        assert inputs.image_shape == (4, 3)
        assert inputs.X.shape == (5, 12)

    def test_digits_by_default(self):
        inputs = read_inputs()
        assert inputs.X.shape == (1797, 64)
        assert inputs.X.max() == 1.0
        assert inputs.image_shape == (8, 8)

    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (np.array([[1.0, np.nan], [1.0, 2.0]]), "Expected finite numbers.*sample 1"),
            (np.array([[1.0, 2.0], [1.0, np.inf]]), "Expected finite numbers.*sample 2"),
            (np.zeros(3), "at least two samples"),
            (np.zeros((1, 3)), "at least two samples"),
            (np.zeros((3, 0)), "at least two samples"),
            (np.array([["a", "b"], ["c", "d"]]), "Expected real numbers"),
            (np.zeros((3, 2), dtype=complex), "Expected real numbers"),
        ],
    )
    def test_arrays_that_are_no_samples(self, tmp_path, array, message):
        np.save(tmp_path / "X.npy", array)
        with pytest.raises(ReportError, match=message):
            read_data(tmp_path / "X.npy")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "empty file"),
            (b"1,2\n3\n", "1 fields in line 2 after 2 in line 1"),
            (b"1,2\n3,x\n", "Expected finite numbers.*sample 2"),
            (b"\xff\xfe\x00", "Expected text"),
        ],
    )
    def test_csv_that_is_none(self, tmp_path, content, message):
        (tmp_path / "X.csv").write_bytes(content)
        with pytest.raises(ReportError, match=message):
            read_data(tmp_path / "X.csv")

    def test_pickle_is_refused(self, tmp_path):
        np.save(tmp_path / "X.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
        with pytest.raises(ReportError, match="without pickle"):
            read_data(tmp_path / "X.npy")

    @pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00"])
    def test_npy_that_is_none(self, tmp_path, content):
        (tmp_path / "X.npy").write_bytes(content)
        with pytest.raises(ReportError, match="Expected an array"):
            read_data(tmp_path / "X.npy")

    def test_archive_and_other_files(self, tmp_path):
        with (tmp_path / "X.npy").open("wb") as file:
            np.savez(file, X=np.zeros((3, 2)))
        with pytest.raises(ReportError, match="Expected a single array"):
            read_data(tmp_path / "X.npy")
        with pytest.raises(ReportError, match=r"Expected a \.npy or \.csv file"):
            read_data(tmp_path / "X.pkl")
        with pytest.raises(ReportError, match="does not exist"):
            read_data(tmp_path / "none.npy")


class TestLabels:
    def test_numbers_become_whole(self, tmp_path):
        np.save(tmp_path / "y.npy", np.array([[1.0], [0.0]]))
        labels = read_labels(tmp_path / "y.npy", 2)
        assert labels.dtype.kind == "i"
        np.testing.assert_array_equal(labels, [1, 0])

    @pytest.mark.parametrize("header", ["", "species\n"])
    def test_text(self, tmp_path, header):
        (tmp_path / "y.csv").write_text(header + 'cat\n"dog"\n', encoding="utf-8")
        np.testing.assert_array_equal(read_labels(tmp_path / "y.csv", 2), ["cat", "dog"])

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (np.zeros(4), r"Expected 3 labels .* got shape \[4\]"),
            (np.array([0.0, np.nan, 1.0]), "got NaN"),
            (np.zeros(3, dtype=complex), "Expected numbers or text"),
        ],
    )
    def test_labels_that_do_not_fit(self, tmp_path, labels, message):
        np.save(tmp_path / "y.npy", labels)
        with pytest.raises(ReportError, match=message):
            read_labels(tmp_path / "y.npy", 3)

    def test_measurements_are_no_classes(self, tmp_path):
        np.save(tmp_path / "y.npy", np.arange(100.0))
        with pytest.raises(ReportError, match="at most 50 classes"):
            read_labels(tmp_path / "y.npy", 100)


class TestImageShape:
    def test_with_and_without_channels(self):
        assert parse_image_shape("8x6") == (8, 6)
        assert parse_image_shape("8x6x3") == (8, 6, 3)

    @pytest.mark.parametrize("text", ["", "8", "8x", "8x0", "8 x 8", "8x8x2", "axb", "8x8x3x3"])
    def test_anything_else(self, text):
        with pytest.raises(ReportError, match="Expected an image shape such as 8x8"):
            parse_image_shape(text)

    def test_that_does_not_fit_the_data(self, tmp_path):
        np.save(tmp_path / "X.npy", np.zeros((5, 12)))
        with pytest.raises(ReportError, match=r"image shape of 12 values.*8x8 = 64"):
            read_inputs(tmp_path / "X.npy", image_shape="8x8")


class TestJournal:
    def test_warnings_are_counted_and_filters_restored(self):
        journal = Journal(quiet=True)
        before = list(warnings.filters)
        with journal.stage("first"):
            for _ in range(3):
                warnings.warn("steep", RuntimeWarning, stacklevel=1)
            logging.getLogger("geomstats").warning("%d steps", 5)
        assert warnings.filters == before
        assert journal.warnings == {
            ("first", "RuntimeWarning", "steep"): 3,
            ("first", "logged by geomstats", "5 steps"): 1,
        }

    def test_times(self):
        journal = Journal(quiet=True)
        with journal.stage("pause"):
            time.sleep(0.02)
        assert 0.02 <= journal.times["pause"] < 2.0

    def test_quiet(self, capsys):
        journal = Journal(quiet=True)
        with journal.stage("silent"):
            assert list(journal.progress([1, 2], "counting")) == [1, 2]
        assert capsys.readouterr() == ("", "")


class Elements(HTMLParser):
    """Lists the elements of a page with their attributes, and its texts."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


class TestPage:
    # What a page would be broken by, were it not escaped: markup, quotes, a template's own signs.
    hostile = "<script>alert('1')</script> & \" onerror=\"x {{ 7 * 7 }} {% raw %} </td>"

    def test_all_text_is_escaped(self, tmp_path):
        picture = tmp_path / "picture.png"
        picture.write_bytes(b"\x89PNG")
        page = Page(self.hostile)
        page.heading(self.hostile)
        page.paragraph(self.hostile)
        page.figure(picture, self.hostile)
        page.table([self.hostile], [[self.hostile]])
        page.table(["x"], [["1"]], summary=self.hostile)
        html = page.html()
        found = Elements(html)
        assert "<script" not in html
        # Title and heading, heading, paragraph, caption, two cells and the summary.
        assert found.texts.count(self.hostile) == 8
        ((attributes),) = [attributes for tag, attributes in found.elements if tag == "img"]
        assert attributes == {
            "src": "data:image/png;base64,iVBORw==",
            "alt": self.hostile,
        }

    def test_parts_stand_in_their_order(self):
        page = Page("title")
        page.heading("first")
        page.table(["second"], [["third"], ["fourth"]], summary="hidden")
        page.paragraph("fifth")
        texts = [text for text in Elements(page.html()).texts if text.strip()]
        assert texts[2:] == ["title", "first", "hidden", "second", "third", "fourth", "fifth"]

    def test_columns_of_numbers_are_aligned_to_the_right(self):
        page = Page("")
        page.table(["name", "value", "mixed"], [["a", "1.5", "2"], ["b", "-3e4", "none"]])
        cells = [(tag, names) for tag, names in Elements(page.html()).elements if tag[0] == "t"]
        is_text = ["class" in names for tag, names in cells if tag in ("th", "td")]
        assert is_text == 3 * [True, False, True]

    def test_a_part_without_its_entry_is_an_error(self):
        page = Page("")
        page.parts.append(SimpleNamespace(kind="paragraph"))
        with pytest.raises(UndefinedError):
            page.html()


def test_pairs_join_distinct_samples():
    pairs = analysis.random_pairs(2, 1000, np.random.default_rng(0))
    assert set(map(tuple, pairs.tolist())) == {(0, 1), (1, 0)}


def test_stratified_draws_from_every_class():
    labels = np.repeat([0, 1, 2], [50, 3, 1])
    index = analysis.stratified(labels, 30, np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(labels[index]), [10, 3, 1])
    assert len(set(index.tolist())) == len(index)


def test_drawn_pairs_are_distinct():
    ends = np.random.default_rng(0).normal(size=(2, 9, 2))
    drawn = pairs_to_draw(SimpleNamespace(start=ends[0], end=ends[1]))
    assert len(set(drawn)) == len(drawn) == 6


@pytest.fixture(scope="module")
def three_digits(digits):
    """Sixty images of each of three digits, sorted by digit."""
    chosen = np.concatenate([np.flatnonzero(digits.target == k)[:60] for k in (0, 1, 4)])
    return digits.data[chosen], digits.target[chosen]


@pytest.fixture(scope="module")
def saved_model(three_digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "vae.safetensors"
    options = {"hidden_dims": (16,), "max_epochs": 30, "n_centers": 8, "zeta": 1.0}
    VAE(latent_dim=2, random_state=0, **options).fit(three_digits[0]).save(path)
    return path


@pytest.mark.long
def test_report_on_all_digits_with_a_model_trained_for_it(tmp_path, monkeypatch):
    """What ``make demo`` does, with fewer geodesics."""
    options = ReportOptions(n_matrix=20, n_mean=5)
    monkeypatch.setattr(command, "build_report", partial(build_report, options=options))
    assert main(["report", "--quiet", "--n-pairs", "10", "--output", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", *PICTURES}
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "trained for this report" in html
    assert "1797 samples of 64 features in 10 classes" in html
    found = re.search(r"pairs that converged</td><td[^>]*>(\d+) of 10<", html)
    assert int(found[1]) >= 9


# Rougher pictures of fewer samples, with the same parts as any report.
QUICK = ReportOptions(mean_max_iter=2, n_sensitivity=10, n_cells=40, dpi=50)


@pytest.fixture(scope="module")
def quick():
    """Let the command line measure and draw less than it would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "build_report", partial(build_report, options=QUICK))
        yield


@pytest.fixture(scope="module")
def report(three_digits, saved_model, tmp_path_factory, quick):
    """The folder of a report on two labelled images of each digit."""
    folder = tmp_path_factory.mktemp("report")
    few = np.flatnonzero(np.arange(len(three_digits[0])) % 60 < 2)
    np.save(folder / "X.npy", three_digits[0][few])
    np.save(folder / "y.npy", three_digits[1][few])
    status = main(
        [
            *("report", "--quiet", "--n-pairs", "4", "--model", str(saved_model)),
            *("--data", str(folder / "X.npy"), "--labels", str(folder / "y.npy")),
            *("--image-shape", "8x8", "--output", str(folder / "out")),
        ]
    )
    assert status == 0
    return folder / "out"


class TestReport:
    def test_writes_its_pictures(self, report):
        assert {path.name for path in report.iterdir()} == {"index.html", *PICTURES}
        for name in PICTURES:
            assert (report / name).read_bytes().startswith(b"\x89PNG")

    def test_page_holds_everything_it_shows(self, report):
        html = (report / "index.html").read_text(encoding="utf-8")
        assert html.count("data:image/png;base64,") == len(PICTURES)
        assert not re.search(r'(src|href)="(?!data:)', html)
        assert "<script" not in html
        for heading in (
            "Diagnosis",
            "Geodesics",
            "Distances",
            "Frechet means by class",
            "Timings",
            "Warnings",
        ):
            assert f"<h2>{heading}" in html

    def test_diagnosis_is_that_of_the_space(self, report, saved_model):
        html = (report / "index.html").read_text(encoding="utf-8")
        found = VAE.load(saved_model).latent_space_.diagnose(sensitivity=False, verbose=False)
        for name, value in found.rows()[:-1]:
            assert f"<td class=text>{name}</td><td class=text>{value}</td>" in html
        for advice in found.advice:
            assert advice[:60] in html

    def test_every_pair_has_a_row(self, report):
        html = (report / "index.html").read_text(encoding="utf-8")
        assert len(re.findall(r"<td class=text>\d+ to \d+</td>", html)) == 4

    @pytest.mark.long
    @pytest.mark.usefixtures("quick")
    def test_data_without_shape_and_labels(self, three_digits, saved_model, tmp_path):
        np.savetxt(tmp_path / "X.csv", three_digits[0][::60], delimiter=",")
        out = tmp_path / "out"
        arguments = ["--data", str(tmp_path / "X.csv"), "--model", str(saved_model)]
        status = main(["report", "--quiet", "--n-pairs", "2", "--output", str(out), *arguments])
        assert status == 0
        assert not (out / "decoded_grid.png").exists()
        assert "no image shape" in (out / "index.html").read_text(encoding="utf-8")


class TestCommandLine:
    """Each of these is refused before any training."""

    def refused(self, capsys, *arguments):
        assert main(["report", "--quiet", *map(str, arguments)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return err

    def test_missing_data(self, capsys, tmp_path):
        assert "does not exist" in self.refused(capsys, "--data", tmp_path / "X.npy")

    def test_labels_without_data(self, capsys, tmp_path):
        assert "--data" in self.refused(capsys, "--labels", tmp_path / "y.npy")

    def test_labels_of_the_wrong_length(self, capsys, tmp_path):
        np.save(tmp_path / "X.npy", np.zeros((5, 4)))
        np.save(tmp_path / "y.npy", np.zeros(4))
        arguments = ("--data", tmp_path / "X.npy", "--labels", tmp_path / "y.npy")
        assert "Expected 5 labels" in self.refused(capsys, *arguments)

    @pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x05\x06" + bytes(18)])
    def test_unreadable_model(self, capsys, tmp_path, content):
        (tmp_path / "vae.safetensors").write_bytes(content)
        arguments = ("--model", tmp_path / "vae.safetensors", "--output", tmp_path / "out")
        assert "vae.safetensors" in self.refused(capsys, *arguments)

    def test_missing_model(self, capsys, tmp_path):
        arguments = ("--model", tmp_path / "vae.safetensors", "--output", tmp_path / "out")
        assert "vae.safetensors" in self.refused(capsys, *arguments)

    def test_model_of_other_data(self, capsys, tmp_path, saved_model):
        np.save(tmp_path / "X.npy", np.random.default_rng(0).random((30, 5)))
        arguments = ("--data", tmp_path / "X.npy", "--model", saved_model)
        assert "64" in self.refused(capsys, *arguments, "--output", tmp_path / "out")

    def test_output_that_is_a_file(self, capsys, tmp_path):
        (tmp_path / "out").write_text("")
        assert "Expected a folder" in self.refused(capsys, "--output", tmp_path / "out")

    @pytest.mark.parametrize("arguments", [("--n-pairs", "0"), ("--seed", "-1"), ("--what",)])
    def test_options(self, capsys, arguments):
        assert "--help" in self.refused(capsys, *arguments)

    def test_no_command(self, capsys):
        assert main([]) == 2
        assert capsys.readouterr().err.startswith("error: ")

    def test_interrupt(self, capsys, monkeypatch):
        def interrupted(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(command, "build_report", interrupted)
        assert main(["report"]) == 130
        assert capsys.readouterr().err.startswith("interrupted")
