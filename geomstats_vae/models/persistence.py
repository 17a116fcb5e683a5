"""What a file of a fitted VAE holds: its parameters, its networks and its fitted arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from geomstats_vae.archive import Arrays, Header, read, write
from geomstats_vae.immersions.rbf import RBFPrecision
from geomstats_vae.models.architecture import Architecture, join_decoders
from geomstats_vae.models.networks import freeze

KIND = "VAE"
_MODULES = ("encoder_", "decoder_")
# Only there if it was asked for.
_HEAD = "variance_head_"
_ARRAYS = ("codes_", "kl_per_dim_", "active_dims_")
_NUMBERS = {"n_features_in_": Integral, "n_iter_": Integral, "noise_std_": Real}
# Numbers that files of earlier releases do not have.
_NEW_NUMBERS = ("a_", "torn_share_")
_HISTORY = ("epoch", "train_loss", "validation_loss")


class Saved(Protocol):
    """What is asked of a `VAE` to be saved and loaded, beside the attributes named above."""

    latent_dim: int
    n_decoders: int
    a: float | str
    a_: float
    torn_share_: float | None
    variance_head_: torch.nn.Module | None
    output_activation_: str
    n_features_in_: int
    n_iter_: int
    history_: dict[str, np.ndarray]
    feature_names_in_: np.ndarray

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments of the constructor."""

    def _validate_params(self) -> None: ...

    def _architecture(self, n_features: int, output_activation: str) -> Architecture: ...


_Model = TypeVar("_Model", bound=Saved)


def save(vae: Saved, path: str | os.PathLike[str]) -> None:
    """Save a fitted VAE.

    Parameters
    ----------
    vae : VAE
        Fitted estimator.
    path : str or os.PathLike
        File to write.
    """
    write(path, KIND, *contents(vae))


def load(cls: type[_Model], path: str | os.PathLike[str]) -> _Model:
    """Load a fitted VAE.

    Parameters
    ----------
    cls : type
        The class of the estimator.
    path : str or os.PathLike
        File to read.

    Returns
    -------
    vae : VAE
        Fitted estimator.
    """
    return read(path, KIND, lambda header, arrays: build(cls, header, arrays))


def contents(vae: Saved) -> tuple[Header, Arrays]:
    """Collect what a file of a fitted VAE holds.

    Parameters
    ----------
    vae : VAE
        Fitted estimator.

    Returns
    -------
    header : dict
        Parameters and fitted numbers, as JSON can hold them.
    arrays : dict of str to numpy.ndarray
        Fitted arrays, and the parameters of the networks.
    """
    header = {
        "params": {name: _plain(value) for name, value in vae.get_params(deep=False).items()},
        "numbers": {name: _plain(getattr(vae, name)) for name in (*_NUMBERS, *_NEW_NUMBERS)},
        "output_activation": vae.output_activation_,
        "feature_names_in": _plain(getattr(vae, "feature_names_in_", None)),
    }
    arrays = {name: getattr(vae, name) for name in _ARRAYS}
    arrays |= {f"history_.{name}": vae.history_[name] for name in _HISTORY}
    for part in (*_MODULES, *(() if vae.variance_head_ is None else (_HEAD,))):
        state = getattr(vae, part).state_dict()
        arrays |= {f"{part}.{name}": tensor.numpy() for name, tensor in state.items()}
    return header, arrays


def build(cls: type[_Model], header: Header, arrays: Arrays) -> _Model:
    """Build a fitted VAE from what its file holds.

    Parameters
    ----------
    cls : type
        The class of the estimator.
    header, arrays : dict
        As of `contents`.

    Returns
    -------
    vae : VAE
        Fitted estimator.

    Raises
    ------
    ValueError
        If they do not fit together. Other errors that missing entries and wrong types cause are
        raised as they come; `archive.read` turns them all into one.
    """
    has_head = any(name.startswith(f"{_HEAD}.") for name in arrays)
    vae = cls(**_parameters(header["params"], has_head))
    vae._validate_params()
    for name, kind in _NUMBERS.items():
        value = header["numbers"][name]
        if not (isinstance(value, kind) and 0 <= float(value) < np.inf):
            raise ValueError(f"{name} is {value!r}")
        setattr(vae, name, value)
    _set_new_numbers(vae, header["numbers"])
    vae.output_activation_ = header["output_activation"]
    if vae.output_activation_ not in ("identity", "sigmoid"):
        raise ValueError(f"output_activation is {vae.output_activation_!r}")
    if header["feature_names_in"] is not None:
        vae.feature_names_in_ = np.asarray(header["feature_names_in"], dtype=object)
        _check_shape("feature_names_in", vae.feature_names_in_, (vae.n_features_in_,))
    _set_arrays(vae, arrays)
    _set_modules(vae, arrays)
    return vae


def _set_new_numbers(vae: Saved, numbers: Mapping[str, Any]) -> None:
    """Before there was a choice, `a_` was `a`; whether codes are torn was not looked at."""
    vae.a_, vae.torn_share_ = numbers.get("a_", vae.a), numbers.get("torn_share_")
    if not (isinstance(vae.a_, Real) and 0 < float(vae.a_) < np.inf):
        raise ValueError(f"a_ is {vae.a_!r}")
    torn = vae.torn_share_
    if not (torn is None or (isinstance(torn, Real) and 0 <= float(torn) <= 1)):
        raise ValueError(f"torn_share_ is {torn!r}")


def _parameters(params: Mapping[str, Any], has_head: bool) -> Mapping[str, Any]:
    # What there was before there was a choice.
    params = {"warmup": "kl", "variance_head": has_head, **params}
    if isinstance(params["hidden_dims"], list):
        params = {**params, "hidden_dims": tuple(params["hidden_dims"])}
    return params


def _set_arrays(vae: Saved, arrays: Arrays) -> None:
    codes = arrays["codes_"]
    shapes = {
        "codes_": (len(codes), vae.latent_dim),
        "kl_per_dim_": (vae.latent_dim,),
        "active_dims_": (vae.latent_dim,),
    }
    for name in _ARRAYS:
        _check_shape(name, arrays[name], shapes[name])
        setattr(vae, name, arrays[name])
    vae.history_ = {name: arrays[f"history_.{name}"] for name in _HISTORY}
    for name, values in vae.history_.items():
        _check_shape(name, values, (vae.n_iter_,))


def _set_modules(vae: Saved, arrays: Arrays) -> None:
    """Fill networks of the architecture that the parameters say with the file's arrays."""
    architecture = vae._architecture(vae.n_features_in_, vae.output_activation_)
    states = {part: _state(arrays, part) for part in (*_MODULES, _HEAD)}
    # The parts of an ensemble's state are named by their number.
    prefixes = [""] if vae.n_decoders == 1 else [f"{k}." for k in range(vae.n_decoders)]
    means = [architecture.mean() for _ in prefixes]
    precisions = [_precision(vae, states["decoder_"], prefix) for prefix in prefixes]
    modules: dict[str, torch.nn.Module] = {
        "encoder_": architecture.encoder(),
        "decoder_": join_decoders(means, precisions),
    }
    vae.variance_head_ = None
    if states[_HEAD]:
        modules[_HEAD] = architecture.variance_head()
    for part, module in modules.items():
        # Assigned, not copied: the parameters are on the meta device.
        module.load_state_dict(states[part], assign=True)
        setattr(vae, part, freeze(module))


def _precision(vae: Saved, state: dict[str, torch.Tensor], prefix: str) -> RBFPrecision:
    rbf = {name: state[f"{prefix}std.{name}"] for name in RBFPrecision.buffer_names}
    n_centers = len(rbf["centers"])
    _check_shape("centers", rbf["centers"], (n_centers, vae.latent_dim))
    _check_shape("weights", rbf["weights"], (vae.n_features_in_, n_centers))
    return RBFPrecision(**rbf)


def _state(arrays: Arrays, part: str) -> dict[str, torch.Tensor]:
    prefix = f"{part}."
    state = {
        name.removeprefix(prefix): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    for name, tensor in state.items():
        if tensor.dtype != torch.float64:
            raise ValueError(f"{part}.{name} is of type {tensor.dtype}")
    return state


def _check_shape(name: str, array: np.ndarray | torch.Tensor, shape: tuple[int, ...]) -> None:
    if tuple(array.shape) != shape:
        raise ValueError(f"{name} has shape {list(array.shape)} instead of {list(shape)}")


def _plain(value: object) -> Any:
    """Turn a parameter into what JSON can hold; the state of a random generator is not kept."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, np.random.RandomState):
        return None
    if isinstance(value, (tuple, list, np.ndarray)):
        return [_plain(item) for item in value]
    return str(value)
