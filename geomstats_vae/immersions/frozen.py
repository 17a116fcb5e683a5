"""Frozen copies of decoders, and modules that no metric can be made of."""

from __future__ import annotations

import copy
import functools
import types
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from geomstats_vae.immersions.errors import DecoderError
from geomstats_vae.immersions.protocol import DecoderFunction

AnyDecoder = TypeVar("AnyDecoder", bound=DecoderFunction)


def module_of(decoder: Any) -> nn.Module | None:
    """Find the module that a decoder is, or belongs to.

    Parameters
    ----------
    decoder : object
        A module, a method of one, or a `functools.partial` of either.

    Returns
    -------
    module : torch.nn.Module or None
        The module; None of other functions.
    """
    if isinstance(decoder, functools.partial):
        return module_of(decoder.func)
    if isinstance(decoder, types.MethodType):
        decoder = decoder.__self__
    return decoder if isinstance(decoder, nn.Module) else None


def refuse_modules(module: nn.Module) -> None:
    """Raise if what a module computes is random, or its derivatives are not to be trusted.

    Parameters
    ----------
    module : torch.nn.Module
        Decoder.

    Raises
    ------
    DecoderError
        If a part is TorchScript, normalises by batch statistics, or is in training mode and of a
        kind that is random then.
    """
    for name, part in module.named_modules():
        label = name or type(part).__name__
        if isinstance(part, torch.jit.ScriptModule):
            raise DecoderError(
                f"Expected a module of Python, got TorchScript (in {label!r}): torch loses its "
                "second derivatives without an error. Pass the module that it was made of, or "
                "one of torch.export with a dynamic batch size."
            )
        if part.training and _is_random_in_training(part):
            raise training_error(label)
    for name, part in module.named_modules():
        if isinstance(part, _NormBase) and part.running_mean is None:
            raise DecoderError(
                f"Expected running statistics in {name or type(part).__name__!r}, got batch "
                "statistics (track_running_stats=False): what a code decodes to would depend on "
                "the rest of its batch; train with track_running_stats=True."
            )


def training_error(label: str) -> DecoderError:
    """Say that a decoder is in training mode.

    Parameters
    ----------
    label : str
        The part that computes something else in training mode.

    Returns
    -------
    error : DecoderError
        To be raised.
    """
    return DecoderError(
        f"Expected a decoder in evaluation mode, got training mode (in {label!r}): "
        "dropout and batch statistics would make the metric random; call decoder.eval() first."
    )


def _is_random_in_training(part: nn.Module) -> bool:
    if isinstance(part, (nn.MultiheadAttention, nn.RNNBase)):
        return part.dropout > 0.0
    return isinstance(part, (_DropoutNd, _NormBase, nn.RReLU))


def frozen_copy(decoder: AnyDecoder, dtype: torch.dtype, device: torch.device | None) -> AnyDecoder:
    """Copy a module, freeze its parameters, cast it and put it into evaluation mode.

    Methods of modules and `functools.partial` of modules are copied with their module; tensors of
    a partial are cast. Other callables are returned as they are.

    Parameters
    ----------
    decoder : callable
        Decoder; the caller's module is not touched.
    dtype : torch.dtype
        Floating-point type of the copy.
    device : torch.device or None
        Device of the copy; None keeps the module's own.

    Returns
    -------
    frozen : callable
        The copy.
    """
    module = module_of(decoder)
    if module is None:
        return decoder
    if isinstance(decoder, functools.partial):
        cast = functools.partial(_cast, dtype=dtype, device=device)
        frozen = frozen_copy(decoder.func, dtype, device)
        values = {name: cast(value) for name, value in decoder.keywords.items()}
        return functools.partial(frozen, *map(cast, decoder.args), **values)  # type: ignore[return-value]
    copied = _copy(module).to(dtype=dtype, device=device)
    set_modes(copied, [False] * len(modes(copied)))
    if isinstance(decoder, types.MethodType):
        return types.MethodType(decoder.__func__, copied)  # type: ignore[return-value]
    return copied  # type: ignore[return-value]


def modes(module: nn.Module) -> list[bool]:
    """Whether the parts of a module are in training mode.

    Parameters
    ----------
    module : torch.nn.Module
        The module.

    Returns
    -------
    modes : list of bool
        In the order of ``module.modules()``.
    """
    return [part.training for part in module.modules()]


def set_modes(module: nn.Module, modes: list[bool]) -> None:
    """Put the parts of a module into training mode or evaluation mode, in place.

    Parameters
    ----------
    module : torch.nn.Module
        The module.
    modes : list of bool
        In the order of ``module.modules()``.
    """
    # Modules of torch.export refuse `train` and `eval`.
    for part, training in zip(module.modules(), modes, strict=True):
        part.training = training


def _copy(module: nn.Module) -> nn.Module:
    """Copy a module with frozen parameters.

    Deep copies refuse tensors that were computed from parameters, such as the weights that
    `torch.nn.utils.weight_norm` leaves; they are copied as values.
    """
    memo: dict[int, Any] = {}
    for part in module.modules():
        for value in (*vars(part).values(), *part._buffers.values()):
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    copied = copy.deepcopy(module, memo)
    return copied.requires_grad_(False)


def _cast(value: Any, dtype: torch.dtype, device: torch.device | None) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach()
    return value.to(dtype=dtype if value.is_floating_point() else None, device=device)
