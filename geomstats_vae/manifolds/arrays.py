"""The border between the backend's arrays and the arrays that everything is computed in.

Arrays enter with any batch shape and leave with it: inside, they are float64 rows of shape
[n_points, dim], arrays of numpy, or tensors where derivatives are recorded. Outside they are
float64 arrays under the numpy backend, and tensors of the input's type and device under pytorch.
Tensors may come in under both backends, also in half precision, with a gradient, or made in
`torch.inference_mode`. Half precision (float16, bfloat16) is computed in float64 and rounded to
half precision at the end; float16 with bfloat16 gives float32, as torch promotes them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any

import geomstats.backend as gs
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

Array = Any  # of the backend: numpy.ndarray or torch.Tensor

# The backend is fixed when geomstats is first imported.
USES_TORCH = isinstance(gs.zeros(1), torch.Tensor)
# Fourth powers of coordinates are numbers: squared norms of squares overflow in no step between.
LARGEST = float(np.finfo(np.float64).max) ** 0.25
_FLOATS_OF_NUMPY = (torch.float16, torch.float32, torch.float64)


@contextmanager
def outside_inference_mode() -> Iterator[None]:
    """Leave `torch.inference_mode`: what a metric keeps from inside could not be differentiated."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.no_grad():
        yield


@dataclass(frozen=True)
class Origin:
    """Where arrays came from, and so where results go.

    Parameters
    ----------
    batch_shape : tuple of int
        Common batch shape of the arrays.
    dtype : torch.dtype
        Floating-point type of the results.
    device : torch.device
        Device of the results.
    requires_grad : bool
        Whether results keep their derivatives.
    """

    batch_shape: tuple[int, ...]
    dtype: torch.dtype = torch.float64
    device: torch.device | None = None
    requires_grad: bool = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record derivatives only if an input asks for them, outside of inference mode."""
        with outside_inference_mode(), torch.set_grad_enabled(self.requires_grad):
            yield

    def give(self, values: ArrayLike | torch.Tensor) -> Array:
        """Hand a result out.

        Parameters
        ----------
        values : torch.Tensor or numpy.ndarray, shape=[n_points, ...]
            Result, one row per point.

        Returns
        -------
        array : array-like, shape=[*batch_shape, ...]
            Fresh and writable array of the backend; integers and booleans keep their type.
        """
        if USES_TORCH:
            return self._give_tensor(torch.as_tensor(values))
        if isinstance(values, torch.Tensor):
            values = to_numpy(values)
        values = np.asarray(values)
        values = values.reshape((*self.batch_shape, *values.shape[1:]))
        # A copy, whatever was handed in: geomstats' estimators write into what they get. Indexing
        # by () turns an array without dimensions into a scalar, as numpy itself does.
        kind = np.float64 if values.dtype.kind == "f" else values.dtype
        return np.array(values, dtype=kind, order="C")[()]

    def _give_tensor(self, values: torch.Tensor) -> torch.Tensor:
        dtype = self.dtype if values.is_floating_point() else values.dtype
        values = values.reshape((*self.batch_shape, *values.shape[1:]))
        if not self.requires_grad:
            values = values.detach()
        return values.to(device=self.device, dtype=dtype, copy=True).contiguous()


def enter(dim: int, **arrays: Any) -> tuple[list[NDArray[np.float64]], Origin]:
    """Take arrays in as rows of numpy: check, broadcast against each other, and flatten.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.
    **arrays : array-like, shape=[..., dim]
        Points, or tangent vectors, by the name that messages call them; float, integer or
        nested lists.

    Returns
    -------
    rows : list of numpy.ndarray, shape=[n_points, dim]
        The arrays in float64, broadcast, without their derivatives.
    origin : Origin
        Hands results out.

    Raises
    ------
    ValueError
        If a last dimension is not dim, values are not finite or larger than `LARGEST`, or shapes do
        not broadcast.
    """
    taken, shape, origin = _take(dim, arrays)
    rows = []
    for array in taken.values():
        values = to_host(array) if isinstance(array, torch.Tensor) else array
        rows.append(np.array(np.broadcast_to(values, shape).reshape(-1, dim), dtype=np.float64))
    return rows, origin


def enter_tensors(
    dim: int,
    device: torch.device | None = None,
    *,
    may_be_nan: Collection[str] = (),
    **arrays: Any,
) -> tuple[list[torch.Tensor], Origin]:
    """Take arrays in as tensors that keep their derivatives; see `enter`.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.
    device : torch.device, optional
        Device to compute on under the numpy backend; under pytorch it is that of the arrays.
    may_be_nan : collection of str
        Names of arrays whose values need not be finite.
    **arrays : array-like, shape=[..., dim]
        Points, or tangent vectors.

    Returns
    -------
    tensors : list of torch.Tensor, shape=[n_points, dim]
        The arrays in float64, broadcast.
    origin : Origin
        Hands results out.
    """
    taken, shape, origin = _take(dim, arrays, may_be_nan)
    target = origin.device if USES_TORCH else device
    with outside_inference_mode():
        tensors = [
            # Copied: torch warns of read-only arrays and refuses negative strides.
            (torch.from_numpy(np.array(array)) if isinstance(array, np.ndarray) else array)
            .to(device=target, dtype=torch.float64)
            .expand(shape)
            .reshape(-1, dim)
            .contiguous()
            for array in taken.values()
        ]
    return tensors, origin


def _take(
    dim: int, arrays: Mapping[str, Any], may_be_nan: Collection[str] = ()
) -> tuple[dict[str, Array], tuple[int, ...], Origin]:
    """Arrays of the backend, their common shape, and where results go."""
    taken = {name: to_backend(array, name) for name, array in arrays.items()}
    for name, array in taken.items():
        _check(array, dim, name, finite=name not in may_be_nan)
    try:
        shape = np.broadcast_shapes(*(tuple(array.shape) for array in taken.values()))
    except ValueError as error:
        shapes = " and ".join(str(list(array.shape)) for array in taken.values())
        raise ValueError(
            f"Expected batch shapes that broadcast, got {shapes} ({', '.join(taken)}); "
            "pass as many of one as of the other, or one."
        ) from error
    if not USES_TORCH:
        return taken, shape, Origin(shape[:-1])
    first, dtype = next(iter(taken.values())), common_type(taken.values())
    requires_grad = torch.is_grad_enabled() and any(t.requires_grad for t in taken.values())
    return taken, shape, Origin(shape[:-1], dtype, first.device, requires_grad)


def to_backend(array: Any, name: str) -> Array:
    """Convert an array, or nested lists, to a floating-point array of the backend.

    Parameters
    ----------
    array : array-like
        Array, of floats or integers.
    name : str
        What messages call it.

    Returns
    -------
    array : numpy.ndarray or torch.Tensor
        Float64 under the numpy backend, a given array itself if it is one already; under pytorch a
        given floating-point tensor itself.

    Raises
    ------
    ValueError
        If the values are not real numbers.
    """
    if USES_TORCH:
        return to_tensor(array, name)
    return _real(_on_host(array), name).astype(np.float64, copy=False)


def to_tensor(array: Any, name: str) -> torch.Tensor:
    """Convert an array of the backend, or nested lists, to a floating-point tensor.

    Parameters
    ----------
    array : array-like
        Array, of floats or integers.
    name : str
        What messages call it.

    Returns
    -------
    tensor : torch.Tensor
        Tensor; under pytorch a given floating-point tensor itself, or a copy if it was made in
        inference mode.

    Raises
    ------
    ValueError
        If the values are not real numbers.
    """
    if isinstance(array, torch.Tensor) and USES_TORCH:
        if array.is_complex() or array.dtype == torch.bool:
            raise ValueError(_not_real(name, array.dtype))
        if array.is_inference():  # no derivative can be recorded of the tensor itself
            with outside_inference_mode():
                array = array.clone()
        return array if array.is_floating_point() else array.to(torch.get_default_dtype())
    if USES_TORCH and _holds_tensors(array):
        return _stacked([to_tensor(row, name) for row in array], name)
    values = _real(_on_host(array), name)
    keep = USES_TORCH and values.dtype in (np.float32, np.float64)
    # Copied: torch warns of read-only arrays and refuses negative strides.
    return torch.from_numpy(values.astype(values.dtype if keep else np.float64, copy=True))


def common_type(tensors: Iterable[torch.Tensor]) -> torch.dtype:
    """Find the type that torch promotes tensors to, one at least."""
    return reduce(torch.promote_types, (tensor.dtype for tensor in tensors))


def to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """Values of a tensor on the host, without its derivatives.

    Parameters
    ----------
    tensor : torch.Tensor
        Tensor.

    Returns
    -------
    values : numpy.ndarray
        Values; they may share the tensor's memory. In float64 where numpy lacks the type of the
        tensor, as of bfloat16.
    """
    tensor = tensor.detach().cpu()
    known = not tensor.is_floating_point() or tensor.dtype in _FLOATS_OF_NUMPY
    return (tensor if known else tensor.double()).numpy()


def _on_host(array: Any) -> Any:
    """Replace tensors, also those in nested lists, by arrays of numpy."""
    if isinstance(array, torch.Tensor):
        return to_numpy(array)
    return [_on_host(row) for row in array] if _holds_tensors(array) else array


def _holds_tensors(array: Any) -> bool:
    if not isinstance(array, (list, tuple)):
        return False
    return any(isinstance(row, torch.Tensor) or _holds_tensors(row) for row in array)


def _stacked(rows: list[torch.Tensor], name: str) -> torch.Tensor:
    if any(row.shape != rows[0].shape for row in rows):
        raise ValueError(_ragged(name))
    dtype = common_type(rows)
    return torch.stack([row.to(device=rows[0].device, dtype=dtype) for row in rows])


def _real(array: Any, name: str) -> NDArray[Any]:
    """Make an array of numpy, of real numbers."""
    try:
        values = np.asarray(array)
    except ValueError as error:
        raise ValueError(_ragged(name)) from error
    if values.dtype.kind not in "fiu":
        raise ValueError(_not_real(name, values.dtype))
    return values


def to_array(values: torch.Tensor | NDArray[Any], device: torch.device | None = None) -> Array:
    """Convert rows to an array of the backend, without a copy where there need be none.

    Parameters
    ----------
    values : torch.Tensor or numpy.ndarray
        Rows.
    device : torch.device, optional
        Device of the result under pytorch; that of the rows by default.

    Returns
    -------
    array : array-like
        The rows.
    """
    if USES_TORCH:
        return torch.as_tensor(values, device=device)
    # Indexing by () turns an array without dimensions into a scalar, as numpy itself does.
    return (values.numpy() if isinstance(values, torch.Tensor) else values)[()]


def to_host(tensor: Any) -> NDArray[np.float64]:
    """Copy an array of the backend to a float64 array of numpy, without its derivatives."""
    return np.array(_on_host(tensor), dtype=np.float64)


def symmetric_matrix(upper: Array, n: int) -> Array:
    """Matrix with zeros on its diagonal from the entries above it, shape=[n, n].

    Parameters
    ----------
    upper : array-like, shape=[n (n - 1) / 2]
        Entries, row by row; derivatives are kept.
    n : int
        Rows of the matrix.

    Returns
    -------
    matrix : array-like, shape=[n, n]
        Array of the backend.
    """
    rows, columns = np.triu_indices(n, 1)
    if isinstance(upper, torch.Tensor):
        places = tuple(torch.as_tensor(k, device=upper.device) for k in (rows, columns))
        half = upper.new_zeros(n, n).index_put(places, upper)
        return half + half.T
    matrix = np.zeros((n, n))
    matrix[rows, columns] = matrix[columns, rows] = upper
    return matrix


def _check(array: Array, dim: int, name: str, *, finite: bool) -> None:
    if array.ndim == 0 or array.shape[-1] != dim:
        raise ValueError(
            f"Expected {name} of shape [..., {dim}], got {list(array.shape)}; "
            "pass latent codes, not data."
        )
    if not finite:
        return
    known = torch.isfinite(array) if isinstance(array, torch.Tensor) else np.isfinite(array)
    if not bool(known.all()):
        raise ValueError(f"Expected finite {name}, got NaN or infinity; remove those rows.")
    if not bool((abs(array) <= LARGEST).all()):
        raise ValueError(
            f"Expected {name} with coordinates of at most {LARGEST:.0e}, got larger ones, whose "
            "products overflow; take them in other units."
        )


def _not_real(name: str, dtype: Any) -> str:
    return f"Expected real numbers as {name}, got {dtype}; pass floats or integers."


def _ragged(name: str) -> str:
    return f"Expected {name} as an array or lists of equal lengths, got ragged lists; pad or split."
