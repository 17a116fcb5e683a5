"""A decoder made safe for geometry: frozen, checked, and turned into the immersion z -> F(z)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from geomstats_vae.immersions.autodiff import AutodiffImmersion
from geomstats_vae.immersions.immersion import Immersion
from geomstats_vae.immersions.network import compile_immersion
from geomstats_vae.immersions.protocol import (
    DecoderError,
    DecoderFunction,
    Likelihood,
    MeanStd,
    frozen_copy,
    read_embedding,
    read_mean_std,
    refuse_randomness,
)

_N_PROBES = 3
# What decoders raise when they are given codes of a kind that they do not take.
_DECODER_FAILURES = (
    ArithmeticError,
    AttributeError,
    IndexError,
    RuntimeError,
    TypeError,
    ValueError,
)


class Decoder:
    """A frozen copy of a decoder, and the immersion it defines.

    Parameters
    ----------
    decoder : callable or Immersion
        Maps latent codes, shape=[n_points, dim], to a tensor, a pair (mean, std), a
        `torch.distributions.Distribution`, or an object with ``.reconstruction``, ``.sample`` or
        ``.mean``. A module is copied, frozen and cast; the caller's is not touched. An `Immersion`
        is used as it is.
    dim : int
        Dimension of the latent space.
    output : callable, optional
        Reads what the decoder returns, instead of the rules above; returns one of those types.
    likelihood : callable, optional
        Maps what the decoder (or ``output``) returns to its embedding, or to a pair of embeddings
        whose second is a standard deviation. By default distributions are mapped by
        `likelihoods.embedding`, and tensors are their own embeddings.

    Attributes
    ----------
    source : callable or Immersion
        The frozen copy in double precision, or the immersion itself.

    Raises
    ------
    DecoderError
        If the decoder is in training mode, random, mixes the points of a batch, or returns
        something that cannot be read; if an immersion comes with another dimension, with
        ``output`` or with ``likelihood``.
    """

    def __init__(
        self,
        decoder: DecoderFunction | Immersion,
        dim: int,
        *,
        output: Callable[[Any], Any] | None = None,
        likelihood: Likelihood | None = None,
    ) -> None:
        _check_arguments(decoder, dim, output, likelihood)
        self.dim = int(dim)
        self.output, self.likelihood = output, likelihood
        self._copies: dict[tuple[torch.dtype, torch.device], DecoderFunction] = {}
        self._immersions: dict[tuple[torch.dtype, torch.device], Immersion] = {}
        if isinstance(decoder, Immersion):
            self.source: DecoderFunction | Immersion = decoder
            _check_function(decoder, self._probes(decoder.dtype))
            return
        if isinstance(decoder, torch.nn.Module):
            refuse_randomness(decoder)
        self.source = frozen_copy(decoder, torch.float64, None)
        self._width: int | None = None
        probes = self._probes(torch.float64)
        self._width = _check_function(self._embed, probes)
        with torch.no_grad():
            mean, std = read_embedding(self._output(probes), self.likelihood)
        self._n_mean = None if std is None else mean.shape[1]

    @property
    def device(self) -> torch.device:
        """Device of the decoder's parameters or of the immersion; the host for functions."""
        if isinstance(self.source, Immersion):
            return self.source.device
        if isinstance(self.source, torch.nn.Module):
            for tensor in (*self.source.parameters(), *self.source.buffers()):
                return tensor.device
        return torch.device("cpu")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_copies": {}, "_immersions": {}}

    def mean_std(self, z: torch.Tensor) -> MeanStd:
        """Mean and standard deviation of the data at latent codes.

        These are in units of the data, also where the immersion embeds a distribution otherwise:
        of a Bernoulli decoder they are p and sqrt(p (1 - p)).

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.

        Returns
        -------
        mean : torch.Tensor, shape=[n_points, n_outputs]
            Mean, flattened.
        std : torch.Tensor, shape=[n_points, n_outputs], or None
            Standard deviation; None for a deterministic decoder.

        Raises
        ------
        DecoderError
            If there is an immersion instead of a decoder, or its output has no mean.
        """
        if isinstance(self.source, Immersion):
            raise DecoderError(
                f"Expected a decoder to take the mean of, got an immersion "
                f"({type(self.source).__name__}), which is all that distances need; decode by "
                "Decoder(decoder, dim).mean_std(z) of the decoder that it was made of."
            )
        return read_mean_std(self._output(z))

    def immersion(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> Immersion:
        """F: z -> embedding of what z decodes to, with its derivatives.

        Parameters
        ----------
        dtype : torch.dtype
            Floating-point type to compute in.
        device : torch.device, optional
            Device to compute on; the decoder's own by default.

        Returns
        -------
        immersion : Immersion
            The fast one for chains of known layers, else through `torch.func`; or the immersion
            that there is.

        Raises
        ------
        DecoderError
            If there is an immersion of another type or on another device.
        """
        device = self.device if device is None else torch.device(device)
        if isinstance(self.source, Immersion):
            _check_kind(self.source, dtype, device)
            return self.source
        key = (dtype, device)
        if key not in self._immersions:
            self._immersions[key] = self._build(dtype, device)
        return self._immersions[key]

    def in_single_precision(self) -> Immersion | None:
        """F in single precision, for what needs no more.

        Returns
        -------
        immersion : Immersion or None
            None where there is an immersion in double precision, and where the decoder fails in
            single precision or returns another type.
        """
        try:
            immersion = self.immersion(torch.float32)
            with torch.no_grad():
                value = immersion(self._probes(torch.float32))
        except _DECODER_FAILURES:
            return None
        return immersion if value.dtype == torch.float32 else None

    def _build(self, dtype: torch.dtype, device: torch.device) -> Immersion:
        if self.output is None and self.likelihood is None:
            copied = self._copy(dtype, device)
            fast = compile_immersion(copied, self.dim, dtype=dtype, device=device)
            if fast is not None:
                return fast
        differentiated = functools.partial(
            AutodiffImmersion,
            self._embed,
            self.dim,
            n_mean=self._n_mean,
            dtype=dtype,
            device=device,
        )
        immersion = differentiated()
        probe = torch.zeros(1, self.dim, dtype=dtype, device=device)
        try:
            immersion.jet(probe, probe)
        except (NotImplementedError, RuntimeError):
            # Some operations have no forward-mode rule; two reverse passes serve instead.
            return differentiated(forward_mode=False)
        return immersion

    def _copy(self, dtype: torch.dtype, device: torch.device) -> DecoderFunction:
        assert not isinstance(self.source, Immersion)
        if (dtype, device) == (torch.float64, self.device):
            return self.source
        key = (dtype, device)
        if key not in self._copies:
            self._copies[key] = frozen_copy(self.source, dtype, device)
        return self._copies[key]

    def _output(self, z: torch.Tensor) -> Any:
        out = self._copy(z.dtype, z.device)(z)
        return out if self.output is None else self.output(out)

    def _embed(self, z: torch.Tensor) -> torch.Tensor:
        """F itself, through the decoder."""
        mean, std = read_embedding(self._output(z), self.likelihood)
        stacked = mean if std is None else torch.cat((mean, std), dim=-1)
        if self._width is not None and stacked.shape[-1] != self._width:
            raise DecoderError(
                f"Expected {self._width} outputs per latent code, as at first, got "
                f"{stacked.shape[-1]}; the decoder must not change its output shape."
            )
        return stacked

    def _probes(self, dtype: torch.dtype) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        probes = torch.randn(_N_PROBES, self.dim, dtype=torch.float64, generator=generator)
        return probes.to(dtype=dtype, device=self.device)


def _check_arguments(decoder: Any, dim: int, output: Any, likelihood: Any) -> None:
    if not callable(decoder):
        raise DecoderError(
            f"Expected a callable as decoder, got {type(decoder).__name__}; pass a torch module, "
            "a function of latent codes or an Immersion."
        )
    if int(dim) != dim or dim < 1:
        raise DecoderError(f"Expected a positive integer as dim, got {dim!r}.")
    for name, value in (("output", output), ("likelihood", likelihood)):
        if value is not None and not callable(value):
            raise DecoderError(
                f"Expected a callable as {name}, got {type(value).__name__}; pass a function of "
                "what the decoder returns."
            )
    if not isinstance(decoder, Immersion):
        return
    if decoder.dim != dim:
        raise DecoderError(
            f"Expected an immersion of dimension dim={dim}, got one of dimension {decoder.dim}."
        )
    if output is not None or likelihood is not None:
        raise DecoderError(
            "Expected an immersion alone, got output or likelihood with it; an immersion is used "
            "as it is, so pass them where it is built: Decoder(decoder, dim, likelihood=...)."
        )


def _check_kind(immersion: Immersion, dtype: torch.dtype, device: torch.device) -> None:
    """Raise unless an immersion has a type and a device."""
    indices = {immersion.device.index, device.index} - {None}
    same_device = immersion.device.type == device.type and len(indices) < 2
    if immersion.dtype != dtype or not same_device:
        raise DecoderError(
            f"Expected an immersion in {dtype} on {device}, as asked for, got one in "
            f"{immersion.dtype} on {immersion.device}; an immersion is not cast, so build it as "
            f"Decoder(decoder, dim).immersion({dtype}, {str(device)!r})."
        )


def _check_function(function: Callable[[torch.Tensor], torch.Tensor], probes: torch.Tensor) -> int:
    """Raise unless a function maps codes to rows one by one; returns its number of outputs."""
    with torch.no_grad():
        try:
            first = function(probes)
        except DecoderError:
            raise
        except _DECODER_FAILURES as error:
            raise DecoderError(
                f"The decoder failed on {probes.dtype} codes of shape {list(probes.shape)}: "
                f"{error}. Pass a decoder of latent codes of dimension dim={probes.shape[1]}."
            ) from error
        second, single = function(probes), function(probes[:1])
    if first.ndim != 2 or len(first) != len(probes):
        raise DecoderError(
            f"Expected one output per latent code, got outputs of shape {list(first.shape)} for "
            f"{len(probes)} codes."
        )
    if not first.is_floating_point():
        raise DecoderError(f"Expected floating-point outputs, got {first.dtype}.")
    if not torch.equal(first.nan_to_num(), second.nan_to_num()):
        raise DecoderError(
            "The decoder is random: two calls on the same codes differ. Return a mean or a "
            "distribution instead of a sample, and switch dropout off."
        )
    scale = first.nan_to_num().abs().max() + 1.0
    if single.shape[1] != first.shape[1] or not torch.allclose(
        single.nan_to_num(), first[:1].nan_to_num(), rtol=1e-3, atol=1e-4 * float(scale)
    ):
        raise DecoderError(
            "The decoder mixes the points of a batch: the output of a code depends on the "
            "others. Switch batch statistics off (decoder.eval())."
        )
    return first.shape[1]
