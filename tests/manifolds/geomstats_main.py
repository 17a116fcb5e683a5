"""A double of geomstats' main branch: the release, changed to what is different there.

Main is not on the package index. What it has changed is told by its pull requests: "Add
equip_with_connection" gives every space a connection, which for a metric is a view of those of its
methods that connections have, and has the geodesic solvers ask it; "Remove backend unnecessary
functions" and "Add ravel_multi_index" take functions away; "Update gs.transpose" leaves one
argument, of which the last two axes are swapped; `trapezoid` is named after numpy's. There a
`RiemannianMetric` still is a `Connection`.

As a pytest plugin, ``-p tests.manifolds.geomstats_main``, the double is in place before tests are
collected. On main itself nothing happens.
"""

import os
import sys
import types

import geomstats.backend as gs
import numpy as np
import sklearn
from geomstats.geometry.connection import Connection
from geomstats.geometry.manifold import Manifold
from geomstats.numerics import geodesic

REMOVED = {"assignment", "assignment_by_sum", "get_slice", "one_hot", "ravel_tril_indices", "trapz"}
# What the view shows; solvers with Jacobians also ask for the last of these.
VISIBLE = {name for name in vars(Connection) if not name.startswith("_")} | {
    "jacobian_christoffels"
}


def is_main():
    return hasattr(Manifold, "equip_with_connection")


def pytest_configure():
    if not is_main():
        become_main()


def become_main():
    on_torch = gs.__name__.endswith("pytorch")
    if on_torch and os.environ.get("SCIPY_ARRAY_API") != "1":
        raise RuntimeError("main needs SCIPY_ARRAY_API=1 under pytorch, set before scipy starts")
    # Main's estimators do so for good.
    sklearn.set_config(array_api_dispatch=on_torch)
    _change_backend()
    _give_spaces_connections()
    for solver in (geodesic.ExpODESolver, geodesic.LogODESolver, geodesic._LogShootingSolver):
        solver._space = SpaceOfSolver()


# -- backend -----------------------------------------------------------------------------------


class Backend(types.ModuleType):
    """What differs, by who asks: the release's own modules are written for its functions."""

    def __getattr__(self, name):
        asks = sys._getframe(1).f_globals.get("__name__", "")
        names = self._of_release if asks.partition(".")[0] == "geomstats" else self._of_main
        if name not in names:
            raise AttributeError(f"gs.{name} is not in geomstats' main branch")
        return names[name]


def transpose(x):
    return gs.moveaxis(x, -1, -2) if gs.ndim(x) > 1 else x


def trapezoid(y, x=None, dx=1.0, axis=-1):
    y = gs.moveaxis(y, axis, -1)
    widths = dx if x is None else x[..., 1:] - x[..., :-1]
    return gs.sum(widths * (y[..., 1:] + y[..., :-1]), axis=-1) / 2.0


def permute_dims(x, axes):
    return gs._of_release["transpose"](x, axes)


def ravel_multi_index(multi_index, dims):
    return gs.from_numpy(np.ravel_multi_index([gs.to_numpy(index) for index in multi_index], dims))


def _change_backend():
    gs._of_release = {name: gs.__dict__.pop(name) for name in REMOVED | {"transpose"}}
    gs._of_main = {"transpose": transpose}
    gs.asarray, gs.trapezoid = gs.array, trapezoid
    gs.permute_dims, gs.ravel_multi_index = permute_dims, ravel_multi_index
    gs.__class__ = Backend


# -- connections -------------------------------------------------------------------------------


class ConnectionFromMetric:
    """The methods of a metric that every connection has."""

    def __init__(self, metric):
        self._metric = metric

    def __getattr__(self, name):
        if name not in VISIBLE:
            raise AttributeError(f"a connection has no {name}")
        return getattr(self._metric, name)


def _give_spaces_connections():
    equip = Manifold.equip_with_metric

    def equip_with_metric(self, Metric=None, **metric_kwargs):
        equip(self, Metric, **metric_kwargs)
        self.connection = ConnectionFromMetric(self.metric)
        return self

    def equip_with_connection(self, Connection, **connection_kwargs):
        if hasattr(self, "metric"):
            raise ValueError("a Riemannian manifold has the connection of its metric")
        self.connection = Connection(self, **connection_kwargs)
        return self

    Manifold.equip_with_metric = equip_with_metric
    Manifold.equip_with_connection = equip_with_connection


class ConnectedSpace:
    """A space with the connection in the metric's place."""

    def __init__(self, space):
        self._space = space

    @property
    def metric(self):
        return self._space.connection

    def __getattr__(self, name):
        return getattr(self._space, name)


class SpaceOfSolver:
    """The attribute of a solver by which it reaches the space: so it asks for the connection."""

    def __set__(self, solver, space):
        solver.__dict__["_space"] = space

    def __get__(self, solver, owner=None):
        return self if solver is None else ConnectedSpace(solver.__dict__["_space"])
