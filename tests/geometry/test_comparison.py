"""Geodesics against straight lines: what is measured, and the sentence that follows from it."""

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics import GeodesicSolver
from geomstats_vae.geometry.comparison import LineComparison, verdict
from geomstats_vae.immersions import GaussianDecoder, RBFPrecision
from geomstats_vae.manifolds import LatentSpace
from tests.manifolds.spaces import array, coarse_space, draw

SIDE = np.linspace(-1.0, 1.0, 16)
# No two distances are equal.
SQUARE = np.stack(np.meshgrid(SIDE, SIDE), axis=-1).reshape(-1, 2) + draw(256, 2, scale=1e-3)


def flat(z):
    return torch.cat((3.0 * z, 0.0 * z), dim=1)


def arc(degrees, n_codes=200):
    """Codes on a circle of radius 3, from angle 0 on."""
    angles = np.linspace(0.0, np.radians(degrees), n_codes)
    return 3.0 * np.stack((np.cos(angles), np.sin(angles)), axis=1)


def walled(codes):
    """The identity as mean, and a standard deviation that is high off the codes."""
    centers = codes[::2]
    lambdas, weights = np.full(len(centers), 0.5 / 0.15**2), np.full((2, len(centers)), 100.0)
    mean = torch.nn.Linear(2, 2, bias=False).double()
    mean.weight.data = torch.eye(2, dtype=torch.float64)
    return GaussianDecoder(mean, RBFPrecision(centers, lambdas, weights, 1e-2)).eval()


def diagnose(decoder, codes, **options):
    space = coarse_space(decoder, codes, grid_size=40)
    return space.diagnose(sensitivity=False, verbose=False, **options)


def test_on_a_flat_decoder_lines_are_good_enough():
    found = diagnose(flat, SQUARE)
    compared = found.comparison
    assert compared.n_pairs == compared.n_geodesics == 50
    ratios = (compared.ratio_median, compared.ratio_min, compared.ratio_max)
    np.testing.assert_allclose(ratios, 1.0, rtol=1e-6)
    assert compared.rank_correlation > 1.0 - 1e-6
    assert compared.leaving_share == 0.0
    assert compared.label_agreement == 1.0
    assert found.verdict == "Straight lines are good enough."
    assert str(found).startswith(found.verdict)
    assert "1.00 in the median, 1.00 to 1.00 (50 pairs, 50 geodesics)" in str(found)


def test_across_most_of_a_circle_distances_change_ranks():
    codes = arc(320.0)
    found = diagnose(walled(codes), codes, max_seconds=0.0)
    compared = found.comparison
    assert compared.rank_correlation < 0.95
    assert compared.ratio_median < 0.9
    assert compared.leaving_share > 0.5
    assert compared.label_agreement > 0.8  # medoids are next to their codes on either way
    assert found.verdict == "Distances change ranks: use geodesics."


def test_across_half_a_circle_lines_leave_the_data_and_distances_keep_their_ranks():
    codes = arc(180.0)
    found = diagnose(walled(codes), codes, n_pairs=25)
    assert found.comparison.rank_correlation > 0.95
    assert found.comparison.leaving_share > 0.5
    assert "keep their ranks" in found.verdict


def test_torn_codes_come_first():
    codes = arc(320.0)
    # The ends of the arc are neighbors in the data.
    torn = diagnose(walled(codes), codes, data=arc(359.0), n_pairs=20, max_seconds=0.0)
    assert torn.torn_share > 0.0
    assert torn.comparison.rank_correlation < 0.95
    assert torn.verdict == "The latent space is torn: retrain."
    assert torn.rows()[0][0] == "length of geodesic over line"


def test_without_a_standard_deviation_lines_between_groups_leave_the_data():
    groups = np.concatenate((0.1 * SQUARE, 0.1 * SQUARE + 5.0))
    found = diagnose(flat, groups, n_pairs=200, max_seconds=0.0)
    # A pair is of both groups in one case of two.
    np.testing.assert_allclose(found.comparison.leaving_share, 0.5, atol=0.12)
    assert diagnose(flat, groups[: len(SQUARE)], max_seconds=0.0).comparison.leaving_share == 0.0


def test_medoids_on_the_other_side_of_a_wall_are_far_along_the_graph():
    # A hairpin: two arms next to each other, joined at one end.
    arms = np.linspace(0.0, 6.0, 90)
    joint = np.stack((6.0 * np.ones(20), np.linspace(0.0, 1.6, 20)), axis=1)
    codes = np.concatenate([np.stack((arms, y + 0.0 * arms), axis=1) for y in (0.0, 1.6)] + [joint])
    codes = codes @ np.diag((0.3, 1.0))
    walls, none = (diagnose(f, codes, max_seconds=0.0).comparison for f in (walled(codes), flat))
    assert walls.label_agreement < none.label_agreement == 1.0


def test_a_number_as_random_state_repeats_and_another_draws_other_pairs():
    codes = arc(180.0)
    options = {"n_pairs": 10}
    first, again, other = (
        diagnose(walled(codes), codes, random_state=k, **options) for k in (3, 3, 4)
    )
    assert first == again
    assert first.comparison != other.comparison


def test_graph_paths_stand_in_for_geodesics_that_there_was_no_time_for():
    codes = arc(320.0)
    late, whole = (
        diagnose(walled(codes), codes, n_pairs=12, max_seconds=seconds).comparison
        for seconds in (0.0, None)
    )
    assert (late.n_pairs, late.n_geodesics) == (12, 0)
    assert (whole.n_pairs, whole.n_geodesics) == (12, 12)
    np.testing.assert_allclose(late.ratio_median, whole.ratio_median, rtol=0.1)
    assert late.leaving_share == whole.leaving_share


def test_the_limit_of_the_solver_is_kept_too():
    space = coarse_space(flat, SQUARE, grid_size=40, solver=GeodesicSolver(max_seconds=0.0))
    found = space.diagnose(sensitivity=False, verbose=False)
    assert found.comparison.n_geodesics == 0


def test_a_space_without_codes_gets_a_graph_of_those_that_are_given():
    codes = draw(60, 4)
    space = LatentSpace(torch.nn.Identity(), 4)
    found = space.diagnose(array(codes), n_pairs=10, sensitivity=False, verbose=False)
    np.testing.assert_allclose(found.comparison.ratio_median, 1.0)


@pytest.mark.parametrize("n_codes", [2, 3])
def test_distances_that_are_all_equal_say_nothing(n_codes):
    angles = np.radians([0.0, 120.0, 240.0])[:n_codes]
    codes = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    found = diagnose(flat, codes)
    assert found.comparison is None
    assert found.verdict == "Geodesics were not compared with straight lines."
    assert not any("Rand index" in name for name, _ in found.rows())


def test_pairs_without_a_curve_of_finite_length_are_left_out():
    def half(z):
        return torch.cat((z[:, :1].sqrt(), z), dim=1)

    found = diagnose(half, SQUARE, n_pairs=80, max_seconds=0.0)
    assert 8 < found.comparison.n_pairs < 40
    assert diagnose(lambda z: z.sqrt() - 2.0, SQUARE - 2.0).comparison is None


@pytest.mark.parametrize(
    ("rank_correlation", "leaving_share", "ratio", "expected"),
    [
        (0.949, 0.0, 1.0, "Distances change ranks"),
        (0.951, 0.0, 1.0, "good enough"),
        (0.951, 0.1, 0.9, "good enough"),
        (0.951, 0.11, 1.0, "keep their ranks"),
        (0.951, 0.0, 0.89, "keep their ranks"),
    ],
)
def test_thresholds(rank_correlation, leaving_share, ratio, expected):
    compared = LineComparison(50, 50, ratio, 0.5, 1.0, rank_correlation, leaving_share, None)
    assert expected in verdict(compared, None)
    assert expected in verdict(compared, 0.0)
    assert "torn" in verdict(compared, 0.01)
    assert "not measured" in dict(compared.rows())["Rand index of nearest medoids by both"]
