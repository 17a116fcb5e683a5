"""What `space.plot` and `path.plot` draw, and on which axes."""

import geomstats.backend as gs
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from geomstats_vae import LatentSpace
from geomstats_vae.plotting import glance
from tests.manifolds import spaces
from tests.manifolds.spaces import array, draw, host

CODES = draw(12, 4)
LABELS = np.arange(12) % 3


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Maps of few cells; no window is opened."""
    plt.switch_backend("agg")
    for name in ("_CELLS", "_CELLS_OF_MANY_DIMENSIONS", "_CELLS_OF_A_LINE"):
        monkeypatch.setattr(glance, name, 8)
    yield
    plt.close("all")


def space_of(dim, codes=True):
    points = CODES[:, :dim] if codes else None
    return LatentSpace(spaces.network(dim=dim), points=points, table=False)


@pytest.fixture
def ax():
    return Figure().subplots()


def offsets(ax):
    return np.concatenate([np.asarray(each.get_offsets()) for each in ax.collections])


def test_codes_stand_on_a_map_of_the_volume(ax):
    space = space_of(2)
    assert space.plot(LABELS, ax) is ax
    drawn = offsets(ax)
    assert {tuple(row) for row in drawn} == {tuple(row) for row in CODES[:, :2]}
    (image,) = ax.images
    left, right, bottom, top = image.get_extent()
    assert left < CODES[:, 0].min() < CODES[:, 0].max() < right
    n_rows, n_columns = image.get_array().shape
    corner = [left + (right - left) / n_columns / 2, bottom + (top - bottom) / n_rows / 2]
    expected = host(space.metric.volume_density(array(corner)))
    np.testing.assert_allclose(image.get_array()[0, 0], expected)
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2"]


def test_other_coordinates_stay_at_their_medians(ax):
    space = space_of(4)
    space.plot(ax=ax, plane=(3, 1))
    np.testing.assert_array_equal(offsets(ax), CODES[:, [3, 1]])
    (image,) = ax.images
    left, right, bottom, top = image.get_extent()
    n_rows, n_columns = image.get_array().shape
    point = np.median(CODES, axis=0)
    point[3] = left + (right - left) / n_columns / 2
    point[1] = bottom + (top - bottom) / n_rows / 2
    expected = host(space.metric.volume_density(array(point)))
    np.testing.assert_allclose(image.get_array()[0, 0], expected)
    assert ax.get_title() == "coordinates 4 and 2 of 4; map: the others at their median"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$z_4$", "$z_2$")


def test_one_dimension_is_a_curve(ax):
    space = space_of(1)
    space.plot(LABELS, ax)
    z, density = ax.lines[0].get_data()
    expected = host(space.metric.volume_density(array(z[:, None])))
    np.testing.assert_allclose(density, expected)
    assert z.min() < CODES[:, 0].min() < CODES[:, 0].max() < z.max()


def test_spaces_without_codes_show_the_prior(ax):
    space_of(2, codes=False).plot(ax=ax)
    left, right, _, _ = ax.images[0].get_extent()
    assert left < -3.0 < 3.0 < right
    assert not ax.collections
    space_of(1, codes=False).plot(ax=Figure().subplots())


def test_many_dimensions_have_no_map(ax):
    space = LatentSpace(spaces.network(dim=17), points=draw(5, 17))
    space.plot(LABELS[:5], ax)
    assert not ax.images
    assert ax.get_title() == "coordinates 1 and 2 of 17"


def test_paths_on_the_map(ax):
    space = space_of(4, codes=False)
    path = space.metric.solve_geodesic(array(CODES[:3]), array(CODES[3:6]))
    assert path.plot(ax, plane=(0, 2)) is ax
    segments = ax.collections[0].get_segments()
    np.testing.assert_allclose(segments, host(path.points)[..., [0, 2]])
    np.testing.assert_allclose(offsets(ax)[-6:], np.vstack((CODES[3:6], CODES[:3]))[:, [0, 2]])


def test_paths_in_one_dimension(ax):
    path = space_of(1, codes=False).metric.solve_geodesic(array([[0.0]]), array([[1.0]]))
    path.plot(ax)
    z, times = ax.lines[0].get_data()
    np.testing.assert_array_equal(z, host(path.points)[0, :, 0])
    np.testing.assert_array_equal(times, host(path.times)[0])


def test_axes_for_who_brings_none_are_those_of_pyplot():
    space = space_of(2, codes=False)
    path = space.metric.solve_geodesic([0.0, 0.0], [1.0, 1.0])
    for draw_it in (space.plot, path.plot):
        before = plt.get_fignums()
        ax = draw_it()
        assert isinstance(ax, Axes)
        assert ax.figure.number in set(plt.get_fignums()) - set(before)
        ax.figure.canvas.draw()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((LABELS[:3],), {}, ValueError, r"labels of shape \[12\].*got \[3\]"),
        (("red",), {}, ValueError, r"labels of shape \[12\].*got \[\]"),
        ((), {"plane": (0, 2)}, ValueError, r"coordinates from 0 to 1 as plane, got \(0, 2\)"),
        ((), {"plane": (1, 1)}, ValueError, "different coordinates"),
        ((), {"plane": 1}, ValueError, "different coordinates"),
        ((None, 3), {}, TypeError, "axes of matplotlib as ax, got int"),
    ],
)
def test_bad_arguments(arguments, options, error, message):
    with pytest.raises(error, match=message):
        space_of(2).plot(*arguments, **options)


def test_labels_without_codes():
    with pytest.raises(ValueError, match=r"got a space without.*points=codes"):
        space_of(2, codes=False).plot(LABELS)


def test_the_backend_does_not_matter():
    assert isinstance(space_of(2).plot(gs.array(LABELS)), Axes)
