"""The geometry that an immersion induces, on arrays: all that can be measured."""

from geomstats_vae.geometry.blocks import Blocks
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.graphs import GraphOnDemand
from geomstats_vae.geometry.protocol import Bounds, Geometry, Lengths, Logs, Rays
from geomstats_vae.geometry.time_limit import OutOfTimeError

__all__ = [
    "Blocks",
    "Bounds",
    "DecoderGeometry",
    "Geometry",
    "GraphOnDemand",
    "Lengths",
    "Logs",
    "OutOfTimeError",
    "Rays",
]
