"""A decoder made safe for geometry: frozen, checked, and turned into the immersion z -> F(z)."""

from __future__ import annotations

import torch

from geomstats_vae.immersions.immersion import AutodiffImmersion, Immersion
from geomstats_vae.immersions.layers import compile_immersion
from geomstats_vae.immersions.protocol import (
    DecoderError,
    frozen_copy,
    read_output,
    refuse_randomness,
)

_N_PROBES = 3


class Decoder:
    """A frozen copy of a decoder, and the immersion it defines.

    Parameters
    ----------
    decoder : callable
        Maps latent codes, shape=[n_points, dim], to a tensor, a pair (mean, std), a
        `torch.distributions.Distribution`, or an object with ``.reconstruction``, ``.sample`` or
        ``.mean``. A module is copied, frozen and cast; the caller's is not touched.
    dim : int
        Dimension of the latent space.
    output : callable, optional
        Reads what the decoder returns, instead of the rules above; returns one of those types.

    Raises
    ------
    DecoderError
        If the decoder is in training mode, random, mixes the points of a batch, or returns
        something that cannot be read.
    """

    def __init__(self, decoder, dim, *, output=None, likelihood=None):
        if not callable(decoder):
            raise DecoderError(
                f"Expected a callable as decoder, got {type(decoder).__name__}; pass a torch "
                "module or a function of latent codes."
            )
        if int(dim) != dim or dim < 1:
            raise DecoderError(f"Expected a positive integer as dim, got {dim!r}.")
        if isinstance(decoder, torch.nn.Module):
            refuse_randomness(decoder)
        self.dim = int(dim)
        self.output, self.likelihood = output, likelihood
        self._source = frozen_copy(decoder, torch.float64, None)
        self._copies: dict = {}
        self._immersions: dict = {}
        self._width: int | None = None
        self._check()

    @property
    def device(self):
        """Device of the decoder's parameters; the host for functions."""
        if isinstance(self._source, torch.nn.Module):
            for tensor in (*self._source.parameters(), *self._source.buffers()):
                return tensor.device
        return torch.device("cpu")

    @property
    def source(self):
        """Temporary."""
        return self._source

    def __getstate__(self):
        return self.__dict__ | {"_copies": {}, "_immersions": {}}

    def _copy(self, dtype, device):
        key = (dtype, device)
        if key not in self._copies:
            self._copies[key] = frozen_copy(self._source, dtype, device)
        return self._copies[key]

    def mean_std(self, z):
        """Mean and standard deviation of the data at latent codes.

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
        """
        out = self._copy(z.dtype, z.device)(z)
        return read_output(out if self.output is None else self.output(out))

    def _stacked(self, z):
        mean, std = self.mean_std(z)
        stacked = mean if std is None else torch.cat((mean, std), dim=-1)
        if self._width is not None and stacked.shape[-1] != self._width:
            raise DecoderError(
                f"Expected {self._width} outputs per latent code, as at first, got "
                f"{stacked.shape[-1]}; the decoder must not change its output shape."
            )
        return stacked

    def immersion(self, dtype=torch.float64, device=None) -> Immersion:
        """F: z -> (mean(z), std(z)) with its derivatives.

        Parameters
        ----------
        dtype : torch.dtype
            Floating-point type to compute in.
        device : torch.device, optional
            Device to compute on; the decoder's own by default.

        Returns
        -------
        immersion : Immersion
            The fast one for chains of known layers, else through torch.func.
        """
        device = self.device if device is None else torch.device(device)
        key = (dtype, device)
        if key not in self._immersions:
            fast = None
            if self.output is None:
                fast = compile_immersion(self._copy(dtype, device), self.dim)
            immersion = fast or self._autodiff(dtype, device)
            immersion.n_mean, immersion.dtype, immersion.device = self.n_mean, dtype, device
            self._immersions[key] = immersion
        return self._immersions[key]

    def _autodiff(self, dtype, device):
        probe = torch.zeros(1, self.dim, dtype=dtype, device=device)
        immersion = AutodiffImmersion(self._stacked, self.dim)
        try:
            immersion.jet(probe, probe)
        except (NotImplementedError, RuntimeError):
            # Some operations have no forward-mode rule; two reverse passes serve instead.
            immersion = AutodiffImmersion(self._stacked, self.dim, forward_mode=False)
        return immersion

    def _check(self):
        generator = torch.Generator().manual_seed(0)
        probes = torch.randn(_N_PROBES, self.dim, dtype=torch.float64, generator=generator)
        probes = probes.to(self.device)
        with torch.no_grad():
            try:
                first = self._stacked(probes)
            except DecoderError:
                raise
            except (
                ArithmeticError,
                AttributeError,
                IndexError,
                RuntimeError,
                TypeError,
                ValueError,
            ) as error:
                raise DecoderError(
                    f"The decoder failed on float64 codes of shape [{_N_PROBES}, {self.dim}]: "
                    f"{error}. Pass a decoder of latent codes of dimension dim={self.dim}."
                ) from error
            mean, std = self.mean_std(probes)
            self.n_mean = None if std is None else mean.shape[1]
            second, single = self._stacked(probes), self._stacked(probes[:1])
        self._width = first.shape[1]
        if first.shape[0] != _N_PROBES:
            raise DecoderError(
                f"Expected one output per latent code, got {first.shape[0]} for {_N_PROBES} codes."
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
