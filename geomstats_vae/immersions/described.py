"""Modules of known layers as plain data, and the same modules built again: no code is stored."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, TypeAlias

import torch
from torch import nn

from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.immersions.rbf import RBFPrecision

Description: TypeAlias = dict[str, Any]

_CONVOLUTION = (
    *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    *("bias", "padding_mode"),
)
_TRANSPOSED = (*_CONVOLUTION, "output_padding")
_NORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")
# Layers, and the arguments of their constructors that they keep under the same names.
_LAYERS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features", "bias"),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _CONVOLUTION),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _TRANSPOSED),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _NORM),
    nn.LayerNorm: ("normalized_shape", "eps", "elementwise_affine", "bias"),
    nn.GroupNorm: ("num_groups", "num_channels", "eps", "affine"),
    nn.ELU: ("alpha",),
    nn.CELU: ("alpha",),
    nn.GELU: ("approximate",),
    nn.LeakyReLU: ("negative_slope",),
    nn.PReLU: ("num_parameters",),
    nn.Softplus: ("beta", "threshold"),
    nn.Hardtanh: ("min_val", "max_val"),
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax), ("dim",)),
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid), ()),
    **dict.fromkeys((nn.Softsign, nn.Tanhshrink, nn.LogSigmoid, nn.Hardswish, nn.Identity), ()),
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), ("p",)),
    nn.Flatten: ("start_dim", "end_dim"),
    nn.Unflatten: ("dim", "unflattened_size"),
    nn.Upsample: ("size", "scale_factor", "mode", "align_corners"),
    nn.PixelShuffle: ("upscale_factor",),
}
_BY_NAME = {kind.__name__: kind for kind in _LAYERS}


def describe(module: nn.Module) -> Description | None:
    """Describe a module by the kinds and options of its layers.

    Parameters
    ----------
    module : torch.nn.Module
        A layer, a `torch.nn.Sequential` of known ones, a `GaussianDecoder` of such or an
        `RBFPrecision`.

    Returns
    -------
    description : dict or None
        Strings, numbers, None, and lists and dicts of these. None if some part is of another class,
        or does something before or after its ``forward``.
    """
    if type(module) in (nn.Sequential, GaussianDecoder):
        children = [(name, describe(part)) for name, part in module.named_children()]
        complete = type(module) is nn.Sequential or len(children) == 2
        known = complete and all(part is not None for _, part in children)
        plain = known and not _has_hooks(module)
        return {"kind": type(module).__name__, "parts": children} if plain else None
    if _has_hooks(module):
        return None
    if type(module) is RBFPrecision:
        return {"kind": "RBFPrecision"}
    if type(module) not in _LAYERS:
        return None
    options = {name: _plain(getattr(module, name)) for name in _LAYERS[type(module)]}
    return {"kind": type(module).__name__, "options": options}


def rebuild(description: Description, state: dict[str, torch.Tensor]) -> nn.Module:
    """Build a module that was described, with the parameters of a state.

    Parameters
    ----------
    description : dict
        As of `describe`.
    state : dict of str to torch.Tensor
        State of the module.

    Returns
    -------
    module : torch.nn.Module
        The module, in evaluation mode, without gradients.

    Raises
    ------
    ValueError
        If a kind is not known. Other errors that wrong entries cause come as torch raises them.
    """
    module = _build(description, state, "")
    # Assigned, not copied: the parameters are on the meta device.
    module.load_state_dict(state, assign=True)
    return module.requires_grad_(False).eval()


def _build(description: Description, state: dict[str, torch.Tensor], prefix: str) -> nn.Module:
    kind = description["kind"]
    if kind == "RBFPrecision":
        return RBFPrecision(*(state[f"{prefix}{name}"] for name in RBFPrecision.buffer_names))
    if kind in ("Sequential", "GaussianDecoder"):
        parts = OrderedDict(
            (name, _build(part, state, f"{prefix}{name}.")) for name, part in description["parts"]
        )
        return nn.Sequential(parts) if kind == "Sequential" else GaussianDecoder(**parts)
    if kind not in _BY_NAME:
        raise ValueError(f"{kind!r} is no known layer")
    layer = _BY_NAME[kind]
    options = {name: _with_tuples(description["options"][name]) for name in _LAYERS[layer]}
    with torch.device("meta"):
        return layer(**options)


def _has_hooks(module: nn.Module) -> bool:
    # A `forward` of its own, or tensors that are computed before the call, as weight norms do.
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._state_dict_hooks)
    return any(hooks) or "forward" in vars(module)


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):  # of the arguments, only `bias` is kept as a parameter
        return True
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    # A missing bias is None, where the constructor takes False.
    return value


def _with_tuples(value: Any) -> Any:
    return tuple(_with_tuples(item) for item in value) if isinstance(value, list) else value
