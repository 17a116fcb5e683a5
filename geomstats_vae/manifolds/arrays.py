"""The border between the backend's arrays and the tensors that everything is computed in.

Arrays enter with any batch shape and leave with it: inside, they are float64 tensors of shape
[n_points, dim] on one device. Outside they are float64 arrays under the numpy backend, and
tensors of the input's type and device under pytorch.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass

import geomstats.backend as gs
import numpy as np
import torch

# The backend is fixed when geomstats is first imported.
USES_TORCH = isinstance(gs.zeros(1), torch.Tensor)


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

    batch_shape: tuple
    dtype: torch.dtype
    device: torch.device
    requires_grad: bool

    @contextmanager
    def recording(self):
        """Record derivatives only if an input asks for them."""
        with torch.set_grad_enabled(self.requires_grad):
            yield

    def give(self, values):
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
        values = torch.as_tensor(values)
        dtype = self.dtype if values.is_floating_point() else values.dtype
        values = values.reshape((*self.batch_shape, *values.shape[1:]))
        if not self.requires_grad:
            values = values.detach()
        # A copy, whatever was handed in: geomstats' estimators write into what they get.
        values = values.to(device=self.device, dtype=dtype, copy=True).contiguous()
        return to_array(values)


def enter(dim, device=None, **arrays):
    """Take arrays in: check, broadcast against each other, and flatten.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.
    device : torch.device, optional
        Device to compute on under the numpy backend; under pytorch it is that of the arrays.
    **arrays : array-like, shape=[..., dim]
        Points, or tangent vectors, by the name that messages call them; float, integer or
        nested lists.

    Returns
    -------
    tensors : list of torch.Tensor, shape=[n_points, dim]
        The arrays in float64, broadcast.
    origin : Origin
        Hands results out.

    Raises
    ------
    ValueError
        If a last dimension is not dim, values are not finite, or shapes do not broadcast.
    """
    tensors = {name: to_tensor(array, name) for name, array in arrays.items()}
    for name, tensor in tensors.items():
        _check(tensor, dim, name)
    try:
        shape = torch.broadcast_shapes(*(tensor.shape for tensor in tensors.values()))
    except RuntimeError as error:
        shapes = " and ".join(str(list(tensor.shape)) for tensor in tensors.values())
        raise ValueError(
            f"Expected batch shapes that broadcast, got {shapes} ({', '.join(tensors)}); "
            "pass as many of one as of the other, or one."
        ) from error
    first = next(iter(tensors.values()))
    dtype = first.dtype
    for tensor in tensors.values():
        dtype = torch.promote_types(dtype, tensor.dtype)
    requires_grad = torch.is_grad_enabled() and any(t.requires_grad for t in tensors.values())
    origin = Origin(tuple(shape[:-1]), dtype, first.device, requires_grad)
    device = first.device if USES_TORCH else device
    return [
        tensor.to(device=device, dtype=torch.float64).expand(shape).reshape(-1, dim).contiguous()
        for tensor in tensors.values()
    ], origin


def to_tensor(array, name):
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
        Tensor; under pytorch a given floating-point tensor itself.

    Raises
    ------
    ValueError
        If the values are not real numbers.
    """
    if isinstance(array, torch.Tensor) and USES_TORCH:
        if array.is_complex() or array.dtype == torch.bool:
            raise ValueError(_not_real(name, array.dtype))
        return array if array.is_floating_point() else array.to(torch.get_default_dtype())
    if isinstance(array, (list, tuple)) and any(isinstance(row, torch.Tensor) for row in array):
        return torch.stack([to_tensor(row, name) for row in array])
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu()
    values = np.asarray(array)
    if values.dtype.kind not in "fiu":
        raise ValueError(_not_real(name, values.dtype))
    keep = USES_TORCH and values.dtype in (np.float32, np.float64)
    # Copied: torch warns of read-only arrays and refuses negative strides.
    return torch.from_numpy(values.astype(values.dtype if keep else np.float64, copy=True))


def to_array(tensor):
    """Convert a tensor to an array of the backend, without a copy."""
    # Indexing by () turns an array without dimensions into a scalar, as numpy itself does.
    return tensor if USES_TORCH else tensor.numpy()[()]


def to_host(tensor):
    """Copy a tensor to a float64 array of numpy, without its derivatives."""
    return tensor.detach().cpu().double().numpy().copy()


def _check(tensor, dim, name):
    if tensor.ndim == 0 or tensor.shape[-1] != dim:
        raise ValueError(
            f"Expected {name} of shape [..., {dim}], got {list(tensor.shape)}; "
            "pass latent codes, not data."
        )
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"Expected finite {name}, got NaN or infinity; remove those rows.")


def _not_real(name, dtype):
    return f"Expected real numbers as {name}, got {dtype}; pass floats or integers."
