"""geomstats' own estimators on the latent space of the digits; also run as a script.

Run: ``python estimators_of_geomstats.py CODES.npy RESULTS.npz``, on the backend of the environment.
"""

import sys

import geomstats.backend as gs
import numpy as np
import sklearn
from geomstats.learning.frechet_mean import FrechetMean
from geomstats.learning.kmeans import RiemannianKMeans
from geomstats.learning.pca import TangentPCA


def run(space, codes):
    """Mean, logs, clusters and principal components of codes, the second half of another class."""
    z = gs.from_numpy(codes)
    mean = FrechetMean(space).set(max_iter=4).fit(z).estimate_
    logs = gs.to_numpy(space.metric.log(z, mean))
    kmeans = RiemannianKMeans(space, n_clusters=2, max_iter=2)
    kmeans.init = z[[0, len(z) // 2]]
    kmeans.mean_estimator.set(max_iter=2)  # of each center; geomstats takes up to 100
    kmeans.fit(z)
    # Without it scikit-learn's svd_flip fails on geomstats' tensors, for every metric.
    with sklearn.config_context(array_api_dispatch=gs.__name__.endswith("pytorch")):
        pca = TangentPCA(space, n_components=2).fit(z, base_point=mean)
    return {
        "mean": gs.to_numpy(mean),
        "logs": logs,
        "labels": gs.to_numpy(kmeans.labels_),
        "components": gs.to_numpy(pca.components_),
    }


if __name__ == "__main__":
    from geomstats_vae.datasets import load_digits_vae

    np.savez(sys.argv[2], **run(load_digits_vae().latent_space_, np.load(sys.argv[1])))
