"""scikit-learn estimators on any geomstats space whose points are vectors."""

from geomstats_vae.estimators.kmeans import GeodesicKMeans

__all__ = ["GeodesicKMeans"]
