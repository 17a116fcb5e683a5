"""Files of named arrays with a JSON header, in the safetensors format: loading one runs no code."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

# Version 1 was a zip archive of NumPy arrays, which begins with these bytes.
FORMAT_VERSION = 2
_ZIP = b"PK\x03\x04"
# The one entry of the file's metadata: safetensors orders several entries at random.
_KEY = "geomstats_vae"
# Everything that safetensors, json and `build` raise on damaged or hostile files, and that NumPy
# and zipfile raise on those of version 1.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
    # Of version 1 only.
    EOFError,
    OSError,
    SyntaxError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

Header: TypeAlias = dict[str, Any]
Arrays: TypeAlias = dict[str, np.ndarray]
_Built = TypeVar("_Built")


def write(path: str | os.PathLike[str], name: str, header: Header, arrays: Arrays) -> None:
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

    Raises
    ------
    FileNotFoundError
        If the folder is not there.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"Expected a folder {os.fspath(path.parent)!r}, got none; make it first."
        )
    # safetensors stores the memory of an array as it lies.
    arrays = {key: np.asarray(array, order="C") for key, array in arrays.items()}
    about = {
        "format": name,
        "format_version": FORMAT_VERSION,
        "sha256": _digest(header, arrays),
        "header": header,
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file(arrays, partial, metadata={_KEY: json.dumps(about)})
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read(
    path: str | os.PathLike[str], name: str, build: Callable[[Header, Arrays], _Built]
) -> _Built:
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
        If the file is not one of this kind, damaged, or of a version that this release does not
        know.

    Notes
    -----
    Files of version 1, from before the safetensors format, are still read.
    """
    with open(path, "rb") as file:
        read_file = _read_version_1 if file.read(len(_ZIP)) == _ZIP else _read
    with refusing_damage(path, name):
        header, arrays = read_file(path, name)
        for key, array in arrays.items():
            _check_array(key, array)
        return build(header, arrays)


@contextmanager
def refusing_damage(path: str | os.PathLike[str], name: str) -> Iterator[None]:
    """Turn whatever a damaged or hostile file causes into one error.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    name : str
        Name of the kind of file.

    Raises
    ------
    ValueError
        In place of the errors in the block.
    """
    try:
        yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"Expected a file written by {name}.save, got {os.fspath(path)!r}, which cannot be "
            f"read as such ({reason}); save the model again, or fit a new one. Nothing in the "
            "file was executed."
        ) from error


def _read(path: str | os.PathLike[str], name: str) -> tuple[Header, Arrays]:
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        if _KEY not in metadata:
            raise ValueError("it has no header of this package")
        about = json.loads(metadata[_KEY])
        _check_kind(about, name, FORMAT_VERSION)
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
    if about["sha256"] != _digest(about["header"], arrays):
        raise ValueError("it was changed after it was written")
    return about["header"], arrays


def _read_version_1(path: str | os.PathLike[str], name: str) -> tuple[Header, Arrays]:
    """Read a zip archive of arrays, the header among them as bytes."""
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        # They were stored without compression; a small file cannot unfold into a large one.
        if any(item.compress_type != zipfile.ZIP_STORED for item in archive.zip.infolist()):
            raise ValueError("its arrays are compressed")
        arrays = {key: archive[key] for key in archive.files}
    if "header" not in arrays:
        raise ValueError("it has no header")
    header = json.loads(arrays.pop("header").tobytes())
    _check_kind(header, name, 1)
    return header, arrays


def _digest(header: Header, arrays: Mapping[str, np.ndarray]) -> str:
    """Checksum of all that a file holds: safetensors itself does not notice changed numbers."""
    types = {key: [array.dtype.name, array.shape] for key, array in arrays.items()}
    digest = hashlib.sha256(json.dumps([header, types], sort_keys=True).encode())
    for key in sorted(arrays):
        array = arrays[key]
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def _check_kind(about: Mapping[str, Any], name: str, version: int) -> None:
    if about["format"] != name:
        kind = str(about["format"])
        remedy = f"; {kind}.load reads it" if kind.isidentifier() else ""
        raise ValueError(f"it holds a {kind}{remedy}")
    if about["format_version"] != version:
        raise ValueError(
            f"it is of version {about['format_version']} where this release reads versions up to "
            f"{FORMAT_VERSION}; use the release that wrote it"
        )


def _check_array(name: str, array: np.ndarray) -> None:
    # A member of a zip archive that is no array comes as bytes.
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise ValueError(f"{name!r} is not an array of numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name!r} has entries that are not finite")
