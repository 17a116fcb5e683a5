"""The report: a latent space measured and shown on one page."""

from geomstats_vae.report.build import ReportOptions, build_report
from geomstats_vae.report.errors import ReportError
from geomstats_vae.report.inputs import Inputs, read_inputs

__all__ = ["Inputs", "ReportError", "ReportOptions", "build_report", "read_inputs"]
