"""The report from its inputs to its page, stage by stage."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure

from geomstats_vae.models import VAE
from geomstats_vae.report import (
    agreement,
    analysis,
    figures,
    files,
    findings,
    provenance,
    strips,
    tables,
)
from geomstats_vae.report.analysis import Floats
from geomstats_vae.report.findings import count
from geomstats_vae.report.hover import hover_values
from geomstats_vae.report.inputs import Inputs
from geomstats_vae.report.journal import Journal
from geomstats_vae.report.model import describe, fitted, make_space
from geomstats_vae.report.options import ReportOptions
from geomstats_vae.report.output import check_writable, write_files
from geomstats_vae.report.page import Page

# Quality of the pictures, in per cent.
_QUALITY = 88
_FILES = {
    "codes.csv": "code and class of each row, and sigma there",
    "pairs.csv": "lengths of the geodesics and straight lines, and what the solver says",
    "distances.npy": "geodesic distances; the rows are listed in summary.json",
    "clusters.csv": "cluster of each row, and its distance from the middle",
    "model.safetensors": "the model, for VAE.load",
    "summary.json": "all numbers of this page",
}


def build_report(
    inputs: Inputs,
    output: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    vae: VAE | None = None,
    n_pairs: int = 50,
    seed: int = 0,
    quiet: bool = False,
    options: ReportOptions | None = None,
    command: str | None = None,
) -> Path:
    """Train or load a model, measure its latent space and write the report.

    Parameters
    ----------
    inputs : Inputs
        The data.
    output : path-like
        Folder for ``index.html`` and the numbers; made if it does not exist.
    model : path-like, optional
        A model written by `VAE.save`. Without it one is trained on the data.
    vae : VAE, optional
        The model to train, in place of one with default parameters.
    n_pairs : int
        Random pairs of samples to join by geodesics.
    seed : int
        Seed of all random choices, and of the training unless `vae` is given.
    quiet : bool
        Whether to show no progress.
    options : ReportOptions, optional
        How much to measure and draw.
    command : str, optional
        Command that was typed, for the page. Without it the page says "called from Python".

    Returns
    -------
    page : pathlib.Path
        The file ``index.html``.

    Raises
    ------
    ReportError
        If the model cannot be used with the data, or nothing can be written to the folder.
    """
    folder = check_writable(output)
    journal = Journal(quiet)
    for assumption in inputs.assumptions:
        journal.write(f"assumed: {assumption}")
    report = _Report(inputs, journal, np.random.default_rng(seed), options or ReportOptions())
    with matplotlib.rc_context(figures.STYLE):
        report.fit(model, seed, vae)
        report.geodesics(n_pairs)
        report.codes()
        report.maps()
        report.diagnosis(seed)
        report.distances()
        report.clusters()
        report.means()
        report.record(n_pairs, provenance.made(seed, command))
        report.opening()
    # The page comes last: it is there only with its numbers.
    write_files(folder, {**report.files, "index.html": report.page.html().encode()})
    return folder / "index.html"


class _Report:
    """A report that is being made. Each of its stages is a method that adds to the page.

    The stages put their numbers into the summary; what the page says in words is made from it.
    """

    def __init__(
        self,
        inputs: Inputs,
        journal: Journal,
        rng: np.random.Generator,
        options: ReportOptions,
    ) -> None:
        self.inputs, self.journal, self.rng = inputs, journal, rng
        self.options = options
        self.files: dict[str, bytes] = {}
        self.summary: dict[str, Any] = {"title": f"Latent geometry of {inputs.name}"}
        self.page = Page(self.summary["title"])

    def fit(self, model: str | os.PathLike[str] | None, seed: int, vae: VAE | None) -> None:
        X = self.inputs.X
        with self.journal.stage("model"):
            self.vae = fitted(X, model, vae, seed, verbose=not self.journal.quiet)
            self.z = self.vae.transform(X)
        trained = self.journal.times["model"]
        self.allowance = trained if model is None else self.options.max_seconds
        with self.journal.stage("table of the metric"):
            n_codes = min(self.options.n_matrix, len(self.z))
            verbose = not self.journal.quiet
            self.space = make_space(self.vae, n_codes, self.allowance, verbose)
        with self.journal.stage("numbers of the model"):
            numbers = describe(self.vae, X, self.z)
            numbers["origin"] = "trained for this report" if model is None else Path(model).name
            self.sigma_of_codes = np.sqrt(np.square(self.sigma(self.z)).mean(axis=-1))
        columns = findings.columns_of(X, self.inputs.headers)
        labels, layout = self.inputs.labels, self.inputs.layout
        unscaled = layout is None and findings.is_unscaled(columns, X.shape[1])
        self.summary["data"] = {
            "name": self.inputs.name,
            "rows": len(X),
            "columns": X.shape[1],
            "classes": None if labels is None else len(np.unique(labels)),
            "images": None if layout is None else str(layout),
            "range": None if layout is None else [float(X.min()), float(X.max())],
            "unscaled": unscaled,
            "column_spread": columns,
            "assumptions": list(self.inputs.assumptions),
        }
        self.summary["model"] = numbers
        if model is None:
            self.files["model.safetensors"] = files.model_file(self.vae)
        self.files["codes.csv"] = files.codes_csv(self.z, self.sigma_of_codes, labels)

    def geodesics(self, n_pairs: int) -> None:
        index = analysis.random_pairs(len(self.z), n_pairs, self.rng)
        progress, limit = self.journal.progress, self.options.max_seconds
        with self.journal.stage("geodesics"):
            pairs = analysis.solve_pairs(self.space, self.z, index, progress, limit)
            drawn = figures.pairs_to_draw(pairs)
            self.window = figures.window_around(self.z, pairs.curves[drawn])
            figure, density = figures.volume_figure(
                self.space, self.window, self.z, pairs, drawn, self.options.n_cells
            )
        numbers = self.summary["geodesics"] = tables.pairs_numbers(pairs, n_pairs)
        told = findings.on_sigma(numbers)
        self.page.heading("Geodesics and straight lines")
        self.picture(
            figure,
            "Geodesics (solid) and straight lines (dashed) between "
            f"{len(drawn)} of {count(len(pairs.index), 'pair')}, numbered at their starts, over "
            "the volume density of the metric on a logarithmic scale; small points are the codes.",
            findings.on_geodesics(self.summary),
            curves=True,
            grid=True,
        )
        self.page.values = hover_values(self.z, self.inputs.labels, pairs, drawn, density)
        if self.z.shape[1] > 2:
            self.page.paragraph(
                "The pictures show the first two latent coordinates; the maps hold the others at "
                "the median of the codes, so that curves pass above and below the map."
            )
        if self.inputs.layout is not None and drawn:
            shape = self.inputs.layout.shape
            self.picture(
                strips.strips_figure(self.pixels, pairs, drawn, shape),
                "Decoder means along the numbered curves of the map, at equal steps of length "
                "along each geodesic and of time along each straight line.",
                f"Images along {len(drawn)} geodesics and straight lines. {told}",
            )
        elif drawn:
            X, headers = self.inputs.X, self.inputs.headers
            self.picture(
                strips.columns_figure(self.mean, X, pairs, drawn, headers),
                strips.columns_caption(X.shape[1], headers),
                f"Columns along {len(drawn)} geodesics and straight lines. {told}",
            )
        self.files["pairs.csv"] = files.pairs_csv(pairs)
        if not len(pairs.index):
            return
        self.page.paragraph(told)
        self.page.table(*tables.pairs_summary(pairs))
        for status in sorted(set(pairs.status)):
            self.page.paragraph(f"{tables.words(status)}: {status.message}".capitalize())
        self.page.table(
            *tables.pairs_table(pairs, drawn), summary=f"All {count(len(pairs.index), 'pair')}"
        )

    def codes(self) -> None:
        labels = self.inputs.labels
        with self.journal.stage("latent codes"):
            self.page.heading("Latent codes")
            figure = figures.codes_figure(self.z, labels, self.window)
            named = "" if labels is None else ", each class named at its median"
            spread = ", ".join(f"{value:.2g}" for value in self.z.std(axis=0))
            self.picture(
                figure,
                f"Encoder means of all {len(self.z):,} rows{named}.",
                f"The codes spread by {spread} in the latent coordinates"
                + ("." if labels is None else f" and are of {len(np.unique(labels))} classes."),
                curves=False,
            )
            if self.inputs.layout is None:
                # Columns with names are no pixels.
                if self.inputs.headers is None:
                    self.page.paragraph(
                        "The data have no image shape, so decoded samples are not drawn; "
                        "--image-shape HEIGHTxWIDTH adds these pictures."
                    )
                return
            figure = figures.images_figure(self.pixels, self.window, self.inputs.layout.shape)
            caption = "Decoder means over the latent space, each at its code."
            self.picture(figure, caption)

    def maps(self) -> None:
        with self.journal.stage("maps of uncertainty"):
            self.page.heading("Uncertainty of the decoder")
            heads, by = {"RBF network": self.sigma}, "the RBF precision network"
            if self.vae.variance_head_ is not None:
                by = f"the variance head that was trained for the mean and by {by}, on one scale"
                heads = {"decoder's own head": self.own_sigma, **heads}
            figure = figures.sigma_figure(heads, self.window, self.z, self.options.n_cells)
            growth = {name: self.growth(head) for name, head in heads.items()}
        self.summary["growth_of_sigma"] = growth
        parts = (f"{value:.2g} times that at the codes by the {k}" for k, value in growth.items())
        told = f"At the edge of the map the median sigma is {', and '.join(parts)}."
        self.picture(
            figure,
            f"Logarithm of the sum of the decoder's standard deviations, by {by}; points are the "
            "codes.",
            told,
        )
        self.page.paragraph(told)

    def growth(self, head: Any) -> float:
        """Return the sum of sigma at the window's edge over that at the codes, both medians."""
        grid = self.window.grid(20)
        edge = np.concatenate([grid[0], grid[-1], grid[:, 0], grid[:, -1]])
        outside, inside = (np.median(head(points).sum(axis=-1)) for points in (edge, self.z))
        return float(outside / inside)

    def diagnosis(self, seed: int) -> None:
        X = self.inputs.X
        with self.journal.stage("diagnosis", ticks=True):
            found = self.space.diagnose(
                # Of a loaded model the data of the codes may be others.
                data=X if np.array_equal(self.vae.codes_, self.z) else None,
                n_pairs=self.options.n_sensitivity,
                max_seconds=self.options.max_seconds,
                random_state=seed,
                verbose=False,
            )
        self.summary["verdict"] = found.verdict
        self.summary["diagnosis"] = {**asdict(found), "advice": list(found.advice)}
        self.page.heading("Diagnosis")
        self.summary["faults"] = findings.faults(self.summary)
        self.page.items(self.summary["faults"])
        self.page.table(["at the codes", "value"], [list(row) for row in found.rows()])
        self.page.paragraph(
            "A collapsed dimension does not move the decoder's mean, at a saturated code it does "
            "not react. Codes are behind walls if sigma more than doubles on every path to "
            "the others. The last rows compare distances between pairs of codes after the "
            "precision was fitted with kernels of another width a or another number K."
        )

    def distances(self) -> None:
        labels = self.inputs.labels
        with self.journal.stage("distance matrix"):
            everything = np.zeros(len(self.z)) if labels is None else labels
            index = analysis.stratified(everything, self.options.n_matrix, self.rng)
            # Whatever there is time for has codes of all classes.
            index = self.rng.permutation(index)
            limit, progress = self.allowance, self.journal.progress
            self.matrix, n_exact = analysis.distance_matrix(
                self.space, self.z[index], progress, limit
            )
            self.index = index
            found = agreement.compare(self.matrix, self.z, self.inputs.X, labels, self.index)
        found |= {"rows": index, "rows_by_geodesics": n_exact}
        self.summary["distances"] = found
        self.files["distances.npy"] = files.matrix_npy(self.matrix)
        self.page.heading("Distances")
        late = (
            ""
            if n_exact == len(index)
            else f" There was time for geodesics between {n_exact} of them. The other distances "
            "are lengths of paths on the graph of global starts, which are somewhat longer."
        )
        self.page.paragraph(f"Distances between all pairs of {count(len(index), 'row')}.{late}")
        if found["rank_correlation"]:
            self.page.table(*tables.distances_table(found))

    def clusters(self) -> None:
        labels, n_classes = self.inputs.labels, self.summary["data"]["classes"]
        with self.journal.stage("clusters"):
            found = agreement.find_clusters(self.space, self.z, self.index, self.matrix, n_classes)
        self.summary["clusters"] = None
        self.page.heading("Clusters")
        if found is None:
            self.page.paragraph("Too few distances are known to look for clusters.")
            return
        cells = tables.clusters_table(found, labels)
        sizes = np.bincount(found.labels, minlength=len(found.medoids) + 1)[1:]
        groups = [
            {"rows": int(size), "medoid": int(row)}
            for size, row in zip(sizes, found.medoids, strict=True)
        ]
        self.summary["clusters"] = {"silhouette": found.silhouette, "groups": groups}
        how = "as many as there are classes" if n_classes else "of two to eight the clearest"
        told = (
            f"{count(len(groups), 'cluster')} by average linkage of the geodesic distances, {how}; "
            "each row belongs to the nearest middle. The mean silhouette is "
            f"{found.silhouette:.2f}."
        )
        if labels is not None:
            rand = self.summary["clusters"]["adjusted_rand_index"] = found.agreement(labels)
            told += f" The adjusted Rand index with the classes is {rand:.2f}."
        self.page.paragraph(told)
        self.page.table(*cells)
        self.files["clusters.csv"] = files.clusters_csv(found, labels)

    def means(self) -> None:
        labels = self.inputs.labels
        groups = np.full(len(self.z), "all") if labels is None else labels
        with self.journal.stage("Frechet means"):
            chosen = analysis.choose(groups, self.options.n_mean, self.rng)
            steps, limit = self.options.mean_max_iter, self.allowance
            progress = self.journal.progress
            means = analysis.class_means(self.space, self.z, chosen, steps, progress, limit)
        self.summary["means"] = [asdict(mean) for mean in means]
        self.page.heading("Frechet means" if labels is None else "Frechet means by class")
        left = len(chosen) - len(means)
        if left:
            self.page.paragraph(f"There was no time for {count(left, 'mean')}.")
        if not means:
            return
        if self.inputs.layout is not None:
            figure = strips.means_figure(self.pixels, means, self.inputs.layout.shape)
            widest = max(means, key=lambda mean: mean.spread)
            told = f"The widest class is {widest.name}, with the spread {widest.spread:.3g}."
            self.picture(figure, "Decoder means at the Frechet means.", told)
        self.page.table(*tables.means_table(means))
        self.page.paragraph(
            "The spread is the root mean square distance of the codes to the mean, in data units; "
            "the residual is how far the mean is from being found, relative to the spread."
        )

    def record(self, n_pairs: int, made: Mapping[str, Any]) -> None:
        times = self.journal.times
        self.summary["made"] = {**made, "n_pairs": n_pairs, "options": asdict(self.options)}
        self.summary["seconds"] = dict(times)
        counted = self.journal.warnings.items()
        self.summary["warnings"] = [[*key, number] for key, number in counted]
        self.page.heading("Files")
        self.page.files({name: _FILES[name] for name in (*self.files, "summary.json")})
        self.page.heading("Assumptions, timings and warnings")
        self.page.items(
            [
                "All lengths are those of the decoder's expected pullback metric "
                "M = J_mu' J_mu + J_sigma' J_sigma, in the units in which the model has the data.",
                *self.inputs.assumptions,
            ]
        )
        rows = [[name, f"{seconds:.1f}"] for name, seconds in times.items()]
        self.page.table(["stage", "seconds"], [*rows, ["total", f"{sum(times.values()):.1f}"]])
        if not counted:
            self.page.paragraph("No warning was met.")
            return
        self.page.table(
            ["stage", "kind", "message", "times"],
            [[*map(str, row)] for row in self.summary["warnings"]],
        )

    def opening(self) -> None:
        """Say first what was found, and what the page was made from."""
        self.page.findings = self.summary["found"] = findings.sentences(self.summary)
        self.page.facts = findings.facts(self.summary)
        self.files["summary.json"] = files.summary_json(self.summary)

    def picture(self, figure: Figure, caption: str, alt: str | None = None, **shown: bool) -> None:
        """Add a picture. With what is shown, values of its first axes appear at the pointer."""
        figures.trim(figure)
        axes = figures.picture_axes(figure, **shown) if shown else None
        dpi, buffer = self.options.dpi, io.BytesIO()
        figure.savefig(buffer, format="webp", dpi=dpi, pil_kwargs={"quality": _QUALITY})
        width, height = (round(side * dpi) for side in figure.get_size_inches())
        self.page.figure(buffer.getvalue(), caption, alt, size=(width, height), axes=axes)

    def mean(self, points: Floats) -> Floats:
        return analysis.decode(self.space, points)[0]

    def pixels(self, points: Floats) -> Floats:
        """Decode points to images as they are drawn, colours between 0 and 1."""
        layout = self.inputs.layout
        assert layout is not None  # only images are drawn
        images = layout.images(self.mean(points))
        if len(layout.shape) == 2:
            return images
        low, high = min(0.0, self.inputs.X.min()), max(1.0, self.inputs.X.max())
        return np.clip((images - low) / (high - low), 0.0, 1.0)

    def sigma(self, points: Floats) -> Floats:
        return analysis.decode(self.space, points)[1]

    def own_sigma(self, points: Floats) -> Floats:
        head = self.vae.variance_head_
        assert head is not None  # only then it is asked
        with torch.no_grad():
            return head(torch.as_tensor(points)).numpy()
