"""scikit-learn estimators on any geomstats space whose points are vectors."""

from geomstats_vae.estimators.frechet_mean import FrechetMean
from geomstats_vae.estimators.kmeans import GeodesicKMeans
from geomstats_vae.estimators.land import LAND
from geomstats_vae.estimators.tangent_pca import TangentPCA

__all__ = ["LAND", "FrechetMean", "GeodesicKMeans", "TangentPCA"]
