"""The first descent: quasi-Newton steps on chords come near geodesics, curve by curve."""

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics.descent import SineCurves, descend, first_descent, sine_curves
from geomstats_vae.geodesics.options import DescentOptions
from geomstats_vae.immersions import AutodiffImmersion

DIM = 4
GENERATOR = np.random.default_rng(0)
START, END = GENERATOR.normal(size=(2, 6, DIM))
LONG = DescentOptions(rtol=1e-9, max_iter=200)


def stereographic(z):
    """The unit sphere from its south pole; geodesics are great circles."""
    square = z.square().sum(dim=1, keepdim=True)
    return torch.cat((2.0 * z, 1.0 - square), dim=1) / (1.0 + square)


def linear(z):
    return z @ torch.arange(1.0, 13.0, dtype=z.dtype).view(DIM, 3).cos()


def immersion(function, dtype=torch.float64, dim=DIM):
    return AutodiffImmersion(function, dim, dtype=dtype)


def lines(start=START, end=END, n_modes=48):
    return sine_curves(list(np.stack((start, end), axis=1)), n_modes)


def great_circles():
    ends = [stereographic(torch.tensor(part)).numpy() for part in (START, END)]
    return np.arccos((ends[0] * ends[1]).sum(axis=1))


def test_sine_curves_go_through_polylines():
    path = np.cumsum(GENERATOR.normal(size=(7, DIM)), axis=0)
    times = np.linspace(0.0, 1.0, 7)
    curves = sine_curves([path], 11, [times])
    np.testing.assert_allclose(curves(times)[0], path, atol=1e-12)
    np.testing.assert_allclose(curves.finer(20)(times)[0], path, atol=1e-12)


def test_at_constant_speed_in_latent_space_by_default():
    curves = sine_curves([np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 3.0]])], 3)
    np.testing.assert_allclose(curves(np.array([0.25, 0.5]))[0], [[1.0, 0.0], [1.0, 1.0]])


def test_elements_hold_the_curve_and_its_ends():
    curves = SineCurves(START, END, 0.1 * GENERATOR.normal(size=(6, 3, DIM)))
    elements = curves.elements(4, 8)
    np.testing.assert_array_equal(elements.ends, np.stack((START, END), axis=1))
    middle = elements.sample(2)[:, 1].reshape(6, 4, DIM)
    np.testing.assert_allclose(middle, curves((np.arange(4) + 0.5) / 4), atol=1e-4)


def test_lines_are_found_again_where_the_metric_is_constant():
    bent = SineCurves(START, END, GENERATOR.normal(size=(6, 48, DIM)))
    found = descend(immersion(linear), bent, LONG)
    straight = (linear(torch.tensor(END)) - linear(torch.tensor(START))).norm(dim=1)
    np.testing.assert_allclose(found.length, straight, rtol=1e-7)
    assert (found.residual < 1e-6).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_great_circles(dtype):
    found = descend(immersion(stereographic, dtype), lines(), DescentOptions(rtol=1e-6))
    # Chords of 64 pieces of an arc are too short by a share of angle^2 / 24.
    np.testing.assert_allclose(found.length, great_circles(), rtol=3e-4)
    assert (found.residual < 1e-4).all()


def test_the_error_of_the_chords_falls_with_their_number_squared():
    errors = []
    for chords in (16, 32, 64):
        options = DescentOptions(chords=chords, modes=chords - 1, rtol=1e-12, max_iter=300)
        found = descend(immersion(stereographic), lines(n_modes=chords - 1), options)
        errors.append(np.abs(found.length - great_circles()).max())
    order = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(order, 2.0, atol=0.15)


def test_no_curve_gets_longer_and_more_steps_help():
    lengths = [
        descend(immersion(stereographic), lines(), DescentOptions(max_iter=n)).length
        for n in (0, 1, 3, 10)
    ]
    assert (np.diff(lengths, axis=0) <= 0.0).all()
    assert lengths[-1].sum() < lengths[0].sum()


def test_curves_do_not_depend_on_their_batch():
    together = descend(immersion(stereographic), lines(), DescentOptions())
    for k in range(2):
        alone = descend(immersion(stereographic), lines().take(np.array([k])), DescentOptions())
        assert alone.n_iter[0] == together.n_iter[k]
        np.testing.assert_allclose(alone.length[0], together.length[k], rtol=1e-9)


def test_where_the_decoder_is_not_finite_curves_stay():
    def walled(z):
        return torch.where(z[:, :1] > 50.0, torch.nan, 1.0) * stereographic(z)

    far = START.copy()
    far[1, 0] = 100.0
    found = descend(immersion(walled), lines(far), DescentOptions())
    assert not np.isfinite(found.length[1])
    np.testing.assert_array_equal(found.curves.amplitudes[1], 0.0)
    assert np.isfinite(np.delete(found.length, 1)).all()


def test_the_shortest_of_several_curves_is_taken():
    detour = np.stack((START[0], START[0] + 5.0, END[0]))
    polylines = [detour, np.stack((START[1], END[1])), np.stack((START[0], END[0]))]
    options = DescentOptions(max_iter=1)
    found = first_descent(immersion(linear), polylines, np.array([0, 1, 0]), options)
    straight = descend(immersion(linear), lines(START[:2], END[:2]), options)
    np.testing.assert_allclose(found.length, straight.length, rtol=1e-12)


def test_a_coarse_descent_chooses_among_the_curves_of_a_pair():
    detour = np.stack((START[0], START[0] + 5.0, END[0]))
    polylines = [detour, np.stack((START[0], END[0]))]
    found = first_descent(immersion(stereographic), polylines, np.array([0, 0]), DescentOptions())
    none = DescentOptions(coarse_chords=0)
    fine = first_descent(immersion(stereographic), polylines, np.array([0, 0]), none)
    assert len(found.curves) == len(fine.curves) == 1
    np.testing.assert_allclose(found.length, fine.length, rtol=1e-4)
    assert found.curves.amplitudes.shape[1] == DescentOptions().modes


def test_a_loose_tolerance_ends_descents_earlier():
    options = DescentOptions()
    tight, loose = options.with_tol(1e-6), options.with_tol(1e-2)
    assert (tight.rtol, tight.coarse_rtol) == (options.rtol, options.coarse_rtol)
    # Newton's method goes on from a coarser curve.
    assert tight.chords < loose.chords == options.chords
    assert loose.rtol == loose.coarse_rtol == 1e-4
    steps = [descend(immersion(stereographic), lines(), each).n_iter for each in (options, loose)]
    assert (steps[1] <= steps[0]).all()
    assert steps[1].sum() < steps[0].sum()


def test_curves_that_are_done_do_not_change_while_they_wait():
    begins = lines()
    found = [
        descend(immersion(stereographic), begins, DescentOptions(crowd=crowd))
        for crowd in (0.0, 0.5, 1.0)
    ]
    assert len(np.unique(found[0].n_iter)) > 1
    for other in found[1:]:
        np.testing.assert_array_equal(other.n_iter, found[0].n_iter)
        np.testing.assert_allclose(other.length, found[0].length, rtol=1e-12)
        np.testing.assert_allclose(other.residual, found[0].residual, rtol=1e-6)


@pytest.mark.parametrize("most", [200, 8])
def test_memory_that_is_short_is_met_with_smaller_batches(most):
    def small(z):
        if len(z) > most:
            raise torch.cuda.OutOfMemoryError("no room")
        return stereographic(z)

    options = DescentOptions(chords=most // 2, modes=most // 2 - 1, coarse_chords=0)
    found = descend(immersion(small), lines(n_modes=options.modes), options)
    plain = descend(immersion(stereographic), lines(n_modes=options.modes), options)
    np.testing.assert_allclose(found.length, plain.length, rtol=1e-9)


def test_memory_that_holds_nothing_is_an_error():
    def none(z):
        raise torch.cuda.OutOfMemoryError("no room")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        descend(AutodiffImmersion(none, DIM, dtype=torch.float64), lines(), DescentOptions())
