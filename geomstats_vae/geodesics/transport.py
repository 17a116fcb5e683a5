"""Parallel transport along geodesics, as isometries between tangent spaces."""

from __future__ import annotations

import torch


def nearest_isometry(transport, metric, end_metric):
    """Isometries nearest to linear maps between tangent spaces.

    Parallel transport keeps inner products; an integrator keeps them to its tolerance. In
    orthonormal frames the map is an orthogonal matrix but for that error, and its polar factor is
    the orthogonal matrix nearest to it.

    Parameters
    ----------
    transport : torch.Tensor, shape=[n, dim, dim]
        Maps from tangent spaces to others, in coordinates.
    metric, end_metric : torch.Tensor, shape=[n, dim, dim]
        Metric matrices at the starts and at the ends.

    Returns
    -------
    isometry : torch.Tensor, shape=[n, dim, dim]
        Maps P with P' end_metric P = metric; NaN where a metric is not positive definite.
    """
    start, start_info = torch.linalg.cholesky_ex(metric)
    end, end_info = torch.linalg.cholesky_ex(end_metric)
    # With M = L L' the columns of L'^-1 are orthonormal.
    framed = end.mT @ torch.linalg.solve_triangular(start, transport.mT, upper=False).mT
    sound = (start_info == 0) & (end_info == 0) & framed.isfinite().all(dim=(1, 2))
    u, _, vh = torch.linalg.svd(torch.where(sound[:, None, None], framed, 0.0))
    rotation = torch.where(sound[:, None, None], u @ vh, torch.nan)
    return torch.linalg.solve_triangular(end.mT, rotation @ start.mT, upper=True)
