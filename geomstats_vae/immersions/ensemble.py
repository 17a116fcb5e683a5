"""Ensembles of decoders: several decoders of one latent space, each as likely as the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from geomstats_vae.immersions.immersion import Immersion
from geomstats_vae.immersions.protocol import DecoderError, MeanStd, read_mean_std


class EnsembleDecoder(nn.Module):
    """Several decoders of one latent space, as one decoder whose metric is the mean of theirs.

    The metric is the expected metric of a decoder that is drawn at random, M = mean_k M_k ([1]_).
    It is the pullback by (F_1, ..., F_K) / sqrt(K), where F_k is the immersion of decoder k.

    Parameters
    ----------
    decoders : iterable of callable, Decoder or Immersion
        The K decoders: modules, functions, or any others that `PullbackDecoderMetric` takes. Each
        may return what it likes. A `Decoder` has an ``output`` and a ``likelihood`` of its own.
        Modules are not copied.

    Raises
    ------
    DecoderError
        If there are no decoders, or some are no decoders.

    See Also
    --------
    geomstats_vae.PullbackDecoderMetric.dist_members : Distances in the metric of each decoder.

    Notes
    -----
    For means and standard deviations the ensemble is the mixture of its decoders. The mean is the
    mean of their means. The variance is the mean of their variances plus the variance of their
    means (law of total variance, with 1 / K), so it counts how far they disagree. A deterministic
    decoder has variance zero there; an ensemble of several of them has a standard deviation
    nevertheless, that of the disagreement.

    The metric does not count the disagreement. The curve energy of [1]_ does: it draws the two
    ends of each chord from different decoders, so it also depends on the number of chords. To
    count it in a metric, use the mixture's mean and standard deviation as a decoder:
    ``LatentSpace(lambda z: ensemble(z), dim)``.

    A new ensemble is in evaluation mode if all of its modules are.

    References
    ----------
    .. [1] Syrota, Moreno-Munoz, Hauberg. "Decoder ensembling for learned latent geometries." ICML
       2024 workshop on geometry-grounded representation learning. arXiv:2408.07507.

    Examples
    --------
    >>> ensemble = EnsembleDecoder([first, second, third])
    >>> space = LatentSpace(ensemble, dim=2, points=codes)
    >>> distances = space.metric.dist_members(codes[:10], codes[10:20])
    >>> variation = distances.std(axis=-1) / distances.mean(axis=-1)
    """

    def __init__(self, decoders: Iterable[Any]) -> None:
        super().__init__()
        members = _listed(decoders)
        self._n_members = len(members)
        # What is no module, by its place; torch keeps the modules.
        self._others: dict[int, Any] = {}
        for k, member in enumerate(members):
            if isinstance(member, nn.Module):
                self.add_module(str(k), member)
            else:
                self._others[k] = member
        self.training = any(part.training for part in self.children())

    @property
    def members(self) -> tuple[Any, ...]:
        """The decoders, in the order in which they were given."""
        return tuple(
            self._others[k] if k in self._others else self._modules[str(k)]
            for k in range(self._n_members)
        )

    def mean(self, z: torch.Tensor) -> torch.Tensor:
        """Evaluate the mean of the mixture.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.

        Returns
        -------
        mean : torch.Tensor, shape=[n_points, n_outputs]
            Mean of the data, flattened.

        Raises
        ------
        DecoderError
            As of `forward`.
        """
        return mixture_mean_std([_mean_std_of(member, z) for member in self.members])[0]

    def forward(self, z: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Evaluate mean and standard deviation of the mixture.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.

        Returns
        -------
        mean : torch.Tensor, shape=[n_points, n_outputs]
            Mean of the data, flattened.
        std : torch.Tensor, shape=[n_points, n_outputs]
            Standard deviation of the data; left out of a single deterministic decoder.

        Raises
        ------
        DecoderError
            If the decoders differ in their number of outputs, or one has no mean.
        """
        mean, std = mixture_mean_std([_mean_std_of(member, z) for member in self.members])
        return mean if std is None else (mean, std)


def mixture_mean_std(parts: Sequence[MeanStd]) -> MeanStd:
    """Mean and standard deviation of a mixture with equal weights.

    Parameters
    ----------
    parts : sequence of tuple
        Mean and standard deviation of each part, shape=[n_points, n_outputs] each; the standard
        deviation of a deterministic part is None.

    Returns
    -------
    mean : torch.Tensor, shape=[n_points, n_outputs]
        Mean of the means.
    std : torch.Tensor, shape=[n_points, n_outputs], or None
        Root of the mean variance plus the variance of the means, where deterministic parts have
        variance zero. None of a single deterministic part.

    Raises
    ------
    DecoderError
        If the parts differ in their number of outputs.
    """
    if len(parts) == 1:
        return parts[0]
    widths = [mean.shape[1] for mean, _ in parts]
    if len(set(widths)) > 1:
        raise DecoderError(
            "Expected decoders of one number of outputs for the mean of an ensemble, got "
            f"{', '.join(map(str, widths))} outputs; distances need no such mean, and "
            "Decoder(member, dim).mean_std(z) gives that of one decoder."
        )
    means = torch.stack([mean for mean, _ in parts])
    variance = means.var(dim=0, correction=0)
    for _, std in parts:
        if std is not None:
            variance = variance + std.square() / len(parts)
    return means.mean(dim=0), variance.sqrt()


def _mean_std_of(member: Any, z: torch.Tensor) -> MeanStd:
    if not callable(member):
        return member.mean_std(z)
    if isinstance(member, Immersion):
        raise DecoderError(
            "Expected decoders to take the mean of, got an ensemble with an immersion "
            f"({type(member).__name__}), which is all that distances need; make the ensemble of "
            "the decoder that it was made of."
        )
    return read_mean_std(member(z))


def _listed(decoders: Iterable[Any]) -> list[Any]:
    """List the decoders; raise if they are none."""
    # A network of layers is iterable, too.
    alone = isinstance(decoders, nn.Module) and not isinstance(decoders, nn.ModuleList)
    if alone or not isinstance(decoders, Iterable):
        raise DecoderError(
            f"Expected a list of decoders, got {type(decoders).__name__}; pass "
            "EnsembleDecoder([first, second, ...])."
        )
    members = list(decoders)
    if not members:
        raise DecoderError("Expected at least one decoder in an ensemble, got none; pass some.")
    for k, member in enumerate(members):
        # A `Decoder` reads what its decoder returns, and is not called itself.
        if not callable(member) and not hasattr(member, "mean_std"):
            raise DecoderError(
                f"Expected callables as decoders of an ensemble, got {type(member).__name__} at "
                f"index {k}; pass modules, functions of latent codes, Decoders or Immersions."
            )
    return members
