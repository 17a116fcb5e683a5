"""Files of latent spaces, in the safetensors format: loading one runs no code."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from geomstats_vae.archive import Arrays, Header, read, refusing_damage, write
from geomstats_vae.geodesics import GeodesicSolver
from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.immersions.decoder import Decoder
from geomstats_vae.immersions.described import describe, rebuild
from geomstats_vae.immersions.ensemble import EnsembleDecoder
from geomstats_vae.immersions.frozen import frozen_copy, module_of
from geomstats_vae.manifolds.display import decoder_name
from geomstats_vae.manifolds.map_solvers import DecoderExpSolver, DecoderLogSolver
from geomstats_vae.manifolds.options import differences, restore

KIND = "LatentSpace"
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
_CODES = "codes"


def save(space: Any, path: str | os.PathLike[str]) -> None:
    """Save the space to one file, in the safetensors format: without pickle.

    Parameters
    ----------
    path : str or os.PathLike
        File to write, any ending; an existing one is replaced.

    Raises
    ------
    ValueError
        If the space has the metric of another package, or an ``exp_solver`` or ``log_solver`` of
        its own; if weights of the decoder are no arrays of numbers.

    Notes
    -----
    The file holds the codes, the weights and the metric's options. A decoder of torch's own
    layers in a `torch.nn.Sequential`, and the decoder of a `VAE`, are described, too. Of another
    module only the weights are stored, and of a function nothing: ``load`` takes it again.
    Functions and solvers that were passed as options must be passed again as well. The graph of
    global starts and the table of the metric are built again when they are needed.
    """
    write(path, KIND, *_contents(space))


def load(
    cls: type[Any], path: str | os.PathLike[str], decoder: Any = None, **metric_options: Any
) -> Any:
    """Load a space that ``save`` wrote; no code in the file can run.

    Parameters
    ----------
    path : str or os.PathLike
        File to read.
    decoder : callable, optional
        The decoder that the space was made of. Needed where the file does not describe it: then
        the weights of the file are loaded into a copy of this module. The caller's is not touched.
    **metric_options : dict
        Options of `PullbackDecoderMetric` in place of those of the file, or that it does not hold:
        ``output`` and ``likelihood`` if they were functions, ``solver`` if it was one of your own.

    Returns
    -------
    space : LatentSpace
        The space, on the host. Distances are those of the space that was saved.

    Raises
    ------
    OSError
        If there is no such file, or it may not be read.
    TypeError
        If the file needs a decoder or options that were not passed.
    ValueError
        If the file is not one that ``save`` wrote, or is damaged, or the decoder is another one.

    Examples
    --------
    >>> space.save("space.safetensors")
    >>> space = LatentSpace.load("space.safetensors")
    """
    header, arrays = read(path, KIND, lambda *parts: parts)
    with refusing_damage(path, KIND):
        stored = _Stored.read(header, arrays)
    _check_given(path, stored, decoder, metric_options)
    loaded = stored.modules if decoder is None else _with_weights(decoder, stored)
    reading = [_reading(part, metric_options) for part in stored.parts]
    options = stored.options | metric_options
    if stored.ensemble:
        pairs = zip(loaded, reading, strict=True)
        source: Any = EnsembleDecoder([Decoder(one, stored.dim, **how) for one, how in pairs])
        options = {name: value for name, value in options.items() if name not in reading[0]}
    else:
        source, options = loaded[0], options | reading[0]
    space = cls(source, stored.dim, arrays.get(_CODES), **options)
    if stored.scale != 1.0:
        space.metric.geometry = space.metric.geometry.scaled(stored.scale)
    return space


@dataclass(frozen=True)
class _Stored:
    """What a file holds, in the types that it should have."""

    dim: int
    ensemble: bool
    scale: float
    needs: tuple[str, ...]
    options: dict[str, Any]
    # For each decoder what is said of it, its weights, and the module if the file describes it.
    parts: list[Header]
    states: list[dict[str, torch.Tensor]]
    modules: list[torch.nn.Module | None]

    @classmethod
    def read(cls, header: Header, arrays: Arrays) -> _Stored:
        parts = list(header["decoders"])
        states = [_state(arrays, f"{k}.") for k in range(len(parts))]
        modules = [
            None if part["module"] is None else rebuild(part["module"], state)
            for part, state in zip(parts, states, strict=True)
        ]
        options = {"on_failure": header["on_failure"], "table": header["table"]}
        for name, default in (("solver", GeodesicSolver()), ("exponential", ExponentialSolver())):
            if header[name]:
                options[name] = restore(header[name], default)
        numbers = int(header["dim"]), bool(header["ensemble"]), float(header["scale"])
        return cls(*numbers, tuple(header["needs"]), options, parts, states, modules)

    @property
    def kinds(self) -> list[str]:
        """Names of the decoders."""
        return [str(part["decoder"]) for part in self.parts]


# -- what a file holds -----------------------------------------------------------------------------


def _contents(space: Any) -> tuple[Header, Arrays]:
    metric = space.metric
    _check_metric(metric)
    geometry = metric.geometry
    decoders = geometry.decoder.members or (geometry.decoder,)
    solver = differences(metric.solver, GeodesicSolver())
    exponential = differences(metric.exponential, ExponentialSolver())
    needs = {
        "output": any(one.output is not None for one in decoders),
        "likelihood": any(callable(one.likelihood) for one in decoders),
        "solver": solver is None,
        "exponential": exponential is None,
    }
    table = geometry.table
    header = {
        "dim": geometry.dim,
        "ensemble": bool(geometry.decoder.members),
        "decoders": [_description(one) for one in decoders],
        "needs": [name for name, needed in needs.items() if needed],
        "solver": solver,
        "exponential": exponential,
        "table": False if table is None else getattr(table, "always", True) or "auto",
        "on_failure": metric.on_failure,
        "scale": geometry.scale,
    }
    arrays = {} if geometry.codes is None else {_CODES: np.asarray(geometry.codes)}
    for k, one in enumerate(decoders):
        arrays |= {f"{k}.{name}": array for name, array in _weights(one).items()}
    return header, arrays


def _check_metric(metric: Any) -> None:
    if not hasattr(metric, "geometry") or not hasattr(metric, "decoder"):
        raise ValueError(
            f"Expected the metric of a decoder, got {type(metric).__name__}; a LatentSpace has one "
            "unless it is equipped with another."
        )
    usual = {"exp_solver": DecoderExpSolver, "log_solver": DecoderLogSolver}
    for name, kind in usual.items():
        if type(getattr(metric, name)) is not kind:
            raise ValueError(
                f"Expected the metric's own {name}, got {type(getattr(metric, name)).__name__}, "
                f"which cannot be stored; save the space without it, and set metric.{name} after "
                "loading."
            )


def _description(decoder: Decoder) -> Header:
    source = decoder.source
    module = source if isinstance(source, torch.nn.Module) else None
    return {
        "decoder": decoder_name(decoder),
        "module": None if module is None else describe(module),
        "has_weights": module_of(source) is not None,
        "dtype": str(decoder.dtype).removeprefix("torch."),
        "likelihood": decoder.likelihood if isinstance(decoder.likelihood, str) else None,
        "latent_shape": decoder.latent_shape,
    }


def _weights(decoder: Decoder) -> Arrays:
    module = module_of(decoder.source)
    state = {} if module is None else module.state_dict()
    for name, value in state.items():
        if not isinstance(value, torch.Tensor) or value.is_complex() or value.is_quantized:
            raise ValueError(
                f"Expected weights that are arrays of real numbers, got {name!r} of type "
                f"{type(value).__name__}; such a decoder cannot be stored."
            )
    return {name: value.detach().cpu().numpy() for name, value in state.items()}


# -- what is made of it ----------------------------------------------------------------------------


def _state(arrays: Arrays, prefix: str) -> dict[str, torch.Tensor]:
    named = {name: array for name, array in arrays.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): torch.from_numpy(array) for name, array in named.items()}


def _reading(part: Header, given: dict[str, Any]) -> dict[str, Any]:
    """How what a decoder returns is read: as it was, or by functions that are given."""
    shape = part["latent_shape"]
    reading = {"output": None, "likelihood": part["likelihood"]}
    reading["latent_shape"] = None if shape is None else tuple(shape)
    return reading | {name: given[name] for name in reading if name in given}


def _check_given(path: Any, stored: _Stored, decoder: Any, given: dict[str, Any]) -> None:
    """Raise unless what the file does not hold is given."""
    missing = [name for name in stored.needs if name not in given]
    pairs = zip(stored.kinds, stored.modules, strict=True)
    unknown = list(dict.fromkeys(kind for kind, module in pairs if module is None))
    if decoder is None and unknown:
        missing = ["decoder", *missing]
    if missing:
        what = f" ({', '.join(unknown)})" if "decoder" in missing else ""
        raise TypeError(
            f"Expected {' and '.join(missing)}{what}, as the space was made of, got none: "
            f"{os.fspath(path)!r} holds numbers and no code. Pass LatentSpace.load(path, "
            f"{', '.join(f'{name}=...' for name in missing)})."
        )


def _with_weights(decoder: Any, stored: _Stored) -> list[Any]:
    """Copy what is given, with the weights of the file."""
    given = [decoder]
    if stored.ensemble:
        given = list(getattr(decoder, "members", ()))
        if len(given) != len(stored.parts):
            raise ValueError(
                f"Expected an EnsembleDecoder of {len(stored.parts)} decoders, got "
                f"{len(given) or type(decoder).__name__}; pass EnsembleDecoder([...]) with one of "
                "each that was saved."
            )
    sources = [one.source if isinstance(one, Decoder) else one for one in given]
    return [_loaded(*each) for each in zip(sources, stored.parts, stored.states, strict=True)]


def _loaded(decoder: Any, part: Header, state: dict[str, torch.Tensor]) -> Any:
    if not part["has_weights"]:
        return decoder
    kind = part["decoder"]
    if module_of(decoder) is None:
        raise ValueError(
            f"Expected a module such as {kind} as decoder, into a copy of which the weights are "
            f"loaded, got {type(decoder).__name__}."
        )
    copied = frozen_copy(decoder, _DTYPES[part["dtype"]], torch.device("cpu"))
    module = module_of(copied)
    assert module is not None
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"Expected the decoder that the space was made of ({kind}), with the same layers, got "
            f"another one ({reason})."
        ) from error
    return copied
