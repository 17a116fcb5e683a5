"""An open benchmark of solvers for geodesics of decoders: error against time, and honesty.

Run: ``make bench``, or with the folder of benchmarks on the path of modules::

    GEOMSTATS_BACKEND=pytorch OMP_NUM_THREADS=1 PYTHONPATH=benchmarks python -m geodesic_bench

Seven small trained decoders lie in ``decoders/``, each with 100 pairs of codes and the lengths of
the shortest curves known; ``build.py`` makes them anew. A solver is one file in ``solvers/``.
"""
