"""Faults that were put into latent spaces are found; a healthy one is left in peace."""

import numpy as np
import pytest
import torch

from geomstats_vae.geometry import refits
from geomstats_vae.immersions import EnsembleDecoder, GaussianDecoder, RBFPrecision
from geomstats_vae.manifolds import LatentSpace
from tests import surfaces
from tests.manifolds import spaces
from tests.manifolds.spaces import array, draw

CODES = draw(200, 2)


@pytest.fixture(autouse=True)
def coarse_graphs(monkeypatch):
    """What is compared is known to far more than what a coarse grid is off."""
    monkeypatch.setattr(refits, "_GRID_SIZE", {2: 40, 3: 12})


def precision(centers, *, width=1.0, peak=100.0, zeta=1.0, n_outputs=3):
    """Kernels of equal width and height, for every output the same."""
    lambdas = np.full(len(centers), 0.5 / width**2)
    return RBFPrecision(centers, lambdas, np.full((n_outputs, len(centers)), peak), zeta)


def plane(scale=1.0, second=1.0):
    """The plane as a layer, of which derivatives are fast; its second column times a number."""
    layer = torch.nn.Linear(2, 3).double()
    layer.weight.data = scale * surfaces.PLANE * torch.tensor([1.0, second])
    return layer.eval()


def network(centers=CODES[::10], mean=None, **options):
    return GaussianDecoder(plane() if mean is None else mean, precision(centers, **options)).eval()


def diagnose(decoder, codes, **options):
    space = LatentSpace(decoder, codes.shape[1], points=array(codes))
    return space.diagnose(verbose=False, **({"sensitivity": False, "lines": False} | options))


def said(diagnosis):
    return " ".join(diagnosis.advice)


def test_a_healthy_space_needs_no_advice():
    found = diagnose(network(), CODES, sensitivity=True)
    assert found.advice == ()
    assert found.collapsed_dims == ()
    assert found.saturated_share == (0.0, 0.0)
    assert found.singular_share == found.walled_share == 0.0
    assert found.n_components == 1
    assert "no fault was found" in str(found)


def test_response_and_conditions_of_a_plane_are_those_of_its_matrix():
    found = diagnose(surfaces.plane, CODES)
    matrix = surfaces.PLANE.numpy()
    expected = CODES.std(axis=0) * np.linalg.norm(matrix, axis=0)
    np.testing.assert_allclose(found.response, expected)
    condition = np.linalg.cond(matrix) ** 2
    conditions = (found.condition_median, found.condition_p90, found.condition_max)
    np.testing.assert_allclose(conditions, condition)


def test_another_unit_of_the_data_changes_the_response_alone():
    codes = np.concatenate((CODES, draw(10, 2, scale=0.1, shift=9.0)))
    centers = codes[::10]
    small = diagnose(network(centers), codes)
    large = diagnose(network(centers, plane(10.0), peak=1.0, zeta=0.01), codes)
    np.testing.assert_allclose(large.response, 10.0 * np.array(small.response))
    assert large.walled_share == small.walled_share > 0.0
    np.testing.assert_allclose(large.condition_max, small.condition_max)
    assert large.advice == small.advice


@pytest.mark.parametrize(
    ("decoder", "scale"),
    [
        (network(), (1.0, 1e-3)),
        (network(mean=plane(second=0.01)), (1.0, 1.0)),
        (plane(second=0.01), (1.0, 1.0)),
    ],
    ids=["codes without spread", "decoder that ignores it", "deterministic decoder"],
)
def test_a_collapsed_dimension_is_found(decoder, scale):
    found = diagnose(decoder, CODES * np.array(scale))
    assert found.collapsed_dims == (1,)
    assert "Collapsed: z_2." in said(found)


def test_all_dimensions_collapse_into_the_noise():
    found = diagnose(network(mean=plane(1e-4)), CODES)
    assert found.collapsed_dims == (0, 1)


def test_saturated_outputs_are_found():
    def steep(z):
        return torch.cat((z[:, :1].mul(100.0).sigmoid(), z[:, 1:].sigmoid()), dim=1)

    found = diagnose(steep, CODES)
    # Below a thousandth of the root mean square of the slopes, all in closed form.
    p = 1.0 / (1.0 + np.exp(-100.0 * CODES[:, 0]))
    slopes = 100.0 * p * (1.0 - p)
    expected = (slopes < 1e-3 * np.sqrt(np.mean(slopes**2))).mean()
    np.testing.assert_allclose(found.saturated_share, (expected, 0.0))
    assert expected > 0.5
    assert "no longer reacts to z_1:" in said(found)


def test_a_singular_metric_is_found():
    found = diagnose(lambda z: z.sum(dim=1, keepdim=True), CODES)
    assert found.singular_share == 1.0
    assert found.condition_median == np.inf
    assert "singular at 100 %" in said(found)


def test_a_decoder_that_is_not_finite_is_found():
    found = diagnose(lambda z: torch.cat((z.sqrt(), z), dim=1), CODES)
    negative = (CODES < 0.0).any(axis=1).mean()
    np.testing.assert_allclose(found.singular_share, negative)
    assert np.isfinite(found.response).all()


def test_lost_digits_are_found():
    found = diagnose(lambda z: z * z.new_tensor([1.0, 1e-5]), CODES * np.array([1.0, 1e5]))
    np.testing.assert_allclose(found.condition_median, 1e10)
    assert found.collapsed_dims == ()
    assert "half of its digits" in said(found)


class TestWalls:
    codes = np.concatenate((draw(190, 2), draw(10, 2, scale=0.1, shift=8.0)))

    def test_codes_on_an_island_are_behind_a_wall(self):
        found = diagnose(network(self.codes[::5]), self.codes)
        np.testing.assert_allclose(found.walled_share, 10 / 200)
        assert "5 % of the codes lie behind walls" in said(found)

    def test_low_sigma_is_no_wall(self):
        # A standard deviation of at most 1 / sqrt(50) between the groups, 1 / sqrt(150) on them.
        found = diagnose(network(self.codes[::5], zeta=50.0, peak=1.0), self.codes)
        assert found.walled_share == 0.0
        assert found.advice == ()

    def test_a_path_around_is_a_path(self):
        angle = np.linspace(0.2, 2.0 * np.pi - 0.2, 300)
        ring = 3.0 * np.stack((np.cos(angle), np.sin(angle)), axis=1)
        ends = np.concatenate((ring[:40], ring[-40:]))
        assert diagnose(network(ring[::5], width=0.15), ring).walled_share == 0.0
        assert diagnose(network(ring[::5], width=0.15), ends).walled_share == 0.5

    def test_none_without_a_standard_deviation(self):
        found = diagnose(surfaces.plane, self.codes)
        assert found.walled_share is None
        assert found.advice == ()


def test_groups_without_neighbors_in_common_are_counted():
    groups = np.concatenate([draw(20, 3, seed=k, scale=0.1, shift=5.0 * k) for k in range(3)])
    found = diagnose(spaces.network(3), groups)
    assert found.n_components == 3
    assert "falls into 3 parts" in said(found)


class TestSensitivity:
    def test_distances_of_the_mean_do_not_depend_on_the_precision(self):
        certain = network(mean=plane(1e3))
        found = diagnose(certain, CODES, sensitivity=True)
        names = [item.change for item in found.sensitivity]
        assert names == ["a x 0.7", "a x 1.4", "K / 2", "K x 2"]
        for item in found.sensitivity:
            assert item.relative_change < 1e-3
            assert item.rank_correlation > 0.999

    def test_distances_of_sigma_alone_do(self):
        uncertain = network(mean=plane(1e-3), width=0.15, zeta=1e-3)
        found = diagnose(uncertain, CODES, sensitivity=True)
        assert max(item.relative_change for item in found.sensitivity) > 0.5
        assert "Distances depend on how the precision was fitted" in said(found)

    def test_an_ensemble_is_refitted_member_by_member(self):
        """Of copies of a decoder, what no random start decides is that of the decoder."""
        decoder = network(mean=plane(1e-3), width=0.15, zeta=1e-3)
        options = {"sensitivity": True, "n_pairs": 10}
        one = diagnose(decoder, CODES[:60], **options)
        two = diagnose(EnsembleDecoder([decoder, decoder]), CODES[:60], **options)
        assert [item.change for item in two.sensitivity] == [
            item.change for item in one.sensitivity
        ]
        for first, second in zip(one.sensitivity[:2], two.sensitivity[:2], strict=True):
            assert first.relative_change > 1e-4
            np.testing.assert_allclose(second.relative_change, first.relative_change, rtol=1e-6)

    def test_no_other_precision_is_tried_when_the_time_is_over(self):
        options = {"sensitivity": True, "n_pairs": 10}
        assert len(diagnose(network(), CODES[:60], **options).sensitivity) == 4
        assert diagnose(network(), CODES[:60], max_seconds=0.0, **options).sensitivity is None

    def test_none_of_other_decoders(self):
        own = GaussianDecoder(surfaces.plane, lambda z: 1.0 + surfaces.plane(z).square())
        for decoder in (surfaces.plane, own.eval()):
            assert diagnose(decoder, CODES, sensitivity=True).sensitivity is None

    def test_a_number_as_random_state_repeats_and_leaves_global_generators_alone(self):
        decoder = network()
        before = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002
        first, second = (
            diagnose(decoder, CODES[:60], sensitivity=True, n_pairs=20) for _ in range(2)
        )
        assert first == second
        np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
        assert torch.equal(torch.random.get_rng_state(), before[1])


@pytest.mark.parametrize("dim", [1, 3, 5])
def test_any_dimension(dim):
    codes = draw(60, dim)
    decoder = GaussianDecoder(spaces.network(dim, 3), precision(codes[::5])).eval()
    found = diagnose(decoder, codes, sensitivity=True, n_pairs=10)
    assert len(found.spread) == len(found.response) == len(found.saturated_share) == dim
    assert len(found.sensitivity) == 4


def test_few_and_equal_codes():
    for codes in (CODES[:1], np.repeat(CODES[:2], 5, axis=0)):
        found = diagnose(network(), codes, sensitivity=True)
        assert found.n_codes == len(np.unique(codes, axis=0))
        assert found.n_components == 1
        assert found.sensitivity is None


def test_the_report_is_printed_unless_asked_not_to(capsys):
    space = LatentSpace(network(), 2, points=array(CODES))
    found = space.diagnose(sensitivity=False, lines=False)
    assert capsys.readouterr().out == f"{found}\n"
    assert "\n" not in repr(found)
    assert found.verdict in repr(found)
    assert all(value in found._repr_html_() for _, value in found.rows() if "<" not in value)
    space.diagnose(sensitivity=False, lines=False, verbose=False)
    assert capsys.readouterr().out == ""


def test_given_codes_and_a_scaled_metric():
    space = spaces.coarse_space(network(), CODES)
    options = {"sensitivity": False, "n_pairs": 10, "verbose": False}
    few = space.diagnose(array(CODES[:50]), **options)
    assert few.n_codes == 50
    all_codes = space.diagnose(**options)
    space.equip_with_metric(4.0 * space.metric)
    assert space.diagnose(**options) == all_codes


def test_what_is_no_codes_is_refused():
    space = LatentSpace(network(), 2)
    with pytest.raises(ValueError, match="pass points"):
        space.diagnose()
    with pytest.raises(ValueError, match=r"\[\.\.\., 2\], got \[4, 3\]"):
        space.diagnose(array(np.zeros((4, 3))))
    for codes in (np.zeros(2), np.zeros((0, 2)), np.zeros((2, 3, 2))):
        with pytest.raises(ValueError, match="one row per code"):
            space.diagnose(array(codes))
    with pytest.raises(ValueError, match="finite"):
        space.diagnose(array([[np.nan, 0.0]]))
    with pytest.raises(ValueError, match="n_pairs >= 2"):
        space.diagnose(array(CODES), n_pairs=1)
    with pytest.raises(ValueError, match="max_seconds"):
        space.diagnose(array(CODES), max_seconds=-1.0)


def test_torn_codes_are_found_when_the_data_are_given():
    angles = np.linspace(0.0, 2.0 * np.pi, 300, endpoint=False)
    data = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    whole = LatentSpace(surfaces.plane, 2, points=array(data))
    options = {"sensitivity": False, "lines": False, "verbose": False}
    found = whole.diagnose(data=data, **options)
    assert found.torn_share == 0.0
    assert not any("tear" in advice for advice in found.advice)
    assert whole.diagnose(**options).torn_share is None
    # Cut open and rolled out.
    line = np.stack((angles, 0.0 * angles), axis=1)
    cut = whole.diagnose(array(line), data=data, **options)
    assert 0.0 < cut.torn_share < 0.01
    assert cut.verdict == "The latent space is torn: retrain."
    assert any("tear" in advice for advice in cut.advice)
    assert "torn apart" in str(cut)
    with pytest.raises(ValueError, match=r"data of shape \[300, n_features\], got \[299, 2\]"):
        whole.diagnose(data=data[1:], verbose=False)
