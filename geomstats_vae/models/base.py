"""Methods of any fitted model with an encoder and a Gaussian decoder, or an ensemble of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted

from geomstats_vae.immersions.ensemble import EnsembleDecoder
from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.manifolds import Interpolation, LatentSpace
from geomstats_vae.models.networks import Encoder
from geomstats_vae.models.objectives import gaussian_log_density, kl_divergence
from geomstats_vae.models.validation import check_rows, validate_rows

# Nodes per row in the expectation of the ELBO, and entries of the largest temporary array there.
_MIN_ELBO_NODES, _ELBO_NODES_PER_DIM = 32, 4
_ENTRIES_PER_BATCH = 2**22


class LatentVariableModel(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base of estimators whose `fit` sets an encoder, a Gaussian decoder and codes.

    The decoder may be an ensemble of Gaussian decoders: then it is their mixture.

    Subclasses set ``latent_dim``, ``encoder_``, ``decoder_`` and ``codes_``, and ``_latent_space``
    back to None.
    """

    latent_dim: int
    encoder_: Encoder
    decoder_: GaussianDecoder | EnsembleDecoder
    codes_: NDArray[np.float64]
    _latent_space: LatentSpace | None = None

    @property
    def _n_features_out(self) -> int:
        return self.latent_dim

    @property
    def _decoders(self) -> tuple[GaussianDecoder, ...]:
        """The Gaussian decoders: the members of an ensemble, or the one that there is."""
        decoder = self.decoder_
        return decoder.members if isinstance(decoder, EnsembleDecoder) else (decoder,)

    @property
    def latent_space_(self) -> LatentSpace:
        """The latent space as a geomstats manifold with the decoder's pullback metric.

        Returns
        -------
        latent_space : geomstats_vae.manifolds.LatentSpace
            Built once, with `codes_` as starting points of its searches.
        """
        check_is_fitted(self, "decoder_")
        if self._latent_space is None:
            self._latent_space = LatentSpace(self.decoder_, self.latent_dim, points=self.codes_)
        return self._latent_space

    def __getstate__(self) -> dict[str, Any]:
        """Leave the latent space out: it is rebuilt on demand."""
        state = super().__getstate__()
        return {**state, "_latent_space": None} if "_latent_space" in state else state

    @torch.no_grad()
    def transform(self, X: ArrayLike) -> np.ndarray:
        """Encode data as the means of the encoder's distributions.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Data.

        Returns
        -------
        codes : numpy.ndarray, shape=[n_samples, latent_dim]
            Latent codes.
        """
        check_is_fitted(self, "decoder_")
        X = validate_rows(self, X, dtype=[np.float64, np.float32], reset=False)
        mean, _ = self.encoder_(torch.tensor(X, dtype=torch.float64))
        return mean.numpy().astype(X.dtype, copy=False)

    @torch.no_grad()
    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Decode latent codes as the mean of the decoder's distributions.

        The mean of an ensemble is that over its decoders.

        Parameters
        ----------
        X : array-like, shape=[n_samples, latent_dim]
            Latent codes.

        Returns
        -------
        X_original : numpy.ndarray, shape=[n_samples, n_features]
            Data.

        Raises
        ------
        ValueError
            If the codes are not finite or their last dimension is not `latent_dim`.
        """
        check_is_fitted(self, "decoder_")
        codes = check_rows(X, dtype=[np.float64, np.float32], ensure_min_samples=0)
        if codes.shape[1] != self.latent_dim:
            raise ValueError(
                f"Expected latent codes of shape [n_samples, {self.latent_dim}], got "
                f"{list(codes.shape)}; pass latent codes, not data."
            )
        mean = self.decoder_.mean(torch.tensor(codes, dtype=torch.float64))
        return mean.numpy().astype(codes.dtype, copy=False)

    def encode(self, X: ArrayLike) -> np.ndarray:
        """Encode data as `transform` does, in any batch shape.

        Parameters
        ----------
        X : array-like, shape=[..., n_features]
            Data.

        Returns
        -------
        codes : numpy.ndarray, shape=[..., latent_dim]
            Means of the encoder's distributions.
        """
        return _by_rows(self.transform, X)

    def decode(self, codes: ArrayLike) -> np.ndarray:
        """Decode latent codes as `inverse_transform` does, in any batch shape.

        Parameters
        ----------
        codes : array-like, shape=[..., latent_dim]
            Latent codes.

        Returns
        -------
        X : numpy.ndarray, shape=[..., n_features]
            Means of the decoder's distributions.
        """
        return _by_rows(self.inverse_transform, codes)

    def reconstruct(self, X: ArrayLike) -> np.ndarray:
        """Decode the codes of data: what the model keeps of them.

        Parameters
        ----------
        X : array-like, shape=[..., n_features]
            Data.

        Returns
        -------
        reconstruction : numpy.ndarray, shape=[..., n_features]
            ``decode(encode(X))``.
        """
        return self.decode(self.encode(X))

    def interpolate(
        self, code_a: ArrayLike, code_b: ArrayLike, n_points: int = 10, *, verbose: bool = False
    ) -> Interpolation:
        """Go from some codes to others along geodesics of the latent space.

        Parameters
        ----------
        code_a, code_b : array-like, shape=[..., latent_dim]
            Latent codes, such as ``encode(X[0])``; not data.
        n_points : int
            Number of codes, both ends among them.
        verbose : bool
            Show a progress bar, in pairs.

        Returns
        -------
        interpolation : Interpolation
            ``codes``, ``decoded`` and ``path``, as of `LatentSpace.interpolate`.
        """
        return self.latent_space_.interpolate(code_a, code_b, n_points, verbose=verbose)

    @torch.no_grad()
    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Evaluate the evidence lower bound (ELBO) of each sample.

        E_q [log p(x | z)] - KL(q(z | x) | N(0, I)), with the decoder's mean and RBF standard
        deviation. The density p(x | z) of an ensemble is the mean of those of its decoders. The
        expectation is the average over max(32, 4 * latent_dim) scrambled Sobol points, moved to
        mean zero and covariance one, then to the encoder's distribution. They are the same for all
        samples: equal rows have equal scores.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Data.

        Returns
        -------
        elbo : numpy.ndarray, shape=[n_samples]
            Lower bounds on the log density of the data, in nats, for Lebesgue measure in data
            units.
        """
        check_is_fitted(self, "decoder_")
        X = validate_rows(self, X, dtype=[np.float64, np.float32], reset=False)
        n_nodes = max(_MIN_ELBO_NODES, _ELBO_NODES_PER_DIM * self.latent_dim)
        nodes = _normal_nodes(n_nodes, self.latent_dim)
        batch_size = max(1, _ENTRIES_PER_BATCH // (n_nodes * X.shape[1]))
        batches = [
            self._elbo(torch.tensor(X[rows], dtype=torch.float64), nodes)
            for rows in gen_batches(len(X), batch_size)
        ]
        return torch.cat(batches).numpy()

    def _elbo(self, x: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
        code_mean, code_std = self.encoder_(x)
        z = code_mean + code_std * nodes[:, None, :]
        densities = []
        for decoder in self._decoders:
            mean, std = decoder(z)
            densities.append(gaussian_log_density((x - mean) ** 2, std))
        mixture = torch.logsumexp(torch.stack(densities), dim=0) - math.log(len(densities))
        log_density = mixture.mean(dim=0)
        return log_density - kl_divergence(code_mean, code_std).sum(dim=1)

    def score(self, X: ArrayLike, y: None = None) -> float:
        """Average the evidence lower bound over samples; see `score_samples`.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Data.
        y : None
            Ignored.

        Returns
        -------
        elbo : float
            Mean lower bound on the log density, in nats per sample.
        """
        return float(self.score_samples(X).mean())

    @torch.no_grad()
    def sample(
        self, n_samples: int = 1, *, random_state: int | np.random.RandomState | None = None
    ) -> NDArray[np.float64]:
        """Draw data from the model: codes from the prior, then data from the decoder.

        Of an ensemble, one of the decoders is drawn for each sample.

        Parameters
        ----------
        n_samples : int
            Number of samples, at least one.
        random_state : int, numpy.random.RandomState or None
            Source of the samples.

        Returns
        -------
        X : numpy.ndarray, shape=[n_samples, n_features]
            Samples with the decoder's noise. Decode codes with `inverse_transform` for the means.
        """
        check_is_fitted(self, "decoder_")
        if n_samples < 1:
            raise ValueError(f"Expected n_samples >= 1, got {n_samples}; ask for one or more.")
        rng = check_random_state(random_state)
        codes = rng.standard_normal((n_samples, self.latent_dim))
        noise = rng.standard_normal((n_samples, self.n_features_in_))
        X, chosen = np.empty_like(noise), rng.randint(len(self._decoders), size=n_samples)
        for k, decoder in enumerate(self._decoders):
            mean, std = decoder(torch.as_tensor(codes[chosen == k]))
            X[chosen == k] = mean.numpy() + std.numpy() * noise[chosen == k]
        return X


def _by_rows(function: Callable[[Any], np.ndarray], array: ArrayLike) -> np.ndarray:
    """Apply a function of rows to arrays of any batch shape, and to tables as they are."""
    shape = np.shape(array)
    if len(shape) == 2 or not shape:
        return function(array)
    rows = np.asarray(array).reshape(-1, shape[-1])
    return function(rows).reshape(*shape[:-1], -1)


def _normal_nodes(n_nodes: int, dim: int) -> torch.Tensor:
    """Quasi-random points of the standard normal distribution, shape=[n_nodes, dim]."""
    sobol = torch.quasirandom.SobolEngine(dim, scramble=True, seed=0)
    uniform = sobol.draw(n_nodes, dtype=torch.float64)
    margin = torch.finfo(torch.float32).eps
    nodes = torch.special.ndtri(uniform.clamp(margin, 1.0 - margin))
    # With the exact mean and covariance, quadratic functions are averaged exactly.
    nodes = nodes - nodes.mean(dim=0)
    factor = torch.linalg.cholesky(nodes.T @ nodes / n_nodes)
    return torch.linalg.solve_triangular(factor, nodes.T, upper=False).T
