"""Tangent vectors: products, norms and transport; functions of a decoder's metric, its methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np
import torch
from geomstats.geometry.riemannian_metric import RiemannianMetric

from geomstats_vae.geodesics import GeodesicStatus
from geomstats_vae.geodesics.flow.exponential import ExponentialStatus
from geomstats_vae.geometry import local
from geomstats_vae.manifolds.arrays import (
    USES_TORCH,
    Array,
    Origin,
    common_type,
    enter_tensors,
    to_backend,
)


def inner_product(
    metric: Any, tangent_vec_a: Array, tangent_vec_b: Array, base_point: Array
) -> Array:
    """Inner product of tangent vectors.

    Parameters
    ----------
    tangent_vec_a, tangent_vec_b : array-like, shape=[..., dim]
        Tangent vectors at the base points. Results are NaN where they are NaN.
    base_point : array-like, shape=[..., dim]
        Points in latent space.

    Returns
    -------
    inner_product : array-like, shape=[...]
        Inner products.
    """
    products, _, origin = _products(
        metric, base_point, tangent_vec_a=tangent_vec_a, tangent_vec_b=tangent_vec_b
    )
    return origin.give(products)


def squared_norm(metric: Any, vector: Array, base_point: Array) -> Array:
    """Squared norm of tangent vectors, shape=[...]; see `norm`."""
    products, _, origin = _products(metric, base_point, vector=vector)
    return origin.give(products)


def norm(metric: Any, vector: Array, base_point: Array) -> Array:
    """Norm of tangent vectors, in the units of the data.

    Parameters
    ----------
    vector : array-like, shape=[..., dim]
        Tangent vectors at the base points. Results are NaN where they are NaN.
    base_point : array-like, shape=[..., dim]
        Points in latent space.

    Returns
    -------
    norm : array-like, shape=[...]
        Norms. At the zero vector, where the norm has a kink, its derivative is zero, as that of
        `torch.linalg.norm` is.
    """
    products, _, origin = _products(metric, base_point, vector=vector)
    return origin.give(_root(products))


def normalize(metric: Any, vector: Array, base_point: Array) -> Array:
    """Divide tangent vectors by their norms.

    Parameters
    ----------
    vector : array-like, shape=[..., dim]
        Tangent vectors at the base points. Results are NaN where they are NaN.
    base_point : array-like, shape=[..., dim]
        Points in latent space.

    Returns
    -------
    normalized_vector : array-like, shape=[..., dim]
        Vectors of norm 1. A vector without length, such as the zero vector, stays as it is; its
        derivative is zero.
    """
    products, vectors, origin = _products(metric, base_point, vector=vector)
    length = _root(products)[:, None]
    none = length == 0.0
    unit = vectors[0] / torch.where(none, 1.0, length)
    return origin.give(torch.where(none, vectors[0].detach(), unit))


def _products(
    metric: Any, base_point: Array, **vectors: Array
) -> tuple[torch.Tensor, list[torch.Tensor], Origin]:
    """Inner products of the first vectors with the last, and the vectors, as float64 rows."""
    dim, device = metric._space.dim, metric.decoder.device
    (*tensors, _), origin = enter_tensors(
        dim, device, may_be_nan=tuple(vectors), **vectors, base_points=base_point
    )
    # The metric is evaluated once at a base point that many vectors share.
    (z,), base = enter_tensors(dim, device, base_points=base_point)
    with origin.recording():
        matrix = local.evaluate(local.metric_matrix, metric.geometry.immersion(z.device), z)
        matrix = matrix.reshape(*base.batch_shape, dim, dim)
        matrix = matrix.expand(*origin.batch_shape, dim, dim).reshape(-1, dim, dim)
        return torch.einsum("ni,nij,nj->n", tensors[0], matrix, tensors[-1]), tensors, origin


def _root(squares: torch.Tensor) -> torch.Tensor:
    """Square roots; at zero, and below it by rounding, they and their derivatives are zero."""
    none = squares <= 0.0
    return torch.where(none, 0.0, torch.where(none, 1.0, squares).sqrt())


def parallel_transport(
    metric: Any,
    tangent_vec: Array,
    base_point: Array,
    direction: Array = None,
    end_point: Array = None,
) -> Array:
    """Parallel transport of tangent vectors along geodesics.

    Parameters
    ----------
    tangent_vec : array-like, shape=[..., dim]
        Tangent vectors at the base points.
    base_point : array-like, shape=[..., dim]
        Points to transport from.
    direction : array-like, shape=[..., dim], optional
        Initial velocities of the geodesics; they are followed for unit time.
    end_point : array-like, shape=[..., dim], optional
        Points to transport to, along the geodesics that `log` finds, instead of directions.

    Returns
    -------
    transported : array-like, shape=[..., dim]
        Tangent vectors at the ends. Inner products are kept to rounding, directions to about
        the tolerance of ``exponential``; see `DecoderGeometry.transports_between`. Not
        differentiable.

    Raises
    ------
    ValueError
        Unless exactly one of direction and end_point is given.
    """
    if (direction is None) == (end_point is None):
        raise ValueError(
            "Expected either direction or end_point, got "
            f"{'neither' if direction is None else 'both'}; pass one."
        )
    arrays = {"tangent_vectors": tangent_vec, "base_points": base_point}
    if end_point is None:
        arrays["directions"] = direction
    else:
        arrays["end_points"] = end_point
    (vector, base, other), origin = metric._enter(**arrays)
    with origin.recording():
        if end_point is None:
            transport, status = metric.geometry.transports(base, other)
        else:
            transport, status, path_status = metric.geometry.transports_between(base, other)
    if end_point is not None:
        metric._report(path_status, GeodesicStatus, "geodesics")
    metric._report(status, ExponentialStatus, "exponentials")
    moved = np.einsum("nij,nj->ni", transport, vector)
    return replace(origin, requires_grad=False).give(moved)


def curvature_derivative(
    metric: Any,
    tangent_vec_a: Array,
    tangent_vec_b: Array,
    tangent_vec_c: Array,
    tangent_vec_d: Array,
    base_point: Array,
) -> Array:
    r"""Covariant derivative :math:`(\nabla_H R)(X, Y) Z` of the curvature.

    Parameters
    ----------
    tangent_vec_a : array-like, shape=[..., dim]
        Tangent vectors H along which the curvature is differentiated.
    tangent_vec_b, tangent_vec_c, tangent_vec_d : array-like, shape=[..., dim]
        Tangent vectors X, Y and Z.
    base_point : array-like, shape=[..., dim]
        Points in latent space.

    Returns
    -------
    curvature_derivative : array-like, shape=[..., dim]
        Tangent vectors; NaN where the metric is singular.
    """
    arrays = [base_point, tangent_vec_a, tangent_vec_b, tangent_vec_c, tangent_vec_d]
    (z, *vectors), origin = enter_tensors(
        metric._space.dim, metric.decoder.device, **dict(zip("zHXYZ", arrays, strict=True))
    )
    with origin.recording():
        immersion = metric.geometry.smooth_immersion(z.device)
        return origin.give(local.curvature_derivative(immersion, z, *vectors))


def of_geomstats(name: str) -> Callable[..., Array]:
    """Make a method of one of geomstats' that takes what the other methods take.

    Geomstats calculates with its arguments as they are. Here tensors, with or without a gradient,
    and lists become float64 arrays of the backend before, and results come in their type.

    Parameters
    ----------
    name : str
        Name of a method of `RiemannianMetric`.

    Returns
    -------
    method : callable
        The method.
    """
    inherited = getattr(RiemannianMetric, name)

    @wraps(inherited)
    def method(self: Any, *args: Any, **kwargs: Any) -> Array:
        first = [to_backend(array, "arguments") for array in args]
        named = {key: to_backend(array, key) for key, array in kwargs.items()}
        if not USES_TORCH:
            return inherited(self, *first, **named)
        dtype = common_type([*first, *named.values()])
        wide = {key: array.double() for key, array in named.items()}
        return inherited(self, *(array.double() for array in first), **wide).to(dtype)

    return method
