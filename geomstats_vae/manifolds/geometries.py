"""The geometry of a space of geomstats: a decoder's own, or that of closed forms."""

from __future__ import annotations

from typing import Any

import geomstats.backend as gs
import numpy as np
from geomstats.geometry.euclidean import Euclidean
from geomstats.geometry.scalar_product_metric import ScalarProductMetric

from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.protocol import Floats
from geomstats_vae.manifolds.closed import ClosedGeometry
from geomstats_vae.manifolds.metric import PullbackDecoderMetric

# Rows may be off a curved space by the rounding of float32.
_OFF_SPACE = 1e-5


def geometry_of(space: Any, **working: Any) -> DecoderGeometry | ClosedGeometry:
    """Take the geometry of a space's metric.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Equipped space whose points are vectors.
    **working : dict
        Fields of `Blocks`: n_jobs, progress ...

    Returns
    -------
    geometry : DecoderGeometry or ClosedGeometry
        That of a decoder's metric, whatever it is scaled by, or of geomstats' exponentials and
        logarithms.
    """
    metric, scale = space.metric, 1.0
    while isinstance(metric, ScalarProductMetric):
        scale *= metric.scale
        metric = metric.underlying_metric
    if isinstance(metric, PullbackDecoderMetric):
        geometry = metric.geometry.working(**working)
        return geometry if scale == 1.0 else geometry.scaled(scale)
    return ClosedGeometry(space).working(**working)


def resolve_space(space: Any, n_features: int) -> Any:
    """Take a space whose points are vectors of some length.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold or None
        Equipped space; None is the Euclidean space.
    n_features : int
        Number of features of the data.

    Returns
    -------
    space : geomstats.geometry.manifold.Manifold
        The same, or a new Euclidean space.

    Raises
    ------
    ValueError
        If the space has no metric, or its points are not vectors of n_features entries.
    """
    if space is None:
        return Euclidean(n_features)
    if not hasattr(space, "metric"):
        raise ValueError(
            f"Expected a space with a metric, got {type(space).__name__} without one; "
            "call space.equip_with_metric first."
        )
    if tuple(space.shape) != (n_features,):
        shape = ", ".join(map(str, space.shape))
        raise ValueError(
            f"Expected points of shape [{shape}] for this {type(space).__name__}, got data with "
            f"{n_features} features; pass points of the space, such as the latent codes "
            "vae.transform(X), not data."
        )
    return space


def check_on_space(space: Any, X: Floats) -> None:
    """Check that rows are points of a space.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Space.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.

    Raises
    ------
    ValueError
        If some row is off the space by more than the rounding of float32.
    """
    belongs = gs.to_numpy(space.belongs(gs.from_numpy(np.array(X)), atol=_OFF_SPACE))
    off = np.flatnonzero(~np.broadcast_to(belongs, len(X)))
    if len(off):
        raise ValueError(
            f"Expected points of {type(space).__name__}, got {len(off)} of {len(X)} rows off it, "
            f"the first of them row {off[0]}; project them with space.projection."
        )
