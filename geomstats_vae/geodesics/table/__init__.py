"""Tables of a metric in two and three dimensions, and geodesics by them."""

from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.geodesics.table.table_options import TableOptions

__all__ = ["MetricTable", "TableOptions"]
