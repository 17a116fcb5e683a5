"""The report: its parts, its page and its pictures."""

import json
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

from geomstats_vae.commands import main
from geomstats_vae.commands import report as command
from geomstats_vae.models import VAE
from geomstats_vae.report import (
    Inputs,
    ReportError,
    ReportOptions,
    analysis,
    build,
    build_report,
    strips,
)
from geomstats_vae.report.figures import pairs_to_draw
from geomstats_vae.report.inputs import read_inputs
from geomstats_vae.report.journal import Journal
from geomstats_vae.report.model import fitted
from geomstats_vae.report.output import check_writable, write_files
from geomstats_vae.report.page import Page
from geomstats_vae.report.reading import layout_of

NUMBERS = {"codes.csv", "pairs.csv", "distances.npy", "summary.json"}
# Map, strips, codes, decoded grid, sigma and means.
N_PICTURES = 6
STAGES = ("fit", "codes", "maps", "diagnosis", "geodesics", "distances", "clusters", "means")


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

    def test_all_text_is_escaped(self):
        page = Page(self.hostile)
        page.heading(self.hostile)
        page.paragraph(self.hostile)
        page.figure(b"\x89PNG", self.hostile)
        page.table([self.hostile], [[self.hostile]])
        page.table(["x"], [["1"]], summary=self.hostile)
        page.items([self.hostile])
        page.files({self.hostile: self.hostile})
        page.findings, page.facts = [self.hostile], [(self.hostile, self.hostile)]
        page.values = {"codes": {"label": [self.hostile]}}
        html = page.html()
        found = Elements(html)
        # The page's own two, of which the first holds the values.
        assert html.count("<script") == html.count("</script") == 2
        # Title and heading, finding, name and value, link and heading, paragraph, caption, two
        # cells, the summary, an item and a file's name.
        assert found.texts.count(self.hostile) == 14
        (values,) = [text for text in found.texts if text.startswith('{"codes"')]
        assert json.loads(values) == page.values
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
        # The contents name the heading first.
        assert texts[2:4] == ["title", "first"]
        assert texts[4:] == ["first", "hidden", "second", "third", "fourth", "fifth"]

    def test_contents_link_to_headings(self):
        page = Page("title")
        page.heading("first")
        page.heading("second")
        found = Elements(page.html()).elements
        links = [names["href"] for tag, names in found if tag == "a"]
        assert links == ["#" + names["id"] for tag, names in found if tag == "h2"]
        assert len(set(links)) == 2

    def test_a_page_may_ask_for_nothing(self):
        html = Page("title").html()
        assert "default-src 'none'; img-src data:;" in html

    def test_columns_of_numbers_are_aligned_to_the_right(self):
        page = Page("")
        page.table(["name", "value", "mixed"], [["a", "1.5", "2"], ["b", "-3e4", "none"]])
        cells = [(tag, names) for tag, names in Elements(page.html()).elements if tag[0] == "t"]
        is_text = ["class" in names for tag, names in cells if tag in ("th", "td")]
        assert is_text == 3 * [True, False, True]

    def test_a_part_without_its_entry_is_an_error(self):
        page = Page("")
        page.parts.append(SimpleNamespace(kind="table", header=["x"]))
        with pytest.raises(UndefinedError):
            page.html()


class TestOutput:
    """Files are old or new, never half of either."""

    def test_files_are_written(self, tmp_path):
        folder = tmp_path / "a" / "b"
        write_files(check_writable(folder), {"x.png": b"1", "index.html": b"2"})
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            "x.png": b"1",
            "index.html": b"2",
        }

    def test_checking_leaves_no_trace(self, tmp_path):
        check_writable(tmp_path / "a" / "b")
        check_writable(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_full_disk_destroys_nothing(self, tmp_path, monkeypatch):
        (tmp_path / "index.html").write_bytes(b"good")
        write = type(tmp_path).write_bytes

        def full(path, content):
            if path.name == "index.html":
                write(path, content[:2])
                raise OSError(28, "No space left on device")
            write(path, content)

        monkeypatch.setattr(type(tmp_path), "write_bytes", full)
        with pytest.raises(ReportError, match="No space left"):
            write_files(tmp_path, {"x.png": b"new", "index.html": b"new"})
        assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
        assert (tmp_path / "index.html").read_bytes() == b"good"

    @pytest.mark.parametrize("old", [None, b"good"])
    def test_a_report_that_fails_writes_nothing(self, tmp_path, monkeypatch, old):
        def fails(report):
            raise FloatingPointError

        folder = tmp_path / "out"
        if old is not None:
            folder.mkdir()
            (folder / "index.html").write_bytes(old)
        for stage in ("fit", "geodesics"):
            monkeypatch.setattr(build._Report, stage, lambda report, *_: None)
        monkeypatch.setattr(build._Report, "codes", fails)
        with pytest.raises(FloatingPointError):
            build_report(Inputs("x", np.zeros((2, 2))), folder, quiet=True)
        if old is None:
            assert not folder.exists()
        else:
            assert [path.read_bytes() for path in folder.iterdir()] == [old]


def test_assumptions_are_printed_once_and_stand_on_the_page(tmp_path, monkeypatch, capsys):
    for stage in (*STAGES, "opening"):
        monkeypatch.setattr(build._Report, stage, lambda report, *_: None)
    inputs = Inputs("x", np.zeros((2, 2)), assumptions=("The <first> row names the columns.",))
    html = build_report(inputs, tmp_path).read_text(encoding="utf-8")
    assert Elements(html).texts.count("The <first> row names the columns.") == 1
    assert capsys.readouterr().err == "assumed: The <first> row names the columns.\n"
    build_report(inputs, tmp_path, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_python_and_the_command_line_train_the_same_kind_of_model(monkeypatch, tmp_path):
    """The head that is trained for comparison is not, unless it is asked for."""
    monkeypatch.setattr(VAE, "fit", lambda vae, X: vae)
    ours = fitted(np.zeros((200, 3)), None, None, seed=0, verbose=True).get_params()
    given = {}
    monkeypatch.setattr(command, "build_report", lambda *_, **options: given.update(options))
    assert main(["report", "--sample", "digits", "--output", str(tmp_path)]) == 0
    theirs = given["vae"].get_params()
    assert ours["variance_head"] is theirs["variance_head"] is False
    assert {name for name in ours if ours[name] != theirs[name]} <= {"n_centers"}
    asked = VAE(variance_head=True)
    assert fitted(np.zeros((200, 3)), None, asked, seed=0, verbose=True) is asked


@pytest.mark.parametrize("axes", [(3, 4, 5), (4, 5, 3), (4, 4, 5), (1, 4, 5), (4, 5)])
def test_colours_are_drawn_between_0_and_1(axes):
    X = np.random.default_rng(0).uniform(-5.0, 260.0, (6, np.prod(axes)))
    report = build._Report(Inputs("x", X, layout=layout_of(axes)), None, None, ReportOptions())
    report.mean = lambda points: points
    pixels = report.pixels(X)
    assert pixels.shape == X.shape
    if len(report.inputs.layout.shape) == 3:
        assert pixels.min() == 0.0
        assert pixels.max() == 1.0
    else:  # the map of greys finds its own limits
        np.testing.assert_array_equal(pixels, X)


@pytest.mark.parametrize("n_columns", [3, 40])
def test_columns_stand_under_their_names(n_columns):
    X = np.random.default_rng(0).normal(size=(20, n_columns))
    names = [f"gene {k}" for k in range(n_columns)]
    ends = np.zeros((2, 2)), np.ones((2, 2))
    pairs = SimpleNamespace(start=ends[0], end=ends[1], at=lambda k, t: np.stack([t, t], axis=-1))

    def decode(points):
        return np.repeat(points[..., :1], n_columns, axis=-1)

    figure = strips.columns_figure(decode, X, pairs, [1, 0], names)
    first, second = figure.axes[0], figure.axes[1]
    labels = [label.get_text() for label in first.get_yticklabels()]
    assert labels[0] == "gene 0"
    assert len(labels) == min(n_columns, 14)
    assert [name for name in names if name in labels] == labels
    assert [ax.get_title() for ax in (first, second)] == ["geodesic", "straight line"]
    np.testing.assert_array_equal(first.images[0].get_array(), second.images[0].get_array())
    unnamed = strips.columns_figure(decode, X, pairs, [1, 0])
    assert not len(unnamed.axes[0].get_yticks())


def test_samples_that_come_with_the_package():
    digits, rotation = read_inputs(), read_inputs(sample="rotation")
    assert digits.X.shape == (1797, 64)
    assert rotation.X.shape == (1000, 576)
    # Classes of 30 degrees, up to 300.
    assert sorted(set(rotation.labels)) == list(range(0, 300, 30))
    assert rotation.layout.shape == (24, 24)


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
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"index.html", "clusters.csv", "model.safetensors", *NUMBERS}
    assert (tmp_path / "index.html").stat().st_size < 2e6
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "trained for this report" in html
    assert "1,797 rows of 64 columns, 10 classes" in html
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["geodesics"]["certified"] >= 0.9 * summary["geodesics"]["solved"] > 0
    codes = VAE.load(tmp_path / "model.safetensors").codes_
    table = np.loadtxt(tmp_path / "codes.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(table[:, 2:4], codes, rtol=1e-6)
    clusters = np.loadtxt(tmp_path / "clusters.csv", delimiter=",", skiprows=1)
    assert set(clusters[:, 2]) <= set(range(1, 11))


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
    def test_writes_its_numbers(self, report):
        assert {path.name for path in report.iterdir()} == {"index.html", *NUMBERS}
        summary = json.loads((report / "summary.json").read_text(encoding="utf-8"))
        assert len(summary["found"]) == 5
        matrix = np.load(report / "distances.npy")
        assert matrix.shape == 2 * (len(summary["distances"]["rows"]),)
        np.testing.assert_array_equal(matrix, matrix.T)
        assert len((report / "pairs.csv").read_text().splitlines()) == 5

    def test_page_holds_everything_it_shows(self, report):
        html = (report / "index.html").read_text(encoding="utf-8")
        assert html.count("data:image/webp;base64,") == N_PICTURES
        assert not re.search(r'src="(?!data:)', html)
        links = {name for name in re.findall(r'href="([^"]*)"', html) if name[0] != "#"}
        assert links == NUMBERS
        for heading in (
            "Diagnosis",
            "Geodesics",
            "Distances",
            "Frechet means by class",
            "Files",
            "Assumptions, timings and warnings",
        ):
            assert re.search(f'<h2 id="[^"]*">{heading}', html)

    def test_opens_with_what_was_found(self, report):
        html = (report / "index.html").read_text(encoding="utf-8")
        summary = json.loads((report / "summary.json").read_text(encoding="utf-8"))
        opening = Elements(html[: html.index("<h2")]).texts
        assert [text for text in opening if text in summary["found"]] == summary["found"]
        assert f"{summary['model']['elbo']:.4g} nats per row" in opening
        for fact in (summary["made"]["version"], f"seed {summary['made']['seed']}"):
            assert any(fact in text for text in opening)

    def test_all_numbered_curves_have_strips_and_values(self, report):
        html = (report / "index.html").read_text(encoding="utf-8")
        values = json.loads(re.search(r'id="values">(.*?)</script>', html)[1])
        assert [curve["text"][:11] for curve in values["curves"]] == [
            f"geodesic {k}:" for k in range(1, 5)
        ]
        assert values["codes"]["row"] == list(range(6))
        assert "Images along 4 geodesics" in html

    def test_diagnosis_is_that_of_the_space(self, report, saved_model):
        html = (report / "index.html").read_text(encoding="utf-8")
        options = {"n_pairs": QUICK.n_sensitivity, "sensitivity": False, "verbose": False}
        found = VAE.load(saved_model).latent_space_.diagnose(**options)
        assert found.verdict.rstrip(".") in html[: html.index("<h2")]
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
        html = (out / "index.html").read_text(encoding="utf-8")
        assert "no image shape" in html
        assert html.count("data:image/webp;base64,") == N_PICTURES - 2
