"""How far distances depend on the precision: distances before and after it is fitted otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.stats import rankdata

from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.graph.latent_graph import LatentGraph
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.protocol import Floats, Ints
from geomstats_vae.immersions import Decoder, EnsembleDecoder, GaussianDecoder, RBFPrecision
from geomstats_vae.immersions.rbf_weights import maximum_likelihood_weights

# Factors of the kernels' widths.
_FACTORS = (0.7, 1.4)
_REFIT_TOL, _REFIT_MAX_ITER = 1e-3, 200
# Coarser than for geodesics: the same grid measures before and after.
_GRID_SIZE = {2: 96, 3: 24}


@dataclass(frozen=True)
class Sensitivity:
    """How far distances change if the network of the precision is fitted otherwise.

    Parameters
    ----------
    change : str
        What was changed: 'a x 0.7', 'a x 1.4', 'K / 2' or 'K x 2'.
    relative_change : float
        Median over pairs of codes of the relative change of their distance.
    rank_correlation : float
        Spearman's correlation of the distances before and after.
    """

    change: str
    relative_change: float
    rank_correlation: float


def measure_sensitivity(
    decoder: Decoder,
    codes: Floats,
    n_pairs: int,
    random_state: np.random.RandomState,
    max_seconds: float | None = None,
) -> tuple[Sensitivity, ...] | None:
    """Compare distances on graphs, before and after refits of the precision.

    Parameters
    ----------
    decoder : Decoder
        The decoder.
    codes : numpy.ndarray, shape=[n_codes, dim]
        Latent codes that the graphs cover.
    n_pairs : int
        Pairs of codes whose distances are compared.
    random_state : numpy.random.RandomState
        Source of the pairs and of the refits.
    max_seconds : float, optional
        No further change is begun after this time.

    Returns
    -------
    sensitivity : tuple of Sensitivity, or None
        One for each change that was made. None if none was, unless the decoder is a
        `GaussianDecoder` with an `RBFPrecision`, or an ensemble of such, and unless there are
        distances to compare.
    """
    deadline = Deadline.after(max_seconds)
    parts = decoder.members or (decoder,)
    pairs = [_mean_and_precision(part) for part in parts]
    fitted = [pair for pair in pairs if pair is not None]
    if len(fitted) < len(parts) or len(codes) < 4:
        return None
    start = random_state.randint(len(codes), size=n_pairs)
    end = (start + random_state.randint(1, len(codes), size=n_pairs)) % len(codes)
    before = _distances(decoder, codes, start, end)
    if not (np.isfinite(before).all() and np.ptp(before) > 0.0):
        return None
    found = []
    refits = [_refits(precision, codes, random_state) for _, precision in fitted]
    for changes in zip(*refits, strict=True):
        # The refit is made by now: it takes little beside the graph.
        if deadline.passed:
            break
        change = changes[0][0]
        members = [
            GaussianDecoder(mean, precision).eval()
            for (mean, _), (_, precision) in zip(fitted, changes, strict=True)
        ]
        changed = Decoder(EnsembleDecoder(members), decoder.dim)
        after = _distances(changed, codes, start, end)
        off = float(np.median(np.abs(after / np.maximum(before, np.finfo(float).tiny) - 1.0)))
        ranks = np.corrcoef(rankdata(before), rankdata(after))[0, 1]
        found.append(Sensitivity(change, off, float(ranks)))
    return tuple(found) or None


def _mean_and_precision(
    decoder: Decoder,
) -> tuple[Callable[[torch.Tensor], torch.Tensor], RBFPrecision] | None:
    """Parts of a Gaussian decoder with a precision; None of other decoders."""
    source = decoder.source
    if not isinstance(source, GaussianDecoder) or not isinstance(source.std, RBFPrecision):
        return None
    if decoder.output is not None or callable(decoder.likelihood):
        return None
    return source.mean, source.std


def _distances(decoder: Decoder, codes: Floats, start: Ints, end: Ints) -> Floats:
    """Lengths of graph paths between codes, given by their rows."""
    graph = LatentGraph(decoder.immersion(), codes, grid_size=_GRID_SIZE.get(decoder.dim))
    return DecoderGeometry(decoder, graph).graph_lengths(codes[start], codes[end])


def _refits(
    precision: RBFPrecision, codes: Floats, random_state: np.random.RandomState
) -> Iterator[tuple[str, RBFPrecision]]:
    """Yield networks of other widths and numbers of centres, with their names.

    The present variances at the codes stand for squared residuals: at the present a and K they are
    fitted exactly, so that all that changes is due to a or K.
    """
    z = torch.as_tensor(codes).to(precision.centers)
    with torch.no_grad():
        variances = 1.0 / precision(z)
    for factor in _FACTORS:
        yield f"a x {factor}", _rescaled(precision, z, variances, factor)
    a, zeta, n_centers = _width(precision, codes), precision.zeta.item(), len(precision.centers)
    for name, n in (("K / 2", max(1, n_centers // 2)), ("K x 2", min(2 * n_centers, len(z)))):
        refit = RBFPrecision.fit(
            z, variances, n_centers=n, a=a, zeta=zeta, tol=_REFIT_TOL, random_state=random_state
        )
        yield name, refit


def _rescaled(
    precision: RBFPrecision, z: torch.Tensor, variances: torch.Tensor, factor: float
) -> RBFPrecision:
    """Make kernels wider or narrower, and learn their weights by maximum likelihood."""
    lambdas = precision.lambdas / factor**2
    kernels = torch.exp(-lambdas * torch.cdist(z, precision.centers) ** 2)
    # Narrow kernels far from the codes have no say.
    used = kernels.mean(dim=0) > 2.0 * torch.finfo(kernels.dtype).eps
    zeta = precision.zeta.item()
    weights = maximum_likelihood_weights(
        kernels[:, used], variances, zeta, tol=_REFIT_TOL, max_iter=_REFIT_MAX_ITER
    )
    return RBFPrecision(precision.centers[used], lambdas[used], weights, zeta)


def _width(precision: RBFPrecision, codes: Floats) -> float:
    """Estimate the a of a network: its widths in units of the radii of its clusters."""
    centers, lambdas = (
        part.detach().cpu().double() for part in (precision.centers, precision.lambdas)
    )
    distance, label = cKDTree(centers.numpy()).query(codes)
    count = np.bincount(label, minlength=len(centers))
    radius = np.bincount(label, distance, minlength=len(count)) / np.maximum(count, 1)
    widths = 1.0 / np.sqrt(2.0 * lambdas.numpy())
    filled = (count > 2) & (radius > 0.0)
    return float(np.median(widths[filled] / radius[filled])) if filled.any() else 1.0
