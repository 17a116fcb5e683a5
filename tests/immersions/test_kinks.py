"""Torch's kinked functions by ReLUs, and functions of any make whose kinks are rounded."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

from geomstats_vae.immersions import AutodiffImmersion, compile_immersion
from geomstats_vae.immersions.kinks import RULES, check_width, smooth_relu, spread_over_codes
from geomstats_vae.immersions.smoothed import SmoothedFunction, has_kinks, kink_spreads

DIM = 3
# As many inputs as an image of two channels has pixels.
SHAPE = (2, 6, 6)
# A lower limit that some codes reach.
LOW = -2.0
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


MIX = draw(DIM, math.prod(SHAPE), seed=1)
OTHER = draw(math.prod(SHAPE), seed=2)


def wave(z):
    """Inputs on both sides of every kink, for some codes."""
    return 2.0 * torch.sin(z @ MIX) + 0.1 * OTHER


def image(u):
    return u.view(-1, *SHAPE)


def volume(u):
    return u.view(-1, 2, 4, 3, 3)


def line(u):
    return u.view(-1, 2, 36)


PRELU = nn.PReLU(2, init=0.3).double().requires_grad_(False)
# By rule, functions of inputs that call torch in every way that people do.
CALLS = {
    "relu": [
        torch.relu,
        functional.relu,
        nn.ReLU(),
        nn.ReLU(inplace=True),
        lambda u: u.relu(),
        lambda u: u.relu_(),
        lambda u: torch.relu_(u),
        lambda u: functional.relu(u, True),
        lambda u: functional.relu_(u),
        torch.ops.aten.relu.default,
    ],
    "leaky_relu": [
        nn.LeakyReLU(0.2),
        nn.LeakyReLU(0.2, inplace=True),
        functional.leaky_relu,
        lambda u: functional.leaky_relu(u, 0.3, True),
        lambda u: functional.leaky_relu_(u, negative_slope=0.3),
    ],
    "prelu": [
        nn.PReLU(init=0.4).double(),
        lambda u: PRELU(image(u)),
        lambda u: torch.prelu(u, torch.tensor([0.2], dtype=u.dtype)),
    ],
    "rrelu": [nn.RReLU(0.1, 0.5).eval(), nn.RReLU(inplace=True).eval()],
    "elu": [nn.ELU(0.5), nn.ELU(2.0, inplace=True), lambda u: functional.elu_(u, 0.5)],
    "selu": [nn.SELU(), nn.SELU(inplace=True), torch.selu, torch.selu_],
    "clamp": [
        lambda u: u.clamp(-0.5, 0.7),
        lambda u: u.clamp(min=0.1),
        lambda u: u.clamp(max=0.1),
        lambda u: u.clamp_(-0.5, 0.7),
        lambda u: torch.clamp(u, max=OTHER),
        lambda u: torch.clamp(u, OTHER, OTHER + 1.0),
    ],
    "clip": [lambda u: u.clip(-0.5, 0.7), lambda u: torch.clip(u, min=0.0)],
    "clamp_min": [lambda u: u.clamp_min(0.2), lambda u: u.clamp_min_(OTHER)],
    "clamp_max": [lambda u: u.clamp_max(0.2), lambda u: torch.clamp_max(u, max=0.2)],
    "hardtanh": [
        nn.Hardtanh(),
        nn.Hardtanh(-0.3, 0.8, inplace=True),
        lambda u: functional.hardtanh_(u, max_val=0.4),
    ],
    "relu6": [lambda u: nn.ReLU6()(4.0 * u), lambda u: functional.relu6(4.0 * u, inplace=True)],
    "hardsigmoid": [lambda u: nn.Hardsigmoid()(2.0 * u), nn.Hardsigmoid(inplace=True)],
    "hardswish": [lambda u: nn.Hardswish()(2.0 * u), nn.Hardswish(inplace=True)],
    "threshold": [lambda u: torch.threshold(u, 0.2, 0.2), lambda u: torch.threshold_(u, 0.2, 0.2)],
    "_threshold": [nn.Threshold(0.2, 0.2), nn.Threshold(0.2, 0.2, inplace=True)],
    "softshrink": [nn.Softshrink(), lambda u: functional.softshrink(u, 0.3)],
    "abs": [abs, torch.abs, lambda u: u.abs(), lambda u: u.abs_()],
    "absolute": [torch.absolute, lambda u: u.absolute_()],
    "maximum": [lambda u: torch.maximum(u, OTHER), lambda u: u.maximum(u.flip(1))],
    "fmax": [lambda u: torch.fmax(u, OTHER)],
    "minimum": [lambda u: torch.minimum(u, OTHER), lambda u: u.minimum(u.flip(1))],
    "fmin": [lambda u: torch.fmin(u, OTHER)],
    "amax": [lambda u: u.amax(1), lambda u: image(u).amax((-1, -2), keepdim=True)],
    "amin": [lambda u: u.amin(dim=1, keepdim=True), lambda u: torch.amin(image(u), (1, 3))],
    "max": [
        lambda u: u.max(dim=1).values,
        lambda u: image(u).max(-1, True)[0],
        lambda u: torch.max(u, OTHER),
        lambda u: u.max(other=OTHER),
    ],
    "min": [lambda u: u.min(dim=1).values, lambda u: torch.min(u, OTHER)],
    "max_pool1d": [lambda u: functional.max_pool1d(line(u), 3), nn.MaxPool1d(2, 1, padding=1)],
    "max_pool2d": [
        lambda u: functional.max_pool2d(image(u), 2),
        lambda u: torch.max_pool2d(image(u), (3, 2), (1, 2), (1, 0)),
        lambda u: nn.MaxPool2d(3, stride=2, padding=1)(image(u)),
    ],
    "max_pool3d": [lambda u: nn.MaxPool3d((2, 3, 1))(volume(u))],
    "adaptive_max_pool1d": [lambda u: nn.AdaptiveMaxPool1d(4)(line(u))],
    "adaptive_max_pool2d": [
        lambda u: functional.adaptive_max_pool2d(image(u), (None, 2)),
        lambda u: nn.AdaptiveMaxPool2d(3)(image(u)),
    ],
    "adaptive_max_pool3d": [lambda u: nn.AdaptiveMaxPool3d((2, 1, 3))(volume(u))],
}
EACH = [
    pytest.param(call, id=f"{name}{k}")
    for name, calls in CALLS.items()
    for k, call in enumerate(calls)
]


def of(call):
    """A decoder that calls a function; one row for each code."""
    return lambda z: call(wave(z)).reshape(len(z), -1)


def smoothed(function, width, codes):
    return SmoothedFunction(function, [width * spread for spread in kink_spreads(function, codes)])


def test_every_rule_is_tried():
    assert CALLS.keys() == RULES.keys()


@pytest.mark.parametrize("call", EACH)
def test_narrow_kinks_are_those_of_torch(call):
    function, codes = of(call), draw(20, DIM)
    expected = function(codes)
    torch.testing.assert_close(smoothed(function, 1e-11, codes)(codes), expected, **CLOSE)
    wide = smoothed(function, 0.3, codes)(codes)
    assert wide.shape == expected.shape
    assert 1e-3 < (wide - expected).abs().max() < 3.0
    # Nothing stays replaced.
    assert torch.equal(function(codes), expected)


@pytest.mark.parametrize("name", RULES)
def test_rounded_functions_have_two_derivatives(name):
    """In the ways that immersions take them, by `torch.func.jvp` and `torch.func.vmap`."""
    codes, v, h = draw(4, DIM), draw(4, DIM, seed=3), 1e-5
    immersion = AutodiffImmersion(of(CALLS[name][0]), DIM).smoothed(0.3, draw(20, DIM))
    ahead, behind = codes + h * v, codes - h * v
    slope = (immersion(ahead) - immersion(behind)) / (2.0 * h)
    torch.testing.assert_close(immersion.push(codes, v), slope, rtol=1e-5, atol=1e-5)
    bend = (immersion.push(ahead, v) - immersion.push(behind, v)) / (2.0 * h)
    found = torch.einsum("nk,nkp->np", v, immersion.jet(codes, v).derivatives)
    torch.testing.assert_close(found, bend, rtol=1e-4, atol=1e-4)
    assert bend.abs().max() > 0.1


def test_results_of_max_along_an_axis_have_names():
    indices = []

    def function(z):
        result = wave(z).max(dim=1)
        indices.append(result.indices)
        return result.values[:, None]

    codes = draw(20, DIM)
    rounded = smoothed(function, 0.1, codes)
    rounded(codes)
    assert all(torch.equal(found, wave(codes).argmax(dim=1)) for found in indices)


@pytest.mark.parametrize(
    "call",
    [
        torch.tanh,
        nn.ELU(),
        nn.Softplus(),
        # A jump.
        nn.Threshold(0.2, 0.0),
        # What has no rule is left to torch.
        lambda u: u + u.max(),
        lambda u: u + u.amax(),
        lambda u: nn.MaxPool2d(2, dilation=2)(image(u)),
        lambda u: nn.MaxPool2d(4, ceil_mode=True)(image(u)),
        lambda u: nn.MaxPool2d(2, return_indices=True)(image(u))[0],
        lambda u: nn.AdaptiveMaxPool2d(4)(image(u)),
        lambda u: nn.AdaptiveMaxPool1d(4, return_indices=True)(line(u))[0],
        lambda u: u + torch.arange(len(u)).clamp(min=1)[:, None],
    ],
)
def test_other_functions_stay_as_they_are(call):
    function, codes = of(call), draw(5, DIM)
    assert not has_kinks(function, codes)
    immersion = AutodiffImmersion(function, DIM)
    assert immersion.smooth is None
    assert immersion.smoothed(0.1, codes) is immersion


# -- widths ---------------------------------------------------------------------------------------


def test_smooth_relu_is_above_relu_by_at_most_its_bound():
    u, width = torch.linspace(-3.0, 3.0, 601, dtype=torch.float64), 0.1
    above = smooth_relu(u, width) - torch.relu(u)
    assert (above >= 0.0).all()
    assert above.argmax() == 300
    assert above.max() == pytest.approx(width * math.log(2.0))
    # Far from the kink it is the line to all digits.
    torch.testing.assert_close(smooth_relu(u[500:], 0.01), u[500:], rtol=1e-15, atol=0.0)


def test_spreads_are_standard_deviations_over_codes():
    module, codes = network(last=nn.Hardtanh(LOW, 1.0)), draw(50, DIM)
    first, *both = kink_spreads(module, codes)
    torch.testing.assert_close(first, module[0](codes).std(dim=0, correction=0))
    # Both corners of one function, in the order in which the rule puts them.
    u = module[:3](codes)
    assert u.min() < LOW
    torch.testing.assert_close(both[0], u.std(dim=0, correction=0))
    torch.testing.assert_close(both[1], u.clamp(min=LOW).std(dim=0, correction=0))
    # Units of an image are its pixels.
    assert kink_spreads(of(lambda u: image(u).abs()), codes)[0].shape == SHAPE


def test_units_that_hardly_vary_get_a_share_of_the_others():
    u = torch.cat((draw(30, 3), torch.ones(30, 1, dtype=torch.float64)), dim=1)
    spread = spread_over_codes(u, 30)
    assert spread[3] == pytest.approx(1e-3 * float(spread[:3].square().sum() / 4) ** 0.5)
    assert (spread_over_codes(torch.zeros(30, 4), 30) > 0.0).all()
    assert spread_over_codes(torch.full((30, 4), 5.0), 30) == pytest.approx(5e-3)
    # What has no axis of codes has one width.
    assert spread_over_codes(draw(4, 5), 30).ndim == 0
    assert spread_over_codes(draw(1, 5), 1).ndim == 0


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, math.inf])
def test_widths_are_positive(width):
    with pytest.raises(ValueError, match="width of kinks > 0"):
        check_width(width)
    module = nn.Sequential(nn.Linear(DIM, 4), nn.ReLU()).eval().requires_grad_(False)
    for immersion in (AutodiffImmersion(module, DIM), compile_immersion(module, DIM)):
        with pytest.raises(ValueError, match="width of kinks > 0"):
            immersion.smoothed(width, torch.zeros(4, DIM))


# -- functions of several kinks -------------------------------------------------------------------


def network(activation=None, last=None):
    layers = nn.Linear(DIM, 9), activation or nn.ReLU(), nn.Linear(9, 6), last or nn.LeakyReLU(0.1)
    module = nn.Sequential(*layers, nn.Linear(6, 5)).double().eval().requires_grad_(False)
    for k, weight in enumerate(module.parameters()):
        weight.copy_(draw(*weight.shape, seed=k))
    return module


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.PReLU(), nn.SELU(), nn.ELU(0.3)])
def test_both_kinds_of_immersions_round_alike(activation):
    """Functions with one corner; those with two get the input of the second clamped in one kind."""
    module, codes = network(activation), draw(100, DIM)
    fast = compile_immersion(module, DIM).smoothed(0.2, codes)
    slow = AutodiffImmersion(module, DIM).smoothed(0.2, codes)
    assert slow.smooth
    assert fast.smooth
    torch.testing.assert_close(slow(codes), fast(codes), rtol=1e-12, atol=1e-12)
    assert (slow(codes) - module(codes)).abs().max() > 1e-2


def test_the_immersion_itself_keeps_its_kinks():
    module, codes = network(), draw(100, DIM)
    before, expected = copy.deepcopy(module.state_dict()), module(codes)
    kinked = AutodiffImmersion(module, DIM)
    assert kinked.smooth is False
    rounded = kinked.smoothed(0.1, codes)
    rounded.jet(codes, codes)
    assert torch.equal(kinked(codes), expected)
    assert torch.equal(module(codes), expected)
    assert kinked.function is module
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())
    assert rounded.smoothed(0.1, codes) is rounded


def test_rounded_functions_can_be_pickled_and_take_codes_in_another_precision():
    module, codes = network(), draw(100, DIM)
    rounded = AutodiffImmersion(module, DIM).smoothed(0.1, codes.float())
    other = pickle.loads(pickle.dumps(rounded))
    assert torch.equal(other(codes), rounded(codes))
    expected = AutodiffImmersion(module, DIM).smoothed(0.1, codes)
    torch.testing.assert_close(rounded(codes), expected(codes), rtol=1e-5, atol=1e-5)


class Scale(nn.Module):
    """Positive outputs that vary by as much as they are, kept in limits."""

    def __init__(self, *limits):
        super().__init__()
        self.first, self.limits = nn.Linear(DIM, 6), limits

    def forward(self, z):
        return torch.clamp(torch.exp(self.first(z)), *self.limits)


def scale(*limits):
    module = Scale(*limits).double().eval().requires_grad_(False)
    for k, weight in enumerate(module.parameters()):
        weight.copy_(0.5 * draw(*weight.shape, seed=k))
    return module


@pytest.mark.parametrize("limits", [(1e-300, None), (None, 1e9), (1e-9, 1e9)])
def test_limits_that_no_code_reaches_stay_as_they_are(limits):
    module, codes = scale(*limits), draw(100, DIM)
    for immersion in (AutodiffImmersion(module, DIM), compile_immersion(module, DIM)):
        rounded = immersion.smoothed(0.3, codes)
        assert rounded.smooth
        torch.testing.assert_close(rounded(codes), module(codes), rtol=1e-6, atol=0.0)
        assert rounded.push(codes, codes).abs().min() > 0.0


def test_of_two_limits_the_one_that_codes_reach_is_rounded():
    module, codes = scale(1e-300, 1.0), draw(100, DIM)
    lower, upper = kink_spreads(module, codes)
    assert not lower.any()
    assert (upper > 0.0).all()
    rounded = AutodiffImmersion(module, DIM).smoothed(0.3, codes)
    change = module(codes) - rounded(codes)
    assert change.min() >= 0.0
    assert change.max() > 0.1


@pytest.mark.parametrize(("first", "later"), [(1, 2), (2, 1), (2, 0)])
def test_another_number_of_kinks_is_an_error(first, later):
    count = [first]

    def function(z):
        for _ in range(count[0]):
            z = (z - 0.3).abs()
        return z

    codes = draw(10, DIM)
    rounded = smoothed(function, 0.1, codes)
    assert rounded(codes).isfinite().all()
    count[0] = later
    got = "more" if later > first else str(later)
    with pytest.raises(RuntimeError, match=rf"Expected {first} kinks.*got {got}"):
        rounded(codes)
