"""Principal components of the logarithms at a mean, ranked by the metric."""

from __future__ import annotations

from typing import Any

import geomstats.backend as gs
import geomstats.learning.pca as geomstats_pca
import numpy as np
import sklearn
from sklearn.utils.validation import check_is_fitted

from geomstats_vae.estimators.frechet_mean import FrechetMean
from geomstats_vae.manifolds.arrays import USES_TORCH, Array, to_backend, to_host
from geomstats_vae.manifolds.geometries import geometry_of
from geomstats_vae.volume.frames import TangentFrame, frame_at


class TangentPCA(geomstats_pca.TangentPCA):
    """Tangent principal component analysis, in the metric at the base point.

    Logarithms of the data at their Frechet mean are decomposed ([1]_, section III). geomstats'
    class decomposes their coordinates: of data whose metric is dx^2 + 10^4 dy^2 it calls x the
    first component where y varies less in coordinates and more in length. Here the logarithms are
    first put in an orthonormal frame of the base point's metric, v -> L'v with M = L L', and the
    components are taken back, so that no change of coordinates changes them.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Equipped space.
    n_components : int, float, 'mle' or None
        Number of components, or the share of the variance that they explain.
    max_seconds : float, optional
        Seconds after which `fit` takes the best Frechet mean that it has and warns; the logarithms
        at it are found after that, within the limits of the metric's solver. Of spaces whose points
        are vectors.
    verbose : int
        Show the progress bar of the Frechet mean.
    **options : dict
        Options of geomstats' class, which it ignores too.

    Attributes
    ----------
    components_ : array-like, shape=[n_components, dim]
        Tangent vectors at the base point, orthonormal in its metric: directions of the largest
        variance, in coordinates of the space.
    explained_variance_ : array-like, shape=[n_components]
        Variance along each, in squared units of distance.
    explained_variance_ratio_ : array-like, shape=[n_components]
        Its share of the variance of the logarithms.
    singular_values_, noise_variance_, n_components_ : array-like, float, int
        As of `sklearn.decomposition.PCA`.
    mean_ : array-like, shape=[dim]
        Mean of the logarithms: zero at the Frechet mean.
    base_point_ : array-like, shape=[dim]
        The base point.
    mean_estimator : FrechetMean
        Finds the base point if none is given.

    See Also
    --------
    geomstats.learning.pca.TangentPCA : By coordinates; also for spaces whose points are matrices,
        and for groups without a metric, where this class does the same.

    Notes
    -----
    Two runs on the same space differ in the sign of components at most.
    Equal points have components without variance, whose ratios are zero; a single point is refused.

    References
    ----------
    .. [1] Fletcher, Lu, Pizer, Joshi. "Principal geodesic analysis for the study of nonlinear
       statistics of shape." IEEE Transactions on Medical Imaging 23 (2004), 995-1005.

    Examples
    --------
    >>> import numpy as np
    >>> from geomstats.geometry.poincare_half_space import PoincareHalfSpace
    >>> from geomstats_vae import TangentPCA
    >>> X = np.array([[0.0, 1.0], [0.2, 1.1], [-0.2, 0.9], [0.1, 1.0]])
    >>> pca = TangentPCA(PoincareHalfSpace(2), n_components=1).fit(X)
    >>> pca.inverse_transform(pca.transform(X)).shape
    (4, 2)
    """

    components_: Array
    mean_: Array
    # The frame of the base point, while geomstats' class decomposes coordinates in it.
    _frame: TangentFrame | None = None

    def __init__(
        self,
        space: Any,
        n_components: Any = None,
        *,
        max_seconds: float | None = None,
        verbose: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(space, n_components, **options)
        self.max_seconds, self.verbose = max_seconds, verbose
        if self._has_frames:
            self.mean_estimator = FrechetMean(space)

    @property
    def _has_frames(self) -> bool:
        return hasattr(self.space, "metric") and self.space.point_ndim == 1

    @property
    def _geometry(self) -> Any:
        geometry = super()._geometry
        return geometry if self._frame is None else _InFrame(geometry, self._frame)

    def _fit(self, X: Array, base_point: Array | None = None) -> tuple[Array, Array, Array]:
        if not self._has_frames:
            return self._decompose(X, base_point)
        X = to_backend(X, "points")
        if base_point is None:
            base_point = self._mean(X)
        base_point = to_backend(base_point, "base_point")
        frame = frame_at(geometry_of(self.space), to_host(base_point))
        self._frame = frame
        try:
            left, values, right = self._decompose(X, base_point)
        finally:
            self._frame = None
        basis, self._dual = _like(frame.basis.T, X), _like(frame.dual.T, X)
        self.n_features_ = len(frame.base)
        self.components_ = gs.matmul(self.components_, basis)
        self.mean_ = gs.matmul(self.mean_[None], basis)[0]
        return left, values, right

    def _mean(self, X: Array) -> Array:
        if self.max_seconds is not None:
            self.mean_estimator.set(max_seconds=self.max_seconds)
        if self.verbose:
            self.mean_estimator.set(verbose=self.verbose)
        return self.mean_estimator.fit(X).estimate_

    def _decompose(self, X: Array, base_point: Array | None) -> tuple[Array, Array, Array]:
        if len(X) < 2:
            raise ValueError(
                f"Expected two points or more, got {len(X)}; a single point has no variance."
            )
        # geomstats' class hands tensors to scikit-learn, and divides by the variance of all.
        context = sklearn.config_context(array_api_dispatch=USES_TORCH)
        with context, np.errstate(invalid="ignore"):
            decomposed = super()._fit(X, base_point=base_point)
        if not to_host(self.explained_variance_).any():
            self.explained_variance_ratio_ = 0.0 * self.explained_variance_
        return decomposed

    def transform(self, X: Array, y: Any = None) -> Array:
        """Project points on the components.

        Parameters
        ----------
        X : array-like, shape=[n_samples, dim]
            Points.
        y : None
            Ignored.

        Returns
        -------
        scores : array-like, shape=[n_samples, n_components]
            Inner products of the logarithms, less their mean, with the components.
        """
        check_is_fitted(self, "components_")
        if not self._has_frames:
            return super().transform(X, y)
        logs = self._geometry.log(to_backend(X, "points"), self.base_point_)
        coordinates = gs.matmul(logs - self.mean_, self._dual)
        return gs.matmul(coordinates, gs.transpose(gs.matmul(self.components_, self._dual)))


class _InFrame:
    """Logarithms in coordinates of a frame, which is all that geomstats' decomposition asks for."""

    def __init__(self, metric: Any, frame: TangentFrame) -> None:
        self._metric, self._frame = metric, frame

    def log(self, point: Array, base_point: Array) -> Array:
        """Logarithms, shape=[n_samples, dim]."""
        logs = self._metric.log(point, base_point=base_point)
        return gs.matmul(logs, _like(self._frame.dual.T, logs))


def _like(values: Any, array: Array) -> Array:
    """Array of the backend, of the type and on the device of another."""
    if isinstance(array, np.ndarray):
        return np.array(values)
    return array.new_tensor(values)
