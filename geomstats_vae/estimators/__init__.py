"""scikit-learn estimators on any geomstats space whose points are vectors."""
