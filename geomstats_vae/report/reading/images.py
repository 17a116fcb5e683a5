"""How the values of a sample lie in an image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.report.errors import ReportError

# Grey, red-green-blue, and the same with opacity.
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class ImageLayout:
    """Where the values of a sample lie in an image.

    Attributes
    ----------
    axes : tuple of int
        Shape of a sample as it is stored: height and width, and the number of channels before or
        after these.
    channels_first : bool
        Whether the first axis is that of the channels.
    """

    axes: tuple[int, ...]
    channels_first: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an image as it is drawn.

        Returns
        -------
        shape : tuple of int
            Height and width, and the number of channels unless it is one.
        """
        if len(self.axes) == 2:
            return self.axes
        axes = (*self.axes[1:], self.axes[0]) if self.channels_first else self.axes
        return axes if axes[2] > 1 else axes[:2]

    def images(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        """Put the values of samples in the order in which images are drawn.

        Parameters
        ----------
        samples : numpy.ndarray, shape=[..., n_features]
            Samples.

        Returns
        -------
        images : numpy.ndarray, shape=[..., n_features]
            Their values row by row, with the channels of a pixel side by side.
        """
        if not self.channels_first:
            return samples
        stored = samples.reshape(*samples.shape[:-1], *self.axes)
        return np.moveaxis(stored, -3, -1).reshape(samples.shape)

    def __str__(self) -> str:
        """Describe the layout.

        Returns
        -------
        text : str
            Shape and channels in words.
        """
        height, width, *channels = self.shape
        if not channels:
            return f"grey images of {height} x {width} pixels"
        place = "before" if self.channels_first else "after"
        return f"images of {height} x {width} pixels, {channels[0]} channels {place} the pixels"


def layout_of(axes: Sequence[int]) -> ImageLayout | None:
    """Find out how samples of some shape are images.

    One, three or four values along the first or the last of three axes are channels. If both axes
    could be, the image is square, if either reading makes it so; otherwise channels are last.

    Parameters
    ----------
    axes : sequence of int
        Shape of a sample.

    Returns
    -------
    layout : ImageLayout or None
        None if samples of this shape are not images.
    """
    axes = tuple(axes)
    if len(axes) == 2:
        return ImageLayout(axes)
    if len(axes) != 3:
        return None
    readings = [
        ImageLayout(axes, first) for first in (False, True) if axes[0 if first else 2] in _CHANNELS
    ]
    square = [layout for layout in readings if layout.shape[0] == layout.shape[1]]
    return next(iter(square or readings), None)


def parse_image_shape(text: str) -> ImageLayout:
    """Read an image's shape from text such as "8x8".

    Parameters
    ----------
    text : str
        Height and width joined by "x"; with one, three or four channels after or before them.

    Returns
    -------
    layout : ImageLayout
        How the values of a sample lie in an image.

    Raises
    ------
    ReportError
        If the text is anything else.
    """
    matches = re.fullmatch(r"[1-9]\d{0,5}(x[1-9]\d{0,5}){1,2}", text)
    layout = layout_of([int(number) for number in text.split("x")]) if matches else None
    if layout is None:
        raise ReportError(
            f"Expected an image shape such as 8x8, 32x32x3 or 3x32x32, got {text!r}; pass "
            "--image-shape HEIGHTxWIDTH, with x3 after it or 3x before it for colours."
        )
    return layout
