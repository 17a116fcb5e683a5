"""The pages of the API: one for each module, listing its public names.

A name is documented once, on the first page that has it: `VAE` as ``geomstats_vae.VAE``, which the
page of ``geomstats_vae.models`` links to.
"""

from __future__ import annotations

import importlib
import inspect

TOP = "geomstats_vae"
# In the order of the package's layers.
PARTS = (
    "immersions",
    "immersions.likelihoods",
    "immersions.network",
    "geodesics",
    "geodesics.bounds",
    "geodesics.collocation",
    "geodesics.curves",
    "geodesics.flow",
    "geodesics.graph",
    "geodesics.table",
    "geometry",
    "geometry.diagnosis",
    "volume",
    "manifolds",
    "manifolds.libraries",
    "models",
    "estimators",
    "sampling",
    "datasets",
    "plotting",
    "report",
    "report.reading",
    "commands",
)
# Classes whose pages list what they have from geomstats.
HEIRS = ("PullbackDecoderMetric", "LatentSpace")


def public_names(module):
    """Names that a module exports, and the objects."""
    exported = importlib.import_module(module)
    return {name: getattr(exported, name) for name in exported.__all__}


def inherited_methods():
    """For each class with methods of geomstats: their names and first lines, by class page."""
    exported = public_names(TOP)
    return {f"{TOP}.{name}": _methods_of(exported[name], "geomstats") for name in HEIRS}


def _methods_of(cls, package):
    found = {}
    for name in dir(cls):
        method = inspect.getattr_static(cls, name)
        function = getattr(method, "__func__", method)
        module = getattr(function, "__module__", None) or ""
        if name.startswith("_") or not callable(function) or module.split(".")[0] != package:
            continue
        lines = (inspect.getdoc(function) or "").splitlines()
        found[name] = lines[0].rstrip(".").replace("\\", "") if lines else ""
    return found


def write_api_pages(folder):
    """Write the pages into a folder, touching only those that change.

    Pages of names that are gone are removed: autosummary writes them and never looks back.
    """
    documented = {}
    for module in (TOP, *(f"{TOP}.{part}" for part in PARTS)):
        own, elsewhere = [], []
        for name, thing in public_names(module).items():
            (elsewhere if id(thing) in documented else own).append(name)
            documented.setdefault(id(thing), f"{module}.{name}")
        links = [documented[id(public_names(module)[name])] for name in elsewhere]
        _write(folder / f"{module}.rst", _page(module, sorted(own), sorted(links)))
    for page in (folder / "generated").glob("*.rst"):
        if page.stem not in documented.values():
            page.unlink()


def _page(module, own, elsewhere):
    # Bars are norms there, and no substitutions.
    first = importlib.import_module(module).__doc__.strip().replace("|", r"\|")
    lines = [module, "=" * len(module), "", first, "", f".. currentmodule:: {module}", ""]
    if own:
        lines += [".. autosummary::", "   :toctree: generated", ""]
        lines += [f"   {name}" for name in own] + [""]
    if elsewhere:
        links = ", ".join(f":py:obj:`~{name}`" for name in elsewhere)
        lines += [f"Documented elsewhere: {links}.", ""]
    return "\n".join(lines)


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
