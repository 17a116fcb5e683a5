"""Files of NumPy arrays with a JSON header: no pickle, so loading one runs no code."""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

FORMAT_VERSION = 1
_HEADER = "header"
# Everything that NumPy, zipfile and json raise on damaged or hostile files.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def write(path, name, header, arrays):
    """Write a header and arrays to one file, whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        File to write; an existing one is replaced.
    name : str
        Name of the kind of file.
    header : dict
        Numbers, strings, None, and lists and dicts of these.
    arrays : dict of str to numpy.ndarray
        Named arrays of numbers.
    """
    path = Path(path)
    header = {"format": name, "format_version": FORMAT_VERSION, **header}
    encoded = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            np.savez(file, **{_HEADER: encoded}, **arrays)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read(path, name, build):
    """Read a file that `write` wrote and build an object from it.

    Parameters
    ----------
    path : str or os.PathLike
        File to read.
    name : str
        Name of the kind of file.
    build : callable
        Maps the header and the arrays to the object.

    Returns
    -------
    built : object
        What `build` returned.

    Raises
    ------
    OSError
        If there is no such file, or it may not be read.
    ValueError
        If the file is not one of this kind, damaged, or of another version.
    """
    with open(path, "rb") as file:
        try:
            header, arrays = _read_arrays(file)
            _check_header(header, name)
            return build(header, arrays)
        except _DAMAGE as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"Expected a file written by {name}.save, got {os.fspath(path)!r}, which cannot be "
                f"read as such ({reason}); save the model again, or fit a new one. Nothing in the "
                "file was executed."
            ) from error


def _read_arrays(file):
    if not zipfile.is_zipfile(file):
        raise ValueError("it is not an archive of arrays")
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        members = archive.zip.infolist()
        # `write` stores without compression; a small file cannot unfold into a large one.
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("its arrays are compressed")
        arrays = {name: archive[name] for name in archive.files}
    if _HEADER not in arrays:
        raise ValueError("it has no header")
    for name, array in arrays.items():
        _check_array(name, array)
    return json.loads(arrays.pop(_HEADER).tobytes().decode()), arrays


def _check_array(name, array):
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise ValueError(f"{name!r} is not an array of numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name!r} has entries that are not finite")


def _check_header(header, name):
    if header["format"] != name:
        raise ValueError(f"it holds a {header['format']}")
    version = header["format_version"]
    if version != FORMAT_VERSION:
        raise ValueError(
            f"it is of version {version} where this release reads version {FORMAT_VERSION}; "
            "use the release of the package that wrote it"
        )
