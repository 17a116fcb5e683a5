"""The report's sentences and numbers: each is true of its data, or is not said."""

import copy
import csv
import io
import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import geomstats_vae
from geomstats_vae.manifolds import LatentSpace
from geomstats_vae.plotting import LatentWindow
from geomstats_vae.report import agreement, analysis, files, findings, provenance
from geomstats_vae.report.figures import window_around

SUMMARY = {
    "verdict": "Straight lines are good enough.",
    "data": {
        "rows": 1000,
        "columns": 13,
        "classes": None,
        "images": None,
        "unscaled": False,
        "column_spread": findings.columns_of(np.random.default_rng(0).normal(size=(1000, 13))),
    },
    "model": {
        "latent_dim": 2,
        "centers": 64,
        "rows_per_center": 15.6,
        "reconstruction_error": 0.25,
        "explained_variance": 0.9,
    },
    "geodesics": {
        "asked": 50,
        "solved": 50,
        "certified": 49,
        "shortest_ratio": 0.5,
        "median_ratio": 0.95,
        "longest_ratio": 1.0,
        "sigma_ratio": 0.8,
    },
    "distances": {"purity": None, "neighbors": 5},
    "clusters": {"silhouette": 0.6, "groups": [{"rows": 400}, {"rows": 600}]},
    "diagnosis": {
        "advice": [],
        "torn_share": 0.0,
        "walled_share": 0.0,
        "sensitivity": [{"change": "a x 0.7", "relative_change": 0.3}],
        "comparison": {
            "n_pairs": 48,
            "ratio_median": 0.97,
            "rank_correlation": 0.99,
            "leaving_share": 0.02,
        },
    },
}


def changed(**parts):
    summary = copy.deepcopy(SUMMARY)
    for name, part in parts.items():
        summary[name] = {**summary[name], **part} if isinstance(part, dict) else part
    return summary


class TestSentences:
    def test_there_are_five_with_their_numbers(self):
        model, geometry, geodesics, groups, then = findings.sentences(SUMMARY)
        assert "1,000 rows of 13 columns" in model
        assert "0.25" in model
        assert "90 %" in model
        assert geometry.startswith("Straight lines are good enough. ")
        # Two sets of pairs, and each figure with its own.
        assert "the 48 pairs of the diagnosis" in geometry
        assert "0.97 times" in geometry
        assert geodesics.startswith("49 of 50 geodesics between other random codes")
        assert "0.95 in the median" in geodesics
        assert "clear clusters: 2 of 400 to 600 rows" in groups
        assert "straight lines" in then

    def test_a_model_of_other_data_explains_nothing(self):
        summary = changed(model={"explained_variance": -500.0})
        assert "explains none of the variance" in findings.sentences(summary)[0]
        assert "explains none of the variance" in findings.faults(summary)[0]

    def test_pairs_that_there_was_no_time_for_are_told_of(self):
        summary = changed(geodesics={"solved": 24, "certified": 24})
        assert "26 pairs more" in findings.on_geodesics(summary)

    def test_without_geodesics_nothing_is_said_of_their_length(self):
        summary = changed(geodesics={"solved": 0, "shortest_ratio": None})
        assert findings.on_geodesics(summary).startswith("None of 50 pairs")

    def test_classes(self):
        share = {"geodesic": 0.85, "latent": 0.8, "data": 0.95}
        summary = changed(distances={"purity": share, "neighbors": 1})
        assert "85 % of the nearest rows" in findings.sentences(summary)[3]

    def test_no_comparison(self):
        summary = changed(diagnosis={"comparison": None}, verdict="Not compared.")
        assert findings.sentences(summary)[1] == "Not compared."

    @pytest.mark.parametrize(
        ("parts", "word"),
        [
            ({"data": {"unscaled": True}}, "scale the columns"),
            ({"diagnosis": {"torn_share": 0.1}}, "train again"),
            ({"model": {"explained_variance": 0.2}}, "train longer"),
            ({"diagnosis": {"walled_share": 0.1}}, "within one group"),
            ({"verdict": "Distances change ranks: use geodesics."}, "VAE.load"),
        ],
    )
    def test_what_to_do_next_follows_from_what_was_found(self, parts, word):
        assert word in findings.sentences(changed(**parts))[4]

    @pytest.mark.parametrize(
        ("ratio", "word"), [(0.8, "20 % lower"), (1.3, "30 % higher"), (1.0, "about"), (None, "")]
    )
    def test_sigma(self, ratio, word):
        assert word in findings.on_sigma({"sigma_ratio": ratio})


class TestFaults:
    def test_large_changes_stand_beside_no_fault(self):
        (told,) = findings.faults(SUMMARY)
        assert "distances change by 30 % in the median if a x 0.7" in told
        assert "No fault was found" not in told

    def test_none(self):
        summary = changed(diagnosis={"sensitivity": None})
        assert findings.faults(summary) == ["No fault was found."]

    def test_unscaled_columns_are_named(self):
        X = np.random.default_rng(0).normal(size=(100, 4)) * [1.0, 1.0, 500.0, 1.0]
        columns = findings.columns_of(X)
        assert findings.is_unscaled(columns, 4)
        summary = changed(data={"unscaled": True, "column_spread": columns})
        assert "number 3 alone has 99.9 % of the variance" in findings.faults(summary)[0]
        named = findings.columns_of(X, ["age", "size", "mass", "dose"])
        summary = changed(data={"unscaled": True, "column_spread": named})
        assert "'mass' alone has 99.9 % of the variance" in findings.faults(summary)[0]

    @pytest.mark.parametrize("factors", [[1.0, 1.0, 3.0, 1.0], [20.0, 20.0, 20.0, 1.0]])
    def test_columns_of_like_size_are_not(self, factors):
        X = np.random.default_rng(0).normal(size=(100, 4)) * factors
        assert not findings.is_unscaled(findings.columns_of(X), 4)

    def test_constant_columns(self):
        X = np.random.default_rng(0).normal(size=(100, 4)) * [1.0, 0.0, 1.0, 0.0]
        summary = changed(data={"column_spread": findings.columns_of(X), "columns": 4})
        assert findings.faults(summary)[0].startswith("2 columns of 4 never change")
        named = findings.columns_of(X, ["age", "size", "mass", "dose"])
        summary = changed(data={"column_spread": named, "columns": 4})
        assert "never change: 'size', 'dose'." in findings.faults(summary)[0]

    def test_few_rows_per_center(self):
        summary = changed(model={"rows_per_center": 2.8})
        assert "2.8 rows to each of the 64 centers" in findings.faults(summary)[0]


@pytest.mark.parametrize(
    ("share", "words"), [(0.0, "0 %"), (1.0, "100 %"), (0.004, "0.4 %"), (0.9996, "99.9 %")]
)
def test_percent(share, words):
    assert findings.percent(share) == words


class TestAgreement:
    points = np.random.default_rng(0).normal(size=(30, 2))

    def test_equal_distances_agree(self):
        a = np.linalg.norm(self.points[:, None] - self.points, axis=-1)
        assert agreement.rank_correlation(a, a**3) == pytest.approx(1.0)
        assert agreement.shared_neighbors(a, 2.0 * a, 5) == 1.0

    def test_purity_of_separate_and_of_mixed_classes(self):
        classes = np.repeat([0, 1], 15)
        apart = self.points + 100.0 * classes[:, None]
        distances = np.linalg.norm(apart[:, None] - apart, axis=-1)
        assert agreement.purity(distances, classes, 5) == 1.0
        assert agreement.purity(distances, np.arange(30), 5) == 0.0

    def test_neighbors_fit_into_the_smallest_class(self):
        assert agreement.count_neighbors(np.repeat([0, 1], [3, 20]), 23) == 2
        assert agreement.count_neighbors(np.arange(4), 4) == 0
        assert agreement.count_neighbors(None, 30) == 5


@pytest.fixture(scope="module")
def flat():
    """A flat latent space with two groups of codes."""
    groups = np.repeat([0.0, 8.0], 20)[:, None]
    codes = np.random.default_rng(1).normal(size=(40, 2)) + groups
    return LatentSpace(lambda z: (z, torch.ones_like(z)), 2, points=codes, table=False), codes


class TestMeasures:
    def progress(self, items, description):
        return items

    def test_all_geodesics_in_time(self, flat):
        space, codes = flat
        matrix, n_exact = analysis.distance_matrix(space, codes[:6], self.progress)
        assert n_exact == 6
        true = np.linalg.norm(codes[:6, None] - codes[:6], axis=-1)
        np.testing.assert_allclose(matrix, true, rtol=1e-6, atol=1e-12)

    def test_without_time_distances_are_those_of_the_graph(self, flat):
        space, codes = flat
        matrix, n_exact = analysis.distance_matrix(space, codes[:6], self.progress, 1e-9)
        assert n_exact < 6
        true = np.linalg.norm(codes[:6, None] - codes[:6], axis=-1)
        assert (matrix >= true - 1e-9).all()
        assert (matrix <= 1.2 * true + 1e-9).all()

    def test_pairs_end_in_time(self, flat):
        space, codes = flat
        index = analysis.random_pairs(40, 30, np.random.default_rng(0))
        pairs = analysis.solve_pairs(space, codes, index, self.progress, 1e-9)
        assert 0 < len(pairs.index) < 30
        np.testing.assert_allclose(pairs.length, pairs.straight_length, rtol=1e-6)

    def test_clusters_are_the_groups(self, flat):
        space, codes = flat
        index = np.arange(0, 40, 2)
        distances = np.linalg.norm(codes[index, None] - codes[index], axis=-1)
        found = agreement.find_clusters(space, codes, index, distances)
        assert found.agreement(np.repeat([0, 1], 20)) == 1.0
        assert set(found.medoids) <= set(index)
        assert found.silhouette > 0.5
        table = list(csv.reader(io.StringIO(files.clusters_csv(found, None).decode())))
        assert table[0] == ["row", "cluster", "distance_to_medoid"]
        assert len(table) == 41

    def test_too_few_for_clusters(self, flat):
        space, codes = flat
        index = np.arange(4)
        assert agreement.find_clusters(space, codes, index, np.ones((4, 4))) is None


def test_numbers_that_are_not_finite_are_null():
    written = files.summary_json({"a": np.array([1.0, np.nan]), "b": (np.int64(2), np.inf, "x")})
    assert json.loads(written) == {"a": [1.0, None], "b": [2, None, "x"]}


def test_command():
    command = provenance.command_line(["report", "my table.csv"])
    assert command == "geomstats-vae report 'my table.csv'"
    assert provenance.made(3, command)["command"] == command
    assert provenance.made(3)["command"] is None


def test_date_and_version():
    made = provenance.made(3)
    date = datetime.fromisoformat(made["date"])
    assert date.utcoffset() is not None
    assert abs(datetime.now(timezone.utc) - date) < timedelta(minutes=1)
    assert (made["version"], made["seed"]) == (geomstats_vae.__version__, 3)


def test_the_unit_of_pixels_is_said():
    summary = changed(data={"range": [0.0, 255.0]})
    assert "of pixels between 0 and 255" in findings._unit(summary["data"])
    assert findings._unit({"range": None}) == ""


def test_windows_hold_codes_and_curves_and_are_not_flat():
    codes = np.stack([np.linspace(0.0, 10.0, 50), np.zeros(50)], axis=-1)
    codes[:, 1] = 0.1 * np.sin(codes[:, 0])
    curve = np.array([[[0.0, 0.0], [5.0, 0.15], [10.0, 0.0]]])
    window = window_around(codes, curve)
    assert isinstance(window, LatentWindow)
    width, height = window.high - window.low
    assert height >= 0.4 * width * (1.0 - 1e-9)
    for points in (codes, curve[0]):
        assert (points >= window.low).all()
        assert (points <= window.high).all()
    far = window_around(codes, 1e3 * curve)
    assert (far.high - far.low < 40.0).all()
    assert window_around(codes, np.zeros((0, 3, 2))).high[0] >= 10.0


def test_pairs_file():
    pairs = SimpleNamespace(
        index=np.array([[0, 1]]),
        length=np.array([1.0]),
        straight_length=np.array([2.0]),
        sigma=np.array([0.5]),
        straight_sigma=np.array([0.25]),
        status=[analysis.GeodesicStatus.CONVERGED],
    )
    (header, row) = csv.reader(io.StringIO(files.pairs_csv(pairs).decode()))
    assert dict(zip(header, row, strict=True)) == {
        "row_a": "0",
        "row_b": "1",
        "geodesic_length": "1",
        "line_length": "2",
        "geodesic_sigma": "0.5",
        "line_sigma": "0.25",
        "status": "CONVERGED",
    }
