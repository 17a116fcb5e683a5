"""Configuration of the documentation: ``make docs`` builds it into build/docs."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

from api_pages import inherited_methods, write_api_pages  # noqa: E402 - beside this file
from gallery_order import remove_stale_pages  # noqa: E402

import geomstats_vae  # noqa: E402 - after the path

# -- project -------------------------------------------------------------------------------------

project = "geomstats_vae"
author = "geomstats_vae developers"
project_copyright = author
version = release = geomstats_vae.__version__

extensions = [
    "mathml",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
# In docstrings, names in backticks become links where there is something to link to.
default_role = "autolink"
# Links from the guide into the API must hold; what other projects document may be out of reach.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!geomstats_vae\.).*"), (r"py:class", r".*")]
suppress_warnings = ["config.cache"]

# -- pages ---------------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
html_math_renderer = "mathml"
myst_heading_anchors = 3
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False

write_api_pages(DOCS / "api")
autosummary_context = {"inherited": inherited_methods()}

# -- gallery -------------------------------------------------------------------------------------

EXAMPLES, GALLERY = DOCS.parent / "examples", DOCS / "gallery"
mode = "short" if "SHORT_EXAMPLES" in os.environ else "full"
built = GALLERY / "mode.txt"

remove_stale_pages(GALLERY, EXAMPLES)

sphinx_gallery_conf = {
    # Relative to this folder: indices of groups are looked up so.
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("geomstats_vae",),
    "reference_url": {"geomstats_vae": None},
    "image_scrapers": ("matplotlib",),
    "within_subsection_order": "gallery_order.TeachingOrder",
    "capture_repr": (),
    "abort_on_example_error": True,
    # Examples are run again if they were changed, or if they were last run in the other mode.
    "run_stale_examples": built.exists() and built.read_text(encoding="utf-8") != mode,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    # Its pages fetch scripts from other hosts.
    "write_computation_times": False,
}


# -- links to other projects, where there is a network -------------------------------------------


def _reachable(host):
    try:
        socket.create_connection((host, 443), timeout=3.0).close()
    except OSError:
        return False
    return True


_INVENTORIES = {
    "numpy": "https://numpy.org/doc/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "sklearn": "https://scikit-learn.org/stable/",
    "geomstats": "https://geomstats.github.io/",
}
# Without a network a build asks for nothing and warns of nothing.
intersphinx_mapping = {
    name: (url, None) for name, url in _INVENTORIES.items() if _reachable(url.split("/")[2])
}

# -- look ----------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = project
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
# Pages without others below them have nothing to list beside them.
html_sidebars = {page: [] for page in ("index", "install", "tutorial", "benchmarks", "changes")}
toc_object_entries_show_parents = "hide"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]


def _remember_mode(app, exception):
    if exception is None and app.config.sphinx_gallery_conf["plot_gallery"]:
        built.write_text(mode, encoding="utf-8")


def _skip_inherited(app, what, name, member, skip, options):
    """Leave out what classes inherit from other packages, which document it themselves."""
    function = getattr(member, "fget", None) or getattr(member, "__func__", member)
    module = getattr(function, "__module__", None) or ""
    return True if callable(function) and module.split(".")[0] != project else None


# Underscores at the end of a name, bars, and the star of [*data_shape].
_MEANT_AS_IS = re.compile(r"(?<=\w)_(?!\w)|\||\*(?=\w+\])")


def _escape(app, what, name, member, options, lines):
    """Let bars, stars of shapes and trailing underscores be what docstrings mean by them."""
    for k, line in enumerate(lines):
        parts = re.split(r"(``.*?``|:\w+:`.*?`|`.*?`_?)", line)
        parts[::2] = [_MEANT_AS_IS.sub(r"\\\g<0>", part) for part in parts[::2]]
        lines[k] = "".join(parts)


def setup(app):
    """Connect what is said above."""
    app.connect("autodoc-skip-member", _skip_inherited)
    # After numpydoc.
    app.connect("autodoc-process-docstring", _escape, priority=900)
    app.connect("build-finished", _remember_mode)
