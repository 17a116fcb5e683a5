"""What geodesics can be asked for beyond their lengths: exact velocities, and minimality."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from geomstats_vae.geodesics import GeodesicPath, local_minima, polish_velocities
from geomstats_vae.geodesics.curves.path import put_paths, take_paths
from geomstats_vae.geodesics.kinked import kink_codes
from geomstats_vae.geodesics.options import KinkOptions
from geomstats_vae.geodesics.polish import PolishOptions
from geomstats_vae.geometry.protocol import Floats, Ints
from geomstats_vae.immersions import Immersion

# Lengths on a smoothed decoder and on the decoder itself may differ by this share.
_KINKS_RTOL = 0.05


def refine_paths(
    immersion: Immersion,
    path: GeodesicPath,
    codes: Floats | None,
    *,
    rtol: float,
    polish: bool | PolishOptions,
    check_minimum: bool,
) -> GeodesicPath:
    """Polish velocities, or tell which geodesics are local minima.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F. Geodesics of a smoothed decoder are looked at on that.
    path : GeodesicPath
        Geodesics as numpy arrays, of batch shape [n_pairs].
    codes : array, shape=[n_codes, dim], or None
        Codes that widths of kinks are relative to.
    rtol : float
        Largest relative change of a length.
    polish : bool or PolishOptions
        Whether to polish, and how.
    check_minimum : bool
        Whether to tell which are local minima.

    Returns
    -------
    path : GeodesicPath
        The same curves.
    """
    if polish:
        options = polish if isinstance(polish, PolishOptions) else PolishOptions()
        path = _polished(immersion, path, codes, rtol, options)
    if check_minimum:
        minimum = np.zeros(len(path.length), dtype=bool)
        for rows, smooth in _by_width(immersion, path, codes):
            minimum[rows] = local_minima(smooth, take_paths(path, rows))
        path = replace(path, local_minimum=minimum)
    return path


def _polished(
    immersion: Immersion,
    path: GeodesicPath,
    codes: Floats | None,
    rtol: float,
    options: PolishOptions,
) -> GeodesicPath:
    path = replace(path, velocity_error=np.full(len(path.length), np.nan))
    for rows, smooth in _by_width(immersion, path, codes):
        rough = take_paths(path, rows)
        if smooth is immersion:
            polished = polish_velocities(immersion, rough, rtol, options=options)
        else:
            polished = polish_velocities(smooth, rough, _KINKS_RTOL, options=options)
            known = np.isfinite(rough.length) & (polished.length > 0.0)
            share = np.ones((len(known), 1))
            share[known, 0] = rough.length[known] / polished.length[known]
            polished = replace(
                polished,
                length=rough.length,
                energy=rough.energy,
                initial_velocity=share * polished.initial_velocity,
                final_velocity=share * polished.final_velocity,
            )
        path = put_paths(path, rows, polished)
    return path


def _by_width(
    immersion: Immersion, path: GeodesicPath, codes: Floats | None
) -> Iterator[tuple[Ints, Immersion]]:
    """Pairs whose curves were found at each width, and the decoder smoothed at it."""
    for width in np.unique(path.width):
        rows = np.flatnonzero(path.width == width)
        if width == 0.0:
            yield rows, immersion
        else:
            around = kink_codes(immersion, codes, KinkOptions())
            yield rows, immersion.smoothed(float(width), around)
