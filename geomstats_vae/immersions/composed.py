"""Immersions made of immersions: scaled ones, and several side by side.

A metric times c^2 is the pullback by c F. The metric of an ensemble of K decoders is the pullback
by (F_1, ..., F_K) / sqrt(K), and that of a decoder with two heads by (F_mean, F_std). All
derivatives are those of the parts, so parts with fast derivatives keep them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence

import torch

from geomstats_vae.immersions.immersion import Immersion, Jet
from geomstats_vae.immersions.linearization import Linearization, Product


class ScaledImmersion(Immersion):
    """A positive number times an immersion: z -> factor F(z).

    Lengths are those of F times the factor, metric matrices times its square.

    Parameters
    ----------
    immersion : Immersion
        F.
    factor : float
        Positive factor of the outputs.

    Raises
    ------
    ValueError
        If the first argument is no immersion, or the factor is not positive and finite.
    """

    def __init__(self, immersion: Immersion, factor: float) -> None:
        _check_immersion(immersion)
        super().__init__(
            immersion.dim, n_mean=immersion.n_mean, dtype=immersion.dtype, device=immersion.device
        )
        self.immersion, self.factor = immersion, _positive(factor, "factor")
        self.smooth, self.curvature_jumps = immersion.smooth, immersion.curvature_jumps

    @property
    def has_std(self) -> bool:
        """Whether some outputs are standard deviations; see `Immersion.has_std`."""
        return self.immersion.has_std

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Evaluate the scaled F; see `Immersion`."""
        return self.factor * self.immersion(z)

    def jacobian(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate the scaled F and its Jacobian; see `Immersion.jacobian`."""
        value, tangents = self.immersion.jacobian(z)
        return self.factor * value, self.factor * tangents

    def push(self, z: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Evaluate the derivative along a direction; see `Immersion.push`."""
        # The direction has fewer components than the outputs.
        return self.immersion.push(z, self.factor * v)

    def jet(self, z: torch.Tensor, v: torch.Tensor | None = None) -> Jet:
        """Evaluate first and second derivatives; see `Immersion.jet`."""
        jet = self.immersion.jet(z, None if v is None else self.factor * v)

        def hessian(covector: torch.Tensor) -> torch.Tensor:
            return self.factor * jet.hessian(covector)

        return Jet(self.factor * jet.tangents, jet.derivatives, hessian)

    def condensed(self) -> Immersion:
        """Find an isometric immersion with fewer outputs; see `Immersion.condensed`."""
        condensed = self.immersion.condensed()
        return self if condensed is self.immersion else ScaledImmersion(condensed, self.factor)

    def smoothed(self, width: float, codes: torch.Tensor) -> Immersion:
        """Round the kinks of F; see `Immersion.smoothed`."""
        smoothed = self.immersion.smoothed(width, codes)
        return self if smoothed is self.immersion else ScaledImmersion(smoothed, self.factor)

    def linearize(self, z: torch.Tensor, v: torch.Tensor) -> Linearization:
        """Prepare products without a Jacobian; see `Immersion.linearize`."""
        return ScaledLinearization(self.immersion.linearize(z, v), self.factor)

    def metric(self, z: torch.Tensor) -> torch.Tensor:
        """Pullback metric; see `Immersion.metric`."""
        return self.factor**2 * self.immersion.metric(z)

    def split_outputs(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Split outputs into means and standard deviations; see `Immersion.split_outputs`."""
        return self.immersion.split_outputs(values)

    def std_norm(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate the norm of sigma and its gradient; see `Immersion.std_norm`."""
        norm, gradient = self.immersion.std_norm(z)
        return self.factor * norm, self.factor * gradient

    def metric_and_std_norm(
        self, z: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Evaluate both at once; see `Immersion.metric_and_std_norm`."""
        metric, norm, gradient = self.immersion.metric_and_std_norm(z)
        return self.factor**2 * metric, self.factor * norm, self.factor * gradient


class ConcatenatedImmersion(Immersion):
    """Immersions side by side, times a weight: z -> weight (F_1(z), ..., F_K(z)).

    Parameters
    ----------
    parts : iterable of Immersion
        F_1 to F_K, of one latent dimension, floating-point type and device.
    weight : float
        Positive factor of all outputs. With K ** -0.5 the metric is the mean of the K metrics.

    Attributes
    ----------
    parts : tuple of Immersion
        The parts with their weight. Parts that are concatenated themselves are replaced by theirs.

    Raises
    ------
    ValueError
        If there are no parts, some are no immersions or differ in dimension, type or device, or
        the weight is not positive and finite.
    """

    def __init__(self, parts: Iterable[Immersion], weight: float = 1.0) -> None:
        parts, weight = list(parts), _positive(weight, "weight")
        _check_parts(parts)
        first = parts[0]
        super().__init__(first.dim, dtype=first.dtype, device=first.device)
        self.parts = tuple(leaf for part in parts for leaf in _leaves(part, weight))
        self._std_parts = tuple(part for part in self.parts if part.has_std)
        smooth = [part.smooth for part in self.parts]
        self.smooth = False if False in smooth else None if None in smooth else True
        self.curvature_jumps = any(part.curvature_jumps for part in self.parts)

    @property
    def has_std(self) -> bool:
        """Whether some outputs are standard deviations; see `Immersion.has_std`."""
        return bool(self._std_parts)

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Evaluate F; see `Immersion`."""
        values = []
        for part in self.parts:
            values.append(part(z))
        return torch.cat(values, dim=1)

    def jacobian(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate F and its Jacobian; see `Immersion.jacobian`."""
        values, tangents = [], []
        for part in self.parts:
            value, rows = part.jacobian(z)
            values.append(value)
            tangents.append(rows)
        return torch.cat(values, dim=1), _join_tangents(tangents)

    def push(self, z: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Evaluate the derivative along a direction; see `Immersion.push`."""
        pushed = []
        for part in self.parts:
            pushed.append(part.push(z, v))
        return torch.cat(pushed, dim=1)

    def jet(self, z: torch.Tensor, v: torch.Tensor | None = None) -> Jet:
        """Evaluate first and second derivatives; see `Immersion.jet`."""
        tangents, derivatives, hessians = [], [], []
        for part in self.parts:
            jet = part.jet(z, v)
            tangents.append(jet.tangents)
            hessians.append(jet.hessian)
            if jet.derivatives is not None:
                derivatives.append(jet.derivatives)
        widths = [rows.shape[2] for rows in tangents]

        def hessian(covector: torch.Tensor) -> torch.Tensor:
            total = covector.new_zeros(len(covector), self.dim, self.dim)
            for contract, piece in zip(hessians, covector.split(widths, dim=1), strict=True):
                total = total + contract(piece)
            return total

        along = None if v is None else _join_tangents(derivatives)
        return Jet(_join_tangents(tangents), along, hessian)

    def condensed(self) -> Immersion:
        """Find an isometric immersion with fewer outputs; see `Immersion.condensed`."""
        return self._condensed

    @functools.cached_property
    def _condensed(self) -> ConcatenatedImmersion:
        parts = [part.condensed() for part in self.parts]
        if all(new is old for new, old in zip(parts, self.parts, strict=True)):
            return self
        return ConcatenatedImmersion(parts)

    def smoothed(self, width: float, codes: torch.Tensor) -> Immersion:
        """Round the kinks of all parts; see `Immersion.smoothed`."""
        parts = [part.smoothed(width, codes) for part in self.parts]
        if all(new is old for new, old in zip(parts, self.parts, strict=True)):
            return self
        return ConcatenatedImmersion(parts)

    def linearize(self, z: torch.Tensor, v: torch.Tensor) -> Linearization:
        """Prepare products without a Jacobian; see `Immersion.linearize`."""
        return JoinedLinearization([part.linearize(z, v) for part in self.parts])

    def metric(self, z: torch.Tensor) -> torch.Tensor:
        """Pullback metric, the sum of those of the parts; see `Immersion.metric`."""
        metric = z.new_zeros(len(z), self.dim, self.dim)
        for part in self.parts:
            rows = part.jacobian(z)[1]
            metric = metric + rows @ rows.transpose(1, 2)
        return metric

    def split_outputs(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Split outputs into means and standard deviations; see `Immersion.split_outputs`."""
        pieces = values.split([part.n_outputs for part in self.parts], dim=-1)
        split = [part.split_outputs(piece) for part, piece in zip(self.parts, pieces, strict=True)]
        means, stds = zip(*split, strict=True)
        return torch.cat(means, dim=-1), torch.cat(stds, dim=-1)

    def std_norm(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate the norm of sigma over all parts; see `Immersion.std_norm`."""
        norms, gradients = [], []
        for part in self._std_parts:
            norm, gradient = part.std_norm(z)
            norms.append(norm)
            gradients.append(gradient)
        return _joint_norm(z, norms, gradients)

    def metric_and_std_norm(
        self, z: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Evaluate both at once; see `Immersion.metric_and_std_norm`."""
        metric, norms, gradients = z.new_zeros(len(z), self.dim, self.dim), [], []
        for part in self.parts:
            own_metric, norm, gradient = part.metric_and_std_norm(z)
            metric = metric + own_metric
            if part.has_std:
                norms.append(norm)
                gradients.append(gradient)
        return metric, *_joint_norm(z, norms, gradients)


class ScaledLinearization(Linearization):
    """A number times a linearization.

    Parameters
    ----------
    linearization : Linearization
        That of an immersion.
    factor : float
        Factor of the immersion's outputs.
    """

    def __init__(self, linearization: Linearization, factor: float) -> None:
        self.linearization, self.factor = linearization, factor
        self.pushed = factor * linearization.pushed

    @property
    def nbytes(self) -> int:
        """Memory; see `Linearization.nbytes`."""
        return self.linearization.nbytes

    def pull(self, covector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply the transpose; see `Linearization.pull`."""
        dz, dv = self.linearization.pull(covector)
        return self.factor * dz, self.factor * dv

    def quadratic(self, weight: torch.Tensor, covector: torch.Tensor | None = None) -> Product:
        """Prepare products; see `Linearization.quadratic`."""
        # The first part is quadratic in F and the second linear, so one factor is left for both.
        scaled = self.linearization.quadratic(self.factor * weight, covector)

        def product(dz: torch.Tensor, dv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            gz, gv = scaled(dz, dv)
            return self.factor * gz, self.factor * gv

        return product


class JoinedLinearization(Linearization):
    """Linearizations whose outputs stand side by side.

    Parameters
    ----------
    parts : list of Linearization
        Parts, of the same points and directions.
    """

    def __init__(self, parts: list[Linearization]) -> None:
        self.parts = parts
        self.pushed = torch.cat([part.pushed for part in parts], dim=1)

    @property
    def nbytes(self) -> int:
        """Memory; see `Linearization.nbytes`."""
        return sum(part.nbytes for part in self.parts)

    def _split(self, covector: torch.Tensor | None) -> Sequence[torch.Tensor | None]:
        if covector is None:
            return [None] * len(self.parts)
        return covector.split([part.pushed.shape[1] for part in self.parts], dim=1)

    def pull(self, covector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply the transpose; see `Linearization.pull`."""
        pieces = covector.split([part.pushed.shape[1] for part in self.parts], dim=1)
        return _sum([part.pull(piece) for part, piece in zip(self.parts, pieces, strict=True)])

    def quadratic(self, weight: torch.Tensor, covector: torch.Tensor | None = None) -> Product:
        """Prepare products; see `Linearization.quadratic`."""
        pieces = zip(self.parts, self._split(covector), strict=True)
        products = [part.quadratic(weight, piece) for part, piece in pieces]
        return lambda dz, dv: _sum([product(dz, dv) for product in products])


def _sum(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    (first, second), *others = pairs
    for one, other in others:
        first, second = first + one, second + other
    return first, second


def _join_tangents(parts: list[torch.Tensor]) -> torch.Tensor:
    """Tangents of all outputs, shape=[n_points, dim, n_outputs].

    Memory has latent directions first, as tangents of network parts do.
    """
    return torch.cat([rows.transpose(0, 1) for rows in parts], dim=2).transpose(0, 1)


def _joint_norm(
    z: torch.Tensor, norms: list[torch.Tensor], gradients: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Norm of vectors side by side and its gradient, from those of each."""
    if not norms:
        return z.new_zeros(len(z)), torch.zeros_like(z)
    if len(norms) == 1:
        return norms[0], gradients[0]
    each, slopes = torch.stack(norms), torch.stack(gradients)
    norm = each.norm(dim=0)
    share = each / norm.clamp_min(torch.finfo(norm.dtype).tiny)
    return norm, (share[:, :, None] * slopes).sum(dim=0)


def _leaves(immersion: Immersion, factor: float) -> Iterator[Immersion]:
    """Parts of a possibly nested immersion, each with its factor."""
    if type(immersion) is ScaledImmersion:
        yield from _leaves(immersion.immersion, factor * immersion.factor)
    elif type(immersion) is ConcatenatedImmersion:
        for part in immersion.parts:
            yield from _leaves(part, factor)
    else:
        yield immersion if factor == 1.0 else ScaledImmersion(immersion, factor)


def _check_immersion(part: object) -> None:
    if not isinstance(part, Immersion):
        raise ValueError(
            f"Expected an Immersion, got {type(part).__name__}; of a decoder pass "
            "Decoder(decoder, dim).immersion()."
        )


def _check_parts(parts: Sequence[Immersion]) -> None:
    if not len(parts):
        raise ValueError("Expected at least one immersion to concatenate, got none.")
    for part in parts:
        _check_immersion(part)
    kinds = {(part.dim, part.dtype, str(part.device)) for part in parts}
    if len(kinds) > 1:
        found = " and ".join(
            f"dim={dim} in {dtype} on {device}"
            for dim, dtype, device in sorted(kinds, key=lambda kind: str(kind))
        )
        raise ValueError(
            "Expected immersions of one latent dimension, floating-point type and device, got "
            f"{found}; build all of them by Decoder(...).immersion(dtype, device)."
        )


def _positive(value: float, name: str) -> float:
    if not 0.0 < value < math.inf:
        raise ValueError(f"Expected {name} > 0 and finite, got {value!r}.")
    return float(value)
