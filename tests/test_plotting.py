"""Pictures: what the artists hold, and that nothing global changes."""

import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import LogNorm, to_hex
from matplotlib.figure import Figure

from geomstats_vae import plotting


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture
def codes():
    return np.random.default_rng(0).normal(size=(60, 2)) * [2.0, 1.0]


def draw(ax):
    ax.figure.canvas.draw()


class TestWindow:
    def test_holds_all_codes(self, codes):
        left, right, bottom, top = plotting.LatentWindow.around(codes).extent
        assert left < codes[:, 0].min() < codes[:, 0].max() < right
        assert bottom < codes[:, 1].min() < codes[:, 1].max() < top

    def test_grid_holds_the_centres_of_nearly_square_cells(self, codes):
        window = plotting.LatentWindow.around(codes)
        points = window.grid(50)
        n_rows, n_columns, dim = points.shape
        assert dim == 2
        assert max(n_rows, n_columns) == 50
        left, right, bottom, top = window.extent
        cell = np.array([(right - left) / n_columns, (top - bottom) / n_rows])
        assert 0.95 < cell[0] / cell[1] < 1.05
        np.testing.assert_allclose(points[0, 0], [left, bottom] + cell / 2)
        np.testing.assert_allclose(points[-1, -1], [right, top] - cell / 2)

    def test_further_coordinates_stay_at_their_median(self):
        codes = np.random.default_rng(0).normal(size=(31, 4))
        points = plotting.LatentWindow.around(codes).grid(5)
        assert points.shape[-1] == 4
        np.testing.assert_array_equal(points[..., 2], np.median(codes[:, 2]))
        np.testing.assert_array_equal(points[..., 3], np.median(codes[:, 3]))

    def test_a_coordinate_without_spread_still_has_width(self):
        left, right, bottom, top = plotting.LatentWindow.around([[0.0, 3.0], [1.0, 3.0]]).extent
        assert right > left
        assert top > bottom

    @pytest.mark.parametrize("codes", [np.zeros((3, 1)), np.zeros((0, 2)), np.zeros(4)])
    def test_codes_that_cannot_be_drawn(self, codes):
        with pytest.raises(ValueError, match=r"Expected latent codes of shape \[n_points, dim\]"):
            plotting.LatentWindow.around(codes)


class TestCodes:
    @pytest.mark.parametrize("n_classes", [1, 2, 7, 8, 10, 25])
    def test_no_two_classes_look_alike(self, n_classes):
        assert len(set(plotting.class_styles(n_classes))) == n_classes

    def test_scatter_shows_every_class_under_its_name(self, ax, codes):
        labels = np.arange(len(codes)) % 3
        artists = plotting.latent_scatter(ax, codes, labels)
        assert [artist.get_label() for artist in artists] == ["0", "1", "2"]
        for name, artist in enumerate(artists):
            np.testing.assert_array_equal(artist.get_offsets(), codes[labels == name])
        assert [text.get_text() for text in ax.texts] == ["0", "1", "2"]
        assert ax.get_legend() is not None

    def test_scatter_without_labels(self, ax, codes):
        (artist,) = plotting.latent_scatter(ax, codes)
        np.testing.assert_array_equal(artist.get_offsets(), codes)
        assert ax.get_legend() is None

    def test_labels_of_the_wrong_length(self, ax, codes):
        with pytest.raises(ValueError, match=r"Expected labels of shape \[60\].*got \[59\]"):
            plotting.latent_scatter(ax, codes, np.zeros(59))

    def test_distances_are_ordered_by_class(self, ax):
        points = np.arange(6.0)
        distances = np.abs(points[:, None] - points)
        labels = np.array(["b", "a", "b", "a", "b", "a"])
        image = plotting.distance_matrix(ax, distances, labels)
        order = [1, 3, 5, 0, 2, 4]
        np.testing.assert_array_equal(image.get_array(), distances[np.ix_(order, order)])
        assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b"]
        assert image.colorbar.ax.get_ylabel() == "distance"


class TestImages:
    @pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3)])
    def test_first_row_of_the_grid_is_drawn_lowest(self, ax, shape):
        images = np.zeros((2, 3, *shape))
        images[0] = 1.0
        mosaic = plotting.image_grid(ax, images).get_array()
        middle = mosaic.shape[0] // 2
        assert mosaic.shape[1] / mosaic.shape[0] == pytest.approx(3 * 8 / (2 * 6))
        assert np.nanmax(mosaic[:middle]) == 0.0
        assert np.nanmin(mosaic[middle:]) == 1.0

    def test_grid_lies_in_latent_coordinates(self, ax):
        image = plotting.image_grid(ax, np.zeros((2, 2, 3, 3)), extent=(-1.0, 1.0, 0.0, 2.0))
        assert image.get_extent() == [-1.0, 1.0, 0.0, 2.0]
        assert ax.get_xlabel() == "$z_1$"

    def test_strip_keeps_the_order_of_its_images(self, ax):
        images = np.arange(4.0)[:, None, None] * np.ones((4, 5, 5))
        mosaic = plotting.strip(ax, images).get_array()
        columns = np.nanmax(mosaic.filled(np.nan), axis=0, where=~mosaic.mask, initial=-1.0)
        np.testing.assert_array_equal(columns[columns >= 0], np.repeat(np.arange(4.0), 5))


class TestMaps:
    def test_log_sigma_is_the_log_of_the_sum(self, ax, codes):
        window = plotting.LatentWindow.around(codes)
        image = plotting.log_sigma(ax, lambda z: np.exp(z), window, n_points=9)
        points = window.grid(9)
        np.testing.assert_allclose(image.get_array(), np.log(np.exp(points).sum(axis=-1)))
        assert tuple(image.get_extent()) == window.extent

    def test_volume_density_is_logarithmic_and_named(self, ax, codes):
        density = SimpleNamespace(volume_density=lambda z: np.exp(z[:, 0]))
        window = plotting.LatentWindow.around(codes)
        image = plotting.volume_density(ax, SimpleNamespace(metric=density), window, n_points=9)
        np.testing.assert_allclose(image.get_array(), np.exp(window.grid(9)[..., 0]))
        assert isinstance(image.norm, LogNorm)
        assert "data area per latent area" in image.colorbar.ax.get_ylabel()
        draw(ax)

    def test_curvature_is_balanced_about_zero(self, ax, codes):
        metric = SimpleNamespace(gaussian_curvature=lambda z: np.sinh(3.0 * z[:, 0]))
        window = plotting.LatentWindow.around(codes)
        image = plotting.gaussian_curvature(ax, SimpleNamespace(metric=metric), window, n_points=9)
        np.testing.assert_allclose(image.get_array(), np.sinh(3.0 * window.grid(9)[..., 0]))
        assert image.norm.vmin == -image.norm.vmax
        assert image.norm(0.0) == 0.5
        assert "1 / squared data distance" in image.colorbar.ax.get_ylabel()
        draw(ax)

    @pytest.mark.parametrize("value", [0.0, np.nan])
    def test_flat_and_singular_spaces_are_drawn(self, ax, codes, value):
        metric = SimpleNamespace(gaussian_curvature=lambda z: np.full(len(z), value))
        window = plotting.LatentWindow.around(codes)
        image = plotting.gaussian_curvature(ax, SimpleNamespace(metric=metric), window, n_points=9)
        assert image.get_array().mask.all() == np.isnan(value)
        draw(ax)

    def test_vanishing_density_is_left_blank(self, ax, codes):
        density = SimpleNamespace(volume_density=lambda z: np.maximum(z[:, 0], 0.0))
        window = plotting.LatentWindow.around(codes)
        image = plotting.volume_density(ax, SimpleNamespace(metric=density), window, n_points=9)
        np.testing.assert_array_equal(image.get_array().mask, window.grid(9)[..., 0] <= 0.0)
        draw(ax)


class TestCurves:
    points = np.linspace([0.0, 0.0], [1.0, 2.0], 5)

    def test_one_path(self, ax):
        (lines,) = plotting.geodesics(ax, SimpleNamespace(points=self.points, converged=True))
        np.testing.assert_array_equal(lines.get_segments(), self.points[None])
        assert lines.get_label() == "geodesic"

    def test_paths_that_did_not_converge_stand_apart(self, ax):
        points = torch.as_tensor(np.stack([self.points, self.points + 1.0, self.points + 2.0]))
        path = SimpleNamespace(points=points, converged=torch.tensor([True, False, True]))
        good, bad = plotting.geodesics(ax, path)
        assert len(good.get_segments()) == 2
        np.testing.assert_array_equal(bad.get_segments()[0], self.points + 1.0)
        assert good.get_linestyle() != bad.get_linestyle()
        legend = plotting.curve_legend(ax)
        assert [text.get_text() for text in legend.get_texts()] == ["geodesic", "not converged"]
        draw(ax)

    def test_straight_lines_are_dashed(self, ax):
        lines = plotting.straight_lines(ax, self.points[:2], self.points[2:4])
        np.testing.assert_array_equal(lines.get_segments()[1], self.points[[1, 3]])
        ((_, dashes),) = lines.get_linestyle()
        assert dashes is not None

    def test_names_stand_on_the_starts(self, ax):
        ends, starts, *names = plotting.end_points(ax, [[0, 0], [1, 1]], [[3, 0], [1, 1]], "12")
        np.testing.assert_array_equal(starts.get_offsets(), [[0, 0], [1, 1]])
        np.testing.assert_array_equal(ends.get_offsets(), [[3, 0], [1, 1]])
        assert [(name.get_text(), *name.get_position()) for name in names] == [
            ("1", 0, 0),
            ("2", 1, 1),
        ]
        draw(ax)

    def test_third_coordinate_is_projected_away(self, ax):
        points = np.concatenate([self.points, np.ones((5, 1))], axis=1)
        (lines,) = plotting.geodesics(ax, points)
        np.testing.assert_array_equal(lines.get_segments(), self.points[None])


def test_no_setting_and_no_pyplot(codes):
    before = dict(matplotlib.rcParams)
    loaded = "matplotlib.pyplot" in sys.modules
    ax = Figure().subplots()
    plotting.latent_scatter(ax, codes, np.arange(len(codes)) % 10)
    draw(ax)
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_class_colours_are_colours():
    assert all(to_hex(color) for color, _ in plotting.class_styles(10))
