"""A decoder made safe for geometry: frozen, checked, and turned into the immersion z -> F(z)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from geomstats_vae.immersions.arguments import check_arguments, check_kind
from geomstats_vae.immersions.composed import ConcatenatedImmersion
from geomstats_vae.immersions.differentiable import (
    FAILURES,
    Differentiation,
    choose_differentiation,
)
from geomstats_vae.immersions.ensemble import EnsembleDecoder, mixture_mean_std
from geomstats_vae.immersions.errors import DecoderError, DecoderWarning
from geomstats_vae.immersions.frozen import (
    frozen_copy,
    modes,
    module_of,
    refuse_modules,
    set_modes,
    training_error,
)
from geomstats_vae.immersions.immersion import Immersion
from geomstats_vae.immersions.network import compile_immersion
from geomstats_vae.immersions.probes import (
    check_codes,
    check_function,
    check_parameters,
    probe_codes,
)
from geomstats_vae.immersions.protocol import (
    DecoderFunction,
    Likelihood,
    MeanStd,
    read_embedding,
    read_mean,
    read_mean_std,
)

# Outputs of all codes that are looked at: fewer codes of decoders with many outputs.
_OUTPUTS_CHECKED = 2**20
_CODES_CHECKED = 128


class Decoder:
    """A frozen copy of a decoder, and the immersion it defines.

    Parameters
    ----------
    decoder : callable or Immersion
        Maps latent codes, shape=[n_points, dim], to a tensor, a pair (mean, std), a
        `torch.distributions.Distribution`, or an object with ``.reconstruction``, ``.sample`` or
        ``.mean``. A module is copied, frozen and cast; the caller's is not touched. Weights that
        another function uses are read when its first immersion is built. An `Immersion` is used as
        it is. Of an `EnsembleDecoder` each member is made safe by itself, with ``output``,
        ``likelihood`` and ``latent_shape`` unless it is a `Decoder`.
    dim : int
        Dimension of the latent space.
    output : callable, optional
        Reads what the decoder returns, instead of the rules above; returns one of those types.
    likelihood : callable or 'expected', optional
        Maps what the decoder (or ``output``) returns to its embedding, or to a pair of embeddings
        whose second is a standard deviation. By default distributions are mapped by
        `likelihoods.embedding`, and tensors are their own embeddings. With 'expected' every
        distribution is embedded as its (mean, std) in units of the data.
    latent_shape : tuple of int, optional
        Shape of one code as the decoder takes it, such as (4, 8, 8). Codes have the shape
        [n_points, dim] everywhere else; dim is the product.

    Attributes
    ----------
    source : callable or Immersion
        The frozen copy in double precision, or the immersion itself; of an ensemble, the ensemble
        of ``members``.
    members : tuple of Decoder
        The decoders of an ensemble; empty for others.

    Raises
    ------
    DecoderError
        If the decoder is random, in training mode with a part that is random then, mixes the
        points of a batch, returns something that cannot be read or negative standard deviations,
        or cannot be differentiated twice; if an immersion comes with another dimension, with
        ``output``, ``likelihood`` or ``latent_shape``.

    Warns
    -----
    DecoderWarning
        If the decoder takes single precision only, or a distribution's embedding is an
        approximation.
    """

    def __init__(
        self,
        decoder: DecoderFunction | Immersion,
        dim: int,
        *,
        output: Callable[[Any], Any] | None = None,
        likelihood: Likelihood | None = None,
        latent_shape: Sequence[int] | None = None,
    ) -> None:
        if isinstance(decoder, torch.export.ExportedProgram):
            decoder = decoder.module()
        check_arguments(decoder, dim, output, likelihood, latent_shape)
        self.dim, self._single = int(dim), False
        self.output, self.likelihood = output, likelihood
        self.latent_shape = None if latent_shape is None else tuple(map(int, latent_shape))
        self._copies: dict[tuple[torch.dtype, torch.device], DecoderFunction] = {}
        self._immersions: dict[tuple[torch.dtype, torch.device], Immersion] = {}
        reading = {"output": output, "likelihood": likelihood, "latent_shape": latent_shape}
        self.members = _members(decoder, self.dim, **reading)
        if self.members:
            self.source: DecoderFunction | Immersion = EnsembleDecoder(self.members)
            return
        if isinstance(decoder, Immersion):
            self.source = decoder
            check_function(decoder, self._probes(decoder.dtype))
            return
        module = module_of(decoder)
        if module is not None:
            refuse_modules(module)
        self._width: int | None = None
        self._differentiation: Differentiation | None = None
        self.source = frozen_copy(decoder, torch.float64, None)
        self._width = self._check_values(decoder)
        probes = self._probes(torch.float64)
        if module is not None and any(modes(module)):
            self._check_modes(module, probes)
        with torch.no_grad():
            mean, std = self._read(probes)
        self._n_mean = None if std is None else mean.shape[1]
        for said in self.check(check_codes(self.dim)):
            _warn(
                f"Fisher-Rao's metric is approximated: {said}. Pass likelihood='expected' for the "
                "metric of the mean and the standard deviation of the data."
            )
        self.immersion()

    def _check_values(self, decoder: DecoderFunction) -> int:
        """Evaluate the decoder, in single precision if it takes no other; return its width."""
        probes = self._probes(torch.float64)
        try:
            width = check_function(self._embed, probes)
        except DecoderError:
            double, self._single = self.source, True
            self.source = frozen_copy(decoder, torch.float32, None)
            try:
                width = check_function(self._embed, probes)
            except DecoderError:
                self.source, self._single = double, False
            if not self._single:
                raise
        if not self._single:
            with torch.no_grad():
                mean = self._read(probes)[0]
            self._single = mean.dtype != torch.float64
        if self._single:
            _warn(
                "Expected a decoder of float64 codes, got one that computes in single precision "
                "whatever it is given: lengths are right to about 1e-6 of themselves, and "
                "geodesics take longer. Pass the module itself, which is copied and cast, and let "
                "it not cast its codes."
            )
        return width

    def _check_modes(self, module: torch.nn.Module, probes: torch.Tensor) -> None:
        """Raise unless a module that is in training mode computes the same in evaluation mode."""
        frozen = self.source
        trained = frozen_copy(frozen, self.dtype, None)
        copied = module_of(trained)
        assert copied is not None
        set_modes(copied, modes(module))
        with torch.no_grad(), torch.random.fork_rng(devices=_generators(self.device)):
            expected = self._embed(probes)
            self.source = trained
            try:
                found = self._embed(probes)
            finally:
                self.source = frozen
        eps = torch.finfo(self.dtype).eps
        if not torch.allclose(found, expected, rtol=eps**0.5, atol=eps, equal_nan=True):
            raise training_error(
                next(name or "decoder" for name, part in module.named_modules() if part.training)
            )

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type that the frozen copy computes in."""
        return torch.float32 if self._single else torch.float64

    def check(self, codes: torch.Tensor) -> list[str]:
        """Look at what the decoder returns at some latent codes.

        Parameters
        ----------
        codes : torch.Tensor, shape=[n_codes, dim]
            Codes; evenly spaced ones if there are many.

        Returns
        -------
        approximations : list of str
            What the embeddings of distributions leave out.

        Raises
        ------
        DecoderError
            If a standard deviation is not positive, or a parameter of a distribution changes with
            the code that its embedding takes for a constant.
        """
        if self.members:
            return [said for member in self.members for said in member.check(codes)]
        if isinstance(self.source, Immersion) or callable(self.likelihood):
            return []
        n_codes = min(_CODES_CHECKED, max(2, _OUTPUTS_CHECKED // max(self._width or 1, 1)))
        every = -(-len(codes) // n_codes)
        codes = codes[:: max(every, 1)].to(dtype=torch.float64, device=self.device)
        return check_parameters(self._output, codes, constants=self.likelihood is None)

    @property
    def device(self) -> torch.device:
        """Device of the decoder's parameters or of the immersion; the host for functions."""
        if self.members:
            return self.members[0].device
        if isinstance(self.source, Immersion):
            return self.source.device
        module = module_of(self.source)
        if module is not None:
            for tensor in (*module.parameters(), *module.buffers()):
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
            Standard deviation; None for a deterministic decoder. That of an ensemble counts how
            far its members disagree; see `EnsembleDecoder`.

        Raises
        ------
        DecoderError
            If there is an immersion instead of a decoder, or its output has no mean; if members
            of an ensemble differ in their number of outputs.
        """
        if self.members:
            return mixture_mean_std([member.mean_std(z) for member in self.members])
        mean, std = read_mean_std(self._decoded(z))
        return mean.to(z.dtype), None if std is None else std.to(z.dtype)

    def mean(self, z: torch.Tensor) -> torch.Tensor:
        """Mean of the data in their own shape, shape=[n_points, data_shape]; see `mean_std`."""
        if self.members:
            flat = self.mean_std(z)[0]
            return flat.reshape(len(z), *self.members[0].mean(z[:1]).shape[1:])
        return read_mean(self._decoded(z)).to(z.dtype)

    def _decoded(self, z: torch.Tensor) -> Any:
        if isinstance(self.source, Immersion):
            raise DecoderError(
                f"Expected a decoder to take the mean of, got an immersion "
                f"({type(self.source).__name__}), which is all that distances need; decode by "
                "the decoder that it was made of."
            )
        return self._output(z)

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
            The fast one if torch's operations in the decoder are known, else through `torch.func`;
            or the immersion that there is.

        Raises
        ------
        DecoderError
            If there is an immersion of another type or on another device.
        """
        device = self.device if device is None else torch.device(device)
        if isinstance(self.source, Immersion):
            check_kind(self.source, dtype, device)
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
        if any(member.in_single_precision() is None for member in self.members):
            return None
        try:
            immersion, probes = self.immersion(torch.float32), self._probes(torch.float32)
            with torch.no_grad():
                # Values of immersions are cast, those of the decoder are not.
                own = self.members or isinstance(self.source, Immersion)
                value = immersion(probes) if own else self._read(probes)[0]
        except FAILURES:
            return None
        return immersion if value.dtype == torch.float32 else None

    def _build(self, dtype: torch.dtype, device: torch.device) -> Immersion:
        if self.members:
            parts = [member.immersion(dtype, device) for member in self.members]
            return ConcatenatedImmersion(parts, weight=len(parts) ** -0.5)
        if not self._single:
            fast = compile_immersion(
                self._shaped(self._copy(dtype, device)),
                self.dim,
                output=self.output,
                likelihood=self.likelihood,
                dtype=dtype,
                device=device,
            )
            if fast is not None:
                return fast
        if self._differentiation is None:
            step = torch.finfo(self.dtype).eps ** (1 / 3)
            probe = self._probes(torch.float64)[:1]
            self._differentiation = choose_differentiation(self._embed, probe, step)
        options = {"n_mean": self._n_mean, "dtype": dtype, "device": device}
        return self._differentiation.immersion(self._embed, self.dim, **options)

    def _shaped(self, decoder: DecoderFunction) -> DecoderFunction:
        """Let a decoder take flat codes."""
        if self.latent_shape is None:
            return decoder
        unflatten = torch.nn.Unflatten(1, self.latent_shape)
        if isinstance(decoder, torch.nn.Module):
            return torch.nn.Sequential(unflatten, decoder).eval()
        return lambda z: decoder(unflatten(z))

    def _copy(self, dtype: torch.dtype, device: torch.device) -> DecoderFunction:
        assert not isinstance(self.source, Immersion)
        if (dtype, device) == (self.dtype, self.device):
            return self.source
        key = (dtype, device)
        if key not in self._copies:
            self._copies[key] = frozen_copy(self.source, dtype, device)
        return self._copies[key]

    def _output(self, z: torch.Tensor) -> Any:
        if self._single:
            z = z.to(torch.float32)
        shaped = z if self.latent_shape is None else z.reshape(len(z), *self.latent_shape)
        out = self._copy(z.dtype, z.device)(shaped)
        return out if self.output is None else self.output(out)

    def _read(self, z: torch.Tensor) -> MeanStd:
        """Embeddings as they come, in the type that the decoder computes in."""
        return read_embedding(self._output(z), self.likelihood)

    def _embed(self, z: torch.Tensor) -> torch.Tensor:
        """F itself, through the decoder."""
        mean, std = self._read(z)
        stacked = mean if std is None else torch.cat((mean, std), dim=-1)
        if self._width is not None and stacked.shape[-1] != self._width:
            raise DecoderError(
                f"Expected {self._width} outputs per latent code, as at first, got "
                f"{stacked.shape[-1]}; the decoder must not change its output shape."
            )
        return stacked.to(z.dtype) if stacked.is_floating_point() else stacked

    def _probes(self, dtype: torch.dtype) -> torch.Tensor:
        return probe_codes(self.dim).to(dtype=dtype, device=self.device)


def _warn(message: str) -> None:
    # From the caller of the decoder's constructor.
    warnings.warn(message, DecoderWarning, stacklevel=3)


def _generators(device: torch.device) -> list[torch.device]:
    return [] if device.type == "cpu" else [device]


def _members(decoder: Any, dim: int, **reading: Any) -> tuple[Decoder, ...]:
    """Make each member of an ensemble safe; nothing of other decoders."""
    if not isinstance(decoder, EnsembleDecoder):
        return ()
    members = []
    for k, member in enumerate(decoder.members):
        try:
            if not isinstance(member, Decoder):
                member = Decoder(member, dim, **reading)
        except DecoderError as error:
            raise DecoderError(f"Decoder {k} of the ensemble, counted from 0: {error}") from error
        if member.dim != dim:
            raise DecoderError(
                f"Expected decoders of latent dimension dim={dim}, got decoder {k} of the "
                f"ensemble, counted from 0, of dim={member.dim}; pass decoders of one latent space."
            )
        members.append(member)
    return tuple(members)
