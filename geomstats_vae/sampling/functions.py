"""Functions of points that users write: they get arrays of the backend, and return such."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from geomstats_vae.geometry.protocol import Bools, Floats
from geomstats_vae.manifolds.arrays import Array, to_array, to_backend, to_host

PointFunction = Callable[[Array], Any]


def real_values(
    function: PointFunction,
    name: str,
    points: Floats,
    shape: tuple[int, ...],
    device: torch.device | None,
) -> Floats:
    """Evaluate a function with real values.

    Parameters
    ----------
    function : callable
        Takes points, an array of the backend, shape=[n_points, dim].
    name : str
        What messages call it.
    points : numpy.ndarray, shape=[n_points, dim]
        Points.
    shape : tuple of int
        Shape that it has to return.
    device : torch.device or None
        Where it gets the points, under pytorch.

    Returns
    -------
    values : numpy.ndarray
        What it returned, in float64.

    Raises
    ------
    ValueError
        If these are no real numbers, or have another shape.
    """
    values = to_host(to_backend(function(to_array(points, device)), name))
    if values.shape != shape:
        raise ValueError(
            f"Expected {name} to return shape {list(shape)} for points of shape "
            f"{list(points.shape)}, got {list(values.shape)}; return one row per point."
        )
    return values


def truth_values(
    function: PointFunction, name: str, points: Floats, device: torch.device | None
) -> Bools:
    """Evaluate a function that is true or false of each point.

    Parameters
    ----------
    function : callable
        Takes points, an array of the backend, shape=[n_points, dim].
    name : str
        What messages call it.
    points : numpy.ndarray, shape=[n_points, dim]
        Points.
    device : torch.device or None
        Where it gets the points, under pytorch.

    Returns
    -------
    values : numpy.ndarray of bool, shape=[n_points]
        What it returned.

    Raises
    ------
    ValueError
        If these are no booleans, or not one for each point.
    """
    answer = function(to_array(points, device))
    values = np.asarray(answer.cpu() if isinstance(answer, torch.Tensor) else answer)
    if values.dtype != bool or values.shape != points.shape[:1]:
        raise ValueError(
            f"Expected {name} to return booleans of shape [{len(points)}], got {values.dtype} of "
            f"shape {list(values.shape)}; return one for every row."
        )
    return values
