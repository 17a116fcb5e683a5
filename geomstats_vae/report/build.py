"""The report from its inputs to its page, stage by stage."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure

from geomstats_vae.geodesics import GeodesicStatus
from geomstats_vae.geodesics.table import TableOptions
from geomstats_vae.manifolds import LatentSpace
from geomstats_vae.models import VAE
from geomstats_vae.plotting import LatentWindow
from geomstats_vae.report import analysis, figures
from geomstats_vae.report.analysis import ClassMean, Floats, Pairs
from geomstats_vae.report.errors import ReportError, first_line
from geomstats_vae.report.inputs import Inputs
from geomstats_vae.report.journal import Journal
from geomstats_vae.report.output import check_writable, write_files
from geomstats_vae.report.page import Page


@dataclass(frozen=True)
class ReportOptions:
    """How much a report measures and draws; by default a few minutes' worth.

    Attributes
    ----------
    n_matrix : int
        Codes in the matrix of distances, about: every class has one at least.
    n_mean : int
        Codes that the Frechet mean of a class is computed of, at most.
    mean_max_iter : int
        Iterations of a Frechet mean, at most.
    n_sensitivity : int
        Pairs of codes whose distances the diagnosis compares: with straight lines, and for other
        kernels of the precision.
    n_cells : int
        Cells of a map along its longer side.
    dpi : int
        Resolution of the pictures in dots per inch.
    """

    n_matrix: int = 60
    n_mean: int = 20
    mean_max_iter: int = 12
    n_sensitivity: int = 50
    n_cells: int = 200
    dpi: int = 200


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
) -> Path:
    """Train or load a model, measure its latent space and write the report.

    Parameters
    ----------
    inputs : Inputs
        The data.
    output : path-like
        Folder for ``index.html`` and the pictures; made if it does not exist.
    model : path-like, optional
        A model written by `VAE.save`. Without it one is trained on the data.
    vae : VAE, optional
        The model to train, in place of one with default parameters.
    n_pairs : int
        Random pairs of samples to join by geodesics.
    seed : int
        Seed of the training and of all random choices.
    quiet : bool
        Whether to show no progress.
    options : ReportOptions, optional
        How much to measure and draw.

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
        report.parameters(model, n_pairs, seed)
        report.codes()
        report.maps()
        report.diagnosis(seed)
        report.geodesics(n_pairs)
        report.distances()
        report.means()
        report.record()
    # The page comes last: it is there only with its pictures.
    write_files(folder, {**report.pictures, "index.html": report.page.html().encode()})
    return folder / "index.html"


class _Report:
    """A report that is being made. Each of its stages is a method that adds to the page."""

    def __init__(
        self,
        inputs: Inputs,
        journal: Journal,
        rng: np.random.Generator,
        options: ReportOptions,
    ) -> None:
        self.inputs, self.journal, self.rng = inputs, journal, rng
        self.options = options
        self.pictures: dict[str, bytes] = {}
        self.page = Page(f"Geometry of the latent space: {inputs.name}")

    def fit(self, model: str | os.PathLike[str] | None, seed: int, vae: VAE | None) -> None:
        X = self.inputs.X
        with self.journal.stage("model"):
            self.vae = _fitted(X, model, vae, seed, verbose=not self.journal.quiet)
            self.z = self.vae.transform(X)
        # The matrix asks for many geodesics: then all stages share a table of the metric.
        n = min(self.options.n_matrix, len(self.z))
        many = n * (n - 1) // 2 >= TableOptions().pairs
        self.space = LatentSpace(
            self.vae.decoder_,
            self.vae.latent_dim,
            points=self.vae.codes_,
            table=True if many else "auto",
        )
        self.window = LatentWindow.around(self.z)
        labels = self.inputs.labels
        classes = "without labels" if labels is None else f"in {len(np.unique(labels))} classes"
        origin = "trained for this report" if model is None else f"read from {Path(model).name}"
        self.page.paragraph(
            f"{len(X)} samples of {X.shape[1]} features {classes}. The variational autoencoder was "
            f"{origin} and has {self.z.shape[1]} latent coordinates. All lengths are those of the "
            "decoder's expected pullback metric M = J_mu' J_mu + J_sigma' J_sigma, in units of the "
            "data."
        )
        if self.vae.n_decoders > 1:
            self.page.paragraph(
                f"The decoder is an ensemble of {self.vae.n_decoders} decoders. The metric is the "
                "mean of their metrics; means and standard deviations are those of their mixture."
            )
        if self.z.shape[1] > 2:
            self.page.paragraph(
                "The pictures show the first two latent coordinates; the maps hold the others at "
                "the median of the codes, so that curves pass above and below the map."
            )

    def parameters(self, model: str | os.PathLike[str] | None, n_pairs: int, seed: int) -> None:
        layout = self.inputs.layout
        self.page.heading("Parameters")
        self.page.table(
            ["parameter", "value"],
            [
                ["samples are", "rows of features" if layout is None else str(layout)],
                ["model", "trained" if model is None else Path(model).name],
                ["random pairs", str(n_pairs)],
                ["seed", str(seed)],
                *(["assumed", assumption] for assumption in self.inputs.assumptions),
            ],
        )

    def codes(self) -> None:
        with self.journal.stage("latent codes"):
            self.page.heading("Latent codes")
            figure = figures.codes_figure(self.z, self.inputs.labels)
            named = "" if self.inputs.labels is None else ", each class named at its median"
            self.picture("latent_codes", figure, f"Encoder means of all samples{named}.")
            if self.inputs.layout is None:
                self.page.paragraph(
                    "The data have no image shape, so decoded samples are not drawn; "
                    "--image-shape HEIGHTxWIDTH adds these pictures."
                )
                return
            figure = figures.images_figure(self.pixels, self.window, self.inputs.layout.shape)
            self.picture(
                "decoded_grid", figure, "Decoder means over the latent space, each at its code."
            )

    def maps(self) -> None:
        with self.journal.stage("maps of uncertainty"):
            self.page.heading("Uncertainty of the decoder")
            heads, by = {"RBF network": self.sigma}, "the RBF precision network"
            if self.vae.variance_head_ is not None:
                by = f"the variance head that was trained for the mean and by {by}, on one scale"
                heads = {"the decoder's own head": self.own_sigma, **heads}
            self.picture(
                "log_sigma",
                figures.sigma_figure(heads, self.window, self.z, self.options.n_cells),
                f"Logarithm of the sum of the decoder's standard deviations, by {by}; points are "
                "the codes. Only the RBF network is uncertain away from data.",
            )

    def diagnosis(self, seed: int) -> None:
        X = self.inputs.X
        with self.journal.stage("diagnosis"):
            found = self.space.diagnose(
                # Of a loaded model the data of the codes may be others.
                data=X if np.array_equal(self.vae.codes_, self.z) else None,
                n_pairs=self.options.n_sensitivity,
                random_state=seed,
                verbose=False,
            )
        compared = found.comparison.rows() if found.comparison else ()
        numbers = (f"{name.capitalize()}: {value}." for name, value in compared)
        self.page.opening(" ".join([found.verdict, *numbers]))
        self.page.heading("Diagnosis")
        self.page.table(["at the codes", "value"], [list(row) for row in found.rows()])
        self.page.paragraph(
            "A collapsed dimension does not move the decoder's mean, at a saturated code it does "
            "not react. Codes are behind walls if sigma more than doubles on every path to "
            "the others. The last rows compare distances between pairs of codes after the "
            "precision was fitted with kernels of another width a or another number K."
        )
        for advice in found.advice or ("No fault was found.",):
            self.page.paragraph(advice)

    def geodesics(self, n_pairs: int) -> None:
        index = analysis.random_pairs(len(self.z), n_pairs, self.rng)
        with self.journal.stage("geodesics"):
            pairs = analysis.solve_pairs(self.space, self.z, index, self.journal.progress)
            drawn = figures.pairs_to_draw(pairs)
            self.page.heading("Geodesics and straight lines")
            self.picture(
                "volume_density",
                figures.volume_figure(self.space, self.window, pairs, drawn, self.options.n_cells),
                "Volume density of the metric on a logarithmic scale, with geodesics (solid) and "
                f"straight lines (dashed) between {len(drawn)} of the {n_pairs} random pairs of "
                "codes; discs mark starts, squares ends.",
            )
            if self.space.dim == 2:
                self.picture(
                    "gaussian_curvature",
                    figures.curvature_figure(self.space, self.window, self.z, self.options.n_cells),
                    "Gaussian curvature of the metric, logarithmic on both sides of zero: "
                    "geodesics that start side by side approach each other where it is positive "
                    "(red) and part where it is negative (blue). Points are the codes.",
                )
            if self.inputs.layout is not None:
                self.picture(
                    "decoded_strips",
                    figures.strips_figure(self.pixels, pairs, drawn, self.inputs.layout.shape),
                    "Decoder means along the numbered curves of the map above, at equal steps of "
                    "length along each geodesic and of time along each straight line.",
                )
        self.page.table(*_pairs_summary(pairs))
        for status in sorted(set(pairs.status)):
            self.page.paragraph(f"{_words(status)}: {status.message}".capitalize())
        self.page.table(*_pairs_table(pairs, drawn), summary=f"All {n_pairs} pairs")

    def distances(self) -> None:
        with self.journal.stage("distance matrix"):
            labels = self.inputs.labels
            everything = np.zeros(len(self.z)) if labels is None else labels
            index = analysis.stratified(everything, self.options.n_matrix, self.rng)
            points = self.z[index]
            matrix = analysis.distance_matrix(self.space, points, self.journal.progress)
            euclidean = np.linalg.norm(points[:, None] - points, axis=-1)
            order = "" if labels is None else ", ordered by class"
            self.page.heading("Distances")
            self.picture(
                "distance_matrix",
                figures.distances_figure(
                    matrix, euclidean, None if labels is None else labels[index]
                ),
                f"Distances between {len(index)} codes{order}: by geodesics, and straight in "
                "latent coordinates.",
            )

    def means(self) -> None:
        labels = self.inputs.labels
        groups = np.full(len(self.z), "all") if labels is None else labels
        with self.journal.stage("Frechet means"):
            chosen = analysis.choose(groups, self.options.n_mean, self.rng)
            means = analysis.class_means(
                self.space, self.z, chosen, self.options.mean_max_iter, self.journal.progress
            )
            self.page.heading("Frechet means" if labels is None else "Frechet means by class")
            if self.inputs.layout is not None:
                figure = figures.means_figure(self.pixels, means, self.inputs.layout.shape)
                self.picture("frechet_means", figure, "Decoder means at the Frechet means.")
        self.page.table(*_means_table(means))

    def record(self) -> None:
        self.page.heading("Timings")
        times = self.journal.times
        rows = [[name, f"{seconds:.1f}"] for name, seconds in times.items()]
        self.page.table(["stage", "seconds"], [*rows, ["total", f"{sum(times.values()):.1f}"]])
        self.page.heading("Warnings")
        if not self.journal.warnings:
            self.page.paragraph("No warning was met.")
            return
        self.page.table(
            ["stage", "kind", "message", "times"],
            [[*key, str(count)] for key, count in self.journal.warnings.items()],
        )

    def picture(self, name: str, figure: Figure, caption: str) -> None:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=self.options.dpi)
        self.pictures[f"{name}.png"] = buffer.getvalue()
        self.page.figure(buffer.getvalue(), caption)

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


def _fitted(
    X: Floats, model: str | os.PathLike[str] | None, vae: VAE | None, seed: int, verbose: bool
) -> VAE:
    """Train a model, or load one and check that it fits the data and the pictures."""
    try:
        if model is None and vae is not None:
            return vae.fit(X)
        if model is None:
            return VAE(variance_head=True, random_state=seed, verbose=verbose).fit(X)
        vae = VAE.load(model)
    except OSError as error:
        raise ReportError(
            f"Expected a model in {str(model)!r}, got {first_line(error)}; pass a file written by "
            "VAE.save."
        ) from error
    except ValueError as error:
        raise ReportError(first_line(error)) from error
    if vae.n_features_in_ != X.shape[1]:
        raise ReportError(
            f"Expected data of {vae.n_features_in_} features for the model in {str(model)!r}, got "
            f"{X.shape[1]}; pass the kind of data that it was trained on."
        )
    if vae.latent_dim < 2:
        raise ReportError(
            f"Expected a model with at least two latent dimensions in {str(model)!r}, got "
            f"{vae.latent_dim}; there is nothing to draw in one."
        )
    return vae


def _pairs_summary(pairs: Pairs) -> tuple[list[str], list[list[str]]]:
    length = pairs.length_ratio
    n_pairs = len(length)
    return (
        ["geodesic against straight line", "value"],
        [
            ["pairs that converged", f"{pairs.converged.sum()} of {n_pairs}"],
            ["pairs whose geodesic is longer", f"{(length > 1.0).sum()} of {n_pairs}"],
            ["length, median ratio", f"{np.median(length):.3f}"],
            ["length, smallest and largest ratio", f"{length.min():.3f} to {length.max():.3f}"],
            ["mean sigma along the curve, median ratio", f"{np.median(pairs.sigma_ratio):.3f}"],
        ],
    )


def _pairs_table(pairs: Pairs, drawn: Sequence[int]) -> tuple[list[str], list[list[str]]]:
    header = [
        *("on the map", "samples", "geodesic length", "straight length", "ratio"),
        *("geodesic mean sigma", "straight mean sigma", "ratio", "status"),
    ]
    rows = []
    for k, (i, j) in enumerate(pairs.index):
        rows.append(
            [
                str(drawn.index(k) + 1) if k in drawn else "",
                f"{i} to {j}",
                f"{pairs.length[k]:.3f}",
                f"{pairs.straight_length[k]:.3f}",
                f"{pairs.length_ratio[k]:.3f}",
                f"{pairs.sigma[k]:.4f}",
                f"{pairs.straight_sigma[k]:.4f}",
                f"{pairs.sigma_ratio[k]:.3f}",
                _words(pairs.status[k]),
            ]
        )
    return header, rows


def _words(status: GeodesicStatus) -> str:
    return status.name.lower().replace("_", " ")


def _means_table(means: Sequence[ClassMean]) -> tuple[list[str], list[list[str]]]:
    header = ["class", "codes", "Frechet mean", "variance", "variance about the arithmetic mean"]
    rows = [
        [
            mean.name,
            str(mean.n_points),
            "(" + ", ".join(f"{x:.3f}" for x in mean.point) + ")",
            f"{mean.variance:.3f}",
            f"{mean.straight_variance:.3f}",
        ]
        for mean in means
    ]
    return header, rows
