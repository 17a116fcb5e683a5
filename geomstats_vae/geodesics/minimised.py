"""Curves that were shortened."""

from __future__ import annotations

from dataclasses import dataclass

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves


@dataclass(frozen=True)
class Minimised:
    """Curves that were shortened, with what is known of them.

    Parameters
    ----------
    curves : Curves
        The curves.
    length : array, shape=[n_curves]
        Their lengths, measured finely; infinite where the decoder is not finite.
    velocity : array, shape=[n_curves, 2, dim]
        Velocities at the ends.
    residual, length_error : array, shape=[n_curves]
        As of `GeodesicPath`.
    status : array of int, shape=[n_curves]
        Members of `GeodesicStatus`.
    n_iter : array of int, shape=[n_curves]
        Newton steps taken.
    settled : array of bool, shape=[n_curves]
        Whether the residual is as small as the steps aim at, and the curve is on no saddle.
    """

    curves: Curves
    length: Floats
    velocity: Floats
    residual: Floats
    length_error: Floats
    status: Ints
    n_iter: Ints
    settled: Bools

    def take(self, which: Ints) -> Minimised:
        """Take some of the curves."""
        columns = (getattr(self, name)[which] for name in list(self.__dataclass_fields__)[1:])
        return Minimised(self.curves.take(which), *columns)
