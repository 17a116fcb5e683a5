"""What distributions are compared by: their embeddings, and their means and standard deviations.

Distances between distributions are Euclidean distances between their embeddings. Where Fisher-Rao's
metric is flat output by output, the embedding e of a parameter satisfies |de|^2 = Fisher
information, and the pullback by it is the Fisher information of the latent code. Everything else is
embedded as (mean, std), whose pullback is the expected metric of [1]_, Theorem 1.

A new distribution is one entry, in the user's own code::

    @embedding.register
    @constant("scale")
    def _(distribution: torch.distributions.Gumbel) -> torch.Tensor:
        return distribution.loc / distribution.scale

References
----------
.. [1] Arvanitidis, Hansen, Hauberg. "Latent Space Oddity: on the Curvature of Deep Generative
   Models." ICLR 2018. arXiv:1710.11379.
"""

from geomstats_vae.immersions.likelihoods import continuous, discrete
from geomstats_vae.immersions.likelihoods.registry import (
    approximation,
    constant,
    constants,
    embedding,
    mean_std,
)

__all__ = [
    "approximation",
    "constant",
    "constants",
    "continuous",
    "discrete",
    "embedding",
    "mean_std",
]
