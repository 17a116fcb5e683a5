"""Files of data: arrays and tables become samples, with a note of all that had to be assumed."""

from geomstats_vae.report.reading.images import ImageLayout, layout_of, parse_image_shape
from geomstats_vae.report.reading.labels import read_labels
from geomstats_vae.report.reading.samples import Samples, read_samples

__all__ = [
    "ImageLayout",
    "Samples",
    "layout_of",
    "parse_image_shape",
    "read_labels",
    "read_samples",
]
