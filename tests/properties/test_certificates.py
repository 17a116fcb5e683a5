"""What is called converged is true: measured without the package, and known in closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.manifolds.spaces import array, host
from tests.properties import codes
from tests.properties.decoders import EXACT, KINDS, LOOSE, decoded
from tests.properties.watching import call

RTOL = LOOSE.rtol
N_CHORDS = 4096
SECONDS = 1.0  # after which curves that are not done are said to be late
NEAR = {name: share for name, share in codes.RELATIONS.items() if name != "far"}
BROKEN = ("half", "band", "steps", "sign")
# A cusp of infinite slope has a length that chords approach by the root of their number only.
MEASURABLE = tuple(kind for kind in KINDS if kind != "root")


def solve(case, start, end):
    return call(case.metric.solve_geodesic, array(start), array(end)).map(host)


def chords(values):
    return np.linalg.norm(np.diff(values, axis=-2), axis=-1).sum(axis=-1)


def measured(case, path):
    """Lengths of curves, by chords of F alone."""
    return chords(case.values(path(np.linspace(0.0, 1.0, N_CHORDS + 1))))


def grazes(case, path):
    """Whether a curve is not finite on no more than two chords of the certificate."""
    values = case.values(path(np.linspace(0.0, 1.0, N_CHORDS + 1)))
    return 0.0 < np.isnan(values).any(axis=-1).mean() <= 2 / 512


def line_length(case, start, end):
    t = np.linspace(0.0, 1.0, N_CHORDS + 1)[:, None]
    return chords(case.values(start[:, None] + t * (end - start)[:, None]))


def rounding(case, start):
    """What chords are off by in double precision: by that of codes, and of values."""
    size = np.linalg.norm(np.nan_to_num(case.values(start)), axis=-1)
    slope = 1e4 if case.kind == "scales" else 1.0
    return 16.0 * np.finfo(float).eps * N_CHORDS * (size + slope * np.linalg.norm(start, axis=-1))


def any_certificate(data):
    """Lengths of converged curves are those of the curves, and at most those of straight lines."""
    case = data.draw(decoded(MEASURABLE, seconds=SECONDS))
    # What is narrower than a chord of the certificate is not seen, nor measured here.
    far = {} if case.kind in BROKEN else {"far": 30.0}
    start, end = data.draw(codes.rows(case.dim, relations=NEAR | far))
    path, noise = solve(case, start, end), rounding(case, start)
    good = path.converged
    for k in np.flatnonzero(good):
        one = path[k : k + 1]
        # The distance of a point to itself is zero, whatever the decoder says there.
        if grazes(case, one) or (start[k] == end[k]).all():
            continue
        np.testing.assert_allclose(measured(case, one), one.length, rtol=RTOL, atol=noise[k])
    line = line_length(case, start, end)
    with np.errstate(invalid="ignore"):
        longer = path.length > (1.0 + RTOL) * line + noise
    assert not longer[good].any(), (path.length, line)
    assert np.isfinite(path.length[good]).all()
    np.testing.assert_array_equal(path.points[:, 0], start)
    np.testing.assert_array_equal(path.points[:, -1], end)


def any_exact(data):
    """Distances where they are known; the balls of codes are convex there."""
    case = data.draw(decoded(EXACT))
    scale = 0.3 / case.dim**0.5
    start, end = (scale * part.clip(-3.0, 3.0) for part in data.draw(codes.rows(case.dim)))
    path = solve(case, start, end)
    assert path.converged.all()
    exact = case.exact(start, end)
    noise = 4.0 * np.finfo(float).eps * np.linalg.norm(case.values(start), axis=-1)
    np.testing.assert_allclose(path.length, exact, rtol=LOOSE.tol, atol=noise.max())


def any_axioms(data):
    """Of a distance: zero between equal points, symmetric, with the triangle inequality."""
    case = data.draw(decoded(("smooth", "function", *EXACT), graph=False))
    scale = 0.3 / case.dim**0.5
    a, b = (scale * part.clip(-3.0, 3.0) for part in data.draw(codes.rows(case.dim, n_pairs=1)))
    c = scale * data.draw(codes.values((1, case.dim)))
    ends = np.concatenate((a, b, a, b, a)), np.concatenate((b, a, c, c, a))
    path = solve(case, *ends)
    there, back, first, second, none = path.length
    noise = rounding(case, a)[0] / N_CHORDS
    assert none == 0.0
    if path.converged[:2].all():
        np.testing.assert_allclose(there, back, rtol=RTOL, atol=noise)
    if path.converged[[2, 3]].all():
        assert there <= (1.0 + RTOL) * (first + second) + noise


@settings(max_examples=25)
@given(data=st.data())
def test_certificates(data):
    any_certificate(data)


@settings(max_examples=35)
@given(data=st.data())
def test_exact_distances(data):
    any_exact(data)


@settings(max_examples=25)
@given(data=st.data())
def test_axioms(data):
    any_axioms(data)


@pytest.mark.long
@settings(max_examples=250)
@given(data=st.data())
def test_many_certificates(data):
    any_certificate(data)


@pytest.mark.long
@settings(max_examples=350)
@given(data=st.data())
def test_many_exact_distances(data):
    any_exact(data)


@pytest.mark.long
@settings(max_examples=300)
@given(data=st.data())
def test_many_axioms(data):
    any_axioms(data)
