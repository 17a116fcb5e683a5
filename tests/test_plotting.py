"""Pictures: what the artists hold, and that nothing global changes."""

import itertools
import sys
from types import SimpleNamespace

import geomstats.backend as gs
import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import LogNorm, to_hex
from matplotlib.figure import Figure
from sklearn.mixture import GaussianMixture

from geomstats_vae import LatentSpace, plotting
from geomstats_vae.plotting.codes import shortened
from tests import surfaces
from tests.manifolds import charts


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

    def test_long_names_keep_both_ends(self, ax, codes):
        names = ["CD8+/CD45RA+ Naive Cytotoxic", "CD8+ Cytotoxic T", "B"]
        shown = [shortened(name, 12) for name in names]
        assert [len(name) for name in shown] == [12, 12, 1]
        assert len(set(shown)) == 3
        assert all(name[:5] == short[:5] for name, short in zip(names, shown, strict=True))
        assert all(name[-3:] == short[-3:] for name, short in zip(names, shown, strict=True))
        plotting.latent_scatter(ax, codes, np.array(names * 20))
        assert {text.get_text() for text in ax.texts} == set(shown)

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

    def test_a_cell_with_huge_curvature_leaves_the_colours_to_the_others(self, ax, codes):
        huge = SimpleNamespace(gaussian_curvature=lambda z: np.where(z[:, 0] == z[0, 0], 1e6, 1.0))
        window = plotting.LatentWindow.around(codes)
        image = plotting.gaussian_curvature(ax, SimpleNamespace(metric=huge), window, n_points=50)
        assert image.norm.vmax == 1.0
        assert image.get_array().max() == 1e6

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


def test_names_do_not_cover_each_other():
    """Six classes, four of which have their medians in nearly one place."""
    middles = np.array([[0, 0], [0, 0], [0.01, 0], [0, 0.02], [3, 1], [-3, -1]], dtype=float)
    labels = np.repeat(np.arange(6), 11)
    codes = middles[labels] + 0.3 * np.random.default_rng(0).normal(size=(66, 2))
    figure = Figure(figsize=(5.0, 4.0), layout="compressed")
    ax = figure.subplots()
    plotting.latent_scatter(ax, codes, labels)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    covered = [a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k]]
    assert len(covered) == 15
    assert not any(covered)
    # They stay near: within the spread of their classes.
    places = np.array([text.get_position() for text in ax.texts])
    assert np.abs(places - middles).max() < 1.0


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


class TestThreeDimensions:
    codes = np.random.default_rng(0).normal(size=(40, 3)) * [1.0, 2.0, 3.0]
    curve = np.linspace([0.0, 1.0, 2.0], [1.0, 2.0, 4.0], 5)

    @pytest.fixture
    def box(self):
        return Figure().add_subplot(projection="3d")

    def test_each_plane_holds_its_two_coordinates(self):
        axes = Figure().subplots(1, 3)
        artists = plotting.projections(axes, self.codes, np.arange(40) % 2, self.curve)
        for ax, (even, odd, lines), plane in zip(
            axes, artists, [(0, 1), (0, 2), (1, 2)], strict=True
        ):
            np.testing.assert_array_equal(even.get_offsets(), self.codes[::2, plane])
            np.testing.assert_array_equal(odd.get_offsets(), self.codes[1::2, plane])
            np.testing.assert_array_equal(lines.get_segments()[0], self.curve[:, plane])
            names = [f"$z_{coordinate + 1}$" for coordinate in plane]
            assert [ax.get_xlabel(), ax.get_ylabel()] == names
            assert ax.get_aspect() == 1.0
        draw(axes[0])

    def test_two_coordinates_have_no_three_projections(self):
        with pytest.raises(ValueError, match="at least 3 coordinates, got shape"):
            plotting.projections(Figure().subplots(1, 3), self.codes[:, :2])

    def test_an_axis_short(self):
        with pytest.raises(ValueError, match="Expected three axes, one for each plane, got 2"):
            plotting.projections(Figure().subplots(1, 2), self.codes)

    def test_scatter_in_a_box_shows_three_coordinates(self, box):
        artists = plotting.latent_scatter(box, self.codes, np.arange(40) % 2)
        for artist, codes in zip(artists, (self.codes[::2], self.codes[1::2]), strict=True):
            np.testing.assert_array_equal(np.stack(artist._offsets3d, axis=1), codes)
        assert box.get_zlabel() == "$z_3$"
        draw(box)

    def test_curves_in_a_box_are_in_view_and_in_equal_units(self, box):
        path = SimpleNamespace(points=torch.as_tensor(self.curve + 7.0), converged=True)
        (lines,) = plotting.geodesics(box, path)
        plotting.straight_lines(box, self.curve[0], self.curve[-1])
        plotting.end_points(box, self.curve[:1], self.curve[-1:], "1")
        np.testing.assert_array_equal(lines._segments3d[0], self.curve + 7.0)
        limits = np.array([box.get_xlim(), box.get_ylim(), box.get_zlim()])
        assert (limits[:, 0] <= self.curve[0]).all()
        assert (limits[:, 1] >= self.curve[-1] + 7.0).all()
        scales = np.ptp(limits, axis=1) / box._box_aspect
        np.testing.assert_allclose(scales, scales[0])
        draw(box)


def hill():
    """A hill on a plane, as layers: geodesics that pass it on both sides meet behind it."""
    inner, outer = (torch.nn.Linear(n, m, dtype=torch.float64) for n, m in ((2, 6), (6, 3)))
    flat = 0.05  # tanh(flat x) / flat is nearly x
    rows = [[flat, 0.0], [0.0, flat], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    inner.weight.data = torch.tensor(rows, dtype=torch.float64)
    inner.bias.data = torch.tensor([0.0, 0.0, 1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    outer.weight.data = torch.zeros(3, 6, dtype=torch.float64)
    outer.weight.data[:2, :2] = torch.eye(2) / flat
    outer.weight.data[2, 2:] = torch.tensor([1.5, -1.5, 1.5, -1.5], dtype=torch.float64)
    outer.bias.data.zero_()
    return torch.nn.Sequential(inner, torch.nn.Tanh(), outer).eval()


class TestBalls:
    # Of radius r about 0 they have the radius tan(r / 2) in stereographic coordinates.
    radii = (2.0, 0.5, 1.0)
    sphere = LatentSpace(surfaces.sphere, 2, on_failure="raise")

    def test_circles_of_the_sphere(self, ax):
        *artists, one, two, three = plotting.geodesic_balls(
            ax, self.sphere, [0, 0], self.radii, n_directions=6
        )
        *circles, center = artists
        np.testing.assert_array_equal(center.get_offsets(), [[0.0, 0.0]])
        for circle, radius in zip(circles, sorted(self.radii), strict=True):
            (curve,) = circle.get_segments()
            np.testing.assert_array_equal(curve[0], curve[-1])
            size = np.linalg.norm(curve, axis=1)
            np.testing.assert_allclose(size, np.tan(radius / 2.0), rtol=1e-6)
        assert [text.get_text() for text in (one, two, three)] == ["0.5", "1", "2"]
        draw(ax)

    def test_points_on_a_circle_are_as_far_from_the_centre_as_it_says(self, ax):
        center = gs.array([0.3, -0.2])
        circle, *_ = plotting.geodesic_balls(ax, self.sphere, center, [0.7], n_directions=6)
        points = torch.tensor(circle.get_segments()[0])
        distances = surfaces.sphere_distance(torch.tensor([0.3, -0.2], dtype=float), points)
        np.testing.assert_allclose(distances, 0.7, rtol=1e-6)

    def test_circles_end_where_geodesics_cease_to_be_shortest(self, ax):
        # Symmetry puts the cut points of a centre on the axis behind the hill.
        space = LatentSpace(hill(), 2, on_failure="raise")
        whole, broken, *_ = plotting.geodesic_balls(
            ax, space, [-1.5, 0.0], [0.5, 4.0], n_directions=32
        )
        assert len(whole.get_segments()) == 1
        (curve,) = broken.get_segments()
        # It leaves the axis behind the hill on one side and comes back on the other.
        assert (curve[[0, -1], 0] > 0.0).all()
        assert curve[0, 1] * curve[-1, 1] < 0.0
        assert (np.sign(curve[:, 1]) != np.sign(curve[0, 1])).argmax() > len(curve) // 3

    def test_circles_on_the_graph_are_closed_and_as_far_as_they_say(self, ax):
        space = LatentSpace(hill(), 2, points=[[-3.0, -3.0], [3.0, 3.0]], on_failure="raise")
        center, radii = np.array([-1.0, 0.0]), [0.5, 2.0]
        circles = plotting.geodesic_balls(ax, space, center, radii)[:2]
        for circle, radius in zip(circles, radii, strict=True):
            (curve,) = circle.get_segments()
            np.testing.assert_array_equal(curve[0], curve[-1])
            distances = space.metric.dist(gs.from_numpy(center), gs.from_numpy(curve[::20]))
            np.testing.assert_allclose(np.asarray(distances), radius, rtol=0.02)

    def test_a_map_keeps_its_view(self, ax):
        ax.imshow(np.zeros((2, 2)), extent=(-0.1, 0.1, -0.1, 0.1))
        plotting.geodesic_balls(ax, self.sphere, [0.0, 0.0], [1.0], n_directions=3)
        assert ax.get_xlim() == (-0.1, 0.1)

    @pytest.mark.parametrize(
        ("center", "radii", "message"),
        [([0.0, 0.0, 0.0], [1.0], "Expected a centre"), ([0.0, 0.0], [0.0], "positive radii")],
    )
    def test_what_is_no_circle(self, ax, center, radii, message):
        with pytest.raises(ValueError, match=message):
            plotting.geodesic_balls(ax, self.sphere, center, radii)


class TestDensity:
    window = plotting.LatentWindow.around([[-3.0, -2.0], [3.0, 2.0]])

    @staticmethod
    def normal(z):
        return -0.5 * (z**2).sum(axis=1) - np.log(2.0 * np.pi)

    def test_the_map_holds_the_density_and_the_samples_lie_on_it(self, ax, codes):
        image, samples = plotting.density(ax, self.normal, self.window, codes, n_points=12)
        points = self.window.grid(12)
        expected = np.exp(-0.5 * (points**2).sum(axis=-1)) / (2.0 * np.pi)
        np.testing.assert_allclose(image.get_array(), expected)
        np.testing.assert_array_equal(samples.get_offsets(), codes)
        assert image.norm.vmin == 0.0
        assert image.colorbar.ax.get_ylabel() == "probability density (1 / latent area)"
        draw(ax)

    def test_tensors(self, ax):
        (image,) = plotting.density(
            ax, lambda z: torch.tensor(self.normal(z)), self.window, n_points=5
        )
        expected = np.exp(self.normal(self.window.grid(5).reshape(-1, 2)))
        np.testing.assert_allclose(image.get_array().ravel(), expected)

    @pytest.mark.parametrize("measure", ["lebesgue", "riemannian"])
    def test_an_estimator_on_a_space_is_asked_for_the_measure(self, ax, measure):
        def score_samples(z, measure):
            return np.full(len(z), {"lebesgue": 0.0, "riemannian": -1.0}[measure])

        land = SimpleNamespace(space_=None, score_samples=score_samples)
        (image,) = plotting.density(ax, land, self.window, n_points=4, measure=measure)
        np.testing.assert_allclose(image.get_array(), 1.0 if measure == "lebesgue" else np.exp(-1))
        unit = "latent area" if measure == "lebesgue" else "Riemannian area"
        assert unit in image.colorbar.ax.get_ylabel()

    def test_an_estimator_of_coordinates_has_one_measure(self, ax):
        mixture = GaussianMixture(1).fit(np.random.default_rng(0).normal(size=(30, 2)))
        (image,) = plotting.density(ax, mixture, self.window, n_points=4)
        points = self.window.grid(4).reshape(-1, 2)
        np.testing.assert_allclose(
            image.get_array().ravel(), np.exp(mixture.score_samples(points)), rtol=1e-6
        )

    def test_impossible_points_have_density_zero(self, ax):
        (image,) = plotting.density(ax, lambda z: np.full(len(z), -np.inf), self.window, n_points=3)
        assert not image.get_array().any()

    def test_unknown_measure(self, ax):
        with pytest.raises(ValueError, match="Expected measure to be one of 'riemannian'"):
            plotting.density(ax, self.normal, self.window, measure="euclidean")


@pytest.fixture(scope="module")
def kmeans():
    """Three centres on a bent plane, where distances are known."""
    centers = np.array([[-0.9, 0.3], [0.8, 0.9], [0.4, -0.8]])
    corners = np.array([[-1.5, -1.5], [1.5, 1.5]])
    space = LatentSpace(charts.bent_plane(), 2, points=corners, on_failure="raise")

    def predict(z):
        return charts.straight(z[:, None], centers).argmin(axis=1)

    return SimpleNamespace(cluster_centers_=centers, space_=space, predict=predict)


class TestRegions:
    window = plotting.LatentWindow.around([[-1.0, -1.0], [1.0, 1.0]])

    def test_of_a_function(self, ax):
        image, *edges = plotting.regions(
            ax, lambda z: np.where(z[:, 0] > 0.1, "b", "a"), self.window, n_points=30
        )
        np.testing.assert_array_equal(image.get_array(), self.window.grid(30)[..., 0] > 0.1)
        (edge,) = edges
        x = np.concatenate([path.vertices for path in edge.get_paths()])[:, 0]
        assert np.abs(x - 0.1).max() < 2.4 / 30
        draw(ax)

    def test_colours_are_those_of_the_codes(self, ax, codes):
        kinds = np.array([3, 5, 8])[np.arange(len(codes)) % 3]
        scatter = plotting.latent_scatter(ax, codes, kinds)
        image, *_ = plotting.regions(
            ax,
            lambda z: (z[:, 0] > 0.0).astype(int),
            self.window,
            names=[8, 5],
            classes=kinds,
            n_points=4,
        )
        colors = image.to_rgba(image.get_array(), alpha=1.0)
        np.testing.assert_allclose(colors[0, 0, :3], scatter[2].get_facecolor()[0, :3])
        np.testing.assert_allclose(colors[0, -1, :3], scatter[1].get_facecolor()[0, :3])

    def test_regions_of_centres_on_the_graph_are_those_of_the_nearest(self, ax, kmeans):
        image, *_, stars = plotting.regions(ax, kmeans, self.window, n_points=100)
        exact = kmeans.predict(self.window.grid(100).reshape(-1, 2)).reshape(100, 100)
        assert (image.get_array() == exact).mean() > 0.98
        np.testing.assert_array_equal(stars.get_offsets(), kmeans.cluster_centers_)

    def test_exact_regions_are_those_predicted(self, ax, kmeans):
        image, *_ = plotting.regions(ax, kmeans, self.window, n_points=20, method="exact")
        exact = kmeans.predict(self.window.grid(20).reshape(-1, 2)).reshape(20, 20)
        np.testing.assert_array_equal(image.get_array(), exact)

    def test_a_cluster_without_a_name(self, ax):
        with pytest.raises(ValueError, match="a name for each of the labels 0 to 1, got 1"):
            plotting.regions(ax, lambda z: (z[:, 0] > 0).astype(int), self.window, names=["a"])

    def test_a_class_that_is_missing(self, ax):
        with pytest.raises(ValueError, match=r"got none of \[1\]"):
            plotting.regions(ax, lambda z: (z[:, 0] > 0).astype(int), self.window, classes=[0])

    def test_unknown_method(self, ax, kmeans):
        with pytest.raises(ValueError, match="Expected method to be one of 'graph', 'exact'"):
            plotting.regions(ax, kmeans, self.window, method="euclidean")


class TestWalks:
    paths = np.cumsum(np.random.default_rng(0).normal(size=(3, 200, 2)), axis=1)

    def test_one_line_per_walker_and_its_ends_marked(self, ax):
        lines, ends, starts = plotting.random_walks(ax, self.paths)
        np.testing.assert_array_equal(np.stack(lines.get_segments()), self.paths)
        np.testing.assert_array_equal(starts.get_offsets(), self.paths[:, 0])
        np.testing.assert_array_equal(ends.get_offsets(), self.paths[:, -1])
        assert len({to_hex(color) for color in lines.get_colors()}) == 3
        assert ax.get_aspect() == 1.0
        draw(ax)

    def test_colours_tell_the_time(self, ax):
        walk = SimpleNamespace(points=torch.tensor(self.paths), times=torch.linspace(0, 5, 200))
        lines, *_ = plotting.random_walks(ax, walk, color="time")
        parts, times = lines.get_segments(), lines.get_array()
        # The parts of a walk join, and their colours are the times of their middles.
        first = parts[: len(parts) // 3]
        np.testing.assert_array_equal(first[0][0], self.paths[0, 0])
        np.testing.assert_array_equal(first[-1][-1], self.paths[0, -1])
        for before, after in itertools.pairwise(first):
            np.testing.assert_array_equal(before[-1], after[0])
        middle = np.cumsum([len(part) - 1 for part in first]) - [len(p) / 2 - 0.5 for p in first]
        np.testing.assert_allclose(times[: len(first)], middle * 5.0 / 199.0)
        assert lines.get_clim() == (0.0, 5.0)
        assert lines.colorbar.ax.get_ylabel() == "time (squared data distance)"
        draw(ax)

    def test_a_walk_ends_before_points_that_are_not_finite(self, ax):
        paths = self.paths.copy()
        paths[1, 50:] = np.nan
        for color in ("walker", "time"):
            lines, ends, _ = plotting.random_walks(ax, paths, color=color)
            assert all(np.isfinite(part).all() for part in lines.get_segments())
            np.testing.assert_array_equal(ends.get_offsets()[1], paths[1, 49])
        draw(ax)

    def test_one_walk_in_a_box(self):
        box = Figure().add_subplot(projection="3d")
        path = np.cumsum(np.ones((20, 3)), axis=0)
        lines, *_ = plotting.random_walks(box, path, color="time")
        np.testing.assert_array_equal(lines._segments3d[-1][-1], path[-1])
        draw(box)

    def test_unknown_colour(self, ax):
        with pytest.raises(ValueError, match="Expected color to be one of 'walker', 'time'"):
            plotting.random_walks(ax, self.paths, color="speed")

    def test_a_walk_from_nowhere(self, ax):
        with pytest.raises(ValueError, match="Expected walks that start at finite points"):
            plotting.random_walks(ax, np.full((3, 2), np.nan))


class TestConvergence:
    def test_values_against_steps_on_a_logarithmic_scale(self, ax):
        values = 10.0 ** -np.arange(6)
        (line,) = plotting.convergence(ax, torch.tensor(values))
        np.testing.assert_array_equal(line.get_xdata(), np.arange(6))
        np.testing.assert_array_equal(line.get_ydata(), values)
        assert ax.get_yscale() == "log"
        assert ax.get_legend() is None
        draw(ax)

    def test_distance_from_the_limit_leaves_the_limit_out(self, ax):
        bounds = [-3.0, -1.5, -1.25, -1.0]
        last, given = plotting.convergence(
            ax, {"a": bounds, "b": bounds[:2]}, limit={"a": "last", "b": -1.0}, quantity="bound"
        )
        np.testing.assert_allclose(last.get_ydata(), [2.0, 0.5, 0.25])
        np.testing.assert_allclose(given.get_ydata(), [2.0, 0.5])
        assert ax.get_ylabel() == "distance of bound from its limit"
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
        draw(ax)

    def test_steps_of_its_own(self, ax):
        (line,) = plotting.convergence(ax, {"a": [1.0, 0.0, 0.5]}, {"a": [10, 20, 40]})
        np.testing.assert_array_equal(line.get_xdata(), [10, 40])

    @pytest.mark.parametrize(
        ("history", "steps", "message"),
        [
            ([[1.0, 2.0]], None, r"Expected a history of shape \[n_steps\], got \[1, 2\]"),
            ([1.0, 2.0], [1], "Expected as many steps as values, got 1 and 2"),
        ],
    )
    def test_what_is_no_history(self, ax, history, steps, message):
        with pytest.raises(ValueError, match=message):
            plotting.convergence(ax, history, steps)


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
