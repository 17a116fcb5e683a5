"""What a report says in words: sentences and faults, made from the numbers of its summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from geomstats_vae.models.noise import ROWS_PER_CENTER
from geomstats_vae.report.analysis import Floats

Summary: TypeAlias = Mapping[str, Any]

# A column whose variance is above this share of all hides the others, if it should be less than
# a fair share times this.
_HIDES, _FAIR = 0.5, 3.0
# A column that varies this many times as much as the least one is in another unit.
_OTHER_UNIT = 30.0
# A model that explains less of the variance than this is no picture of the data.
_EXPLAINED = 0.5
# Distances that change by less are as good as the same.
_SAME = 0.1
# Sigmas that differ by less are alike.
_NO_CHANGE = 0.02
# Silhouettes above these show clear clusters, or some.
_CLEAR, _SOME = 0.5, 0.25
# Columns that a sentence names.
_N_NAMED = 5


def percent(share: float) -> str:
    """Write a share in per cent.

    Parameters
    ----------
    share : float
        From 0 to 1.

    Returns
    -------
    words : str
        As in "12 %"; small shares with one digit more, and no share as 0 or 100 that is not.
    """
    number = 100.0 * share
    if 0.0 < abs(number) < 1.0 or 99.0 < number < 100.0:
        return f"{min(number, 99.9):.1f} %"
    return f"{number:.0f} %"


def count(number: int, thing: str, things: str | None = None) -> str:
    """Write how many there are of something.

    Parameters
    ----------
    number : int
        How many.
    thing : str
        What one of them is called.
    things : str, optional
        What several are called; `thing` with an s by default.

    Returns
    -------
    words : str
        As in "1 row" or "1,797 rows".
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def columns_of(X: Floats, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure how much the columns of a table vary.

    Parameters
    ----------
    X : numpy.ndarray, shape=[n_samples, n_features]
        Samples.
    names : sequence of str, optional
        Names of the columns.

    Returns
    -------
    columns : dict
        The number of constant columns, and their names; the column that varies most, counted from
        one, what it is called, and its share of the variance; the largest standard deviation over
        the least that is not zero.
    """
    std = X.std(axis=0)
    varies = std > 0.0
    total = float(np.square(std).sum()) or 1.0
    largest = int(np.argmax(std))
    return {
        "constant": int((~varies).sum()),
        "constant_names": [] if names is None else [names[k] for k in np.flatnonzero(~varies)],
        "most_varying": largest + 1,
        "most_varying_name": f"number {largest + 1}" if names is None else repr(names[largest]),
        "share_of_variance": float(std[largest] ** 2 / total),
        "ratio_of_deviations": float(std.max() / std[varies].min()) if varies.any() else 1.0,
    }


def sentences(summary: Summary) -> list[str]:
    """Say in five sentences what was found.

    Parameters
    ----------
    summary : dict
        The numbers of a report.

    Returns
    -------
    sentences : list of str
        On the model, on whether geometry matters, on the geodesics, on classes or clusters, and on
        what to do next.
    """
    parts = (_model, _geometry, on_geodesics, _groups, _next_step)
    return [part(summary) for part in parts]


def facts(summary: Summary) -> list[tuple[str, str]]:
    """List what a report was made from and by.

    Parameters
    ----------
    summary : dict
        The numbers of a report.

    Returns
    -------
    facts : list of tuple of str
        Names and values.
    """
    data, model, made = summary["data"], summary["model"], summary["made"]
    classes = "without classes" if data["classes"] is None else f"{data['classes']} classes"
    kind = f", {data['images']}" if data["images"] else ""
    layers = "-".join(str(width) for width in model["hidden_dims"])
    decoders = f", {model['decoders']} decoders" if model["decoders"] > 1 else ""
    return [
        ("data", f"{data['rows']:,} rows of {data['columns']:,} columns, {classes}{kind}"),
        (
            "model",
            f"{model['origin']}: {model['latent_dim']} latent coordinates, hidden layers "
            f"{layers}{decoders}, {model['centers']} centers, a = {model['a']:g}, zeta = "
            f"{model['zeta']:.3g}",
        ),
        ("ELBO", f"{model['elbo']:.4g} nats per row"),
        (
            "reconstruction error",
            f"{model['reconstruction_error']:.4g} per value (root mean square){_unit(data)}",
        ),
        ("parameters", f"{made['n_pairs']} random pairs, seed {made['seed']}"),
        ("command", made["command"] or "called from Python"),
        ("made", f"{made['date']} by geomstats_vae {made['version']}"),
    ]


def _unit(data: Mapping[str, Any]) -> str:
    """Say between which limits pixels lie."""
    if data["range"] is None:
        return ""
    low, high = data["range"]
    return f", of pixels between {low:.3g} and {high:.3g}"


def faults(summary: Summary) -> list[str]:
    """Name the faults of the data and of the model.

    Parameters
    ----------
    summary : dict
        The numbers of a report, with the ``advice`` of the diagnosis.

    Returns
    -------
    faults : list of str
        A paragraph each; if there is none, one that says which numbers are nearest to being one.
    """
    found = [*_of_data(summary), *summary["diagnosis"]["advice"]]
    return found or [_no_fault(summary)]


def _explained(model: Mapping[str, Any]) -> str:
    share = model["explained_variance"]
    if share > 0.0:
        return f"explains {percent(share)} of the variance"
    return "explains none of the variance: the mean of the data misses less"


def _model(summary: Summary) -> str:
    data, model = summary["data"], summary["model"]
    return (
        f"The model maps {count(data['rows'], 'row')} of {count(data['columns'], 'column')} to "
        f"{model['latent_dim']} latent coordinates, misses a value by "
        f"{model['reconstruction_error']:.3g} (root mean square), and {_explained(model)}."
    )


def _geometry(summary: Summary) -> str:
    verdict, found = summary["verdict"], summary["diagnosis"]["comparison"]
    if found is None:
        return verdict
    return (
        f"{verdict.rstrip('.')}. Between the {found['n_pairs']} pairs of the diagnosis, geodesics "
        f"are {found['ratio_median']:.2f} times as long as straight lines in the median, the rank "
        f"correlation of their lengths with latent distances is {found['rank_correlation']:.2f}, "
        f"and {percent(found['leaving_share'])} of the lines leave the data."
    )


def on_geodesics(summary: Summary) -> str:
    """Say how many geodesics were found, and how long they are.

    Parameters
    ----------
    summary : dict
        The numbers of a report, those on the geodesics.

    Returns
    -------
    sentence : str
        What was found.
    """
    found = summary["geodesics"]
    if not found["solved"]:
        return f"None of {count(found['asked'], 'pair')} of codes could be joined by a geodesic."
    left = found["asked"] - found["solved"]
    late = f"; {count(left, 'pair')} more had no time or no curve" if left else ""
    return (
        f"{found['certified']} of {count(found['solved'], 'geodesic')} between other random codes "
        f"are certified; they are {found['shortest_ratio']:.2f} to {found['longest_ratio']:.2f} "
        f"times as long as the straight lines, {found['median_ratio']:.2f} in the median{late}."
    )


def on_sigma(found: Mapping[str, Any]) -> str:
    """Say whether geodesics keep to where the decoder is certain.

    Parameters
    ----------
    found : dict
        Numbers on the geodesics.

    Returns
    -------
    sentence : str
        What was found; empty without geodesics.
    """
    ratio = found["sigma_ratio"]
    if ratio is None:
        return ""
    change = abs(1.0 - ratio)
    if change < _NO_CHANGE:
        return "The mean sigma along geodesics is about that along straight lines."
    than = "lower" if ratio < 1.0 else "higher"
    return (
        f"In the median the mean sigma along a geodesic is {percent(change)} {than} than along the "
        "straight line."
    )


def _groups(summary: Summary) -> str:
    near, clusters = summary["distances"], summary["clusters"]
    if near.get("purity"):
        share, number = near["purity"], near["neighbors"]
        return (
            f"By geodesic distance {percent(share['geodesic'])} of the "
            f"{f'{number} ' if number > 1 else ''}nearest rows are of the same class, by latent "
            f"distance {percent(share['latent'])}, and in the data {percent(share['data'])}."
        )
    if clusters is None:
        return "Too few distances are known to look for clusters."
    silhouette = clusters["silhouette"]
    sizes = [group["rows"] for group in clusters["groups"]]
    kind = "clear" if silhouette > _CLEAR else "some" if silhouette > _SOME else "no clear"
    return (
        f"Geodesic distances show {kind} clusters: {len(sizes)} of {min(sizes):,} to "
        f"{max(sizes):,} rows have the silhouette {silhouette:.2f}."
    )


def _next_step(summary: Summary) -> str:
    if summary["data"]["unscaled"]:
        return "Next, scale the columns to standard deviation one and run the report again."
    if summary["diagnosis"]["torn_share"]:
        return "Next, train again, with another seed or a larger latent_dim."
    if summary["model"]["explained_variance"] < _EXPLAINED:
        return "Next, train longer, on more rows or with a larger latent_dim."
    if summary["diagnosis"]["walled_share"]:
        return "Next, compare distances within one group only: codes lie behind walls."
    if "good enough" in summary["verdict"]:
        return "Next, work with straight lines between the codes of codes.csv: they cost nothing."
    if summary["diagnosis"]["comparison"] is None:
        return "Next, pass more rows, so that geodesics can be compared with straight lines."
    return (
        "Next, load the model with VAE.load and take its latent_space_ to geodesics, means and "
        "clusters."
    )


def listed(columns: Mapping[str, Any]) -> str:
    """List constant columns.

    Parameters
    ----------
    columns : dict
        What `columns_of` returns.

    Returns
    -------
    names : str
        The first five names; empty without names.
    """
    names = columns["constant_names"]
    return ", ".join(map(repr, names[:_N_NAMED])) + (", ..." if len(names) > _N_NAMED else "")


def is_unscaled(columns: Mapping[str, Any], n_columns: int) -> bool:
    """Tell whether one column hides the others.

    Parameters
    ----------
    columns : dict
        What `columns_of` returns.
    n_columns : int
        Number of columns.

    Returns
    -------
    unscaled : bool
        Whether it has more than half of the variance and three times its fair share, and varies 30
        times as much as the least.
    """
    share = columns["share_of_variance"]
    hides = share > max(_HIDES, min(_FAIR / n_columns, 0.9))
    return hides and columns["ratio_of_deviations"] > _OTHER_UNIT


def _of_data(summary: Summary) -> Iterator[str]:
    data, model = summary["data"], summary["model"]
    columns = data["column_spread"]
    if data["unscaled"]:
        yield (
            f"The columns are not scaled: {columns['most_varying_name']} alone has "
            f"{percent(columns['share_of_variance'])} of the variance, and standard deviations "
            f"differ by a factor of {columns['ratio_of_deviations']:.3g}. Distances see hardly "
            "anything else. Divide columns of different units by their standard deviations: by "
            "--standardize on the command line, or by sklearn.preprocessing.StandardScaler."
        )
    if columns["constant"] and not data["images"]:
        named = listed(columns)
        one = columns["constant"] == 1
        yield (
            f"{count(columns['constant'], 'column')} of {data['columns']} never "
            f"{'changes' if one else 'change'}{f': {named}' if named else ''}. "
            f"{'It carries nothing; leave it' if one else 'They carry nothing; leave them'} out."
        )
    if model["rows_per_center"] < ROWS_PER_CENTER:
        yield (
            f"There are {model['rows_per_center']:.1f} rows to each of the {model['centers']} "
            f"centers of the precision, fewer than {ROWS_PER_CENTER}: sigma between the codes is "
            "a guess, and with it the metric. Pass more rows, or a model with a smaller n_centers."
        )
    if model["explained_variance"] < _EXPLAINED:
        yield (
            f"The model {_explained(model)}. So the geometry is that of the model, and little of "
            "the data. Train longer, or with a larger latent_dim."
        )


def _no_fault(summary: Summary) -> str:
    changes = summary["diagnosis"]["sensitivity"] or []
    worst = max(changes, key=lambda item: item["relative_change"], default=None)
    if worst is None or worst["relative_change"] < _SAME:
        return "No fault was found."
    return (
        f"No number has passed the limit of a fault. But distances change by "
        f"{percent(worst['relative_change'])} in the median if {worst['change']}: compare "
        "distances within one model only."
    )
