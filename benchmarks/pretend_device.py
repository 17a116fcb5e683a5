"""A second device that is not there: tensors of the CPU that say they are elsewhere.

With it the code for GPUs runs on a machine without one. What mixes tensors of both devices fails as
it would on a GPU, and copies between them can be counted. It tells nothing of times.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

# Of torch's devices the one that needs no driver. No real tensor of it is used here.
DEVICE = torch.device("meta")
WITH_INDICES = {"aten.index", "aten.index_put", "aten.index_put_", "aten._index_put_impl_"}


class PretendTensor(torch.Tensor):
    """A tensor that holds another, on the CPU, and says it is on `DEVICE`."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "PretendTensor":
        """Wrap a tensor of the CPU."""
        options = {"dtype": held.dtype, "device": DEVICE, "requires_grad": held.requires_grad}
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, held.stride(), held.storage_offset(), **options
        )
        wrapper.held = held.detach()
        return wrapper

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation on what the tensors hold."""
        return _run(function, args, kwargs or {})


class PretendDevice(TorchDispatchMode):
    """While this is entered, tensors can be made on `DEVICE`, and copied there and back."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation on either device."""
        return _run(function, args, kwargs or {})


def _run(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name, target = str(function.overloadpacket), kwargs.get("device")
    there = [x for x in tree_leaves((args, kwargs)) if isinstance(x, PretendTensor)]
    if target is not None:
        elsewhere = torch.device(target).type == DEVICE.type
        kwargs = {**kwargs, "device": torch.device("cpu")}
    else:
        elsewhere = bool(there)
    if name == "aten.copy_":
        _held(args[0]).copy_(_held(args[1]))
        return args[0]
    if name != "aten._to_copy":
        _check_places(name, args, kwargs)
    result = function(*tree_map(_held, args), **tree_map(_held, kwargs))
    if name.endswith("_") or kwargs.get("out") is not None:
        return kwargs.get("out", args[0])
    return tree_map(_wrap, result) if elsewhere else result


def _held(x: Any) -> Any:
    return x.held if isinstance(x, PretendTensor) else x


def _wrap(x: Any) -> Any:
    return PretendTensor(x) if isinstance(x, torch.Tensor) else x


def _check_places(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise if arrays of both devices meet; numbers, and indices, may be on the CPU."""
    if name in WITH_INDICES and isinstance(args[0], PretendTensor):
        args = (args[0], *args[2:])
    arrays = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor) and x.dim()]
    if len({isinstance(x, PretendTensor) for x in arrays}) > 1:
        raise RuntimeError(f"{name}: expected tensors on one device, got some on each.")


def moved(part: Any, known: dict[int, Any] | None = None) -> Any:
    """Copy an immersion to the device, layer by layer.

    Parameters
    ----------
    part : Immersion
        The immersion, or what it is made of.
    known : dict, optional
        Copies of parts that were met before.

    Returns
    -------
    copy : Immersion
        The copy.
    """
    known = {} if known is None else known
    if id(part) in known:
        return known[id(part)]
    again: Callable[[Any], Any] = lambda x: moved(x, known)  # noqa: E731
    copy = part
    if isinstance(part, torch.Tensor):
        copy = PretendTensor(part.detach().clone())
    elif isinstance(part, torch.device):
        copy = DEVICE
    elif isinstance(part, dict):
        copy = {name: again(x) for name, x in part.items()}
    elif isinstance(part, (list, tuple)):
        items = map(again, part)
        copy = type(part)(*items) if hasattr(part, "_fields") else type(part)(items)
    elif type(part).__module__.startswith("geomstats_vae"):
        copy = known[id(part)] = object.__new__(type(part))
        for name, x in vars(part).items():
            object.__setattr__(copy, name, again(x))
    known[id(part)] = copy
    return copy
