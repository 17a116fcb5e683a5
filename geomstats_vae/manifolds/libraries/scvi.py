"""Models of single cells of scvi-tools."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from geomstats_vae.immersions.errors import DecoderError
from geomstats_vae.manifolds.libraries.model import (
    LibraryModel,
    check_points,
    evaluation_copy,
    require,
)

# Names of scvi-tools' registry.
_COUNTS, _BATCH, _LABELS = "X", "batch", "labels"
_CATEGORICAL, _CONTINUOUS = "extra_categorical_covs", "extra_continuous_covs"
_SIZE_FACTOR, _OBSERVED_LIBRARY = "size_factor", "observed_lib_size"


class ScviDecoder(torch.nn.Module):
    """The distribution of counts that a module of scvi-tools decodes to, with all else fixed.

    Parameters
    ----------
    module : torch.nn.Module
        Module with ``generative(z=, library=, batch_index=, ...)``, which returns a dictionary
        whose entry ``"px"`` is a distribution.
    library : float
        Counts per cell, or the size factor of a model that was set up with one.
    batch : int
        Index of the batch.
    categorical : sequence of int
        Indices of the categorical covariates, in the model's order.
    continuous : sequence of float
        Continuous covariates, in the model's order.
    """

    log_library: torch.Tensor
    batch: torch.Tensor
    categorical: torch.Tensor
    continuous: torch.Tensor

    def __init__(
        self,
        module: torch.nn.Module,
        library: float,
        batch: int,
        categorical: Sequence[int] = (),
        continuous: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.module = module
        self.uses_size_factor = bool(getattr(module, "use_size_factor_key", False))
        device = next(module.parameters()).device
        fixed = {
            "log_library": torch.tensor([[math.log(library)]], dtype=torch.float64),
            "batch": torch.tensor([[batch]]),
            "categorical": torch.tensor([list(categorical)], dtype=torch.long),
            "continuous": torch.tensor([list(continuous)], dtype=torch.float64),
        }
        for name, value in fixed.items():
            self.register_buffer(name, value.to(device))

    def forward(self, z: torch.Tensor) -> Any:
        """Decode codes.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.

        Returns
        -------
        px : torch.distributions.Distribution, batch_shape=[n_points, n_genes]
            Distributions of the counts.
        """

        def repeat(value: torch.Tensor) -> torch.Tensor:
            rows = value.expand(z.shape[0], -1)
            return rows.to(z.dtype) if rows.is_floating_point() else rows

        inputs = {"z": z, "library": repeat(self.log_library), "batch_index": repeat(self.batch)}
        if self.uses_size_factor:
            inputs["size_factor"] = inputs["library"]
        if self.categorical.numel():
            inputs["cat_covs"] = repeat(self.categorical)
        if self.continuous.numel():
            inputs["cont_covs"] = repeat(self.continuous)
        module: Any = self.module
        return module.generative(**inputs)["px"]


def read_scvi(
    model: Any,
    adata: Any = None,
    *,
    library: float | None = None,
    batch: Any = None,
    covariates: Mapping[str, Any] | None = None,
    indices: Sequence[int] | None = None,
    points: Any = None,
) -> LibraryModel:
    """Take the decoder and the codes of cells from a model of scvi-tools.

    Parameters
    ----------
    model : scvi.model.SCVI
        Trained model whose module has ``generative(z, library, batch_index, ...)["px"]``.
    adata : anndata.AnnData, optional
        Cells, by default those that the model was trained on.
    library : float, optional
        Counts per cell at which all codes are decoded: a number of molecules, not its logarithm.
        By default the median of the cells'. Of a model with size factors, the size factor.
    batch : str or int, optional
        Batch at which all codes are decoded: its name, or its index where no batch has that name.
        By default the batch of most cells.
    covariates : mapping, optional
        For each covariate of the model its value: one of its categories, or a number.
    indices : sequence of int, optional
        Which cells; by default all.
    points : array-like, shape=[n_points, dim], optional
        Codes in place of those of the cells.

    Returns
    -------
    model : LibraryModel
        Decoder, dimension and codes, which are the means of the posterior.

    Raises
    ------
    DecoderError
        If this is no such model, it is not trained, or its codes lie on a simplex.
    ValueError
        If library, batch, covariates or points do not suit the model.
    """
    _check_model(model)
    names = _Names(model)
    categorical, continuous, label = names.covariates(covariates)
    module, dim = model.module, int(model.module.n_latent)
    cells = _Cells(model, adata, indices)
    codes = check_points(cells.codes() if points is None else points, dim)
    library = cells.median_library() if library is None else float(library)
    if not 0.0 < library < math.inf:
        raise ValueError(
            f"Expected library > 0, got {library}; pass the number of counts per cell, not its "
            "logarithm."
        )
    index = cells.common_batch() if batch is None else names.batch(batch)
    frozen = _at_one_condition(module, index, label)
    decoder = ScviDecoder(frozen, library, index, categorical, continuous)
    return LibraryModel(decoder.eval(), dim, codes)


def _check_model(model: Any) -> None:
    attributes = ("module.generative", "module.n_latent", "get_latent_representation")
    require(model, "a model of scvi-tools", (*attributes, "adata_manager"))
    name = type(model).__name__
    inputs = set(inspect.signature(model.module.generative).parameters)
    if not {"z", "library", "batch_index"} <= inputs:
        raise DecoderError(
            f"Expected a model that decodes by generative(z, library, batch_index), got {name}, "
            f"whose inputs are {sorted(inputs)}; pass an SCVI or SCANVI."
        )
    if not model.is_trained:
        raise DecoderError(
            f"Expected a trained model, got an untrained {name}; call model.train()."
        )
    if getattr(model.module, "latent_distribution", "normal") != "normal":
        raise DecoderError(
            f"Expected latent_distribution='normal', got {model.module.latent_distribution!r}: "
            "the codes lie on a simplex, which is no vector space; train with 'normal'."
        )


def _at_one_condition(module: Any, batch: int, label: int | None) -> torch.nn.Module:
    """Copy the decoding half of a module, for one batch and label.

    `generative` of the library computes in float32 what the dispersion of a batch and the prior
    of the library size are. At one condition the first is a column, and the second is not needed.
    """
    copied: Any = evaluation_copy(module, without=["z_encoder", "l_encoder"])
    column = {"gene-batch": batch, "gene-label": label}.get(getattr(module, "dispersion", "gene"))
    if column is not None:
        chosen = copied.px_r.detach()[:, column].clone()
        copied.px_r = torch.nn.Parameter(chosen, requires_grad=False)
        copied.dispersion = "gene"
    if hasattr(copied, "use_observed_lib_size"):
        copied.use_observed_lib_size = True
    frozen: torch.nn.Module = copied
    return frozen


class _Cells:
    """The cells whose codes are asked for; nothing is read before it is needed."""

    def __init__(self, model: Any, adata: Any, indices: Sequence[int] | None) -> None:
        # A shallow copy shares the data; its module is in evaluation mode, whatever the model's.
        self._model = copy.copy(model)
        self._model.module = evaluation_copy(model.module)
        self._adata, self._indices = adata, indices

    def codes(self) -> np.ndarray:
        """Means of the posterior, shape=[n_cells, dim]."""
        codes: np.ndarray = self._model.get_latent_representation(
            adata=self._adata, indices=self._indices
        )
        return codes

    def median_library(self) -> float:
        """Median of the counts per cell, or of the size factors."""
        manager = self._manager()
        if getattr(self._model.module, "use_size_factor_key", False):
            key = _SIZE_FACTOR
        else:
            key = _OBSERVED_LIBRARY if _OBSERVED_LIBRARY in manager.data_registry else _COUNTS
        values = manager.get_from_registry(key)
        # A matrix of counts may be sparse, and its sums a matrix with one column.
        sizes = values.sum(axis=1) if key == _COUNTS else values
        return float(np.median(self._chosen(np.asarray(sizes).ravel())))

    def common_batch(self) -> int:
        """Index of the batch of most cells."""
        batches = np.asarray(self._manager().get_from_registry(_BATCH)).ravel()
        return int(np.bincount(self._chosen(batches).astype(int)).argmax())

    def _manager(self) -> Any:
        if self._adata is None:
            return self._model.adata_manager
        return self._model.get_anndata_manager(self._adata, required=True)

    def _chosen(self, values: np.ndarray) -> np.ndarray:
        return values if self._indices is None else values[np.asarray(self._indices)]


class _Names:
    """The names that a model gives to its batches, covariates and labels."""

    def __init__(self, model: Any) -> None:
        manager = model.adata_manager
        states = {key: manager.get_state_registry(key) for key in manager.data_registry}
        self.batches = list(states[_BATCH]["categorical_mapping"])
        mappings = states.get(_CATEGORICAL, {}).get("mappings", {})
        self.categories = {name: list(mappings[name]) for name in mappings}
        self.numbers = [str(name) for name in states.get(_CONTINUOUS, {}).get("columns", ())]
        self.label = None
        if getattr(model.module, "dispersion", "gene") == "gene-label":
            self.label = states[_LABELS]["original_key"]
            self.labels = list(states[_LABELS]["categorical_mapping"])

    def batch(self, batch: Any) -> int:
        """Index of a batch that is given by name or index."""
        if batch in self.batches:
            return self.batches.index(batch)
        is_index = isinstance(batch, (int, np.integer)) and not isinstance(batch, bool)
        if is_index and 0 <= batch < len(self.batches):
            return int(batch)
        raise ValueError(
            f"Expected one of the batches {_listed(self.batches)}, or an index below "
            f"{len(self.batches)}, got {batch!r}."
        )

    def covariates(
        self, given: Mapping[str, Any] | None
    ) -> tuple[list[int], list[float], int | None]:
        """Read the indices of categories, the numbers, and the index of a label if needed."""
        given = dict(given or {})
        choices = dict(self.categories)
        if self.label is not None:
            choices[self.label] = self.labels
        expected = {name: f"one of {_listed(values)}" for name, values in choices.items()}
        expected |= dict.fromkeys(self.numbers, "a number")
        if set(given) != set(expected):
            wanted = ", ".join(f"{name!r}: {what}" for name, what in expected.items())
            raise ValueError(
                f"Expected covariates={{{wanted}}}, got {given}; pass a value for every covariate "
                "that the model was set up with, and for no other."
            )
        indices = {name: _index(name, given[name], values) for name, values in choices.items()}
        label = None if self.label is None else indices[self.label]
        numbers = [float(given[name]) for name in self.numbers]
        return [indices[name] for name in self.categories], numbers, label


def _index(name: str, value: Any, values: list[Any]) -> int:
    if value not in values:
        raise ValueError(f"Expected as {name!r} one of {_listed(values)}, got {value!r}.")
    return values.index(value)


def _listed(values: Sequence[Any], n_shown: int = 20) -> str:
    shown = ", ".join(repr(str(value)) for value in values[:n_shown])
    return f"[{shown}{', ...' if len(values) > n_shown else ''}]"
