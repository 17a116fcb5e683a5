"""Fast immersions of decoders: torch's operations, recorded and turned into layers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from geomstats_vae.immersions.autodiff import AutodiffImmersion
from geomstats_vae.immersions.composed import ConcatenatedImmersion
from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.immersions.immersion import Immersion
from geomstats_vae.immersions.network.builder import Builder, Wire
from geomstats_vae.immersions.network.folding import fold
from geomstats_vae.immersions.network.immersions import ChainImmersion, RBFStdImmersion
from geomstats_vae.immersions.network.layers import Scale
from geomstats_vae.immersions.network.trace import TraceError, record
from geomstats_vae.immersions.network.translate import translate
from geomstats_vae.immersions.network.wired import WiredImmersion
from geomstats_vae.immersions.network.wiring import Wiring
from geomstats_vae.immersions.protocol import Likelihood, read_embedding
from geomstats_vae.immersions.rbf import RBFPrecision

# Numbers of points: of the recording, and of each comparison with what was recorded.
_N_RECORDED = 3
_N_COMPARED = (2, 5)
# Codes of the comparisons have this standard deviation; inside and outside of most of the data.
_SPREADS = (1.0, 3.0)
# What decoders and torch's operations raise when they are used in ways that they do not know.
_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)

Function = Callable[[torch.Tensor], torch.Tensor]


def compile_immersion(
    decoder: Callable[[torch.Tensor], Any],
    dim: int,
    *,
    output: Callable[[Any], Any] | None = None,
    likelihood: Likelihood | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Immersion | None:
    """Build the fast immersion of a decoder.

    The decoder runs once, together with what reads its output, while torch's operations are
    recorded. Each operation becomes a layer whose derivatives are written out. The result is
    compared with the decoder at random codes, in batches of other sizes, before it is used.

    Parameters
    ----------
    decoder : callable
        Frozen decoder, of any of the types that `Decoder` takes. Its weights are read once.
    dim : int
        Dimension of the latent space.
    output, likelihood : callable, optional
        Read what the decoder returns, as in `Decoder`.
    dtype, device : torch.dtype, torch.device
        Where decoders compute that have no parameters to tell it.

    Returns
    -------
    immersion : Immersion or None
        A network of layers, or one beside a standard deviation. None if an operation is not known,
        if what the decoder does depends on the values of its tensors, or if the result differs
        from the decoder.
    """
    kind = _kind(decoder, dtype, torch.device(device))
    if type(decoder) is GaussianDecoder and output is None and likelihood is None:
        mean = _compile(_embedding(decoder.mean), dim, None, kind)
        if type(decoder.std) is RBFPrecision:
            std: Immersion | None = RBFStdImmersion(decoder.std)
        else:
            std = _compile(_embedding(decoder.std), dim, 0, kind)
        return None if mean is None or std is None else ConcatenatedImmersion([mean, std])
    function = _embedding(decoder, output, likelihood)
    probe = torch.zeros(1, dim, dtype=kind[0], device=kind[1])
    try:
        with torch.no_grad():
            mean_part, std_part = function(probe, joined=False)
    except _FAILURES:  # the decoder is asked again by automatic derivatives, which may tell why
        return None
    return _compile(function, dim, None if std_part is None else mean_part.shape[1], kind)


def _kind(
    decoder: Any, dtype: torch.dtype, device: torch.device
) -> tuple[torch.dtype, torch.device]:
    """Floating-point type and device of a decoder's first parameter or buffer."""
    if isinstance(decoder, nn.Module):
        for tensor in (*decoder.parameters(), *decoder.buffers()):
            if tensor.is_floating_point():
                return tensor.dtype, tensor.device
    return dtype, device


def _embedding(
    decoder: Callable[[torch.Tensor], Any],
    output: Callable[[Any], Any] | None = None,
    likelihood: Likelihood | None = None,
) -> Callable[..., Any]:
    """Read a decoder's output to its embedding, one row for each code."""

    def function(z: torch.Tensor, *, joined: bool = True) -> Any:
        out = decoder(z)
        mean, std = read_embedding(out if output is None else output(out), likelihood)
        if not joined:
            return mean, std
        return mean if std is None else torch.cat((mean, std), dim=-1)

    return function


def _compile(
    function: Function, dim: int, n_mean: int | None, kind: tuple[torch.dtype, torch.device]
) -> ChainImmersion | None:
    dtype, device = kind
    codes = functools.partial(_codes, dim, dtype, device)
    probe = codes(_N_RECORDED, 1.0)
    try:
        operations, result = record(function, probe)
        builder = Builder(probe)
        for operation in operations:
            translate(builder, operation)
        layers, inputs = _ordered(builder, builder.wire(result))
    except _FAILURES:  # TraceError among them; automatic derivatives serve instead
        return None
    immersion = _immersion(layers, inputs, dim, n_mean=n_mean, dtype=dtype, device=device)
    agrees = all(
        _agrees(immersion, function, codes(n_points, spread), codes(n_points, 1.0))
        for n_points, spread in zip(_N_COMPARED, _SPREADS, strict=True)
    )
    return immersion if agrees else None


def _immersion(
    layers: list[Any], inputs: list[tuple[int, ...]], dim: int, **options: Any
) -> ChainImmersion:
    """Choose the immersion of layers: a plain chain if each takes what the one before returns."""
    if all(own == (k,) for k, own in enumerate(inputs)):
        return ChainImmersion(layers, dim, **options)
    return WiredImmersion(layers, dim, Wiring(inputs), **options)


def _ordered(builder: Builder, result: Wire) -> tuple[list[Any], list[tuple[int, ...]]]:
    """Layers that a result needs, the one that gives it last; folded."""
    if result.number == 0:
        one = torch.ones(builder.width(result), dtype=builder.dtype, device=builder.device)
        return [Scale(one, torch.zeros_like(one))], [(0,)]
    layers, inputs = builder.layers[: result.number], builder.inputs[: result.number]
    layers, inputs = fold(layers, inputs)
    if not any(0 in own for own in inputs):
        raise TraceError("the output does not depend on the codes")
    return layers, inputs


def _codes(
    dim: int, dtype: torch.dtype, device: torch.device, n_points: int, spread: float
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n_points)
    codes = spread * torch.randn(n_points, dim, dtype=torch.float64, generator=generator)
    return codes.to(dtype=dtype, device=device)


def _agrees(immersion: Immersion, function: Function, z: torch.Tensor, v: torch.Tensor) -> bool:
    """Whether value and derivative are those of a function."""
    expected = _by_torch(function, z, v)
    if expected is None:
        return False
    with torch.no_grad():
        found = immersion(z), immersion.push(z, v)
    tolerance = torch.finfo(z.dtype).eps ** 0.5
    for a, b in zip(found, expected, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        scale = float(b.nan_to_num(0.0, 0.0, 0.0).abs().max()) + 1.0
        if not torch.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
            return False
    return True


def _by_torch(
    function: Function, z: torch.Tensor, v: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Value and derivative; None if torch cannot tell."""
    for forward_mode in (True, False):
        slow = AutodiffImmersion(
            function, z.shape[1], forward_mode=forward_mode, dtype=z.dtype, device=z.device
        )
        try:
            with torch.no_grad():
                return function(z).detach(), slow.push(z, v).detach()
        except (NotImplementedError, RuntimeError):
            continue
    return None
