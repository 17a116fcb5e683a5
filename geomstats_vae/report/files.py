"""The numbers of a report as files beside its page."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geomstats_vae.models import VAE
from geomstats_vae.report.agreement import Clusters
from geomstats_vae.report.analysis import Floats, Pairs


def codes_csv(codes: Floats, sigma: Floats, labels: np.ndarray | None) -> bytes:
    """Write the codes of all samples.

    Parameters
    ----------
    codes : numpy.ndarray, shape=[n_samples, dim]
        The codes.
    sigma : numpy.ndarray, shape=[n_samples]
        Root mean square of the decoder's standard deviations at each.
    labels : numpy.ndarray, shape=[n_samples], optional
        Class of each sample.

    Returns
    -------
    content : bytes
        A table with the columns row, class, z_1, z_2, ..., sigma.
    """
    named = [] if labels is None else ["class"]
    header = ["row", *named, *(f"z_{k + 1}" for k in range(codes.shape[1])), "sigma"]
    rows = (
        [k, *([] if labels is None else [labels[k]]), *code, sigma[k]]
        for k, code in enumerate(codes)
    )
    return _table(header, rows)


def pairs_csv(pairs: Pairs) -> bytes:
    """Write the lengths of geodesics and straight lines.

    Parameters
    ----------
    pairs : Pairs
        The geodesics.

    Returns
    -------
    content : bytes
        A table with a row for each pair.
    """
    header = ["row_a", "row_b", "geodesic_length", "line_length", "geodesic_sigma", "line_sigma"]
    columns = (pairs.length, pairs.straight_length, pairs.sigma, pairs.straight_sigma)
    rows = (
        [*index, *(column[k] for column in columns), pairs.status[k].name]
        for k, index in enumerate(pairs.index)
    )
    return _table([*header, "status"], rows)


def clusters_csv(clusters: Clusters, labels: np.ndarray | None) -> bytes:
    """Write the cluster of each sample.

    Parameters
    ----------
    clusters : Clusters
        The clusters.
    labels : numpy.ndarray, shape=[n_samples], optional
        Class of each sample.

    Returns
    -------
    content : bytes
        A table with the columns row, class, cluster, distance_to_medoid.
    """
    named = [] if labels is None else ["class"]
    rows = (
        [k, *([] if labels is None else [labels[k]]), cluster, clusters.distances[k]]
        for k, cluster in enumerate(clusters.labels)
    )
    return _table(["row", *named, "cluster", "distance_to_medoid"], rows)


def matrix_npy(distances: Floats) -> bytes:
    """Write a matrix in numpy's format.

    Parameters
    ----------
    distances : numpy.ndarray, shape=[n_points, n_points]
        The matrix.

    Returns
    -------
    content : bytes
        What `numpy.load` reads.
    """
    buffer = io.BytesIO()
    np.save(buffer, distances, allow_pickle=False)
    return buffer.getvalue()


def model_file(vae: VAE) -> bytes:
    """Write a model.

    Parameters
    ----------
    vae : VAE
        The model.

    Returns
    -------
    content : bytes
        What `VAE.load` reads.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        vae.save(path)
        return path.read_bytes()


def summary_json(summary: Mapping[str, Any]) -> bytes:
    """Write the numbers of a report.

    Parameters
    ----------
    summary : dict
        The numbers. Those that are not finite become null.

    Returns
    -------
    content : bytes
        JSON.
    """
    return json.dumps(plain(summary), indent=2, ensure_ascii=False, allow_nan=False).encode()


def plain(value: Any) -> Any:
    """Turn values into what JSON has: no arrays, no numbers that are not finite.

    Parameters
    ----------
    value : object
        Dicts, sequences, arrays, numbers, texts.

    Returns
    -------
    value : object
        The same of dict, list, float, int, bool, str and None.
    """
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    return f"{value:.9g}" if isinstance(value, float | np.floating) else value


def thin(curve: np.ndarray, n_points: int) -> np.ndarray:
    """Take evenly spaced points of a curve, its ends included.

    Parameters
    ----------
    curve : numpy.ndarray, shape=[n, ...]
        The curve.
    n_points : int
        Points to take, at most.

    Returns
    -------
    points : numpy.ndarray, shape=[n_points, ...]
        Some of them.
    """
    return curve[np.linspace(0, len(curve) - 1, min(n_points, len(curve))).round().astype(int)]
