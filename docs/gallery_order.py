"""The order in which the gallery teaches, and what earlier builds have left there."""

ORDER = (
    "plot_first_geodesic.py",
    "plot_rotation.py",
    "plot_digits_geodesics.py",
    "plot_own_decoder.py",
    "plot_single_cells.py",
    "plot_three_dimensions.py",
    "plot_relu_decoder.py",
    "plot_interpolation.py",
    "plot_precomputed_distances.py",
    "plot_kmeans.py",
    "plot_geomstats_tools.py",
    "plot_land.py",
    "plot_random_walks.py",
    "plot_toy_surfaces.py",
    "plot_variance.py",
)


class TeachingOrder:
    """Key of a file within its group; files that are not listed come last, by name."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, name):
        """Key of a file name."""
        return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def remove_stale_pages(gallery, examples):
    """Remove pages of examples that are no longer there: sphinx-gallery never looks back."""
    pages = [
        page
        for page in gallery.rglob("plot_*.rst")
        if not (examples / page.relative_to(gallery).with_suffix(".py")).exists()
    ]
    # Lists of times, which are no longer written.
    pages += gallery.parent.rglob("sg_execution_times.rst")
    for page in pages:
        for left in page.parent.glob(f"{page.stem}.*"):
            left.unlink()
