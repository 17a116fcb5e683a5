r"""What a diffusion needs to know of a metric: a frame, and the drift of Brownian motion.

With the columns s_a of a root of M^{-1}, :math:`M^{-1} = \sum_a s_a s_a'`, half the
Laplace-Beltrami operator is the generator of

.. math:: dz = \tfrac12 \sum_a a(z, s_a) dt + \sum_a s_a dW_a, \quad a(z, v) = -\Gamma(v, v),

in Ito's form ([1]_, example 3.3.5): the drift is the mean of the accelerations that the
exponential map integrates. For an immersion F both come from its first and second derivatives,
for :math:`M(\Gamma(v, w), u) = \langle d^2F(v, w), dF(u) \rangle`.

References
----------
.. [1] Hsu. "Stochastic Analysis on Manifolds." American Mathematical Society 2002.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch

from geomstats_vae.geodesics.flow.exponential import ExponentialStatus
from geomstats_vae.geometry import local
from geomstats_vae.immersions.immersion import gram
from geomstats_vae.manifolds.arrays import to_array, to_tensor
from geomstats_vae.manifolds.rows import decoder_metric

# Geodesics of a step are followed far more exactly than the walk in steps follows the motion.
_STEP_RTOL = 1e-5
# Outputs of points that are evaluated at once, about: more take memory, fewer take time.
_CHUNK_ENTRIES = 2**18


class Coefficients(NamedTuple):
    """A metric at points; NaN where it is singular or not finite.

    Parameters
    ----------
    root : torch.Tensor, shape=[n_points, dim, dim]
        Columns s_a, an orthonormal frame: M^{-1} = root root'.
    drift : torch.Tensor, shape=[n_points, dim]
        Drift of Brownian motion, -1/2 sum_a Gamma(s_a, s_a).
    log_volume : torch.Tensor, shape=[n_points]
        Logarithm of sqrt(det M).
    roughness : torch.Tensor, shape=[n_points]
        sum_abc (Gamma^c_ab)^2 in the frame, in units of one over squared distance. Over a distance
        r the metric changes by about r sqrt(roughness), relative to itself.
    """

    root: torch.Tensor
    drift: torch.Tensor
    log_volume: torch.Tensor
    roughness: torch.Tensor

    @property
    def regular(self):
        """Whether the metric is regular, shape=[n_points]."""
        return self.root.isfinite().all(2).all(1) & self.drift.isfinite().all(1)

    def take(self, rows):
        """Coefficients at some of the points, by a mask or by indices."""
        return Coefficients(*(part[rows] for part in self))


def from_symbols(metric, symbols):
    """Compute coefficients.

    Parameters
    ----------
    metric : torch.Tensor, shape=[n_points, dim, dim]
        Metric matrices.
    symbols : torch.Tensor, shape=[n_points, dim, dim, dim]
        Christoffel symbols of the first kind, M(Gamma(e_i, e_j), e_k), the index k first.

    Returns
    -------
    coefficients : Coefficients
        Coefficients at the points.
    """
    n, dim, _ = metric.shape
    factor, info = torch.linalg.cholesky_ex(metric)
    eye = torch.eye(dim, dtype=metric.dtype, device=metric.device)
    root = torch.linalg.solve_triangular(factor.mT, eye.expand_as(metric), upper=True)
    root = torch.where((info == 0)[:, None, None], root, torch.nan)
    half = (symbols.reshape(n, -1, dim) @ root).view(n, dim, dim, dim)  # k, i, b
    framed = (half.transpose(2, 3).reshape(n, -1, dim) @ root).view(n, dim, -1)  # k, b a
    framed = root.mT @ framed
    bend = framed[:, :, :: dim + 1].sum(2, keepdim=True)
    return Coefficients(
        root=root,
        drift=-0.5 * (root @ bend)[:, :, 0],
        log_volume=factor.diagonal(dim1=1, dim2=2).log().sum(1),
        roughness=framed.square().sum((1, 2)),
    )


class DecoderGeometry:
    """Coefficients and geodesics of a decoder's metric.

    Parameters
    ----------
    metric : PullbackDecoderMetric
        The metric.
    device : torch.device
        Where the walkers are.
    """

    def __init__(self, metric, device):
        # Lengths and connection are the same with fewer outputs.
        self.immersion = metric.decoder.immersion(device=device).condensed()
        probe = torch.zeros(1, self.immersion.dim, dtype=torch.float64, device=device)
        n_outputs = self.immersion(probe).shape[1]
        self.chunk_size = max(local.CHUNK_SIZE, _CHUNK_ENTRIES // n_outputs)
        self.exponential = replace(
            metric.exponential,
            rtol=max(_STEP_RTOL, metric.exponential.rtol),
            chunk_size=self.chunk_size,
        )

    def coefficients(self, z):
        """Coefficients at points, shape=[n_points, dim]."""
        chunks = [self._coefficients(part) for part in z.split(self.chunk_size)]
        if len(chunks) == 1:
            return chunks[0]
        return Coefficients(*(torch.cat(parts) for parts in zip(*chunks, strict=True)))

    def _coefficients(self, z):
        jet = self.immersion.jet(z)
        symbols = torch.stack([jet.hessian(tangent) for tangent in jet.tangents.unbind(1)], dim=1)
        return from_symbols(gram(jet.tangents), symbols)

    def metric(self, z):
        """Metric matrices at points, shape=[n_points, dim, dim]."""
        return local.evaluate(local.metric_matrix, self.immersion, z)

    def exp(self, z, v):
        """Follow geodesics; returns their ends, and whether they were reached, shape=[n_points]."""
        result = self.exponential.solve(self.immersion, z, v)
        return result.point, result.status == ExponentialStatus.CONVERGED


class ArrayGeometry:
    """Coefficients and geodesics of any metric of geomstats, in intrinsic coordinates.

    Parameters
    ----------
    metric : RiemannianMetric
        A metric with `metric_matrix`, `christoffels`, and `exp` for geodesic walks.
    """

    def __init__(self, metric):
        self._metric = metric

    def coefficients(self, z):
        """Coefficients; see `DecoderGeometry`."""
        metric = self.metric(z)
        gamma = self._evaluate("christoffels", z, 3)
        return from_symbols(metric, (metric @ gamma.flatten(2)).view_as(gamma))

    def metric(self, z):
        """Metric matrices; see `DecoderGeometry`."""
        return self._evaluate("metric_matrix", z, 2)

    def _evaluate(self, name, z, order):
        values = to_tensor(getattr(self._metric, name)(to_array(z)), name).to(z)
        shape = (len(z), *(z.shape[1],) * order)
        if values.shape not in (shape, shape[1:]):
            raise ValueError(
                f"Expected {name} in intrinsic coordinates, shape {list(shape)}, got "
                f"{list(values.shape)} from {type(self._metric).__name__}; walks need coordinates."
            )
        return values.expand(shape)  # a constant metric may come without its batch

    def exp(self, z, v):
        """Follow geodesics; see `DecoderGeometry`."""
        point = to_tensor(self._metric.exp(to_array(v), to_array(z)), "exp").to(z)
        return point, point.isfinite().all(1)


def resolve_geometry(space, device):
    """Choose how the geometry of a space is computed.

    Parameters
    ----------
    space : Manifold
        Equipped space in intrinsic coordinates.
    device : torch.device
        Where the walkers are.

    Returns
    -------
    geometry : DecoderGeometry or ArrayGeometry
        Coefficients and geodesics, on tensors.
    scale : float
        Factor of the space's metric tensor over that of the geometry: a walk on the space is one
        in the geometry whose time is divided by it.
    """
    metric, factor = decoder_metric(space.metric)
    if metric is None:
        return ArrayGeometry(space.metric), 1.0
    return DecoderGeometry(metric, device), factor**2
