"""Folders of images: one sample per file, and names of subfolders as classes."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geomstats_vae.report.errors import ReportError, first_line
from geomstats_vae.report.reading.images import ImageLayout

SUFFIXES = (".png", ".jpg", ".jpeg")
# Modes of Pillow whose pixels are grey, of one byte.
_GREY = ("1", "L")
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L")


def find_images(folder: Path) -> list[Path]:
    """List the images of a folder and of the folders in it, in the order of their names.

    Parameters
    ----------
    folder : pathlib.Path
        The folder.

    Returns
    -------
    files : list of pathlib.Path
        Its .png and .jpg files.
    """
    files = [*folder.glob("*"), *folder.glob("*/*")]
    return sorted(
        path
        for path in files
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )


def read_images(folder: Path) -> tuple[NDArray[np.float64], np.ndarray | None, ImageLayout, str]:
    """Read the images of a folder.

    Parameters
    ----------
    folder : pathlib.Path
        The folder. Images lie in it, or each in a subfolder with the name of its class.

    Returns
    -------
    X : numpy.ndarray, shape=[n_images, n_features]
        Pixels between 0 and 1, row by row.
    labels : numpy.ndarray of str, shape=[n_images], or None
        Names of the subfolders; None if images lie in the folder itself.
    layout : ImageLayout
        Their shape.
    assumption : str
        How they are read.

    Raises
    ------
    ReportError
        If there are fewer than two, one cannot be read, or they are not all of one size.
    """
    files = find_images(folder)
    if len(files) < 2:
        raise ReportError(
            f"Expected at least two images, {', '.join(SUFFIXES)}, in the folder {folder} or in "
            f"folders in it, got {len(files)}; put one image per sample there."
        )
    names = [path.parent.name for path in files if path.parent != folder]
    if 0 < len(names) < len(files):
        raise ReportError(
            f"Expected images in {folder} or in folders in it, got both: {len(files) - len(names)} "
            f"and {len(names)}; put every image into the folder of its class."
        )
    pixels = [_read(path) for path in files]
    _check_sizes(files, pixels)
    grey = all(array.ndim == 2 for array in pixels)
    if not grey:
        pixels = [array if array.ndim == 3 else array[..., None].repeat(3, -1) for array in pixels]
    X = np.stack(pixels)
    layout = ImageLayout(X.shape[1:])
    kind = "names of their folders as classes" if names else "no classes"
    assumption = f"{len(X)} {layout} are read from {folder}, pixels from 0 to 1, {kind}."
    return X.reshape(len(X), -1), np.array(names) if names else None, layout, assumption


def _read(path: Path) -> NDArray[np.float64]:
    """Read an image, shape=[height, width] if it is grey, else [height, width, 3]."""
    try:
        with warnings.catch_warnings():
            # Of large images and odd metadata; what cannot be read is an error.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.mode in _DEEP:
                    values = np.asarray(image, dtype=np.float64)
                    return values / max(values.max(), 65535.0)
                kept = image.convert("L" if image.mode in _GREY else "RGB")
                return np.asarray(kept, dtype=np.float64) / 255.0
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ReportError(
            f"Expected an image in {path}, got a file that cannot be read ({first_line(error)}); "
            "write it anew, or take it out of the folder."
        ) from error


def _check_sizes(files: Sequence[Path], pixels: Sequence[np.ndarray]) -> None:
    sizes = [array.shape[:2] for array in pixels]
    (usual, count), *others = Counter(sizes).most_common()
    if not others:
        return
    odd = next(k for k, size in enumerate(sizes) if size != usual)
    height, width = usual
    raise ReportError(
        f"Expected images of one size, got {count} of {height} x {width} pixels and "
        f"{len(files) - count} of other sizes, such as {files[odd]} of "
        f"{sizes[odd][0]} x {sizes[odd][1]}; resize them, as by PIL.Image.open(path).resize("
        f"({width}, {height})).save(path)."
    )
